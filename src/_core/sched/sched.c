/* sched.c: who runs where.
 *
 * The scheduler distributes runnable goroutines (g) over OS threads (m) that hold the right to run them (p).
 * As in Go, with one great difference: on a build with the GIL only one goroutine can be in the interpreter,
 * so a second P is of use only when the first one's goroutine is in C code that released the GIL. CPython
 * tells nobody when C code does that. sysmon finds out, and wakes an M that takes an idle P, or the P of the
 * blocked goroutine. Calls into C that are made through gort.cgo need not be found out (entercgo).
 *
 * Invariants
 *   1. All of this is read and written with the GIL held (core.h); the exceptions are marked there.
 *   2. A g is in at most one place: running on one M, in one run queue, in wait queues (status Gwaiting), or
 *      dead.
 *   3. An M without a P runs at most the goroutine that lost its P while it was in C or computed. At its next
 *      park it gets a P or stops.
 *   4. gp->m->curg == gp for every g that runs; an M's p and a P's m point at each other.
 *
 * Switching. A goroutine that parks picks the next one itself and switches to it directly, on its own stack;
 * the resumed side attaches its own thread state (resumed()). Only if there is nothing simple to run does it
 * switch to the M's own stack (g0), where findrunnable() may release the GIL and sleep.
 *
 * The main goroutine's home is m0, the process's main thread. Others run there too while main is parked; if
 * they did not, each switch between main and another goroutine would cost two thread switches. But if one of
 * them blocks in C there, main must not wait for it: then main runs on another M until it parks again.
 * Goroutines that are not known to park without blocking (G_UNPROVEN) do not run on m0, so that this is rare.
 *
 * Rejected
 *   - Waking another M as soon as there is work for an idle P (Go's wakep): both would fight for the GIL.
 */
#include "core.h"

#include "cpython/compat.h"
#include "hooks.h"
#include "os/annotate.h"
#include "os/arch/arch.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "sched/thread.h"
#include "sched/time.h"

g *coming_home;
struct sched sched = {.maxmcount = 10000, .timer0 = INT64_MAX, .forcegc = INT64_MAX};
_Thread_local m *this_m __attribute__((tls_model("initial-exec")));

const char *const waitreason_text[waitReasonCount] = {
#define X(name, text) text,
    WAIT_REASONS(X)
#undef X
};

noinline m *
getm(void)
{
    __asm__ volatile("");
    return this_m;
}

void
setm(m *mp)
{
    this_m = mp;
}

/* -- timers and signals ------------------------------------------------------------------------ */

/* What timers wake goes in front: it is late already. */
static void
attend(p *pp)
{
    /* before the looks: what sysmon sees later sets it again, at its next look at the latest */
    atomic_store_explicit(&sched.attention, false, memory_order_relaxed);
    int64_t now = nanotime();
    atomic_store_explicit(&sched.coarse, now, memory_order_relaxed);
    if (atomic_load_explicit(&sched.timer0, memory_order_relaxed) <= now) {
        /* collected first: put in front one by one, they would run in the reverse order of their times */
        sched.firing = true;
        runtimers(now);
        sched.firing = false;
        queue_prepend(&pp->runq, &sched.fired);
    }
    if (unlikely(forcegc_when() <= now))
        hooks.force_gc();
    interrupt_main();
}

int
check_signals(void)
{
    if (unlikely(sched.stopping)) {
        sched_ended();
        PyErr_SetString(Error, "the program has ended: nothing can wake this goroutine any more");
        return -1;
    }
    signals_clear(); /* before the handlers run: a signal that comes meanwhile sets it again */
    if (PyErr_CheckSignals() < 0) {
        signals_again(); /* of several signals the others may still wait */
        return -1;
    }
    return session_raise();
}

/* -- the scheduler's own stack ------------------------------------------------------------------ */

