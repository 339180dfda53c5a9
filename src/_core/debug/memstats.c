/* memstats.c: MemStats: what the heap, the stacks and the collector count, for runtime.read_mem_stats().
 *
 * All figures of one call are taken at once, before any Python object is made for them. Their names and order
 * are those of MemStats: one list (MEMSTATS) serves read_mem_stats(), the heap dump and what reads it.
 *
 * Lock: the GIL.
 *
 * Differs from Go: the tables from address to span are in other_sys; gc_sys is 0, because CPython's collector
 * keeps its links in the objects. lookups, which is always 0 in Go, counts look-ups.
 */
#include "debug/memstats.h"

#include "debug/memdebug.h"
#include "sched/stack.h"

#include <string.h>

/* Go's dump ends at num_gc, and leaves out when the pauses were. */
#define IN_DUMP(name)                                                                                        \
    (offsetof(memstats, name) <= offsetof(memstats, num_gc) &&                                               \
     offsetof(memstats, name) != offsetof(memstats, pause_end))
#define FIELD(name)                                                                                          \
    {#name, offsetof(memstats, name), sizeof((memstats){0}.name) / sizeof(uint64_t), IN_DUMP(name)},
const memstats_field memstats_fields[] = {MEMSTATS(FIELD, FIELD)};
const size_t nmemstats_fields = sizeof memstats_fields / sizeof *memstats_fields;

static void
read_heap(memstats *to)
{
    mcache now = cache;
    debug_count_waiting(&now);
    mheap_stats h;
    mheap_read(&h);
    memcpy(to->class_mallocs, now.mallocs, sizeof now.mallocs);
    memcpy(to->class_frees, now.frees, sizeof now.frees);
    to->mallocs = sum_blocks(now.mallocs);
    to->frees = sum_blocks(now.frees);
    to->heap_objects = to->mallocs - to->frees;
    to->lookups = now.lookups + to->frees;
    to->total_alloc = sum_bytes(now.mallocs, now.large_alloc);
    to->alloc = to->heap_alloc = to->total_alloc - sum_bytes(now.frees, now.large_free);
    to->heap_sys = h.sys;
    to->heap_idle = h.idle;
    to->heap_inuse = h.inuse;
    to->heap_released = h.released;
    to->mspan_inuse = h.span_inuse;
    to->mspan_sys = h.span_sys;
    to->mcache_inuse = to->mcache_sys = sizeof cache;
    to->other_sys = h.other_sys;
}

static void
read_gc(memstats *to)
{
    static gcstats gc; /* large */
    gc_stats(&gc);
    to->next_gc = gc.next_gc;
    to->last_gc = gc.last_gc;
    to->pause_total_ns = gc.pause_total;
    memcpy(to->pause_ns, gc.pause_ns, sizeof gc.pause_ns);
    memcpy(to->pause_end, gc.pause_end, sizeof gc.pause_end);
    to->num_gc = gc.num_gc;
    to->num_forced_gc = gc.num_forced;
    to->gc_cpu_fraction = gc.cpu_fraction;
}

void
memstats_read(memstats *to)
{
    memset(to, 0, sizeof *to);
    read_heap(to);
    size_t stack_inuse, stack_sys;
    stack_stats(&stack_inuse, &stack_sys);
    to->stack_inuse = stack_inuse;
    to->stack_sys = stack_sys;
    read_gc(to);
    to->sys = to->heap_sys + to->stack_sys + to->mspan_sys + to->mcache_sys + to->buck_hash_sys + to->gc_sys +
              to->other_sys;
}

/* -- for Python ------------------------------------------------------------------------------- */

/* A number; of a ring a tuple. */
static PyObject *
value_of(const uint64_t *numbers, size_t n)
{
    if (n == 1)
        return PyLong_FromUnsignedLongLong(*numbers);
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    for (size_t i = 0; tuple && i < n; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(numbers[i]);
        if (number)
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, number);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *
classes_of(const memstats *m)
{
    PyObject *classes = PyTuple_New(NUM_CLASSES);
    for (unsigned c = 0; classes && c < NUM_CLASSES; c++) {
        PyObject *row = Py_BuildValue("HKK", class_size[c], (unsigned long long)m->class_mallocs[c],
                                      (unsigned long long)m->class_frees[c]);
        if (row)
            PyTuple_SET_ITEM(classes, c, row);
        else
            Py_CLEAR(classes);
    }
    return classes;
}

/* Steals the value. */
static int
add(PyObject *stats, const char *name, PyObject *value)
{
    int err = value ? PyDict_SetItemString(stats, name, value) : -1;
    Py_XDECREF(value);
    return err;
}

static PyObject *
mem_stats_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    if (!heap_installed)
        Py_RETURN_NONE;
    memstats *m = PyMem_RawMalloc(sizeof *m);
    if (!m)
        return PyErr_NoMemory();
    memstats_read(m);
    PyObject *stats = PyDict_New();
    int err = stats ? 0 : -1;
    for (size_t i = 0; !err && i < nmemstats_fields; i++) {
        const memstats_field *f = &memstats_fields[i];
        err = add(stats, f->name, value_of(memstats_numbers(m, f), f->n));
    }
    if (err || add(stats, "gc_cpu_fraction", PyFloat_FromDouble(m->gc_cpu_fraction)) < 0 ||
        add(stats, "classes", classes_of(m)) < 0)
        Py_CLEAR(stats);
    PyMem_RawFree(m);
    return stats;
}

static PyObject *
mem_stats_dumped_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < nmemstats_fields; i++) {
        const memstats_field *f = &memstats_fields[i];
        PyObject *pair = f->dumped ? Py_BuildValue("sn", f->name, (Py_ssize_t)f->n) : NULL;
        if (f->dumped && (!pair || PyList_Append(list, pair) < 0))
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static PyMethodDef functions[] = {
    {"mem_stats", mem_stats_, METH_NOARGS,
     "mem_stats()\n--\n\nThe heap's figures, by name; None if the heap is not installed."},
    {"mem_stats_dumped", mem_stats_dumped_, METH_NOARGS,
     "mem_stats_dumped()\n--\n\nThose of a heap dump, in its order: (name, how many numbers) of each."},
    {NULL, NULL, 0, NULL},
};

int
gort_memstats_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
