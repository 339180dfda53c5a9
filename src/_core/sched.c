/* sched.c: who runs where.
 *
 * The scheduler distributes runnable goroutines (g) over OS threads (m) that hold the right to run them (p). As in Go,
 * with one great difference: on a build with the GIL only one goroutine can be in the interpreter, so a second P is
 * of use only when the first one's goroutine is in C code that released the GIL. CPython tells nobody when C code does
 * that. sysmon finds out, and wakes an M that takes an idle P, or the P of the blocked goroutine. Calls into C that are made
 * through gort.cgo need not be found out (entercgo).
 *
 * Invariants
 *   1. All of this is read and written with the GIL held (core.h); the exceptions are marked there.
 *   2. A g is in at most one place: running on one M, in one run queue, in wait queues (status Gwaiting), or dead.
 *   3. An M without a P runs at most the goroutine that lost its P while it was in C or computed. At its next park it gets a
 *      P or stops.
 *   4. gp->m->curg == gp for every g that runs; an M's p and a P's m point at each other.
 *
 * Switching. A goroutine that parks picks the next one itself and switches to it directly, on its own stack; the
 * resumed side attaches its own thread state (resumed()). Only if there is nothing simple to run does it switch
 * to the M's own stack (g0), where findrunnable() may release the GIL and sleep.
 *
 * The main goroutine's home is m0, the process's main thread. Others run there too while main is parked; were they not
 * to, each hand-over between main and another goroutine would cost two thread switches. But if one of them blocks
 * in C there, main may not wait for it: then main runs on another M until it parks again. Goroutines that are not known
 * to park without blocking (G_UNPROVEN) do not run on m0, so that this is rare.
 *
 * Rejected
 *   - Waking another M as soon as there is work for an idle P (Go's wakep): both would fight for the GIL.
 *   - Go's runnext slot: a pair of goroutines that wake each other would starve the others, which Go cures by
 *     preemption. Queues are first in, first out; only what timers wake goes in front.
 *   - A spare M that always waits for the GIL: each short release (a read of a cached file) would cost two thread
 *     switches. One stands by only while goroutine after goroutine blocks in C (m.chain): it gets the GIL the moment that
 *     the next one gives it up, instead of when sysmon has noticed.
 */
#include "core.h"

#include "annotate.h"
#include "compat.h"
#include "mgc.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void gort_switch(void **save, void *to);

struct sched sched = {.maxmcount = 10000, .timer0 = INT64_MAX};
static m main_m;
m *m0 = &main_m;
g *maing;
p *allp[MAXPROCS];
static _Thread_local m *this_m __attribute__((tls_model("initial-exec")));

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

/* -- queues ------------------------------------------------------------------------------------ */

void
queue_push(gqueue *q, g *gp)
{
    gp->schedlink = NULL;
    if (q->tail)
        q->tail->schedlink = gp;
    else
        q->head = gp;
    q->tail = gp;
    q->size++;
}

g *
queue_pop(gqueue *q)
{
    g *gp = q->head;
    if (gp) {
        q->head = gp->schedlink;
        if (!q->head)
            q->tail = NULL;
        q->size--;
    }
    return gp;
}

static void
queue_prepend(gqueue *to, gqueue *from)
{
    if (!from->head)
        return;
    from->tail->schedlink = to->head;
    if (!to->tail)
        to->tail = from->tail;
    to->head = from->head;
    to->size += from->size;
    *from = (gqueue){0};
}

static void
queue_move(gqueue *to, gqueue *from, int32_t n)
{
    for (g *gp; n > 0 && (gp = queue_pop(from)) != NULL; n--)
        queue_push(to, gp);
}

#if GORT_DEBUG >= 3
static void
validate_queue(gqueue *q)
{
    int32_t n = 0;
    g *last = NULL;
    for (g *gp = q->head; gp; last = gp, gp = gp->schedlink, n++) {
        if (gp->status != Grunnable || gp->m)
            throw("a goroutine in a run queue is not runnable");
    }
    if (n != q->size || last != q->tail)
        throw("a run queue's size or tail is wrong");
}

