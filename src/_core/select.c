/* select.c: waiting for several channels at once.
 *
 * One pass over the cases counts those that are ready and picks one uniformly at random; only if none is, the goroutine
 * puts a sudog for each case into the channels' queues and parks. All sudogs share one `wait`: the first waker sets
 * it, and queues skip sudogs whose wait is set, so exactly one case fires.
 *
 * Differs from Go: Go locks all channels in address order and polls them in a random order; under the GIL there
 * is nothing to lock, and a random pick among the ready ones gives the same distribution.
 */
#include "core.h"

#include "chan.h"
#include "compat.h"
#include "os.h"

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

static PyObject *
result(Py_ssize_t index, PyObject *value, bool ok)
{
    PyObject *t = PyTuple_New(3);
    PyObject *i = t ? PyLong_FromSsize_t(index) : NULL;
    if (!i) {
        Py_XDECREF(t);
        Py_XDECREF(value);
        return NULL;
    }
    PyTuple_SET_ITEM(t, 0, i);
    PyTuple_SET_ITEM(t, 1, value ? value : Py_NewRef(Py_None));
    PyTuple_SET_ITEM(t, 2, Py_NewRef(ok ? Py_True : Py_False));
    return t;
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
                PyErr_Format(PyExc_ValueError, "select: cases %zd and %zd are both default; there can be one",
                             *defcase, i);
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
            }
        }
        else {
            PyErr_Format(
                PyExc_TypeError,
                "select: case %zd is %R; a case is a channel, a pair (channel, value), None or default", i,
                o);
            return -1;
        }
    }
    return 0;
}

static PyObject *
complete(scase *sc, Py_ssize_t i)
{
    if (sc[i].value) {
        if (chan_send_now(sc[i].c, sc[i].value) < 0) {
            PyErr_SetString(Error, "send on closed channel");
            return NULL;
        }
        return result(i, NULL, true);
    }
    PyObject *v = NULL;
    int r = chan_recv_now(sc[i].c, &v);
    return result(i, r > 0 ? v : NULL, r > 0);
}

static PyObject *
wait_any(g *gp, scase *sc, sudog *sd, Py_ssize_t n, bool front, bool *again)
{
    wait w = {.g = gp};
    bool any = false;
    for (Py_ssize_t i = 0; i < n; i++) {
        sd[i] = (sudog){.w = &w, .ncase = (int32_t)i};
        if (!sc[i].c)
            continue;
        any = true;
        if (sc[i].value)
            sd[i].elem = Py_NewRef(sc[i].value);
        waitq_push(chan_queue(sc[i].c, sc[i].value != NULL), &sd[i], front);
    }
    gopark(gp, any ? waitReasonSelect : waitReasonSelectNoCases);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (sc[i].c)
            waitq_remove(chan_queue(sc[i].c, sc[i].value != NULL), &sd[i]);
    }
    /* out of all queues: now references may be dropped */
    for (Py_ssize_t i = 0; i < n; i++) {
        if (sc[i].value && (w.fired != &sd[i] || !sd[i].success))
            Py_CLEAR(sd[i].elem);
    }
    if (unlikely(!w.fired)) {
        *again = check_signals() == 0;
        return NULL;
    }
    Py_ssize_t i = w.fired->ncase;
    if (sc[i].value) {
        if (!sd[i].success) {
            PyErr_SetString(Error, "send on closed channel");
            return NULL;
        }
        return result(i, NULL, true);
    }
    return result(i, sd[i].success ? sd[i].elem : NULL, sd[i].success);
}

PyObject *
select_run(PyObject *const *cases, Py_ssize_t n)
{
    g *gp = getg();
    if (unlikely(!gp))
        return NULL;
    scase sc_[ONSTACK], *sc = sc_;
    Py_ssize_t defcase;
    if (unlikely(n > ONSTACK) && !(sc = PyMem_New(scase, n)))
        return PyErr_NoMemory();
    PyObject *r = NULL;
    if (parse(cases, n, sc, &defcase) < 0)
        goto done;
    bool front = false;
    for (;;) {
        Py_ssize_t nready = 0, pick = -1;
        for (Py_ssize_t i = 0; i < n; i++) {
            chan *c = sc[i].c;
            if (!c || !(sc[i].value ? chan_can_send(c) : chan_can_recv(c)))
                continue;
            /* the k-th ready case replaces the pick with probability 1/k: uniform */
            if (++nready == 1 || fastrandn((uint32_t)nready) == 0)
                pick = i;
        }
        if (pick >= 0) {
            r = complete(sc, pick);
            break;
        }
        if (defcase >= 0) {
            r = result(defcase, NULL, false);
            break;
        }
        bool again = false;
        if (likely(n <= ONSTACK)) {
            sudog sd[ONSTACK];
            r = wait_any(gp, sc, sd, n, front, &again);
        }
        else {
            sudog *sd = PyMem_New(sudog, n);
            if (!sd) {
                PyErr_NoMemory();
                break;
            }
            r = wait_any(gp, sc, sd, n, front, &again);
            PyMem_Free(sd);
        }
        if (!again)
            break;
        front = true;
    }
done:
    if (sc != sc_)
        PyMem_Free(sc);
    return r;
}

static PyObject *
select_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    return select_run(args, nargs);
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
     "select(*cases)\n--\n\n"
     "Waits until one of the cases can go on and does it: Go's select. Returns (index, value, ok).\n\n"
     "A case is a channel (receive), a pair (channel, value) (send), None (a nil channel: never ready) or default.\n"
     "Among several ready cases it picks uniformly at random. After a send: (i, None, True); after default:\n"
     "(i, None, False). Without any case it waits for ever.\n"
     "runtime.Error: send on a closed channel; TypeError: no case; ValueError: two defaults."},
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