static bool
work_waits(void)
{
    int64_t now = nanotime();
    if (sched.runq.head || atomic_load(&sched.timer0) <= now || forcegc_when() <= now)
        return true;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        if (allp[i]->runq.head)
            return true;
    }
    return maing && maing->status == Gwaiting && signals_pending();
}

/* How long an M without work may sleep: if all Ps are idle, the M that falls asleep last waits for the first
 * timer and asks whether the program is dead. */
static int64_t
sleep_until(void)
{
    if (sched.npidle < sched.nprocs)
        return INT64_MAX; /* an M that has a P comes to the timers */
    int64_t again = checkdead(), timer0 = atomic_load(&sched.timer0);
    return again < timer0 ? again : timer0;
}

/* Gives back what dead goroutines leave behind: some of it, or all if there is nothing else to do. Others may
 * get the GIL meanwhile, and take the P. */
static void
reclaim(m *mp)
{
    for (;;) {
        int64_t now = nanotime();
        stacks_reclaim(now, mp->nextg || work_waits());
        if (!reclaim_due(nanotime()) || mp->nextg || work_waits())
            return;
        PyEval_SaveThread();
        if (unlikely(sched.stopping)) /* before and after, as in stopm */
            sleep_forever(mp);
        gil_take(mp->ts);
        if (unlikely(sched.stopping))
            return;
    }
}

/* mp is locked to a goroutine: returns that one if it was given to mp with a P, else NULL after a sleep. */
static g *
its_own_goroutine(m *mp)
{
    g *gp = mp->lockedg;
    if (mp->nextg == gp && mp->p) {
        mp->nextg = NULL;
        return gp;
    }
    handoffp(mp); /* if a timer runs, to an M that waits for it: this one sleeps without a limit */
    if (mp == m0)
        interrupt_main();
    stopm(mp, sched.npidle == sched.nprocs ? checkdead() : INT64_MAX);
    return NULL;
}

/* A P for mp: an idle one, or, if sysmon woke mp for that and there still is work, that of a goroutine that
 * makes no progress. */
static bool
find_p(m *mp, bool takeover)
{
    bool work = takeover && (work_waits() || reclaim_due(nanotime()));
    p *pp = !takeover || work ? pidleget() : NULL;
    if (pp)
        acquirep(mp, pp);
    else if (work)
        pp = retake(mp);
    return pp != NULL;
}

/* mp may not simply run gp: gives gp and the P to the M that may. True: mp runs it all the same. False: look
 * again. */
static bool
hand_on(m *mp, g *gp)
{
    p *pp = mp->p;
    m *to = NULL; /* any M but m0 */
    if (gp->flags & G_LOCKED) {
        if (gp->lockedm == mp)
            return true;
        /* its own M sleeps in its_own_goroutine; m0, which main has asked for and not got yet, may be
         * anywhere */
        to = midleget(gp->lockedm, NULL);
        if (!to && gp->flags & G_MAIN && m0->lockedg != gp) {
            coming_home = gp;
            m0->deny = 0xff; /* so that it comes to findrunnable at the next park */
            return false;
        }
        if (!to) { /* not asleep yet: let it come round */
            /* queued first: handoffp leaves the P idle if nothing is */
            queue_push(&sched.runq, gp);
            handoffp(mp);
            stopm(mp, nanotime() + 100000);
            return false;
        }
    }
    else if (gp->flags & G_MAIN) { /* home, if nobody is in the way there */
        to = midleget(m0, NULL);
        if (!to)
            return true;
    }
    /* else mp is m0 and gp might block it */
    mp->p = NULL;
    if (likely(startm_on(to, pp, gp)))
        stopm(mp, INT64_MAX);
    return false; /* no M could be had, and m0 now runs everything */
}

/* On m0: main, which is coming home, is the next, or queued if m0 has no P or another one to run first. */
static void
bring_main_home(void)
{
    m0->deny = m0_denies();
    if (m0->p && !m0->nextg)
        m0->nextg = coming_home;
    else {
        queue_push(&sched.runq, coming_home);
        sysmon_notice();
    }
    coming_home = NULL;
}

