/* chan.c: channels.
 *
 * Invariants
 *   1. At least one of sendq and recvq has no waiters that are still to be woken, except for an unbuffered
 *      channel with a goroutine that waits for both directions in one select.
 *   2. If count > 0, recvq is empty in this sense; if count < cap, sendq is.
 *   3. A sudog's elem is an owned reference: the sender's value, or what a sender put there for the receiver.
 *   4. The channel of a timer (TIMER) has no capacity and no senders: what is received comes from the timer
 *      (timer.h).
 *   5. The number of places in the ring of values is a power of 2. It begins as what the capacity needs, but
 *      SMALL at most, and doubles when the ring is full and the capacity is not reached: a large capacity
 *      that is never used costs nothing.
 *
 * All under the GIL, so there is no lock and no lock-free fast path. Waiters are served first come, first
 * served.
 *
 * Differs from Go: recv() of a closed channel gives None; a signal that comes while the main goroutine waits
 * runs its handlers, after which the wait goes on at the head of the queue, or ends with the handler's
 * exception.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sync/timer.h"

#include <string.h>
#include <structmember.h>

#define SMALL 64

/* Why nothing can be sent. */
enum { OPEN, CLOSED, TIMER };

struct chan {
    PyObject_HEAD
    union {
        PyObject **buf;   /* ring of 1 << logroom values; NULL: no capacity */
        chantimer *timer; /* TIMER: owned */
    };
    Py_ssize_t cap, count;
    Py_ssize_t recvx; /* index of the oldest value */
    waitq recvq, sendq;
    uint8_t shut;
    uint8_t logroom;
    PyObject *weakrefs;
};

#include "sync/chan.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

PyTypeObject *Chan_Type;

static inline Py_ssize_t
room(const chan *c)
{
    return c->buf ? (Py_ssize_t)1 << c->logroom : 0;
}

static inline Py_ssize_t
mask(const chan *c)
{
    return ((Py_ssize_t)1 << c->logroom) - 1;
}

static inline void
buf_put(chan *c, PyObject *v)
{
    c->buf[(c->recvx + c->count) & mask(c)] = v;
    c->count++;
}

static inline PyObject *
buf_get(chan *c)
{
    PyObject *v = c->buf[c->recvx];
    c->buf[c->recvx] = NULL;
    c->recvx = (c->recvx + 1) & mask(c);
    c->count--;
    return v;
}

/* The ring is full: gives it twice the room. -1: MemoryError. */
static int
buf_grow(chan *c)
{
    Py_ssize_t old = room(c);
    PyObject **buf = PyMem_Calloc((size_t)old * 2, sizeof *buf);
    if (!buf) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t behind = old - c->recvx; /* values from recvx to the end of the ring */
    memcpy(buf, c->buf + c->recvx, (size_t)behind * sizeof *buf);
    memcpy(buf + behind, c->buf, (size_t)c->recvx * sizeof *buf);
    PyMem_Free(c->buf);
    c->buf = buf;
    c->recvx = 0;
    c->logroom++;
    return 0;
}

static noinline int
buf_grow_put(chan *c, PyObject *v)
{
    if (buf_grow(c) < 0)
        return -1;
    buf_put(c, Py_NewRef(v));
    return 1;
}

/* (In Go a receive-only channel has another type.) */
static noinline int
refuse_send(const chan *c)
{
    if (c->shut == TIMER)
        PyErr_SetString(PyExc_TypeError, "send to a timer's channel, which is receive-only");
    else
        PyErr_SetString(Error, "send on closed channel");
    return -1;
}

/* Sends v without waiting: 1 sent, 0 would block, -1 exception set: it is closed, or MemoryError. Steals
 * nothing. No Python code runs. Rare cases are calls in tail position, so that the common ones save no
 * registers for them. */
int
chan_send_now(chan *c, PyObject *v)
{
    if (unlikely(c->shut))
        return refuse_send(c);
    sudog *s = waitq_pop(&c->recvq);
    if (s) {
        s->elem = Py_NewRef(v);
        s->success = true;
        goready(s->w->g);
        return 1;
    }
    if (c->count == c->cap)
        return 0;
    if (unlikely(c->count > mask(c)))
        return buf_grow_put(c, v);
    buf_put(c, v);
    Py_INCREF(v);
    return 1;
}

