/* mheap.c: the page heap: runs of pages, the table from address to span, memory from the kernel.
 *
 * Addresses come from the kernel in mappings of 4 MiB or more, one behind the other where the kernel lets us.
 * A table of two levels leads from any address to its span: one entry for each arena that has a page of ours,
 * in it one for each page. An address that leads nowhere is somebody else's, which is how blocks of CPython's
 * own allocator are recognized.
 *
 * Invariants
 *   1. The spans of a mapping follow each other without a gap, idle ones included.
 *   2. Every page of a span in use has its entry; of an idle one the first and the last page (neighbours look
 *      there).
 *   3. No two neighbouring idle spans are both clean, or both not.
 *   4. Clean idle spans have no memory. They read as zeros, unless the memory went by MADV_FREE. The others
 *      may hold anything.
 *   5. A retired span is in no list and lies within a region; when all of a region is retired, nothing of it
 *      is left in the tables but the number of its retired pages.
 *   6. Only map_pages asks the kernel for anything, before it changes anything: the struct of a span lies in
 *      the tables of the arena, at its first page, so that cutting, joining and freeing spans cannot fail.
 *
 * Idle spans lie in bins by their number of pages: exact up to 64, then eight bins for each doubling. Any
 * span of a higher bin fits; in its own bin the first that does is taken. Those with memory are taken before
 * clean ones.
 *
 * Locks: the GIL (heap.h), and a lock of the page heap's own for the scavenger, which has no GIL. A holder of
 * the GIL may keep it long (mheap_walk): the scavenger only tries it, and waits only to put a span back. What
 * the scavenger does under it is short, and nobody locks anything else there. While a span's memory is given
 * back, without the lock, it is in no list. A fork takes the lock, so that the child finds the lists whole.
 *
 * Why not one large reservation, with a single table over it: it counts against RLIMIT_AS as a whole, also if
 * the limit is set later, and says nothing of the heap's size.
 *
 * Differs from Go: a span that was given back by moving its pages elsewhere (realloc) is clean at once.
 * Memory that the kernel has not backed yet counts as released, as in Go since 1.14.
 */
#include "mem/heap.h"

#include "lib/list.h"
#include "os/arch/arch.h"
#include "os/os.h"

#include <string.h>

#define GROW_PAGES (((size_t)4 << 20) >> HEAP_PAGE_SHIFT)
#define EXACT_BINS 64
#define NUM_BINS (EXACT_BINS + 8 * 26)
#define WORDS ((NUM_BINS + 63) / 64)
#define MAX_MAPPINGS 4096
#define WARM_PAGES 32
#define WARM_FROM ((size_t)2 << 20) /* bytes in use: a small program takes only what it needs */
#define LOOKS_MAX 64
#define WORTH_SCAVENGING ((size_t)1 << 20)
#define bytes(npages) ((size_t)(npages) << HEAP_PAGE_SHIFT)

arena **arenas;
_Atomic bool mheap_unwatched = true;

static mheap_stats mheap;
static size_t limit = SIZE_MAX; /* of memory from the kernel */
static mspan *scavenged;        /* the span that the scavenger has taken */
static _Atomic int32_t lockword;

static mspan *bins[2][NUM_BINS]; /* [clean] */
static uint64_t occupied[2][WORDS];
static struct {
    char *lo, *hi;
} mappings[MAX_MAPPINGS]; /* by time, neighbours joined */
static int nmappings;

/* -- the lock ---------------------------------------------------------------------------------- */

static bool
trylock(void)
{
    return !atomic_exchange_explicit(&lockword, 1, memory_order_acquire);
}

static void
mheap_lock(void)
{
    for (int spins = 0; !trylock(); spins++) {
        if (spins > 1000)
            sleep_ns(1000000); /* a heap dump has it, and waits for its file */
        else if (spins > 100)
            thread_yield(); /* the scavenger has it, and lost its processor */
    }
}

static void
mheap_unlock(void)
{
    atomic_store_explicit(&lockword, 0, memory_order_release);
}

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
span_new(char *base, size_t npages, bool clean, bool zeroed)
{
    mspan *s = &arenas[(uintptr_t)base >> ARENA_SHIFT]->spans[page_in_arena(base)];
    check(s->state == SpanDead);
    mheap.span_inuse += sizeof *s;
    *s = (mspan){
        .base = base, .npages = (uint32_t)npages, .clean = clean, .zeroed = zeroed, .state = SpanIdle};
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
    list_push(bins[s->clean][bin], s, next, prev);
    occupied[s->clean][bin / 64] |= 1UL << bin % 64;
    *entry(s->base) = *entry(s->base + bytes(s->npages - 1)) = s;
}

