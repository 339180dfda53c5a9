/* once.c: Once, and what once_func and once_value are made of.
 *
 * Invariants
 *   1. `mutex` is held from before f to after `done`, whatever f raises: no signal handler can make f run
 *      twice.
 *   2. f runs while `mutex` is held, as in Go: later callers wait for its end. What f left is dropped after
 *      that.
 *   3. A caller that finds `done` set finds the outcome too: they are stored together, and nothing runs in
 *      between.
 *
 * Differs from Go: an f that raises counts as done, as one that panics does there; there is no OnceValues,
 * since a value may be a tuple.
 */
#include "core.h"

#include "cpython/type.h"
#include "sched/g.h"
#include "sync/sync.h"

typedef struct {
    PyObject_HEAD
    bool done;
    Mutex *mutex;
    PyObject *result, *failure, *failure_tb; /* of _value */
} Once;

static PyObject *
Once_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    if (PyTuple_GET_SIZE(args) || (kw && PyDict_GET_SIZE(kw)))
        return PyErr_Format(PyExc_TypeError, "Once() takes no arguments");
    Mutex *mu = mutex_new();
    Once *o = mu ? (Once *)type->tp_alloc(type, 0) : NULL;
    if (o)
        o->mutex = mu;
    else
        Py_XDECREF(mu);
    return (PyObject *)o;
}

/* 1: this call has called f, and *result is what it returned (NULL: it raised); 0: an earlier call had; -1:
 * interrupted. *result is set only for 1. */
static int
once_do(Once *o, PyObject *f, PyObject **result)
{
    if (likely(o->done))
        return 0;
    if (mutex_lock(o->mutex) < 0)
        return -1;
    int mine = 0;
    if (!o->done) {
        mine = 1;
        *result = PyObject_CallNoArgs(f);
        o->done = true;
    }
    mutex_unlock(o->mutex);
    return mine;
}

static PyObject *
Once_do(Once *o, PyObject *f)
{
    if (check_runs("Once.do()", f) < 0)
        return NULL;
    PyObject *result;
    int mine = once_do(o, f, &result);
    if (mine < 0 || (mine && !result))
        return NULL;
    if (mine)
        Py_DECREF(result);
    Py_RETURN_NONE;
}

/* What once_value's function does: do(f), and the outcome of f. */
static PyObject *
Once_value(Once *o, PyObject *f)
{
    if (!o->done) {
        if (mutex_lock(o->mutex) < 0)
            return NULL;
        PyObject *goexit = NULL; /* ends the goroutine of the first call only */
        if (!o->done) {
            PyObject *result = PyObject_CallNoArgs(f), *failure = NULL, *tb = NULL;
            /* making an exception may run the program's code: `done` is not set yet, and all others wait */
            if (!result && PyErr_ExceptionMatches(Goexit)) {
                goexit = take_exception();
                failure = PyObject_CallFunction(
                    Error, "s", "sync: the function given to once_func or once_value ended by goexit");
                if (!failure)
                    PyErr_Clear();
            }
            else if (!result) {
                failure = take_exception();
                tb = failure ? PyException_GetTraceback(failure) : NULL;
            }
            o->result = result;
            o->failure = failure;
            o->failure_tb = tb;
            o->done = true;
        }
        mutex_unlock(o->mutex);
        if (unlikely(goexit != NULL)) {
            give_exception(goexit);
            return NULL;
        }
    }
    if (likely(o->result != NULL))
        return Py_NewRef(o->result);
    if (!o->failure)
        return PyErr_Format(Error, "sync: the function given to once_func or once_value ended by goexit");
    /* the traceback of the first time: raising again and again must not make it longer and longer */
    if (PyException_SetTraceback(o->failure, o->failure_tb ? o->failure_tb : Py_None) < 0)
        return NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(o->failure), o->failure);
    return NULL;
}

static int
Once_traverse(PyObject *self, visitproc visit, void *arg)
{
    Once *o = (Once *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(o->result);
    Py_VISIT(o->failure);
    Py_VISIT(o->failure_tb);
    return 0;
}

static int
Once_clear(PyObject *self)
{
    Once *o = (Once *)self;
    Py_CLEAR(o->result);
    Py_CLEAR(o->failure);
    Py_CLEAR(o->failure_tb);
    return 0;
}

static void
Once_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Once_clear(self);
    Py_CLEAR(((Once *)self)->mutex);
    type_free(self);
}

static PyMethodDef Once_methods[] = {
    {"do", (PyCFunction)Once_do, METH_O,
     "do($self, f, /)\n--\n\n"
     "Calls f() if no call of do() on this Once has called its f: Go's Once.Do.\n\n"
     "Returns once that first f has ended. An f that raises counts as done; its exception goes to the\n"
     "caller that ran it. If f calls do() of the same Once, it deadlocks. Raises TypeError if f cannot\n"
     "be called, or if calling it runs nothing (a coroutine or generator function)."},
    {"_value", (PyCFunction)Once_value, METH_O,
     "_value($self, f, /)\n--\n\ndo(f), but each call has the outcome of f."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Once_slots[] = {
    {Py_tp_doc, "Once()\n--\n\nCalls a function exactly once: Go's sync.Once."},
    {Py_tp_new, Once_new},
    {Py_tp_dealloc, Once_dealloc},
    {Py_tp_traverse, Once_traverse},
    {Py_tp_clear, Once_clear},
    {Py_tp_methods, Once_methods},
    {0, NULL},
};

static PyType_Spec Once_spec = {"gort.sync.Once", sizeof(Once), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, Once_slots};

int
gort_once_init(PyObject *module)
{
    return add_type(module, &Once_spec) ? 0 : -1;
}
