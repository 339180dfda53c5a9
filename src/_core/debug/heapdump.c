/* heapdump.c: debug.write_heap_dump(): the heap as it is at one moment, in Go's format
 * (docs/internals/heapdump.md).
 *
 * In three steps. prepare(): all that may allocate from the heap: the types that exist, the funcs of running
 * code. mark(): a bit for each allocated block and for each object of the collector, in memory of its own.
 * Then the records are written.
 *
 * Invariants
 *   1. After prepare() nothing allocates from the heap or frees to it, no Python code runs and the GIL is
 *      kept: the figures of MemStats in the file are those of the objects in it.
 *   2. What is freed is in no record: free lists and what was never handed out have no bit.
 *   3. A pointer field is a word that leads into an allocated block. The collector's links do not count, or
 *      everything would be reachable from everything.
 *
 * Types. What the collector tracks is an object for certain, and its head says of which type. Other blocks
 * are objects or plain memory, and the allocator is not told. A block that begins like an object of a type
 * that exists, and has the size for it, is taken for one, and the record says that this is a guess.
 *
 * Lock: the GIL, also while the file is written: nothing else would keep the heap as it is. A pipe that a
 * goroutine of this process reads therefore blocks for ever, as in Go.
 *
 * Why not fork and let the child write: the child's thread states and locks would be the parent's, its
 * memory is counted twice under a limit, and the moment would be no better.
 *
 * Differs from Go: Python's frames are the stack frames; pointers are found by looking at all words;
 * references from objects outside the heap are `otherroot` records; one record kind more says the type of an
 * object. Records of itabs, data, bss, defers, panics and profiles are not written.
 */
#include "debug/memdebug.h"

#include "cpython/compat.h"
#include "debug/dumpfile.h"
#include "debug/memstats.h"
#include "gc/finalizer.h"
#include "gc/mgc.h"
#include "lib/addrmap.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/stack.h"
#include "stacks/pc.h"

#include <errno.h>
#include <string.h>

enum kind {
    KindEOF = 0,
    KindObject = 1,
    KindOtherRoot = 2,
    KindType = 3,
    KindGoroutine = 4,
    KindStackFrame = 5,
    KindParams = 6,
    KindFinalizer = 7,
    KindOSThread = 9,
    KindMemStats = 10,
    KindQueuedFinalizer = 11,
    KindObjectType = 64, /* gort's own */
};
enum { FieldEol = 0, FieldPtr = 1 };

#define MARKS_SIZE (((size_t)1 << ARENA_SHIFT) / 64) /* of an arena: a bit for 8 bytes */
#define NUM_ARENAS ((size_t)1 << (ADDRESS_BITS - ARENA_SHIFT))

static uint64_t *
    *marks; /* for each arena of the heap; a bit where an allocated block or a tracked object begins */
static bool no_memory;
static char *heap_lo, *heap_hi;

static addrmap types; /* those that exist; no values */

static PyObject *str_module, *str_subclasses;

/* -- marks ------------------------------------------------------------------------------------ */

static uint64_t *
mark_word(const void *p)
{
    return &marks[(uintptr_t)p >> ARENA_SHIFT][((uintptr_t)p & (((uintptr_t)1 << ARENA_SHIFT) - 1)) >> 9];
}

static uint64_t
mark_bit(const void *p)
{
    return (uint64_t)1 << ((uintptr_t)p >> 3 & 63);
}

static bool
marked(const void *p)
{
    return *mark_word(p) & mark_bit(p);
}

/* The allocated block that p points into, its first byte included; NULL: none. */
static char *
block_at(const void *p)
{
    if ((uintptr_t)p >> ADDRESS_BITS)
        return NULL;
    const mspan *s = spanof(p);
    /* entries of an idle span's inner pages are old ones */
    if (!s || s->state != SpanInUse || (const char *)p < s->base ||
        (const char *)p >= s->base + ((size_t)s->npages << HEAP_PAGE_SHIFT))
        return NULL;
    size_t size = span_block_size(s), index = (size_t)((const char *)p - s->base) / size;
    char *block = s->base + index * size;
    return block < s->limit || s->class == 0 ? (marked(block) ? block : NULL) : NULL;
}

