/* sysmon.c: the thread that watches, without a P and without the GIL.
 *
 * It finds Ps whose goroutine makes no progress while there is work (runnable goroutines, due timers, a
 * signal for the parked main goroutine, a collection that is due to the time, stacks to give back) and wakes
 * an M that takes such a P (retake in m.c). It asks for the GIL on behalf of Ms that wait for it in vain
 * (gil_take in m.c). It tells running Ms that timers are due, keeps the coarse clock, prints schedtrace,
 * prepares stacks (stack.c), scavenges (mgcscavenge.c), and gives slabs of stacks back (reclaim.c).
 *
 * What counts as no progress: the P's schedtick stood still
 *   - since the last look (20 us or more) and the goroutine does not hold the GIL: it is in C;
 *   - for 10 ms although it has the GIL: it computes (Go's forcePreemptNS); 1 ms if a timer is due.
 *
 * How often it looks: every 20 us after it had something to do; after 50 looks in vain twice as seldom each
 * time, at least every 1 ms while work waits, every 2 ms while a goroutine gets on, every 10 ms while none
 * does: then a thread that makes a goroutine runnable or sets a timer wakes it. It sleeps for good when all
 * Ps are idle, no goroutine is in C, and has been so for a while; from CPython 3.14 on it looks once a second
 * whether another process has left a script for main.
 *
 * It follows ps, ms and gs freely: they stay readable. What it reads may be old by the time the woken M has
 * the GIL; that M looks again.
 *
 * Differs from Go: Go's sysmon takes the P itself, because Go code says when it enters a system call. There
 * is no netpoll here.
 */
#include "mem/heap.h"

#include "cpython/compat.h"
#include "hooks.h"
#include "os/os.h"
#include "sched/sched.h"
#include "sched/stack.h"
#include "sched/sysmon.h"

#include <stdio.h>
#include <string.h>

#define US 1000
#define MS 1000000
/* while nothing happens, between looks for a script for main (sys.remote_exec), which wakes nobody */
#define SCRIPT_PERIOD (1000 * MS)

static _Atomic int32_t tid; /* 0: it has not begun yet */
static bool paused;         /* for a fork */
static uint32_t generation; /* a fork leaves the parent's sysmon behind; a new one is started on demand */

int32_t
sysmon_tid(void)
{
    return atomic_load(&tid);
}

static bool
runnable_waits(void)
{
    if (sched.runq.size)
        return true;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        if (allp[i] && allp[i]->runq.size)
            return true;
    }
    return false;
}

/* Is there a signal for main, and main parked? */
static bool
main_has_signal(void)
{
    const g *gp = maing; /* read once: a thread that has forked may unbind it */
    return gp && gp->status == Gwaiting && signals_pending();
}

static struct {
    int64_t next, wait;
} kicks;

/* A signal waits for the main goroutine, which runs. If it is in C on another thread than the process's first
 * one, which takes the signals, its call is not interrupted by itself. More than once, because the kick may
 * come just before the call; more and more seldom, because the call may be one that goes on regardless. */
static void
hurry_main(const g *gp, int64_t now)
{
    signals_force();
    m *mp = gp->m;
    PyThreadState *ts = gp->ts;
    if (!mp || mp == m0 || !ts || ts_running(ts) || (kicks.wait && now < kicks.next))
        return;
    kicks.wait = kicks.wait == 0 ? 1 * MS : kicks.wait < 1000 * MS ? 2 * kicks.wait : kicks.wait;
    kicks.next = now + kicks.wait;
    kick(mp->tid);
}

static struct {
    uint32_t turn;
    int64_t since; /* somebody waits for the GIL, and nobody of those who do has got it */
    /* the holder may have been asked to give up the GIL, and to wait for a taker that does not exist */
    bool unsure;
} gilwait;

static _Atomic bool asking;

/* sched.stopping is set. From now on there is no request for the GIL that nobody may take: its holder would
 * wait for ever. */
void
sysmon_asks_no_more(void)
{
    while (atomic_load(&asking))
        thread_yield();
    ts_forget_drop_request(PyThreadState_Get());
}

/* Has the holder of the GIL give it up to a thread that waits in gil_take. */
static void
relieve_gil(int64_t now)
{
    uint32_t turn = atomic_load(&sched.gilturns);
    if (!atomic_load(&sched.nwaitgil))
        gilwait.since = 0;
    else if (gilwait.since == 0 || turn != gilwait.turn) {
        gilwait.since = now;
        gilwait.turn = turn;
    }
    else if (now - gilwait.since >= gil_interval()) {
        gilwait.since = now;
        /* before the look: stopping is set first, and then sysmon_asks_no_more waits for this */
        atomic_store(&asking, true);
        if (!sched.stopping)
            gil_request_drop();
        atomic_store(&asking, false);
        /* the one that waited may have got it before that, and be through */
        gilwait.unsure = !atomic_load(&sched.nwaitgil);
    }
}

