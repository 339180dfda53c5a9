/* hooks.h: what a lower layer tells a higher one, or asks it.
 *
 * A layer calls only those below it (tools/check_seams.py). Where something that happens below concerns a
 * layer above, it calls one of these. They are all here, so that a reader sees what may come up from below,
 * with which locks.
 *
 * hooks.c says who takes them. No hook is NULL, and a call costs one load more than a direct one.
 *
 * Rejected: a list of functions for each event. Each event has one taker, and nothing would say in which
 * order several are called.
 */
#ifndef GORT_HOOKS_H
#define GORT_HOOKS_H

#include "core.h"

struct out; /* lib/out.h */

struct hooks {
    /* -- cpython: any thread with the GIL -- */

    /* Calls eval(arg) on a stack with room for it. False: there is none. */
    bool (*eval_deep)(PyThreadState *ts, void (*eval)(void *), void *arg);

    /* -- mem: with the GIL -- */

    /* At the installation of the heap: the hooks of these debug modes. */
    PyMemAllocatorEx (*debug_hooks)(unsigned modes, const PyMemAllocatorEx *previous);

    /* In the middle of an allocation or a free: no Python code runs, and no memory of Python's is
     * allocated. */

    /* heap_countdown has fallen below 0: as many bytes have been allocated as its owner wanted to wait
     * for. */
    void (*heap_goal)(void);
    /* A block that span_add_special() has counted is freed. */
    void (*special_freed)(void *p);
    /* There is idle memory worth giving back, and mheap_unwatched was set. */
    void (*memory_idle)(void);

    /* -- sched: with the GIL, except where another line says otherwise -- */

    /* A goroutine begins: notes where in ts, its creator's, it was made. No Python code runs. */
    void (*born)(g *gp, PyThreadState *ts);
    /* The goroutine that a belongs to ends. */
    void (*free_ancestors)(ancestors *a);
    /* A goroutine ends, and has the import lock (sched.importer). */
    void (*importer_ended)(void);
    /* sched.owing is set. In a goroutine that was just resumed; runs Python code. */
    void (*pay_owed)(void);
    /* In the child of a fork, as `forked`: the timer is out of the heap, and will not fire. No Python code
     * runs. */
    void (*timer_lost)(timer *t);
    /* sched.forcegc has come. No Python code runs. */
    void (*force_gc)(void);
    /* sysmon, without the GIL: gives memory back if it is time for it. Returns when to be asked again, at the
     * latest. */
    int64_t (*scavenge)(int64_t now, bool idle);
    /* Is there a signal handler that is neither Python's nor ours? `known`: signals that Python handles, bit
     * N-1 for signal N. */
    bool (*handled_in_c)(uint64_t known);
    /* sysmon, without the GIL: has SIGQUIT come? If so, sysmon calls quit, which has the dump written and
     * ends the process. */
    bool (*quit_wanted)(void);
    void (*quit)(void);
    /* In the handler of the runtime's own signal, in any thread. */
    void (*kicked)(void *uc);
    /* In the child of a fork, before Python code may wait in gort; without the GIL if C code forked without
     * it. ts is of the thread that is left, gp its goroutine; NULL: it is a plain thread. */
    void (*forked)(const PyThreadState *ts, const g *gp);
    /* And when Python code may run. */
    void (*forked_late)(void);

    /* -- gc: with the GIL -- */

    /* A cycle has ended. Allocates nothing. */
    void (*cycle_ended)(void);

    /* -- stacks: with and without the GIL, in signal handlers too -- */

    /* The frames of C code: see cgo/cgo.h. */
    void (*print_context)(struct out *o, g *gp, int nth);
    void (*print_signal)(struct out *o, void *ucontext);
};
/* The only one, a constant: hooks.c. */
extern const struct hooks hooks __attribute__((visibility("hidden")));

#endif
