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

/* The allocator's countdown of bytes: below zero the pacer looks at the heap. GIL held, in the middle of an allocation:
 * it runs no Python code and allocates nothing. */
extern int64_t gc_countdown;
void gc_look(void);

/* When a full collection is due though the heap has not grown; INT64_MAX: never. */
extern _Atomic int64_t gc_force_time;
/* ... and there may be a goroutine for it. A program without any is collected in its own thread alone. */
static inline int64_t
gc_force_when(void)
{
    return sched.goidgen > 1 ? atomic_load_explicit(&gc_force_time, memory_order_relaxed) : INT64_MAX;
}
/* It is due: starts that goroutine. GIL held; no Python code runs. */
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

#endif
