/* fork.c: the child of a fork starts over with one goroutine.
 *
 * Only the thread that forked is left. The goroutine that forked becomes the main one, its M the new m0. This
 * happens in two steps:
 *   in_child          a pthread_atfork handler, inside fork(). CPython has not repaired itself yet: no Python
 *                     code, no thread state is made or deleted, nor memory allocated that is Python's. When
 *                     it returns, goroutines can be started and can wait.
 *   sched_after_fork  an at-fork hook of the module os: what needs the interpreter.
 * Between them CPython deletes the thread states of the lost threads and goroutines, and runs destructors of
 * their thread-locals; and it calls hooks of the program that were registered before gort's. Both may use
 * goroutines. That is why one step is not enough.
 *
 * fork() may also be called in C, by any thread, and perhaps only to exec: then there is no second step. If
 * another thread was in the interpreter, the child finds what it was writing half written: then nothing is
 * touched (nothing of Python can be used in such a child), unless CPython's own repair is called all the
 * same, and the hook.
 *
 * Invariants
 *   1. The others are lost (Glost) for ever, and so are the stacks that goroutines had: wait queues of
 *      channels and locks point to sudogs there, and skip them (waitq_pop). A lost stack is neither released
 *      nor used again.
 *   2. The stacks of lost pthreads are glibc's, which gives them to new threads. So sudogs of plain threads,
 *      and of a main goroutine that was one, lie on the heap (waiter_for), as long as somebody waits.
 *   3. What was handed over to a lost goroutine that has not run since, it gives back, if it is a lock's
 *      (handover). A value that a receiver was given is lost with the receiver.
 *   4. Timers are gone, since what they would wake is.
 *
 * Rejected: to take sudogs of lost goroutines out of their queues. Each wait would have to keep a list of the
 * queues that its goroutine is in.
 *
 * Differs from Go, which does not fork.
 */
#include "core.h"

#include "cpython/compat.h"
#include "hooks.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/ident.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "sched/thread.h"
#include "sched/time.h"
#include "sched/wait.h"

#include <stdlib.h>

/* Between the two steps. m0 runs all that it can: new threads would meet a CPython that is just making new
 * locks. */
bool fork_unfinished;
static bool undone; /* the first step was not possible */
static bool pinned; /* main is locked to its thread until the second */

void
fork_pin(g *gp)
{
    if (!fork_keeps_thread() || gp->lockcount)
        return;
    lock_thread(gp);
    pinned = true;
}

void
g_lost(g *gp)
{
    gp->ts = NULL;
    gp->status = Glost;
    /* now: these lie on the lost stack, which the next thread may be given */
    for (const handover *h = gp->handover; h; h = h->outer)
        h->lost(h->lock, h->w->fired != NULL);
    gp->handover = NULL;
}

/* All goroutines are lost but gp (NULL: a plain thread forked), and all plain threads but `plain` (NULL: it
 * did not wait in gort). */
static void
lose_others(g *gp, const thread *plain)
{
    stacks_after_fork(gp);
    for (thread *t = sched.threads; t; t = t->alllink) {
        if (t != plain)
            g_lost(&t->g.g);
    }
    free_threads = NULL;
    sched.threads = NULL;
    timers_after_fork();
}

/* No M, no sysmon, nothing runnable, and all Ps idle. */
static void
begin_anew(void)
{
    sched.midle = NULL;
    sched.nmidle = sched.nmidlelocked = 0;
    sched.allm = sched.mfree = NULL;
    sched.mcount = 0;
    sched.nthreads = 0;
    sched.ngoroutines = 1;
    sched.sysmonstarted = false;
    atomic_store(&sched.sysmonwait, false);
    atomic_store(&sched.ntakeover, 0);
    atomic_store(&sched.nwaitgil, 0);
    atomic_store(&making, 0);
    coming_home = NULL;
    sysmon_after_fork();
    fatal_forget();
    atomic_store(&sched.attention, false);
    sched.runq = (gqueue){0};
    sched.pidle = NULL;
    sched.npidle = 0;
    for (int32_t i = sched.nprocs - 1; i >= 0; i--) {
        allp[i]->runq = (gqueue){0};
        pidleput(allp[i]);
    }
}

