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

/* mgcmark.c */
void gc_check_pointers(void);
void gc_checkmark_start(void);
void gc_checkmark_end(void);
void gc_stop_the_world(void);

void gc_stop(void);
int gort_gc_init(PyObject *module);

#endif
