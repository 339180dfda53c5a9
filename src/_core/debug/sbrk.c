/* sbrk.c: GODEBUG=sbrk=1: blocks one behind the other, never freed.
 *
 * A block has its size, as MemStats counts it, in the 16 bytes before it: a resize needs it, which keeps the
 * block if there is room. Blocks lie in chunks of 256 KiB; one of more than a quarter of that has a chunk for
 * itself. Chunks are spans of class 0, in use for ever.
 *
 * Invariants
 *   1. Blocks of a chunk lie from its base to `fresh` without a gap; the rest of it is zeros, up to `limit`.
 *   2. A free changes nothing, and is not counted as one: the memory is still taken.
 *
 * Lock: the GIL (heap.h).
 *
 * Differs from Go: blocks are counted in MemStats, and the memory is the heap's and not other_sys.
 */
#include "debug/memdebug.h"

#include <string.h>

#define CHUNK ((size_t)256 << 10)

typedef struct {
    size_t size;
    size_t unused; /* blocks are aligned to 16 */
} header;

static mspan *chunk;

static size_t
step(size_t size)
{
    return sizeof(header) + ((size + 15) & ~(size_t)15);
}

static mspan *
chunk_new(size_t size)
{
    mspan *s = mheap_alloc((size + HEAP_PAGE - 1) >> HEAP_PAGE_SHIFT, 0);
    if (s) {
        s->fresh = s->base;
        s->limit = s->base + span_block_size(s);
    }
    return s;
}

static void *
sbrk_alloc(size_t n, bool zero)
{
    (void)zero; /* it is */
    if (n > BLOCK_MAX)
        return NULL;
    size_t size = counted_size(n), need = step(size);
    mspan *s = chunk;
    if (need > CHUNK / 4)
        s = chunk_new(need);
    else if (!s || (size_t)(s->limit - s->fresh) < need) {
        s = chunk_new(CHUNK);
        if (s)
            chunk = s;
    }
    if (!s)
        return NULL;
    header *h = (header *)s->fresh;
    h->size = size;
    s->fresh += need;
    count_malloc(n);
    return h + 1;
}

static void
sbrk_free(mspan *s, void *p)
{
    (void)s, (void)p;
    cache.lookups++;
}

static size_t
sbrk_size(mspan *s, void *p)
{
    (void)s;
    return ((header *)p)[-1].size;
}

static void *
sbrk_resize(mspan *s, void *p, size_t n)
{
    size_t size = sbrk_size(s, p);
    cache.lookups++;
    if (n <= size)
        return p;
    void *q = sbrk_alloc(n, false);
    if (q)
        memcpy(q, p, size);
    return q;
}

#if GORT_TESTS
static void
sbrk_tally(mspan *s, uint64_t *live, uint64_t *large)
{
    char *at = s->base;
    for (; at < s->fresh; at += step(((header *)at)->size)) {
        size_t size = ((header *)at)->size;
        if (size == 0 || size != counted_size(size))
            throw("heap: a block's header was overwritten");
        live[size <= SMALL_MAX ? class_of(size) : 0]++;
        *large += size <= SMALL_MAX ? 0 : size;
    }
    if (at != s->fresh || at > s->limit)
        throw("heap: a chunk's blocks do not add up");
}
#else
#define sbrk_tally NULL
#endif

const allocator sbrk_allocator = {
    .alloc = sbrk_alloc, .free = sbrk_free, .size = sbrk_size, .resize = sbrk_resize, .tally = sbrk_tally};
