/* atomic.c: the types of package sync/atomic.
 *
 * Values that goroutines and threads read and write without a lock.
 *
 * Invariant: between reading an operand and writing the result no Python code runs and the GIL is not
 * released. So every argument is converted first, and a reference that is replaced is dropped last. An
 * operation that raises has changed nothing: the int that it returns is made before the change (no Python
 * code runs then).
 *
 * Who may call: any thread that holds the GIL, which is what makes each operation atomic: the fields are
 * plain C.
 *
 * Rejected: _Atomic. Every operation would pay for an order that the GIL already gives.
 *
 * Differs from Go: integers of Python have no width. The result of add, and the operands of add, and_ and
 * or_, wrap around as in Go; a value to store or to compare with that the type cannot hold raises
 * OverflowError, because a program that stores it means that very number.
 */
#include "core.h"

#include "sync/sync.h"

/* -- integers ---------------------------------------------------------------------------------- */

typedef struct {
    PyTypeObject *type;
    const char *name;
    int bits;
    bool is_signed;
} int_kind;

enum { KIND_INT32, KIND_INT64, KIND_UINT32, KIND_UINT64, KINDS };

static int_kind kinds[KINDS] = {
    [KIND_INT32] = {NULL, "Int32", 32, true},
    [KIND_INT64] = {NULL, "Int64", 64, true},
    [KIND_UINT32] = {NULL, "Uint32", 32, false},
    [KIND_UINT64] = {NULL, "Uint64", 64, false},
};

typedef struct {
    PyObject_HEAD
    const int_kind *kind;
    uint64_t value; /* what the type holds, extended to 64 bits by its sign if it has one */
} int_object;

/* v cut to the type's width, as a 64-bit value of the same number. */
static uint64_t
int_wrap(const int_kind *kind, uint64_t v)
{
    if (kind->bits == 64)
        return v;
    return kind->is_signed ? (uint64_t)(int64_t)(int32_t)(uint32_t)v : (uint64_t)(uint32_t)v;
}

static PyObject *
int_python(const int_kind *kind, uint64_t v)
{
    return kind->is_signed ? PyLong_FromLongLong((int64_t)v) : PyLong_FromUnsignedLongLong(v);
}

/* arg as an exact int, a new reference. NULL: TypeError set. */
static PyObject *
int_number(const int_kind *kind, PyObject *arg)
{
    if (!PyIndex_Check(arg)) {
        PyErr_Format(PyExc_TypeError, "%s takes an int, not %R", kind->name, arg);
        return NULL;
    }
    return PyNumber_Index(arg);
}

