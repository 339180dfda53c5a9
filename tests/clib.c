/* C code for the tests: what a C extension might do to a goroutine. Called through ctypes. */

#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
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
