/* heapcheck.c: a walk over the whole heap that checks what its figures are made of. Built for the tests only.
 *
 * Every page must lead to its span, every free block must lie where a block is, and the sums must be those
 * that were counted. What does not fit is fatal.
 *
 * Lock: the GIL.
 */
#include "mem/heap.h"

typedef struct {
    mheap_stats h;
    uint64_t live[NUM_CLASSES], large;
    const mspan *before;
} totals;

static void
check_span(mspan *s, void *arg)
{
    totals *t = arg;
    size_t size = (size_t)s->npages << HEAP_PAGE_SHIFT;
    t->h.sys += size;
    t->h.span_inuse += sizeof *s;
    if (s->state == SpanScavenged)
        t->h.idle += size;
    else if (s->state == SpanIdle) {
        t->h.idle += size;
        t->h.released += s->clean ? size : 0;
        const mspan *b = t->before;
        if (b && b->state == SpanIdle && b->clean == s->clean &&
            b->base + ((size_t)b->npages << HEAP_PAGE_SHIFT) == s->base)
            throw("heap: neighbouring idle spans are not joined");
        if (spanof(s->base + size - 1) != s)
            throw("heap: an idle span's last page leads elsewhere");
    }
    else if (s->state == SpanRetired) {
        t->h.idle += size;
        t->h.released += size;
    }
    else if (s->state == SpanInUse) {
        t->h.inuse += size;
        for (size_t i = 0; i < s->npages; i++)
            if (spanof(s->base + (i << HEAP_PAGE_SHIFT)) != s)
                throw("heap: a page leads to another span");
        if (debug_allocator && debug_allocator->tally)
            debug_allocator->tally(s, t->live, &t->large);
        else if (s->class == 0) {
            t->live[0] += s->nalloc;
            t->large += size;
            if (s->nalloc != 1)
                throw("heap: a large span without a block");
        }
        else {
            t->live[s->class] += s->nalloc;
            size_t each = class_size[s->class], free = (size_t)(s->limit - s->fresh) / each;
            for (char *p = s->freelist; p; p = *(char **)p, free++) {
                annotate_allocated(p, sizeof p);
                if (p < s->base || p >= s->fresh || (size_t)(p - s->base) % each)
                    throw("heap: a free block lies where no block is");
                if (free > size / each)
                    throw("heap: a list of free blocks is circular");
            }
            if (free + s->nalloc != (size_t)(s->limit - s->base) / each)
                throw("heap: a span's blocks do not add up");
            if (s->nalloc == 0 && cache.span[s->class] != s)
                throw("heap: an empty span was kept");
            if (s->nslow != (s->nspecial ? 0 : (uint32_t)((size_t)(s->limit - s->base) / each) - 2))
                throw("heap: a span's frees are seen, or not seen, without a reason");
        }
    }
    else
        throw("heap: a dead span holds pages");
    t->before = s;
}

static PyObject *
check_heap_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    if (!heap_installed)
        Py_RETURN_NONE;
    totals t = {0};
    const mheap_stats mheap = mheap_walk(check_span, &t);
    t.h.sys += mheap.retired;
    t.h.idle += mheap.retired;
    t.h.released += mheap.retired;
    if (t.h.sys != mheap.sys || t.h.idle != mheap.idle || t.h.inuse != mheap.inuse ||
        t.h.released != mheap.released || t.h.span_inuse != mheap.span_inuse)
        throw("heap: the pages do not add up");
    for (unsigned c = 0; c < NUM_CLASSES; c++)
        if (cache.mallocs[c] - cache.frees[c] != t.live[c])
            throw("heap: the blocks of a class do not add up");
    if (cache.large_alloc - cache.large_free != t.large)
        throw("heap: the large blocks do not add up");
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_check_heap", check_heap_, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
gort_heapcheck_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