/* Receives without waiting: 1 got *v (owned), 0 would block, -1 closed and drained, -2 exception set. */
int
chan_recv_now(chan *c, PyObject **v)
{
    if (c->count > 0) {
        *v = buf_get(c);
        sudog *s = waitq_pop(&c->sendq);
        if (s) { /* the buffer was full: the first sender's value takes the free place */
            buf_put(c, s->elem);
            s->elem = NULL;
            s->success = true;
            goready(s->w->g);
        }
        return 1;
    }
    sudog *s = waitq_pop(&c->sendq);
    if (s) {
        *v = s->elem;
        s->elem = NULL;
        s->success = true;
        goready(s->w->g);
        return 1;
    }
    if (likely(!c->shut))
        return 0;
    return c->shut == TIMER ? chantimer_recv(c->timer, v) : -1;
}

bool
chan_can_send(chan *c)
{
    return c->shut || c->count < c->cap || waitq_peek(&c->recvq);
}

bool
chan_can_recv(chan *c)
{
    if (c->count > 0 || waitq_peek(&c->sendq))
        return true;
    return unlikely(c->shut) && (c->shut == CLOSED || chantimer_maybe_run(c->timer));
}

waitq *
chan_queue(chan *c, bool send)
{
    return send ? &c->sendq : &c->recvq;
}

chantimer *
chan_timer(chan *c)
{
    return unlikely(c->shut == TIMER) ? c->timer : NULL;
}

static void
drain(chan *c)
{
    while (c->count > 0)
        Py_DECREF(buf_get(c)); /* out of the ring first: its destructor may use the channel */
}

/* A wait in the queue of senders. */
static inline enum turn
park_send(g *gp, chan *c, PyObject *v, waiter *at, bool front)
{
    bool fired = park_in(gp, &c->sendq, at, Py_NewRef(v), front, waitReasonChanSend);
    if (likely(at->s.success))
        return HAD;
    Py_CLEAR(at->s.elem); /* its own again */
    if (!fired)
        return INTERRUPTED;
    PyErr_SetString(Error, "send on closed channel");
    return NOT_HAD;
}

typedef struct {
    chan *c;
    PyObject *v;
} sending;

static inline enum turn
send_turn(void *of, g *gp, bool front)
{
    const sending *s = of;
    int r = chan_send_now(s->c, s->v);
    if (r != 0)
        return r > 0 ? HAD : NOT_HAD;
    waiter here, *at = waiter_for(gp, &here);
    enum turn came = park_send(gp, s->c, s->v, at, front);
    waiter_back(gp, at, &here);
    return came;
}

/* The general chan_send: for pthreads, and again after a signal. */
static noinline int
send_wait(g *gp, chan *c, PyObject *v, bool front)
{
    sending s = {c, v};
    return wait_until(gp, &s, send_turn, front, NULL);
}

static int
chan_send(chan *c, PyObject *v)
{
    int r = chan_send_now(c, v);
    if (likely(r > 0))
        return 0; /* a send that does not wait need not know what runs here */
    g *gp = r == 0 ? getg() : NULL;
    if (unlikely(!gp))
        return -1;
    if (unlikely(gp->flags & G_PTHREAD))
        return send_wait(gp, c, v, false);
    waiter here; /* the first turn, which most end with: without the registers that a loop would take */
    enum turn came = park_send(gp, c, v, &here, false);
    if (unlikely(came == INTERRUPTED))
        return run_handlers(NULL) ? send_wait(gp, c, v, true) : -1;
    return likely(came == HAD) ? 0 : -1;
}

/* A wait in the queue of receivers. *ok: *v was received; else the channel is closed. */
static inline enum turn
park_recv(g *gp, chan *c, PyObject **v, bool *ok, waiter *at, chantimer *ct, PyObject *tick, bool front)
{
    /* before the receiver is queued: only the scheduler fires timers, so not in between */
    if (ct)
        chantimer_wait(ct);
    if (unlikely(!park_in(gp, &c->recvq, at, tick, front, waitReasonChanReceive)))
        return INTERRUPTED;
    *v = at->s.elem;
    *ok = at->s.success;
    return HAD;
}