/* The low bits of an integer of any size. -1: TypeError set. */
static int
int_bits(const int_kind *kind, PyObject *arg, uint64_t *v)
{
    PyObject *number = int_number(kind, arg);
    if (!number)
        return -1;
    *v = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    return *v == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

/* A value that the type can hold. -1: TypeError or OverflowError set. */
static int
int_value(const int_kind *kind, PyObject *arg, uint64_t *v)
{
    PyObject *number = int_number(kind, arg);
    if (!number)
        return -1;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(number, &overflow);
    bool fits = !overflow && (kind->is_signed || n >= 0) && int_wrap(kind, (uint64_t)n) == (uint64_t)n;
    *v = (uint64_t)n;
    if (overflow > 0 && kind == &kinds[KIND_UINT64]) { /* the upper half of Uint64 */
        *v = PyLong_AsUnsignedLongLong(number);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    if (!fits) {
        long long low = !kind->is_signed ? 0 : kind->bits == 32 ? INT32_MIN : INT64_MIN;
        unsigned long long high = (kind->bits == 32 ? UINT32_MAX : UINT64_MAX) >> kind->is_signed;
        PyErr_Format(PyExc_OverflowError, "%s holds values from %lld to %llu, not %R", kind->name, low, high,
                     number);
    }
    Py_DECREF(number);
    return fits ? 0 : -1;
}

static int
no_keywords(const char *name, PyObject *kwargs)
{
    if (!kwargs || PyDict_GET_SIZE(kwargs) == 0)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", name);
    return -1;
}

static PyObject *
int_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const int_kind *kind = kinds;
    while (kind->type != type)
        kind++; /* the types cannot be derived from */
    PyObject *arg = NULL;
    if (no_keywords(kind->name, kwargs) < 0 || !PyArg_UnpackTuple(args, kind->name, 0, 1, &arg))
        return NULL;
    uint64_t value = 0;
    if (arg && int_value(kind, arg, &value) < 0)
        return NULL;
    int_object *self = (int_object *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->kind = kind;
    self->value = value;
    return (PyObject *)self;
}

static void
plain_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
int_repr(int_object *self)
{
    if (self->kind->is_signed)
        return PyUnicode_FromFormat("%s(%lld)", self->kind->name, (long long)self->value);
    return PyUnicode_FromFormat("%s(%llu)", self->kind->name, (unsigned long long)self->value);
}

static PyObject *
int_load(int_object *self, PyObject *Py_UNUSED(ignored))
{
    return int_python(self->kind, self->value);
}

static PyObject *
int_store(int_object *self, PyObject *arg)
{
    uint64_t v;
    if (int_value(self->kind, arg, &v) < 0)
        return NULL;
    self->value = v;
    Py_RETURN_NONE;
}

/* Sets the value, and returns another as a Python int. NULL: MemoryError, and the value is as before. */
static inline PyObject *
int_change(int_object *self, uint64_t value, uint64_t returned)
{
    PyObject *r = int_python(self->kind, returned);
    if (likely(r != NULL))
        self->value = value;
    return r;
}

static PyObject *
int_add(int_object *self, PyObject *arg)
{
    uint64_t delta;
    if (int_bits(self->kind, arg, &delta) < 0)
        return NULL;
    uint64_t v = int_wrap(self->kind, self->value + delta);
    return int_change(self, v, v);
}

static PyObject *
int_swap(int_object *self, PyObject *arg)
{
    uint64_t v;
    if (int_value(self->kind, arg, &v) < 0)
        return NULL;
    return int_change(self, v, self->value);
}

/* The arguments of a compare_and_swap. -1: TypeError set. */
static int
old_and_new(Py_ssize_t nargs)
{
    if (nargs == 2)
        return 0;
    PyErr_Format(PyExc_TypeError, "compare_and_swap() takes 2 arguments, old and new, not %zd", nargs);
    return -1;
}

static PyObject *
int_compare_and_swap(int_object *self, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t old, new;
    if (old_and_new(nargs) < 0 || int_value(self->kind, args[0], &old) < 0 ||
        int_value(self->kind, args[1], &new) < 0)
        return NULL;
    bool swapped = self->value == old;
    if (swapped)
        self->value = new;
    return PyBool_FromLong(swapped);
}

static PyObject *
int_and(int_object *self, PyObject *arg)
{
    uint64_t mask;
    if (int_bits(self->kind, arg, &mask) < 0)
        return NULL;
    return int_change(self, int_wrap(self->kind, self->value & mask), self->value);
}

static PyObject *
int_or(int_object *self, PyObject *arg)
{
    uint64_t mask;
    if (int_bits(self->kind, arg, &mask) < 0)
        return NULL;
    return int_change(self, int_wrap(self->kind, self->value | mask), self->value);
}

#define METHOD(name, function, flags, doc)                                                                   \
    {name, (PyCFunction)(void (*)(void))(function), flags, PyDoc_STR(doc)}

static PyMethodDef int_methods[] = {
    METHOD("load", int_load, METH_NOARGS, "load($self, /)\n--\n\nThe value. Mirrors Go's Load."),
    METHOD("store", int_store, METH_O,
           "store($self, value, /)\n--\n\nSets the value. Mirrors Go's Store.\n\n"
           "Raises TypeError if value is not an int, and OverflowError if the type cannot hold it."),
    METHOD("add", int_add, METH_O,
           "add($self, delta, /)\n--\n\n"
           "Adds delta, wrapping around, and returns the new value. Mirrors Go's Add.\n\n"
           "Raises TypeError if delta is not an int."),
    METHOD("swap", int_swap, METH_O,
           "swap($self, new, /)\n--\n\n"
           "Sets the value to new and returns the old value. Mirrors Go's Swap.\n\n"
           "Raises TypeError if new is not an int, and OverflowError if the type cannot hold it."),
    METHOD(
        "compare_and_swap", int_compare_and_swap, METH_FASTCALL,
        "compare_and_swap($self, old, new, /)\n--\n\n"
        "If the value is old, sets it to new; True if it did. Mirrors Go's CompareAndSwap.\n\n"
        "Raises TypeError if one of the two is not an int, and OverflowError if the type cannot hold one."),
    METHOD("and_", int_and, METH_O,
           "and_($self, mask, /)\n--\n\n"
           "Clears the bits that are 0 in mask and returns the old value. Mirrors Go's And.\n\n"
           "Raises TypeError if mask is not an int."),
    METHOD("or_", int_or, METH_O,
           "or_($self, mask, /)\n--\n\n"
           "Sets the bits that are 1 in mask and returns the old value. Mirrors Go's Or.\n\n"
           "Raises TypeError if mask is not an int."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot int_slots[] = {
    {Py_tp_doc,
     PyDoc_STR("An integer of fixed width that is read and written atomically: Go's type of this name.")},
    {Py_tp_new, int_new},
    {Py_tp_dealloc, plain_dealloc},
    {Py_tp_repr, int_repr},
    {Py_tp_methods, int_methods},
    {0, NULL},
};

/* -- Bool -------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    bool value;
} bool_object;

/* 0 or 1; -1: TypeError set. */
static int
bool_value(PyObject *arg)
{
    if (PyBool_Check(arg))
        return arg == Py_True;
    PyErr_Format(PyExc_TypeError, "Bool holds True or False, not %R", arg);
    return -1;
}

static PyObject *
bool_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *arg = Py_False;
    if (no_keywords("Bool", kwargs) < 0 || !PyArg_UnpackTuple(args, "Bool", 0, 1, &arg))
        return NULL;
    int value = bool_value(arg);
    if (value < 0)
        return NULL;
    bool_object *self = (bool_object *)type->tp_alloc(type, 0);
    if (self)
        self->value = value;
    return (PyObject *)self;
}

static PyObject *
bool_repr(bool_object *self)
{
    return PyUnicode_FromString(self->value ? "Bool(True)" : "Bool(False)");
}

static PyObject *
bool_load(bool_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->value);
}

static PyObject *
bool_store(bool_object *self, PyObject *arg)
{
    int value = bool_value(arg);
    if (value < 0)
        return NULL;
    self->value = value;
    Py_RETURN_NONE;
}

static PyObject *
bool_swap(bool_object *self, PyObject *arg)
{
    int value = bool_value(arg);
    if (value < 0)
        return NULL;
    bool old = self->value;
    self->value = value;
    return PyBool_FromLong(old);
}

static PyObject *
bool_compare_and_swap(bool_object *self, PyObject *const *args, Py_ssize_t nargs)
{
    int old, new;
    if (old_and_new(nargs) < 0 || (old = bool_value(args[0])) < 0 || (new = bool_value(args[1])) < 0)
        return NULL;
    bool swapped = self->value == old;
    if (swapped)
        self->value = new;
    return PyBool_FromLong(swapped);
}

static PyMethodDef bool_methods[] = {
    METHOD("load", bool_load, METH_NOARGS, "load($self, /)\n--\n\nThe value. Mirrors Go's Load."),
    METHOD("store", bool_store, METH_O,
           "store($self, value, /)\n--\n\nSets the value. Mirrors Go's Store.\n\n"
           "Raises TypeError if value is not a bool."),
    METHOD("swap", bool_swap, METH_O,
           "swap($self, new, /)\n--\n\n"
           "Sets the value to new and returns the old value. Mirrors Go's Swap.\n\n"
           "Raises TypeError if new is not a bool."),
    METHOD("compare_and_swap", bool_compare_and_swap, METH_FASTCALL,
           "compare_and_swap($self, old, new, /)\n--\n\n"
           "If the value is old, sets it to new; True if it did. Mirrors Go's CompareAndSwap.\n\n"
           "Raises TypeError if one of the two is not a bool."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot bool_slots[] = {
    {Py_tp_doc, PyDoc_STR("A bool that is read and written atomically: Go's atomic.Bool.")},
    {Py_tp_new, bool_new},
    {Py_tp_dealloc, plain_dealloc},
    {Py_tp_repr, bool_repr},
    {Py_tp_methods, bool_methods},
    {0, NULL},
};

/* -- Pointer ----------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *value; /* never NULL once the object is made; None is Go's nil */
} pointer_object;

static PyObject *
pointer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *arg = Py_None;
    if (no_keywords("Pointer", kwargs) < 0 || !PyArg_UnpackTuple(args, "Pointer", 0, 1, &arg))
        return NULL;
    pointer_object *self = (pointer_object *)type->tp_alloc(type, 0);
    if (self)
        self->value = Py_NewRef(arg);
    return (PyObject *)self;
}

static int
pointer_traverse(pointer_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->value);
    return 0;
}

static int
pointer_clear(pointer_object *self)
{
    /* None and not NULL: code that still runs while the cycle is taken apart may load it. */
    PyObject *old = self->value;
    self->value = Py_NewRef(Py_None);
    Py_XDECREF(old);
    return 0;
}

static void
pointer_dealloc(pointer_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, pointer_dealloc); /* pointers to pointers, however long the chain */
    Py_XDECREF(self->value);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
pointer_repr(pointer_object *self)
{
    PyObject *value = Py_NewRef(self->value);
    if (Py_ReprEnter((PyObject *)self)) {
        Py_DECREF(value);
        return PyErr_Occurred() ? NULL : PyUnicode_FromString("Pointer(...)");
    }
    PyObject *text = PyUnicode_FromFormat("Pointer(%R)", value);
    Py_ReprLeave((PyObject *)self);
    Py_DECREF(value);
    return text;
}

static PyObject *
pointer_load(pointer_object *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self->value);
}

