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
 * In a session (session.c) main asks instead, for the threads and handlers of the session do not count.
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
#include "sched/thread.h"

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
        could = h && h != default_int_handler && !PyLong_Check(h) && PyCallable_Check(h);
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

/* Threads that could act, but for no goroutine of the program: a session's own. And signals whose handlers
 * are known to let nobody go on, a bit each. */
static struct {
    int32_t tids[64];
    int n;
    uint64_t signals;
} own;

static bool
is_own(int32_t tid)
{
    for (int i = 0; i < own.n; i++) {
        if (own.tids[i] == tid)
            return true;
    }
    return false;
}

static bool
could_act(int32_t tid)
{
    return !is_own(tid) && !thread_waits(tid) && !is_idle_m(tid) && tid != sysmon_tid();
}

static bool
thread_could_wake(void)
{
    static int32_t last; /* the one that could, the last time: asked first */
    int32_t threads = thread_count(), known = sched.mcount + sched.sysmonstarted + (int32_t)sched.nthreads;
    if (threads == known)
        return false;
    if (threads < 0 || hooks.handled_in_c(own.signals))
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

/* In a session: could a thread that is not the session's own wake main? */
static bool
session_could_wake(void)
{
    Py_ssize_t others = 0;
    for (PyThreadState *ts = ts_head(false); ts; ts = ts_next_other(ts, false))
        others += !(maing && ts == maing->ts) && !is_own((int32_t)ts_native_id(ts, false));
    for (const thread *t = sched.threads; t; t = t->alllink)
        others -= t->g.g.status == Gwaiting && !is_own((int32_t)ts_native_id(t->g.g.ts, false));
    return others > 0 || thread_could_wake();
}

/* Does a goroutine run, or will one? */
static bool
somebody_runs(void)
{
    if (sched.npidle < sched.nprocs || sched.runq.head || atomic_load(&sched.timer0) != INT64_MAX ||
        sched.throwing || atomic_load(&sched.ntakeover))
        return true;
    return awake_ms() > 1; /* in C, or computing without a P, or on its way to sleep: it will ask too */
}

/* Until when the M that asks may sleep; INT64_MAX: for ever, since anyone who can act will wake somebody. */
int64_t
checkdead(void)
{
    if (!maing || maing->status != Gwaiting || somebody_runs())
        return INT64_MAX;
    bool session = session_on();
    if (!session && said.since == maing->waitsince && !signals_pending() && nanotime() < said.until)
        return said.answer;
    if (!session && ts_others() - 1 > sched.nthreads) /* one is main's */
        return remember(later());
    if (getm() != m0) {
        wake_m0(); /* it will ask */
        return INT64_MAX;
    }
    if (signals_pending())
        return nanotime(); /* it came when m0 had looked for work */
    if (session)
        return session_judges(session_could_wake);
    /* It ends m0's sleep, unless it comes right before: look again. So does sysmon (wake_m0), if there is
     * one. */
    if (signal_could_wake())
        return remember(!sched.sysmonstarted || nanotime() - maing->waitsince < 2000 * MS ? later()
                                                                                          : INT64_MAX);
    if (thread_could_wake())
        return remember(later());
    fatal(sched.ngoroutines == 0 ? "no goroutines (main called runtime.Goexit) - deadlock!"
                                 : "all goroutines are asleep - deadlock!");
    return INT64_MAX;
}

/* -- for Python ------------------------------------------------------------------------------------ */

static PyObject *
threads_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    PyObject *list = PyList_New(0);
    PyThreadState *ts = list ? ts_head(false) : NULL;
    for (int err = 0; ts; ts = err ? NULL : ts_next_other(ts, false)) {
        if (maing && ts == maing->ts)
            continue;
        PyObject *pair = Py_BuildValue("kk", ts_ident(ts, false), ts_native_id(ts, false));
        err = pair ? PyList_Append(list, pair) : -1;
        Py_XDECREF(pair);
        if (err)
            Py_CLEAR(list);
    }
    return list;
}

void
deadlock_after_fork(void)
{
    own.n = 0; /* they are the parent's */
    own.signals = 0;
}

static PyObject *
set_own_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *list;
    unsigned long long signals;
    if (!PyArg_ParseTuple(args, "O!K:set_own", &PyList_Type, &list, &signals))
        return NULL;
    own.n = 0;
    own.signals = signals;
    const Py_ssize_t most = sizeof own.tids / sizeof *own.tids; /* those that do not fit count as others */
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && i < most; i++) {
        long tid = PyLong_AsLong(PyList_GET_ITEM(list, i));
        if (tid == -1 && PyErr_Occurred())
            return NULL;
        own.tids[own.n++] = (int32_t)tid;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"threads", threads_, METH_NOARGS,
     "threads()\n--\n\n"
     "The identifier and the native identifier of each thread with a thread state that runs no goroutines."},
    {"set_own", set_own_, METH_VARARGS,
     "set_own(tids, signals, /)\n--\n\n"
     "Says which threads of a session wake no goroutine, and which signals: bit N-1 for signal N."},
    {NULL, NULL, 0, NULL},
};

int
gort_deadlock_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
