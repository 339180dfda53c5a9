/* stack.c: where goroutines live.
 *
 * A stack is a stretch of a large reserved slab; only what is touched costs memory. From its upper end downwards:
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
 * Size. C code sets the pace: CPython bounds recursion in C by a count, not by the stack, so a stack must hold what a
 * thread's would: 8 MiB. But each stack of 2 MiB or more costs a page-table page beside its own page. After the first
 * BIG_STACKS, which is more than most programs ever have at once, stacks are smaller, with a C recursion limit to match
 * (3.12 and later; 3.11 has one counter for Python and C, and runs into the guard), and smaller again for those who
 * have very many. The hungriest single function known in the standard library, of decimal, takes 256 KiB.
 *
 * Most of what a first start costs is the kernel's work: the guard, the zeroed page. While goroutines are made by the
 * hundred, sysmon does it in advance (stacks_ahead), on another core.
 *
 * Tops are spread over different pages of the stride ("colours"): equal low address bits would put all tops into the
 * same few sets of the TLB and the caches.
 *
 * Differs from Go: stacks do not grow by copying, since C frames hold addresses into them. They are virtual memory
 * that the kernel fills in.
 */
#include "core.h"

#include "compat.h"
#include "os.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096
/* The reserve of the first stacks, of the next ones, and of the rest. */
#define BIG_STACK (8UL << 20)
#define BIG_STACKS 1024
#define MIDDLE_STACK (832UL << 10)
#define MIDDLE_STACKS 65536
#define SMALL_STACK (448UL << 10)
#define SLAB_MIN (256UL << 20)
#define SLAB_MAX (8UL << 30)
#define PMD (2UL << 20) /* mapped by one page-table page */
#define MAX_SLABS 65536
#define AHEAD_MAX 2048 /* stacks: 8 MiB of tops */
#define AHEAD_STEP 32

extern void gort_entry(void);

typedef struct {
    char *lo, *hi;
    size_t stride;
} slab;

static slab slabs[MAX_SLABS];
static _Atomic int nslabs;         /* grows under the GIL; read by the signal handler */
static _Atomic(char *) next_stack; /* read by sysmon */
static char *slab_end;
static size_t slab_stride, reserved, carved, sysstacks;
static size_t max_stack; /* 0: the sizes above */
static _Atomic int64_t nstacks;
/* What sysmon has prepared. It writes hi = NULL, lo, hi in this order; readers take hi first. */
static _Atomic(char *) ahead_lo, ahead_hi;

size_t
set_max_stack(size_t n)
{
    size_t old = max_stack ? max_stack : BIG_STACK;
    if (n) {
        n = (n + PAGE - 1) & ~(size_t)(PAGE - 1);
        max_stack = n == BIG_STACK ? 0 : n;
        slab_end = next_stack; /* the rest of this slab has the wrong stride */
    }
    return old;
}

static size_t
stride_now(void)
{
    if (max_stack)
        return max_stack;
    return nstacks < BIG_STACKS ? BIG_STACK : nstacks < MIDDLE_STACKS ? MIDDLE_STACK : SMALL_STACK;
}

static char *
carve(size_t stride)
{
    if (stride != slab_stride || next_stack == slab_end) {
        int n = atomic_load(&nslabs);
        if (n == MAX_SLABS)
            return NULL;
        size_t size = reserved < SLAB_MIN ? SLAB_MIN : reserved > SLAB_MAX ? SLAB_MAX : reserved;
        size_t count = size / stride ? size / stride : 1;
        char *mem = NULL;
        /* a limited address space gets smaller slabs before it gets none */
        while ((mem = mem_reserve(count * stride + 2 * PMD)) == NULL && count > 1)
            count /= 4;
        if (!mem)
            return NULL;
        /* Bounds of stacks lie in the middle of what one page-table page maps: the guard of a stack and the top of
         * the one below share it. */
        mem = (char *)(((uintptr_t)mem + PMD - 1) & ~(uintptr_t)(PMD - 1)) + PMD / 2;
        reserved += count * stride;
        slabs[n] = (slab){mem, mem + count * stride, stride};
        atomic_store(&nslabs, n + 1);
        next_stack = mem;
        slab_end = mem + count * stride;
        slab_stride = stride;
    }
    char *base = next_stack;
    next_stack += stride;
    carved += stride;
    return base;
}

/* Builds the frame from which gort_switch starts gort_entry, which calls fn. */
static void *
first_frame(char *hi, void (*fn)(void))
{
    uint64_t *sp = (uint64_t *)hi;
#if defined(__x86_64__)
    *--sp = 0; /* gort_entry starts with the stack aligned to 16 */
    *--sp = 0;
    *--sp = (uint64_t)(uintptr_t)gort_entry;
    *--sp = 0;                       /* rbp */
    *--sp = 0;                       /* rbx */
    *--sp = (uint64_t)(uintptr_t)fn; /* r12 */
    *--sp = 0;                       /* r13 */
    *--sp = 0;                       /* r14 */
    *--sp = 0;                       /* r15 */
    uint32_t mxcsr;
    uint16_t fpcw;
    __asm__("stmxcsr %0" : "=m"(mxcsr));
    __asm__("fnstcw %0" : "=m"(fpcw));
    *--sp = (uint64_t)fpcw << 32 | mxcsr;
#elif defined(__aarch64__)
    sp -= 176 / 8;
    memset(sp, 0, 176);
    sp[0] = (uint64_t)(uintptr_t)fn;          /* x19 */
    sp[11] = (uint64_t)(uintptr_t)gort_entry; /* x30 */
    uint64_t fpcr;
    __asm__("mrs %0, fpcr" : "=r"(fpcr));
    sp[20] = fpcr;
#else
#error "gort builds on Linux x86-64 and aarch64 only"
#endif
    return sp;
}

