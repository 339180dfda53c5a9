/* memstats.c: MemStats: what the heap, the stacks and the collector count, for runtime.read_mem_stats().
 *
 * All figures of one call are taken at once, before any Python object is made for them. Their names and order
 * are those of MemStats; _memstats.py puts them into one.
 *
 * Lock: the GIL.
 *
 * Differs from Go: the tables from address to span are in other_sys; gc_sys is 0, because CPython's collector
 * keeps its links in the objects. lookups, which is always 0 in Go, counts look-ups.
 */
#include "debug/memdebug.h"

#include "sched/stack.h"

#include <string.h>

static PyObject *
ring(const uint64_t *values)
{
    PyObject *tuple = PyTuple_New(PAUSES);
    for (int i = 0; tuple && i < PAUSES; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(values[i]);
        if (!value)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, value);
    }
    return tuple;
}

int
mstats_figures(figure to[MSTATS_FIGURES], gcstats *gc)
{
    mcache now = cache;
    debug_count_waiting(&now);
    mheap_stats h;
    mheap_read(&h);
    size_t stack_inuse, stack_sys;
    stack_stats(&stack_inuse, &stack_sys);
    gc_stats(gc);
    uint64_t total = sum_bytes(now.mallocs, now.large_alloc);
    const figure figures[] = {
        {"total_alloc", total},
        {"heap_alloc", total - sum_bytes(now.frees, now.large_free)},
        {"lookups", now.lookups + sum_blocks(now.frees)},
        {"mallocs", sum_blocks(now.mallocs)},
        {"frees", sum_blocks(now.frees)},
        {"heap_sys", h.sys},
        {"heap_idle", h.idle},
        {"heap_inuse", h.inuse},
        {"heap_released", h.released},
        {"stack_inuse", stack_inuse},
        {"stack_sys", stack_sys},
        {"mspan_inuse", h.span_inuse},
        {"mspan_sys", h.span_sys},
        {"mcache_inuse", sizeof cache},
        {"mcache_sys", sizeof cache},
        {"gc_sys", 0},
        {"other_sys", h.other_sys},
        {"next_gc", gc->next_gc},
        {"last_gc", gc->last_gc},
        {"pause_total_ns", gc->pause_total},
        {"num_gc", gc->num_gc},
        {"num_forced_gc", gc->num_forced},
    };
    _Static_assert(sizeof figures / sizeof *figures <= MSTATS_FIGURES, "room for every figure");
    memcpy(to, figures, sizeof figures);
    return (int)(sizeof figures / sizeof *figures);
}

static PyObject *
mem_stats_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    if (!heap_installed)
        Py_RETURN_NONE;
    mcache now = cache;
    debug_count_waiting(&now);
    gcstats *gc = PyMem_RawMalloc(sizeof *gc); /* large for a goroutine's stack */
    if (!gc)
        return PyErr_NoMemory();
    figure figures[MSTATS_FIGURES];
    int n = mstats_figures(figures, gc);
    PyObject *stats = PyDict_New(), *classes = PyTuple_New(NUM_CLASSES);
    bool ok = stats && classes && PyDict_SetItemString(stats, "classes", classes) == 0;
    for (int i = 0; ok && i < n; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(figures[i].value);
        ok = value && PyDict_SetItemString(stats, figures[i].name, value) == 0;
        Py_XDECREF(value);
    }
    for (unsigned c = 0; ok && c < NUM_CLASSES; c++) {
        PyObject *row = Py_BuildValue("HKK", class_size[c], (unsigned long long)now.mallocs[c],
                                      (unsigned long long)now.frees[c]);
        ok = row != NULL;
        if (ok)
            PyTuple_SET_ITEM(classes, c, row);
    }
    Py_XDECREF(classes);
    const struct {
        const char *name;
        PyObject *value;
    } more[] = {{"pause_ns", ok ? ring(gc->pause_ns) : NULL},
                {"pause_end", ok ? ring(gc->pause_end) : NULL},
                {"gc_cpu_fraction", ok ? PyFloat_FromDouble(gc->cpu_fraction) : NULL}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        ok = ok && more[i].value && PyDict_SetItemString(stats, more[i].name, more[i].value) == 0;
        Py_XDECREF(more[i].value);
    }
    PyMem_RawFree(gc);
    if (!ok)
        Py_CLEAR(stats);
    return stats;
}

static PyMethodDef functions[] = {
    {"mem_stats", mem_stats_, METH_NOARGS,
     "mem_stats()\n--\n\nThe heap's figures, by name; None if the heap is not installed."},
    {NULL, NULL, 0, NULL},
};

int
gort_memstats_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