static void
validate(void)
{
    validate_queue(&sched.runq);
    int32_t idle = 0;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        validate_queue(&pp->runq);
        if (pp->status == Pidle) {
            idle++;
            if (pp->m)
                throw("an idle P has an M");
        }
        else if (pp->m && pp->m->p != pp && pp->m->nextp != pp)
            throw("a P and its M do not point at each other");
    }
    if (idle != sched.npidle)
        throw("the number of idle Ps is wrong");
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        if (mp->curg && mp->curg->m != mp)
            throw("an M and its goroutine do not point at each other");
    }
}
#else
#define validate() ((void)0)
#endif

/* -- Ps ---------------------------------------------------------------------------------------- */

void
pidleput(p *pp)
{
    pp->status = Pidle;
    pp->m = NULL;
    pp->idlelink = sched.pidle;
    sched.pidle = pp;
    sched.npidle++;
}

p *
pidleget(void)
{
    p *pp = sched.pidle;
    if (pp) {
        sched.pidle = pp->idlelink;
        sched.npidle--;
        pp->status = Prunning;
        if (atomic_load_explicit(&sched.sysmonwait, memory_order_relaxed))
            sysmon_wake();
    }
    return pp;
}

int
procresize(int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (!allp[i]) {
            p *pp = calloc(1, sizeof *pp);
            if (!pp) {
                PyErr_NoMemory();
                return -1;
            }
            pp->id = i;
            pp->status = Pdead;
            allp[i] = pp;
        }
    }
    int32_t old = sched.nprocs;
    sched.nprocs = n;
    for (int32_t i = old; i < n; i++)
        pidleput(allp[i]);
    m *mine = getm();
    bool lost = false;
    for (int32_t i = n; i < old; i++) {
        p *pp = allp[i];
        if (pp->status == Pidle) {
            for (p **at = &sched.pidle; *at; at = &(*at)->idlelink) {
                if (*at == pp) {
                    *at = pp->idlelink;
                    break;
                }
            }
            sched.npidle--;
        }
        else if (pp->m) {
            /* its goroutine goes on without a P until it parks, like one that lost it in C */
            lost |= pp->m == mine;
            if (pp->m->p == pp)
                pp->m->p = NULL;
            if (pp->m->nextp == pp) {
                pp->m->nextp = NULL;
                if (pp->m->nextg)
                    queue_push(&sched.runq, pp->m->nextg);
                pp->m->nextg = NULL;
            }
        }
        pp->m = NULL;
        pp->status = Pdead;
        queue_move(&sched.runq, &pp->runq, INT32_MAX);
    }
    if (lost) {
        p *pp = pidleget();
        if (pp)
            acquirep(mine, pp);
    }
    return old;
}

/* -- Ms ---------------------------------------------------------------------------------------- */

/* Takes `want`, or if NULL any but `avoid` that is not locked to a goroutine, out of the idle list. Needs no GIL. Whoever took an M must wake it: an M
 * whose sleep just ended by itself looks only whether it is still in the list. */
static m *
midleget(m *want, m *avoid)
{
    m *mp = NULL;
    idlelock();
    for (m **at = &sched.midle; *at; at = &(*at)->idlelink) {
        if (want ? *at == want : *at != avoid && !(*at)->lockedg) {
            mp = *at;
            *at = mp->idlelink;
            mp->inidle = false;
            sched.nmidle--;
            break;
        }
    }
    idleunlock();
    return mp;
}

static void
notewakeup(m *mp)
{
    atomic_store_explicit(&mp->note, 1, memory_order_release);
    futex_wake(&mp->note);
}

static void *mstart(void *arg);

/* A new M on a thread of its own. Needs no GIL. */
static void
newm(m *mp)
{
    int err = thread_start(mstart, mp, M_STACK);
    if (err) {
        char buf[160];
        int n =
            snprintf(buf, sizeof buf, "runtime: failed to create new OS thread (have %d already; errno=%d)\n",
                     sched.mcount, err);
        write_all(2, buf, (size_t)n);
        throw("newosproc");
    }
}

