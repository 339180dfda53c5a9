/* timer.c: the base of time.Timer and time.Ticker, on the timer heap of sched/time.c.
 *
 * Invariants
 *   1. The timer of a channel is in the heap if and only if it is active and somebody waits for the channel
 *      (a waiter that was woken by something else, and has not run yet, included). A timer that starts a
 *      goroutine is in the heap while it is active, and the heap owns a reference to its RuntimeTimer.
 *   2. What may run Python code is left to pay_owed.
 *
 * As in Go since 1.23 the channel of a timer is unbuffered as far as the program sees, and nobody sends on
 * it: whoever receives, or asks, finds out whether the time has come. So a timer that nobody waits for costs
 * nothing but its memory, goes with its last reference, keeps no deadlock from being seen, and has no stale
 * value after stop and reset. If somebody waits, the timer fires from the heap and hands over its value.
 *
 * A timer with a channel refers to nothing of the program's, so none of its code can run while stop and reset
 * change the timer.
 *
 * Differs from Go: there the channel really has a buffer of one value, hidden by len and cap, which the timer
 * fills when somebody looks.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/time.h"
#include "sync/chan.h"
#include "sync/sync.h"
#include "sync/timer.h"

#include <math.h>
#include <structmember.h>

/* -- durations ---------------------------------------------------------------------------------- */

/* Seconds (float or int) as nanoseconds; -1 with an exception set if that cannot be. */
static int64_t
duration_ns(PyObject *o, const char *what)
{
    double d;
    if (PyFloat_Check(o))
        d = PyFloat_AS_DOUBLE(o);
    else if (PyLong_Check(o)) {
        d = PyLong_AsDouble(o);
        if (d == -1.0 && PyErr_Occurred()) {
            int overflow;
            PyErr_Clear();
            PyLong_AsLongLongAndOverflow(o, &overflow);
            d = overflow > 0 ? INFINITY : -INFINITY;
        }
    }
    else if (PyNumber_Check(o) && !PyComplex_Check(o)) {
        d = PyFloat_AsDouble(o);
        if (d == -1.0 && PyErr_Occurred())
            return -1;
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %R", what, o);
        return -1;
    }
    if (isnan(d)) {
        PyErr_Format(PyExc_ValueError, "%s must be a number of seconds, not nan", what);
        return -1;
    }
    if (d <= 0)
        return 0;
    if (d >= 4e9) /* 126 years: for ever */
        return INT64_MAX / 2;
    int64_t ns = (int64_t)(d * 1e9 + 0.5);
    return ns ? ns : 1; /* what is more than nothing stays more than nothing */
}

