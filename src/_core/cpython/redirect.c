/* redirect.c: CPython's own methods and functions do something else, in place.
 *
 * A method descriptor and a builtin function point at a PyMethodDef, whose ml_meth is read at each call, by
 * specialised instructions too. With another function there, every reference to the method sees it: bound
 * methods, names that were imported long ago, subclasses, callers in C that go by the name. The types stay
 * what they are, and so do documentation, signatures and pickles.
 *
 * Invariants
 *   1. Ours has the calling convention of what it replaces. The flags are compared with what ours was written
 *      for, for all of a table before the first write; where one differs nothing is changed and a warning
 *      says what that means.
 *   2. The PyMethodDefs are static: subinterpreters share them, and they outlive the interpreter. So do our
 *      functions, which rely on nothing that ends with it.
 *   3. The hash of a builtin function is made of its C function's address, so one that is kept in a set
 *      or as a key is not found there any more. Those of os are put right (gort/__init__.py).
 *
 * With the GIL, at import. Rejected: replacing names (does not reach what holds the old object), subclasses
 * (nor that), and assigning to the types' attributes (they are immutable, and their slots would go the long
 * way through Python).
 */
#include "cpython/redirect.h"

#include <string.h>

PyTypeObject *
redirect_type(const char *module, const char *name)
{
    PyObject *mod = PyImport_ImportModule(module);
    PyObject *type = mod ? PyObject_GetAttrString(mod, name) : NULL;
    Py_XDECREF(mod);
    if (type && !PyType_Check(type)) {
        PyErr_Format(PyExc_AttributeError, "%s.%s is not a type", module, name);
        Py_CLEAR(type);
    }
    Py_XDECREF(type); /* its module has it */
    return (PyTypeObject *)type;
}

PyMethodDef *
def_in(PyObject *owner, const char *name)
{
    PyMethodDef *def = NULL;
    PyObject *o = PyObject_GetAttrString(owner, name); /* which readies a static type */
    if (o && PyCFunction_CheckExact(o))
        def = ((PyCFunctionObject *)o)->m_ml;
    else if (o && Py_IS_TYPE(o, &PyMethodDescr_Type) && (PyObject *)PyDescr_TYPE(o) == owner)
        def = ((PyMethodDescrObject *)o)->d_method;
    Py_XDECREF(o); /* it is its owner's */
    PyErr_Clear();
    return def;
}

PyMethodDef *
builtin_def(const char *module, const char *name)
{
    PyObject *mod = PyImport_ImportModule(module);
    PyMethodDef *def = mod ? def_in(mod, name) : NULL;
    Py_XDECREF(mod);
    PyErr_Clear();
    return def;
}

static PyMethodDef *
def_of(const redirection *r)
{
    if (!r->type)
        return builtin_def(r->module, r->name);
    PyTypeObject *type = redirect_type(r->module, r->type);
    PyMethodDef *def = type ? def_in((PyObject *)type, r->name) : NULL;
    PyErr_Clear();
    return def;
}

static int
refuse(const redirection *r, const PyMethodDef *def, const char *otherwise)
{
    char found[40] = "is missing";
    if (def)
        PyOS_snprintf(found, sizeof found, "has unexpected flags (0x%x)", (unsigned)def->ml_flags);
    return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                            "gort does not know this build of CPython: %s.%s%s%s %s; %s", r->module,
                            r->type ? r->type : "", r->type ? "." : "", r->name, found, otherwise);
}

int
redirect(const redirection *r, size_t n, const char *otherwise)
{
    for (size_t i = 0; i < n; i++) {
        PyMethodDef *def = def_of(&r[i]);
        void **orig = r[i].orig;
        if (!def && r[i].optional)
            continue;
        if (!def || def->ml_flags != r[i].flags || (orig && *orig && *orig != (void *)def->ml_meth)) {
            for (size_t j = 0; j < i; j++) {
                if (r[j].orig)
                    *(void **)r[j].orig = NULL;
            }
            return refuse(&r[i], def, otherwise);
        }
        if (orig)
            *orig = (void *)def->ml_meth;
    }
    for (size_t i = 0; i < n; i++) {
        PyMethodDef *def = def_of(&r[i]);
        if (def)
            def->ml_meth = (PyCFunction)r[i].ours;
    }
    return 1;
}

/* -- slots ---------------------------------------------------------------------------------------- */

/* The descriptor of __next__, if the type has it in C; else NULL. */
static PyWrapperDescrObject *
next_of(PyTypeObject *type)
{
    PyObject *d = PyObject_GetAttrString((PyObject *)type, "__next__");
    Py_XDECREF(d); /* its type has it */
    PyErr_Clear();
    return d && Py_IS_TYPE(d, &PyWrapperDescr_Type) && PyDescr_TYPE(d) == type ? (PyWrapperDescrObject *)d
                                                                               : NULL;
}

iternextfunc
iternext_of(PyTypeObject *const *types, size_t n)
{
    iternextfunc f = types[0]->tp_iternext;
    for (size_t i = 0; i < n; i++) {
        PyWrapperDescrObject *next = next_of(types[i]);
        if (types[i]->tp_iternext != f || !next || next->d_wrapped != (void *)f)
            return NULL;
    }
    return f;
}

/* A class that is made later inherits the slot; one that exists has a copy. */
static int
inherit(PyTypeObject *type, iternextfunc was, iternextfunc ours)
{
    if (type->tp_iternext != was)
        return 0;
    type->tp_iternext = ours;
    PyObject *list = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    int err = list ? 0 : -1;
    for (Py_ssize_t i = 0; !err && i < PyList_GET_SIZE(list); i++)
        err = inherit((PyTypeObject *)PyList_GET_ITEM(list, i), was, ours);
    Py_XDECREF(list);
    return err;
}

int
redirect_iternext(PyTypeObject *const *types, size_t n, iternextfunc ours)
{
    iternextfunc was = types[0]->tp_iternext;
    for (size_t i = 0; i < n; i++) {
        next_of(types[i])->d_wrapped = (void *)ours;
        if (inherit(types[i], was, ours) < 0)
            return -1;
    }
    return 1;
}
