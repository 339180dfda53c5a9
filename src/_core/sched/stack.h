/* stack.h: goroutines' stacks: where they are (stack.c), what becomes of them (reclaim.c), and more of one for a
 * call (morestack.c). */
#ifndef GORT_STACK_H
#define GORT_STACK_H

#include "core.h"

g *gfget(void);    /* one that is dead, or new; NULL: MemoryError set */
void gfput(g *gp); /* it is dead */
int64_t gfree_count(void);
/* All goroutines that live, main first: {0} is the beginning. Needs no lock: others may begin and end meanwhile, so the
 * status says what a g is. NULL: there are no more. */
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
int64_t stack_count(void);
void shrink_stacks(void);
bool stacks_prepare(void);
/* What guard addr lies in: the size of that stack, else 0. Async-signal-safe. */
size_t stack_guard_hit(const void *addr);
char *sysstack(size_t size); /* a plain stack, for m0's scheduler; returns its low end */

/* -- reclaim.c ------------------------------------------------------------------------------------ */

/* When an M shall call stacks_reclaim, on its g0, with a P; INT64_MAX: there is nothing to give back. */
extern _Atomic int64_t reclaim_time;
static inline bool
reclaim_due(int64_t now)
{
    return atomic_load_explicit(&reclaim_time, memory_order_relaxed) <= now;
}
void stacks_reclaim(int64_t now, bool busy);
void stacks_reclaim_all(void);    /* at once; any thread with the GIL, which is given up meanwhile */
int64_t stacks_when(int64_t now); /* sysmon: the same time, after a look at whether there is something */
void stacks_finish(void);         /* sysmon: its part */
void reclaim_after_fork(void);
bool slabs_given(void);
void slabs_taken(void);
bool give_slabs_back(void); /* what sysmon has not done yet; true: there are empty slabs */

/* -- morestack.c ---------------------------------------------------------------------------------- */

int morestack_init(void); /* -1: exception set */
/* Calls fn(arg), which may park, on a stack of 8 MiB. False: there is none, and it was not called. */
bool morestack(g *gp, void (*fn)(void *), void *arg);
/* How far above its end the guard of a stack of this size lies, and is opened when it is reached; 0: it lies at the end. */
size_t redzone(size_t stride);
/* gp, which runs, has touched addr in the frame at its stack pointer. True: it goes on. Async-signal-safe. */
bool morestack_fault(g *gp, const char *addr);
void morestack_close(g *gp); /* at its end, if it is opened */
/* Hook: eval(arg) on a stack with room for it. False: there is none. */
bool morestack_eval(PyThreadState *ts, void (*eval)(void *), void *arg);
void morestack_shrink(void);
size_t morestack_bytes(void);
void morestack_after_fork(g *gp);

#endif
