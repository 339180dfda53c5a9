/* m.c: Ms, the threads that run goroutines: how they are made, sleep, and are woken with work.
 *
 * Invariants
 *   1. An M that is asleep is in the list of idle ones (m.inidle), or is locked to a goroutine that is parked
 *      (nmidlelocked counts those). A thread that takes an M out of the list must wake it.
 *   2. Before it is woken it is told what to do: nextp and nextg by a thread that holds the GIL, or takeover
 *      by anyone (wake_for_takeover). m0 may be told nothing: it is to look for signals (wake_m0).
 *   3. Records of Ms are never freed: sysmon and signal handlers may look at any.
 *
 * midleget, allocm, newm, wake_for_takeover and wake_m0 need no GIL: sysmon calls them. Nor does gil_take.
 * The lists are under idlelock, a spin lock held for a few instructions, under which nothing else is locked
 * and nothing allocated.
 *
 * Rejected: a spare M that always waits for the GIL. Each short release (a read of a cached file) would cost
 * two thread switches. One stands by only while goroutine after goroutine blocks in C (m.chain): it gets the
 * GIL the moment that the next one gives it up, instead of when sysmon has noticed.
 *
 * Differs from Go: an M that is taken over from keeps its goroutine; there is no P in a system call to come
 * back to.
 */
#include "core.h"

#include "cpython/compat.h"
#include "lib/list.h"
#include "os/annotate.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/sysmon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Under idlelock. */
static m *
idle_take(m *want, m *avoid)
{
    m *mp = want ? want : sched.midle;
    if (!want && mp && mp == avoid)
        mp = mp->idlelink;
    if (mp && !mp->inidle)
        mp = NULL;
    if (mp) {
        mp->inidle = false;
        if (mp->lockedg)
            sched.nmidlelocked--;
        else {
            sched.nmidle--;
            list_remove(sched.midle, mp, idlelink, idleprev);
        }
    }
    return mp;
}

/* Takes `want`, or if NULL any but `avoid` that is not locked to a goroutine, from the idle ones. Needs no
 * GIL. The caller must wake the M that it gets: one whose sleep has just ended by itself looks only whether
 * it is still among them. */
m *
midleget(m *want, m *avoid)
{
    idlelock();
    m *mp = idle_take(want, avoid);
    idleunlock();
    return mp;
}

/* Has mp take a P over, and stand by for `standby` if that is given. */
static void
tell_takeover(m *mp, p *standby, bool chain)
{
    mp->standby = standby;
    mp->chain = chain;
    mp->standbytick = standby ? standby->schedtick + 1 : 0; /* that of the goroutine which starts next */
    atomic_fetch_add(&sched.ntakeover, 1);                  /* before mp can take itself off the count */
    atomic_store(&mp->takeover, true);
}

/* midleget and tell_takeover under one lock: otherwise an M whose sleep ends by itself between the two would
 * not see that it is to take over, and run some goroutine for as long as that likes while nobody else may
 * take over. */
static m *
midleget_takeover(m *want, m *avoid, p *standby, bool chain)
{
    idlelock();
    m *mp = idle_take(want, avoid);
    if (mp)
        tell_takeover(mp, standby, chain);
    idleunlock();
    return mp;
}

/* mp is about to sleep. A locked M is found by its goroutine and by nobody else. */
static void
midleput(m *mp)
{
    idlelock();
    mp->inidle = true;
    if (mp->lockedg)
        sched.nmidlelocked++;
    else {
        sched.nmidle++;
        list_push(sched.midle, mp, idlelink, idleprev);
    }
    idleunlock();
}

static void
notewakeup(m *mp)
{
    atomic_store_explicit(&mp->note, 1, memory_order_release);
    futex_wake(&mp->note);
}

/* No more threads can be had. With or without the GIL: sysmon comes here without it, and while it waits for
 * the GIL the thread that holds it may come here too. It is reported once, and the first thread that has the
 * GIL ends the process. */
static _Noreturn void
die_of_threads(const char *why, const char *error)
{
    static _Atomic bool reported;
    if (!atomic_exchange(&reported, true))
        write_all(FATALFD, why, strlen(why));
    PyGILState_Ensure();
    if (!sched.throwing)
        fatal(error);
    PyEval_SaveThread(); /* another thread is dying for the same reason */
    for (;;)
        pause();
}