static bool quiet; /* at the last look nothing was to do and no goroutine had got on */

/* True if it woke somebody. */
static bool
retake_scan(int64_t now)
{
    bool due = atomic_load_explicit(&sched.timer0, memory_order_relaxed) <= now;
    const g *gp0 = maing; /* read once: a thread that has forked may unbind it */
    bool sig = main_has_signal();
    bool collect = forcegc_when() <= now || stacks_when(now) <= now;
    if (due || sig || collect)
        atomic_store_explicit(&sched.attention, true, memory_order_relaxed);
    if (gp0 && gp0->status == Grunning && signals_pending())
        hurry_main(gp0, now);
    else
        kicks.wait = 0;
    relieve_gil(now);
    bool runnable = runnable_waits();
    bool stuck = false, alive = false; /* some P is; some P makes progress */
    bool blocked = false;              /* ... in C */
    bool wake = false;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        m *mp = pp ? pp->m : NULL;
        if (!mp || pp->status != Prunning)
            continue;
        uint32_t tick = pp->schedtick;
        if (tick != pp->seentick) {
            pp->seentick = tick;
            pp->seenwhen = now;
            alive = true;
            continue;
        }
        g *gp = mp->curg;
        if (!gp) {
            alive = true; /* between goroutines, or waiting for the GIL */
            continue;
        }
        int64_t t = now - pp->seenwhen;
        PyThreadState *ts = gp->ts;
        bool in_c = !ts || !ts_running(ts);
        if (t >= (in_c ? 20 * US : due ? 1 * MS : 10 * MS)) {
            stuck = true;
            blocked |= in_c;
            wake |= pp->runq.size > 0; /* what waits behind it */
        }
        else
            alive = true;
    }
    quiet = !alive && !runnable && !due && !sig && !collect && !gilwait.since;
    /* a P that makes progress will come to the global queue, the timers and the signal by itself: two Ms at
     * work would only fight for the GIL */
    wake |= stuck && !alive && (due || sig || collect || runnable);
    wake |= gilwait.unsure;
    wake |= sched.npidle == sched.nprocs && (runnable || collect || (sig && m0->curg));
    if (!wake || atomic_load(&sched.ntakeover) > 0)
        return false;
    if (sched.ending && gp0 && gp0->status == Grunning && !gilwait.unsure)
        return false; /* main has returned: the others run only while an atexit handler waits for them */
    bool woken = wake_for_takeover(NULL, blocked);
    /* an M that is on its way takes the GIL; if no M could be had, the request still has no taker */
    gilwait.unsure &= !atomic_load(&sched.ntakeover) && !atomic_load(&sched.nwaitgil);
    return woken;
}

void
sysmon_after_fork(void)
{
    atomic_store(&asking, false);
    atomic_store(&sched.sysmonslow, false);
    memset(&gilwait, 0, sizeof gilwait);
    paused = false;
    quiet = false;
    atomic_store(&mheap_unwatched, true);
    ts_set_nowhere(0);
}

/* Nothing happens: sleeps until somebody wakes it, or `until`. In between only the scavenger is at work, and
 * it leaves word when it wants to go on. True: woken. */
static bool
sleep_quietly(uint32_t mine, int64_t until, int64_t *scavenging)
{
    uint32_t note = atomic_load(&sched.sysmonnote); /* before the looks: a wake during these ends the sleep */
    bool woken = false, slept = false;
    const bool scripts = remote_scripts();
    int64_t wake, script;
    /* before the looks at npidle and nwaitgil: a thread that changes these looks at it afterwards */
    atomic_store(&sched.sysmonwait, true);
    atomic_thread_fence(memory_order_seq_cst); /* those looks are not atomic: see pidleget */
    do {
        atomic_store(&mheap_unwatched,
                     true); /* before it looks: a thread that frees something later will wake us */
        *scavenging = hooks.scavenge(nanotime(), true);
        if (*scavenging != INT64_MAX)
            atomic_store(&mheap_unwatched, false);
        wake = until < forcegc_when() ? until : forcegc_when();
        if (*scavenging < wake)
            wake = *scavenging;
        if (stacks_when(nanotime()) < wake)
            wake = stacks_when(nanotime());
        if (sched.npidle < sched.nprocs || atomic_load(&sched.nwaitgil) || sched.stopping ||
            hooks.quit_wanted() || mine != generation)
            break; /* it came before the note was read, and its wake found nobody asleep */
        script = scripts ? nanotime() + SCRIPT_PERIOD : INT64_MAX;
        if (script < wake)
            wake = script;
        futex_sleep(&sched.sysmonnote, note, wake);
        slept = true;
        woken = nanotime() < wake || atomic_load(&sched.sysmonnote) != note || (scripts && main_has_signal());
    } while (!woken && (wake == script || wake == *scavenging));
    if (mine == generation) { /* else these are its successor's: it took too long to end */
        atomic_store(&sched.sysmonwait, false);
        atomic_store(&mheap_unwatched, false);
    }
    return woken || !slept;
}

