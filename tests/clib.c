/* C code for the tests: what a C extension might do to a goroutine. Called through ctypes. */

#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

typedef int (*callback)(int);

/* Uses about `bytes` of C stack in frames of 16 KiB, touching each page; the sum keeps the frames alive. */
long burn_stack(long bytes) {
    volatile char *block = alloca(16384);
    for (int i = 0; i < 16384; i += 4096)
        block[i] = (char)bytes;
    return bytes > 16384 ? burn_stack(bytes - 16384) + block[4096] : block[0];
}

/* Recursion without end: only the stack's own limit stops it. */
long burn_all(long depth) {
    volatile char *block = alloca(4096);
    block[0] = (char)depth;
    return burn_all(depth + 1) + block[0];
}

int call(callback fn, int n) { return fn(n); }

/* Calls back after the caller slept without the interpreter. */
int call_after(callback fn, int n, unsigned microseconds) {
    usleep(microseconds);
    return fn(n);
}

struct task {
    callback fn;
    int n;
    int times;
    int sum;
};

static void *run_task(void *arg) {
    struct task *task = arg;
    for (int i = 0; i < task->times; i++)
        task->sum += task->fn(task->n + i);
    return NULL;
}

/* Calls fn(n) ... fn(n + times - 1) on a thread that Python has never seen; returns the sum. */
int call_on_thread(callback fn, int n, int times) {
    pthread_t thread;
    struct task task = {fn, n, times, 0};
    if (pthread_create(&thread, NULL, run_task, &task))
        return -1;
    pthread_join(thread, NULL);
    return task.sum;
}

/* Starts such a thread and does not wait for it. */
int start_thread(callback fn, int n, int times) {
    pthread_t thread;
    struct task *task = malloc(sizeof *task);
    *task = (struct task){fn, n, times, 0};
    if (pthread_create(&thread, NULL, run_task, task))
        return -1;
    return pthread_detach(thread);
}

void sleep_us(unsigned microseconds) { usleep(microseconds); }

/* C code that never comes back: through ctypes.PyDLL it keeps the interpreter to itself. */
void spin(void) {
    for (volatile int i = 0;; i++)
        ;
}

int divide(int a, int b) { return a / b; }
/* -- for gort.cgo: C functions that a traceback can show -------------------------------------- */

#define noinline __attribute__((noinline))

noinline int nested_inner(callback fn, int n) {
    int r = fn(n);
    return r + 1;
}

noinline int nested_middle(callback fn, int n) {
    int r = nested_inner(fn, n);
    return r + 10;
}

noinline int nested_outer(callback fn, int n) {
    int r = nested_middle(fn, n);
    return r + 100;
}

static noinline int hidden(callback fn, int n) {
    int r = fn(n);
    return r + 1;
}

int calls_hidden(callback fn, int n) {
    int r = hidden(fn, n);
    return r + 1;
}

static inline __attribute__((always_inline)) int folded(callback fn, int n) {
    int r = fn(n);
    return r + 1;
}

noinline int calls_folded(callback fn, int n) {
    int r = folded(fn, n);
    return r + 1;
}

uintptr_t stack_address(void) {
    volatile char here = 0;
    return (uintptr_t)&here;
}

/* A chain of n C functions below the callback. */
noinline int deep(callback fn, int n) {
    int r = n > 1 ? deep(fn, n - 1) : fn(n);
    return r + 1;
}

void on_signal(int sig, void *handler) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(sig, &sa, NULL);
}

noinline int signal_inner(int sig) {
    int r = raise(sig);
    return r + 1;
}

noinline int signal_outer(int sig) {
    int r = signal_inner(sig);
    return r + 1;
}

noinline long busy_inner(long turns) {
    volatile long n = 0;
    while (n < turns)
        n++;
    return n;
}

/* Computes for a while, during which SIGVTALRM comes once: no sooner than after 5 ms of the process's own time. */
noinline int busy_outer(long turns) {
    struct itimerval soon = {.it_value = {.tv_usec = 5000}};
    setitimer(ITIMER_VIRTUAL, &soon, NULL);
    long n = busy_inner(turns);
    return n == turns;
}

int accepts_any(void *p) { return p != NULL; }

/* -- functions for runtime.set_cgo_traceback that write down how they are called ---------------- */

struct context_arg {
    uintptr_t Context;
};

struct traceback_arg {
    uintptr_t Context;
    uintptr_t SigContext;
    uintptr_t *Buf;
    uintptr_t Max;
};

struct symbolizer_arg {
    uintptr_t PC;
    char *File;
    uintptr_t Lineno;
    char *Func;
    uintptr_t Entry;
    uintptr_t More;
    uintptr_t Data;
};

static char recorded[1 << 16];
static size_t recorded_size;

