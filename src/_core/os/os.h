/* os.h: all that the runtime wants from the operating system, by noun, a section for each file of this
 * folder. The folder knows nothing of CPython or of goroutines. */
#ifndef GORT_OS_H
#define GORT_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- clock_linux.c ---------------------------------------------------------------------------- */

int64_t nanotime(void);        /* monotonic */
double walltime(void);         /* Unix seconds */
int64_t thread_cputime(void);  /* of this thread, in nanoseconds */
int64_t process_cputime(void); /* of all threads */
void sleep_ns(int64_t ns);     /* or less, if a signal comes */
void os_timerslack(void);      /* from now on this thread's sleeps end within 1 us of their time */

/* -- futex_linux.c ---------------------------------------------------------------------------- */

/* Sleeps while *addr == val, until the monotonic time `deadline` (INT64_MAX: for ever). 0 woken or changed,
 * EINTR, ETIMEDOUT. */
int futex_sleep(_Atomic uint32_t *addr, uint32_t val, int64_t deadline);
void futex_wake(_Atomic uint32_t *addr); /* one thread that sleeps there, if any; of this process */

/* -- mem_linux.c: memory ---------------------------------------------------------------------- */

bool mem_limited(void);         /* the process may have only so many addresses (RLIMIT_AS) */
void *mem_reserve(size_t size); /* zeroed, backed only when touched, small pages; NULL: errno */
/* Part of that as it was in the beginning: zeroed, without guards, memory and page tables. The addresses stay
 * in use throughout. False: the kernel has no room for the change; then only the memory is gone, if that can
 * be. */
bool mem_renew(void *addr, size_t size);
void mem_trim(void); /* libc gives back what it has free */
/* Zeroed memory for the heap, near `hint` if it can be, aligned, and shown under a name in /proc/self/smaps
 * where the kernel has names. NULL: errno. */
void *mem_map(void *hint, size_t size, size_t align, const char *name);
void mem_unmap(void *addr, size_t size);    /* the addresses may be somebody else's after it */
void mem_populate(void *addr, size_t size); /* backs untouched pages at once; best effort */
/* Gives the memory back. True: the pages read as zeros now. */
bool mem_release(void *addr, size_t size);
void mem_discard(void *addr, size_t size); /* gives the memory back if it can; the pages read as zeros */
extern bool mem_lazily;                    /* with MADV_FREE: the kernel takes the pages when it needs them */
/* Moves whole pages: `from` reads as zeros then and has no memory. False: the kernel does not do it, and all
 * is as before except that `to` may hold anything. */
bool mem_move(void *to, void *from, size_t size);
/* Makes pages inaccessible. 0, or -1: neither kind of guard can be had. */
int mem_guard(void *addr, size_t size);
void mem_unguard(void *addr, size_t size); /* accessible again, guarded or not. Both are async-signal-safe */
/* Makes pages inaccessible for good, if that can be, and gives their memory back. */
void mem_fence(void *addr, size_t size);
/* The same of pages that are inaccessible already: gives back what the kernel needs for each of them, if it
 * can. */
void mem_fence_all(void *addr, size_t size);
void mem_small_pages(void *addr, size_t size); /* one touched byte costs one small page */
/* Does each guard take a mapping, of which there are only so many? */
bool mem_guards_are_mappings(void);
/* From now on as on a kernel that has no guard pages without mappings of their own; GORT_TESTS. */
void mem_without_guard_markers(void);
#define PAGES_MAX 64
void mem_guard_all(char *const *at, int n, size_t size); /* at most PAGES_MAX places; best effort */

/* -- memread_linux.c: memory that may not be there -------------------------------------------- */

/* How memory is read of which it is not known whether it is there. All are async-signal-safe. */
enum care {
    TRUSTING, /* it is there */
    CAREFUL,  /* system calls copy it: in any thread at any time */
    CATCHING, /* it is just read, and the fault is caught: if faults_are_caught() said so a moment ago */
};
/* Copies the part of n bytes that can be read, CAREFUL, and returns how many those were. */
size_t mem_copy(void *to, const void *from, size_t n);
/* All n bytes or false. CAREFUL. */
bool mem_read(void *to, const void *from, size_t n);
/* The same with this care, in which TRUSTING is a plain copy. */
bool mem_look(void *to, const void *from, size_t n, enum care care);
/* For the handler of a fault, with its third argument: was it one that CATCHING met? Then the handler has
 * only to return. */
bool fault_caught(void *uc);

/* -- thread_linux.c --------------------------------------------------------------------------- */