/* One sysmon's own: its predecessor may still be at its last look. */
typedef struct {
    int idle;           /* so many looks have found nothing to do */
    int64_t delay;      /* between looks */
    int64_t scavenging; /* when the scavenger wants to go on */
    int64_t quiet;      /* since when all Ps are idle and all Ms asleep; 0: they are not */
    int64_t lasttrace;
} watch;

/* When it is to look again: see the header. */
static int64_t
next_look(watch *w, int64_t now)
{
    if (w->idle == 0)
        w->delay = 20 * US;
    else if (w->idle > 50)
        w->delay *= 2;
    int64_t timer0 = atomic_load_explicit(&sched.timer0, memory_order_relaxed);
    bool work = timer0 <= now || atomic_load(&sched.nwaitgil) || runnable_waits();
    int64_t cap = work ? 1 * MS : quiet ? 10 * MS : 2 * MS;
    if (w->delay > cap)
        w->delay = cap;
    int64_t until = now + w->delay;
    if (timer0 > now && timer0 < until)
        until = timer0;
    if (w->scavenging > now && w->scavenging < until)
        until = w->scavenging;
    return until;
}

/* Until then, or until it is woken by a change of the note. */
static void
sleep_between(int64_t now, int64_t until, uint32_t note)
{
    bool slow = until > now + 2 * MS;
    atomic_store(&sched.sysmonslow, slow);
    /* what has come since next_look's look, when nobody knew yet that we would have to be told */
    if (!slow || !(runnable_waits() || atomic_load(&sched.timer0) < until))
        futex_sleep(&sched.sysmonnote, note, until);
    atomic_store(&sched.sysmonslow, false);
}

static void
trace_if_due(watch *w, int64_t now)
{
    if (sched.schedtrace <= 0 || (w->lasttrace && now - w->lasttrace < (int64_t)sched.schedtrace * MS))
        return;
    w->lasttrace = now;
    schedtrace(sched.scheddetail > 0);
}

/* Once nothing has happened for a while, sleeps until something does. */
static void
sleep_if_quiet(watch *w, uint32_t mine, int64_t now)
{
    if (sched.npidle < sched.nprocs || awake_ms() > 0) {
        w->quiet = 0;
        return;
    }
    if (w->quiet == 0)
        w->quiet = now;
    if (now - w->quiet <= 20 * MS)
        return;
    if (main_has_signal())
        wake_m0(); /* it came just before m0 fell asleep */
    int64_t trace = sched.schedtrace > 0 ? w->lasttrace + (int64_t)sched.schedtrace * MS : INT64_MAX;
    if (sleep_quietly(mine, trace, &w->scavenging)) {
        w->idle = 0;
        w->quiet = 0;
    }
}

/* Parked goroutines are where this thread is, which nearly always sleeps, to tools that ask the kernel what a
 * goroutine's thread does. Some have parked before it began. */
static void
be_nowhere(void)
{
    ts_set_nowhere((unsigned long)atomic_load(&tid));
    if (m0->ts)
        ts_is_nowhere(m0->ts);
    allgs all = {0};
    for (const g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (gp->ts)
            ts_is_nowhere(gp->ts);
    }
}

static void *
sysmon_main(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    atomic_store(&tid, (int32_t)PyThread_get_thread_native_id());
    be_nowhere();
    thread_name("gort sysmon");
    os_timerslack();
    watch w = {.scavenging = INT64_MAX};
    while (!sched.stopping && mine == generation) {
        int64_t now = nanotime(), until = next_look(&w, now);
        /* a wake from here on ends the sleep; what came since the looks waits 2 ms, or is looked at again */
        uint32_t note = atomic_load(&sched.sysmonnote);
        bool prepared = stacks_prepare();
        if (!prepared)
            sleep_between(now, until, note);

        if (unlikely(hooks.quit_wanted()))
            hooks.quit();
        now = nanotime();
        atomic_store_explicit(&sched.coarse, now, memory_order_relaxed);
        trace_if_due(&w, now);
        w.scavenging = hooks.scavenge(now, !interpreter_busy());
        stacks_finish();
        bool busy = retake_scan(now) || prepared || atomic_load(&sched.sysmonnote) != note;
        w.idle = busy ? 0 : w.idle + 1;
        sleep_if_quiet(&w, mine, now);
    }
    return NULL;
}

static int
start(void)
{
    generation++;
    atomic_store(&tid, 0);
    sched.sysmonstarted = true;
    return thread_start(sysmon_main, (void *)(uintptr_t)generation, 64 << 10, sigmask_runtime());
}

