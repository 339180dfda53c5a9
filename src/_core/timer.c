/* timer.c: the timer heap, sleep, and the base of time.Timer and time.Ticker.
 *
 * Invariants
 *   1. heap is a 4-ary heap by `when`; a timer's index says where it is, -1: nowhere.
 *   2. sched.timer0 is the first timer's when, INT64_MAX if there is none; sysmon and idle Ms wait for it.
 *   3. A timer's f runs in the scheduler, on any stack: it runs no Python code (but the hook that reports that memory
 *      ran out), allocates no GC-tracked object and does not park. It may start goroutines, ready them, and send on a
 *      channel without waiting.
 *
 * One heap for all Ps: the GIL lets only one goroutine at a time touch it, so Go's heap per P would gain nothing.
 *
 * Differs from Go: none in meaning. As in Go 1.23 a stopped or reset timer's channel holds no stale value.
 */
#include "core.h"

#include "chan.h"
#include "compat.h"
#include "os.h"

#include <math.h>
#include <stdlib.h>
#include <structmember.h>

typedef struct {
    int64_t when; /* a copy: sifting touches the heap alone */
    timer *t;
} entry;

static entry *heap;
static int32_t nheap, capheap;

static inline void
put(int32_t i, entry e)
{
    heap[i] = e;
    e.t->index = i;
}

static void
siftup(int32_t i, entry e)
{
    while (i > 0) {
        int32_t up = (i - 1) / 4;
        if (e.when >= heap[up].when)
            break;
        put(i, heap[up]);
        i = up;
    }
    put(i, e);
}

static void
siftdown(int32_t i, entry e)
{
    for (;;) {
        int32_t c = i * 4 + 1;
        if (c >= nheap)
            break;
        int32_t end = c + 4 < nheap ? c + 4 : nheap, best = c;
        for (int32_t k = c + 1; k < end; k++) {
            if (heap[k].when < heap[best].when)
                best = k;
        }
        if (e.when <= heap[best].when)
            break;
        put(i, heap[best]);
        i = best;
    }
    put(i, e);
}

static inline void
set_timer0(void)
{
    atomic_store_explicit(&sched.timer0, nheap ? heap[0].when : INT64_MAX, memory_order_relaxed);
}

int
timer_reserve(void)
{
    if (nheap < capheap)
        return 0;
    int32_t cap = capheap ? capheap * 2 : 64;
    entry *h = cap > capheap ? realloc(heap, (size_t)cap * sizeof *h) : NULL;
    if (!h) {
        PyErr_NoMemory();
        return -1;
    }
    heap = h;
    capheap = cap;
    return 0;
}

void
addtimer(timer *t)
{
    siftup(nheap++, (entry){t->when, t});
    if (t->index == 0) {
        set_timer0();
        m *mp = getm();
        if (!mp || !mp->p || !mp->curg) /* nobody here will look at the heap before it sleeps */
            timer_added();
        else if (unlikely(!sched.sysmonstarted))
            sysmon_start(); /* whoever set it may stay in C, or compute */
    }
}

bool
deltimer(timer *t)
{
    int32_t i = t->index;
    if (i < 0)
        return false;
    t->index = -1;
    entry last = heap[--nheap];
    if (i < nheap) {
        if (i > 0 && last.when < heap[(i - 1) / 4].when)
            siftup(i, last);
        else
            siftdown(i, last);
    }
    set_timer0();
    return true;
}

void
runtimers(int64_t now)
{
    while (nheap && heap[0].when <= now) {
        timer *t = heap[0].t;
        if (t->period > 0) {
            /* the next tick in step with the first: ticks that nobody could take are left out */
            t->when += t->period * (1 + (now - t->when) / t->period);
            siftdown(0, (entry){t->when, t});
        }
        else {
            t->index = -1;
            entry last = heap[--nheap];
            if (nheap)
                siftdown(0, last);
        }
        t->f(t, now);
    }
    set_timer0();
}

/* The child of a fork: the goroutines that slept are lost, and with them what they waited for. */
void
timers_after_fork(void)
{
    for (int32_t i = 0; i < nheap; i++)
        heap[i].t->index = -1;
    nheap = 0;
    set_timer0();
}

/* -- durations ---------------------------------------------------------------------------------- */

int64_t
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
        PyErr_Format(PyExc_TypeError, "%s is a number of seconds, not %R", what, o);
        return -1;
    }
    if (isnan(d)) {
        PyErr_Format(PyExc_ValueError, "%s is a number of seconds, not nan", what);
        return -1;
    }
    if (d <= 0)
        return 0;
    if (d >= 4e9) /* 126 years: for ever */
        return INT64_MAX / 2;
    return (int64_t)(d * 1e9 + 0.5);
}

/* -- sleep -------------------------------------------------------------------------------------- */

typedef struct {
    timer t;
    wait w;
    sudog s;
} sleeper;

static void
wake_sleeper(timer *t, int64_t now)
{
    (void)now;
    sleeper *s = (sleeper *)t;
    s->w.fired = &s->s;
    goready(s->w.g);
}