/* With or without the GIL: sysmon comes here without it, and while it waits for the GIL the thread that holds it may
 * come here too. The limit is reported once, and whoever has the GIL first does the dying. */
void
thread_limit_exceeded(void)
{
    static _Atomic bool reported;
    if (!atomic_exchange(&reported, true)) {
        char buf[96];
        int n = snprintf(buf, sizeof buf, "runtime: program exceeds %d-thread limit\n", sched.maxmcount);
        write_all(2, buf, (size_t)n);
    }
    PyGILState_Ensure();
    if (!sched.throwing)
        fatal("thread exhaustion");
    PyEval_SaveThread(); /* another thread is dying for the same reason */
    for (;;)
        pause();
}

m *
allocm(void)
{
    m *mp = calloc(1, sizeof *mp);
    if (!mp)
        throw("no memory for an OS thread's record");
    idlelock();
    if (++sched.mcount > sched.maxmcount && !sched.throwing) {
        idleunlock();
        thread_limit_exceeded();
    }
    mp->id = (int32_t)++sched.mcreated;
    mp->alllink = sched.allm;
    sched.allm = mp;
    idleunlock();
    mp->deny = G_MAIN | G_LOCKED;
    return mp;
}

/* Gives pp to an M that is idle or new, to run gp (if any) first. */
static void
startm_on(m *mp, p *pp, g *gp)
{
    bool fresh = false;
    if (!mp) {
        /* the main thread is given nothing that may block it */
        mp = midleget(NULL, gp && !(gp->flags & m0->deny) ? NULL : m0);
        if (!mp) {
            mp = allocm();
            fresh = true;
        }
    }
    mp->nextp = pp;
    mp->nextg = gp;
    pp->m = mp;
    pp->status = Prunning;
    if (fresh)
        newm(mp);
    else
        notewakeup(mp);
}

void
startm(p *pp, g *gp)
{
    startm_on(NULL, pp, gp);
}

/* Wakes an M that will take a P for itself once it has the GIL: from sysmon a P that is stuck, else `standby` if the
 * goroutine that it is about to run gives up the GIL. Needs no GIL. */
void
wake_for_takeover(p *standby, bool chain)
{
    m *mp = midleget(NULL, m0);
    atomic_fetch_add(&sched.ntakeover, 1);
    bool fresh = mp == NULL;
    if (fresh)
        mp = allocm();
    mp->standby = standby;
    mp->chain = chain;
    mp->standbytick = standby ? standby->schedtick + 1 : 0;
    atomic_store(&mp->takeover, true);
    if (fresh)
        newm(mp);
    else
        notewakeup(mp);
}

/* sysmon: the main thread shall look for signals, if it is idle. Needs no GIL. */
void
wake_m0(void)
{
    if (midleget(m0, NULL))
        notewakeup(m0);
}

static _Noreturn void
sleep_forever(m *mp)
{
    mp->stopped = true;
    _Atomic uint32_t never = 0;
    for (;;)
        futex_sleep(&never, 0, INT64_MAX);
}

/* Sleeps without the GIL until woken, or `deadline`. Runs on g0 with mp->ts attached. False: a signal came. */
static void
stopm(m *mp, int64_t deadline)
{
    check(!mp->p && !mp->curg);
    atomic_store(&mp->note, 0);
    if (atomic_load(&mp->takeover))
        return; /* sysmon took it out of the list just before its last sleep ended, and woke it before the line above */
    idlelock();
    mp->inidle = true;
    mp->idlelink = sched.midle;
    sched.midle = mp;
    sched.nmidle++;
    idleunlock();
    PyEval_SaveThread();
    do {
        int err = futex_sleep(&mp->note, 0, deadline);
        if (err == EINTR && mp == m0)
            break; /* perhaps a signal for the main goroutine */
        if (err == ETIMEDOUT)
            break;
    } while (!atomic_load_explicit(&mp->note, memory_order_acquire));
    midleget(mp, NULL); /* if nobody took it out */
    if (unlikely(sched.stopping))
        sleep_forever(mp); /* mp->ts may exist no more */
    PyEval_RestoreThread(mp->ts);
    if (mp->nextp) {
        acquirep(mp, mp->nextp);
        mp->nextp = NULL;
    }
}