typedef struct {
    chan *c;
    PyObject **v;
    bool ok;
} receiving;

static inline enum turn
recv_turn(void *of, g *gp, bool front)
{
    receiving *rc = of;
    chan *c = rc->c;
    int r = chan_recv_now(c, rc->v);
    if (r != 0) {
        rc->ok = r > 0;
        return r >= -1 ? HAD : NOT_HAD;
    }
    PyObject *tick = NULL; /* what a timer's channel gives this receiver */
    chantimer *ct = chan_timer(c);
    /* before it is queued: the timer fires in the scheduler, which must not fail for want of memory */
    if (ct && (timer_reserve(1) < 0 || !(tick = chantimer_value())))
        return NOT_HAD;
    waiter here, *at = waiter_for(gp, &here);
    enum turn came = park_recv(gp, c, rc->v, &rc->ok, at, ct, tick, front);
    waiter_back(gp, at, &here);
    if (unlikely(came == INTERRUPTED && ct)) {
        chantimer_leave(ct); /* this one has left the queue: the timer need not be in the heap for it */
        Py_DECREF(tick);
    }
    return came;
}

/* The general chan_recv: for timers and pthreads, and again after a signal. */
static noinline int
recv_wait(g *gp, chan *c, PyObject **v, bool front)
{
    receiving rc = {.c = c, .v = v};
    return wait_until(gp, &rc, recv_turn, front, NULL) < 0 ? -1 : rc.ok;
}

/* 1: *v received; 0: closed and drained; -1: exception. */
static int
chan_recv(chan *c, PyObject **v)
{
    int r = chan_recv_now(c, v);
    if (likely(r > 0))
        return 1;
    g *gp = getg();
    if (unlikely(!gp))
        return -1;
    if (unlikely(r < 0))
        return r + 1;
    if (unlikely(c->shut || gp->flags & G_PTHREAD))
        return recv_wait(gp, c, v, false);
    waiter here; /* the first turn, as in chan_send */
    bool ok = false;
    if (likely(park_recv(gp, c, v, &ok, &here, NULL, NULL, false) == HAD))
        return ok;
    return run_handlers(NULL) ? recv_wait(gp, c, v, true) : -1;
}

static int
chan_close(chan *c)
{
    if (unlikely(c->shut)) {
        if (c->shut == TIMER)
            PyErr_SetString(PyExc_TypeError, "close of a timer's channel, which is receive-only");
        else
            PyErr_SetString(Error, "close of closed channel");
        return -1;
    }
    c->shut = CLOSED;
    sudog *s;
    while ((s = waitq_pop(&c->recvq)) != NULL) {
        s->elem = NULL;
        s->success = false;
        goready(s->w->g);
    }
    while ((s = waitq_pop(&c->sendq)) != NULL) {
        s->success = false; /* elem stays: the sender drops its own value */
        goready(s->w->g);
    }
    return 0;
}

/* -- the Python type ---------------------------------------------------------------------------- */

static PyObject *
chan_new_(PyTypeObject *type, PyObject *capacity)
{
    Py_ssize_t cap = 0;
    if (capacity) {
        if (PyBool_Check(capacity) || !PyIndex_Check(capacity)) {
            PyErr_Format(PyExc_TypeError, "the capacity of a channel must be an int, not %R", capacity);
            return NULL;
        }
        cap = PyNumber_AsSsize_t(capacity, PyExc_OverflowError);
        if (cap == -1 && PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
                PyErr_Clear();
                PyErr_Format(PyExc_ValueError, "makechan: size out of range: %R", capacity);
            }
            return NULL;
        }
        if (cap < 0 || (size_t)cap > PY_SSIZE_T_MAX / sizeof(PyObject *)) {
            PyErr_Format(PyExc_ValueError, "makechan: size out of range: %zd", cap);
            return NULL;
        }
    }
    PyObject **buf = NULL;
    uint8_t logroom = 0;
    while ((1 << logroom) < cap && (1 << logroom) < SMALL)
        logroom++;
    if (cap > 0 && !(buf = PyMem_Calloc((size_t)1 << logroom, sizeof(PyObject *))))
        return PyErr_NoMemory();
    chan *c = (chan *)type->tp_alloc(type, 0);
    if (!c) {
        PyMem_Free(buf);
        return NULL;
    }
    c->buf = buf;
    c->cap = cap;
    c->logroom = logroom;
    return (PyObject *)c;
}

