/* type.h: what types of the core written in C have in common. */
#ifndef GORT_TYPE_H
#define GORT_TYPE_H

#include "core.h"

/* A heap type for the module, which is never freed. NULL: exception set. */
static inline PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

/* tp_new of a type that is made without arguments. */
static inline PyObject *
type_no_args(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    if (PyTuple_GET_SIZE(args) || (kw && PyDict_GET_SIZE(kw)))
        return PyErr_Format(PyExc_TypeError, "%s() takes no arguments", type->tp_name);
    return type->tp_alloc(type, 0);
}

/* tp_dealloc of a heap type that owns nothing. */
static inline void
type_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ... but weak references. */
static inline void
type_free_weak(PyObject *self)
{
    PyObject_ClearWeakRefs(self);
    type_free(self);
}

#endif