/* The interpreter is about to end: nothing is scheduled any more. */
static _Noreturn void
stop_forever(m *mp)
{
    ts_forget_drop_request(mp->ts); /* giving up the GIL must be quick: mp->ts will not exist for long */
    PyEval_SaveThread();
    sleep_forever(mp);
}

/* The program has ended without gp, and what happens to gp now is nobody's concern any more. */
_Noreturn void
sched_abandon(g *gp)
{
    ts_forget_drop_request(gp->ts);
    PyEval_SaveThread();
    sleep_forever(gp->m);
}

/* Those Ms whose goroutines are in C or compute are left to CPython, which ends them like daemon threads when they want
 * the GIL. It may free what they are about to read. */
static void
keep_thread_states(void)
{
    PyThreadState *mine = PyThreadState_Get();
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        PyThreadState *states[] = {mp->ts, mp->curg ? mp->curg->ts : NULL};
        for (int i = 0; i < 2; i++) {
            if (states[i] && states[i] != mine && !(maing && states[i] == maing->ts))
                ts_outlive(states[i]);
        }
    }
}

/* Lets the Ms that are awake come to rest before the interpreter takes their thread states apart. */
static void
rest(const m *mine)
{
    for (int i = 0; i < 50; i++) {
        bool awake = false;
        idlelock();
        for (m *mp = sched.allm; mp; mp = mp->alllink)
            awake |= mp != mine && !mp->curg && !mp->inidle && !mp->stopped;
        idleunlock();
        if (!awake)
            return;
        _Atomic uint32_t never = 0;
        PyThreadState *ts = PyEval_SaveThread();
        futex_sleep(&never, 0, nanotime() + 100000);
        PyEval_RestoreThread(ts);
    }
}

void
sched_stop(void)
{
    sched.stopping = true;
    sysmon_wake();
    rest(getm());
    keep_thread_states();
}

/* mp gives up its P, to another M if there is work for it. */
static void
handoffp(m *mp)
{
    p *pp = mp->p;
    if (!pp)
        return;
    mp->p = NULL;
    if (pp->runq.head || sched.runq.head || atomic_load(&sched.timer0) != INT64_MAX)
        startm(pp, NULL);
    else
        pidleput(pp);
}

/* -- timers and signals ------------------------------------------------------------------------ */

/* Main is parked and a signal waits: it shall run the handlers. */
static void
interrupt_main(void)
{
    if (maing && maing->status == Gwaiting && signals_pending()) {
        goready(maing);
    }
}

/* What timers wake goes in front: who waited for a time is late already. */
static void
attend(p *pp)
{
    atomic_store_explicit(&sched.attention, false, memory_order_relaxed);
    int64_t now = nanotime();
    atomic_store_explicit(&sched.coarse, now, memory_order_relaxed);
    if (atomic_load_explicit(&sched.timer0, memory_order_relaxed) <= now) {
        sched.firing = true;
        runtimers(now);
        sched.firing = false;
        queue_prepend(&pp->runq, &sched.fired);
    }
    if (unlikely(gc_force_when() <= now))
        gc_force();
    interrupt_main();
}

int
check_signals(void)
{
    if (unlikely(sched.stopping)) {
        PyErr_SetString(Error, "the program has ended: nothing can wake this goroutine any more");
        return -1;
    }
    signals_clear();
    if (PyErr_CheckSignals() < 0) {
        signals_again(); /* of several signals the others may still wait */
        return -1;
    }
    return 0;
}

/* -- the scheduler's own stack ------------------------------------------------------------------ */

/* Takes the P of a goroutine that sysmon saw make no progress, or that mp stood by for: it is in C, or waits for the
 * GIL like any thread. */
