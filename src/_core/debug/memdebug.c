/* memdebug.c: the debug modes of the heap, which GODEBUG asks for: hooks in place of those of pymem.c.
 *
 *     allocfreetrace  a line and a stack for each block allocated and freed (here)
 *     clobberfree     freed blocks are filled with 0xdeadbeef (here)
 *     efence          every block on pages of its own (efence.c)
 *     sbrk            blocks one behind the other, never freed (sbrk.c)
 *
 * The hooks are the same for all modes and look into `debug_allocator`: the heap's own functions, or those
 * with freed blocks clobbered, or efence's, or sbrk's. allocfreetrace goes with each except sbrk, which turns
 * the others off, as in Go. efence makes clobberfree needless: nobody can read what was freed.
 *
 * Invariants
 *   1. Modes are chosen at installation, for good: a block is freed by the allocator that made it.
 *   2. MemStats counts a block when it is handed out, and as freed when the program frees it, in every mode.
 *   3. Where a resize would keep the block (trace alone) it is traced only if it counts.
 *   4. A record is one write. It is put together in memory of malloc's: no Python object is made for it, no
 *      Python code runs, and exceptions that are pending stay as they are (`quiet` in traceback.h).
 *
 * clobberfree: the heap links freed blocks through their first words. So they are kept back for a while, the
 * last RING_BLOCKS of at most RING_BYTES, before the heap gets them; sooner when memory is short.
 *
 * Lock: the GIL of the main interpreter; others are sent on, as in pymem.c. errno is left as it is: a free
 * between a call and its error must not change it.
 *
 * Rejected: tests of the modes in pymem.c, which is on every program's path.
 *
 * Differs from Go: sizes of records are without a type, and their stacks have the frames that GOTRACEBACK
 * asks for. A resize is a free and an allocation. Tracing begins and ends with the program, not with the
 * process.
 */
#include "debug/memdebug.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "stacks/traceback.h"

#include <errno.h>
#include <string.h>

#define RING_BLOCKS 8192
#define RING_BYTES ((size_t)16 << 20)

static PyMemAllocatorEx previous;

void
count_malloc(size_t n)
{
    unsigned class = n <= SMALL_MAX ? class_of(n) : 0;
    cache.mallocs[class]++;
    if (class == 0)
        cache.large_alloc += counted_size(n);
    count_down(counted_size(n));
}

void
count_free(size_t n)
{
    unsigned class = n <= SMALL_MAX ? class_of(n) : 0;
    cache.frees[class]++;
    if (class == 0)
        cache.large_free += counted_size(n);
}

/* -- allocfreetrace --------------------------------------------------------------------------- */

static bool traceable; /* the mode is on */
static bool begun;     /* and so has the program */
static out text = {.fd = -1, .quiet = true};

/* What the interpreter takes down at its end is not the program's. */
static bool
tracing(void)
{
    return begun && !sched.stopping;
}

static void
write_text(int err)
{
    write_all(errfd, text.buf, text.n);
    errno = err;
}

static noinline void
trace(const char *what, const void *p, size_t size)
{
    int err = errno;
    static bool busy; /* a traceback function of the program's, for C frames, may allocate */
    if (busy)
        return;
    busy = true;
    text.n = 0;
    text.failed = false;
    put_str(&text, what);
    put(&text, "(", 1);
    put_hex(&text, (uintptr_t)p);
    put(&text, ", ", 2);
    put_hex(&text, size);
    put(&text, ")\n", 2);
    put_running(&text);
    put(&text, "\n", 1);
    write_text(err);
    busy = false;
}

void
trace_gc(void)
{
    if (!tracing())
        return;
    int err = errno;
    text.n = 0;
    text.failed = false;
    put_str(&text, "tracegc()\n\n");
    g *me = put_running(&text);
    put_others(&text, me, true);
    put_str(&text, "end tracegc\n\n");
    write_text(err);
}

/* -- clobberfree ------------------------------------------------------------------------------ */

/* Freed blocks that the heap has not got back, the oldest first. */
static struct {
    void *block[RING_BLOCKS];
    unsigned first, n;
    size_t bytes;
    uint64_t count[NUM_CLASSES], large; /* as in mcache */
} waiting;

static void
give_back_oldest(void)
{
    void *p = waiting.block[waiting.first];
    mspan *s = spanof(p);
    size_t size = span_block_size(s);
    waiting.first = (waiting.first + 1) % RING_BLOCKS;
    waiting.n--;
    waiting.bytes -= size;
    waiting.count[s->class]--;
    if (s->class == 0)
        waiting.large -= size;
    annotate_allocated(p, size);
    heap_free_block(s, p);
}

void
debug_count_waiting(mcache *counts)
{
    for (unsigned class = 0; class < NUM_CLASSES; class ++)
        counts->frees[class] += waiting.count[class];
    counts->large_free += waiting.large;
}

