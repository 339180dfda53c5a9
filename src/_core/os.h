/* os.h: all that the runtime wants from the operating system. Implemented by os_linux.c. */
#ifndef GORT_OS_H
#define GORT_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t nanotime(void); /* monotonic */
double walltime(void);  /* Unix seconds */

/* Sleeps while *addr == val, until the monotonic time `deadline` (INT64_MAX: for ever). 0 woken or changed,
 * EINTR, ETIMEDOUT. */
int futex_sleep(_Atomic uint32_t *addr, uint32_t val, int64_t deadline);
void futex_wake(_Atomic uint32_t *addr);
void os_timerslack(void); /* this thread's sleeps end on time */

void *mem_reserve(size_t size); /* zeroed, backed only when touched, small pages; NULL: errno */
/* Zeroed memory for the heap, near `hint` if it can be, aligned, and shown under a name in /proc/self/smaps where the
 * kernel has names. NULL: errno. */
void *mem_map(void *hint, size_t size, size_t align, const char *name);
void mem_unmap(void *addr, size_t size);
void mem_populate(void *addr, size_t size); /* backs untouched pages at once; best effort */
/* Gives the memory back. True: the pages read as zeros now. */
bool mem_release(void *addr, size_t size);
void mem_discard(void *addr, size_t size); /* gives the memory back if it can; the pages read as zeros */
extern bool mem_lazily;                    /* with MADV_FREE: the kernel takes the pages when it needs them */
/* Moves whole pages: `from` reads as zeros then and has no memory. False: the kernel does not do it, and all is as
 * before except that `to` may hold anything. */
bool mem_move(void *to, void *from, size_t size);
/* Makes the page inaccessible. 0, or -1: neither kind of guard can be had. */
int mem_guard(void *addr, size_t size);
/* Makes pages inaccessible for good, if that can be, and gives their memory back. */
void mem_fence(void *addr, size_t size);
/* The same of pages that are inaccessible already: gives back what the kernel needs for each of them, if it can. */
void mem_fence_all(void *addr, size_t size);
void mem_small_pages(void *addr, size_t size); /* one touched byte shall cost one small page */
/* Does each guard take a mapping, of which there are only so many? */
bool mem_guards_are_mappings(void);
size_t mem_max_mappings(void);
/* From now on as on a kernel that has no guard pages without mappings of their own; for tests. */
void mem_without_guard_markers(void);
/* Copies what can be read of n bytes, and says how many those were. Async-signal-safe. */
size_t mem_copy(void *to, const void *from, size_t n);
/* All n bytes or false. */
bool mem_read(void *to, const void *from, size_t n);
bool mem_readable(const void *addr);
#define PAGES_MAX 64
void mem_guard_pages(char *const *pages, int n); /* at most PAGES_MAX; best effort */

/* Calls these before a fork, in the parent after it, and in the child. */
void around_forks(void (*before)(void), void (*parent)(void), void (*child)(void));
int thread_start(void *(*fn)(void *), void *arg, size_t stack_size); /* detached; errno value */
void thread_bounds(char **lo, char **hi);
void thread_at_exit(void (*fn)(void *), void *arg); /* this thread, one call per thread */
/* This thread's pthread_exit never completes: it sleeps on the stack that it was called on. */
void thread_never_exits(void);
void thread_yield(void);
void sleep_ns(int64_t ns);
bool thread_computes(int32_t tid); /* it has a processor, or waits for one */
int64_t thread_cputime(void);      /* of this thread, in nanoseconds */
void thread_kill(int32_t tid, int sig);
bool thread_exists(int32_t tid); /* in this process, as the kernel counts its threads */
/* What a signal handler's third argument says. context_reg: the ith register; false: there are no more. */
uintptr_t context_pc(const void *uc);
bool context_reg(const void *uc, int i, const char **name, uint64_t *value);
void thread_name(const char *name);
bool shadow_stack_on(void); /* does this thread run with a hardware shadow stack? */
/* What a place in a program's execution is for an unwinder: the registers that a function keeps for its caller. The
 * assembly in arch/ knows the order. */
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
bool write_all(int fd, const char *buf, size_t n);

#endif
