/* wait.c: the wait of a goroutine in one queue, for the locks and semaphores of package sync.
 *
 * The rule of core.h, no Python code and no release of the GIL between queue and switch, is kept here for all of them: wait_in
 * queues, parks and, after a signal, takes the waiter out of the queue. What the handlers of a signal raise is dealt with after
 * that, when everything is in order (goes_on). The caller's loop then tries again, and waits in front of the others.
 *
 * With the GIL, by the goroutine that waits.
 *
 * Differs from Go: a wait of the main goroutine is interrupted by signals.
 */
#include "core.h"

#include "cpython/compat.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

int
wait_in(g *gp, waitq *q, bool front, enum waitreason why, void *lock, void (*lost)(void *lock, bool woken))
{
    waiter here, *at = waiter_for(gp, &here);
    at->w = (wait){.g = gp};
    at->s = (sudog){.w = &at->w};
    handover h = {&at->w, lock, lost, gp->handover};
    if (lost)
        gp->handover = &h; /* before it is queued: from then on a fork may lose what a waker gives it */
    waitq_push(q, &at->s, front);
    gopark(gp, why);
    gp->handover = h.outer; /* at once: it runs, and what it was given it holds like any other lock */
    bool fired = at->w.fired != NULL;
    if (unlikely(!fired))
        waitq_remove(q, &at->s);
    waiter_back(gp, at, &here);
    return fired ? 0 : -1;
}

/* The contexts of exc would lead back to it, if they are those of `before`, and whoever follows them would not come to an
 * end: they end before it. As CPython has it when an exception is raised. */
static void
part_from(PyObject *exc, PyObject *before)
{
    PyObject *at = before, *slow = before, *context;
    for (bool second = false; (context = PyException_GetContext(at)) != NULL; second = !second) {
        Py_DECREF(context); /* `at` has it */
        if (context == exc) {
            PyException_SetContext(at, NULL);
            return;
        }
        if (second) {
            slow = PyException_GetContext(slow);
            Py_DECREF(slow);
        }
        if (context == slow)
            return; /* they go round in a circle already */
        at = context;
    }
}

void
keep_exception(PyObject **kept)
{
    PyObject *exc = take_exception(), *before = *kept;
    if (before && exc && before != exc) {
        part_from(exc, before);
        PyException_SetContext(exc, before); /* steals */
    }
    else
        Py_XDECREF(before);
    *kept = exc;
}

bool
goes_on(PyObject **kept)
{
    if (check_signals() == 0)
        return true;
    if (!kept)
        return false;
    keep_exception(kept);
    return !sched.stopping;
}
