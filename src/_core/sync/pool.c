/* pool.c: what a full collection takes out of the Pools, and the end of a Pool; the class itself is in
 * gort/sync/__init__.py.
 *
 * With the GIL: in gc.callbacks, and as the callback of a weak reference.
 *
 * Rejected: functions in Python. Whenever one is called the main thread runs its signal handlers, and what
 * they raise is dropped here: a Ctrl-C would be lost.
 *
 * Differs from Go: pools are not per P.
 */
#include "sync/sync.h"

static PyObject *str_items, *str_victims, *str_generation;

/* Drops what the last full collection has left, and keeps what is there now until the next one. -1: exception
 * set. */
static int
age(PyObject *pool)
{
    PyObject *items = PyObject_GetAttr(pool, str_items), *fresh = items ? PyList_New(0) : NULL;
    int err = fresh ? PyObject_SetAttr(pool, str_victims, items) : -1;
    if (!err)
        err = PyObject_SetAttr(pool, str_items, fresh);
    Py_XDECREF(items);
    Py_XDECREF(fresh);
    return err;
}

static PyObject *
age_pools_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *pools, *phase, *info;
    if (!PyArg_ParseTuple(args, "O!UO!:age_pools", &PyDict_Type, &pools, &phase, &PyDict_Type, &info))
        return NULL;
    PyObject *generation = PyDict_GetItemWithError(info, str_generation);
    if (PyErr_Occurred())
        return NULL;
    if (PyUnicode_CompareWithASCIIString(phase, "start") != 0 || !generation ||
        PyLong_AsLong(generation) != 2)
        Py_RETURN_NONE;
    PyObject *references = PyDict_Values(pools); /* a copy: destructors may make pools, and drop them */
    if (!references)
        return NULL;
    int err = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(references) && !err; i++) {
        PyObject *pool = PyObject_CallNoArgs(PyList_GET_ITEM(references, i));
        err = !pool ? -1 : pool == Py_None ? 0 : age(pool);
        Py_XDECREF(pool);
    }
    Py_DECREF(references);
    if (err)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
forget_pool_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *pools, *key, *reference;
    if (!PyArg_ParseTuple(args, "O!OO:forget_pool", &PyDict_Type, &pools, &key, &reference))
        return NULL;
    if (PyDict_GetItemWithError(pools, key) == reference && PyDict_DelItem(pools, key) < 0)
        return NULL;
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"age_pools", age_pools_, METH_VARARGS,
     "age_pools(pools, phase, info, /)\n--\n\n"
     "For gc.callbacks: a full collection empties the pools, given as weak references."},
    {"forget_pool", forget_pool_, METH_VARARGS,
     "forget_pool(pools, key, reference, /)\n--\n\nThe callback of these weak references."},
    {NULL, NULL, 0, NULL},
};

int
gort_pool_init(PyObject *module)
{
    str_items = PyUnicode_InternFromString("_items");
    str_victims = PyUnicode_InternFromString("_victims");
    str_generation = PyUnicode_InternFromString("generation");
    return str_items && str_victims && str_generation ? PyModule_AddFunctions(module, functions) : -1;
}
