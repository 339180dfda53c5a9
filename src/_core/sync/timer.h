/* timer.h: what channels use of timers.
 *
 * A timer's channel owns the timer, and nothing else does: it goes with the channel. It has no buffer; what
 * the timer sends comes into being when somebody receives. So the timer is in the heap only while somebody
 * waits for the channel (timer.c). */
#ifndef GORT_TIMER_H
#define GORT_TIMER_H

#include "sched/time.h"

typedef struct chantimer {
    timer t;        /* t.when: when it fires next */
    chan *c;        /* its owner */
    int64_t period; /* 0: it fires once */
    bool active;    /* it was set, and what it sends then has not been received */
} chantimer;

/* Go's maybeRunChan: if it is due, it is fired for whoever waits already. True: it is due for the next one,
 * too, and chantimer_recv would receive. */
bool chantimer_maybe_run(chantimer *ct);
/* Receives without waiting: 1 got *v (owned), 0 it has not fired, -2 MemoryError. */
int chantimer_recv(chantimer *ct, PyObject **v);
/* What a receiver's sudog has in elem while it waits: a float of its own, to be given its value when the
 * timer fires. NULL: MemoryError. */
PyObject *chantimer_value(void);
/* The goroutine has put such a sudog into the queue of the channel; there is room in the heap. */
void chantimer_wait(chantimer *ct);
/* It has taken it out. */
void chantimer_leave(chantimer *ct);
/* With its channel, for which nobody waits any more. */
void chantimer_free(chantimer *ct);

/* Hooks: see hooks.h. */
void pay_owed(void);
void timer_lost(timer *t);

#endif