/* A freed block's link, which AddressSanitizer keeps from others. */
__attribute__((no_sanitize_address)) static char *
next_free(const char *p)
{
    return *(char *const *)p;
}

static void
mark_span(mspan *s, void *unused)
{
    (void)unused;
    char *end = s->base + ((size_t)s->npages << HEAP_PAGE_SHIFT);
    heap_lo = !heap_lo || s->base < heap_lo ? s->base : heap_lo;
    heap_hi = end > heap_hi ? end : heap_hi;
    if (s->state != SpanInUse || no_memory)
        return;
    for (size_t i = (uintptr_t)s->base >> ARENA_SHIFT; i <= (uintptr_t)(end - 1) >> ARENA_SHIFT; i++) {
        if (!marks[i] && !(marks[i] = mem_reserve(MARKS_SIZE))) {
            no_memory = true;
            return;
        }
    }
    if (s->class == 0) {
        *mark_word(s->base) |= mark_bit(s->base);
        return;
    }
    for (char *p = s->base; p < s->fresh; p += class_size[s->class])
        *mark_word(p) |= mark_bit(p);
    for (char *p = s->freelist; p; p = next_free(p))
        *mark_word(p) &= ~mark_bit(p);
}

/* An object lies behind the collector's head in its block, so that its mark is never a block's. */
static void
mark_object(PyObject *o, void *unused)
{
    (void)unused;
    if (block_at(o))
        *mark_word(o) |= mark_bit(o);
}

static void
mark(void)
{
    marks = mem_reserve(NUM_ARENAS * sizeof *marks);
    no_memory = !marks;
    heap_lo = heap_hi = NULL;
    if (!no_memory)
        mheap_walk(mark_span, NULL);
    if (!no_memory)
        collector_each(mark_object, NULL);
}

static void
unmark(void)
{
    if (!marks)
        return;
    for (size_t i = (uintptr_t)heap_lo >> ARENA_SHIFT; i <= (uintptr_t)heap_hi >> ARENA_SHIFT; i++)
        if (marks[i])
            mem_unmap(marks[i], MARKS_SIZE);
    mem_unmap(marks, NUM_ARENAS * sizeof *marks);
    marks = NULL;
}

/* -- types ------------------------------------------------------------------------------------ */

/* t and all below it. -1: exception set. */
static int
add_subclasses(PyTypeObject *t, PyObject *subclasses)
{
    if (addrmap_get(&types, t))
        return 0;
    if (!addrmap_put(&types, t)) {
        PyErr_NoMemory();
        return -1;
    }
    if (Py_EnterRecursiveCall(" in write_heap_dump"))
        return -1;
    PyObject *list = PyObject_CallOneArg(subclasses, (PyObject *)t);
    int err = list ? 0 : -1;
    for (Py_ssize_t i = 0; !err && i < PyList_GET_SIZE(list); i++)
        err = add_subclasses((PyTypeObject *)PyList_GET_ITEM(list, i), subclasses);
    Py_XDECREF(list);
    Py_LeaveRecursiveCall();
    return err;
}

/* A type of which an object is tracked is not always found from above: while it is being taken apart it is
 * not. */
static void
add_type_of(PyObject *o, void *unused)
{
    (void)unused;
    no_memory = no_memory || !addrmap_put(&types, Py_TYPE(o));
}

static void
put_type(PyTypeObject *t)
{
    put_uvarint(KindType);
    put_address(t);
    put_uvarint((uint64_t)t->tp_basicsize);
    if (PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE)) {
        PyObject *module = t->tp_dict ? PyDict_GetItemWithError(t->tp_dict, str_module) : NULL;
        put_qualified(module, ((PyHeapTypeObject *)t)->ht_qualname);
    }
    else
        put_string(t->tp_name);
    put_uvarint(true); /* a reference is always a pointer */
}

