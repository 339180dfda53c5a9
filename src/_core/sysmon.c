/* sysmon.c: the thread that watches, without a P and without the GIL.
 *
 * It finds Ps whose goroutine makes no progress while there is work (runnable goroutines, due timers, a signal for the
 * parked main goroutine, a collection that is due to the time) and wakes an M that takes such a P (retake in sched.c). It
 * tells running Ms that timers are due, keeps the coarse clock, prints schedtrace, prepares stacks (stack.c) and scavenges
 * (mgcscavenge.c).
 *
 * What counts as no progress: the P's schedtick stood still
 *   - since the last look (20 us or more) and the goroutine does not hold the GIL: it is in C;
 *   - for 10 ms although it has the GIL: it computes (Go's forcePreemptNS); 1 ms if a timer is due.
 *
 * How often it looks: every 20 us after it had something to do; after 50 looks in vain twice as seldom each time, to
 * at most 1 ms while work waits or a timer runs, else 2 ms. It sleeps for good when all Ps are idle, no
 * goroutine is in C, and has been so for a while.
 *
 * It follows ps, ms and gs freely: they are never freed. What it reads may be old by the time the woken M has the GIL; that
 * M looks again.
 *
 * Differs from Go: Go's sysmon takes the P itself, because Go code says when it enters a system call. There is no
 * netpoll here.
 */
#include "heap.h"

#include "compat.h"
#include "mgc.h"
#include "os.h"

#include <stdio.h>
#include <string.h>

#define US 1000
#define MS 1000000

_Atomic bool scavenger_asleep;

static _Atomic int32_t tid; /* 0: it has not begun yet */
static bool paused;         /* for a fork */
static uint32_t generation; /* a fork leaves the parent's sysmon behind; a new one is started on demand */

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

/* Is some goroutine in C, or computing, on an M without a P? */
static bool
busy_ms(void)
{
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        if (mp->curg)
            return true;
    }
    return false;
}

/* Does some goroutine compute in the interpreter? */
static bool
computing(void)
{
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        g *gp = mp->curg;
        PyThreadState *ts = gp ? gp->ts : NULL;
        if (ts && ts_running(ts))
            return true;
    }
    return false;
}

/* True if it woke somebody. */
static bool
retake_scan(int64_t now)
{
    bool due = atomic_load_explicit(&sched.timer0, memory_order_relaxed) <= now;
    bool sig = maing && maing->status == Gwaiting && signals_pending();
    bool collect = gc_force_when() <= now;
    if (due || sig || collect)
        atomic_store_explicit(&sched.attention, true, memory_order_relaxed);
    if (maing && maing->status == Grunning && signals_pending())
        signals_force();
    bool runnable = runnable_waits();
    bool stuck = false, alive = false; /* some P is; some P makes progress */
    bool blocked = false;              /* ... in C */
    bool wake = false;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        m *mp = pp->m;
        if (pp->status != Prunning || !mp)
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
    /* a P that makes progress will come to the global queue, the timers and the signal by itself: two Ms at work would
     * only fight for the GIL */
    wake |= stuck && !alive && (due || sig || collect || runnable);
    wake |= sched.npidle == sched.nprocs && (runnable || collect || (sig && m0->curg));
    if (!wake || atomic_load(&sched.ntakeover) > 0)
        return false;
    if (sched.ending && maing && maing->status != Gwaiting)
        return false; /* main has returned: the others run only while an atexit handler waits for them */
    wake_for_takeover(NULL, blocked);
    return true;
}