/* Calls these before a fork, in the parent after it, and in the child. */
void around_forks(void (*before)(void), void (*parent)(void), void (*child)(void));
/* A detached thread that has this signal mask from its first instruction on. errno value. */
int thread_start(void *(*fn)(void *), void *arg, size_t stack_size, uint64_t sigmask);
void thread_bounds(char **lo, char **hi);           /* of this thread's own stack */
void thread_at_exit(void (*fn)(void *), void *arg); /* this thread, one call per thread */
/* This thread's pthread_exit never completes: it sleeps on the stack that it was called on. For a thread on
 * whose first stack another one may be running when it ends. */
void thread_never_exits(void);
void thread_may_exit(void);             /* after all; as if that had not been called */
void thread_yield(void);                /* others of the same priority may run first */
void thread_kill(int32_t tid, int sig); /* to this thread of the process; lost if it has ended */
bool thread_exists(int32_t tid);        /* in this process, as the kernel counts its threads */
void thread_name(const char *name);     /* of this thread, for ps and debuggers: at most 15 characters */
/* That of a thread of this process, which Python knows by this identifier; like pthread_getname_np, for which
 * library_redirect can put another function. */
int thread_getname(unsigned long ident, char *buf, size_t size);
bool shadow_stack_on(void); /* does this thread run with a hardware shadow stack? */

/* -- proc_linux.c: what the system knows of the process --------------------------------------- */

bool thread_computes(int32_t tid); /* it has a processor, or waits for one */
int64_t others_switches(void);     /* how often the other threads have lost a processor, asleep or not */
/* How many threads the process has; -1: the system does not say. */
int32_t thread_count(void);
/* Does the thread sleep until another one of this process wakes it? False also if that cannot be known. */
bool thread_waits(int32_t tid);
/* The first thread but this one that `is`; 0: none. */
int32_t thread_find(bool (*is)(int32_t tid));
size_t mem_max_mappings(void); /* how many a process may have */

/* -- signal_linux.c: masks, the third argument of handlers, alternate stacks ------------------- */

/* The signals that this thread blocks: bit n - 1 is signal n's. sigmask_set returns what it was. */
uint64_t sigmask_get(void);
uint64_t sigmask_set(uint64_t mask);
extern const uint64_t sigmask_faults;  /* what an instruction of the thread itself causes, and abort() */
extern const uint64_t sigmask_profile; /* SIGPROF */
void context_set_sigmask(void *uc, uint64_t mask); /* what the interrupted thread goes on with */
/* What a signal handler's third argument says: where the thread was, and its ith register; false: there are
 * no more. */
uintptr_t context_pc(const void *uc);
/* Calls f(), in a handler. If this thread faults meanwhile, and the handler of that calls fault_escape, which
 * does not return then, the result is false. For one thread at a time. */
bool fault_escaping(bool (*f)(void));
void fault_escape(void);
bool context_reg(const void *uc, int i, const char **name, uint64_t *value);
/* What a place in a program's execution is for an unwinder: the registers that a function keeps for its
 * caller. The assembly in arch/ and in cgo/ knows the order. */
typedef struct {
    uintptr_t pc, sp;
#if defined(__x86_64__)
    uintptr_t rbx, rbp, r12, r13, r14, r15;
#else
    uintptr_t x19_x29[11];
#endif
} registers;
/* Those of a signal handler's third argument. */
void ucontext_registers(const void *ucontext, registers *r);

/* Gives this thread a signal stack, unless it has one: returns it, for stack_altstack_free when the thread
 * ends. */
void *stack_altstack(void);
void stack_altstack_free(void *stack);

/* -- library_linux.c: shared libraries -------------------------------------------------------- */

/* The shared library that holds addr calls `to` from now on when it calls the function `name` of another
 * library or of the program. False: it does not, or that cannot be changed. */
bool library_redirect(const void *addr, const char *name, void *to);
/* This thread's copy of the thread-local variables of the library that holds addr. False: it has none. */
bool library_tls(const void *addr, char **data, size_t *size);

/* -- fd.c: file descriptors ------------------------------------------------------------------- */

/* The runtime's text goes here: the standard error that the process was started with, or nowhere. */
extern int errfd;
/* At the start: opens /dev/null on those of the descriptors 0 to 2 that are closed, as Go does, so that no
 * file of the program's gets their numbers. `had_stderr`: descriptor 2 was there when the process started;
 * else it may be a file. */
void standard_fds(bool had_stderr);
bool write_all(int fd, const char *buf, size_t n); /* false: errno */
/* Not a descriptor, but for write_all: errfd, and what that was at the start if it is captured. For text that
 * says why the process ends. */
#define FATALFD (1 << 30)
/* What errfd was at the start: a test runner knows it that has captured errfd before. */
void fatal_to(int fd);
void fatal_forget(void); /* in the child of a fork: errfd alone */
/* Lines to errfd, or FATALFD, in one write. What does not fit into 640 bytes is cut. */
__attribute__((format(printf, 1, 2))) void err_printf(const char *format, ...);
__attribute__((format(printf, 1, 2))) void fatal_printf(const char *format, ...);

#endif