/* The type that the block's content is an object of, as far as its head tells; NULL: it is not an object. */
static PyTypeObject *
guess(const char *block, size_t size, size_t *offset)
{
    for (size_t at = 0; at <= 2 * GC_HEAD && at + sizeof(PyObject) <= size; at += GC_HEAD) {
        PyTypeObject *t = *(PyTypeObject *const *)(block + at + offsetof(PyObject, ob_type));
        uintptr_t refs = *(const uintptr_t *)(block + at);
        if (!t || refs == 0 || refs > UINT32_MAX || !addrmap_get(&types, t) || object_prefix(t) != at)
            continue;
        size_t needs = at + (size_t)t->tp_basicsize;
        if (type_has_tail(t))
            needs = at + sizeof(PyObject);
        else if (t->tp_itemsize == 0 && needs <= SMALL_MAX && class_size[class_of(needs)] != size)
            continue;
        /* without items an int needs less than its type says, and a heap type's slots are items of another
         * size */
        if (t->tp_itemsize != 0)
            needs = at + offsetof(PyVarObject, ob_size) + sizeof(Py_ssize_t);
        if (needs > size)
            continue;
        *offset = at;
        return t;
    }
    return NULL;
}

/* -- records ---------------------------------------------------------------------------------- */

/* The pointer fields of n bytes, except in the `skip` bytes before `upto`. */
static void
put_fields(const char *p, size_t n, size_t upto, size_t skip)
{
    for (size_t at = 0; at + sizeof(void *) <= n; at += sizeof(void *)) {
        if (at < upto && at + skip >= upto)
            continue;
        void *word;
        memcpy(&word, p + at, sizeof word);
        if (block_at(word)) {
            put_uvarint(FieldPtr);
            put_uvarint(at);
        }
    }
    put_uvarint(FieldEol);
}

/* n bytes, of which those from `frame` on are a frame of Python's, and its references plain addresses. */
static void
put_with_frame(const char *p, size_t n, size_t frame)
{
    size_t at = frame < n ? frame : n;
    put_bytes(p, at);
    for (; at + sizeof(void *) <= n; at += sizeof(void *)) {
        uintptr_t word = frame_word(p + frame, at - frame);
        put_bytes(&word, sizeof word);
    }
    put_bytes(p + at, n - at);
}

static void
put_object(const char *block, size_t size)
{
    PyTypeObject *t = NULL;
    bool certain = false;
    size_t offset = 0;
    for (size_t at = GC_HEAD; at <= 2 * GC_HEAD && at + sizeof(PyObject) <= size && !certain; at += GC_HEAD) {
        if (marked(block + at)) {
            certain = true;
            offset = at;
            t = Py_TYPE((PyObject *)(block + at));
        }
    }
    if (!certain)
        t = guess(block, size, &offset);
    put_uvarint(KindObject);
    put_address(block);
    put_uvarint(size);
    size_t frame = certain ? object_frame((PyObject *)(block + offset)) : SIZE_MAX;
    put_with_frame(block, size, frame == SIZE_MAX ? size : offset + frame);
    put_fields(block, size, offset, t && PyType_IS_GC(t) ? GC_HEAD : 0);
    if (t) {
        put_uvarint(KindObjectType);
        put_address(block);
        put_uvarint(offset);
        put_address(t);
        put_uvarint(certain);
    }
}

static void
put_span(mspan *s, void *unused)
{
    (void)unused;
    if (s->state != SpanInUse || dumpfile.error)
        return;
    size_t size = span_block_size(s);
    char *end = s->class ? s->fresh : s->base + size;
    for (char *p = s->base; p < end && !dumpfile.error; p += size)
        if (marked(p))
            put_object(p, size);
}

/* The frames of ts, the innermost first. */
static void
put_stack(PyThreadState *ts)
{
    pyframe at;
    const void *child = NULL;
    uint64_t depth = 0;
    for (bool more = frame_first(&at, ts, false); more && !dumpfile.error; more = frame_next(&at, false)) {
        const char *lo = at.f;
        size_t n = (size_t)(frame_end(&at) - lo);
        func *f = code_extra(at.code);
        uint64_t pc = f ? func_pc(f, at.lasti) : 0;
        put_uvarint(KindStackFrame);
        put_address(lo);
        put_uvarint(depth++);
        put_address(child);
        put_uvarint(n);
        put_with_frame(lo, n, 0);
        put_uvarint(f ? func_entry(f) : 0);
        put_uvarint(pc);
        put_uvarint(pc);
        put_qualified(globals_name(at.globals, false), at.code->co_qualname);
        put_fields(lo, n, 0, 0);
        child = lo;
    }
}

