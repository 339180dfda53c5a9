/* select.c: waiting for several channels at once.
 *
 * One pass over the cases counts those that are ready and picks one uniformly at random; only if none is, the
 * goroutine puts a sudog for each case into the channels' queues, in random order, and parks. All sudogs
 * share one `wait`: the first waker sets it, and queues skip sudogs whose wait is set, so exactly one case
 * fires. The tuple to return, and the number in it, are made before that: without memory for them nothing is
 * sent or received.
 *
 * Differs from Go: Go locks all channels in address order and polls them in a random order; under the GIL
 * there is nothing to lock, and a random pick among the ready ones gives the same distribution.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/chan.h"
#include "sync/sync.h"
#include "sync/timer.h"

#define ONSTACK 16

typedef struct {
    chan *c;         /* NULL: a nil channel, never ready */
    PyObject *value; /* to send, borrowed; NULL: receive */
} scase;

static PyObject *Default; /* the singleton */

static uint64_t rngstate;

static inline uint32_t
fastrandn(uint32_t n)
{
    uint64_t x = rngstate; /* xorshift64 */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    rngstate = x;
    return (uint32_t)(((x >> 32) * n) >> 32);
}

/* The numbers of cases, as far as a select has waited with more than CPython has in store (257). They
 * stay. */
static PyObject **numbers;
static Py_ssize_t nnumbers;

/* Before anything is queued: a goroutine that is woken must not need memory. -1: MemoryError. */
static int
numbers_reserve(Py_ssize_t n)
{
    if (likely(n <= 257 || n <= nnumbers))
        return 0;
    PyObject **room = PyMem_Realloc(numbers, (size_t)n * sizeof *room);
    if (!room) {
        PyErr_NoMemory();
        return -1;
    }
    numbers = room;
    for (; nnumbers < n; nnumbers++) {
        if (!(numbers[nnumbers] = PyLong_FromSsize_t(nnumbers)))
            return -1;
    }
    return 0;
}

static inline PyObject *
number(int32_t i)
{
    return unlikely(i < nnumbers) ? Py_NewRef(numbers[i]) : PyLong_FromLong(i);
}

/* Fills the tuple; takes over the references to i and value (NULL: None). */
static enum turn
fill(PyObject *t, PyObject *i, PyObject *value, bool ok)
{
    PyTuple_SET_ITEM(t, 0, i);
    PyTuple_SET_ITEM(t, 1, value ? value : Py_NewRef(Py_None));
    PyTuple_SET_ITEM(t, 2, Py_NewRef(ok ? Py_True : Py_False));
    return HAD;
}

static int
parse(PyObject *const *cases, Py_ssize_t n, scase *sc, Py_ssize_t *defcase)
{
    *defcase = -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = cases[i];
        sc[i] = (scase){NULL, NULL};
        if (likely(Py_IS_TYPE(o, Chan_Type)))
            sc[i].c = (chan *)o;
        else if (o == Default) {
            if (*defcase >= 0) {
                PyErr_Format(PyExc_ValueError,
                             "select: cases %zd and %zd are both default; there can be only one", *defcase,
                             i);
                return -1;
            }
            *defcase = i;
        }
        else if (o == Py_None)
            ;
        else if (PyTuple_Check(o) && PyTuple_GET_SIZE(o) == 2 &&
                 (Py_IS_TYPE(PyTuple_GET_ITEM(o, 0), Chan_Type) || PyTuple_GET_ITEM(o, 0) == Py_None)) {
            if (PyTuple_GET_ITEM(o, 0) != Py_None) {
                sc[i].c = (chan *)PyTuple_GET_ITEM(o, 0);
                sc[i].value = PyTuple_GET_ITEM(o, 1);
                if (unlikely(chan_timer(sc[i].c) != NULL)) {
                    PyErr_Format(PyExc_TypeError,
                                 "select: case %zd sends to a timer's channel, which is receive-only", i);
                    return -1;
                }
            }
        }
        else {
            PyErr_Format(
                PyExc_TypeError,
                "select: case %zd is %R; a case must be a channel, a pair (channel, value), None or default",
                i, o);
            return -1;
        }
    }
    return 0;
}

