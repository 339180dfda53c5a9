/* cgo_check.c: does memory hold pointers to Python objects? GODEBUG=cgocheck.
 *
 * What is found. heap_contains(p) is exact about addresses: p must be where a live object begins, an address inside of an
 * object does not count. It knows the objects that the cycle collector tracks (containers, functions, instances of classes)
 * and everything that those refer to (the strings in a list, the numbers in a dict). It does not know an object
 * without references of its own that is held by nothing but a local variable of a function, or by C code. A number that
 * happens to be the address of an object is taken for a pointer to it.
 *
 * CPython has no index from addresses to objects; so the objects are collected anew for each check into a set. That takes
 * milliseconds; level 2 is for finding bugs. The set is empty between two checks, so nothing keeps an object alive.
 *
 * Who may call: with the GIL. Nothing here runs Python code: tp_traverse may not.
 */
#include "cgo.h"

#include "os.h"

#include <stdlib.h>
#include <string.h>

static struct {
    uintptr_t *slot; /* open addressing, 0 is free */
    size_t mask, n;
    bool failed; /* no memory */
} objects;

static inline size_t
hash(uintptr_t a)
{
    return (size_t)((a >> 4) * 0x9e3779b97f4a7c15ULL >> 20);
}

static void
insert(uintptr_t a)
{
    size_t i = hash(a) & objects.mask;
    while (objects.slot[i] && objects.slot[i] != a)
        i = (i + 1) & objects.mask;
    objects.n += objects.slot[i] == 0;
    objects.slot[i] = a;
}

static bool
grow(void)
{
    uintptr_t *old = objects.slot;
    size_t size = old ? objects.mask + 1 : 0;
    objects.slot = calloc(size ? size * 2 : 1 << 16, sizeof *objects.slot);
    if (!objects.slot) {
        objects.slot = old;
        return false;
    }
    objects.mask = (size ? size * 2 : 1 << 16) - 1;
    objects.n = 0;
    for (size_t i = 0; i < size; i++) {
        if (old[i])
            insert(old[i]);
    }
    free(old);
    return true;
}

static int
collect(PyObject *o, void *unused)
{
    (void)unused;
    if (objects.n * 2 > objects.mask && !grow())
        objects.failed = true;
    else
        insert((uintptr_t)o);
    return objects.failed;
}

static bool
heap_contains(const void *p)
{
    uintptr_t a = (uintptr_t)p;
    for (size_t i = hash(a) & objects.mask; objects.slot[i]; i = (i + 1) & objects.mask) {
        if (objects.slot[i] == a)
            return true;
    }
    return false;
}

static void
heap_forget(void)
{
    free(objects.slot);
    memset(&objects, 0, sizeof objects);
}

/* -1: exception set */
static int
heap_look(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *list = gc ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
    Py_XDECREF(gc);
    if (!list)
        return -1;
    objects.failed = !grow();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && !objects.failed; i++) {
        PyObject *o = PyList_GET_ITEM(list, i);
        if (collect(o, NULL) == 0 && Py_TYPE(o)->tp_traverse)
            Py_TYPE(o)->tp_traverse(o, collect, NULL);
    }
    bool failed = objects.failed;
    if (failed) {
        heap_forget();
        PyErr_NoMemory();
    }
    Py_DECREF(list);
    return failed ? -1 : 0;
}

static bool
plausible(uintptr_t word)
{
    return word % sizeof(void *) == 0 && word >= 65536 && word < (uintptr_t)1 << 56;
}

/* Does a word of the memory refer to an object? -1: exception set */
static int
search(uintptr_t at, size_t size)
{
    uintptr_t words[512];
    size_t skip = -at % sizeof *words;
    at += skip;
    for (size_t left = size > skip ? size - skip : 0; left >= sizeof *words;) {
        size_t want = left < sizeof words ? left : sizeof words;
        size_t n = mem_copy(words, (const void *)at, want);
        for (size_t i = 0; i < n / sizeof *words; i++) {
            if (!plausible(words[i]))
                continue;
            if (!objects.slot && heap_look() < 0)
                return -1;
            if (heap_contains((const void *)words[i]))
                return 1;
        }
        if (n < want)
            break; /* the rest cannot be read */
        at += n;
        left -= n;
    }
    return 0;
}

static PyObject *
cgo_holds_objects_(PyObject *mod, PyObject *regions)
{
    (void)mod;
    if (!PyList_Check(regions))
        return PyErr_Format(PyExc_TypeError, "cgo_holds_objects() takes a list, not %R", regions);
    int found = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(regions) && found == 0; i++) {
        PyObject *region = PyList_GET_ITEM(regions, i);
        Py_ssize_t at, size;
        Py_buffer view;
        if (PyTuple_Check(region)) {
            if (!PyArg_ParseTuple(region, "nn", &at, &size))
                found = -1;
            else if (size > 0)
                found = search((uintptr_t)at, (size_t)size);
        }
        else if (PyObject_GetBuffer(region, &view, PyBUF_FULL_RO) < 0)
            found = -1;
        else {
            if (PyBuffer_IsContiguous(&view, 'A'))
                found = search((uintptr_t)view.buf, (size_t)view.len);
            PyBuffer_Release(&view);
        }
    }
    heap_forget();
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyObject *
cgo_word_(PyObject *mod, PyObject *address)
{
    (void)mod;
    uintptr_t at = (uintptr_t)PyLong_AsVoidPtr(address), word;
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromVoidPtr(mem_copy(&word, (const void *)at, sizeof word) == sizeof word ? (void *)word
                                                                                            : NULL);
}

static PyMethodDef functions[] = {
    {"cgo_holds_objects", cgo_holds_objects_, METH_O,
     "cgo_holds_objects(regions, /)\n--\n\nDoes an aligned word of one of the (address, size) regions refer to an object?"},
    {"cgo_word", cgo_word_, METH_O,
     "cgo_word(address, /)\n--\n\nThe word at an address; 0 if it cannot be read."},
    {NULL, NULL, 0, NULL},
};

int
cgo_check_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
