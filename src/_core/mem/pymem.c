/* pymem.c: CPython's allocator hooks: the domains `mem` and `obj` are served by the heap.
 *
 * Who calls: a thread that holds the GIL of the main interpreter, which is what CPython asks of callers of
 * these domains. The hooks are global, so from 3.12 on threads of subinterpreters with a GIL of their own
 * come here as well. Their calls are passed to the allocator that was there before, which keeps a heap for
 * each such interpreter.
 *
 * Invariants
 *   1. A block is freed where it was born. The address tells: what spanof() does not know is the earlier
 *      allocator's, also when it is resized.
 *   2. A resize that fails changes nothing, and one that makes a block smaller does not fail.
 *
 * The domain `raw` stays malloc's: its callers may hold no GIL.
 *
 * Not installed over debug hooks, which look for their own bytes around each block, nor over hooks of others
 * (an early tracemalloc), since hooks that put back the allocators that they once found would leave blocks
 * without their heap.
 *
 * The collector's pacer counts down bytes (count_down) where spans and large blocks are taken. A span that
 * holds objects with finalizers has nslow = 0, so that mcentral_free sees each of them freed; so will sampled
 * blocks. The debug modes must see everything: they are hooks of their own in place of these (memdebug.c).
 *
 * Differs from Go: blocks of C code are freed and resized by hand. A resize that keeps the block where it is
 * counts as nothing; one that changes its class or its number of pages counts as an allocation and a free.
 */
#include "mem/heap.h"

#include "cpython/compat.h"
#include "os/os.h"

#include <string.h>

#define MOVE_MIN ((size_t)1 << 20) /* blocks from here on are moved by their pages */

static PyMemAllocatorEx previous;
const allocator *debug_allocator;
bool heap_installed;

/* -- allocation ------------------------------------------------------------------------------- */

/* Does the block that malloc_slow gave last hold zeros? */
static bool zeros;

static void *
large_malloc(size_t n)
{
    if (n > BLOCK_MAX)
        return NULL;
    mspan *s = mheap_alloc((n + HEAP_PAGE - 1) >> HEAP_PAGE_SHIFT, 0);
    if (!s)
        return NULL;
    s->nalloc = 1;
    s->nslow = UINT32_MAX;
    cache.mallocs[0]++;
    cache.large_alloc += span_block_size(s);
    count_down(span_block_size(s));
    zeros = s->zeroed;
    annotate_allocated(s->base, span_block_size(s));
    return s->base;
}

/* A freed block of the cache's span, or NULL. */
static inline void *
freed_block(unsigned class)
{
    mspan *s = cache.span[class];
    void *p = s->freelist;
    if (unlikely(!p))
        return NULL;
    annotate_allocated(p, class_size[class]);
    s->freelist = *(void **)p;
    s->nalloc++;
    cache.mallocs[class]++;
    return p;
}

static noinline void *
malloc_slow(size_t n)
{
    if (n > SMALL_MAX)
        return large_malloc(n);
    unsigned class = class_of(n);
    mspan *s = cache.span[class];
    if (s->fresh == s->limit) {
        if (!mcache_refill(class))
            return NULL;
        s = cache.span[class];
        void *p = freed_block(class);
        if (p) {
            zeros = false;
            return p;
        }
    }
    char *p = s->fresh;
    s->fresh += class_size[class];
    s->nalloc++;
    cache.mallocs[class]++;
    zeros = s->zeroed;
    annotate_allocated(p, class_size[class]);
    return p;
}

/* NULL: no memory. */
static inline void *
heap_malloc(size_t n)
{
    void *p = likely(n <= SMALL_MAX) ? freed_block(class_of(n)) : NULL;
    return likely(p != NULL) ? p : malloc_slow(n);
}

/* The same, of zeros. */
static inline void *
heap_calloc(size_t n)
{
    void *p = likely(n <= SMALL_MAX) ? freed_block(class_of(n)) : NULL;
    if (!p) {
        p = malloc_slow(n);
        if (!p || zeros)
            return p;
    }
    return memset(p, 0, n);
}

static inline void
heap_free(mspan *s, void *p)
{
    cache.frees[s->class]++;
    s->nalloc--;
    if (unlikely(span_free_is_slow(s))) {
        mcentral_free(s, p);
        return;
    }
    *(void **)p = s->freelist;
    if (likely(s->class > 1))
        mark_free(p);
    s->freelist = p;
    annotate_freed(p, class_size[s->class]);
}

/* -- resizing --------------------------------------------------------------------------------- */

