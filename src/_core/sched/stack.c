/* stack.c: where goroutines live.
 *
 * A stack is a stretch of a large reserved slab; only what is touched costs memory. From its upper end
 * downwards:
 *
 *     | g | short argument list | first data-stack chunk | C frames ... untouched ... | guard page |
 *     top                                                                              base
 *
 * so that the g, the Python frames and the C frames of a parked goroutine share one page.
 *
 * Invariants
 *   1. A stack is never unmapped and its g never freed: sysmon and signal handlers may look at any g.
 *   2. A g on the free list keeps its stack and its thread state.
 *
 * Size. C code sets the pace: CPython bounds recursion in C by a count, not by the stack. 3.13 counts to
 * 10,000: the first DEEP_STACKS hold that, however hungry each call is, which is more than a thread's 8 MiB
 * do. These are the measure for all others. Few are deep: tops so far apart cost the page walks 3% of a
 * start. Each stack of 2 MiB or more costs a page-table page beside its own page. After the first BIG_STACKS,
 * which is more than most programs ever have at once, stacks are smaller, with a C recursion limit to match
 * (3.12 and later; 3.11 has one counter for Python and C, and gets another stack: morestack.c), and smaller
 * again for those who have very many. The hungriest single function known in the standard library, of
 * decimal, takes 256 KiB. Where addresses are limited there are no deep stacks: three goroutines are worth
 * more than one that recurses.
 *
 * Most of what a first start costs is the kernel's work: the guard, the zeroed page. While goroutines are
 * made by the hundred, sysmon does it in advance (stacks_prepare), on another core.
 *
 * Tops are spread over different pages of the stride ("colours"): equal low address bits would put all tops
 * into the same few sets of the TLB and the caches. Strides are multiples of 16 pages, and the number of
 * colours is odd, so that the two do not fall in step; each stack is a page further than the one before it.
 * To wake 100,000 takes 1.07 us each so, 1.48 with steps of 7 pages over an even number, and about 1.6 with
 * steps of 8 pages.
 *
 * From CPython 3.14 on there are 16 KiB above each top that nobody uses: its samplers read so much from the
 * data-stack chunk on (CHUNK_READ), which fails if the next stack's guard is among it.
 *
 * Differs from Go: stacks do not grow by copying, since C frames hold addresses into them. They are virtual
 * memory that the kernel fills in.
 */
#include "core.h"

#include "cpython/compat.h"
#include "lib/list.h"
#include "os/arch/arch.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/slab.h"
#include "sched/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reserve of the first stacks, of the next ones, and of the rest. */
#define DEEP_STACK (24UL << 20)
#define DEEP_STACKS 16
#define BIG_STACK (8UL << 20)
#define BIG_STACKS 1024
#define MIDDLE_STACK (832UL << 10)
#define MIDDLE_STACKS 65536
#define SMALL_STACK (448UL << 10)
#define SLAB_MIN (256UL << 20)
#define SLAB_MAX (8UL << 30)
#define SPARE (16UL << 20) /* of a limited address space; for threads and the heap, which cannot do without */
#define COLOURS_MAX 63
#define GUARD_MAX (16UL << 10) /* each page of it is one more entry to write when a stack is made */
#define PMD (2UL << 20)        /* mapped by one page-table page */
#define AHEAD_MAX 2048         /* stacks: 8 MiB of tops */
#define AHEAD_STEP 32

slab slabs[MAX_SLABS];
_Atomic int nslabs;
bin bin0, *bins = &bin0;
static bin *bin_now = &bin0; /* as set_max_stack says */
_Atomic int64_t nstacks, nlive;
size_t carved;
static size_t reserved, sysstacks;

/* Where stacks are made at present, and the next one; read by sysmon. */
static _Atomic(slab *) carving;
static _Atomic(char *) next_stack;
/* What sysmon has prepared. It writes hi = NULL, lo, hi in this order; readers take hi first. */
static _Atomic(char *) ahead_lo, ahead_hi;
static char *goal; /* how far it wants to come; under stackwork */

static _Atomic bool working;

bool
stackwork_try(void)
{
    return !atomic_exchange_explicit(&working, true, memory_order_acquire);
}

