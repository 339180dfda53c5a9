/* deadlock.c: can anything ever run again?
 *
 * Asked by an M that has found nothing to run and is about to sleep: all Ps are idle, no timer runs, no
 * goroutine is in C or computes without a P, and main is parked. What could still wake somebody then is
 *   1. a plain Python thread that is not itself parked in gort;
 *   2. a signal: one that is on its way to main, or one that has a handler written in Python;
 *   3. a thread of a C library, which may call Python back: any thread of the process that neither the
 *      runtime nor Python knows, unless the kernel says that it waits on a futex of this process without a
 *      time limit. Such a thread goes on when another one lets it, and the others sleep: idle workers
 *      (OpenBLAS, OpenMP) do not keep a deadlock from being reported. A thread that waits for a device, a
 *      socket, a signal or a time does.
 * That there are callbacks (ctypes, cffi, gort.cgo) does not matter: without a thread nobody calls them.
 * Where the kernel does not tell about threads there is no report at all.
 *
 * A thread does not tell when it can no longer wake anybody. So while 1 or 3 holds the question is asked
 * again, the more seldom the longer main has waited; while 2 holds, for two seconds, or always if there is no
 * sysmon. Signals are taken by the process's first thread (sigmask.c), so m0 gives the verdict: when it has
 * woken up, all that was sent to it has arrived.
 *
 * Differs from Go: there a program that uses cgo is never called dead, nor one that has asked for signals.
 */
#include "core.h"

#include "cpython/compat.h"
#include "hooks.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/sysmon.h"

#define MS 1000000

static PyObject *getsignal, *default_int_handler;

/* Asking is for g0, where no Python code may run: what it takes is fetched at the start. -1: exception
 * set. */
int
deadlock_init(void)
{
    PyObject *mod = PyImport_ImportModule("_signal");
    if (mod && !getsignal) {
        getsignal = PyObject_GetAttrString(mod, "getsignal");
        default_int_handler = PyObject_GetAttrString(mod, "default_int_handler");
    }
    Py_XDECREF(mod);
    return getsignal && default_int_handler ? 0 : -1;
}

/* A Python signal handler may send on a channel: such a program waits, it is not dead. (A C function is
 * asked, with small ints, for references: nothing is allocated.) */
static bool
signal_could_wake(void)
{
    bool could = false;
    for (int sig = 1; sig < 65 && !could; sig++) {
        PyObject *number = PyLong_FromLong(sig), *h = number ? PyObject_CallOneArg(getsignal, number) : NULL;
        could =
            h && h != default_int_handler && !PyLong_Check(h) && PyCallable_Check(h) && !session_handles(h);
        Py_XDECREF(h);
        Py_XDECREF(number);
        PyErr_Clear(); /* no signal has this number */
    }
    return could;
}

/* -- threads that are not ours --------------------------------------------------------------------- */

static bool
is_idle_m(int32_t tid)
{
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        if (mp->tid == tid)
            return true; /* all are asleep but the one that asks */
    }
    return false;
}

static bool
could_act(int32_t tid)
{
    return !thread_waits(tid) && !is_idle_m(tid) && tid != sysmon_tid();
}

static bool
thread_could_wake(void)
{
    static int32_t last; /* the one that could, the last time: asked first */
    int32_t threads = thread_count(), known = sched.mcount + sched.sysmonstarted + (int32_t)sched.nthreads;
    if (threads == known)
        return false;
    if (threads < 0 || hooks.handled_in_c())
        return true; /* a handler may let one go on that waits */
    if (last && thread_exists(last) && could_act(last))
        return true;
    last = thread_find(could_act);
    return last != 0;
}

/* -- the question ------------------------------------------------------------------------------------- */

/* When to ask again. */
static int64_t
later(void)
{
    int64_t now = nanotime(), wait = (now - maing->waitsince) / 4;
    return now + (wait < 5 * MS ? 5 * MS : wait > 1000 * MS ? 1000 * MS : wait);
}

/* The last answer other than "dead". An answer costs system calls, and a program whose events come from
 * threads would ask at each of them. */
static struct {
    int64_t since; /* main waits, or did */
    int64_t until; /* it holds */
    int64_t answer;
} said;

static int64_t
remember(int64_t answer)
{
    said.since = maing->waitsince;
    said.until = later();
    said.answer = answer;
    return answer;
}

/* Until when the M that asks may sleep; INT64_MAX: for ever, since anyone who can act will wake somebody. */
int64_t
checkdead(void)
{
    if (sched.npidle < sched.nprocs || sched.runq.head || atomic_load(&sched.timer0) != INT64_MAX ||
        sched.throwing)
        return INT64_MAX;
    if (!maing || maing->status != Gwaiting || atomic_load(&sched.ntakeover))
        return INT64_MAX;
    if (awake_ms() > 1)
        return INT64_MAX; /* in C, or computing without a P, or on its way to sleep: it will ask too */
    if (said.since == maing->waitsince && !signals_pending() && nanotime() < said.until)
        return said.answer;
    if (ts_others() - 1 > sched.nthreads) /* one is main's */
        return remember(later());
    if (getm() != m0) {
        wake_m0(); /* it will ask */
        return INT64_MAX;
    }
    if (signals_pending())
        return nanotime(); /* it came when m0 had looked for work */
    /* It ends m0's sleep, unless it comes right before: look again. So does sysmon (wake_m0), if there is
     * one. */
    if (signal_could_wake())
        return remember(!sched.sysmonstarted || nanotime() - maing->waitsince < 2000 * MS ? later()
                                                                                          : INT64_MAX);
    if (thread_could_wake())
        return remember(later());
    if (session_is_dead("all goroutines are asleep - deadlock!"))
        return nanotime(); /* to find main ready */
    fatal(sched.ngoroutines == 0 ? "no goroutines (main called runtime.Goexit) - deadlock!"
                                 : "all goroutines are asleep - deadlock!");
    return INT64_MAX;
}
