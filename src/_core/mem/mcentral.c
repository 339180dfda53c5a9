/* mcentral.c: for each class the spans that have free blocks and are not the cache's.
 *
 * Invariants
 *   1. A span is in its class's list if and only if it is in use, is not the cache's, and has a free block.
 *   2. A span that becomes empty goes back to the page heap at once, unless it is the cache's.
 *
 * The list is last in, first out: the span that a block was freed in last is the next one that the cache
 * takes, and its free blocks are those that the processor still has at hand.
 *
 * Lock: the GIL (heap.h).
 *
 * Differs from Go: blocks are freed one by one, by their reference counts, so a span comes here when its
 * first block is freed and not when it is swept.
 */
#include "mem/heap.h"

#include "lib/list.h"

static mspan *partial[NUM_CLASSES];

static void
push(mspan *s)
{
    list_push(partial[s->class], s, next, prev);
}

static void
drop(mspan *s)
{
    list_remove(partial[s->class], s, next, prev);
}

mspan *
mcentral_take(unsigned class)
{
    mspan *s = partial[class];
    if (s)
        drop(s);
    return s;
}

static uint32_t
usual_nslow(const mspan *s)
{
    return (uint32_t)((size_t)(s->limit - s->base) / class_size[s->class]) - 2;
}

void
span_add_special(mspan *s)
{
    if (s->nspecial < UINT8_MAX)
        s->nspecial++;
    if (s->class) /* the free of a large block is always slow */
        s->nslow = 0;
}

void
span_drop_special(mspan *s)
{
    check(s->nspecial > 0);
    if (s->nspecial < UINT8_MAX && --s->nspecial == 0 && s->class)
        s->nslow = usual_nslow(s);
}

void
mcentral_free(mspan *s, void *p)
{
    if (unlikely(s->nspecial > 0))
        hooks.special_freed(p); /* first: its entry refers to the span, which may go below */
    if (s->class == 0) {
        cache.large_free += span_block_size(s);
        mheap_free(s, false);
        return;
    }
    bool was_full = !s->freelist && s->fresh == s->limit; /* before p is in it: such a span is in no list */
    *(void **)p = s->freelist;
    if (s->class > 1)
        mark_free(p);
    s->freelist = p;
    annotate_freed(p, class_size[s->class]);
    if (s == cache.span[s->class])
        return;
    if (s->nalloc == 0) {
        if (!was_full)
            drop(s);
        mheap_free(s, false);
    }
    else if (was_full)
        push(s);
}

__attribute__((no_sanitize_address)) bool
block_is_free(const mspan *s, const void *p)
{
    if (s->class == 0)
        return false;
    size_t size = class_size[s->class];
    const char *block = s->base + (size_t)((const char *)p - s->base) / size * size;
    /* not compared with the mark itself: a collection that met a pointer to it has counted down there */
    return block >= s->fresh || (size > 8 && ((const uintptr_t *)(const void *)block)[1] >> ADDRESS_BITS ==
                                                 UINTPTR_MAX >> ADDRESS_BITS);
}
