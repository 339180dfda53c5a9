/* wait.c: the waits of wait.h that are out of line.
 *
 * What the handlers of a signal raise is dealt with when the waiter is out of its queue and everything is in
 * order (wait_until).
 *
 * With the GIL, by the goroutine that waits.
 *
 * Differs from Go: a wait of the main goroutine is interrupted by signals, so a waiter comes back to look,
 * and may queue in front of the others.
 */
#include "sched/wait.h"

#include "cpython/compat.h"
#include "sched/g.h"
#include "sched/sched.h"

#include <stdlib.h>

int
wait_in(g *gp, waitq *q, bool front, enum waitreason why, void *of, void (*lost)(void *of, bool woken))
{
    waiter here, *at = waiter_for(gp, &here);
    at->w.fired = NULL; /* a fork asks for it */
    handover h = {&at->w, of, lost, gp->handover};
    if (lost)
        gp->handover = &h; /* before it is queued: from then on a fork may lose what a waker gives it */
    bool fired = park_in(gp, q, at, NULL, front, why);
    gp->handover = h.outer; /* at once: it runs, and what it was given it holds like any other lock */
    waiter_back(gp, at, &here);
    return fired ? 0 : -1;
}

typedef struct {
    waitq *q;
    const waitable *what;
    void *of;
} wanted;

static enum turn
take_turn(void *of, g *gp, bool front)
{
    const wanted *w = of;
    if (w->what->take(w->of, gp))
        return HAD;
    return likely(wait_in(gp, w->q, front, w->what->why, w->of, w->what->lost) == 0) ? HAD : INTERRUPTED;
}

int
wait_for(g *gp, waitq *q, const waitable *what, void *of, PyObject **kept)
{
    wanted w = {q, what, of};
    return wait_until(gp, &w, take_turn, false, kept);
}

/* `before` becomes the context of exc. If exc is among the contexts of `before`, the chain would be a circle:
 * it is cut before exc, as CPython does when an exception is raised. */
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
run_handlers(PyObject **kept)
{
    if (check_signals() == 0)
        return true;
    if (!kept)
        return false;
    keep_exception(kept);
    return !sched.stopping;
}

/* -- waiters on a pthread's stack ------------------------------------------------------------------ */

/* Several at once if a destructor runs, and waits, when the thread has just been woken. */
waiter *
pthread_waiter(pthread_g *gp, waiter *here)
{
    waiter *at = gp->free;
    if (at)
        gp->free = at->next;
    else
        at = malloc(sizeof *at);
    return at ? at : here; /* without memory for 64 bytes a fork at this moment is the lesser risk */
}

void
pthread_waiter_back(pthread_g *gp, waiter *at)
{
    at->next = gp->free;
    gp->free = at;
}