/* The only keyword is capacity, and only if it was not given by position. NULL: exception set. */
static PyObject *
capacity_keyword(const char *what, Py_ssize_t nargs, PyObject *name, PyObject *value)
{
    if (PyUnicode_CompareWithASCIIString(name, "capacity") != 0)
        return PyErr_Format(PyExc_TypeError, "%s takes a capacity and nothing else, got %U=%R", what, name,
                            value);
    if (nargs)
        return PyErr_Format(PyExc_TypeError, "%s got its capacity twice, by position and by name", what);
    return value;
}

static PyObject *
Chan_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args), i = 0;
    PyObject *capacity = nargs == 1 ? PyTuple_GET_ITEM(args, 0) : NULL, *name, *value;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "Chan() takes a capacity and nothing else, got %zd arguments",
                            nargs);
    while (kw && PyDict_Next(kw, &i, &name, &value)) {
        if (!(capacity = capacity_keyword("Chan()", nargs++, name, value)))
            return NULL;
    }
    return chan_new_(type, capacity);
}

static int
Chan_traverse(chan *c, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(c));
    for (Py_ssize_t i = 0; i < c->count; i++)
        Py_VISIT(c->buf[(c->recvx + i) & (room(c) - 1)]);
    return 0;
}

static int
Chan_clear(chan *c)
{
    drain(c);
    return 0;
}

static void
Chan_dealloc(chan *c)
{
    PyTypeObject *type = Py_TYPE(c);
    PyObject_GC_UnTrack(c);
    Py_TRASHCAN_BEGIN(c, Chan_dealloc); /* channels in channels, however deep */
    if (c->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)c);
    drain(c);
    if (c->shut == TIMER)
        chantimer_free(c->timer);
    else
        PyMem_Free(c->buf);
    type->tp_free(c);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

chan *
chan_of_timer(chantimer *ct)
{
    chan *c = (chan *)Chan_Type->tp_alloc(Chan_Type, 0);
    if (c) {
        c->shut = TIMER;
        c->timer = ct;
    }
    return c;
}