static PyObject *
sleep_(PyObject *mod, PyObject *seconds)
{
    (void)mod;
    int64_t ns = duration_ns(seconds, "a duration");
    if (ns < 0 || gosleep(ns) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- timers with a channel ------------------------------------------------------------------------ */

#define chantimer_of(tp) ((chantimer *)((char *)(tp) - offsetof(chantimer, t)))

/* It is due, and somebody receives: the Unix time at which it fired. Ticks that nobody could take are left
 * out; the next one is in step with the first. */
static double
take(chantimer *ct, int64_t now)
{
    int64_t late = now - ct->t.when;
    if (ct->period > 0)
        ct->t.when += ct->period * (1 + late / ct->period);
    else
        ct->active = false;
    return walltime() - (double)late * 1e-9;
}

static inline void
set_value(PyObject *value, double at)
{
    check(Py_REFCNT(value) == 1);
    ((PyFloatObject *)value)->ob_fval = at;
}

static bool
fire_chan(timer *tp, int64_t now)
{
    chantimer *ct = chantimer_of(tp);
    waitq *q = chan_queue(ct->c, false);
    sudog *s = waitq_pop(q);
    if (!s)
        return false; /* all have been woken by something else: it stays due, for the next receiver */
    set_value(s->elem, take(ct, now));
    s->success = true;
    goready(s->w->g);
    return ct->active && waitq_peek(q);
}

/* Go's timer.maybeRunChan. True: it is due, and nobody waits any more. */
static bool
maybe_run_chan(chantimer *ct, int64_t *now)
{
    if (!ct->active || (*now = nanotime()) < ct->t.when)
        return false;
    if (ct->t.index < 0)
        return true;
    deltimer(&ct->t); /* a goroutine that waits already comes first */
    if (fire_chan(&ct->t, *now))
        addtimer(&ct->t);
    return ct->active && *now >= ct->t.when;
}

bool
chantimer_maybe_run(chantimer *ct)
{
    int64_t now;
    return maybe_run_chan(ct, &now);
}

PyObject *
chantimer_value(void)
{
    return PyFloat_FromDouble(0.);
}

int
chantimer_recv(chantimer *ct, PyObject **v)
{
    int64_t now;
    if (!maybe_run_chan(ct, &now))
        return 0;
    *v = chantimer_value(); /* before take: without memory the tick is not used up */
    if (!*v)
        return -2;
    set_value(*v, take(ct, now));
    return 1;
}

void
chantimer_wait(chantimer *ct)
{
    if (ct->active && ct->t.index < 0)
        addtimer(&ct->t);
}

void
chantimer_leave(chantimer *ct)
{
    if (ct->t.index >= 0 && !waitq_peek(chan_queue(ct->c, false)))
        deltimer(&ct->t);
}

void
chantimer_free(chantimer *ct)
{
    deltimer(&ct->t); /* a fork may have lost the waiters that kept it in the heap */
    PyMem_Free(ct);
}

static bool
chantimer_stop(chantimer *ct)
{
    bool active = ct->active;
    ct->active = false;
    deltimer(&ct->t);
    return active;
}

/* There is room in the heap. */
static bool
chantimer_reset(chantimer *ct, int64_t ns, int64_t period)
{
    bool active = chantimer_stop(ct); /* out of the heap, which is in order of `when`, before that changes */
    ct->t.when = nanotime() + ns;
    ct->period = period;
    ct->active = true;
    if (waitq_peek(chan_queue(ct->c, false)))
        addtimer(&ct->t);
    return active;
}

/* A channel with its timer, which is not active. */
static PyObject *
timer_chan_new(void)
{
    chantimer *ct = PyMem_Calloc(1, sizeof *ct);
    if (!ct)
        return PyErr_NoMemory();
    ct->t.index = -1;
    ct->t.f = fire_chan;
    ct->c = chan_of_timer(ct);
    if (!ct->c)
        PyMem_Free(ct);
    return ct->c ? (PyObject *)ct->c : NULL;
}

static PyObject *
timer_chan_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (nargs < 1 || nargs > 2)
        return PyErr_Format(PyExc_TypeError, "timer_chan() takes a duration and a period, got %zd arguments",
                            nargs);
    int64_t ns = duration_ns(args[0], "a duration"), period = 0;
    if (ns < 0 || (nargs == 2 && (period = duration_ns(args[1], "a period")) < 0))
        return NULL;
    PyObject *c = timer_chan_new();
    if (c)
        chantimer_reset(chan_timer((chan *)c), ns, period); /* nobody waits: it needs no room */
    return c;
}

/* -- RuntimeTimer -------------------------------------------------------------------------------- */

typedef struct RuntimeTimer {
    PyObject_HEAD
    PyObject *chan;         /* has the timer; or NULL */
    timer t;                /* else */
    PyObject *fn, *context; /* what it calls in a goroutine of its own */
    struct RuntimeTimer *nextowing;
    int32_t drops;  /* references to drop; in the list if more than 0 */
    int32_t starts; /* goroutines for which there was no memory */
} RuntimeTimer;

/* The scheduler must not run Python code, which letting go of the last reference to a timer may do, and
 * reporting that no goroutine could be started. So the next goroutine that is resumed does that. */
static RuntimeTimer *owing;

static void
owe(RuntimeTimer *rt, bool start)
{
    rt->starts += start;
    if (rt->drops++ == 0) { /* else it was started again and fired again while it waits here */
        rt->nextowing = owing;
        owing = rt;
    }
    sched.owing = true;
}

void
pay_owed(void)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    sched.owing = false; /* first, as all below: what runs here may park, and timers owe again meanwhile */
    while (owing) {
        RuntimeTimer *rt = owing;
        owing = rt->nextowing;
        int32_t drops = rt->drops, starts = rt->starts;
        rt->drops = rt->starts = 0;
        for (; starts > 0; starts--) {
            if (newproc(rt->fn, NULL, 0, NULL, rt->context) < 0)
                PyErr_WriteUnraisable(rt->fn);
        }
        for (; drops > 0; drops--)
            Py_DECREF(rt);
    }
    PyErr_Restore(type, value, tb);
}

#define timer_of(tp) ((RuntimeTimer *)((char *)(tp) - offsetof(RuntimeTimer, t)))

static bool
fire_func(timer *tp, int64_t now)
{
    (void)now;
    RuntimeTimer *rt = timer_of(tp);
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    bool started = newproc(rt->fn, NULL, 0, NULL, rt->context) == 0;
    if (!started)
        PyErr_Clear(); /* the MemoryError; the exception that was set before cannot be dropped here */
    PyErr_Restore(type, value, tb);
    owe(rt, !started);
    return false;
}

/* Hook: in the child of a fork; the heap had a reference. */
void
timer_lost(timer *t)
{
    if (t->f == fire_func)
        owe(timer_of(t), false);
}

static PyObject *
RuntimeTimer_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    static char *names[] = {"fn", NULL};
    PyObject *fn = NULL, *context = NULL, *ch = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|$O:RuntimeTimer", names, &fn))
        return NULL;
    if (fn && check_runs("RuntimeTimer()", fn) < 0)
        return NULL;
    if (fn && (need_threading() < 0 || !(context = PyContext_CopyCurrent())))
        return NULL;
    if (!fn && !(ch = timer_chan_new()))
        return NULL;
    RuntimeTimer *rt = (RuntimeTimer *)type->tp_alloc(type, 0);
    if (!rt) {
        Py_XDECREF(context);
        Py_XDECREF(ch);
        return NULL;
    }
    rt->t.index = -1;
    rt->t.f = fire_func;
    rt->chan = ch;
    rt->fn = Py_XNewRef(fn);
    rt->context = context;
    return (PyObject *)rt;
}