static p *
retake(m *mp)
{
    p *best = NULL;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        m *vm = pp->m;
        if (pp->status != Prunning || !vm || vm == mp || vm->p != pp || !vm->curg ||
            (pp->schedtick != pp->seentick && !(pp == mp->standby && pp->schedtick == mp->standbytick)))
            continue;
        if (!best || pp->seenwhen < best->seenwhen)
            best = pp;
    }
    if (best) {
        g *gp = best->m->curg;
        if (!(gp->flags & G_MAIN))
            gp->flags |= G_UNPROVEN | G_BLOCKS;
        best->m->p = NULL;
        best->syscalltick++;
        best->schedtick++;
        sched.handoffs++;
        acquirep(mp, best);
    }
    return best;
}

static bool
work_waits(void)
{
    int64_t now = nanotime();
    if (sched.runq.head || atomic_load(&sched.timer0) <= now || gc_force_when() <= now)
        return true;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        if (allp[i]->runq.head)
            return true;
    }
    return maing && maing->status == Gwaiting && signals_pending();
}

static g *
steal(p *pp)
{
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *victim = allp[i];
        if (victim != pp && victim->runq.head) {
            queue_move(&pp->runq, &victim->runq, (victim->runq.size + 1) / 2);
            return queue_pop(&pp->runq);
        }
    }
    return NULL;
}

static g *
nextg(p *pp)
{
    g *gp = NULL;
    if (pp->schedtick % 61 == 0)
        gp = queue_pop(&sched.runq);
    if (!gp)
        gp = queue_pop(&pp->runq);
    if (!gp && sched.runq.head) {
        queue_move(&pp->runq, &sched.runq, sched.runq.size / sched.nprocs + 1);
        gp = queue_pop(&pp->runq);
    }
    return gp ? gp : steal(pp);
}

/* How long an M without work may sleep: if all Ps are idle, whoever falls asleep last waits for the first timer and asks
 * whether the program is dead. */
static int64_t
sleep_until(void)
{
    if (sched.npidle < sched.nprocs)
        return INT64_MAX;
    return checkdead() ? nanotime() + 1000000000 : atomic_load(&sched.timer0);
}

/* The goroutine that mp, which has a P when this returns, shall run. On g0, mp->ts attached; may sleep. */
static g *
findrunnable(m *mp)
{
    for (;;) {
        validate();
        if (unlikely(sched.stopping))
            stop_forever(mp);
        bool takeover = atomic_exchange(&mp->takeover, false);
        if (takeover)
            atomic_fetch_sub(&sched.ntakeover, 1);
        if (unlikely(mp->lockedg != NULL)) {
            g *gp = mp->lockedg;
            if (mp->nextg == gp && mp->p) {
                mp->nextg = NULL;
                return gp;
            }
            handoffp(mp); /* if a timer runs, to an M that waits for it */
            stopm(mp, sched.npidle == sched.nprocs && checkdead() ? nanotime() + 1000000000 : INT64_MAX);
            continue;
        }
        if (!mp->p) {
            p *pp = NULL;
            if (!takeover || work_waits())
                pp = pidleget();
            if (pp)
                acquirep(mp, pp);
            else if (takeover && work_waits())
                pp = retake(mp);
            if (!pp) {
                if (mp == m0)
                    interrupt_main();
                stopm(mp, sleep_until());
                continue;
            }
        }
        p *pp = mp->p;
        attend(pp);
        g *gp = mp->nextg;
        mp->nextg = NULL;
        if (!gp)
            gp = nextg(pp);
        if (gp) {
            if (likely(!(gp->flags & mp->deny))) {
                if (takeover && mp->chain && (pp->runq.head || sched.runq.head) &&
                    !atomic_load(&sched.ntakeover))
                    wake_for_takeover(pp, true);
                return gp;
            }
            if (gp->flags & G_LOCKED) {
                if (gp->lockedm == mp)
                    return gp;
                /* its own M sleeps in the branch above: it is never idle in another way */
                m *lm = midleget(gp->lockedm, NULL);
                if (!lm) { /* not asleep yet: let it come round */
                    queue_push(&sched.runq, gp);
                    handoffp(mp);
                    stopm(mp, nanotime() + 100000);
                    continue;
                }
                mp->p = NULL;
                startm_on(lm, pp, gp);
                stopm(mp, INT64_MAX);
                continue;
            }
            if (gp->flags & G_MAIN) { /* home, if nobody is in the way there */
                m *home = midleget(m0, NULL);
                if (!home)
                    return gp;
                mp->p = NULL;
                startm_on(home, pp, gp);
                stopm(mp, INT64_MAX);
                continue;
            }
            /* m0 and a goroutine that might block it */
            mp->p = NULL;
            startm(pp, gp);
            stopm(mp, INT64_MAX);
            continue;
        }
        /* nothing to run: the P is idle, and one idle M waits for the first timer */
        mp->p = NULL;
        pidleput(pp);
        stopm(mp, sleep_until());
    }
}