/* A plain thread forked: it is bound as the main thread when it comes to gort. */
static void
left_thread(thread *plain)
{
    if (plain) { /* it may be in a queue, by a wait that is not over: see Cond */
        plain->alllink = NULL;
        sched.threads = plain;
    }
    setthread(NULL);
    setm(NULL);
    maing = NULL;
    m *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        throw("no memory in the child of a fork");
    m0 = fresh;
}

/* A goroutine forked: it is the main one, and its M is m0. */
static void
left_goroutine(g *gp, m *mp)
{
    main_ident = owner_id(); /* before it is main: its identity stays what it was */
    maing = gp;
    gp->flags = (uint8_t)((gp->flags | G_MAIN) & ~(G_PROOF | G_SYSTEM));
    m0 = mp;
    mp->ts = NULL; /* mloop makes one */
    mp->ident = PyThread_get_thread_ident();
    mp->tid = (int32_t)PyThread_get_thread_native_id();
    mp->p = mp->nextp = NULL;
    mp->nextg = NULL;
    mp->takeover = false;
    mp->inidle = false;
    mp->alllink = mp->allprev = NULL;
    sched.allm = mp;
    sched.mcount = 1;
    mp->deny = gp->lockcount ? 0xff : G_LOCKED;
    acquirep(mp, pidleget());
    fork_pin(gp); /* last: it goes by m0 and G_MAIN */
}

/* What threading knows of goroutines (current_thread) is over: also of the one that forked, since it would
 * take that record, which is of no Thread that it could repair, for the main thread's. */
static bool
is_over(unsigned long ident)
{
    return is_goid(ident) && ident != main_ident;
}

/* ts: of the thread that is left.
 *
 * Most steps are independent of each other: no Python code and no other thread runs in between. But
 * goroutines and threads are marked as lost while maing and sched.threads still lead to the parent's, and a P
 * is taken when the list of idle Ps is whole again. */
static void
restart(PyThreadState *ts)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    thread *plain = getthread();

    fork_unfinished = true;
    atomic_store(&sched.lock, 0); /* who held it is lost; what is under it is made anew below */
    lose_others(gp, plain);
    begin_anew();
    compat_after_fork(ts);
    if (PyGILState_Check())
        ts_forget_drop_request(
            ts); /* whoever asked for the GIL is lost: to give it up would be to wait for ever */
    death_after_fork();
    morestack_after_fork(gp);
    hooks.forked(ts, gp);
    threading_lock_after_fork();
    threading_forget_lost(is_over); /* before left_goroutine, which gives main another identity */
    if (gp)
        left_goroutine(gp, mp);
    else
        left_thread(plain);
}

/* Made last (fork_init), so it is the last of gort's handlers to run: the heap and the list of thread states
 * are unlocked. Without a thread state another thread was in the interpreter, and left it half written: then
 * nothing is touched before CPython's own repair, if that ever comes. */
static void
in_child(void)
{
    PyThreadState *ts = compat_forked();
    if (ts)
        restart(ts);
    else
        undone = true;
}

/* From a hook: CPython is whole again. */
void
sched_after_fork(void)
{
    if (undone)
        restart(PyThreadState_Get());
    undone = false;
    if (!fork_unfinished)
        return; /* a hook has forked: the child has done this in the inner fork */
    /* before m0_denies is asked, by unlock_thread too */
    fork_unfinished = false;
    if (pinned)
        unlock_thread(maing);
    pinned = false;
    if (maing && !maing->lockcount)
        m0->deny = m0_denies();
    compat_after_fork(PyThreadState_Get());
    if (!maing && watch_forker() < 0)
        PyErr_Clear(); /* no memory: a thread of ours may keep the process when this one ends */
    threading_main_forked(owner_id());
    hooks.forked_late();
    session_after_fork();
    deadlock_after_fork();
}

void
fork_init(void)
{
    around_forks(NULL, NULL, in_child);
}
