/* reclaim.c: gives back what goroutines that have ended leave behind: thread states, stacks, page tables.
 *
 *     bin.free -> (tick) bin.idle -> (tick) bin.doomed -> given up -> the stack's memory, or the whole
 *     slab's, is back
 *
 * A tick comes every INTERVAL while there are more than KEEP dead goroutines. New goroutines are taken from
 * the front of these lists, so what is in `idle` when a tick comes was not needed for a whole interval.
 *
 * Batches. An M does the work on its g0 between two goroutines, for BATCH at a time, so that nobody waits for
 * the GIL for longer. sysmon sees to it that an M does (stacks_when). There are two passes. First, goroutines
 * are given up: their thread states are deleted. No Python code runs then, because a thread state that was
 * reset owns nothing. Then the slabs are swept. If all stacks of a slab are given up, it is mapped anew,
 * which gives back its page tables too, and makes it fit for stacks of any size; sysmon does that, since it
 * takes milliseconds and needs no GIL. Otherwise the same is done to stacks that are many in a row; where
 * there are fewer their memory goes, and their guards stay. Thread states come from libc, which keeps what is
 * freed: sysmon has libc give it back.
 *
 * Invariants
 *   1. Addresses of stacks stay: a g that was given up reads as idle and without a thread state, or as zeros.
 *      So sysmon and signal handlers may look at any g.
 *   2. A slab is SlabGiving from the sweep that finds all its stacks given up until it is mapped anew. Nobody
 *      else uses it.
 *
 * Differs from Go, which keeps dead gs for ever, without their stacks.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/annotate.h"
#include "os/os.h"
#include "sched/slab.h"
#include "sched/stack.h"
#include "sched/sysmon.h"

#include <string.h>

#define MS 1000000
#define INTERVAL ((int64_t)3000 * MS)
#define BATCH (1 * MS)
#define REST (20 * MS)   /* between two batches, in a program that has work */
#define RUN 256          /* stacks that go back by one call */
#define MANY (4UL << 20) /* bytes: there are page tables in between */
#define TRIM 256         /* thread states that are worth a call of libc */

_Atomic int64_t reclaim_time = INT64_MAX;
static _Atomic int giving, given; /* slabs that are SlabGiving, and SlabEmpty */
static _Atomic int64_t freed;     /* thread states, since libc was asked to give memory back */
static _Atomic bool trim;         /* libc is to be asked */
static int64_t nexttick;
static bool unswept; /* some memory of what was given up is not back yet */

/* -- without the GIL ------------------------------------------------------------------------------ */

/* Under stackwork. */
static void
map_anew(slab *s)
{
    s->fixed |= !mem_renew(s->lo, s->size);
    /* before the state: a thread that sees SlabEmpty takes the slab, and one off this */
    atomic_fetch_add(&given, 1);
    atomic_store_explicit(&s->state, SlabEmpty, memory_order_release); /* after `fixed` and the memory */
    atomic_fetch_sub(&giving, 1);
}

static void
finish(void)
{
    int n = atomic_load(&nslabs);
    for (int i = 0; i < n && atomic_load(&giving) > 0; i++) {
        if (atomic_load(&slabs[i].state) == SlabGiving)
            map_anew(&slabs[i]);
    }
    if (atomic_exchange(&trim, false))
        mem_trim();
}

void
reclaim_after_fork(void)
{
    int n = atomic_load(&nslabs), counts[SlabEmpty + 1] = {0};
    for (int i = 0; i < n; i++)
        counts[atomic_load(&slabs[i].state)]++;
    atomic_store(&giving, counts[SlabGiving]);
    atomic_store(&given, counts[SlabEmpty]);
}

void
stacks_finish(void)
{
    if ((atomic_load_explicit(&giving, memory_order_relaxed) ||
         atomic_load_explicit(&trim, memory_order_relaxed)) &&
        stackwork_try()) {
        finish();
        stackwork_done();
    }
}

bool
slabs_given(void)
{
    return atomic_load_explicit(&given, memory_order_relaxed) > 0;
}

void
slabs_taken(void)
{
    atomic_fetch_sub(&given, 1);
}

bool
give_slabs_back(void)
{
    while (!stackwork_try())
        thread_yield(); /* perhaps with the GIL: a holder of this lock never waits for that */
    finish();
    stackwork_done();
    return slabs_given();
}

int64_t
stacks_when(int64_t now)
{
    int64_t at = atomic_load_explicit(&reclaim_time, memory_order_relaxed);
    if (at == INT64_MAX && gfree_count() > KEEP && sched.sysmonstarted)
        atomic_store(&reclaim_time, at = now + INTERVAL);
    return at;
}

/* -- with the GIL --------------------------------------------------------------------------------- */

/* False: it stays as it is. Its thread state has something to release, which may run any Python code. */
static bool
give_up(g *gp)
{
    PyThreadState *ts = gp->ts;
    if (ts && !ts_is_clean(ts))
        return false;
    slab *s = slab_of(gp);
    uint32_t nth = gp->nth;
    annotate_allocated(gp->sp, (size_t)((char *)gp - (char *)gp->sp));
    gp->ts = NULL; /* before it is deleted: sysmon and signal handlers may be looking at gp */
    gp->status = Gidle;
    if (ts) {
        ts_delete(ts);
        atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
    }
    uint64_t bit = (uint64_t)1 << nth % 64;
    s->raw[nth / 64] |= bit;
    s->dirty[nth / 64] |= bit;
    s->nraw++;
    s->ndirty++;
    if (nth / 64 < s->rawhint)
        s->rawhint = nth / 64;
    if (!s->listed)
        slab_list(s);
    nstacks--;
    carved -= s->stride;
    return true;
}

