/* time.c: the timer heap, and sleep.
 *
 * Invariants
 *   1. heap is a 4-ary heap by `when`; a timer's index says where it is, -1: nowhere.
 *   2. sched.timer0 is the first timer's when, INT64_MAX if there is none; sysmon and idle Ms wait for it.
 *   3. A timer's f runs in the scheduler, on any stack: it runs no Python code, allocates nothing that the
 *      collector tracks and does not park. It may start goroutines and ready them.
 *
 * One heap for all Ps: the GIL lets only one goroutine at a time touch it, so Go's heap per P would gain
 * nothing.
 */
#include "sched/time.h"

#include "hooks.h"
#include "os/os.h"
#include "sched/sched.h"
#include "sched/sysmon.h"

#include <stdlib.h>

typedef struct {
    int64_t when; /* a copy: sifting touches the heap alone */
    timer *t;
} entry;

static entry *heap;
static int32_t nheap, capheap;

static inline void
place(int32_t i, entry e)
{
    heap[i] = e;
    e.t->index = i;
}

static void
siftup(int32_t i, entry e)
{
    while (i > 0) {
        int32_t up = (i - 1) / 4;
        if (e.when >= heap[up].when)
            break;
        place(i, heap[up]);
        i = up;
    }
    place(i, e);
}

static void
siftdown(int32_t i, entry e)
{
    for (;;) {
        int32_t c = i * 4 + 1;
        if (c >= nheap)
            break;
        int32_t end = c + 4 < nheap ? c + 4 : nheap, best = c;
        for (int32_t k = c + 1; k < end; k++) {
            if (heap[k].when < heap[best].when)
                best = k;
        }
        if (e.when <= heap[best].when)
            break;
        place(i, heap[best]);
        i = best;
    }
    place(i, e);
}

static inline void
set_timer0(void)
{
    atomic_store_explicit(&sched.timer0, nheap ? heap[0].when : INT64_MAX, memory_order_relaxed);
}

int
timer_reserve(int32_t n)
{
    if (n <= capheap - nheap)
        return 0;
    int64_t cap = capheap ? capheap : 64;
    while (cap - nheap < n)
        cap *= 2;
    entry *h = cap <= INT32_MAX ? realloc(heap, (size_t)cap * sizeof *h) : NULL;
    if (!h) {
        PyErr_NoMemory();
        return -1;
    }
    heap = h;
    capheap = (int32_t)cap;
    return 0;
}

void
addtimer(timer *t)
{
    siftup(nheap++, (entry){t->when, t});
    if (t->index == 0) {
        set_timer0(); /* before sysmon is told: without the GIL it looks at nothing else */
        m *mp = getm();
        if (!mp || !mp->p || !mp->curg) /* nobody here will look at the heap before it sleeps */
            timer_added();
        else if (unlikely(!sched.sysmonstarted))
            sysmon_start(); /* the goroutine that set it may stay in C, or compute */
        else
            sysmon_notice();
    }
}

bool
deltimer(timer *t)
{
    int32_t i = t->index;
    if (i < 0)
        return false;
    t->index = -1;
    entry last = heap[--nheap];
    if (i < nheap) {
        if (i > 0 && last.when < heap[(i - 1) / 4].when)
            siftup(i, last);
        else
            siftdown(i, last);
    }
    set_timer0();
    return true;
}

void
runtimers(int64_t now)
{
    while (nheap && heap[0].when <= now) {
        timer *t = heap[0].t;
        t->index = -1;
        entry last = heap[--nheap];
        if (nheap)
            siftdown(0, last);
        if (t->f(t, now))
            siftup(nheap++, (entry){t->when, t}); /* without a check: f adds none, so its place is free */
    }
    set_timer0();
}

/* The child of a fork: the goroutines that slept or waited are lost. Timers of channels go on, for those that
 * wait from now on. No Python code may run yet. */
void
timers_after_fork(void)
{
    for (int32_t i = 0; i < nheap; i++) {
        timer *t = heap[i].t;
        t->index = -1;
        hooks.timer_lost(t);
    }
    nheap = 0;
    set_timer0();
}

/* -- sleep -------------------------------------------------------------------------------------- */

typedef struct {
    timer t;
    wait w;
    sudog s;
    int64_t until;
} sleeper;

static bool
wake_sleeper(timer *t, int64_t now)
{
    (void)now;
    sleeper *s = (sleeper *)t;
    s->w.fired = &s->s; /* before goready, which does nothing if a signal has readied main already */
    goready(s->w.g);
    return false;
}

static inline enum turn
sleep_turn(void *of, g *gp, bool front)
{
    (void)front;
    sleeper *s = of;
    if (timer_reserve(1) < 0)
        return NOT_HAD;
    s->t = (timer){.when = s->until, .f = wake_sleeper, .index = -1};
    s->w = (wait){.g = gp};
    addtimer(&s->t);
    gopark(gp, waitReasonSleep);
    if (likely(s->w.fired != NULL))
        return HAD;
    deltimer(&s->t); /* before the handlers, which may raise: it lies on this stack */
    return INTERRUPTED;
}

int
gosleep(int64_t ns)
{
    g *gp = getg();
    if (!gp)
        return -1;
    if (ns <= 0) {
        goschedule(gp);
        return 0;
    }
    sleeper s = {.until = nanotime() + ns};
    return wait_until(gp, &s, sleep_turn, false, NULL);
}
