/* cond.c: Cond, Go's sync.Cond.
 *
 * Invariants
 *   1. A waiter is in the queue before the lock is given back, so that no signal passes it by. As unlocking
 *      may run Python code of the program (a Locker can be anything), a waiter may be queued without being
 *      parked: `parked` tells its waker, which wakes it then or leaves it a note (`fired`) that it reads
 *      before it parks.
 *   2. Whenever wait() is left after the lock was given back, by an exception too, the lock is held again;
 *      the exception of a signal's handler is delivered then.
 *   3. A signal that was meant for a waiter which leaves by an exception goes to the next one.
 *
 * In C, because between any two instructions of Python code a signal handler may raise.
 *
 * Differs from Go: only its place in the queue is made for each waiter. As there, a Cond must not be copied.
 */
#include "core.h"

#include "cpython/type.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

#include <stdlib.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *l;
    waitq waiters;
} Cond;

static PyObject *
Cond_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    PyObject *l;
    static char *names[] = {"", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kw, "O:Cond", names, &l))
        return NULL;
    PyObject *lock = PyObject_GetAttrString(l, "lock");
    PyObject *unlock = lock ? PyObject_GetAttrString(l, "unlock") : NULL;
    bool good = unlock && PyCallable_Check(lock) && PyCallable_Check(unlock);
    Py_XDECREF(lock);
    Py_XDECREF(unlock);
    if (!good) {
        if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Format(PyExc_TypeError, "Cond() takes an object with lock() and unlock(), not %R", l);
        return NULL;
    }
    Cond *c = (Cond *)type->tp_alloc(type, 0);
    if (c)
        c->l = Py_NewRef(l);
    return (PyObject *)c;
}

/* The first waiter goes on. */
static bool
cond_signal(Cond *c)
{
    sudog *s = waitq_pop(&c->waiters);
    if (!s)
        return false;
    waiter *one = (waiter *)s->w;
    if (one->parked)
        goready(s->w->g);
    return true;
}

/* This waiter leaves by an exception. */
static void
cond_leave(Cond *c, waiter *one)
{
    if (one->w.fired)
        cond_signal(c);
    else
        waitq_remove(&c->waiters, &one->s);
}

/* No Python code between this look and the park: a note would be missed. */
static inline enum turn
signal_turn(void *of, g *gp, bool front)
{
    (void)front; /* it is in the queue throughout */
    waiter *one = of;
    if (!one->w.fired) {
        one->parked = true;
        gopark(gp, waitReasonCondWait);
        one->parked = false; /* before the handlers, which may park in something else: it is still queued */
    }
    return likely(one->w.fired != NULL) ? HAD : INTERRUPTED;
}

static int
wait_as(Cond *c, const locker *l, g *gp, waiter *one)
{
    PyObject *exc = NULL;
    one->w = (wait){.g = gp};
    one->s = (sudog){.w = &one->w};
    one->parked = false;
    waitq_push(&c->waiters, &one->s, false);
    if (unlikely(locker_unlock(l) < 0)) {
        cond_leave(c, one);
        return -1;
    }
    if (unlikely(wait_until(gp, one, signal_turn, false, NULL) < 0)) {
        exc = take_exception();
        cond_leave(c, one);
    }
    locker_lock_always(l, gp, &exc);
    if (likely(!exc))
        return 0;
    give_exception(exc);
    return -1;
}

static PyObject *
Cond_wait(Cond *c, PyObject *unused)
{
    (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    locker l;
    PyObject *held = Py_NewRef(c->l);
    int r = locker_of(&l, held);
    if (unlikely(r == 0 && gp->greenlets)) {
        /* code of the program, which runs while the waiter is queued, may switch greenlets: they copy the
         * stack away */
        waiter *one = malloc(sizeof *one);
        if (one)
            r = wait_as(c, &l, gp, one);
        else {
            PyErr_NoMemory();
            r = -1;
        }
        free(one);
    }
    else if (likely(r == 0)) {
        waiter here, *one = waiter_for(gp, &here);
        r = wait_as(c, &l, gp, one);
        waiter_back(gp, one, &here);
    }
    Py_DECREF(held);
    if (r < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Cond_signal(Cond *c, PyObject *unused)
{
    (void)unused;
    cond_signal(c);
    Py_RETURN_NONE;
}

static PyObject *
Cond_broadcast(Cond *c, PyObject *unused)
{
    (void)unused;
    /* no Python code runs meanwhile: one that is woken cannot be back already */
    while (cond_signal(c)) {
    }
    Py_RETURN_NONE;
}

static int
Cond_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Cond *)self)->l);
    return 0;
}

static int
Cond_clear(PyObject *self)
{
    Py_XSETREF(((Cond *)self)->l, Py_NewRef(Py_None));
    return 0;
}

static void
Cond_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((Cond *)self)->l);
    type_free(self);
}

static PyMethodDef Cond_methods[] = {
    {"wait", (PyCFunction)Cond_wait, METH_NOARGS,
     "wait($self, /)\n--\n\n"
     "Unlocks `l`, waits for signal() or broadcast(), and locks `l` again: Go's Cond.Wait.\n\n"
     "The caller must hold `l`. Another goroutine may come in between, so test the condition in a loop.\n"
     "However wait() ends, `l` is held again: an exception that a signal handler raises is raised only\n"
     "then."},
    {"signal", (PyCFunction)Cond_signal, METH_NOARGS,
     "signal($self, /)\n--\n\nWakes the goroutine that has waited longest, if any: Go's Cond.Signal."},
    {"broadcast", (PyCFunction)Cond_broadcast, METH_NOARGS,
     "broadcast($self, /)\n--\n\nWakes all goroutines that wait: Go's Cond.Broadcast."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Cond_members[] = {
    {"l", T_OBJECT_EX, offsetof(Cond, l), READONLY,
     "The Locker that is held to change or test the condition: Go's Cond.L."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Cond_slots[] = {
    {Py_tp_doc,
     "Cond(locker, /)\n--\n\nA condition that goroutines wait for: Go's sync.Cond.\n\n"
     "`l`, the locker, is held to change or test the condition. Raises TypeError if it has no lock()\n"
     "and unlock()."},
    {Py_tp_new, Cond_new},
    {Py_tp_dealloc, Cond_dealloc},
    {Py_tp_traverse, Cond_traverse},
    {Py_tp_clear, Cond_clear},
    {Py_tp_methods, Cond_methods},
    {Py_tp_members, Cond_members},
    {0, NULL},
};

static PyType_Spec Cond_spec = {"gort.sync.Cond", sizeof(Cond), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, Cond_slots};

int
gort_cond_init(PyObject *module)
{
    return add_type(module, &Cond_spec) ? 0 : -1;
}