static void record(const char *format, ...) {
    va_list args;
    va_start(args, format);
    recorded_size += (size_t)vsnprintf(recorded + recorded_size, sizeof recorded - recorded_size, format, args);
    va_end(args);
}

/* What was recorded since the last call. */
char *take_record(void) {
    char *text = strdup(recorded);
    recorded[recorded_size = 0] = 0;
    return text;
}

void record_context(struct context_arg *arg) {
    static uintptr_t last = 100;
    uintptr_t given = arg->Context;
    if (given == 0)
        arg->Context = ++last;
    record("context %lu: %lu\n", given, arg->Context);
}

void record_traceback(struct traceback_arg *arg) {
    record("traceback %lu sig %d max %d\n", arg->Context, arg->SigContext != 0, arg->Max >= 32);
    arg->Buf[0] = 0x1000;
    arg->Buf[1] = 0x2000;
    arg->Buf[2] = 0;
    arg->Buf[3] = 0x3000; /* behind the end */
}

/* Says of 0x1000 that two functions are there; leaves a number in Data. */
void record_symbolizer(struct symbolizer_arg *arg) {
    record("symbolizer %#lx data %lu more %lu line %lu func %s\n", arg->PC, arg->Data, arg->More, arg->Lineno,
           arg->Func ? arg->Func : "-");
    arg->Data++;
    if (arg->PC == 0x1000) {
        arg->Func = arg->More ? "second" : "first";
        arg->File = "/src/one.c";
        arg->Lineno = arg->More ? 20 : 10;
        arg->More = !arg->More;
    } else if (arg->PC) {
        arg->Func = "third";
        arg->File = NULL;
        arg->Lineno = 0;
    }
}

void full_traceback(struct traceback_arg *arg) {
    for (uintptr_t i = 0; i < arg->Max; i++)
        arg->Buf[i] = 0x1000 + i;
}

void overfull_traceback(struct traceback_arg *arg) {
    for (uintptr_t i = 0; i <= arg->Max; i++)
        arg->Buf[i] = 0x1000 + i;
}

void one_traceback(struct traceback_arg *arg) {
    arg->Buf[0] = 0x1234;
    arg->Buf[1] = 0;
}

void more_symbolizer(struct symbolizer_arg *arg) {
    arg->Func = "again";
    arg->More = 1;
}

void wild_symbolizer(struct symbolizer_arg *arg) {
    arg->Func = (char *)16;
    arg->File = "two\nlines";
    arg->Lineno = 5;
}

void long_symbolizer(struct symbolizer_arg *arg) {
    static char name[100000];
    memset(name, 'x', sizeof name - 1);
    arg->Func = name;
    arg->File = NULL;
}

/* A function for SetCgoTraceback that fails. */
void bad_traceback(void *arg) {
    (void)arg;
    *(volatile int *)8 = 1;
}

/* -- memory: Python's functions, called as a C extension does, with the GIL (ctypes.PyDLL) ---- */

extern void *PyMem_Malloc(size_t);
extern void *PyMem_Calloc(size_t, size_t);
extern void *PyMem_Realloc(void *, size_t);
extern void PyMem_Free(void *);
extern void *PyObject_Malloc(size_t);
extern void PyObject_Free(void *);

/* Allocates `count` blocks of `size` bytes, half of them as objects, and frees them. 0: all held what was written. */
int allocate(size_t size, int count) {
    char **blocks = malloc((size_t)count * sizeof *blocks);
    int faults = 0;
    for (int i = 0; i < count; i++) {
        blocks[i] = i % 2 ? PyObject_Malloc(size) : PyMem_Malloc(size);
        memset(blocks[i], i, size);
    }
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < size; at += 1 + size / 7)
            faults += blocks[i][at] != (char)i;
        if (i % 2)
            PyObject_Free(blocks[i]);
        else
            PyMem_Free(blocks[i]);
    }
    free(blocks);
    return faults;
}

/* Random blocks: allocated, zeroed, resized, freed, each with bytes that tell whether another one ran into it.
 * Returns how many faults it saw. */