/* Does a case that is ready, or the default. */
static enum turn
complete(const scase *s, Py_ssize_t pick, PyObject *t)
{
    PyObject *i = PyLong_FromSsize_t(pick), *v = NULL;
    if (unlikely(!i))
        return NOT_HAD; /* before anything is sent or received */
    if (!s->c)
        return fill(t, i, NULL, false); /* the default */
    int r = s->value ? chan_send_now(s->c, s->value) : chan_recv_now(s->c, &v);
    if (likely(r >= (s->value ? 0 : -1))) /* -1: closed and drained */
        return fill(t, i, v, s->value || r > 0);
    Py_DECREF(i);
    return NOT_HAD;
}

/* Before anything is queued: what the timers among the cases need. -1: MemoryError. */
static int
ready_timers(const scase *sc, sudog *sd, int32_t n)
{
    int32_t timers = 0;
    for (int32_t k = 0; k < n; k++) {
        const scase *s = &sc[sd[k].ncase];
        if (likely(!s->c || !chan_timer(s->c)))
            continue;
        timers++;
        if (!(sd[k].elem = chantimer_value()))
            break;
    }
    if (likely(timers == 0) || (!PyErr_Occurred() && timer_reserve(timers) == 0))
        return timers;
    for (int32_t k = 0; k < n; k++)
        Py_XDECREF(sd[k].elem);
    return -1;
}

/* One select. */
typedef struct {
    scase *sc;
    Py_ssize_t n, defcase; /* -1: no default */
    PyObject *t;           /* what it returns, when it is filled */
    bool hidden;           /* from the collector */
} selecting;

/* A sudog for each case, in random order: the k-th is that of case sd[k].ncase. Where cases share a channel,
 * its queue has their sudogs one after the other, and a waker takes the first. */
static void
shuffle(sudog *sd, int32_t n, wait *w)
{
    for (int32_t k = 0; k < n; k++) { /* from the inside out */
        int32_t j = k ? (int32_t)fastrandn((uint32_t)k + 1) : 0;
        sd[k] = (sudog){.w = w, .ncase = k};
        sd[k].ncase = sd[j].ncase;
        sd[j].ncase = k;
    }
}

/* A wait with all cases. */
static enum turn
wait_any(selecting *sel, g *gp, sudog *sd, bool front)
{
    const scase *sc = sel->sc;
    int32_t n = (int32_t)sel->n;
    waiter here, *at = waiter_for(gp, &here);
    at->w = (wait){.g = gp};
    bool any = false;
    shuffle(sd, n, &at->w);
    int32_t timers = ready_timers(sc, sd, n);
    if (unlikely(timers < 0)) {
        waiter_back(gp, at, &here);
        return NOT_HAD;
    }
    for (int32_t k = 0; k < n; k++) {
        const scase *s = &sc[sd[k].ncase];
        if (!s->c)
            continue;
        any = true;
        if (s->value)
            sd[k].elem = Py_NewRef(s->value);
        waitq_push(chan_queue(s->c, s->value != NULL), &sd[k], front);
        if (unlikely(sd[k].elem && !s->value))
            chantimer_wait(chan_timer(s->c));
    }
    gopark(gp, any ? waitReasonSelect : waitReasonSelectNoCases);
    for (int32_t k = 0; k < n; k++) {
        const scase *s = &sc[sd[k].ncase];
        if (s->c)
            waitq_remove(chan_queue(s->c, s->value != NULL), &sd[k]);
    }
    /* after all of these: a timer is taken out of the heap if nobody is left in its channel's queue */
    for (int32_t k = 0; k < n && timers > 0; k++) {
        chan *c = sc[sd[k].ncase].c;
        if (c && chan_timer(c))
            chantimer_leave(chan_timer(c));
    }
    const sudog *fired = at->w.fired; /* before waiter_back: a destructor below may wait, and use it again */
    waiter_back(gp, at, &here);
    /* out of all queues: now references may be dropped */
    for (int32_t k = 0; k < n; k++) {
        if (sd[k].elem && (fired != &sd[k] || !sd[k].success))
            Py_CLEAR(sd[k].elem);
    }
    if (unlikely(!fired))
        return INTERRUPTED;
    bool sends = sc[fired->ncase].value;
    if (unlikely(sends && !fired->success)) {
        PyErr_SetString(Error, "send on closed channel");
        return NOT_HAD;
    }
    PyObject *v = !sends && fired->success ? fired->elem : NULL;
    return fill(sel->t, number(fired->ncase), v, fired->success);
}