int
gosleep(int64_t ns)
{
    g *gp = getg();
    if (!gp)
        return -1;
    if (ns <= 0) {
        goschedule(gp);
        return 0;
    }
    int64_t until = nanotime() + ns;
    for (;;) {
        if (timer_reserve() < 0)
            return -1;
        sleeper s = {.t = {.when = until, .f = wake_sleeper, .index = -1}, .w = {.g = gp}};
        addtimer(&s.t);
        gopark(gp, waitReasonSleep);
        if (likely(s.w.fired != NULL))
            return 0;
        deltimer(&s.t);
        if (check_signals() < 0)
            return -1;
    }
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

/* -- RuntimeTimer -------------------------------------------------------------------------------- */

typedef struct RuntimeTimer {
    PyObject_HEAD
    timer t;
    PyObject *chan;
    PyObject *fn, *context;
    int64_t period;
    struct RuntimeTimer *nextdropped;
    int32_t drops; /* references to drop; in the list if more than 0 */
} RuntimeTimer;

/* The last reference to a timer may run Python code when it goes, which the scheduler may not: the next goroutine that
 * is resumed drops it. */
static RuntimeTimer *dropped;

static void
drop_later(RuntimeTimer *rt)
{
    if (rt->drops++ == 0) { /* else it was started again and fired again while it waits here */
        rt->nextdropped = dropped;
        dropped = rt;
    }
    sched.dropped = true;
}

void
drop_dropped(void)
{
    sched.dropped = false;
    while (dropped) {
        RuntimeTimer *rt = dropped;
        dropped = rt->nextdropped;
        int32_t drops = rt->drops;
        rt->drops = 0;
        for (int32_t i = 0; i < drops; i++)
            Py_DECREF(rt);
    }
}

#define timer_of(tp) ((RuntimeTimer *)((char *)(tp) - offsetof(RuntimeTimer, t)))

/* While it is in the heap the heap owns a reference to it. */
static void
fire(timer *tp, int64_t now)
{
    (void)now;
    RuntimeTimer *rt = timer_of(tp);
    if (rt->chan) {
        PyObject *v = PyFloat_FromDouble(walltime());
        if (v) {
            chan_trysend((chan *)rt->chan, v);
            Py_DECREF(v);
        }
        else
            PyErr_Clear(); /* no memory for a float: the tick is lost, as one that nobody took is */
        if (tp->index >= 0 && Py_REFCNT(rt) == 1 && Py_REFCNT(rt->chan) == 1)
            deltimer(tp); /* a ticker that nobody can stop or receive from any more */
    }
    else if (newproc(rt->fn, NULL, 0, NULL, rt->context) < 0)
        PyErr_WriteUnraisable(rt->fn);
    if (tp->index < 0)
        drop_later(rt);
}

static PyObject *
RuntimeTimer_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    static char *names[] = {"chan", "fn", "period", NULL};
    PyObject *ch = NULL, *fn = NULL, *period = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|$OOO:RuntimeTimer", names, &ch, &fn, &period))
        return NULL;
    if (!ch == !fn)
        return PyErr_Format(PyExc_TypeError, "RuntimeTimer() takes either chan or fn");
    if (ch && !Py_IS_TYPE(ch, Chan_Type))
        return PyErr_Format(PyExc_TypeError, "a timer sends on a channel, not on %R", ch);
    if (fn && !PyCallable_Check(fn))
        return PyErr_Format(PyExc_TypeError, "a timer calls a callable, not %R", fn);
    int64_t ns = 0;
    if (period && (ns = duration_ns(period, "a period")) < 0)
        return NULL;
    PyObject *context = NULL;
    if (fn && (need_threading() < 0 || !(context = PyContext_CopyCurrent())))
        return NULL;
    RuntimeTimer *rt = (RuntimeTimer *)type->tp_alloc(type, 0);
    if (!rt) {
        Py_XDECREF(context);
        return NULL;
    }
    rt->t.index = -1;
    rt->t.f = fire;
    rt->chan = Py_XNewRef(ch);
    rt->fn = Py_XNewRef(fn);
    rt->context = context;
    rt->period = ns;
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
    Py_CLEAR(rt->chan);
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
    RuntimeTimer_clear(rt);
    type->tp_free(rt);
    Py_DECREF(type);
}

static bool
disarm(RuntimeTimer *rt)
{
    bool active = deltimer(&rt->t);
    if (rt->chan)
        chan_drain((chan *)rt->chan);
    return active;
}

static PyObject *
RuntimeTimer_stop(RuntimeTimer *rt, PyObject *unused)
{
    (void)unused;
    bool active = disarm(rt);
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
    int64_t ns = duration_ns(args[0], "a duration"), period = rt->period;
    if (ns < 0 || (nargs == 2 && (period = duration_ns(args[1], "a period")) < 0) || timer_reserve() < 0)
        return NULL;
    bool active = disarm(rt);
    if (!active)
        Py_INCREF(rt);
    rt->t.when = nanotime() + ns;
    rt->t.period = rt->period = period;
    addtimer(&rt->t);
    return PyBool_FromLong(active);
}

static PyMethodDef RuntimeTimer_methods[] = {
    {"stop", (PyCFunction)RuntimeTimer_stop, METH_NOARGS,
     "stop($self, /)\n--\n\nTrue if this call kept the timer from firing. A value that nobody received is taken back."},
    {"reset", (PyCFunction)(void (*)(void))RuntimeTimer_reset, METH_FASTCALL,
     "reset($self, seconds, period=..., /)\n--\n\n(Re)starts it. True if it was active."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot RuntimeTimer_slots[] = {
    {Py_tp_doc, "RuntimeTimer(*, chan=None, fn=None, period=0.0)\n--\n\nAn entry of the timer heap."},
    {Py_tp_new, RuntimeTimer_new},
    {Py_tp_dealloc, RuntimeTimer_dealloc},
    {Py_tp_traverse, RuntimeTimer_traverse},
    {Py_tp_clear, RuntimeTimer_clear},
    {Py_tp_methods, RuntimeTimer_methods},
    {0, NULL},
};

static PyType_Spec RuntimeTimer_spec = {"gort._core.RuntimeTimer", sizeof(RuntimeTimer), 0,
                                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                                        RuntimeTimer_slots};

static PyMethodDef functions[] = {
    {"sleep", sleep_, METH_O,
     "sleep(seconds, /)\n--\n\nParks the goroutine for at least this many seconds: Go's time.Sleep. 0 or less yields."},
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
