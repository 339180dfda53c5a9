/* sema.c: Sema, a counting semaphore with a fair queue, and WAIT_REASONS, the texts that its acquire() takes.
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

static int
reason_of(PyObject *o, enum waitreason *why)
{
    for (int i = 1; i < waitReasonCount; i++) {
        if (PyUnicode_Check(o) && PyUnicode_CompareWithASCIIString(o, waitreason_text[i]) == 0) {
            *why = (enum waitreason)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "%R is not a wait reason", o);
    return -1;
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

PyObject *
Sema_acquire(Sema *s, PyObject *const *args, Py_ssize_t nargs)
{
    waitable unit = {waitReasonSemacquire, sema_take, sema_lost};
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "acquire() takes a wait reason and nothing else");
    if (nargs == 1 && reason_of(args[0], &unit.why) < 0)
        return NULL;
    g *gp = getg();
    if (!gp || wait_for(gp, &s->waiters, &unit, s, NULL) < 0)
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
    {"acquire", (PyCFunction)(void (*)(void))Sema_acquire, METH_FASTCALL,
     "acquire($self, reason='semacquire', /)\n--\n\n"
     "Takes one unit, waiting for it in order of arrival.\n\n"
     "reason: one of WAIT_REASONS."},
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
    if (!(Sema_Type = add_type(module, &Sema_spec)))
        return -1;
    PyObject *reasons = PyTuple_New(waitReasonCount - 1);
    for (int i = 1; reasons && i < waitReasonCount; i++) {
        PyObject *s = PyUnicode_FromString(waitreason_text[i]);
        if (!s)
            return -1;
        PyTuple_SET_ITEM(reasons, i - 1, s);
    }
    if (!reasons || PyModule_AddObjectRef(module, "WAIT_REASONS", reasons) < 0)
        return -1;
    Py_DECREF(reasons);
    return 0;
}
