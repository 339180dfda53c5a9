/* mgc.h: the pacer: when CPython's collector runs. */
#ifndef GORT_MGC_H
#define GORT_MGC_H

#include "core.h"

/* What GODEBUG says of the collector. */
typedef struct {
    int trace, pacertrace, stoptheworld, checkmark, invalidptr, shrinkstackoff;
} gcdebug;
extern gcdebug gcdebugging;

/* Figures for MemStats. Bytes and nanoseconds; times of day since 1970. */
#define PAUSES 256
typedef struct gcstats {
    uint64_t next_gc, last_gc, pause_total, pause_ns[PAUSES], pause_end[PAUSES];
    uint32_t num_gc, num_forced;
    double cpu_fraction;
} gcstats;
/* A copy of them as of now; next_gc is the goal. */
void gc_stats(gcstats *to);

/* Hooks: the heap has used up its countdown; sched.forcegc has come: starts a goroutine that collects. */
void gc_look(void);
void gc_force(void);

/* -- mgcmark.c; called by the collector's callback -- */

/* invalidptr, before a full collection that begins now, with so many blocks: looks at each pointer that a
 * container holds, if it is time for it. One that leads to no object is fatal. */
void gc_check_pointers(int64_t now, uint64_t blocks);
#define BAD_POINTER "found bad pointer in Go heap (incorrect use of unsafe or cgo?)"
/* In the handler of a fault: if it came in a collection because of such a pointer, this is said (but for
 * `fatal error: ` and BAD_POINTER), and the result is true. May fault. */
bool gc_explains_fault(void);
/* gccheckmark: has CPython keep the garbage of the collection that begins. Nothing if the program has
 * DEBUG_SAVEALL on. */
void gc_checkmark_start(void);
/* Looks for that garbage from the roots: what is found is fatal. Else clears it, which runs code of the
 * program. */
void gc_checkmark_end(void);
/* gcstoptheworld: waits, with the GIL, until no goroutine computes in C without it; at most 10 s for all of
 * them. */
void gc_stop_the_world(void);

/* -- mgc.c -- */

/* The interpreter is about to end: puts the program's thresholds back and asks for nothing any more. */
void gc_stop(void);
/* Waits up to 100 ms for a collection of another thread or goroutine to end. With the GIL, which it may give
 * up. */
void gc_before_fork(void);
/* In the child, where the collections of others will not end. */
void gc_after_fork(const PyThreadState *left);
/* Adds to the module what sets the pacer and asks for collections. -1: exception set. */
int gort_gc_init(PyObject *module);

/* For the tests: a full collection is forced after this time if it takes `most` at most, in nanoseconds. */
void gc_set_force_period(int64_t period, int64_t most);
int gort_forceperiod_init(PyObject *module); /* forceperiod.c. -1: exception set */

/* -- mgcscavenge.c -- */

/* Hook: sysmon gives memory back if it is time for it. Returns when to be asked again, at the latest. */
int64_t scavenge(int64_t now, bool idle);
/* Adds to the module what debug.free_os_memory() and GODEBUG=scavenge call. -1: exception set. */
int gort_scavenge_init(PyObject *module);

#endif
