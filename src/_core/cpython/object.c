/* object.c: what lies where in objects: the text of a str, the name of a module in its globals, what is
 * before and behind an object in its block, a type's note.
 *
 * Invariants
 *   1. No Python code runs, and no exception is set or cleared, except by type_set_note, which lets go of
 *      the old note, and byref_target.
 *   2. With care, as in frame.c, nothing is followed that was not looked at first: what comes out is a
 *      pointer or a length to be used with care in turn.
 *
 * Without care: with the GIL. With it: any thread at any time.
 *
 * Rejected: a dict from type to note. It would keep the types alive, or be told of their deaths; tp_cache is
 * a slot that CPython no longer uses, but still traverses and releases with the type.
 *
 * Versions. 3.13 may put an object's attributes behind it (Py_TPFLAGS_INLINE_VALUES).
 */
#include "cpython/internal.h"

static PyObject *str_name, *str_obj;

PyObject *
globals_name(PyObject *globals, enum care care)
{
    /* A module's first key is its name. Looked for in the entries, since this may be the dict that is just
     * being resized: then its index is empty and no entry counts yet, but those that it will have are there,
     * with zeros behind. */
    PyDictObject dict;
    PyDictKeysObject keys;
    const PyDictObject *d = look(globals, &dict, sizeof dict, care);
    if (!d || !PyDict_CheckExact((PyObject *)(uintptr_t)d))
        return NULL;
    char *at = (char *)d->ma_keys;
    const PyDictKeysObject *k = look(at, &keys, sizeof keys, care);
    if (!k)
        return NULL;
    bool general = k->dk_kind == DICT_KEYS_GENERAL;
    at += offsetof(PyDictKeysObject, dk_indices) + ((size_t)1 << (k->dk_log2_index_bytes & 63));
    const Py_ssize_t n = k->dk_nentries + (k->dk_usable > 0 ? k->dk_usable : 0);
    for (Py_ssize_t i = 0; i < n && i < 64; i++) {
        PyDictKeyEntry entry;
        PyDictUnicodeEntry unicode;
        const PyDictKeyEntry *e = NULL;
        const PyDictUnicodeEntry *u = NULL;
        if (general ? !(e = look(at + i * (Py_ssize_t)sizeof entry, &entry, sizeof entry, care))
                    : !(u = look(at + i * (Py_ssize_t)sizeof unicode, &unicode, sizeof unicode, care)))
            return NULL;
        if ((general ? e->me_key : u->me_key) == str_name) {
            PyObject *name = general ? e->me_value : u->me_value;
            return care || (name && PyUnicode_Check(name)) ? name : NULL;
        }
    }
    if (care || general) /* whose keys' methods would be called */
        return NULL;
    PyObject *name = PyDict_GetItemWithError(globals, str_name); /* of keys that are all str: no error */
    return name && PyUnicode_Check(name) ? name : NULL;
}

int
str_data(PyObject *s, const char **data, Py_ssize_t *length, enum care care)
{
    PyASCIIObject copy;
    const PyASCIIObject *v = look(s, &copy, sizeof copy, care);
    /* of a str that died meanwhile, the type may be anything: it is not looked into */
    if (!v || !(Py_IS_TYPE((PyObject *)(uintptr_t)v, &PyUnicode_Type) || (!care && PyUnicode_Check(s))) ||
        !v->state.compact)
        return 0;
    *data = (const char *)s + (v->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject));
    *length = v->length;
    return v->state.kind;
}

PyObject *
type_note(PyTypeObject *type)
{
    return type->tp_cache;
}

void
type_set_note(PyTypeObject *type, PyObject *note)
{
    Py_XSETREF(type->tp_cache, note);
}

size_t
object_prefix(PyTypeObject *t)
{
    return _PyType_PreHeaderSize(t);
}

bool
type_has_tail(const PyTypeObject *t)
{
    if (PyType_HasFeature((PyTypeObject *)t, Py_TPFLAGS_UNICODE_SUBCLASS))
        return true; /* the text */
#if V313
    return PyType_HasFeature((PyTypeObject *)t, Py_TPFLAGS_INLINE_VALUES);
#else
    return false;
#endif
}

PyObject *
byref_target(PyObject *ref)
{
    return PyObject_GetAttr(ref, str_obj);
}

int
object_init(void)
{
    str_name = PyUnicode_InternFromString("__name__");
    str_obj = PyUnicode_InternFromString("_obj");
    return str_name && str_obj ? 0 : -1;
}
