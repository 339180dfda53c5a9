/* wait.h: the one way to wait: a queue of sudogs, a park, and the waker that takes a sudog out again.
 * Channels, select, sync, sleep and the collector are built on it. GIL held.
 *
 *   wait_until   takes turns until it has what it waits for. A turn looks, and waits once if it must. Signals
 *                interrupt main's waits: their handlers run between two turns, and nowhere else.
 *   park_in      one wait in one queue, inline: for channels, whose sudogs carry a value.
 *   wait_in      the same for locks: a fork may lose the waiter that was handed one.
 *   wait_for     wait_until with wait_in, for what takes one look and one queue.
 *
 * THE RULE OF PYTHON CODE (core.h) holds from waitq_push to the switch in gopark. With park_in and wait_in a
 * caller cannot break it. select, which queues several sudogs, and Cond, which unlocks between queue and
 * park, keep it in their turns.
 */
#ifndef GORT_WAIT_H
#define GORT_WAIT_H

#include "core.h"

/* Parks until goready(gp), or, main only, until a signal waits: the caller knows from its `wait`. */
void gopark(g *gp, enum waitreason why);

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

/* Takes the first waiter that nobody has woken yet and that still exists (a fork loses all goroutines but
 * one). Others before it leave the queue. NULL: there is none. */
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

/* -- where a sudog lies ---------------------------------------------------------------------------- */

/* The slow parts of the two functions below: the sudog is on the heap, out of gp's list of those that are not
 * in use. Without memory it is `here` after all, and a fork at this moment may leave a queue with a stale
 * pointer. */
waiter *pthread_waiter(pthread_g *gp, waiter *here);
void pthread_waiter_back(pthread_g *gp, waiter *at);

/* Where gp keeps its sudog while it waits: `here`, on its stack, unless a fork may take that stack away
 * (fork.c). */
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

/* -- waiting ------------------------------------------------------------------------------------------ */

/* One wait of gp in q, as `at`. False: a signal has interrupted main, no waker took it, and it is out of the
 * queue, before handlers run: if they raise, nothing may have happened to elem. */
static inline bool
park_in(g *gp, waitq *q, waiter *at, PyObject *elem, bool front, enum waitreason why)
{
    at->w = (wait){.g = gp};
    at->s = (sudog){.w = &at->w, .elem = elem};
    waitq_push(q, &at->s, front);
    gopark(gp, why);
    if (likely(at->w.fired != NULL))
        return true;
    waitq_remove(q, &at->s);
    return false;
}

/* Waits in q for something that `of` has. 0: a waker took the sudog; -1: interrupted (out of the queue,
 * nothing owned). `lost`: see handover; NULL: a waker hands nothing over. */
int wait_in(g *gp, waitq *q, bool front, enum waitreason why, void *of, void (*lost)(void *of, bool woken));

/* What wait_for waits for. */
typedef struct {
    enum waitreason why;
    bool (*take)(void *of, g *gp);      /* has it now, if it can be had. No Python code */
    void (*lost)(void *of, bool woken); /* as in wait_in */
} waitable;

/* Takes it, or waits in q until a waker hands it over. 0, -1 and `kept` as in wait_until. */
int wait_for(g *gp, waitq *q, const waitable *what, void *of, PyObject **kept);

/* The handlers of the signals that interrupted a wait. False: what they raise ends it. With `kept` it does
 * not, unless the interpreter ends: see locker_lock_always. */
bool run_handlers(PyObject **kept);

/* What a turn of a wait came to. */
enum turn {
    HAD,         /* it has what it waits for */
    NOT_HAD,     /* an exception is set */
    LOOK_AGAIN,  /* it was woken, but not handed anything: somebody else may have it */
    INTERRUPTED, /* by a signal, and it is out of its queue: the handlers run now, before it looks again */
};

/* Takes turns until one has it, 0, or an exception ends the wait, -1. Whoever comes back to wait again does
 * so in front: it was in no queue meanwhile, and others came later. The first turn waits in front if `front`
 * says so. Inline, with a `turn` that the compiler knows, this is the loop that each primitive would have. */
static inline int
wait_until(g *gp, void *of, enum turn (*turn)(void *of, g *gp, bool front), bool front, PyObject **kept)
{
    for (;; front = true) {
        switch (turn(of, gp, front)) {
        case HAD:
            return 0;
        case NOT_HAD:
            return -1;
        case LOOK_AGAIN:
            break;
        case INTERRUPTED:
            if (!run_handlers(kept))
                return -1;
        }
    }
}

/* The exception that is set becomes *kept, and one that is there already its context. */
void keep_exception(PyObject **kept);

#endif
