/* collector.c: CPython's collector: its switches, its lists of containers, and its flags in each.
 *
 * The lists are circular, with a head that is not an object; the low bits of _gc_prev are flags of the
 * object.
 *
 * Invariants
 *   1. A container is in one list at all times: it is moved, never taken out.
 *   2. The lists are changed only between collections and in gc.callbacks, when the collector has no pointer
 *      into them.
 *
 * All with the GIL. No Python code runs.
 *
 * Rejected: the module gc. gc.get_objects() makes a list of everything, and gc.freeze(), which could keep
 * objects out of a collection, takes all of them.
 *
 * Differs from Go: the collector is CPython's; mgc.c decides what it looks at and when, by the means below.
 *
 * Versions. All alike, but for how often it has run. (3.14.0 to 3.14.4 have an incremental collector, with
 * other lists, and are refused.)
 */
#include "cpython/internal.h"

static struct _gc_runtime_state *
collector(void)
{
    return &main_interp->gc;
}

bool
collector_enabled(void)
{
    return collector()->enabled;
}

bool
collector_busy(void)
{
    return collector()->collecting;
}

void
collector_thresholds(int t[3])
{
    for (int i = 0; i < 3; i++)
        t[i] = collector()->generations[i].threshold;
}

void
collector_set_thresholds(const int t[3])
{
    for (int i = 0; i < 3; i++)
        collector()->generations[i].threshold = t[i];
}

bool
collector_young_is_due(void)
{
    const struct gc_generation *young = &collector()->generations[0];
    return young->threshold != 0 && young->count > young->threshold; /* as CPython asks */
}

void
collector_allow_full(void)
{
    collector()->long_lived_total = 0;
}

static void
gc_link(PyGC_Head *a, PyGC_Head *b)
{
    a->_gc_next = (uintptr_t)b;
    b->_gc_prev = (b->_gc_prev & ~_PyGC_PREV_MASK) | (uintptr_t)a;
}

static PyGC_Head *
gc_next(const PyGC_Head *a)
{
    return (PyGC_Head *)a->_gc_next;
}

static PyGC_Head *
gc_prev(const PyGC_Head *a)
{
    return (PyGC_Head *)(a->_gc_prev & _PyGC_PREV_MASK);
}

/* Moves what lies between first and last, both included, to the end of another list. */
static void
gc_move(PyGC_Head *first, PyGC_Head *last, PyGC_Head *to)
{
    gc_link(gc_prev(first), gc_next(last));
    gc_link(gc_prev(to), first);
    gc_link(last, to);
}

/* Does looking at this container take as long as looking at all the others of a slice? */
static bool
is_giant(PyObject *op)
{
    const Py_ssize_t many = 2048;
    if (PyList_CheckExact(op) || PyTuple_CheckExact(op))
        return Py_SIZE(op) > many;
    if (PyDict_CheckExact(op))
        return ((PyDictObject *)op)->ma_used > many;
    return PyAnySet_CheckExact(op) && ((PySetObject *)op)->used > many;
}

size_t
collector_slice(size_t n)
{
    PyGC_Head *young = &collector()->generations[0].head, *middle = &collector()->generations[1].head,
              *old = &collector()->generations[2].head;
    if (gc_next(middle) != middle)
        gc_move(gc_next(middle), gc_prev(middle), old);
    size_t count = 0;
    PyGC_Head *last = gc_prev(old), *one = gc_next(old), *next;
    for (size_t i = 0; i < n && one != old; i++, one = next) {
        next = one == last ? old : gc_next(one);
        bool giant = is_giant((PyObject *)(one + 1));
        count += !giant;
        gc_move(one, one, giant ? old : young);
    }
    return count;
}

void
collector_sample(size_t n)
{
    PyGC_Head *young = &collector()->generations[0].head, *old = &collector()->generations[2].head;
    PyGC_Head *last = young;
    while (n-- > 0 && gc_next(last) != young)
        last = gc_next(last);
    if (gc_next(last) != young)
        gc_move(gc_next(last), gc_prev(young), old);
}

#define SAVEALL (1 << 5) /* gc.DEBUG_SAVEALL */

PyObject *
collector_garbage(void)
{
    return collector()->garbage;
}

bool
collector_save_all(bool on)
{
    if (on && collector()->debug & SAVEALL)
        return false;
    collector()->debug = on ? collector()->debug | SAVEALL : collector()->debug & ~SAVEALL;
    return true;
}

void
interpreter_roots(visitproc visit, void *arg)
{
    visit(PyImport_GetModuleDict(), arg);
    visit(main_interp->builtins, arg);
    visit(PyInterpreterState_GetDict(main_interp), arg);
    for (PyThreadState *ts = ts_head(false); ts; ts = ts_next(ts, false)) {
        visit(ts->dict, arg);
        visit(ts->context, arg);
        for (_PyErr_StackItem *e = ts->exc_info; e; e = e->previous_item)
            visit(e->exc_value, arg);
        pyframe at;
        for (bool more = frame_first(&at, ts, false); more; more = frame_next(&at, false))
            frame_visit(&at, visit, arg);
    }
}

PyObject *
collector_set_callbacks(PyObject *list)
{
    PyObject *old = collector()->callbacks;
    collector()->callbacks = list;
    return old;
}

size_t
collector_young_count(void)
{
    return collector()->generations[0].count > 0 ? (size_t)collector()->generations[0].count : 0;
}

bool
collector_find(bool (*is)(PyObject *op, void *arg), void *arg)
{
    PyGC_Head *heads[] = {&collector()->generations[0].head, &collector()->generations[1].head,
                          &collector()->generations[2].head, &collector()->permanent_generation.head};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (PyGC_Head *gc = gc_next(heads[i]); gc != heads[i]; gc = gc_next(gc)) {
            if (is((PyObject *)(gc + 1), arg))
                return true;
        }
    }
    return false;
}

typedef struct {
    void (*f)(PyObject *op, void *arg);
    void *arg;
} call;

static bool
call_it(PyObject *op, void *of)
{
    const call *c = of;
    c->f(op, c->arg);
    return false;
}

void
collector_each(void (*f)(PyObject *op, void *arg), void *arg)
{
    call c = {f, arg};
    collector_find(call_it, &c);
}

bool
gc_is_finalized(PyObject *op)
{
    return (_Py_AS_GC(op)->_gc_prev & _PyGC_PREV_MASK_FINALIZED) != 0;
}

void
gc_set_finalized(PyObject *op, bool finalized)
{
    uintptr_t *word = &_Py_AS_GC(op)->_gc_prev;
    *word = finalized ? *word | _PyGC_PREV_MASK_FINALIZED : *word & ~(uintptr_t)_PyGC_PREV_MASK_FINALIZED;
}

bool
gc_is_garbage(PyObject *op)
{
    return (_Py_AS_GC(op)->_gc_prev & _PyGC_PREV_MASK_COLLECTING) != 0;
}

uint64_t
gc_collections(void)
{
    uint64_t n = 0;
#if V315 /* rings, whose newest entries count on */
    const struct gc_stats *s = main_interp->gc.generation_stats;
    n += (uint64_t)s->young.items[s->young.index].collections;
    for (size_t i = 0; i < sizeof s->old / sizeof *s->old; i++)
        n += (uint64_t)s->old[i].items[s->old[i].index].collections;
#else
    for (int i = 0; i < NUM_GENERATIONS; i++)
        n += (uint64_t)main_interp->gc.generation_stats[i].collections;
#endif
    return n;
}