/* mp, which has a P, has nothing to run with it. */
static void
sleep_idle(m *mp)
{
    p *pp = mp->p;
    mp->p = NULL;
    pidleput(pp); /* before sleep_until, which asks whether all Ps are idle */
    stopm(mp, sleep_until());
}

/* One look for a goroutine that mp, which has a P if there is one, is to run. NULL: look again: mp has slept,
 * may have given up the GIL, or what there was is for another M. takeover: sysmon has woken mp for one. */
static g *
look_for_work(m *mp, bool takeover)
{
    if (unlikely(mp->lockedg != NULL))
        return its_own_goroutine(mp);
    if (unlikely(coming_home != NULL) && mp == m0)
        bring_main_home();
    if (!mp->p && !find_p(mp, takeover)) {
        if (mp == m0)
            interrupt_main(); /* a signal between this and the sleep does not end it: see checkdead */
        stopm(mp, sleep_until());
        return NULL;
    }
    p *pp = mp->p;
    attend(pp);
    if (unlikely(reclaim_due(sched.coarse))) {
        reclaim(mp);
        return NULL;
    }
    g *gp = mp->nextg;
    mp->nextg = NULL;
    if (!gp)
        gp = nextg(pp);
    if (!gp) {
        sleep_idle(mp); /* and one idle M waits for the first timer */
        return NULL;
    }
    if (unlikely(gp->flags & mp->deny))
        return hand_on(mp, gp) ? gp : NULL;
    /* just before gp runs: the M that stands by is told the schedtick that gp will have */
    if (takeover && mp->chain && (pp->runq.head || sched.runq.head) && !atomic_load(&sched.ntakeover))
        wake_for_takeover(pp, true);
    return gp;
}

/* The goroutine that mp, which has a P when this returns, is to run. On g0, mp->ts attached; may sleep. */
static g *
findrunnable(m *mp)
{
    g *gp;
    do {
        validate();
        if (unlikely(sched.stopping))
            stop_forever(mp);
        bool takeover = atomic_exchange(&mp->takeover, false);
        if (takeover) /* it has the GIL: while it waited for it sysmon sent no other one */
            atomic_fetch_sub(&sched.ntakeover, 1);
        gp = look_for_work(mp, takeover);
    } while (!gp);
    return gp;
}

static inline void
execute_from_g0(m *mp, g *gp)
{
    /* before the switch: from these gp knows which goroutine it is, and on which M (resumed, gomain) */
    gp->status = Grunning;
    gp->m = mp;
    mp->curg = gp;
    mp->p->schedtick++;
    annotate_leave(&mp->g0_fake, gp->stack_lo, gp->stack_hi);
    gort_switch(&mp->g0sp, gp->sp);
    annotate_arrive(mp->g0_fake);
}

/* In the child of a fork. The handler cannot make it: it runs under CPython's lock for the list of thread
 * states. */
static noinline void
scheduler_state(m *mp)
{
    mp->ts = ts_new();
    if (!mp->ts)
        throw("no memory in the child of a fork");
    if (!mp->g0_lo) /* it is this thread's */
        thread_bounds(&mp->g0_lo, &mp->g0_hi);
    ts_set_stack(mp->ts, mp->g0_lo, mp->g0_hi);
    ts_set_thread(mp->ts, scheduler_ident(mp));
}

/* The scheduler's loop, on g0. Returns when the thread must end. */
void
mloop(m *mp)
{
    for (;;) {
        if (unlikely(!mp->ts))
            scheduler_state(mp);
        /* first: until here the attached thread state is that of the goroutine that left, which another M may
         * attach once the GIL is given up */
        ts_switch(mp->tss, mp->ts);
        if (unlikely(mp->exiting)) {
            mp->lockedg = NULL;
            p *pp = mp->p ? mp->p : pidleget();
            mp->p = NULL;
            allm_remove(mp); /* before startm, which may need a thread: the limit counts this one */
            if (pp)
                startm(pp, NULL); /* some M has to fall asleep last */
            return;
        }
        g *gp = findrunnable(mp);
        execute_from_g0(mp, gp);
    }
}

