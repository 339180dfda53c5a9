/* chan.c: channels.
 *
 * Invariants
 *   1. At least one of sendq and recvq is empty of waiters that nobody woke yet, except for an unbuffered channel with a
 *      goroutine that waits for both directions in one select.
 *   2. count > 0 implies that recvq is empty; count < cap that sendq is.
 *   3. A sudog's elem is an owned reference: the sender's value, or what a sender put there for the receiver.
 *
 * All under the GIL, so there is no lock and no lock-free fast path. Waiters are served first come, first served.
 *
 * Differs from Go: recv() of a closed channel gives None; a signal that comes while the main goroutine waits runs its
 * handlers, after which the wait goes on at the head of the queue, or ends with the handler's exception.
 */
#include "core.h"

#include "compat.h"
#include "os.h"

#include <structmember.h>

struct chan {
    PyObject_HEAD
    PyObject **buf; /* ring of cap values */
    Py_ssize_t cap, count;
    Py_ssize_t recvx; /* index of the oldest value */
    waitq recvq, sendq;
    bool closed;
    PyObject *weakrefs;
};

#include "chan.h"

PyTypeObject *Chan_Type;

static inline void
buf_put(chan *c, PyObject *v)
{
    Py_ssize_t i = c->recvx + c->count;
    if (i >= c->cap)
        i -= c->cap;
    c->buf[i] = v;
    c->count++;
}

static inline PyObject *
buf_get(chan *c)
{
    PyObject *v = c->buf[c->recvx];
    c->buf[c->recvx] = NULL;
    if (++c->recvx == c->cap)
        c->recvx = 0;
    c->count--;
    return v;
}

/* Sends v without waiting: 1 sent, 0 would block, -1 closed. Steals nothing. No Python code runs. */
int
chan_send_now(chan *c, PyObject *v)
{
    if (unlikely(c->closed))
        return -1;
    sudog *s = waitq_pop(&c->recvq);
    if (s) {
        s->elem = Py_NewRef(v);
        s->success = true;
        goready(s->w->g);
        return 1;
    }
    if (c->count < c->cap) {
        buf_put(c, Py_NewRef(v));
        return 1;
    }
    return 0;
}

/* Receives without waiting: 1 got *v (owned), 0 would block, -1 closed and drained. */
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
    return c->closed ? -1 : 0;
}

bool
chan_can_send(chan *c)
{
    return c->closed || c->count < c->cap || waitq_peek(&c->recvq);
}

bool
chan_can_recv(chan *c)
{
    return c->closed || c->count > 0 || waitq_peek(&c->sendq);
}

waitq *
chan_queue(chan *c, bool send)
{
    return send ? &c->sendq : &c->recvq;
}

bool
chan_trysend(chan *c, PyObject *v)
{
    return chan_send_now(c, v) == 1;
}

void
chan_drain(chan *c)
{
    while (c->count > 0)
        Py_DECREF(buf_get(c));
}

int
chan_send(chan *c, PyObject *v)
{
    int r = chan_send_now(c, v);
    if (likely(r > 0))
        return 0; /* who need not wait need not know who runs */
    g *gp = getg();
    if (unlikely(!gp))
        return -1;
    for (bool front = false;; front = true, r = chan_send_now(c, v)) {
        if (r > 0)
            return 0;
        if (r == 0) {
            wait w = {.g = gp};
            sudog s = {.w = &w, .elem = Py_NewRef(v)};
            waitq_push(&c->sendq, &s, front);
            gopark(gp, waitReasonChanSend);
            if (likely(w.fired != NULL)) {
                if (likely(s.success))
                    return 0;
                Py_CLEAR(s.elem);
            }
            else {
                waitq_remove(&c->sendq, &s);
                Py_CLEAR(s.elem);
                if (check_signals() < 0)
                    return -1;
                continue;
            }
        }
        PyErr_SetString(Error, "send on closed channel");
        return -1;
    }
}

/* 1: *v received; 0: closed and drained; -1: exception. */
int
chan_recv(chan *c, PyObject **v)
{
    int r = chan_recv_now(c, v);
    if (likely(r > 0))
        return 1;
    g *gp = getg();
    if (unlikely(!gp))
        return -1;
    for (bool front = false;; front = true, r = chan_recv_now(c, v)) {
        if (r != 0)
            return r > 0;
        wait w = {.g = gp};
        sudog s = {.w = &w};
        waitq_push(&c->recvq, &s, front);
        gopark(gp, waitReasonChanReceive);
        if (likely(w.fired != NULL)) {
            *v = s.elem;
            return s.success;
        }
        waitq_remove(&c->recvq, &s);
        if (check_signals() < 0)
            return -1;
    }
}

