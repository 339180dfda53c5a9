/* mcache.c: the size classes, and the span of each class that blocks are taken from.
 *
 * The classes are those of Go 1.13, since MemStats.BySize shows them: each wastes at most an eighth of a
 * block, and the spans at most an eighth of their pages. All but the first are multiples of 16, as CPython
 * promises for its blocks.
 *
 * Invariants
 *   1. A span of a class is either the cache's, or full, or in the central list; never two of them.
 *   2. The cache gives a span up only when it is full.
 *
 * Lock: the GIL (heap.h).
 *
 * Differs from Go: one cache, not one for each P, because only the holder of the GIL allocates. Counters are
 * kept at each allocation and free, not collected from spans when they are swept: nothing here is swept.
 */
#include "mem/heap.h"

const uint16_t class_size[NUM_CLASSES] = {
    0,     8,     16,    32,    48,    64,    80,    96,    112,   128,   144,  160,   176,   192,
    208,   224,   240,   256,   288,   320,   352,   384,   416,   448,   480,  512,   576,   640,
    704,   768,   896,   1024,  1152,  1280,  1408,  1536,  1792,  2048,  2304, 2688,  3072,  3200,
    3456,  4096,  4864,  5376,  6144,  6528,  6784,  6912,  8192,  9472,  9728, 10240, 10880, 12288,
    13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768};

const uint8_t class_npages[NUM_CLASSES] = {
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1, 1, 1,
    2, 1, 2, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 4, 5, 6, 1, 7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5, 8, 3, 10, 7, 4};

uint8_t size_to_class8[1024 / 8 + 1], size_to_class128[(SMALL_MAX - 1024) / 128 + 1];

mcache cache;
int64_t heap_countdown = INT64_MAX;
static mspan full; /* stands for "none yet": has no block to give */

void
mcache_init(void)
{
    unsigned c = 1;
    for (size_t n = 0; n <= 1024; n += 8) {
        c += n > class_size[c];
        size_to_class8[n / 8] = (uint8_t)c;
    }
    for (size_t n = 1024; n <= SMALL_MAX; n += 128) {
        c += n > class_size[c];
        size_to_class128[(n - 1024) / 128] = (uint8_t)c;
    }
    for (c = 0; c < NUM_CLASSES; c++)
        cache.span[c] = &full;
}

bool
mcache_refill(unsigned class)
{
    check(!cache.span[class]->freelist && cache.span[class]->fresh == cache.span[class]->limit);
    mspan *s = mcentral_take(class);
    if (!s) {
        s = mheap_alloc(class_npages[class], class);
        if (!s)
            return false;
        uint32_t n = (uint32_t)((s->npages << HEAP_PAGE_SHIFT) / class_size[class]);
        s->freelist = NULL;
        s->fresh = s->base;
        s->limit = s->base + n * class_size[class];
        s->nalloc = 0;
        /* with 1 block this wraps around to a huge number, and each free leaves the span empty */
        s->nslow = n - 2;
    }
    cache.span[class] = s;
    /* last, and under no lock: the pacer may look at the heap's figures, and have memory given back */
    count_down((size_t)(s->limit - s->base) - (size_t)s->nalloc * class_size[class]);
    return true;
}