void
stackwork_done(void)
{
    atomic_store_explicit(&working, false, memory_order_release);
}

bool
set_max_stack(size_t n, size_t *old)
{
    *old = bin_now->max ? bin_now->max : BIG_STACK;
    n = (n + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (n == BIG_STACK)
        n = 0;
    bin *b = bins;
    while (b && b->max != n)
        b = b->next;
    if (!b) {
        b = calloc(1, sizeof *b);
        if (!b)
            return false;
        b->max = n;
        b->next = bins;
        bins = b;
    }
    bin_now = b;
    return true;
}

/* -- slabs ------------------------------------------------------------------------------------- */

static size_t
guard_size(size_t stride)
{
    size_t size = stride / 16 & ~(size_t)(PAGE - 1);
    return size > GUARD_MAX ? GUARD_MAX : size;
}

void
slab_list(slab *s)
{
    s->listed = true;
    list_push(s->bin->roomy[s->class], s, next, prev);
}

void
slab_unlist(slab *s)
{
    s->listed = false;
    list_remove(s->bin->roomy[s->class], s, next, prev);
}

/* An empty slab for stacks of this size, or NULL. */
static slab *
empty_slab(size_t stride)
{
    for (int i = 0; i < nslabs && slabs_given(); i++) {
        slab *s = &slabs[i];
        if (atomic_load_explicit(&s->state, memory_order_acquire) != SlabEmpty || s->size < stride ||
            (s->fixed && s->stride != stride))
            continue;
        size_t count = s->size / stride;
        s->count = 0; /* a dump without a lock may be looking */
        s->stride = stride;
        s->count = count < s->room ? (uint32_t)count : s->room;
        slabs_taken();
        return s;
    }
    return NULL;
}

/* A new one. */
static slab *
new_slab(const bin *b, size_t stride)
{
    int n = atomic_load(&nslabs);
    if (n == MAX_SLABS)
        return NULL;
    size_t size = b->reserved < SLAB_MIN ? SLAB_MIN : b->reserved > SLAB_MAX ? SLAB_MAX : b->reserved;
    size_t count = size / stride ? size / stride : 1;
    char *mem = NULL;
    /* a limited address space gets smaller slabs before it gets none */
    while ((mem = mem_reserve(count * stride + 2 * PMD + SPARE)) == NULL && count > 1)
        count = count / 4 ? count / 4 : 1;
    if (!mem)
        return NULL;
    mem_unmap(mem + count * stride + 2 * PMD, SPARE);
    size_t words = (count + 63) / 64;
    uint64_t *bitmaps = calloc(3 * words, sizeof *bitmaps);
    if (!bitmaps) {
        mem_unmap(mem, count * stride + 2 * PMD);
        return NULL;
    }
    slab *s = &slabs[n];
    /* Bounds of stacks lie in the middle of what one page-table page maps: the guard of a stack and the top
     * of the one below it share it. */
    s->lo = (char *)(((uintptr_t)mem + PMD - 1) & ~(uintptr_t)(PMD - 1)) + PMD / 2;
    s->size = count * stride;
    s->stride = stride;
    s->room = (uint32_t)words * 64;
    s->count = (uint32_t)count;
    s->live = bitmaps;
    s->raw = bitmaps + words;
    s->dirty = bitmaps + 2 * words;
    reserved += s->size;
    atomic_store(&nslabs, n + 1);
    return s;
}

/* One with room for another stack of this size; NULL: there are no addresses. */
static slab *
roomy_slab(bin *b, int class, size_t stride)
{
    if (likely(b->roomy[class] != NULL))
        return b->roomy[class];
    slab *s = empty_slab(stride);
    if (!s)
        s = new_slab(b, stride);
    if (!s && give_slabs_back())
        s = empty_slab(stride);
    if (!s)
        return NULL;
    s->bin = b;
    s->class = (uint8_t)class;
    b->reserved += s->size;
    atomic_store(&s->state, SlabUsed);
    slab_list(s);
    return s;
}

/* Which of the default sizes the next stack has. */
static int
class_now(void)
{
    if (c_recursion_is_deep && nstacks < DEEP_STACKS && (bin0.roomy[0] || !mem_limited()))
        return 0;
    return nstacks < BIG_STACKS ? 1 : nstacks < MIDDLE_STACKS ? 2 : 3;
}

static const size_t class_size[STACK_CLASSES] = {DEEP_STACK, BIG_STACK, MIDDLE_STACK, SMALL_STACK};

/* The place of another stack in its slab, which is *in; NULL there: there are no addresses. */
static uint32_t
take(bin *b, slab **in)
{
    int class = b->max ? 0 : class_now();
    slab *s = roomy_slab(b, class, b->max ? b->max + CHUNK_READ + ts_stack_reserve : class_size[class]);
    if (!s && !b->max && class == 0)
        s = roomy_slab(b, 1, class_size[1]);
    for (int i = 0; !s && i < STACK_CLASSES; i++)
        s = b->roomy[i]; /* better another size than none */
    *in = s;
    if (!s)
        return 0;
    uint32_t nth;
    if (s->nraw) {
        while (!s->raw[s->rawhint])
            s->rawhint++;
        nth = s->rawhint * 64 + (uint32_t)__builtin_ctzll(s->raw[s->rawhint]);
        uint64_t bit = (uint64_t)1 << nth % 64;
        s->raw[nth / 64] &= ~bit;
        s->nraw--;
        s->ndirty -= (s->dirty[nth / 64] & bit) != 0;
        s->dirty[nth / 64] &= ~bit;
    }
    else {
        nth = s->used++;
        /* before `carving`: if sysmon sees this slab there with the next_stack of its earlier use, it
         * prepares stacks where none begin. Any other next_stack lies outside the slab, and prepare_some
         * leaves it alone. */
        atomic_store_explicit(&next_stack, s->lo + s->used * s->stride, memory_order_relaxed);
        atomic_store_explicit(&carving, s, memory_order_release);
    }
    if (!s->nraw && s->used == s->count)
        slab_unlist(s);
    return nth;
}

static char *
top_of(const slab *s, size_t nth)
{
    size_t colours = s->stride / PAGE / 10 | 1;
    if (colours > COLOURS_MAX)
        colours = COLOURS_MAX;
    return s->lo + (nth + 1) * s->stride - CHUNK_READ - nth % colours * PAGE;
}

static g *
g_at(const slab *s, uint32_t nth)
{
    return (g *)(top_of(s, nth) - ((sizeof(g) + 63) & ~(size_t)63));
}

/* -- walking ----------------------------------------------------------------------------------- */

g *
allgs_next(allgs *at)
{
    if (!at->begun) {
        at->begun = true;
        g *gp = maing;
        if (gp && !gp->slab)
            return gp;
    }
    for (int n = atomic_load(&nslabs); at->slab < n; at->slab++, at->word = 0) {
        const slab *s = &slabs[at->slab];
        for (;;) {
            while (at->bits) {
                uint32_t nth = (at->word - 1) * 64 + (uint32_t)__builtin_ctzll(at->bits);
                at->bits &= at->bits - 1;
                if (nth < s->count)
                    return g_at(s, nth);
            }
            if (at->word * 64 >= s->used)
                break;
            at->bits = __atomic_load_n(&s->live[at->word++], __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

/* In the child of a fork all are lost but `me`, and all thread states but its own are gone. */
void
stacks_after_fork(const g *me)
{
    atomic_store(&working, false);
    reclaim_after_fork();
    allgs all = {0};
    for (g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (gp == me)
            continue;
        g_lost(gp);
        if (gp->slab) { /* its stack stays as it is, and is never used again */
            slab *s = slab_of(gp);
            s->live[gp->nth / 64] &= ~((uint64_t)1 << gp->nth % 64);
        }
    }
    for (bin *b = bins; b; b = b->next) {
        g *lists[] = {b->free, b->idle, b->doomed};
        for (int i = 0; i < 3; i++) {
            for (g *gp = lists[i]; gp; gp = gp->schedlink)
                gp->ts = NULL;
        }
    }
}

static char *
guard_of(char *base, size_t stride)
{
    size_t red = redzone(stride);
    return red ? base + guard_size(stride) + red : base;
}

static bool
is_prepared(char *base)
{
    char *hi = atomic_load_explicit(&ahead_hi, memory_order_acquire);
    return base < hi && base >= atomic_load_explicit(&ahead_lo, memory_order_relaxed);
}

/* Neither sysmon (stackwork) nor is_prepared (the GIL) looks meanwhile, so the order is free. carving: sysmon
 * prepares nothing more here. ahead_hi: a stack whose guard goes is not taken for prepared when it is used
 * again. next_stack stays. */
void
forget_ahead(slab *s)
{
    if (carving == s)
        carving = NULL;
    if (ahead_hi > s->lo && ahead_hi <= s->lo + s->size) {
        atomic_store(&ahead_hi, NULL);
        goal = NULL;
    }
}

static bool
prepare_some(void)
{
    static int64_t seen;
    int64_t total = nstacks;
    bool many = total - seen >= AHEAD_STEP / 4;
    seen = total;
    const slab *s = carving;
    char *next = next_stack, *hi = ahead_hi;
    if (!s)
        return false;
    char *end = s->lo + s->count * s->stride;
    if (next < s->lo || next >= end)
        return false; /* another slab, just now */
    if (many) {
        int64_t ahead = total / 8 < AHEAD_MAX ? total / 8 : AHEAD_MAX;
        goal = end - next < (ptrdiff_t)(ahead * s->stride) ? end : next + ahead * s->stride;
        if (hi <= next || hi > end) {
            /* overtaken: begin where it will not be before this is done */
            hi = next + AHEAD_STEP * s->stride;
            atomic_store(&ahead_hi, NULL);
            atomic_store(&ahead_lo, hi);
        }
    }
    if (goal <= s->lo || goal > end || hi >= goal || hi < next)
        return false;
    char *guards[AHEAD_STEP];
    int count = 0;
    for (char *base = hi; count < AHEAD_STEP && base < goal; base += s->stride)
        guards[count++] = guard_of(base, s->stride);
    mem_guard_all(guards, count, guard_size(s->stride));
    for (int i = 0; i < count; i++) { /* each may be wanted at once */
        size_t nth = (size_t)(hi - s->lo) / s->stride;
        atomic_fetch_or_explicit((_Atomic char *)(top_of(s, nth) - 1), 0, memory_order_relaxed);
        hi += s->stride;
        atomic_store_explicit(&ahead_hi, hi, memory_order_release);
    }
    return true;
}

/* sysmon: prepares some of the next stacks, if many are being made. False: nothing to do. */
bool
stacks_prepare(void)
{
    if (!stackwork_try())
        return false;
    bool did = prepare_some();
    stackwork_done();
    return did;
}

static g *
stackalloc(bin *b)
{
    slab *s;
    uint32_t nth = take(b, &s);
    if (!s) {
        PyErr_Format(PyExc_MemoryError,
                     "no address space for another goroutine stack of %zu bytes (%lld stacks exist)",
                     b->max ? b->max : class_size[class_now()], (long long)nstacks);
        return NULL;
    }
    char *base = s->lo + nth * s->stride;
    size_t guard = guard_size(s->stride);
    if (!is_prepared(base))
        mem_guard(guard_of(base, s->stride),
                  guard); /* none to be had: an old kernel at vm.max_map_count; docs/limits.md */
    nstacks++;
    carved += s->stride;

    g *gp = g_at(s, nth);
    memset(gp, 0, sizeof *gp); /* locked memory cannot be given back */
    gp->slab = (uint32_t)(s - slabs) + 1;
    gp->nth = nth;
    gp->args = inline_args(gp);
    gp->stack_lo = base + guard;
    gp->stack_hi = (char *)((uintptr_t)((char *)gp->args - CHUNK_SIZE) & ~(uintptr_t)15);
    gp->sp = first_frame(gp->stack_hi, gomain);
    return gp;
}

static g *
pop(g **list)
{
    g *gp = *list;
    if (gp)
        *list = gp->schedlink;
    return gp;
}

static noinline g *
gfget_slow(bin *b)
{
    return b->idle ? pop(&b->idle) : b->doomed ? pop(&b->doomed) : stackalloc(b);
}

/* One writer at a time, with the GIL: no locked instruction for each goroutine. */
static inline void
count_live(int n)
{
    int64_t now = atomic_load_explicit(&nlive, memory_order_relaxed);
    atomic_store_explicit(&nlive, now + n, memory_order_relaxed);
}

g *
gfget(void)
{
    g *gp = pop(&bin_now->free);
    if (unlikely(!gp)) {
        gp = gfget_slow(bin_now);
        if (!gp)
            return NULL;
    }
    uint64_t *word = &slab_of(gp)->live[gp->nth / 64];
    check(!(*word >> gp->nth % 64 & 1));
    *word |= (uint64_t)1 << gp->nth % 64;
    count_live(1);
    return gp;
}

void
gfput(g *gp)
{
    slab *s = slab_of(gp);
    uint64_t *word = &s->live[gp->nth / 64];
    check(*word >> gp->nth % 64 & 1);
    *word &= ~((uint64_t)1 << gp->nth % 64);
    count_live(-1);
    gp->status = Gdead;
    gp->shrunk = false;
    gp->schedlink = s->bin->free;
    s->bin->free = gp;
}

/* The stacks of goroutines that ended wait for the next ones: they are in use. */
void
stack_stats(size_t *inuse, size_t *sys)
{
    size_t threads = sched.mcount > 1 ? (size_t)(sched.mcount - 1) * M_STACK : 0; /* m0's is the process's */
    *inuse = carved + morestack_bytes();
    *sys = reserved + sysstacks + threads + morestack_bytes();
}

/* Gives back what goroutines that do not run have touched of their stacks below where they are now: a deep
 * call is often the only one. The collector calls it; each time it looks at some goroutines more, at each of
 * them once after it has run. Differs from Go: Go halves a stack and moves it; here its addresses stay. */
#define SHRINK_MAX 4096

static void
shrink(g *gp)
{
    bool away = gp->status == Gwaiting || gp->status == Grunnable || gp->status == Gdead;
    if (gp->shrunk || !away || !gp->slab || gp->flags & G_MAIN || !gp->ts)
        return;
    char *sp = (char *)((uintptr_t)gp->sp & ~(uintptr_t)(PAGE - 1)) - PAGE;
    if (sp > gp->stack_lo && sp < gp->stack_hi)
        (void)mem_release(gp->stack_lo, (size_t)(sp - gp->stack_lo));
    gp->shrunk = true;
}

void
shrink_stacks(void)
{
    morestack_shrink();
    static allgs at;
    for (int n = 0; n < SHRINK_MAX; n++) {
        g *gp = allgs_next(&at);
        if (!gp) {
            at = (allgs){0};
            break;
        }
        shrink(gp);
    }
    /* Of the dead ones those that are not given up before long. */
    for (bin *b = bins; b; b = b->next) {
        g *lists[] = {b->free, b->idle};
        for (int i = 0; i < 2; i++) {
            int n = 0;
            for (g *gp = lists[i]; gp && n < KEEP; gp = gp->schedlink, n++)
                shrink(gp);
        }
    }
}

int64_t
stack_count(void)
{
    return nstacks;
}

int64_t
gfree_count(void)
{
    return nstacks - nlive;
}

char *
sysstack(size_t size)
{
    char *base = mem_reserve(size);
    if (!base)
        return NULL;
    sysstacks += size;
    mem_guard(base, PAGE);
    m0->g0_lo = base + PAGE;
    m0->g0_hi = base + size;
    return first_frame(base + size, g0_main);
}

/* -- overflow --------------------------------------------------------------------------------- */

static const slab *
slab_at(const char *addr)
{
    int n = atomic_load(&nslabs);
    for (int i = 0; i < n; i++) {
        if (addr >= slabs[i].lo && addr < slabs[i].lo + slabs[i].size)
            return &slabs[i];
    }
    return NULL;
}

size_t
stack_guard_hit(const void *addr)
{
    const slab *s = slab_at(addr);
    if (!s || (size_t)((const char *)addr - s->lo) % s->stride >= guard_size(s->stride))
        return 0;
    return s->bin->max ? s->bin->max : s->stride;
}
