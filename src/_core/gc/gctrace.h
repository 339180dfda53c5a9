/* gctrace.h: what is printed of a collection (gctrace.c). */
#ifndef GORT_GCTRACE_H
#define GORT_GCTRACE_H

#include "gc/mgc.h"
#include "gc/mgcpacer.h"

/* A cycle that has just ended, whose phase the pacer still has. Times are nanotime's, sizes bytes. */
typedef struct {
    uint32_t num;                  /* of cycles, with it */
    double cpu_fraction;           /* of all collections so far */
    int64_t marking, markend, end; /* CPython began, CPython ended, all that follows has */
    int64_t markcpu;               /* processor time from marking to markend */
    uint64_t goal, before;         /* what it aimed at; what the last one left */
    uint64_t heap, allocated;      /* what it left; what was allocated meanwhile */
    size_t startinuse;             /* bytes of spans in use when it began */
} gccycle;

/* gctrace=1's line for a cycle. All three write to errfd at once, and allocate nothing. */
void gctrace_cycle(const gcpacer *pacer, const gccycle *c);
/* gcpacertrace=1's lines: one when a cycle begins, with the goal that it has reached, and the others when it
 * has ended. */
void pacertrace_start(const gcpacer *pacer);
void pacertrace_end(const gcpacer *pacer, const gccycle *c);

#endif