int
chan_close(chan *c)
{
    if (c->closed) {
        PyErr_SetString(Error, "close of closed channel");
        return -1;
    }
    c->closed = true;
    sudog *s;
    while ((s = waitq_pop(&c->recvq)) != NULL) {
        s->elem = NULL;
        s->success = false;
        goready(s->w->g);
    }
    while ((s = waitq_pop(&c->sendq)) != NULL) {
        s->success = false; /* keeps its elem: it drops it itself */
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
            PyErr_Format(PyExc_TypeError, "the capacity of a channel is an int, not %R", capacity);
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
    if (cap > 0 && !(buf = PyMem_Calloc((size_t)cap, sizeof(PyObject *))))
        return PyErr_NoMemory();
    chan *c = (chan *)type->tp_alloc(type, 0);
    if (!c) {
        PyMem_Free(buf);
        return NULL;
    }
    c->buf = buf;
    c->cap = cap;
    return (PyObject *)c;
}

static PyObject *
Chan_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    PyObject *capacity = NULL;
    if (kw && PyDict_GET_SIZE(kw)) {
        PyErr_SetString(PyExc_TypeError, "Chan() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_UnpackTuple(args, "Chan", 0, 1, &capacity))
        return NULL;
    return chan_new_(type, capacity);
}

static int
Chan_traverse(chan *c, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(c));
    for (Py_ssize_t i = 0; i < c->cap; i++)
        Py_VISIT(c->buf[i]);
    return 0;
}

static int
Chan_clear(chan *c)
{
    chan_drain(c);
    return 0;
}

static void
Chan_dealloc(chan *c)
{
    PyTypeObject *type = Py_TYPE(c);
    PyObject_GC_UnTrack(c);
    if (c->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)c);
    chan_drain(c);
    PyMem_Free(c->buf);
    type->tp_free(c);
    Py_DECREF(type);
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

static PyObject *
Chan_recv_ok(chan *c, PyObject *unused)
{
    (void)unused;
    PyObject *v;
    int r = chan_recv(c, &v);
    if (r < 0)
        return NULL;
    if (r == 0)
        v = Py_NewRef(Py_None);
    PyObject *t = PyTuple_New(2);
    if (!t) {
        Py_DECREF(v);
        return NULL;
    }
    PyTuple_SET_ITEM(t, 0, v);
    PyTuple_SET_ITEM(t, 1, Py_NewRef(r ? Py_True : Py_False));
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
                                c->closed ? " closed" : "", c);
}

PyDoc_STRVAR(Chan_doc,
             "Chan(capacity=0, /)\n--\n\n"
             "A typed conduit between goroutines and threads: Go's chan.\n\n"
             "Without capacity a send and its receive meet; with one, `capacity` values are buffered.\n"
             "Iterating receives until the channel is closed and drained. A channel is always true.\n"
             "TypeError: the capacity is no int; ValueError: it is negative or too large.");

static PyMethodDef Chan_methods[] = {
    {"send", (PyCFunction)Chan_send, METH_O,
     "send($self, value, /)\n--\n\nSends value; waits for a receiver or for room in the buffer: Go's ch <- value.\n"
     "runtime.Error if the channel is or gets closed."},
    {"recv", (PyCFunction)Chan_recv, METH_NOARGS,
     "recv($self, /)\n--\n\nReceives a value; waits for one: Go's <-ch. None once the channel is closed and drained."},
    {"recv_ok", (PyCFunction)Chan_recv_ok, METH_NOARGS,
     "recv_ok($self, /)\n--\n\nReceives: (value, True), or (None, False) once the channel is closed and drained: Go's "
     "v, ok := <-ch."},
    {"close", (PyCFunction)Chan_close, METH_NOARGS,
     "close($self, /)\n--\n\nCloses the channel: what is buffered can still be received. runtime.Error if it is closed "
     "already."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "See PEP 585"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Chan_getset[] = {
    {"cap", (getter)Chan_cap, NULL, "How many values the buffer holds: Go's cap(ch).", NULL},
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
chan_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "chan() takes a capacity and nothing else, got %zd arguments", nargs);
        return NULL;
    }
    return chan_new_(Chan_Type, nargs ? args[0] : NULL);
}

static PyMethodDef functions[] = {
    {"chan", (PyCFunction)(void (*)(void))chan_, METH_FASTCALL,
     "chan(capacity=0, /)\n--\n\nMakes a channel: Go's make(chan T, capacity).\n"
     "TypeError: the capacity is no int; ValueError: it is negative or too large."},
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
