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
void gc_stats(gcstats *to);

/* Hooks: the heap has used up its countdown; sched.forcegc has come: starts a goroutine that collects. */
void gc_look(void);
void gc_force(void);

/* mgcmark.c */
void gc_check_pointers(void);
void gc_checkmark_start(void);
void gc_checkmark_end(void);
void gc_stop_the_world(void);

void gc_stop(void);
void gc_before_fork(void); /* with the GIL, which it may give up */
/* In the child, where the collections of others will not end. */
void gc_after_fork(const PyThreadState *left);
int gort_gc_init(PyObject *module);

/* For the tests: a full collection is forced after this time if it takes `most` at most, in nanoseconds. */
void gc_set_force_period(int64_t period, int64_t most);
int gort_forceperiod_init(PyObject *module); /* forceperiod.c */

/* mgcscavenge.c. Hook: sysmon gives memory back if it is time for it. Returns when to be asked again, at the latest. */
int64_t scavenge(int64_t now, bool idle);
int gort_scavenge_init(PyObject *module);

#endif