_Noreturn void
thread_refused(int err)
{
    char buf[192];
    snprintf(buf, sizeof buf, "runtime: failed to create new OS thread (have %d already; errno=%d)\n%s",
             sched.mcount, err,
             err == EAGAIN ? "runtime: may need to increase max user processes (ulimit -u)\n" : "");
    die_of_threads(buf, "newosproc");
}

_Noreturn void
thread_limit_exceeded(void)
{
    char buf[96];
    snprintf(buf, sizeof buf, "runtime: program exceeds %d-thread limit\n", sched.maxmcount);
    die_of_threads(buf, "thread exhaustion");
}

/* The list of all Ms, which sysmon walks and extends without the GIL. */
void
allm_add(m *mp)
{
    list_push(sched.allm, mp, alllink, allprev);
}

void
allm_remove(m *mp)
{
    idlelock();
    list_remove(sched.allm, mp, alllink, allprev);
    sched.mcount--;
    idleunlock();
}

/* The thread state is made here and not by the thread itself: malloc gives each thread that comes to it an
 * arena of 64 MiB of addresses. It stays with the record when the thread ends. NULL: no memory. */
static m *
allocm(void)
{
    idlelock();
    m *mp = sched.mfree;
    if (mp)
        sched.mfree = mp->idlelink;
    idleunlock();
    PyThreadState *ts = mp ? mp->ts : NULL;
    if (mp)
        memset(mp, 0, sizeof *mp);
    else if (!(mp = calloc(1, sizeof *mp)))
        return NULL;
    if (!ts) {
        ts = ts_new();
        if (!ts) {
            free(mp); /* nobody has seen it: those that were in use have a thread state */
            return NULL;
        }
        ts_set_thread(ts, scheduler_ident(mp));
    }
    mp->ts = ts;
    idlelock();
    if (++sched.mcount > sched.maxmcount && !sched.throwing) {
        idleunlock(); /* dying takes the GIL and runs Python code, which may need this lock */
        thread_limit_exceeded();
    }
    mp->id = (int32_t)++sched.mcreated;
    allm_add(mp);
    idleunlock();
    mp->deny = G_MAIN | G_LOCKED;
    return mp;
}

/* Nobody runs as mp any more. Others may still look at it: it can be used again, but not be freed. */
static void
freem(m *mp)
{
    idlelock();
    mp->idlelink = sched.mfree;
    sched.mfree = mp;
    idleunlock();
}

static void *mstart(void *arg);

/* A thread for mp. Needs no GIL. False, and mp is gone: there are no addresses for it. */
static bool
newm(m *mp)
{
    int err = thread_start(mstart, mp, M_STACK, sigmask_runtime());
    if (likely(!err))
        return true;
    if (err != ENOMEM)
        thread_refused(err);
    allm_remove(mp);
    freem(mp); /* last: others may use the record again */
    return false;
}

/* No further thread can be had for lack of memory: the main thread does the work if it sleeps, even what may
 * block it; otherwise the M whose goroutine parks next does. */
static bool
make_do(p *pp, g *gp)
{
    m *mp = NULL;
    if (!m0->lockedg) {
        m0->deny &= (uint8_t)~G_UNPROVEN; /* also if it is awake: it comes to the global queue by itself */
        mp = midleget(m0, NULL);
    }
    if (mp) {
        mp->nextp = pp;
        mp->nextg = gp;
        pp->m = mp;
        notewakeup(mp);
        return true;
    }
    if (gp)
        queue_push(&sched.runq, gp);
    pidleput(pp);
    return false;
}

/* Gives pp to an M that is idle or new, to run gp (if any) first. False: no M can be had; pp is idle and gp
 * queued. */
bool
startm_on(m *mp, p *pp, g *gp)
{
    bool fresh = false;
    if (!mp) {
        /* the main thread is given nothing that may block it */
        mp = midleget(NULL, gp && !(gp->flags & m0->deny) ? NULL : m0);
        if (!mp) {
            mp = allocm();
            if (unlikely(!mp))
                return make_do(pp, gp);
            fresh = true;
        }
    }
    /* all of it before the GIL goes: until then mp reads none of it, even if it is awake already */
    mp->nextp = pp;
    mp->nextg = gp;
    pp->m = mp;
    pp->status = Prunning;
    if (fresh)
        return newm(mp) || make_do(pp, gp);
    notewakeup(mp);
    return true;
}