void
g0_main(void)
{
    annotate_arrive(NULL);
    mloop(m0);
    throw("the main thread's scheduler returned");
}

/* -- switching --------------------------------------------------------------------------------- */

/* The first thing a goroutine does when it runs again. */
void
resumed(g *gp)
{
    m *mp = gp->m;
    ts_switch(mp->tss, gp->ts);
    if (unlikely(gp->flags & G_MAIN)) {
        main_thread_set(true); /* before the look: from now on CPython's handler forces the breaker itself */
        if (signals_pending())
            signals_force();
        if (unlikely(mp != m0)) {
            sched.mainmoves++;
            sigmask_move(true); /* after main_thread_set: a signal that this lets in finds main here */
        }
    }
    if (unlikely(sched.owing))
        hooks.pay_owed(); /* last: it may run any Python code */
}

static inline void
switch_to(m *mp, g *gp, g *next)
{
    next->status = Grunning;
    next->m = mp;
    mp->curg = next;
    annotate_leave(&gp->fake_stack, next->stack_lo, next->stack_hi);
    gort_switch(&gp->sp, next->sp);
    annotate_arrive(gp->fake_stack);
}

noinline void
switch_to_g0(m *mp, g *gp)
{
    annotate_leave(&gp->fake_stack, mp->g0_lo, mp->g0_hi);
    gort_switch(&gp->sp, mp->g0sp);
    annotate_arrive(gp->fake_stack);
}

/* Leaves gp, whose new status is set, and returns when it is resumed. */
static inline void
leave(g *gp)
{
    m *mp = gp->m;
    p *pp = mp->p;
    bool reborn = false; /* it was dead, and a timer has started its next life */
    /* before attend: a timer may ready gp, and what is queued has no M */
    gp->m = NULL;
    mp->curg = NULL;
    if (likely(pp != NULL)) {
        /* before attend, too: the flags, and what fn stands for, may be of the next life after it */
        if (unlikely((gp->flags & G_PROOF) == G_UNPROVEN)) {
            gp->flags &= (uint8_t)~G_UNPROVEN; /* it came from its start to a park without blocking */
            if (gp->status != Gdead)
                proven(gp, true);
        }
        if (unlikely(atomic_load_explicit(&sched.attention, memory_order_relaxed))) {
            bool dead = gp->status == Gdead;
            attend(pp);
            reborn = dead && gp->status != Gdead;
            if (reclaim_due(sched.coarse)) { /* that is done on g0 */
                switch_to_g0(mp, gp);
                return;
            }
        }
        g *next = pp->runq.head;
        /* schedtick last: at the 61st g0 finds it as it is here, and nextg takes from the global queue */
        if (likely(next &&
                   (!(next->flags & mp->deny) || (next == gp && !reborn && !(coming_home && mp == m0))) &&
                   (++pp->schedtick % 61 || !sched.runq.head))) {
            validate();
            queue_pop(&pp->runq);
            if (next == gp) {
                gp->m = mp;
                mp->curg = gp;
                gp->status = Grunning;
                return;
            }
            switch_to(mp, gp, next);
            return;
        }
    }
    switch_to_g0(mp, gp);
}

void
gopark(g *gp, enum waitreason why)
{
    check(gp->status == Grunning);
    gp->status = Gwaiting;
    gp->waitreason = (uint8_t)why;
    gp->shrunk = false;
    gp->waitsince = atomic_load_explicit(&sched.coarse, memory_order_relaxed);
    if (unlikely(gp->flags & (G_THREAD | G_MAIN))) {
        if (gp->flags & G_THREAD || !sched.sysmonstarted) /* the coarse clock may stand still */
            gp->waitsince = nanotime();
        if (gp->flags & G_THREAD) {
            park_thread(gp);
            return;
        }
        if (unlikely(sched.stopping)) {
            gp->status = Grunning;
            return;
        }
        main_leaves(gp);
        interrupt_main(); /* a signal that came before the line above; it finds Gwaiting */
    }
    ts_free_spare_chunk(gp->ts);
    leave(gp);
    resumed(gp);
}