void
sysmon_start(void)
{
    int err = start();
    if (err)
        thread_refused(err);
}

void
sysmon_try_start(void)
{
    static bool failed;
    if (sched.sysmonstarted || sched.stopping || paused || failed)
        return;
    failed = start() != 0;
    sched.sysmonstarted = !failed;
}

/* A program without goroutines has one thread as far as it knows, and a fork must find no other: CPython 3.12
 * and later count the threads, and warn. */
void
sysmon_pause(void)
{
    paused = sched.sysmonstarted && sched.goidgen == 1;
    if (!paused)
        return;
    generation++; /* before it is woken: it looks at this and ends */
    sysmon_wake();
    int64_t now = nanotime(), end = now + 100 * MS;
    _Atomic uint32_t never = 0;
    /* a tid of 0: it has not begun yet, and sees only then that it is over */
    for (; now < end && (atomic_load(&tid) == 0 || thread_exists(atomic_load(&tid))); now = nanotime())
        futex_sleep(&never, 0, now + 50 * US);
    sched.sysmonstarted = false;
    atomic_store(&mheap_unwatched, true);
}

/* After the fork, in the parent. */
void
sysmon_resume(void)
{
    if (paused) {
        paused = false;
        sysmon_try_start();
    }
}

/* There is idle memory: mheap_unwatched was set. */
void
sysmon_memory_idle(void)
{
    if (sched.sysmonstarted)
        sysmon_wake();
    else
        sysmon_try_start();
    if (!sched.sysmonstarted)
        atomic_store(&mheap_unwatched, true); /* between the two sides of a fork: the next free asks again */
}

/* Has it look at once. */
void
sysmon_wake(void)
{
    atomic_fetch_add(&sched.sysmonnote, 1);
    futex_wake(&sched.sysmonnote);
}

/* -- schedtrace -------------------------------------------------------------------------------- */

void
schedtrace(bool detailed)
{
    static char buf[1 << 16];
    size_t n = 0;
#define out(...)                                                                                             \
    do {                                                                                                     \
        if (n > sizeof buf - 512) {                                                                          \
            write_all(errfd, buf, n);                                                                        \
            n = 0;                                                                                           \
        }                                                                                                    \
        n += (size_t)snprintf(buf + n, sizeof buf - n, __VA_ARGS__);                                         \
    } while (0)
    out("SCHED %lldms: gomaxprocs=%d idleprocs=%d threads=%d spinningthreads=%d idlethreads=%d runqueue=%d",
        (long long)((nanotime() - sched.starttime) / MS), sched.nprocs, sched.npidle, sched.mcount,
        atomic_load(&sched.ntakeover), sched.nmidle, sched.runq.size);
    if (!detailed) {
        out(" [");
        for (int32_t i = 0; i < sched.nprocs; i++)
            out("%s%d", i ? " " : "", allp[i] ? allp[i]->runq.size : 0);
        out("]\n");
        write_all(errfd, buf, n);
        return;
    }
    out(" gcwaiting=0 nmidlelocked=%d stopwait=0 sysmonwait=%d\n", sched.nmidlelocked,
        (int)atomic_load(&sched.sysmonwait));
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        if (!pp)
            break; /* it is being made */
        m *mp = pp->m;
        g *gp = mp ? mp->curg : NULL;
        int status = pp->status;
        if (status == Prunning && gp && gp->ts && !ts_running(gp->ts))
            status = Psyscall;
        out("  P%d: status=%d schedtick=%u syscalltick=%u m=%d runqsize=%d gfreecnt=%lld\n", i, status,
            pp->schedtick, pp->syscalltick, mp ? mp->id : -1, pp->runq.size,
            i == 0 ? (long long)gfree_count() : 0LL);
    }
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        p *pp = mp->p;
        g *gp = mp->curg, *lg = mp->lockedg;
        out("  M%d: p=%d curg=%lld mallocing=0 throwing=%d preemptoff= locks=0 dying=0 spinning=%s "
            "blocked=%s lockedg=%lld\n",
            mp->id, pp ? pp->id : -1, gp ? (long long)gp->goid : -1LL, (int)sched.throwing,
            mp->takeover ? "true" : "false", mp->inidle ? "true" : "false", lg ? (long long)lg->goid : -1LL);
    }
    allgs all = {0};
    for (g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (gp->status == Gdead || gp->status == Glost)
            continue;
        m *mp = gp->m, *lm = gp->lockedm;
        out("  G%lld: status=%d(%s) m=%d lockedm=%d\n", (long long)gp->goid, gp->status,
            gp->status == Gwaiting ? waitreason_text[gp->waitreason] : "", mp ? mp->id : -1,
            lm ? lm->id : -1);
    }
    write_all(errfd, buf, n);
#undef out
}