static int
RuntimeTimer_traverse(RuntimeTimer *rt, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(rt));
    Py_VISIT(rt->chan);
    Py_VISIT(rt->fn);
    Py_VISIT(rt->context);
    return 0;
}

static int
RuntimeTimer_clear(RuntimeTimer *rt)
{
    Py_CLEAR(rt->fn);
    Py_CLEAR(rt->context);
    return 0;
}

static void
RuntimeTimer_dealloc(RuntimeTimer *rt)
{
    PyTypeObject *type = Py_TYPE(rt);
    PyObject_GC_UnTrack(rt);
    check(rt->t.index < 0);
    Py_TRASHCAN_BEGIN(rt, RuntimeTimer_dealloc); /* timers whose functions hold timers */
    RuntimeTimer_clear(rt);
    Py_XDECREF(rt->chan);
    type->tp_free(rt);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
RuntimeTimer_stop(RuntimeTimer *rt, PyObject *unused)
{
    (void)unused;
    if (rt->chan)
        return PyBool_FromLong(chantimer_stop(chan_timer((chan *)rt->chan)));
    bool active = deltimer(&rt->t);
    if (active)
        Py_DECREF(rt); /* the heap's */
    return PyBool_FromLong(active);
}

static PyObject *
RuntimeTimer_reset(RuntimeTimer *rt, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2)
        return PyErr_Format(PyExc_TypeError, "reset() takes a duration and a period, got %zd arguments",
                            nargs);
    int64_t ns = duration_ns(args[0], "a duration"), period = 0;
    if (ns < 0 || (nargs == 2 && (period = duration_ns(args[1], "a period")) < 0) || timer_reserve(1) < 0)
        return NULL;
    if (rt->chan)
        return PyBool_FromLong(chantimer_reset(chan_timer((chan *)rt->chan), ns, period));
    if (!rt->fn)
        return PyErr_Format(Error, "the timer was garbage, and the collector has cleared it");
    bool active = deltimer(&rt->t); /* before `when` changes: see chantimer_reset */
    if (!active)
        Py_INCREF(rt);
    rt->t.when = nanotime() + ns;
    addtimer(&rt->t);
    return PyBool_FromLong(active);
}

static PyMemberDef RuntimeTimer_members[] = {
    {"c", T_OBJECT, offsetof(RuntimeTimer, chan), READONLY,
     "The timer's channel; None if it calls a function."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef RuntimeTimer_methods[] = {
    {"stop", (PyCFunction)RuntimeTimer_stop, METH_NOARGS,
     "stop($self, /)\n--\n\nStops the timer; True if it was active.\n\n"
     "It is active from its start until its value has been received or, with a function, until it\n"
     "fires."},
    {"reset", (PyCFunction)(void (*)(void))RuntimeTimer_reset, METH_FASTCALL,
     "reset($self, seconds, period=0.0, /)\n--\n\n"
     "Starts the timer, again if need be; True if it was active.\n\n"
     "Only a timer with a channel can have a period."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot RuntimeTimer_slots[] = {
    {Py_tp_doc, "RuntimeTimer(*, fn=None)\n--\n\n"
                "A timer that calls fn() in a goroutine; without fn, one with a channel of its own."},
    {Py_tp_new, RuntimeTimer_new},
    {Py_tp_dealloc, RuntimeTimer_dealloc},
    {Py_tp_traverse, RuntimeTimer_traverse},
    {Py_tp_clear, RuntimeTimer_clear},
    {Py_tp_methods, RuntimeTimer_methods},
    {Py_tp_members, RuntimeTimer_members},
    {0, NULL},
};

static PyType_Spec RuntimeTimer_spec = {"gort._core.RuntimeTimer", sizeof(RuntimeTimer), 0,
                                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                                        RuntimeTimer_slots};

static PyMethodDef functions[] = {
    {"sleep", sleep_, METH_O,
     "sleep(seconds, /)\n--\n\n"
     "Parks the goroutine for at least this many seconds; yields if that is 0 or less."},
    {"timer_chan", (PyCFunction)(void (*)(void))timer_chan_, METH_FASTCALL,
     "timer_chan(seconds, period=0.0, /)\n--\n\nThe channel of a new timer that has been started."},
    {NULL, NULL, 0, NULL},
};

int
gort_timer_init(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&RuntimeTimer_spec);
    if (!type || PyModule_AddType(module, (PyTypeObject *)type) < 0)
        return -1;
    Py_DECREF(type);
    return PyModule_AddFunctions(module, functions);
}