/* The large block of s now has another number of pages, at the same place. */
static void
count_resize(const mspan *s, size_t before)
{
    cache.mallocs[0]++;
    cache.frees[0]++;
    cache.large_free += before;
    cache.large_alloc += span_block_size(s);
    if (span_block_size(s) > before)
        count_down(span_block_size(s) - before);
}

/* Moves a large block to a new span of n bytes. */
static void *
large_move(mspan *s, size_t n)
{
    size_t size = span_block_size(s);
    char *to = large_malloc(n);
    if (!to)
        return NULL;
    bool moved = size >= MOVE_MIN && mem_move(to, s->base, size);
    if (!moved)
        memcpy(to, s->base, size);
    cache.frees[0]++;
    cache.large_free += size;
    mheap_free(s, moved);
    return to;
}

static void *
large_resize(mspan *s, size_t n)
{
    size_t before = span_block_size(s), npages = (n + HEAP_PAGE - 1) >> HEAP_PAGE_SHIFT;
    if (npages > s->npages) {
        if (n > BLOCK_MAX)
            return NULL;
        if (!mheap_extend(s, npages))
            return large_move(s, n);
        annotate_allocated(s->base, span_block_size(s));
    }
    else if (npages < s->npages)
        mheap_trim(s, npages);
    if (span_block_size(s) == before)
        cache.lookups++;
    else
        count_resize(s, before);
    return s->base;
}

static void *
heap_realloc(mspan *s, void *p, size_t n)
{
    size_t size = span_block_size(s);
    if (s->class == 0 && n > SMALL_MAX)
        return large_resize(s, n);
    /* a block that would become smaller by less than a quarter stays as it is */
    if (n <= size && (n > size - size / 4 || class_of(n) == s->class)) {
        cache.lookups++;
        return p;
    }
    void *q = heap_malloc(n);
    if (unlikely(!q)) {
        cache.lookups++;
        return n <= size ? p : NULL;
    }
    memcpy(q, p, n < size ? n : size);
    heap_free(s, p);
    return q;
}

/* -- the hooks -------------------------------------------------------------------------------- */

static void *
hook_malloc(void *ctx, size_t n)
{
    (void)ctx;
    if (unlikely(!under_our_gil()))
        return previous.malloc(previous.ctx, n);
    return heap_malloc(n);
}

static void *
hook_calloc(void *ctx, size_t count, size_t each)
{
    (void)ctx;
    if (unlikely(!under_our_gil()))
        return previous.calloc(previous.ctx, count, each);
    size_t n;
    if (__builtin_mul_overflow(count, each, &n))
        return NULL;
    return heap_calloc(n);
}

static void
hook_free(void *ctx, void *p)
{
    (void)ctx;
    mspan *s = spanof(p);
    if (likely(s != NULL)) {
        heap_free(s, p);
        return;
    }
    if (!p)
        return;
    if (under_our_gil())
        cache.lookups++;
    previous.free(previous.ctx, p);
}

static void *
hook_realloc(void *ctx, void *p, size_t n)
{
    if (!p)
        return hook_malloc(ctx, n);
    mspan *s = spanof(p);
    if (likely(s != NULL))
        return heap_realloc(s, p, n);
    if (under_our_gil())
        cache.lookups++;
    return previous.realloc(previous.ctx, p, n);
}

/* -- for the debug modes ---------------------------------------------------------------------- */

void *
heap_new_block(size_t n, bool zero)
{
    return zero ? heap_calloc(n) : heap_malloc(n);
}

void
heap_free_block(mspan *s, void *p)
{
    heap_free(s, p);
}

void *
heap_resize_block(mspan *s, void *p, size_t n)
{
    return heap_realloc(s, p, n);
}

/* -- installation ----------------------------------------------------------------------------- */

/* The hooks read no ctx: a thread of another interpreter, which this thread's GIL does not keep away, may see
 * the old function with the new ctx or the reverse. */
const char *
heap_install(unsigned modes)
{
    if (heap_installed)
        return NULL;
    const char *name = allocator_name();
    if (!name)
        return "another allocator hook is installed, perhaps tracemalloc's";
    if (strstr(name, "debug"))
        return "CPython's debug hooks are on (PYTHONMALLOC, -X dev)";
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &previous);
    mcache_init();
    if (!mheap_init())
        return "there is no address space for it";
    PyMemAllocatorEx ours = {NULL, hook_malloc, hook_calloc, hook_realloc, hook_free};
    if (modes)
        ours = hooks.debug_hooks(modes, &previous);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &ours);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &ours);
    heap_installed = true;
    return NULL;
}
