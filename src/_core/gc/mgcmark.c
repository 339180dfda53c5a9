/* mgcmark.c: marks of gort's own beside the collector's: the check of pointers (invalidptr), the second mark
 * (gccheckmark), and the stop of the world (gcstoptheworld).
 *
 * CPython's collector marks by counting: it subtracts from each object's references those that other
 * containers hold; an object that has none left, and cannot be reached from one that has, is garbage. It
 * believes what tp_traverse tells it. A pointer to freed memory, or a tp_traverse that reports a reference
 * which is not its own, leads it astray without notice, and the program crashes later, somewhere else.
 *
 * invalidptr. Before a full collection each pointer that a container holds is looked at: one that leads into
 * the heap has to lead to a block that is allocated. mcentral.c and pymem.c put a mark into blocks that they
 * free. That costs a quarter of the collection, so it is done when it takes no more than CHECK_SHARE of the
 * time since the last one (with 2: always). If CPython's collector faults at a bad pointer meanwhile, the
 * handler of the signal finds out which one it was.
 *
 * gccheckmark. The collector keeps what it takes for garbage (gc.DEBUG_SAVEALL). Then everything is marked
 * that can be reached from the interpreter's roots: modules, the frames of all thread states, goroutines'
 * functions and arguments. Nothing that is marked may be garbage. Then the garbage is cleared as the
 * collector would have done. Not all roots are known, since C code has references of its own; so the second
 * mark can miss something, but never reports what is right.
 *
 * Lock: the GIL.
 *
 * Differs from Go: its check of pointers costs nothing, because its collector has to find the span of each
 * anyway. Rejected: to look at an eighth of the containers in turn, those that have waited longest. They are
 * in no cache, and it took half as long as to look at all of them.
 */
#include "gc/mgc.h"

#include "cpython/compat.h"
#include "lib/addrmap.h"
#include "mem/heap.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/stack.h"

#include <stdio.h>
#include <stdlib.h>

/* -- invalidptr ---------------------------------------------------------------------------------- */

static bool explains; /* in a signal handler: it says what is wrong, once, and nothing more */
static int64_t explains_until;
static bool explained;

static noinline int
bad_pointer(PyObject *holder, const void *p, const mspan *s, const char *what)
{
    char span[120] = "";
    if (s)
        snprintf(span, sizeof span, " span.base()=%p span.limit=%p span.state=%d", (void *)s->base,
                 (void *)(s->base + ((size_t)s->npages << HEAP_PAGE_SHIFT)), s->state);
    fatal_printf("runtime: pointer %p to %s%s\nruntime: found in object at *(%p), a %.100s\n", p, what, span,
                 (void *)holder, Py_TYPE(holder)->tp_name);
    if (!explains)
        fatal(BAD_POINTER);
    explained = true;
    return -1;
}

/* Of a pointer out of the heap only the search after a fault has the time to ask. */
static bool
is_there(PyObject *p)
{
    PyObject object;
    PyTypeObject type;
    return mem_read(&object, p, sizeof object) && mem_read(&type, Py_TYPE(&object), sizeof type);
}

static int
check_pointer(PyObject *p, void *holder)
{
    uintptr_t a = (uintptr_t)p;
    if (unlikely(a < 4096 || a & (sizeof(void *) - 1) || a >> ADDRESS_BITS))
        return bad_pointer(holder, p, NULL, "an impossible address");
    mspan *s = spanof(p);
    if (!s)
        return !explains || is_there(p) ? 0 : bad_pointer(holder, p, NULL, "no object");
    if (unlikely(s->state != SpanInUse))
        return bad_pointer(holder, p, s, "unallocated span");
    if (unlikely(block_is_free(s, p)))
        return bad_pointer(holder, p, s, "free block");
    /* A count of 0 is not a fault: some modules traverse their lists of free objects, _asyncio in 3.12. */
    uintptr_t type = (uintptr_t)Py_TYPE(p);
    if (unlikely(type < 4096 || type & (sizeof(void *) - 1) || type >> ADDRESS_BITS || Py_REFCNT(p) < 0))
        return bad_pointer(holder, p, s, "something that is not an object");
    return 0;
}

static bool
is_bad(PyObject *op, void *unused)
{
    (void)unused;
    Py_TYPE(op)->tp_traverse(op, check_pointer, op);
    return explained;
}

#define EXPLAIN_TIME ((int64_t)5 * 1000000000) /* the lists may be broken, too, and lead in a circle */

#define CHECK_SHARE 50 /* a fiftieth */
#define CHECK_PRICE 20 /* nanoseconds for each block, as long as nothing was measured */

static int64_t next_check; /* not before; 0: nothing was measured */

void
gc_check_pointers(int64_t now, uint64_t blocks)
{
    if (next_check == 0)
        next_check = sched.starttime + CHECK_SHARE * CHECK_PRICE * (int64_t)blocks;
    if (gcdebugging.invalidptr <= 1 && now < next_check)
        return;
    collector_find(is_bad, NULL);
    int64_t end = nanotime();
    next_check = end + CHECK_SHARE * (end - now);
}

static bool
stops(PyObject *op, void *n)
{
    return (++*(size_t *)n % 4096 == 0 && nanotime() > explains_until) || is_bad(op, NULL);
}

bool
gc_explains_fault(void)
{
    PyThreadState *ts = ts_of_thread();
    if (gcdebugging.invalidptr <= 0 || !collector_busy() || explains || !ts || !ts_running(ts))
        return false; /* without the GIL: it is another thread that collects, and changes the lists */
    explains = true;
    explains_until = nanotime() + EXPLAIN_TIME;
    size_t n = 0;
    collector_find(stops, &n);
    return explained;
}

/* -- gccheckmark --------------------------------------------------------------------------------- */

