/* deadlock.c: can anything ever run again?
 *
 * Asked by an M that has found nothing to run and is about to sleep: all Ps are idle, no timer runs, no goroutine is in C
 * or computes without a P, and main is parked. What could still wake somebody is a plain Python thread that is
 * not itself parked in gort, or a signal handler written in Python. Neither tells when it ceases to be: while a thread
 * could, the question is asked again every second.
 *
 * Differs from Go: there the other threads are all the runtime's own, and a program that has asked for signals is never
 * dead either.
 */
#include "core.h"

#include "compat.h"

static bool
signal_could_wake(void)
{
    /* a Python signal handler may send on a channel: such a program waits, it is not dead */
    PyObject *mod = PyImport_ImportModule("_signal");
    PyObject *def = mod ? PyObject_GetAttrString(mod, "default_int_handler") : NULL;
    bool could = false;
    for (int sig = 1; def && sig < 65 && !could; sig++) {
        PyObject *h = PyObject_CallMethod(mod, "getsignal", "i", sig);
        if (h)
            could = h != def && PyCallable_Check(h) && !PyLong_Check(h);
        else
            PyErr_Clear();
        Py_XDECREF(h);
    }
    PyErr_Clear();
    Py_XDECREF(def);
    Py_XDECREF(mod);
    return could;
}

/* True: only a plain Python thread could still wake somebody, and nobody will say when it ends: look again later. */
bool
checkdead(void)
{
    if (sched.npidle < sched.nprocs || sched.runq.head || atomic_load(&sched.timer0) != INT64_MAX ||
        sched.throwing)
        return false;
    if (!maing || maing->status != Gwaiting || atomic_load(&sched.ntakeover))
        return false;
    Py_ssize_t ours = 0;
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        if (mp->curg || mp->nextp)
            return false; /* in C, or computing without a P */
        ours += mp->ts != NULL;
    }
    for (g *gp = sched.allgs; gp; gp = gp->alllink)
        ours += gp->ts != NULL && !(gp->flags & G_THREAD);
    if (ts_count() - ours > sched.nthreads)
        return true;
    if (signal_could_wake())
        return false;
    fatal(sched.ngoroutines == 0 ? "no goroutines (main called runtime.Goexit) - deadlock!"
                                 : "all goroutines are asleep - deadlock!");
    return false;
}
