/* mgcpacer.h: what the pacer knows and decides: see mgcpacer.c.
 *
 * Pure: figures in, decisions out. It reads no clock and no heap and calls nobody, so that a test can have it
 * without a runtime; it includes nothing of the runtime for the same reason.
 */
#ifndef GORT_MGCPACER_H
#define GORT_MGCPACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of how much is wanted, then of how much is collected: they are compared. */
enum gcphase {
    Off,       /* CPython collects as it likes */
    Idle,      /* nothing is wanted, nothing runs */
    WantSlice, /* wanted, and asked of CPython: after a young one, some of the old objects */
    WantYoung, /* the goal is reached: a young one */
    WantFull,  /* the memory limit's goal is reached: a full one */
    WantRest,  /* the young one at the goal was not enough: a full one, in the same cycle */
    WantTimed, /* too long without a full one: a full one */
    RunOther,  /* the program's own, of a younger generation */
    RunSlice,
    RunYoung,  /* by count */
    RunGoal,   /* a young one at the goal: a cycle, or the beginning of one */
    RunFull,   /* a cycle, or the end of one */
    RunForced, /* the same, asked for by the program */
};

/* Times and processor times are in nanoseconds, sizes in bytes. */
typedef struct {
    int64_t time, cpu; /* nanotime, process_cputime */
    uint64_t heap, blocks;
} gcmoment;

typedef struct gcpacer {
    enum gcphase phase,
        next; /* next: what follows the collection that runs. Only the functions below write it */

    /* Settings: GOGC, -1: off; the memory limit, INT64_MAX: none; after how long a full collection is forced,
     * and how long that may take. After a change of one of the first two, call pacer_set_goals. */
    int percent;
    int64_t limit, force_period, force_most;

    /* Where the next cycle begins: GOGC's goal, and the memory limit's. */
    uint64_t goal, limitgoal;
    /* What the last cycle left, and the last full one; or less if the heap has been smaller since. */
    uint64_t least, full;
    /* When the last full one ended; what such a one takes for each block, and the number of blocks that this
     * was seen with; the goals that moved on since, though a full one promised something. */
    int64_t fullend;
    double price;
    uint64_t priced;
    unsigned putoff;
    /* The part of the old objects that is expected to be garbage, and the part of the young that was,
     * lately. */
    double garbage, mortality;
    unsigned invain; /* young collections that found nothing, in a row */
    uint64_t slice;  /* containers in the next one */
    /* A young collection comes after so many new containers, and this is the most that it may become. */
    int young, young_most;
    int unsliced; /* new containers since the last slice */

    /* Processor time for collections as the last one ended, below 0: overdrawn; the time then, and the
     * process's processor time. */
    int64_t account, lastend, lastcpu;
    gcmoment start; /* of the collection that runs, or ran last */
} gcpacer;

/* -- the phase -- */

/* What is asked of CPython, for now or for after the collection that runs; Idle: nothing; Off. */
static inline enum gcphase
pacer_wanted(const gcpacer *c)
{
    return c->phase >= RunOther ? c->next : c->phase;
}

/* From Off to Idle, with the default settings; now and cpu are those of a gcmoment. */
void pacer_start(gcpacer *c, int64_t now, int64_t cpu);
/* To Off, whatever the phase: CPython collects as it likes from now on. */
void pacer_stop(gcpacer *c);
/* Wants this collection, at once or after the one that runs. False: as much is asked for already, or it is
 * off. */
bool pacer_ask(gcpacer *c, enum gcphase want);
/* Wants nothing any more. A collection that runs is not touched. */
void pacer_unask(gcpacer *c);
/* A collection begins. due: CPython's count of the young says so, and automatic collection is on. forced: it
 * is runtime.gc()'s, if it is a full one. */
void pacer_begin(gcpacer *c, int generation, bool due, bool forced, gcmoment m);
/* The collection that runs has ended: the phase is what was asked for meanwhile. */
void pacer_end(gcpacer *c);

/* -- goals -- */

/* The heap at which the next cycle begins. */
static inline uint64_t
pacer_goal(const gcpacer *c)
{
    return c->limitgoal < c->goal ? c->limitgoal : c->goal;
}

/* beside: the memory that counts against the limit, less the heap. */
void pacer_set_goals(gcpacer *c, int64_t beside);
/* Takes the heap into account if it is smaller than all since the last cycle. True: the goals are to be
 * set. */
bool pacer_shrink(gcpacer *c, uint64_t heap);
int64_t pacer_countdown(const gcpacer *c, uint64_t heap); /* bytes until the next look at the heap */

/* GOGC, with the size of the young generation that goes with it. Then call pacer_set_goals. */
void pacer_set_percent(gcpacer *c, int percent);

/* -- which collection -- */

enum gcphase pacer_at_goal(const gcpacer *c, gcmoment m); /* Idle: none, it would take too much */
/* The young one at the goal has left this heap. True: a full one is to follow. False: none, and if there was
 * a promise it is put off. */
bool pacer_judge(gcpacer *c, gcmoment m);
/* How many containers the young one that has begun looks at; SIZE_MAX: all. */
size_t pacer_sample(const gcpacer *c);
/* Does a slice follow the collection that ends, and has left this heap? */
bool pacer_slice_follows(const gcpacer *c, uint64_t heap, int64_t cpu);
/* When a full one is due for the time that has passed, and whether it is short enough then. */
int64_t pacer_force_time(const gcpacer *c, int64_t now, uint32_t cycles);
bool pacer_may_force(const gcpacer *c, uint64_t blocks);

/* -- what a collection teaches, in this order -- */

/* The processor time of the collection that runs, where it could not be measured, because finalizers wait. */
int64_t pacer_guess(const gcpacer *c, size_t looked);
/* measured: the time since it began is its own. True: the goals are to be set. */
bool pacer_cycle_ends(gcpacer *c, uint64_t heap, int64_t now, bool measured);
/* The collection looked at `looked` containers, if it was a young one or a slice, and `collected` were
 * garbage. */
void pacer_learn(gcpacer *c, size_t looked, size_t collected);
void pacer_pay(gcpacer *c, int64_t took, int64_t now, int64_t cpu); /* took: processor time of this thread */

#endif
