/* mheap.c: the page heap: runs of pages, the table from address to span, memory from the kernel.
 *
 * Addresses come from the kernel in mappings of 4 MiB or more, one behind the other where the kernel lets us. A table of
 * two levels leads from any address to its span: one entry for each arena that has a page of ours, in it one for each
 * page. An address that leads nowhere is somebody else's, which is how blocks of CPython's own allocator are told.
 *
 * Invariants
 *   1. The spans of a mapping follow each other without a gap, idle ones included.
 *   2. Every page of a span in use has its entry; of an idle one the first and the last page (neighbours look there).
 *   3. No two neighbouring idle spans are both clean, or both not.
 *   4. Clean idle spans have no memory and read as zeros. The others may hold anything.
 *   5. Only map_pages asks the kernel for anything, before it changes anything: the struct of a span lies in the tables of
 *      the arena, at its first page, so that cutting, joining and freeing spans cannot fail.
 *
 * Idle spans lie in bins by their number of pages: exact up to 64, then eight bins for each doubling. Any span of a
 * higher bin fits; in its own bin the first that does is taken. Those with memory are taken before clean ones.
 *
 * Lock: the GIL (heap.h).
 *
 * Why not one large reservation, with a single table over it: it counts against RLIMIT_AS as a whole, also if the limit
 * is set later, and says nothing of the heap's size.
 *
 * Differs from Go: a span that was given back by moving its pages elsewhere (realloc) is clean at once. Memory that the
 * kernel has not backed yet counts as released, as in Go since 1.14.
 */
#include "heap.h"

#include "os.h"

#include <string.h>

#define GROW_PAGES (((size_t)4 << 20) >> HEAP_PAGE_SHIFT)
#define EXACT_BINS 64
#define NUM_BINS (EXACT_BINS + 8 * 26)
#define WORDS ((NUM_BINS + 63) / 64)
#define MAX_MAPPINGS 4096
#define bytes(npages) ((size_t)(npages) << HEAP_PAGE_SHIFT)

arena **arenas;
mheap_stats mheap;

static mspan *bins[2][NUM_BINS]; /* [clean] */
static uint64_t occupied[2][WORDS];
static struct {
    char *lo, *hi;
} mappings[MAX_MAPPINGS]; /* by time, neighbours joined */
static int nmappings;

/* -- the tables ------------------------------------------------------------------------------- */

static size_t
page_in_arena(const char *addr)
{
    return ((uintptr_t)addr >> HEAP_PAGE_SHIFT) & (ARENA_PAGES - 1);
}

static mspan **
entry(const char *addr)
{
    return &arenas[(uintptr_t)addr >> ARENA_SHIFT]->pages[page_in_arena(addr)];
}

static void
set_entries(mspan *s, size_t from)
{
    for (size_t i = from; i < s->npages; i++)
        *entry(s->base + bytes(i)) = s;
}

/* The struct of a span that begins at this address. */
static mspan *
span_new(char *base, size_t npages, bool clean)
{
    mspan *s = &arenas[(uintptr_t)base >> ARENA_SHIFT]->spans[page_in_arena(base)];
    check(s->state == SpanDead);
    mheap.span_inuse += sizeof *s;
    *s = (mspan){.base = base, .npages = (uint32_t)npages, .clean = clean, .state = SpanIdle};
    return s;
}

static void
span_drop(mspan *s)
{
    s->state = SpanDead;
    mheap.span_inuse -= sizeof *s;
}

/* -- bins ------------------------------------------------------------------------------------- */

static size_t
bin_of(size_t npages)
{
    if (npages <= EXACT_BINS)
        return npages - 1;
    unsigned log = 63 - (unsigned)__builtin_clzl(npages);
    return EXACT_BINS + 8 * (log - 6) + ((npages >> (log - 3)) & 7);
}

static void
bin_put(mspan *s)
{
    size_t bin = bin_of(s->npages);
    mspan **head = &bins[s->clean][bin];
    s->prev = NULL;
    s->next = *head;
    if (*head)
        (*head)->prev = s;
    *head = s;
    occupied[s->clean][bin / 64] |= 1UL << bin % 64;
    *entry(s->base) = *entry(s->base + bytes(s->npages - 1)) = s;
}

static void
bin_drop(mspan *s)
{
    size_t bin = bin_of(s->npages);
    if (s->prev)
        s->prev->next = s->next;
    else if ((bins[s->clean][bin] = s->next) == NULL)
        occupied[s->clean][bin / 64] &= ~(1UL << bin % 64);
    if (s->next)
        s->next->prev = s->prev;
}

static mspan *
find(size_t npages, bool clean)
{
    size_t bin = bin_of(npages);
    if (npages > EXACT_BINS) {
        for (mspan *s = bins[clean][bin]; s; s = s->next)
            if (s->npages >= npages)
                return s;
        bin++;
    }
    for (size_t i = bin / 64; i < WORDS; i++) {
        uint64_t word = occupied[clean][i];
        if (i == bin / 64)
            word &= ~0UL << bin % 64;
        if (word)
            return bins[clean][64 * i + (size_t)__builtin_ctzl(word)];
    }
    return NULL;
}

/* -- idle spans ------------------------------------------------------------------------------- */

static mspan *
idle_at(const char *addr, bool clean)
{
    mspan *s = spanof(addr);
    return s && s->state == SpanIdle && s->clean == clean ? s : NULL;
}