int shuffle(unsigned long seed, int slots, int steps, size_t largest) {
    struct {
        unsigned char *p;
        size_t n;
    } *block = calloc((size_t)slots, sizeof *block);
    int faults = 0;
    for (int i = 0; i < steps + slots; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        int at = i < steps ? (int)(seed >> 33) % slots : i - steps;
        size_t n = (seed >> 16) % 4096 ? (seed >> 20) % 700 : (seed >> 20) % largest;
        unsigned char *p = block[at].p, mark = (unsigned char)at;
        size_t old = block[at].n;
        if (p && old && (p[0] != mark || p[old / 2] != mark || p[old - 1] != mark))
            faults++;
        if (p && (i >= steps || seed % 3 == 0)) {
            PyMem_Free(p);
            block[at].p = NULL;
            continue;
        }
        if (i >= steps)
            continue;
        if (p) {
            unsigned char *q = PyMem_Realloc(p, n);
            if (!q)
                continue;
            size_t kept = n < old ? n : old;
            if (kept && (q[0] != mark || q[kept / 2] != mark || q[kept - 1] != mark))
                faults++;
            p = q;
        }
        else if (seed % 5 == 0) {
            p = PyMem_Calloc(1, n);
            for (size_t j = 0; p && j < n; j++)
                faults += p[j] != 0;
        }
        else
            p = PyMem_Malloc(n);
        if (!p)
            continue;
        if (((unsigned long)p & 15) && n > 8)
            faults++;
        memset(p, mark, n);
        block[at].p = p;
        block[at].n = n;
    }
    free(block);
    return faults;
}

/* -- the collector -- */

/* The tp_traverse of an object with two slots that tells of the first one's reference twice. */
int liar_traverse(void **self, int (*visit)(void *, void *), void *arg) {
    for (int i = 0; i < 3; i++) {
        void *held = self[i < 2 ? 2 : 3];
        int result = held ? visit(held, arg) : 0;
        if (result)
            return result;
    }
    return 0;
}

/* Computes for so long without the interpreter (called by ctypes.CDLL). */
int compute(int milliseconds) {
    struct timeval now, end;
    gettimeofday(&end, NULL);
    end.tv_usec += milliseconds * 1000L;
    end.tv_sec += end.tv_usec / 1000000;
    end.tv_usec %= 1000000;
    do
        gettimeofday(&now, NULL);
    while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_usec < end.tv_usec));
    return milliseconds;
}

/* -- faults with memory, for the debug modes --------------------------------------------------- */

static noinline void fill(volatile unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = 0x55;
}

/* How many 32-bit words of a freed block are not 0xdeadbeef. `again`: after as many blocks more were freed. */
int unclobbered(size_t n, int again) {
    volatile uint32_t *p = PyMem_Malloc(n);
    int faults = 0;
    fill((volatile unsigned char *)p, n);
    PyMem_Free((void *)p);
    for (int i = 0; i < again; i++) {
        void *q = PyMem_Malloc(n);
        fill(q, n);
        PyMem_Free(q);
    }
    for (size_t i = 0; i < n / sizeof *p; i++)
        faults += p[i] != 0xdeadbeef;
    return faults;
}

/* The old place after a resize from n to m bytes: 0 it is the new one, 1 it is 0xdeadbeef, 2 something else. */
int stale_after_resize(size_t n, size_t m) {
    volatile uint32_t *p = PyMem_Malloc(n);
    fill((volatile unsigned char *)p, n);
    void *q = PyMem_Realloc((void *)p, m);
    int result = q == p ? 0 : p[0] == 0xdeadbeef ? 1 : 2;
    PyMem_Free(q);
    return result;
}

/* Reads byte `at` of a block of n bytes that was freed. */
noinline int read_after_free(size_t n, size_t at) {
    volatile unsigned char *p = PyMem_Malloc(n);
    fill(p, n);
    PyMem_Free((void *)p);
    return p[at];
}

/* Writes the byte `beyond` bytes behind a block of n. */
noinline int write_beyond(size_t n, size_t beyond) {
    volatile unsigned char *p = PyMem_Malloc(n);
    fill(p, n);
    p[n + beyond] = 1;
    PyMem_Free((void *)p);
    return 0;
}

int free_twice(size_t n) {
    void *volatile p = PyMem_Malloc(n);
    PyMem_Free(p);
    PyMem_Free(p);
    return 0;
}

/* Frees a block, `count` more, and the first one again. */
int free_again_later(size_t n, int count) {
    for (int i = 0; i < count; i++)
        PyMem_Free(PyMem_Malloc(n));
    void *volatile first = PyMem_Malloc(n);
    PyMem_Free(first);
    for (int i = 0; i < count; i++)
        PyMem_Free(PyMem_Malloc(n));
    PyMem_Free(first);
    return 0;
}

int free_inside(size_t n) {
    char *p = PyMem_Malloc(n);
    PyMem_Free(p + 16);
    return 0;
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

/* Whether `count` blocks of n bytes, each freed before the next one, have different addresses. */
int addresses_differ(size_t n, int count) {
    uintptr_t *seen = malloc((size_t)count * sizeof *seen);
    int differ = 1;
    for (int i = 0; i < count; i++) {
        void *p = PyMem_Malloc(n);
        seen[i] = (uintptr_t)p;
        PyMem_Free(p);
    }
    qsort(seen, (size_t)count, sizeof *seen, by_address);
    for (int i = 1; i < count; i++)
        differ &= seen[i] != seen[i - 1];
    free(seen);
    return differ;
}