static void
put_goroutine(const void *descriptor, PyThreadState *ts, uint64_t goid, uint64_t gopc, uint64_t status,
              int64_t since, const char *why, const m *mp)
{
    pyframe at;
    put_uvarint(KindGoroutine);
    put_address(descriptor);
    put_address(frame_first(&at, ts, false) ? at.f : NULL);
    put_uvarint(goid);
    put_uvarint(gopc);
    put_uvarint(status);
    put_uvarint(false);
    put_uvarint(false);
    put_uvarint((uint64_t)since);
    put_string(why);
    put_address(NULL);
    put_address(mp);
    put_address(NULL);
    put_address(NULL);
    put_stack(ts);
}

static const char dumping[] = "dumping heap";

static void
put_goroutines(PyThreadState *me)
{
    int64_t start_of_clock = (int64_t)(walltime() * 1e9) - nanotime();
    allgs all = {0};
    for (g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (!g_alive(gp) || !gp->ts)
            continue;
        func *f = gp->created_code ? code_extra(gp->created_code) : NULL;
        uint64_t status = gp->status, since = 0;
        const char *why = "";
        if (gp->ts == me) {
            status = Gwaiting;
            why = dumping;
        }
        else if (status == Grunning)
            status = Gsyscall; /* without the GIL */
        else if (status == Gwaiting) {
            why = waitreason_text[gp->waitreason];
            since = (uint64_t)(start_of_clock + gp->waitsince);
        }
        put_goroutine(gp, gp->ts, gp->goid, f ? func_pc(f, gp->created_lasti) : 0, status, (int64_t)since,
                      why, gp->m);
    }
    /* threads hold references as goroutines do; their number is 0 */
    for (PyThreadState *ts = ts_head(false); ts; ts = ts_next_other(ts, false)) {
        unsigned long ident = ts_ident(ts, false);
        if (ident && !is_goid(ident) && !is_scheduler(ident) && !(maing && ts == maing->ts))
            put_goroutine(ts, ts, 0, 0, ts == me ? Gwaiting : Gsyscall, 0, ts == me ? dumping : "thread",
                          NULL);
    }
}

static void
put_root(const char *what, PyObject *to)
{
    if (to && block_at(to)) {
        put_uvarint(KindOtherRoot);
        put_string(what);
        put_address(to);
    }
}

static int
put_referent(PyObject *to, void *from)
{
    char text[256];
    PyOS_snprintf(text, sizeof text, "%.200s outside the heap", Py_TYPE((PyObject *)from)->tp_name);
    put_root(text, to);
    return 0;
}

static void
put_referents(PyObject *o, void *unused)
{
    (void)unused;
    if (!block_at(o) && !dumpfile.error)
        Py_TYPE(o)->tp_traverse(o, put_referent, o);
}

static int
put_interpreter_root(PyObject *to, void *unused)
{
    (void)unused;
    put_root("interpreter", to);
    return 0;
}

/* What the interpreter and its threads hold, what objects outside the heap refer to, and what goroutines
 * were started with. */
static void
put_roots(void)
{
    interpreter_roots(put_interpreter_root, NULL);
    collector_each(put_referents, NULL);
    allgs all = {0};
    for (const g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (!gp->fn || !g_alive(gp))
            continue;
        put_root("function of a goroutine", gp->fn);
        Py_ssize_t n = gp->nargs + (gp->kwnames ? PyTuple_GET_SIZE(gp->kwnames) : 0);
        for (Py_ssize_t i = 1; i <= n; i++)
            put_root("argument of a goroutine", gp->args[i]);
        put_root("names of a goroutine's arguments", gp->kwnames);
        put_root("context of a goroutine", gp->context);
    }
}

