/* sema.c: Sema, a counting semaphore with a fair queue.
 *
 * Invariants
 *   1. count > 0 means that all waiters have been woken.
 *   2. A waiter that is woken owns the unit: release hands it over. In the child of a fork, a unit that was
 *      handed over to a goroutine that is lost and has not run since is given back.
 *
 * With the GIL. errgroup's limit is made of it, and so is what the package writes in Python.
 *
 * Differs from Go: Go's runtime semaphores are addresses in a hashed tree; here each is an object with a
 * queue of its own.
 */
#include "core.h"

#include "cpython/type.h"
#include "sched/sched.h"
#include "sync/sync.h"

PyTypeObject *Sema_Type;

static PyObject *
Sema_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    long long count = 0;
    static char *names[] = {"", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|L:Sema", names, &count))
        return NULL;
    if (count < 0)
        return PyErr_Format(PyExc_ValueError, "a semaphore's count must be 0 or more, not %lld", count);
    Sema *s = (Sema *)type->tp_alloc(type, 0);
    if (s)
        s->count = count;
    return (PyObject *)s;
}

static bool
sema_take(void *of, g *gp)
{
    (void)gp;
    Sema *s = of;
    bool free = s->count > 0;
    s->count -= free;
    return free;
}

static void
sema_lost(void *of, bool woken)
{
    ((Sema *)of)->count += woken;
}

static const waitable unit = {waitReasonSemacquire, sema_take, sema_lost};

int
sema_acquire(Sema *s)
{
    g *gp = getg();
    return gp ? wait_for(gp, &s->waiters, &unit, s, NULL) : -1;
}

static PyObject *
Sema_acquire(Sema *s, PyObject *unused)
{
    (void)unused;
    if (sema_acquire(s) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Sema_try_acquire(Sema *s, PyObject *unused)
{
    (void)unused;
    if (s->count == 0)
        Py_RETURN_FALSE;
    s->count--;
    Py_RETURN_TRUE;
}

void
sema_release(Sema *s)
{
    sudog *sg = waitq_pop(&s->waiters);
    if (sg)
        goready(sg->w->g);
    else
        s->count++;
}

static PyObject *
Sema_release(Sema *s, PyObject *unused)
{
    (void)unused;
    sema_release(s);
    Py_RETURN_NONE;
}

static PyMethodDef Sema_methods[] = {
    {"acquire", (PyCFunction)Sema_acquire, METH_NOARGS,
     "acquire($self, /)\n--\n\nTakes one unit, waiting for it in order of arrival."},
    {"try_acquire", (PyCFunction)Sema_try_acquire, METH_NOARGS,
     "try_acquire($self, /)\n--\n\nTakes one unit if there is one; never waits."},
    {"release", (PyCFunction)Sema_release, METH_NOARGS,
     "release($self, /)\n--\n\nGives one unit back, to the first waiter if there is one."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Sema_slots[] = {
    {Py_tp_doc, "Sema(count=0, /)\n--\n\nA counting semaphore."},
    {Py_tp_new, Sema_new},
    {Py_tp_dealloc, type_free},
    {Py_tp_methods, Sema_methods},
    {0, NULL},
};

static PyType_Spec Sema_spec = {"gort._core.Sema", sizeof(Sema), 0, Py_TPFLAGS_DEFAULT, Sema_slots};

int
gort_sema_init(PyObject *module)
{
    Sema_Type = add_type(module, &Sema_spec);
    return Sema_Type ? 0 : -1;
}
