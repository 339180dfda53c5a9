/* stack.h: goroutines' stacks: where they are (stack.c), what becomes of them (reclaim.c), and more of one
 * for a call (morestack.c). */
#ifndef GORT_STACK_H
#define GORT_STACK_H

#include "core.h"

g *gfget(void);    /* a g that is dead, or new; NULL: MemoryError set. It may have no thread state */
void gfput(g *gp); /* it is dead, and may still be on its stack */
/* How many goroutines wait, with their stacks, for a next life. Needs no lock. */
int64_t gfree_count(void);
/* All goroutines that live, main first: {0} is the beginning. Needs no lock: others may begin and end
 * meanwhile, so look at the status of each. NULL: there are no more. */
typedef struct {
    bool begun;
    int slab;
    uint32_t word;
    uint64_t bits;
} allgs;
g *allgs_next(allgs *at);
void stacks_after_fork(const g *me);          /* in the child: all others are lost */
bool set_max_stack(size_t n, size_t *old);    /* false: no memory */
void stack_stats(size_t *inuse, size_t *sys); /* bytes of addresses */
int64_t stack_count(void);                    /* stacks that have a g, dead ones included */
/* The collector: gives back what parked and dead goroutines have touched below where they are now, of up to
 * 4096 at each call. */
void shrink_stacks(void);
/* sysmon, without the GIL: prepares some of the next stacks, if many are being made. False: nothing to do. */
bool stacks_prepare(void);
/* The size of the stack whose guard addr lies in; 0: it lies in none. Async-signal-safe. */
size_t stack_guard_hit(const void *addr);
char *sysstack(size_t size); /* a plain stack, for m0's scheduler; returns its low end */

/* -- reclaim.c ------------------------------------------------------------------------------------ */

/* When an M has to call stacks_reclaim, on its g0, with a P; INT64_MAX: there is nothing to give back. */
extern _Atomic int64_t reclaim_time;
static inline bool
reclaim_due(int64_t now)
{
    return atomic_load_explicit(&reclaim_time, memory_order_relaxed) <= now;
}
/* One batch, of a few milliseconds at most, and sets reclaim_time: at once if something is left, or a little
 * later if the M is `busy`. */
void stacks_reclaim(int64_t now, bool busy);
void stacks_reclaim_all(void);    /* at once; any thread with the GIL, which is given up meanwhile */
int64_t stacks_when(int64_t now); /* sysmon: reclaim_time, which it sets if there is something to give back */
void stacks_finish(void);      /* sysmon, without the GIL: maps slabs anew, and has libc give memory back */
void reclaim_after_fork(void); /* counts the slabs again: the parent's sysmon may have been at work on one */
bool slabs_given(void);        /* are there empty slabs? */
void slabs_taken(void);        /* one of them is in use */
bool give_slabs_back(void);    /* what sysmon has not done yet; true: there are empty slabs */

/* -- morestack.c ---------------------------------------------------------------------------------- */

/* Replaces the functions of CPython that are to run on a large stack. -1: exception set. */
int morestack_init(void);
/* Calls fn(arg), which may park, on a stack of 8 MiB. False: there is none, and it was not called. */
bool morestack(g *gp, void (*fn)(void *), void *arg);
/* How far above its end the guard of a stack of this size lies, and is opened when it is reached; 0: it lies
 * at the end. */
size_t redzone(size_t stride);
/* gp, which runs, has touched addr in the frame at its stack pointer. True: it goes on. Async-signal-safe. */
bool morestack_fault(g *gp, const char *addr);
void morestack_close(g *gp); /* guards its stack again, if the guard is open: gp is back above it */
/* Hook: eval(arg) on a stack with room for it. False: there is none, and it was not called. */
bool morestack_eval(PyThreadState *ts, void (*eval)(void *), void *arg);
void morestack_shrink(void);  /* the collector: gives back the memory of the stacks in the pool */
size_t morestack_bytes(void); /* addresses of its stacks, the pool included */
/* In the child of a fork, where gp is left; NULL: a plain thread is. Only the guard of gp's stack may be
 * open. */
void morestack_after_fork(g *gp);

#endif