static PyObject *
Chan_send(chan *c, PyObject *v)
{
    if (unlikely(chan_send(c, v) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Chan_recv(chan *c, PyObject *unused)
{
    (void)unused;
    PyObject *v;
    int r = chan_recv(c, &v);
    if (likely(r > 0))
        return v;
    if (r < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* The tuple is made first: if there is no memory for it, no value is lost. */
static PyObject *
Chan_recv_ok(chan *c, PyObject *unused)
{
    (void)unused;
    PyObject *v, *t = PyTuple_New(2);
    if (unlikely(!t))
        return NULL;
    int r = chan_recv_now(c, &v);
    bool waits = r == 0;
    if (waits)
        PyObject_GC_UnTrack(t); /* others run, and must not get hold of it before it is filled */
    if (r <= 0) {
        g *gp = getg();
        r = !gp ? -1 : r < 0 ? r + 1 : recv_wait(gp, c, &v, false);
        if (unlikely(r < 0)) {
            Py_DECREF(t);
            return NULL;
        }
    }
    PyTuple_SET_ITEM(t, 0, r ? v : Py_NewRef(Py_None));
    PyTuple_SET_ITEM(t, 1, Py_NewRef(r ? Py_True : Py_False));
    if (waits)
        PyObject_GC_Track(t);
    return t;
}

static PyObject *
Chan_close(chan *c, PyObject *unused)
{
    (void)unused;
    if (chan_close(c) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Chan_iternext(chan *c)
{
    PyObject *v;
    return chan_recv(c, &v) > 0 ? v : NULL;
}

static Py_ssize_t
Chan_len(chan *c)
{
    return c->count;
}

static int
Chan_bool(chan *c)
{
    (void)c;
    return 1;
}

static PyObject *
Chan_cap(chan *c, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(c->cap);
}

static PyObject *
Chan_repr(chan *c)
{
    return PyUnicode_FromFormat("<gort.Chan cap=%zd len=%zd%s at %p>", c->cap, c->count,
                                c->shut == CLOSED ? " closed" : "", c);
}

PyDoc_STRVAR(
    Chan_doc,
    "Chan(capacity=0)\n--\n\n"
    "A typed conduit between goroutines and threads: Go's chan.\n\n"
    "If the capacity is 0, a send waits for its receive; otherwise up to `capacity` values are buffered.\n"
    "Iterating receives until the channel is closed and drained. A channel is always true. Raises\n"
    "TypeError if the capacity is not an int, and ValueError if it is negative or too large.");

static PyMethodDef Chan_methods[] = {
    {"send", (PyCFunction)Chan_send, METH_O,
     "send($self, value, /)\n--\n\n"
     "Sends value; waits for a receiver or for room in the buffer: Go's ch <- value.\n\n"
     "Raises runtime.Error if the channel is closed, or gets closed meanwhile, and TypeError if it is a\n"
     "timer's."},
    {"recv", (PyCFunction)Chan_recv, METH_NOARGS,
     "recv($self, /)\n--\n\nReceives a value, waiting for one: Go's <-ch.\n\n"
     "None if the channel is closed and drained."},
    {"recv_ok", (PyCFunction)Chan_recv_ok, METH_NOARGS,
     "recv_ok($self, /)\n--\n\n"
     "Receives a value, waiting for one, and whether there was one: Go's v, ok := <-ch.\n\n"
     "(value, True), or (None, False) if the channel is closed and drained."},
    {"close", (PyCFunction)Chan_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Closes the channel; what is buffered can still be received: Go's close(ch).\n\n"
     "Raises runtime.Error if the channel is already closed, and TypeError if it is a timer's."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Chan[T], for annotations."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Chan_getset[] = {
    {"cap", (getter)Chan_cap, NULL, "How many values fit into the buffer: Go's cap(ch).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef Chan_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(chan, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Chan_slots[] = {
    {Py_tp_doc, (void *)Chan_doc},   {Py_tp_new, Chan_new},
    {Py_tp_dealloc, Chan_dealloc},   {Py_tp_traverse, Chan_traverse},
    {Py_tp_clear, Chan_clear},       {Py_tp_methods, Chan_methods},
    {Py_tp_getset, Chan_getset},     {Py_tp_members, Chan_members},
    {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, Chan_iternext},
    {Py_tp_repr, Chan_repr},         {Py_sq_length, Chan_len},
    {Py_nb_bool, Chan_bool},         {0, NULL},
};

static PyType_Spec Chan_spec = {
    .name = "gort.Chan",
    .basicsize = sizeof(chan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Chan_slots,
};

static PyObject *
chan_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)mod;
    PyObject *capacity = nargs ? args[0] : NULL;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "chan() takes a capacity and nothing else, got %zd arguments",
                            nargs);
    for (Py_ssize_t i = 0, n = kwnames ? PyTuple_GET_SIZE(kwnames) : 0; i < n; i++) {
        if (!(capacity = capacity_keyword("chan()", nargs, PyTuple_GET_ITEM(kwnames, i), args[nargs + i])))
            return NULL;
    }
    return chan_new_(Chan_Type, capacity);
}

static PyMethodDef functions[] = {
    {"chan", (PyCFunction)(void (*)(void))chan_, METH_FASTCALL | METH_KEYWORDS,
     "chan(capacity=0)\n--\n\n"
     "Makes a channel that buffers up to `capacity` values: Go's make(chan T, capacity).\n\n"
     "Raises TypeError if the capacity is not an int, and ValueError if it is negative or too large."},
    {NULL, NULL, 0, NULL},
};

int
gort_chan_init(PyObject *module)
{
    Chan_Type = (PyTypeObject *)PyType_FromSpec(&Chan_spec);
    if (!Chan_Type || PyModule_AddType(module, Chan_Type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
