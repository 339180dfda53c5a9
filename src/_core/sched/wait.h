/* wait.h: queues of waiting goroutines. GIL held. */
#ifndef GORT_WAIT_H
#define GORT_WAIT_H

#include "core.h"

/* fork.c */
waiter *pthread_waiter(pthread_g *gp, waiter *here);
void pthread_waiter_back(pthread_g *gp, waiter *at);

/* Where gp keeps its sudog while it waits: `here`, on its stack, if that stays what it is whatever happens. */
static inline waiter *
waiter_for(g *gp, waiter *here)
{
    return unlikely(gp->flags & G_PTHREAD) ? pthread_waiter((pthread_g *)gp, here) : here;
}

/* It is in no queue any more. */
static inline void
waiter_back(g *gp, waiter *at, const waiter *here)
{
    if (unlikely(at != here))
        pthread_waiter_back((pthread_g *)gp, at);
}

static inline void
waitq_push(waitq *q, sudog *s, bool front)
{
    s->queued = true;
    if (front) {
        s->prev = NULL;
        s->next = q->head;
        if (q->head)
            q->head->prev = s;
        else
            q->tail = s;
        q->head = s;
    }
    else {
        s->next = NULL;
        s->prev = q->tail;
        if (q->tail)
            q->tail->next = s;
        else
            q->head = s;
        q->tail = s;
    }
}

static inline void
waitq_remove(waitq *q, sudog *s)
{
    if (!s->queued)
        return;
    s->queued = false;

    if (s->prev)
        s->prev->next = s->next;
    else
        q->head = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        q->tail = s->prev;
#if GORT_DEBUG >= 2
    s->next = s->prev = (sudog *)0xdeaddeaddeadULL;
#endif
}

/* Takes the first waiter that nobody woke yet and that still exists (a fork loses all goroutines but one). */
static inline sudog *
waitq_pop(waitq *q)
{
    sudog *s;
    while ((s = q->head) != NULL) {
        waitq_remove(q, s);
        if (s->w->fired == NULL && s->w->g->status != Glost) {
            s->w->fired = s;
            return s;
        }
    }
    return NULL;
}

/* The first waiter that waitq_pop would take. */
static inline sudog *
waitq_peek(waitq *q)
{
    sudog *s;
    while ((s = q->head) != NULL && (s->w->fired != NULL || s->w->g->status == Glost))
        waitq_remove(q, s);
    return s;
}

#endif