static void *
sysmon_main(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    atomic_store(&tid, (int32_t)PyThread_get_thread_native_id());
    thread_name("gort sysmon");
    os_timerslack();
    int64_t lasttrace = 0, quiet_since = 0, scavenging = INT64_MAX;
    int64_t delay = 20 * US;
    int idle = 0;
    while (!sched.stopping && mine == generation) {
        if (idle == 0)
            delay = 20 * US;
        else if (idle > 50)
            delay *= 2;
        int64_t timer0 = atomic_load_explicit(&sched.timer0, memory_order_relaxed);
        int64_t cap = timer0 != INT64_MAX || runnable_waits() ? 1 * MS : 2 * MS;
        if (delay > cap)
            delay = cap;
        int64_t now = nanotime(), until = now + delay;
        if (timer0 > now && timer0 < until)
            until = timer0;
        if (scavenging > now && scavenging < until)
            until = scavenging;
        uint32_t note = atomic_load(&sched.sysmonnote);
        bool ahead = stacks_ahead();
        if (!ahead)
            futex_sleep(&sched.sysmonnote, note, until);

        if (unlikely(quit_wanted()))
            quit();
        now = nanotime();
        atomic_store_explicit(&sched.coarse, now, memory_order_relaxed);
        if (sched.schedtrace > 0 && (lasttrace == 0 || now - lasttrace >= (int64_t)sched.schedtrace * MS)) {
            lasttrace = now;
            schedtrace(sched.scheddetail > 0);
        }
        scavenging = scavenge(now, !computing());
        idle = retake_scan(now) || ahead || atomic_load(&sched.sysmonnote) != note ? 0 : idle + 1;

        if (sched.npidle == sched.nprocs && !busy_ms()) {
            if (quiet_since == 0)
                quiet_since = now;
            if (now - quiet_since > 20 * MS) {
                if (maing && maing->status == Gwaiting && signals_pending())
                    wake_m0(); /* it came just before m0 fell asleep */
                int64_t wake = sched.schedtrace > 0 ? lasttrace + (int64_t)sched.schedtrace * MS : INT64_MAX;
                atomic_store(&sched.sysmonwait, true);
                atomic_store(&scavenger_asleep, true);
                note = atomic_load(&sched.sysmonnote);
                scavenging = scavenge(nanotime(), true);
                if (scavenging != INT64_MAX)
                    atomic_store(&scavenger_asleep, false);
                if (scavenging < wake)
                    wake = scavenging;
                if (gc_force_when() < wake)
                    wake = gc_force_when();
                if (sched.npidle == sched.nprocs)
                    futex_sleep(&sched.sysmonnote, note, wake);
                atomic_store(&sched.sysmonwait, false);
                atomic_store(&scavenger_asleep, false);
                now = nanotime();
                if (now < wake) { /* woken */
                    idle = 0;
                    quiet_since = 0;
                }
                else
                    scavenging = scavenge(now, true);
            }
        }
        else
            quiet_since = 0;
    }
    return NULL;
}

static bool
start(void)
{
    generation++;
    atomic_store(&tid, 0);
    sched.sysmonstarted = true;
    return thread_start(sysmon_main, (void *)(uintptr_t)generation, 64 << 10) == 0;
}

void
sysmon_start(void)
{
    if (!start())
        throw("cannot start the sysmon thread");
}

void
sysmon_try_start(void)
{
    static bool failed;
    if (sched.sysmonstarted || sched.stopping || failed)
        return;
    failed = !start();
    sched.sysmonstarted = !failed;
}

/* A program without goroutines has one thread as far as it knows: a fork shall find no other. CPython 3.12 and later count,
 * and warn. */
void
sysmon_pause(void)
{
    paused = sched.sysmonstarted && sched.goidgen == 1;
    if (!paused)
        return;
    generation++;
    sysmon_wake();
    int64_t now = nanotime(), end = now + 100 * MS;
    _Atomic uint32_t never = 0;
    for (; now < end && (atomic_load(&tid) == 0 || thread_exists(atomic_load(&tid))); now = nanotime())
        futex_sleep(&never, 0, now + 50 * US);
    sched.sysmonstarted = false;
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

/* It shall look at once. */
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
            write_all(2, buf, n);                                                                            \
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
            out("%s%d", i ? " " : "", allp[i]->runq.size);
        out("]\n");
        write_all(2, buf, n);
        return;
    }
    int32_t lockedidle = 0;
    for (m *mp = sched.allm; mp; mp = mp->alllink)
        lockedidle += mp->lockedg && !mp->curg;
    int32_t gfree = 0;
    for (g *gp = sched.gfree; gp && gfree < 1000000; gp = gp->schedlink)
        gfree++;
    out(" gcwaiting=0 nmidlelocked=%d stopwait=0 sysmonwait=%d\n", lockedidle,
        (int)atomic_load(&sched.sysmonwait));
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        m *mp = pp->m;
        g *gp = mp ? mp->curg : NULL;
        int status = pp->status;
        if (status == Prunning && gp && gp->ts && !ts_running(gp->ts))
            status = Psyscall;
        out("  P%d: status=%d schedtick=%u syscalltick=%u m=%d runqsize=%d gfreecnt=%d\n", i, status,
            pp->schedtick, pp->syscalltick, mp ? mp->id : -1, pp->runq.size, i == 0 ? gfree : 0);
    }
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        p *pp = mp->p;
        g *gp = mp->curg, *lg = mp->lockedg;
        out("  M%d: p=%d curg=%lld mallocing=0 throwing=%d preemptoff= locks=0 dying=0 spinning=%s blocked=%s "
            "lockedg=%lld\n",
            mp->id, pp ? pp->id : -1, gp ? (long long)gp->goid : -1LL, (int)sched.throwing,
            mp->takeover ? "true" : "false", mp->inidle ? "true" : "false", lg ? (long long)lg->goid : -1LL);
    }
    for (g *gp = sched.allgs; gp; gp = gp->alllink) {
        if (gp->status == Gdead || gp->status == Glost || gp->flags & G_THREAD)
            continue;
        m *mp = gp->m, *lm = gp->lockedm;
        out("  G%lld: status=%d(%s) m=%d lockedm=%d\n", (long long)gp->goid, gp->status,
            gp->status == Gwaiting ? waitreason_text[gp->waitreason] : "", mp ? mp->id : -1,
            lm ? lm->id : -1);
    }
    write_all(2, buf, n);
#undef out
}