static char *
top_of(const slab *s, char *base)
{
    size_t colours = s->stride / PAGE / 8;
    if (colours > 64)
        colours = 64;
    size_t nth = (size_t)(base - s->lo) / s->stride;
    return base + s->stride - (colours ? nth * 7 % colours * PAGE : 0);
}

static bool
is_prepared(char *base)
{
    char *hi = atomic_load_explicit(&ahead_hi, memory_order_acquire);
    return base < hi && base >= atomic_load_explicit(&ahead_lo, memory_order_relaxed);
}

/* sysmon: prepares some of the next stacks, if many are being made. False: nothing to do. */
bool
stacks_ahead(void)
{
    static int64_t seen;
    static char *goal;
    int64_t total = nstacks;
    bool many = total - seen >= AHEAD_STEP / 4;
    seen = total;
    int n = nslabs;
    if (n == 0)
        return false;
    const slab *s = &slabs[n - 1];
    char *next = next_stack, *hi = ahead_hi;
    if (next < s->lo || next >= s->hi)
        return false; /* a new slab, just now */
    if (many) {
        int64_t ahead = total / 8 < AHEAD_MAX ? total / 8 : AHEAD_MAX;
        goal = s->hi - next < (ptrdiff_t)(ahead * s->stride) ? s->hi : next + ahead * s->stride;
        if (hi <= next || hi > s->hi) {
            /* overtaken: begin where it will not be before this is done */
            hi = next + AHEAD_STEP * s->stride;
            atomic_store(&ahead_hi, NULL);
            atomic_store(&ahead_lo, hi);
        }
    }
    if (goal <= s->lo || goal > s->hi || hi >= goal || hi < next)
        return false;
    char *guards[AHEAD_STEP];
    int count = 0;
    for (char *base = hi; count < AHEAD_STEP && base < goal; base += s->stride)
        guards[count++] = base;
    mem_guard_pages(guards, count);
    for (int i = 0; i < count; i++) { /* each may be wanted at once */
        atomic_fetch_or_explicit((_Atomic char *)(top_of(s, hi) - 1), 0, memory_order_relaxed);
        hi += s->stride;
        atomic_store_explicit(&ahead_hi, hi, memory_order_release);
    }
    return true;
}

g *
stackalloc(void)
{
    size_t stride = stride_now();
    char *base = carve(stride);
    if (!base) {
        PyErr_Format(PyExc_MemoryError,
                     "no address space for another goroutine stack of %zu bytes (%lld stacks exist)", stride,
                     (long long)nstacks);
        return NULL;
    }
    const slab *s = &slabs[nslabs - 1];
    if (!is_prepared(base))
        mem_guard(base, PAGE); /* none to be had: an old kernel at vm.max_map_count; docs/limits.md */
    char *top = top_of(s, base);
    nstacks++;

    char *at = top - ((sizeof(g) + 63) & ~(size_t)63);
    g *gp = (g *)at;
    gp->args = inline_args(gp);
    at = (char *)gp->args - CHUNK_SIZE;
    gp->stack_lo = base + PAGE;
    gp->stack_hi = (char *)((uintptr_t)at & ~(uintptr_t)15);
    gp->c_budget = ts_c_budget((size_t)(gp->stack_hi - gp->stack_lo));
    gp->sp = first_frame(gp->stack_hi, gomain);
    return gp;
}

/* The stacks of goroutines that ended wait for the next ones: they are in use. */
void
stack_stats(size_t *inuse, size_t *sys)
{
    size_t threads = sched.mcount > 1 ? (size_t)(sched.mcount - 1) * M_STACK : 0; /* m0's is the process's */
    *inuse = carved;
    *sys = reserved + sysstacks + threads;
}

/* Gives back what goroutines that do not run have touched of their stacks below where they are now: a deep call
 * is often the only one. Each is looked at once after it has run, and not too many at a time. The collector calls it.
 * Differs from Go: Go halves a stack and moves it; here its addresses stay. */
#define SHRINK_MAX 4096

void
shrink_stacks(void)
{
    int n = 0;
    for (g *gp = sched.allgs; gp && n < SHRINK_MAX; gp = gp->alllink) {
        bool away = gp->status == Gwaiting || gp->status == Grunnable || gp->status == Gdead;
        if (gp->shrunk || !away || gp->flags & (G_MAIN | G_THREAD) || !gp->ts)
            continue;
        char *sp = (char *)((uintptr_t)gp->sp & ~(uintptr_t)(PAGE - 1)) - PAGE;
        if (sp > gp->stack_lo && sp < gp->stack_hi)
            (void)mem_release(gp->stack_lo, (size_t)(sp - gp->stack_lo));
        gp->shrunk = true;
        n++;
    }
}

int64_t
stack_count(void)
{
    return nstacks;
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

size_t
stack_guard_hit(const void *addr)
{
    int n = atomic_load(&nslabs);
    for (int i = 0; i < n; i++) {
        if ((char *)addr >= slabs[i].lo && (char *)addr < slabs[i].hi) {
            size_t off = (size_t)((char *)addr - slabs[i].lo) % slabs[i].stride;
            return off < PAGE ? slabs[i].stride : 0;
        }
    }
    return 0;
}