static PyCodeObject *
finalizer_code(PyObject *fn, PyObject **globals)
{
    if (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    if (!PyFunction_Check(fn))
        return NULL;
    *globals = PyFunction_GET_GLOBALS(fn);
    return (PyCodeObject *)PyFunction_GET_CODE(fn);
}

static void
prepare_finalizer(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting)
{
    (void)obj, (void)type, (void)waiting;
    PyObject *globals;
    PyCodeObject *code = finalizer_code(fn, &globals);
    if (code)
        func_of(code, globals);
}

/* The block that it lies in, or where it is outside the heap. */
static const void *
place_of(PyObject *o)
{
    const char *block = block_at(o);
    return block ? block : (const char *)o;
}

/* Any object will do for the finalizer's argument: its type is object. */
static void
put_finalizer(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting)
{
    PyObject *globals;
    PyCodeObject *code = finalizer_code(fn, &globals);
    const func *f = code ? code_extra(code) : NULL;
    put_uvarint(waiting ? KindQueuedFinalizer : KindFinalizer);
    put_address(place_of(obj));
    put_address(place_of(fn));
    put_uvarint(f ? func_entry(f) : 0);
    put_address(&PyBaseObject_Type);
    put_address(type);
}

static void
put_mem_stats(void)
{
    static memstats m; /* large */
    memstats_read(&m);
    put_uvarint(KindMemStats);
    for (size_t i = 0; i < nmemstats_fields; i++) {
        const memstats_field *f = &memstats_fields[i];
        for (size_t j = 0; f->dumped && j < f->n; j++)
            put_uvarint(memstats_numbers(&m, f)[j]);
    }
}

/* -- all of it -------------------------------------------------------------------------------- */

/* All that may allocate. -1: exception set. */
static int
prepare(void)
{
    for (PyThreadState *ts = ts_head(false); ts; ts = ts_next(ts, false)) {
        pyframe at;
        for (bool more = frame_first(&at, ts, false); more; more = frame_next(&at, false))
            func_of(at.code, at.globals);
    }
    finalizers_each(prepare_finalizer);
    PyInterpreterState_GetDict(PyInterpreterState_Get()); /* made at the first call */
    PyObject *subclasses = PyObject_GetAttr((PyObject *)&PyType_Type, str_subclasses);
    int err = subclasses ? add_subclasses(&PyBaseObject_Type, subclasses) : -1;
    Py_XDECREF(subclasses);
    if (err)
        return err;
    no_memory = false;
    collector_each(add_type_of, NULL);
    if (!no_memory)
        mark();
    if (no_memory) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static PyObject *
write_heap_dump_(PyObject *mod, PyObject *args)
{
    (void)mod;
    const char *arch, *python;
    int fd;
    unsigned long ncpu;
    if (!PyArg_ParseTuple(args, "issk:write_heap_dump", &fd, &arch, &python, &ncpu))
        return NULL;
    if (!heap_installed)
        return PyErr_Format(Error, "write_heap_dump: gort's heap is not installed");
    if (!getm() && on_main_thread() && !getg())
        return NULL;                 /* getg() would have bound the main thread */
    int collecting = PyGC_Disable(); /* a collection would run Python code */
    if (prepare() == 0) {
        dumpfile_begin(fd);
        put_bytes("go1.7 heap dump\n", 16);
        put_uvarint(KindParams);
        put_uvarint(PY_BIG_ENDIAN);
        put_uvarint(sizeof(void *));
        put_address(heap_lo);
        put_address(heap_hi);
        put_string(arch);
        put_string(python);
        put_uvarint(ncpu);
        for (size_t i = 0; i < types.size; i++)
            if (types.slots[i].key)
                put_type((PyTypeObject *)types.slots[i].key);
        mheap_walk(put_span, NULL);
        put_goroutines(PyThreadState_Get());
        for (const m *mp = sched.allm; mp; mp = mp->alllink) {
            put_uvarint(KindOSThread);
            put_address(mp);
            put_uvarint((uint64_t)mp->id);
            put_uvarint((uint64_t)mp->tid);
        }
        put_roots();
        finalizers_each(put_finalizer);
        put_mem_stats();
        put_uvarint(KindEOF);
        dumpfile_flush();
        if (dumpfile.error) {
            errno = dumpfile.error;
            PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    unmark();
    addrmap_clear(&types);
    if (collecting)
        PyGC_Enable();
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"write_heap_dump", write_heap_dump_, METH_VARARGS,
     "write_heap_dump(fd, arch, python, ncpu, /)\n--\n\n"
     "Writes the heap to a file descriptor, with these parameters."},
    {NULL, NULL, 0, NULL},
};

int
gort_heapdump_init(PyObject *module)
{
    str_module = PyUnicode_InternFromString("__module__");
    str_subclasses = PyUnicode_InternFromString("__subclasses__");
    return str_module && str_subclasses ? PyModule_AddFunctions(module, functions) : -1;
}