static void
clobber_free(mspan *s, void *p)
{
    size_t size = span_block_size(s);
    uint32_t *words = p;
    for (size_t i = 0; i < size / sizeof *words; i++)
        words[i] = 0xdeadbeef;
    if (size > RING_BYTES) {
        heap_free_block(s, p); /* its pages stay as they are until somebody gets them */
        return;
    }
    while (waiting.n == RING_BLOCKS || waiting.bytes + size > RING_BYTES)
        give_back_oldest();
    waiting.block[(waiting.first + waiting.n) % RING_BLOCKS] = p;
    waiting.n++;
    waiting.bytes += size;
    waiting.count[s->class]++;
    if (s->class == 0)
        waiting.large += size;
    annotate_freed(p, size);
}

static void *
clobber_alloc(size_t n, bool zero)
{
    void *p = heap_new_block(n, zero);
    if (likely(p != NULL) || waiting.n == 0)
        return p;
    while (waiting.n > 0)
        give_back_oldest();
    return heap_new_block(n, zero);
}

static size_t
block_size(mspan *s, void *p)
{
    (void)p;
    return span_block_size(s);
}

static const allocator clobber_allocator = {.alloc = clobber_alloc, .free = clobber_free, .size = block_size};
static const allocator heap_allocator = {
    .alloc = heap_new_block, .free = heap_free_block, .size = block_size, .resize = heap_resize_block};

/* -- the hooks -------------------------------------------------------------------------------- */

static void *
debug_new(size_t n, bool zero)
{
    void *p = debug_allocator->alloc(n, zero);
    if (p && tracing())
        trace("tracealloc", p, counted_size(n));
    return p;
}

static void
debug_drop(mspan *s, void *p)
{
    size_t size = debug_allocator->size(s, p);
    if (tracing())
        trace("tracefree", p, counted_size(size));
    debug_allocator->free(s, p);
}

static void *
debug_resize(mspan *s, void *p, size_t n)
{
    size_t size = debug_allocator->size(s, p);
    if (debug_allocator->resize) {
        void *q = debug_allocator->resize(s, p, n);
        if (!q || !tracing())
            return q;
        size_t now = debug_allocator->size(spanof(q), q);
        if (q != p || now != size) {
            trace("tracefree", p, counted_size(size));
            trace("tracealloc", q, counted_size(now));
        }
        return q;
    }
    void *q = debug_new(n, false);
    if (!q) {
        cache.lookups++;
        return n <= size ? p : NULL;
    }
    memcpy(q, p, n < size ? n : size);
    debug_drop(s, p);
    return q;
}

static void *
debug_malloc(void *ctx, size_t n)
{
    (void)ctx;
    if (unlikely(!under_our_gil()))
        return previous.malloc(previous.ctx, n);
    return debug_new(n, false);
}

static void *
debug_calloc(void *ctx, size_t count, size_t each)
{
    (void)ctx;
    if (unlikely(!under_our_gil()))
        return previous.calloc(previous.ctx, count, each);
    size_t n;
    return __builtin_mul_overflow(count, each, &n) ? NULL : debug_new(n, true);
}

/* The span of a block; NULL: it is the earlier allocator's. */
static mspan *
span_of_block(void *p)
{
    mspan *s = spanof(p);
    if (!s && mheap_retired(p))
        throw("heap: a block that was freed long ago is freed or resized again"); /* efence */
    if (!s && under_our_gil())
        cache.lookups++;
    return s;
}

static void
debug_free(void *ctx, void *p)
{
    (void)ctx;
    if (!p)
        return;
    mspan *s = span_of_block(p);
    if (s)
        debug_drop(s, p);
    else
        previous.free(previous.ctx, p);
}

static void *
debug_realloc(void *ctx, void *p, size_t n)
{
    if (!p)
        return debug_malloc(ctx, n);
    mspan *s = span_of_block(p);
    return s ? debug_resize(s, p, n) : previous.realloc(previous.ctx, p, n);
}

PyMemAllocatorEx
debug_hooks(unsigned modes, const PyMemAllocatorEx *before)
{
    previous = *before;
    debug_allocator = modes & ModeSbrk          ? &sbrk_allocator
                      : modes & ModeEfence      ? &efence_allocator
                      : modes & ModeClobberFree ? &clobber_allocator
                                                : &heap_allocator;
    traceable = modes & ModeAllocFreeTrace && !(modes & ModeSbrk);
    return (PyMemAllocatorEx){NULL, debug_malloc, debug_calloc, debug_realloc, debug_free};
}

/* -- for Python ------------------------------------------------------------------------------- */

static PyObject *
begin_tracing_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    begun = traceable;
    Py_RETURN_NONE;
}

#if GORT_TESTS
static PyObject *
trace_gc_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    trace_gc();
    Py_RETURN_NONE;
}

static PyObject *
without_guard_markers_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    mem_without_guard_markers();
    Py_RETURN_NONE;
}
#endif

static PyMethodDef functions[] = {
    {"begin_tracing", begin_tracing_, METH_NOARGS,
     "begin_tracing()\n--\n\n"
     "The program begins: from now on allocfreetrace, if it is on, writes records."},
#if GORT_TESTS
    {"_trace_gc", trace_gc_, METH_NOARGS, NULL},
    {"_without_guard_markers", without_guard_markers_, METH_NOARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

int
gort_memdebug_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
