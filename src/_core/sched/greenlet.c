/* greenlet.c: a goroutine that uses greenlets keeps its OS thread.
 *
 * The extension module greenlet (SQLAlchemy's asyncio bridge, gevent, playwright) runs several greenlets on
 * one stack: it copies the part of the stack that they share to the heap and back. What it knows of the stack
 * it keeps by OS thread. To it, goroutines that take turns on a thread are one program whose stack jumps
 * about: it would copy one goroutine's frames over another's. So, from its first use of a greenlet to its
 * end, a goroutine is locked to its thread:
 *
 *   1. No other goroutine runs there, so that there is one stack to a thread again; also no destructor or
 *      collection of another goroutine's, in which greenlet would end a suspended greenlet of this one by
 *      switching to it. Elsewhere it leaves that to the thread that the greenlet belongs to.
 *   2. The goroutine may park in any of its greenlets: its stack lies still meanwhile, and goes on where it
 *      was.
 *   3. The thread ends with the goroutine, and all greenlets that are left end with the thread: greenlet
 *      forgets them without touching the stack, which is another goroutine's by then.
 *   4. The main goroutine is locked to the main thread, where its greenlets were before there was a gort.
 *
 * A greenlet belongs to the goroutine that made it, as it belongs to the thread that made it in a program
 * without gort.
 *
 * How it is noticed. Every use of greenlets begins with making one, asking for the current one, switching or
 * throwing. These are replaced in place, in the module's method tables, the type and the table of its C
 * interface, as soon as the module is loaded: the functions of _imp that load extension modules are replaced
 * in the same way. A program that does not load greenlet pays nothing.
 *
 * Rejected: looking at each park whether the goroutine is in a greenlet. It costs every park, and is too
 * late: the goroutine that runs on the thread next does the damage.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "sched/g.h"
#include "sched/greenlet.h"
#include "sched/sched.h"

#include <string.h>

/* The indices of greenlet's C interface (greenlet.h). */
enum { API_NEW = 3, API_GETCURRENT = 4, API_THROW = 5, API_SWITCH = 6 };

static PyCFunction real_exec_dynamic, real_getcurrent, real_throw;
static PyCFunctionWithKeywords real_switch;
static newfunc real_new;
static PyObject *(*real_api_new)(PyObject *run, PyObject *parent);
static PyObject *(*real_api_getcurrent)(void);
static PyObject *(*real_api_throw)(PyObject *self, PyObject *type, PyObject *value, PyObject *tb);
static PyObject *(*real_api_switch)(PyObject *self, PyObject *args, PyObject *kwargs);

/* The running goroutine keeps its thread from now on. -1: exception set. */
static int
keep_thread(void)
{
    m *mp = getm();
    if (unlikely(!mp)) {
        /* a plain thread; or the main one, and gort was imported in another */
        if (!on_main_thread())
            return 0;
        if (!getg())
            return -1;
        mp = getm();
        if (!mp)
            return 0; /* it has forked, and ends: a plain thread again */
    }
    g *gp = mp->curg;
    if (likely(!gp || gp->greenlets))
        return 0;
    if (gp->extra) {
        PyErr_SetString(
            Error,
            "greenlets cannot be used in compile() or this deep in a recursion: the goroutine is not on its "
            "own stack");
        return -1;
    }
    lock_thread(gp); /* may go on on another thread: mp is not used after this */
    gp->greenlets = true;
    gp->cgo = NULL; /* they lie on the stack, which greenlets copy away */
    return 0;
}

static PyObject *
greenlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return keep_thread() < 0 ? NULL : real_new(type, args, kwargs);
}

static PyObject *
greenlet_switch(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return keep_thread() < 0 ? NULL : real_switch(self, args, kwargs);
}

static PyObject *
greenlet_throw(PyObject *self, PyObject *args)
{
    return keep_thread() < 0 ? NULL : real_throw(self, args);
}

static PyObject *
greenlet_getcurrent(PyObject *module, PyObject *none)
{
    return keep_thread() < 0 ? NULL : real_getcurrent(module, none);
}

static PyObject *
api_new(PyObject *run, PyObject *parent)
{
    return keep_thread() < 0 ? NULL : real_api_new(run, parent);
}

static PyObject *
api_getcurrent(void)
{
    return keep_thread() < 0 ? NULL : real_api_getcurrent();
}