static void
bin_drop(mspan *s)
{
    size_t bin = bin_of(s->npages);
    list_remove(bins[s->clean][bin], s, next, prev);
    if (!bins[s->clean][bin])
        occupied[s->clean][bin / 64] &= ~(1UL << bin % 64);
}

static mspan *
find(size_t npages, bool clean)
{
    size_t bin = bin_of(npages);
    if (npages > EXACT_BINS) {
        int looks = 0; /* many may be a little too small: not all of them are looked at each time */
        for (mspan *s = bins[clean][bin]; s && looks < LOOKS_MAX; s = s->next, looks++)
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
make_idle(mspan *s, bool clean, bool zeroed)
{
    s->state = SpanIdle;
    s->clean = clean;
    s->zeroed = zeroed;
    mspan *before = idle_at(s->base - 1, clean), *after = idle_at(s->base + bytes(s->npages), clean);
    if (after) {
        bin_drop(after);
        s->zeroed &= after->zeroed;
        s->npages += after->npages;
        span_drop(after);
    }
    if (before) {
        bin_drop(before);
        before->zeroed &= s->zeroed;
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
#if defined(__SANITIZE_ADDRESS__)
    static char *hint = (char *)0x400000000000; /* the other is in the gap of its shadow memory */
#else
    static char *hint = (char *)ARCH_HEAP_HINT;
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
    if (debug_allocator && debug_allocator->sparing)
        mem_small_pages(lo, size); /* so that one touched byte costs one small page */
    hint = lo + size;
    note_mapping(lo, lo + size);
    mheap.sys += size;
    mheap.idle += size;
    mheap.released += size;
    make_idle(span_new(lo, npages, true, true), true, true);
    return true;
}

/* Gives the memory of a span that is in no list back, and puts it among the clean ones. */
static void
release_span(mspan *s)
{
    annotate_allocated(s->base, bytes(s->npages));
    mheap.released += bytes(s->npages); /* before make_idle, after which s may be a part of its neighbour */
    make_idle(s, true, mem_release(s->base, bytes(s->npages)));
}

/* An idle span with memory, one of the largest; NULL: there is none. In no list then. */
static mspan *
take_idle(size_t npages)
{
    for (size_t i = WORDS; i-- > 0;) {
        if (!occupied[false][i])
            continue;
        mspan *s = bins[false][64 * i + 63 - (size_t)__builtin_clzl(occupied[false][i])];
        bin_drop(s);
        if (s->npages > npages) {
            bin_put(span_new(s->base + bytes(npages), s->npages - npages, false, false));
            s->npages = (uint32_t)npages;
            *entry(s->base + bytes(npages - 1)) =
                s; /* its neighbour looks there: it may be in no list for long */
        }
        return s;
    }
    return NULL;
}

static size_t
release_all(void)
{
    size_t before = mheap.released;
    mspan *s;
    while ((s = take_idle(SIZE_MAX)) != NULL)
        release_span(s);
    return mheap.released - before;
}

/* Gives memory back while there is more than `limit`. All spans are in their lists. */
static void
obey_limit(void)
{
    mspan *s;
    while (mheap.sys - mheap.released > limit &&
           (s = take_idle(((mheap.sys - mheap.released - limit) >> HEAP_PAGE_SHIFT) + 1)) != NULL)
        release_span(s);
}

/* A large block has taken memory from the kernel although there may be idle memory, in pieces that are too
 * small for it. As much of that goes as was taken, as long as there is more than the scavenger would leave in
 * the end. */
static void
shed(size_t taken)
{
    size_t resident = mheap.sys - mheap.released, keep = mheap.peak + mheap.peak / 10;
    if (resident <= keep)
        return;
    size_t n = (taken < resident - keep ? taken : resident - keep) >> HEAP_PAGE_SHIFT;
    mspan *s;
    while (n && (s = take_idle(n)) != NULL) {
        n -= s->npages;
        release_span(s);
    }
}

/* A span with memory that is large enough together with a part of the clean one behind it: so a large block
 * takes less memory from the kernel than it would elsewhere. */
static mspan *
find_and_join(size_t npages)
{
    int looks = 0;
    for (size_t i = bin_of(npages) + 1; i-- > EXACT_BINS && looks < LOOKS_MAX;) {
        for (mspan *s = bins[false][i]; s && looks < LOOKS_MAX; s = s->next, looks++) {
            mspan *after = idle_at(s->base + bytes(s->npages), true);
            if (!after || s->npages + after->npages < npages)
                continue;
            size_t more = npages - s->npages;
            bin_drop(after);
            if (after->npages > more)
                bin_put(span_new(after->base + bytes(more), after->npages - more, true, after->zeroed));
            span_drop(after);
            mheap.released -= bytes(more);
            bin_drop(s); /* while it has the size by which it was put there */
            s->npages = (uint32_t)npages;
            s->zeroed &= after->zeroed;
            bin_put(s);
            return s;
        }
    }
    return NULL;
}

static mspan *
find_or_map(size_t npages)
{
    mspan *s;
    if ((s = find(npages, false)) != NULL || (npages > EXACT_BINS && (s = find_and_join(npages)) != NULL) ||
        (s = find(npages, true)) != NULL)
        return s;
    /* Idle spans of both kinds may be neighbours. If half of the heap is idle, it must not grow because of
     * that. */
    if (mheap.idle > mheap.sys / 2 && mheap.idle > 2 * bytes(npages) && mheap.idle > mheap.released) {
        release_all();
        if ((s = find(npages, true)) != NULL)
            return s;
    }
    /* a larger heap grows in larger steps: fewer mappings */
    size_t step = mheap.sys / 16 >> HEAP_PAGE_SHIFT;
    if (step < GROW_PAGES)
        step = GROW_PAGES;
    if (!(npages < step && map_pages(step)) && !map_pages(npages)) {
        release_all(); /* now they are joined */
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
    if (mheap.inuse > mheap.peak)
        mheap.peak = mheap.inuse;
    if (s->npages > npages)
        bin_put(span_new(s->base + bytes(npages), s->npages - npages, s->clean, s->zeroed));
    if (s->clean)
        mheap.released -= bytes(npages);
}

/* Has the kernel back the first pages of a clean idle span all at once, which costs it half of what it takes
 * page by page. They are no longer clean then. */
static void
warm(mspan *s)
{
    size_t n = s->npages < WARM_PAGES ? s->npages : WARM_PAGES;
    bin_drop(s);
    if (s->npages > n)
        bin_put(span_new(s->base + bytes(n), s->npages - n, true, s->zeroed));
    s->npages = (uint32_t)n;
    mheap.released -= bytes(n);
    mem_populate(s->base, bytes(n));
    make_idle(s, false, s->zeroed);
}

mspan *
mheap_alloc(size_t npages, unsigned class)
{
    mheap_lock();
    const size_t resident = mheap.sys - mheap.released;
    mspan *s = find_or_map(npages);
    const bool sparing = debug_allocator && debug_allocator->sparing;
    if (s && s->clean && !sparing && mheap.inuse >= WARM_FROM && npages < WARM_PAGES &&
        s->npages >= WARM_PAGES && mheap.sys - mheap.released + bytes(WARM_PAGES) <= limit) {
        warm(s);
        s = find(npages, false);
    }
    if (s) {
        cut_idle(s, npages);
        s->npages = (uint32_t)npages;
        s->state = SpanInUse;
        s->class = (uint8_t)class;
        s->nspecial = 0;
        set_entries(s, 0);
        if (npages > EXACT_BINS && mheap.sys - mheap.released > resident)
            shed(mheap.sys - mheap.released - resident);
        obey_limit(); /* last: s is in use, and does not go itself */
    }
    mheap_unlock();
    return s;
}

static void
free_span(mspan *s, bool clean)
{
    check(s->state == SpanInUse);
    mheap.inuse -= bytes(s->npages);
    mheap.idle += bytes(s->npages);
    if (clean)
        mheap.released += bytes(s->npages);
    make_idle(s, clean, clean);
}

void
mheap_free(mspan *s, bool clean)
{
    mheap_lock();
    free_span(s, clean);
    bool much = mheap.idle - mheap.released > WORTH_SCAVENGING;
    mheap_unlock();
    /* after the lock: the scavenger says that it sleeps, then takes it: it sees these pages, or is woken */
    if (unlikely(much && atomic_load_explicit(&mheap_unwatched, memory_order_relaxed)) &&
        atomic_exchange(&mheap_unwatched, false))
        hooks.memory_idle();
}

bool
mheap_extend(mspan *s, size_t npages)
{
    mheap_lock();
    mspan *after = spanof(s->base + bytes(s->npages));
    size_t from = s->npages, more = npages - from;
    bool ok = after && after->state == SpanIdle && after->npages >= more;
    if (ok) {
        const bool takes = after->clean && npages > EXACT_BINS;
        cut_idle(after, more);
        span_drop(after);
        s->npages = (uint32_t)npages;
        set_entries(s, from);
        if (takes)
            shed(bytes(more));
        obey_limit();
    }
    mheap_unlock();
    return ok;
}

void
mheap_trim(mspan *s, size_t npages)
{
    mheap_lock();
    mspan *rest = span_new(s->base + bytes(npages), s->npages - npages, false, false);
    s->npages = (uint32_t)npages;
    rest->state = SpanInUse;
    free_span(rest, false);
    mheap_unlock();
}

/* -- retired spans (efence) ------------------------------------------------------------------- */

/* All pages of the region are retired: its tables and, where the kernel does it, its page tables are given
 * back. */
static void
forget_region(arena *a, size_t region)
{
    const size_t first = region * REGION_PAGES;
    char *base = a->spans[first].base;
    for (size_t i = first; i < first + REGION_PAGES; i++) {
        if (a->spans[i].state == SpanRetired)
            span_drop(&a->spans[i]);
    }
    mem_discard(&a->pages[first], REGION_PAGES * sizeof *a->pages);
    mem_discard(&a->spans[first], REGION_PAGES * sizeof *a->spans);
    mem_fence_all(base, bytes(REGION_PAGES));
    mheap.retired += bytes(REGION_PAGES);
}

/* Retired spans do not reach beyond a region. */
void
mheap_retire(mspan *s)
{
    check(s->state == SpanInUse);
    mheap_lock();
    size_t size = bytes(s->npages);
    mheap.inuse -= size;
    mheap.idle += size;
    mheap.released += size;
    while (s) {
        arena *a = arenas[(uintptr_t)s->base >> ARENA_SHIFT];
        size_t at = page_in_arena(s->base), left = REGION_PAGES - at % REGION_PAGES;
        mspan *rest = NULL;
        if (s->npages > left) {
            rest = span_new(s->base + bytes(left), s->npages - left, true, false);
            set_entries(rest, 0);
            s->npages = (uint32_t)left;
        }
        s->state = SpanRetired;
        uint16_t *n = &a->nretired[at / REGION_PAGES];
        *n = (uint16_t)(*n + s->npages);
        if (*n == REGION_PAGES)
            forget_region(a, at / REGION_PAGES);
        s = rest;
    }
    mheap_unlock();
}

bool
mheap_retired(const void *p)
{
    const arena *a = arenas[(uintptr_t)p >> ARENA_SHIFT];
    return a && a->nretired[page_in_arena(p) / REGION_PAGES] == REGION_PAGES;
}

/* -- all of it -------------------------------------------------------------------------------- */

size_t
mheap_release(void)
{
    mheap_lock();
    size_t released = release_all();
    mheap_unlock();
    return released;
}

void
mheap_set_limit(size_t resident)
{
    mheap_lock();
    limit = resident;
    obey_limit();
    mheap_unlock();
}

void
mheap_read(mheap_stats *to)
{
    mheap_lock();
    *to = mheap;
    mheap_unlock();
}

mheap_stats
mheap_walk(void (*f)(mspan *s, void *arg), void *arg)
{
    mheap_lock();
    for (int i = 0; i < nmappings; i++) {
        for (char *at = mappings[i].lo; at < mappings[i].hi;) {
            if (mheap_retired(at)) {
                at += bytes(REGION_PAGES);
                continue;
            }
            mspan *s = spanof(at);
            if (!s || s->base != at)
                throw("heap: a gap between spans");
            at += bytes(s->npages);
            f(s, arg);
        }
    }
    const mheap_stats figures = mheap;
    mheap_unlock();
    return figures;
}

/* -- the scavenger's ---------------------------------------------------------------------------- */

bool
mheap_peak(mheap_stats *h, bool reset)
{
    if (!trylock())
        return false;
    *h = mheap;
    if (reset)
        mheap.peak = mheap.inuse;
    mheap_unlock();
    return true;
}

mspan *
mheap_take_idle(size_t npages)
{
    if (!trylock())
        return NULL;
    mspan *s = scavenged = take_idle(npages);
    if (s) {
        check(spanof(s->base + bytes(s->npages - 1)) == s);
        s->state = SpanScavenged; /* before the lock goes: no neighbour that is freed joins it */
    }
    mheap_unlock();
    return s;
}

void
mheap_put_idle(mspan *s, bool zeroed)
{
    mheap_lock();
    scavenged = NULL;
    mheap.released += bytes(s->npages);
    make_idle(s, true, zeroed);
    mheap_unlock();
}

/* The scavenger has not come along into the child. */
static void
unlock_in_child(void)
{
    if (scavenged)
        make_idle(scavenged, false, false);
    scavenged = NULL;
    mheap_unlock();
}

/* -- initialisation -------------------------------------------------------------------------- */

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

/* Before all other handlers are made: the last one made is the first to lock, and the first one made is the
 * first to unlock in the child. So no other handler waits for a thread that waits for the heap, nor allocates
 * while it is locked. */
void
mheap_forks(void)
{
    static bool done; /* an import that failed may be tried again */
    if (!done)
        around_forks(mheap_lock, mheap_unlock, unlock_in_child);
    done = true;
}