static inline void
execute_from_g0(m *mp, g *gp)
{
    gp->status = Grunning;
    gp->m = mp;
    mp->curg = gp;
    mp->p->schedtick++;
    annotate_leave(&mp->g0_fake, gp->stack_lo, gp->stack_hi);
    gort_switch(&mp->g0sp, gp->sp);
    annotate_arrive(mp->g0_fake);
}

/* The scheduler's loop, on g0. Returns when the thread shall end. */
static void
mloop(m *mp)
{
    for (;;) {
        ts_switch(mp, mp->ts);
        if (unlikely(mp->exiting)) {
            mp->lockedg = NULL;
            p *pp = mp->p;
            mp->p = NULL;
            if (pp)
                startm(pp, NULL); /* somebody has to fall asleep last */
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

static void *
mstart(void *arg)
{
    m *mp = arg;
    this_m = mp;
    mp->ident = PyThread_get_thread_ident();
    mp->tid = (int32_t)PyThread_get_thread_native_id();
    thread_name("gort M");
    thread_bounds(&mp->g0_lo, &mp->g0_hi);
    stack_altstack();
    PyThreadState *ts = ts_new();
    if (!ts)
        throw("no memory for a thread state");
    ts_set_thread(ts, (unsigned long)mp); /* whoever looks for a thread finds what runs on it instead */
    PyEval_RestoreThread(ts);
    mp->ts = ts;
    ts_find_tss(mp);
    if (mp->nextp) {
        acquirep(mp, mp->nextp);
        mp->nextp = NULL;
    }
    mloop(mp);

    idlelock();
    for (m **at = &sched.allm; *at; at = &(*at)->alllink) {
        if (*at == mp) {
            *at = mp->alllink;
            break;
        }
    }
    sched.mcount--;
    idleunlock();
    mp->ts = NULL;
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
    /* mp itself stays: sysmon may look at it */
    return NULL;
}

/* -- switching --------------------------------------------------------------------------------- */

/* The first thing a goroutine does when it runs again. */
void
resumed(g *gp)
{
    m *mp = gp->m;
    ts_switch(mp, gp->ts);
    if (unlikely(gp->flags & G_MAIN)) {
        main_thread_set(true);
        if (signals_pending())
            signals_force();
        if (unlikely(mp != m0))
            main_moved(mp);
    }
    if (unlikely(sched.dropped))
        drop_dropped();
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

static noinline void
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
    gp->m = NULL;
    mp->curg = NULL;
    if (likely(pp != NULL)) {
        if (unlikely((gp->flags & (G_UNPROVEN | G_BLOCKS)) == G_UNPROVEN)) {
            gp->flags &= (uint8_t)~G_UNPROVEN; /* it came from its start to a park without blocking */
            if (gp->status != Gdead)
                proven(gp, true);
        }
        if (unlikely(atomic_load_explicit(&sched.attention, memory_order_relaxed)))
            attend(pp);
        g *next = pp->runq.head;
        if (likely(next && (!(next->flags & mp->deny) || next == gp) &&
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

/* A plain thread waits on its own. */
static void
park_thread(g *gp)
{
    m *tm = gp->m;
    atomic_store(&tm->note, 0);
    gp->ts = PyThreadState_Get();
    sched.nthreads++;
    if (sched.npidle == sched.nprocs && maing && maing->status == Gwaiting) {
        /* the last one that could have woken anybody may be this thread: let an M look for a deadlock */
        p *pp = pidleget();
        if (pp)
            startm(pp, NULL);
    }
    PyThreadState *ts = PyEval_SaveThread();
    while (!atomic_load_explicit(&tm->note, memory_order_acquire))
        futex_sleep(&tm->note, 0, INT64_MAX);
    PyEval_RestoreThread(ts);
    gp->ts = NULL;
    gp->status = Grunning;
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
        if (gp->flags & G_THREAD) {
            park_thread(gp);
            return;
        }
        if (unlikely(sched.stopping)) {
            gp->status = Grunning;
            return;
        }
        main_thread_set(false);
        if (main_away)
            main_moved(NULL);
        interrupt_main(); /* a signal that came before the line above */
    }
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
    if (gp->flags & G_MAIN) {
        main_thread_set(false);
        if (main_away)
            main_moved(NULL);
    }
    gp->status = Grunnable;
    gp->shrunk = false;
    queue_push(mp->p ? &mp->p->runq : &sched.runq, gp);
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
        gp->lockedm = NULL;
        mp->exiting = true;
        mp->deny = 0xff;
        gp->flags &= (uint8_t)~G_LOCKED;
    }
    leave(gp);
}

void
goready(g *gp)
{
    if (gp->status != Gwaiting)
        return; /* main, interrupted by a signal, is on its way already */
    gp->status = Grunnable;
    if (unlikely(gp->flags & G_THREAD)) {
        sched.nthreads--;
        notewakeup(gp->m);
        return;
    }
    runqput(gp);
}

/* Queues a runnable g. */
void
runqput(g *gp)
{
    m *mp = getm();
    p *pp = mp ? mp->p : NULL;
    if (likely(pp != NULL)) {
        queue_push(unlikely(sched.firing) ? &sched.fired : &pp->runq, gp);
        return;
    }
    pp = pidleget();
    if (!pp) {
        /* all Ps are taken: one of them comes to the global queue, or sysmon sees within 2 ms that none does */
        queue_push(&sched.runq, gp);
        return;
    }
    if (mp && mp->curg && !(mp->curg->flags & G_THREAD) && !(gp->flags & G_MAIN)) {
        /* a goroutine that had lost its P is back: it takes the idle one */
        acquirep(mp, pp);
        queue_push(&pp->runq, gp);
        return;
    }
    queue_push(&sched.runq, gp);
    startm_on(gp->flags & G_MAIN ? midleget(m0, NULL) : NULL, pp, NULL);
}

void
timer_added(void)
{
    p *pp = pidleget();
    if (pp)
        startm(pp, NULL);
    else
        sysmon_wake();
}

void
newproc1(g *gp)
{
    if (unlikely(!sched.sysmonstarted))
        sysmon_start();
    gp->status = Grunnable;
    gp->m = NULL;
    runqput(gp);
}

/* -- locking to the thread ----------------------------------------------------------------------- */

/* Runs on from another M: what gp->flags say now keeps it off this one. */
static void
migrate(g *gp)
{
    m *mp = gp->m;
    if (gp->flags & G_MAIN) {
        main_thread_set(false);
        if (main_away)
            main_moved(NULL);
    }
    gp->status = Grunnable;
    gp->m = NULL;
    mp->curg = NULL;
    queue_push(&sched.runq, gp);
    switch_to_g0(mp, gp);
    resumed(gp);
}

void
lock_thread(g *gp)
{
    if (gp->lockcount == 0 && !(gp->flags & G_THREAD)) {
        if (gp->flags & G_MAIN) {
            while (gp->m != m0) { /* main is locked to the main thread and to no other */
                gp->flags |= G_LOCKED;
                gp->lockedm = m0;
                migrate(gp);
            }
        }
        else {
            while (gp->m == m0) { /* nobody else may take the main thread */
                gp->flags |= G_UNPROVEN | G_BLOCKS;
                migrate(gp);
            }
        }
        gp->flags |= G_LOCKED;
        gp->lockedm = gp->m;
        gp->m->lockedg = gp;
        gp->m->deny = 0xff;
    }
    gp->lockcount++;
}

void
unlock_thread(g *gp)
{
    if (gp->lockcount == 0 || --gp->lockcount > 0 || gp->flags & G_THREAD)
        return;
    gp->flags &= (uint8_t)~G_LOCKED;
    gp->lockedm = NULL;
    gp->m->lockedg = NULL;
    gp->m->deny = gp->m == m0 ? G_UNPROVEN | G_LOCKED : G_MAIN | G_LOCKED;
}

/* -- beginnings ---------------------------------------------------------------------------------- */

/* The process's main thread becomes m0 and runs the main goroutine. GIL held, in that thread. */
static int
bind_main(void)
{
    g *gp = calloc(1, sizeof *gp);
    PyThreadState *ts = ts_new();
    if (!m0->g0sp)
        m0->g0sp = sysstack(256 << 10);
    if (!gp || !ts || !m0->g0sp) {
        PyErr_NoMemory();
        return -1;
    }
    gp->ts = PyThreadState_Get();
    gp->goid = 1;
    gp->flags = G_ANY | G_MAIN;
    gp->status = Grunning;
    gp->m = m0;
    thread_bounds(&gp->stack_lo, &gp->stack_hi);
    gp->alllink = sched.allgs;
    sched.allgs = gp;
    m0->ts = ts;
    ts_set_thread(ts, (unsigned long)m0); /* as in mstart: main's own is the one to find */
    m0->ident = PyThread_get_thread_ident();
    m0->tid = (int32_t)PyThread_get_thread_native_id();
    m0->deny = G_UNPROVEN | G_LOCKED;
    m0->curg = gp;
    m0->alllink = sched.allm;
    sched.allm = m0;
    sched.mcount++;
    this_m = m0;
    thread_never_exits();
    ts_find_tss(m0);
    maing = gp;
    p *pp = pidleget();
    if (pp)
        acquirep(m0, pp);
    return 0;
}

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

/* -- plain threads --------------------------------------------------------------------------------- */

m *free_threads; /* under idlelock */

static void
thread_ended(void *arg)
{
    m *tm = arg;
    idlelock();
    tm->idlelink = free_threads;
    free_threads = tm;
    idleunlock();
}

static g *
thread_g(void)
{
    if (getm()) {
        PyErr_SetString(Error, "the scheduler itself cannot wait");
        return NULL;
    }
    if (!maing && on_main_thread())
        return bind_main() < 0 ? NULL : maing;
    idlelock();
    m *tm = free_threads;
    if (tm)
        free_threads = tm->idlelink;
    idleunlock();
    if (!tm) {
        tm = calloc(1, sizeof *tm);
        g *gp = calloc(1, sizeof *gp);
        if (!tm || !gp) {
            free(tm);
            free(gp);
            PyErr_NoMemory();
            return NULL;
        }
        gp->flags = G_ANY | G_THREAD;
        gp->status = Grunning;
        gp->m = tm;
        tm->curg = gp;
        tm->alllink = sched.threads;
        sched.threads = tm;
    }
    this_m = tm;
    thread_at_exit(thread_ended, tm);
    return tm->curg;
}

/* Goexit was swallowed by an `except BaseException`: meet it again. */
static g *
goexit_again(g *gp)
{
    if (ts_handling(PyThreadState_Get(), Goexit))
        return gp; /* not swallowed: a finally or with block runs because of it */
    PyErr_SetNone(Goexit);
    return NULL;
}

g *
getg(void)
{
    m *mp = getm();
    if (likely(mp != NULL && mp->curg != NULL)) {
        if (unlikely(mp->curg->goexiting))
            return goexit_again(mp->curg);
        return mp->curg;
    }
    return thread_g();
}