static PyObject *
api_throw(PyObject *self, PyObject *type, PyObject *value, PyObject *tb)
{
    return keep_thread() < 0 ? NULL : real_api_throw(self, type, value, tb);
}

static PyObject *
api_switch(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return keep_thread() < 0 ? NULL : real_api_switch(self, args, kwargs);
}

/* -- replacing --------------------------------------------------------------------------------- */

static PyMethodDef *
method_of(PyObject *owner, const char *name, int convention)
{
    PyMethodDef *def = def_in(owner, name);
    return def && def_convention(def) == convention ? def : NULL;
}

/* Subclasses have inherited the slot when they were made. */
static int
replace_new(PyTypeObject *type)
{
    if (type->tp_new == real_new)
        type->tp_new = greenlet_new;
    PyObject *subclasses = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    int result = subclasses && PyList_Check(subclasses) ? 0 : -1;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(subclasses); i++)
        result = replace_new((PyTypeObject *)PyList_GET_ITEM(subclasses, i));
    Py_XDECREF(subclasses);
    return result;
}

/* All or nothing; a greenlet that is built otherwise is left as it is. -1: exception set. */
static int
adopt(PyObject *module)
{
    int result = 0;
    PyObject *type = PyObject_GetAttrString(module, "greenlet");
    PyObject *capsule = type ? PyObject_GetAttrString(module, "_C_API") : NULL;
    void **api = capsule ? PyCapsule_GetPointer(capsule, "greenlet._C_API") : NULL;
    if (!api || !PyType_Check(type)) {
        PyErr_Clear();
        goto done;
    }
    PyMethodDef *getcurrent = method_of(module, "getcurrent", METH_NOARGS);
    PyMethodDef *throw_ = method_of(type, "throw", METH_VARARGS);
    PyMethodDef *switch_ = method_of(type, "switch", METH_VARARGS | METH_KEYWORDS);
    if (!getcurrent || !throw_ || !switch_ || real_new)
        goto done;
    real_getcurrent = getcurrent->ml_meth;
    getcurrent->ml_meth = greenlet_getcurrent;
    real_throw = throw_->ml_meth;
    throw_->ml_meth = greenlet_throw;
    real_switch = (PyCFunctionWithKeywords)(void (*)(void))switch_->ml_meth;
    switch_->ml_meth = (PyCFunction)(void (*)(void))greenlet_switch;
    real_api_new = api[API_NEW];
    api[API_NEW] = api_new;
    real_api_getcurrent = api[API_GETCURRENT];
    api[API_GETCURRENT] = api_getcurrent;
    real_api_throw = api[API_THROW];
    api[API_THROW] = api_throw;
    real_api_switch = api[API_SWITCH];
    api[API_SWITCH] = api_switch;
    real_new = ((PyTypeObject *)type)->tp_new;
    result = replace_new((PyTypeObject *)type);
done:
    Py_XDECREF(capsule);
    Py_XDECREF(type);
    return result;
}

static PyObject *
exec_dynamic(PyObject *imp, PyObject *module)
{
    PyObject *r = real_exec_dynamic(imp, module);
    if (r && PyModule_Check(module)) {
        const char *name = PyModule_GetName(module);
        if (!name)
            PyErr_Clear();
        else if (strcmp(name, "greenlet._greenlet") == 0 && adopt(module) < 0)
            Py_CLEAR(r);
    }
    return r;
}

/* greenlet was loaded before gort: are there greenlets already? */
static bool
in_use(PyObject *module)
{
    PyObject *n = PyObject_CallMethod(module, "get_total_main_greenlets", NULL);
    bool none = n && PyLong_Check(n) && PyLong_AsLong(n) == 0;
    Py_XDECREF(n);
    PyErr_Clear();
    return !none;
}

int
greenlet_init(void)
{
    PyObject *imp = PyImport_ImportModule("_imp");
    PyMethodDef *exec = imp ? method_of(imp, "exec_dynamic", METH_O) : NULL;
    if (exec) {
        real_exec_dynamic = exec->ml_meth;
        exec->ml_meth = exec_dynamic;
    }
    Py_XDECREF(imp);
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *module = PyDict_GetItemString(modules, "greenlet._greenlet");
    if (!imp || !module)
        return imp ? 0 : -1;
    if (adopt(module) < 0)
        return -1;
    return maing && in_use(module) ? keep_thread() : 0;
}