static PyObject *
pointer_store(pointer_object *self, PyObject *arg)
{
    PyObject *old = self->value;
    self->value = Py_NewRef(arg);
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *
pointer_swap(pointer_object *self, PyObject *arg)
{
    PyObject *old = self->value;
    self->value = Py_NewRef(arg);
    return old;
}

static PyObject *
pointer_compare_and_swap(pointer_object *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (old_and_new(nargs) < 0)
        return NULL;
    PyObject *old = self->value;
    if (old != args[0])
        Py_RETURN_FALSE;
    self->value = Py_NewRef(args[1]);
    Py_DECREF(old);
    Py_RETURN_TRUE;
}

static PyMethodDef pointer_methods[] = {
    METHOD("load", pointer_load, METH_NOARGS,
           "load($self, /)\n--\n\nThe object that it refers to, or None. Mirrors Go's Load."),
    METHOD("store", pointer_store, METH_O,
           "store($self, value, /)\n--\n\nMakes it refer to value. Mirrors Go's Store."),
    METHOD("swap", pointer_swap, METH_O,
           "swap($self, new, /)\n--\n\nMakes it refer to new and returns the old object. Mirrors Go's Swap."),
    METHOD("compare_and_swap", pointer_compare_and_swap, METH_FASTCALL,
           "compare_and_swap($self, old, new, /)\n--\n\n"
           "If it refers to old itself, makes it refer to new; True if it did.\n\n"
           "Mirrors Go's CompareAndSwap. Objects are compared by identity."),
    METHOD("__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Pointer[T], for annotations."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pointer_slots[] = {
    {Py_tp_doc,
     PyDoc_STR(
         "A reference to an object, or None, that is read and written atomically: Go's atomic.Pointer.")},
    {Py_tp_new, pointer_new},
    {Py_tp_dealloc, pointer_dealloc},
    {Py_tp_traverse, pointer_traverse},
    {Py_tp_clear, pointer_clear},
    {Py_tp_repr, pointer_repr},
    {Py_tp_methods, pointer_methods},
    {0, NULL},
};

/* -- module ------------------------------------------------------------------------------------ */

static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

int
gort_atomic_init(PyObject *module)
{
    static const char *const names[KINDS] = {
        [KIND_INT32] = "gort.sync.atomic.Int32",
        [KIND_INT64] = "gort.sync.atomic.Int64",
        [KIND_UINT32] = "gort.sync.atomic.Uint32",
        [KIND_UINT64] = "gort.sync.atomic.Uint64",
    };
    for (int i = 0; i < KINDS; i++) {
        PyType_Spec spec = {names[i], sizeof(int_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                            int_slots};
        kinds[i].type = add_type(module, &spec);
        if (!kinds[i].type)
            return -1;
    }
    PyType_Spec bool_spec = {"gort.sync.atomic.Bool", sizeof(bool_object), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, bool_slots};
    PyType_Spec pointer_spec = {"gort.sync.atomic.Pointer", sizeof(pointer_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
                                pointer_slots};
    PyTypeObject *bool_type = add_type(module, &bool_spec);
    PyTypeObject *pointer_type = bool_type ? add_type(module, &pointer_spec) : NULL;
    Py_XDECREF(bool_type); /* the module holds them */
    Py_XDECREF(pointer_type);
    return pointer_type ? 0 : -1;
}