static void
give_up_some(int64_t until)
{
    /* once is enough: a thread that waits for the GIL from here on writes to its holder; these are not
     * attached */
    ts_settle();
    int n = 0;
    for (bin *b = bins; b; b = b->next) {
        while (b->doomed) {
            if (++n % 16 == 0 && nanotime() >= until)
                return;
            g *gp = b->doomed;
            b->doomed = gp->schedlink;
            if (!give_up(gp)) {
                gp->schedlink = b->free;
                b->free = gp;
            }
        }
    }
}

/* False: sysmon is at work on stacks just now. */
static bool
give_slab(slab *s)
{
    if (!stackwork_try())
        return false;
    /* from here on sysmon prepares nothing in s: only a stack made there would change that, with the GIL */
    forget_ahead(s);
    stackwork_done();
    slab_unlist(s);
    size_t words = s->room / 64;
    memset(s->raw, 0, words * sizeof *s->raw);
    memset(s->dirty, 0, words * sizeof *s->dirty);
    s->bin->reserved -= s->size;
    s->bin = NULL;
    s->used = s->nraw = s->ndirty = s->rawhint = 0;
    atomic_fetch_add(&giving, 1);        /* before the state: map_anew takes one off */
    atomic_store(&s->state, SlabGiving); /* last: from here on s is sysmon's */
    return true;
}

/* Gives back the memory of the stacks that are given up, in a slab that has others too; where they are many
 * in a row also their page tables, and with these their guards. False: not all of it yet. */
static bool
sweep_slab(slab *s, int64_t until)
{
    if (!stackwork_try())
        return false;
    forget_ahead(s); /* a stack that loses its guard below must not count as prepared when it is used again */
    stackwork_done();
    for (uint32_t nth = 0; s->ndirty && nth < s->used;) {
        if (!(s->dirty[nth / 64] >> nth % 64)) {
            nth = (nth / 64 + 1) * 64;
            continue;
        }
        nth += (uint32_t)__builtin_ctzll(s->dirty[nth / 64] >> nth % 64);
        uint32_t end = nth;
        for (; end < s->used && end - nth < RUN && s->dirty[end / 64] >> end % 64 & 1; end++)
            s->dirty[end / 64] &= ~((uint64_t)1 << end % 64);
        s->ndirty -= end - nth;
        char *lo = s->lo + nth * s->stride;
        size_t size = (end - nth) * s->stride;
        if (size < MANY || s->fixed || !mem_renew(lo, size))
            (void)mem_release(lo, size);
        nth = end;
        if (nanotime() >= until)
            return s->ndirty == 0;
    }
    return true;
}

/* True: all is swept. */
static bool
sweep(int64_t until)
{
    for (int i = 0; i < nslabs; i++) {
        slab *s = &slabs[i];
        if (!s->ndirty)
            continue;
        if (s->nraw == s->used ? !give_slab(s) : !sweep_slab(s, until))
            return false;
        if (nanotime() >= until)
            return false;
    }
    if (freed >= TRIM) {
        freed = 0;
        atomic_store(&trim, true);
    }
    return true;
}

static bool
any_doomed(void)
{
    for (const bin *b = bins; b; b = b->next) {
        if (b->doomed)
            return true;
    }
    return false;
}

/* What was idle is doomed, and what is free is idle. */
static void
tick(void)
{
    for (bin *b = bins; b; b = b->next) {
        b->doomed = b->idle;
        b->idle = b->free;
        b->free = NULL;
    }
}

void
stacks_reclaim(int64_t now, bool busy)
{
    if (!any_doomed() && now >= nexttick) {
        tick();
        nexttick = now + INTERVAL;
    }
    if (any_doomed() || unswept) {
        give_up_some(now + BATCH);
        unswept = any_doomed() || !sweep(now + BATCH);
    }
    int64_t end = nanotime();
    int64_t next = unswept ? end + (busy ? REST : 0) : gfree_count() > KEEP ? nexttick : INT64_MAX;
    atomic_store(&reclaim_time, next);
    if (atomic_load(&giving) || atomic_load(&trim))
        sysmon_wake();
}

void
stacks_reclaim_all(void)
{
    for (bool all = false; !all;) {
        for (bin *b = bins; b; b = b->next) {
            /* one that has just ended may be about to leave its thread state */
            g **lists[] = {&b->idle, ts_switch_is_direct() ? &b->free : &b->idle};
            for (int i = 0; i < 2; i++) {
                g **end = lists[i];
                while (*end)
                    end = &(*end)->schedlink;
                *end = b->doomed;
                b->doomed = *lists[i];
                *lists[i] = NULL;
            }
        }
        int64_t until = nanotime() + BATCH;
        give_up_some(until);
        all = !any_doomed() && sweep(until);
        unswept = !all;
        if (all && freed)
            atomic_store(&trim, true);
        PyThreadState *ts = PyEval_SaveThread(); /* each time: others may run between two batches */
        if (all)
            give_slabs_back();
        PyEval_RestoreThread(ts);
    }
}