static struct {
    addrmap reached;    /* objects, and the one that led there */
    PyObject **pending; /* those that are still to be traversed */
    size_t npending, pendingsize;
    bool nomemory;
} marks;

static int
mark(PyObject *op, void *from)
{
    if (!op || marks.nomemory)
        return 0;
    size_t before = marks.reached.n;
    uintptr_t *holder = addrmap_put(&marks.reached, op);
    if (marks.reached.n == before) { /* it was reached earlier */
        marks.nomemory = !holder;
        return 0;
    }
    *holder = (uintptr_t)from;
    if (marks.npending == marks.pendingsize) {
        size_t size = marks.pendingsize ? 2 * marks.pendingsize : 1 << 12;
        PyObject **more = realloc(marks.pending, size * sizeof *more);
        if (!more) {
            marks.nomemory = true;
            return 0;
        }
        marks.pending = more;
        marks.pendingsize = size;
    }
    marks.pending[marks.npending++] = op;
    return 0;
}

static void
mark_all(void)
{
    interpreter_roots(mark, NULL);
    allgs all = {0};
    for (g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (!g_alive(gp))
            continue;
        mark(gp->fn, NULL);
        mark(gp->context, NULL);
        Py_ssize_t n = gp->fn ? gp->nargs + (gp->kwnames ? PyTuple_GET_SIZE(gp->kwnames) : 0) : 0;
        for (Py_ssize_t i = 1; i <= n; i++)
            mark(gp->args[i], NULL);
    }
    while (marks.npending > 0 && !marks.nomemory) {
        PyObject *op = marks.pending[--marks.npending];
        /* types that are not on the heap cannot be traversed */
        if (PyObject_IS_GC(op) &&
            !(PyType_Check(op) && !PyType_HasFeature((PyTypeObject *)op, Py_TPFLAGS_HEAPTYPE)))
            Py_TYPE(op)->tp_traverse(op, mark, op);
    }
}

/* What the collector would have done. */
static void
clear_garbage(PyObject *garbage)
{
    Py_ssize_t n = PyList_GET_SIZE(garbage);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *op = PyList_GET_ITEM(garbage, i);
        if (Py_TYPE(op)->tp_clear)
            (void)Py_TYPE(op)->tp_clear(op);
        if (PyErr_Occurred())
            PyErr_WriteUnraisable(Py_TYPE(op)->tp_name ? (PyObject *)Py_TYPE(op) : NULL);
    }
}

/* Objects with a tp_del are not cleared but put into gc.garbage, and what they hold is not cleared either.
 * They are rare: if there is one, the rest of this garbage is left to the next collection. False: there are
 * none. */
static bool
keep_legacy(PyObject *garbage, PyObject *list)
{
    bool any = false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(garbage); i++) {
        PyObject *op = PyList_GET_ITEM(garbage, i);
        if (!Py_TYPE(op)->tp_del)
            continue;
        any = true;
        if (PyList_Append(list, op) < 0)
            PyErr_Clear(); /* no memory: the next collection finds it again */
    }
    return any;
}

static Py_ssize_t kept = -1; /* how much was in gc.garbage before; -1: no check is under way */

void
gc_checkmark_start(void)
{
    PyObject *garbage = collector_garbage();
    kept = garbage && collector_save_all(true) ? PyList_GET_SIZE(garbage) : -1;
}

void
gc_checkmark_end(void)
{
    if (kept < 0)
        return;
    collector_save_all(false);
    PyObject *list = collector_garbage(), *garbage = PyList_GetSlice(list, kept, PyList_GET_SIZE(list));
    if (!garbage || PyList_SetSlice(list, kept, PyList_GET_SIZE(list), NULL) < 0) {
        PyErr_Clear(); /* no memory: it stays in gc.garbage */
        Py_XDECREF(garbage);
        kept = -1;
        return;
    }
    kept = -1;
    PyObject *found = NULL, *from = NULL;
    if (PyList_GET_SIZE(garbage) > 0) {
        PyObject_GC_UnTrack(garbage);
        mark_all();
        for (Py_ssize_t i = 0; !found && !marks.nomemory && i < PyList_GET_SIZE(garbage); i++) {
            const uintptr_t *holder = addrmap_get(&marks.reached, PyList_GET_ITEM(garbage, i));
            if (holder) {
                found = PyList_GET_ITEM(garbage, i);
                from = (PyObject *)*holder;
            }
        }
        PyObject_GC_Track(garbage);
    }
    if (found) {
        char by[160] = "a frame or the interpreter holds it";
        if (from)
            snprintf(by, sizeof by, "it is held by %p, a %.100s", (void *)from, Py_TYPE(from)->tp_name);
        fatal_printf("runtime: the collection takes %p, a %.100s, for garbage; %s\n", (void *)found,
                     Py_TYPE(found)->tp_name, by);
        fatal("checkmark found unmarked object");
    }
    addrmap_clear(&marks.reached);
    free(marks.pending);
    marks = (__typeof__(marks)){0};
    if (!keep_legacy(garbage, list))
        clear_garbage(garbage);
    Py_DECREF(garbage);
}

/* -- gcstoptheworld ------------------------------------------------------------------------------ */

#define US 1000
#define STOP_MAX ((int64_t)10 * 1000000000)

/* Waits until no goroutine computes in C without the GIL: each is asleep in the kernel, or waits for the GIL.
 * One that computes for more than 10 seconds is not waited for: it might itself wait for what only the
 * interpreter does. */
void
gc_stop_the_world(void)
{
    m *self = getm();
    int64_t end = nanotime() + STOP_MAX;
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        while (mp != self && mp->curg && thread_computes(mp->tid) && nanotime() < end)
            sleep_ns(50 * US);
    }
}