void
goschedule(g *gp)
{
    if (gp->flags & G_THREAD) {
        PyThreadState *ts = PyEval_SaveThread();
        PyEval_RestoreThread(ts);
        return;
    }
    if (unlikely(sched.stopping))
        return;
    m *mp = gp->m;
    if (gp->flags & G_MAIN)
        main_leaves(gp);
    gp->status = Grunnable;
    gp->shrunk = false;
    queue_push(mp->p ? &mp->p->runq : &sched.runq, gp);
    if (unlikely(!mp->p))
        sysmon_notice();
    leave(gp);
    resumed(gp);
}

void
godead(g *gp)
{
    m *mp = gp->m;
    if (unlikely(gp->lockcount)) {
        /* it ends locked: its thread ends with it */
        gp->lockcount = 0;
        gp->greenlets = false;
        gp->lockedm = NULL;
        mp->exiting = true;
        mp->deny = 0xff;
        gp->flags &= (uint8_t)~G_LOCKED;
    }
    leave(gp);
}

/* Queues a runnable g, and sees to it that it runs. */
static void
runqput(g *gp)
{
    m *mp = getm();
    p *pp = mp ? mp->p : NULL;
    if (likely(pp != NULL)) {
        queue_push(unlikely(sched.firing) ? &sched.fired : &pp->runq, gp);
        sysmon_notice(); /* after the push, without a fence: if sysmon misses it, it sleeps 10 ms at most */
        return;
    }
    pp = pidleget();
    if (!pp) {
        /* all Ps are taken: one of them comes to the global queue, or sysmon sees that none does */
        queue_push(&sched.runq, gp);
        sysmon_notice();
        return;
    }
    if (mp && mp->curg && !(gp->flags & G_MAIN)) {
        /* a goroutine that had lost its P is back: it takes the idle one */
        acquirep(mp, pp);
        queue_push(&pp->runq, gp);
        return;
    }
    m *home = gp->flags & G_MAIN ? midleget(m0, NULL) : NULL;
    if (!home)
        queue_push(&sched.runq, gp);
    startm_on(home, pp, home ? gp : NULL);
}

void
goready(g *gp)
{
    if (gp->status != Gwaiting) {
        /* main, interrupted by a signal, is on its way already: it finds `fired` */
        check(gp->flags & G_MAIN); /* anybody else has broken the rule of Python code */
        return;
    }
    gp->status = Grunnable;
    if (unlikely(gp->flags & G_THREAD)) {
        wake_thread(gp);
        return;
    }
    runqput(gp);
}

void
timer_added(void)
{
    if (unlikely(!sched.sysmonstarted))
        sysmon_start(); /* the goroutine that has a P may stay in C: main, while a plain thread sleeps here */
    p *pp = pidleget();
    if (pp)
        startm(pp, NULL);
    else
        sysmon_wake();
}

void
newproc1(g *gp)
{
    /* before gp is queued: if no thread can be had the program dies in there, and its hooks must not find
     * gp */
    if (unlikely(!sched.sysmonstarted))
        sysmon_start();
    /* before the queue, whose goroutines are Grunnable and without an M (p.c) */
    gp->status = Grunnable;
    gp->m = NULL;
    runqput(gp);
}

/* -- the beginning ------------------------------------------------------------------------------- */

int
schedinit(void)
{
    sched.starttime = nanotime();
    atomic_store(&sched.coarse, sched.starttime);
    sched.goidgen = 1;
    sched.ngoroutines = 1;
    if (procresize(1) < 0)
        return -1;
    if (on_main_thread())
        return bind_main();
    return 0; /* imported by another thread: getg() binds the main thread when it comes here first */
}