bool
startm(p *pp, g *gp)
{
    return startm_on(NULL, pp, gp);
}

/* -- taking over ------------------------------------------------------------------------------- */

/* How many thread states are being made, perhaps without the GIL. None may be once the interpreter has begun
 * to take them apart. */
_Atomic int32_t making;

#define SECOND ((int64_t)1000000000)
#define PATIENCE 10 /* seconds */

/* Have all other threads of the process slept for PATIENCE, without a break? (Ticks would not tell: a
 * goroutine that polls in C gets on, too.) sysmon asks again and again while goroutines are runnable. */
static bool
nobody_gets_on(void)
{
    static int64_t at, switches, cpu;
    static int looks;
    int64_t now = nanotime(), passed = now - at;
    if (passed < SECOND)
        return false;
    int64_t switches_now = others_switches(), cpu_now = process_cputime() - thread_cputime();
    bool still = passed < 3 * SECOND && switches_now == switches;
    /* less: this is the child of a fork, whose clock began anew */
    still &= cpu_now < cpu + SECOND / 20 && cpu_now > cpu - SECOND / 20;
    looks = still ? looks + 1 : 0;
    at = now;
    switches = switches_now;
    cpu = cpu_now;
    return looks >= PATIENCE;
}

/* There is no memory for another thread. sysmon will ask again; meanwhile the main thread takes over if it
 * sleeps. If all Ms sleep and the main thread may run only its own goroutine, nobody is left. Nor may anybody
 * come back if all are in C: they may wait for what the runnable goroutines would do. Needs no GIL. */
static void
takeover_refused(bool sysmon)
{
    if (sched.stopping)
        return;
    m *mp = m0->lockedg ? NULL : midleget_takeover(m0, NULL, NULL, false);
    if (mp)
        notewakeup(mp);
    else if ((sched.npidle == sched.nprocs && awake_ms() == 0) || (sysmon && nobody_gets_on()))
        thread_refused(ENOMEM);
}

/* Wakes an M that will take a P for itself once it has the GIL: from sysmon a P that is stuck, else `standby`
 * if the goroutine that it is about to run gives up the GIL. Needs no GIL. */
bool
wake_for_takeover(p *standby, bool chain)
{
    m *mp = midleget_takeover(NULL, m0, standby, chain);
    if (mp) {
        notewakeup(mp);
        return true;
    }
    /* before the look: sched_stop sets stopping, then waits for the count to be 0 (rest) */
    atomic_fetch_add(&making, 1);
    mp = sched.stopping ? NULL : allocm();
    atomic_fetch_sub(&making, 1);
    if (unlikely(!mp)) {
        takeover_refused(!standby);
        return false;
    }
    tell_takeover(mp, standby, chain); /* before the thread is there: it looks once, then sleeps */
    if (likely(newm(mp)))
        return true;
    atomic_fetch_sub(&sched.ntakeover, 1);
    takeover_refused(!standby);
    return false;
}

/* sysmon: has the main thread look for signals, if it is idle. Needs no GIL. */
void
wake_m0(void)
{
    if (midleget(m0, NULL))
        notewakeup(m0);
}

/* Takes the P of a goroutine that sysmon saw make no progress, or that mp stood by for: it is in C, or waits
 * for the GIL like any thread. */
p *
retake(m *mp)
{
    p *best = NULL;
    for (int32_t i = 0; i < sched.nprocs; i++) {
        p *pp = allp[i];
        m *vm = pp->m;
        /* looked at again: sysmon saw it before mp had the GIL, and the P may have got on since */
        if (pp->status != Prunning || !vm || vm == mp || vm->p != pp || !vm->curg ||
            (pp->schedtick != pp->seentick && !(pp == mp->standby && pp->schedtick == mp->standbytick)))
            continue;
        if (!best || pp->seenwhen < best->seenwhen)
            best = pp;
    }
    if (best) {
        g *gp = best->m->curg;
        if (!(gp->flags & G_MAIN))
            gp->flags |= G_BLOCKS;
        best->m->p = NULL;
        best->syscalltick++;
        best->schedtick++; /* progress to sysmon; and no other M's standbytick matches */
        sched.handoffs++;
        acquirep(mp, best);
    }
    return best;
}