/* Puts s, which is in no list, among the idle ones, joined with its neighbours. */
static void
make_idle(mspan *s, bool clean)
{
    s->state = SpanIdle;
    s->clean = clean;
    mspan *before = idle_at(s->base - 1, clean), *after = idle_at(s->base + bytes(s->npages), clean);
    if (after) {
        bin_drop(after);
        s->npages += after->npages;
        span_drop(after);
    }
    if (before) {
        bin_drop(before);
        before->npages += s->npages;
        span_drop(s);
        s = before;
    }
    bin_put(s);
}

static void
note_mapping(char *lo, char *hi)
{
    for (int i = 0; i < nmappings; i++) {
        if (mappings[i].hi == lo || mappings[i].lo == hi) {
            if (mappings[i].hi == lo)
                mappings[i].hi = hi;
            else
                mappings[i].lo = lo;
            return;
        }
    }
    mappings[nmappings].lo = lo;
    mappings[nmappings++].hi = hi;
}

/* Maps npages more. False: no memory, nothing changed. */
static bool
map_pages(size_t npages)
{
#if defined(__x86_64__)
    static char *hint = (char *)0xc000000000; /* Go's: easy to tell from others in a dump */
#else
    static char *hint = (char *)0x4000000000;
#endif
    size_t size = bytes(npages);
    if (nmappings == MAX_MAPPINGS)
        return false;
    char *lo = mem_map(hint, size, HEAP_PAGE, "gort heap");
    if (!lo)
        return false;
    bool ok = (uintptr_t)lo + size <= 1UL << ADDRESS_BITS;
    for (size_t i = (uintptr_t)lo >> ARENA_SHIFT; ok && i <= ((uintptr_t)lo + size - 1) >> ARENA_SHIFT; i++) {
        if (arenas[i])
            continue;
        arenas[i] = mem_reserve(sizeof(arena));
        ok = arenas[i] != NULL;
        if (ok) {
            mheap.other_sys += sizeof arenas[i]->pages;
            mheap.span_sys += sizeof arenas[i]->spans;
        }
    }
    if (!ok) {
        mem_unmap(lo, size);
        return false;
    }
    hint = lo + size;
    note_mapping(lo, lo + size);
    mheap.sys += size;
    mheap.idle += size;
    mheap.released += size;
    make_idle(span_new(lo, npages, true), true);
    return true;
}

static mspan *
find_or_map(size_t npages)
{
    mspan *s;
    if ((s = find(npages, false)) != NULL || (s = find(npages, true)) != NULL)
        return s;
    /* a larger heap grows in larger steps: fewer mappings */
    size_t step = mheap.sys / 16 >> HEAP_PAGE_SHIFT;
    if (step < GROW_PAGES)
        step = GROW_PAGES;
    if (!(npages < step && map_pages(step)) && !map_pages(npages)) {
        mheap_release(); /* idle spans of both kinds may be neighbours: now they are joined */
        return find(npages, true);
    }
    return find(npages, true);
}

/* -- spans in use ----------------------------------------------------------------------------- */

/* Takes the first npages of an idle span out of it; they are for a span in use. */
static void
cut_idle(mspan *s, size_t npages)
{
    bin_drop(s);
    mheap.idle -= bytes(npages);
    mheap.inuse += bytes(npages);
    if (s->clean)
        mheap.released -= bytes(npages);
    if (s->npages > npages)
        bin_put(span_new(s->base + bytes(npages), s->npages - npages, s->clean));
}

mspan *
mheap_alloc(size_t npages, unsigned class)
{
    mspan *s = find_or_map(npages);
    if (!s)
        return NULL;
    cut_idle(s, npages);
    s->npages = (uint32_t)npages;
    s->state = SpanInUse;
    s->class = (uint8_t)class;
    set_entries(s, 0);
    return s;
}

/* `clean`: its pages hold zeros and no memory. */
void
mheap_free(mspan *s, bool clean)
{
    check(s->state == SpanInUse);
    mheap.inuse -= bytes(s->npages);
    mheap.idle += bytes(s->npages);
    if (clean)
        mheap.released += bytes(s->npages);
    make_idle(s, clean);
}

bool
mheap_extend(mspan *s, size_t npages)
{
    mspan *after = spanof(s->base + bytes(s->npages));
    size_t from = s->npages, more = npages - from;
    if (!after || after->state != SpanIdle || after->npages < more)
        return false;
    cut_idle(after, more);
    span_drop(after);
    s->npages = (uint32_t)npages;
    set_entries(s, from);
    return true;
}

void
mheap_trim(mspan *s, size_t npages)
{
    mspan *rest = span_new(s->base + bytes(npages), s->npages - npages, false);
    s->npages = (uint32_t)npages;
    rest->state = SpanInUse;
    mheap_free(rest, false);
}

/* -- all of it -------------------------------------------------------------------------------- */

void
mheap_release(void)
{
    for (size_t bin = 0; bin < NUM_BINS; bin++) {
        mspan *s;
        while ((s = bins[false][bin]) != NULL) {
            bin_drop(s);
            annotate_allocated(s->base, bytes(s->npages));
            mem_release(s->base, bytes(s->npages));
            mheap.released += bytes(s->npages);
            make_idle(s, true);
        }
    }
}

void
mheap_walk(void (*f)(mspan *s, void *arg), void *arg)
{
    for (int i = 0; i < nmappings; i++) {
        for (char *at = mappings[i].lo; at < mappings[i].hi;) {
            mspan *s = spanof(at);
            if (!s || s->base != at)
                throw("heap: a gap between spans");
            at += bytes(s->npages);
            f(s, arg);
        }
    }
}

bool
mheap_init(void)
{
    const size_t size = sizeof *arenas << (ADDRESS_BITS - ARENA_SHIFT);
    arenas = mem_reserve(size);
    if (!arenas)
        return false;
    mheap.other_sys += size;
    return true;
}
