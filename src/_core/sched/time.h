/* time.h: the timer heap (time.c). GIL held. */
#ifndef GORT_TIME_H
#define GORT_TIME_H

#include "core.h"

struct timer {
    int64_t when;
    /* runs in the scheduler: no Python code, no parking; true: it goes back into the heap, with a new
     * `when` */
    bool (*f)(timer *t, int64_t now);
    int32_t index; /* in the heap; -1: not in it */
};

void addtimer(timer *t);      /* when is set, index -1; there is room */
bool deltimer(timer *t);      /* false: it was not in the heap */
int timer_reserve(int32_t n); /* room for n more; -1: MemoryError */
void runtimers(int64_t now);  /* calls f of all that are due */
void timers_after_fork(void); /* in the child */
/* Parks for at least this many nanoseconds. -1: a signal's handler has raised, or there is no memory. */
int gosleep(int64_t ns);

#endif
