/* efence.c: GODEBUG=efence=1: every block on pages of its own, which nobody can touch once it is freed.
 *
 *     | span: whole pages of 8 KiB                                |
 *     | never touched ... | ..... block | 0 to 15 bytes | guard   |
 *                         ^ 4 KiB ----------------------^ 4 KiB --^
 *
 * The block ends at the guard, as near as its alignment lets it: a read or write behind it is a fault at
 * once, and so is any use of it after the free. The block's memory is given back at the free; its addresses
 * never are.
 *
 * Invariants
 *   1. Every span in use holds one block: from `fresh` on, its exact size up to `limit`. All have class 0.
 *      `freelist` is the guard; NULL: there is none.
 *   2. Idle spans were never used, so that they are clean: blocks are zeros. No span is ever freed to the
 *      page heap.
 *   3. A live block costs as many pages of 4 KiB as its size needs; a freed one costs a few bytes in the
 *      tables, until all of its region is freed (mheap_retire).
 *
 * Guards are markers in the page tables where the kernel has them (6.13). Elsewhere each is a mapping of its
 * own, with one more for the block between two guards, and the kernel limits the number of mappings
 * (vm.max_map_count, 65530). Guards use half of them, since a process without mappings has no memory. Blocks
 * that come later have no guard, and once freed they can be read, as zeros. That is reported once.
 *
 * Lock: the GIL (heap.h).
 *
 * Differs from Go, whose efence puts only objects of more than a page on pages that fault: here all are.
 */
#include "debug/memdebug.h"

#include "os/os.h"

#include <errno.h>

#define KERNEL_PAGE ((size_t)4096)

static size_t nguarded; /* live blocks with a guard */

/* NULL: it cannot be had. */
static void *
guard_new(char *guard)
{
    static const char sentence[] =
        "gort: GODEBUG efence=1: the kernel allows no more guard pages (vm.max_map_count); "
        "some blocks have none\n";
    static bool said;
    bool room = !mem_guards_are_mappings() || nguarded < mem_max_mappings() / 4;
    if (room && mem_guard(guard, KERNEL_PAGE) == 0) {
        nguarded++;
        return guard;
    }
    if (!said)
        write_all(errfd, sentence, sizeof sentence - 1);
    said = true;
    return NULL;
}

static size_t
efence_size(mspan *s, void *p)
{
    if (s->state != SpanInUse)
        throw("heap: a block that was freed is freed or resized again");
    if (p != s->fresh)
        throw("heap: an address that is not the start of a block is freed or resized");
    return (size_t)(s->limit - s->fresh);
}

static void *
efence_alloc(size_t n, bool zero)
{
    (void)zero; /* it is */
    if (n > BLOCK_MAX)
        return NULL;
    const size_t align = n <= 8 ? 8 : 16;
    size_t space = ((n ? n : 1) + align - 1) & ~(align - 1);
    size_t pages = (space + KERNEL_PAGE - 1) & ~(KERNEL_PAGE - 1);
    mspan *s = mheap_alloc((pages + KERNEL_PAGE + HEAP_PAGE - 1) >> HEAP_PAGE_SHIFT, 0);
    if (!s)
        return NULL;
    int err = errno;
    char *guard = s->base + span_block_size(s) - KERNEL_PAGE;
    s->freelist = guard_new(guard);
    errno = err;
    s->fresh = guard - space;
    s->limit = s->fresh + n;
    s->nalloc = 1;
    s->nslow = UINT32_MAX;
    count_malloc(n);
    return s->fresh;
}

static void
efence_free(mspan *s, void *p)
{
    count_free(efence_size(s, p));
    int err = errno;
    if (s->freelist) {
        nguarded--;
        mem_fence(s->base, span_block_size(s));
    }
    else
        mem_discard(s->base, span_block_size(s));
    mheap_retire(s);
    errno = err;
}

#if GORT_TESTS
static void
efence_tally(mspan *s, uint64_t *live, uint64_t *large)
{
    size_t n = efence_size(s, s->fresh);
    if (s->fresh < s->base || s->limit > s->base + span_block_size(s) - KERNEL_PAGE)
        throw("heap: a block reaches beyond its pages");
    live[n <= SMALL_MAX ? class_of(n) : 0]++;
    *large += n <= SMALL_MAX ? 0 : counted_size(n);
}
#else
#define efence_tally NULL
#endif

const allocator efence_allocator = {
    .sparing = true, .alloc = efence_alloc, .free = efence_free, .size = efence_size, .tally = efence_tally};
