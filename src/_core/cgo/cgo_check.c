/* cgo_check.c: does memory hold pointers to Python objects? GODEBUG=cgocheck.
 *
 * What is found. The test is exact about addresses: p must be where a live object begins, an address inside
 * of an object does not count. It knows the objects that the cycle collector tracks (containers, functions,
 * instances of classes) and everything that those refer to (the strings in a list, the numbers in a dict). It
 * does not know an object without references of its own that is held by nothing but a local variable of a
 * function, or by C code. A number that happens to be the address of an object is taken for a pointer to it.
 *
 * CPython has no index from addresses to objects, so they are collected into a set for each check. That takes
 * milliseconds, but level 2 is for finding bugs. The set is empty between two checks, so nothing keeps an
 * object alive.
 *
 * Who may call: with the GIL. Nothing here runs Python code: tp_traverse may not.
 */
#include "cgo/cgo.h"

#include "lib/addrmap.h"
#include "os/os.h"

static addrmap objects; /* no values */
static bool no_memory;

static int
collect(PyObject *o, void *unused)
{
    (void)unused;
    if (!addrmap_put(&objects, o))
        no_memory = true;
    return no_memory;
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
    no_memory = false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && !no_memory; i++) {
        PyObject *o = PyList_GET_ITEM(list, i);
        if (collect(o, NULL) == 0 && Py_TYPE(o)->tp_traverse)
            Py_TYPE(o)->tp_traverse(o, collect, NULL);
    }
    if (no_memory) {
        addrmap_clear(&objects);
        PyErr_NoMemory();
    }
    Py_DECREF(list);
    return no_memory ? -1 : 0;
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
            if (!objects.n && heap_look() < 0)
                return -1;
            if (addrmap_get(&objects, (const void *)words[i]))
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
    addrmap_clear(&objects);
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
     "cgo_holds_objects(regions, /)\n--\n\n"
     "True if an aligned word of a region refers to a Python object.\n\n"
     "A region is a pair (address, size) or a buffer."},
    {"cgo_word", cgo_word_, METH_O,
     "cgo_word(address, /)\n--\n\nThe word at an address; 0 if it cannot be read."},
    {NULL, NULL, 0, NULL},
};

int
gort_cgo_check_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