/* -- sleeping ---------------------------------------------------------------------------------- */

/* A thread that waits for the GIL asks for it only if it was not given up for a whole switch interval. A
 * thread that gives it up more often, for moments, to write to a file, has it back each time before the
 * waiting one has woken up, for seconds on end. So sysmon asks on behalf of those that wait here
 * (relieve_gil). */
void
gil_take(PyThreadState *ts)
{
    /* counted before the look: sysmon says that it sleeps, then looks at the count (sleep_quietly) */
    atomic_fetch_add(&sched.nwaitgil, 1);
    if (atomic_load(&sched.sysmonwait))
        sysmon_wake();
    sysmon_notice();
    PyEval_RestoreThread(ts);
    atomic_fetch_add_explicit(&sched.gilturns, 1, memory_order_relaxed);
    /* Until now sysmon counted us among those who will take the GIL: if we were the last, a request that it
     * has made since we got the GIL has no taker. One that it makes after this line finds nobody waiting, and
     * sysmon sees to a taker. */
    if (atomic_fetch_sub(&sched.nwaitgil, 1) == 1)
        ts_forget_drop_request(ts);
}

_Noreturn void
sleep_forever(m *mp)
{
    mp->stopped = true;
    _Atomic uint32_t never = 0;
    for (;;)
        futex_sleep(&never, 0, INT64_MAX);
}

/* Sleeps without the GIL until woken, or `deadline`, or on m0 a signal. Runs on g0 with mp->ts attached. */
void
stopm(m *mp, int64_t deadline)
{
    check(!mp->p && !mp->curg);
    /* before mp can be found: a thread that takes mp sets it, which must not be undone */
    atomic_store(&mp->note, 0);
    midleput(mp); /* before the GIL goes: a thread that queues something then finds mp */
    PyEval_SaveThread();
    do {
        int err = futex_sleep(&mp->note, 0, deadline);
        if (err == EINTR && mp == m0)
            break; /* perhaps a signal for the main goroutine */
        if (err == ETIMEDOUT)
            break;
    } while (!atomic_load_explicit(&mp->note, memory_order_acquire));
    midleget(mp, NULL); /* if nobody has */
    if (unlikely(sched.stopping))
        sleep_forever(mp); /* before it asks for the GIL: CPython ends threads that do so at the end */
    gil_take(mp->ts);
    /* only now: if the sleep ended by itself, the thread that took mp from the list may still have been
     * writing */
    if (mp->nextp) {
        acquirep(mp, mp->nextp);
        mp->nextp = NULL;
    }
}

/* mp gives up its P, to another M if there is work for it. */
void
handoffp(m *mp)
{
    p *pp = mp->p;
    if (!pp)
        return;
    mp->p = NULL;
    /* for a timer, too: an M that finds nothing to run falls asleep last, and until the timer is due */
    if (pp->runq.head || sched.runq.head || atomic_load(&sched.timer0) != INT64_MAX)
        startm(pp, NULL);
    else
        pidleput(pp);
}

/* -- the thread -------------------------------------------------------------------------------- */

/* The thread of an M. The runtime's own part of its life allocates and frees nothing (allocm). */
static void *
mstart(void *arg)
{
    m *mp = arg;
    this_m = mp;
    sigmask_m();
    mp->ident = PyThread_get_thread_ident();
    mp->tid = (int32_t)PyThread_get_thread_native_id();
    thread_name("gort M");
    annotate_bounds(&mp->g0_lo, &mp->g0_hi);
    mp->altstack = stack_altstack();
    ts_here(mp->ts);
    gil_take(mp->ts);
    mp->tss = ts_find_tss(); /* with the GIL: it needs a current thread state to recognize */
    if (mp->nextp) {
        acquirep(mp, mp->nextp);
        mp->nextp = NULL;
    }
    mloop(mp);

    ts_leave(mp->ts); /* before freem: the next thread of this record attaches it */
    stack_altstack_free(mp->altstack);
    this_m = NULL;
    freem(mp); /* last: from here on mp may be another thread's */
    return NULL;
}