/* The case that goes on now: a ready one, or the default. -1: none. */
static inline Py_ssize_t
pick_now(const selecting *sel)
{
    Py_ssize_t nready = 0, pick = sel->defcase;
    for (Py_ssize_t i = 0; i < sel->n; i++) {
        const scase *s = &sel->sc[i];
        if (!s->c || !(s->value ? chan_can_send(s->c) : chan_can_recv(s->c)))
            continue;
        /* the k-th ready case replaces the pick with probability 1/k: uniform */
        if (++nready == 1 || fastrandn((uint32_t)nready) == 0)
            pick = i;
    }
    return pick;
}

static inline enum turn
select_turn(void *of, g *gp, bool front)
{
    selecting *sel = of;
    Py_ssize_t pick = pick_now(sel);
    if (pick >= 0)
        return complete(&sel->sc[pick], pick, sel->t);
    PyObject_GC_UnTrack(sel->t); /* others run, and must not get hold of it before it is filled */
    sel->hidden = true;
    if (likely(sel->n <= ONSTACK && !(gp->flags & G_PTHREAD))) {
        sudog sd[ONSTACK];
        return wait_any(sel, gp, sd, front);
    }
    sudog *sd = numbers_reserve(sel->n) < 0 ? NULL : PyMem_New(sudog, sel->n);
    if (!sd) {
        PyErr_NoMemory();
        return NOT_HAD;
    }
    enum turn came = wait_any(sel, gp, sd, front);
    PyMem_Free(sd);
    return came;
}

static PyObject *
select_(PyObject *mod, PyObject *const *cases, Py_ssize_t n)
{
    (void)mod;
    g *gp = getg();
    if (unlikely(!gp))
        return NULL;
    scase sc_[ONSTACK];
    selecting sel = {.sc = sc_, .n = n};
    if (unlikely(n > ONSTACK) && !(sel.sc = PyMem_New(scase, n)))
        return PyErr_NoMemory();
    int r = parse(cases, n, sel.sc, &sel.defcase);
    if (r == 0 && !(sel.t = PyTuple_New(3)))
        r = -1;
    if (r == 0)
        r = wait_until(gp, &sel, select_turn, false, NULL);
    if (sel.sc != sc_)
        PyMem_Free(sel.sc);
    if (unlikely(r < 0)) {
        Py_XDECREF(sel.t);
        return NULL;
    }
    if (sel.hidden)
        PyObject_GC_Track(sel.t);
    return sel.t;
}

static PyObject *
Default_repr(PyObject *self)
{
    (void)self;
    return PyUnicode_FromString("gort.default");
}

static PyType_Slot Default_slots[] = {
    {Py_tp_repr, Default_repr},
    {Py_tp_doc, "The type of gort.default: the case that select() takes when no other is ready."},
    {0, NULL},
};

static PyType_Spec Default_spec = {
    .name = "gort._core._Default",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Default_slots,
};

static PyMethodDef functions[] = {
    {"select", (PyCFunction)(void (*)(void))select_, METH_FASTCALL,
     "select(*cases)\n--\n\nWaits until one of the cases can go on, and does it: Go's select.\n\n"
     "Returns (index, value, ok). A case is a channel (receive), a pair (channel, value) (send), None\n"
     "(a nil channel, never ready) or default, which is taken if no other case is ready. Among several\n"
     "ready cases it picks one uniformly at random. After a receive, value and ok are those of\n"
     "recv_ok(). After a send the result is (index, None, True), after default (index, None, False).\n"
     "Without cases it waits for ever. Raises runtime.Error for a send on a closed channel, TypeError\n"
     "for what is not a case, and ValueError for two defaults."},
    {NULL, NULL, 0, NULL},
};

int
gort_select_init(PyObject *module)
{
    rngstate = (uint64_t)nanotime() * 2654435761u | 1;
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&Default_spec);
    if (!type || PyModule_AddType(module, type) < 0)
        return -1;
    Default = type->tp_alloc(type, 0);
    if (!Default || PyModule_AddObjectRef(module, "default", Default) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
