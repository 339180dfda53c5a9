/* sched.h: the scheduler: parking and making ready for everybody, and below that what its files share. With
 * the GIL, unless a comment says otherwise. */
#ifndef GORT_SCHED_H
#define GORT_SCHED_H

#include "core.h"

#include "cpython/compat.h"
#include "os/arch/arch.h"
#include "sched/sigmask.h"
#include "sched/wait.h"

/* -- for every layer -------------------------------------------------------------------------------- */

/* Makes a parked goroutine runnable. Any thread that holds the GIL; no Python code runs. */
void goready(g *gp);
/* Lets others run; gp goes on when its turn comes. */
void goschedule(g *gp);
/* Main was interrupted in a park: runs the signal handlers. -1 with an exception set. */
int check_signals(void);
/* lock_os_thread and unlock_os_thread, by gp itself; the calls nest. lock_thread may move gp to another
 * thread: what the caller knows of its M is old after it. */
void lock_thread(g *gp);
void unlock_thread(g *gp);
/* Sets GOMAXPROCS. Returns the previous value; -1: MemoryError. */
int procresize(int32_t n);
/* set_max_threads' limit is passed: the program dies. Needs no GIL. */
_Noreturn void thread_limit_exceeded(void);
/* An idle P, which the caller gives to an M or puts back; NULL: there is none. */
p *pidleget(void);
/* Gives pp to an M that is idle or new, to run gp (or NULL) first. False: no M can be had; pp is idle, gp
 * queued. */
bool startm(p *pp, g *gp);
/* mp runs with pp from now on; the caller has got pp from pidleget or from the M that had it. */
static inline void
acquirep(m *mp, p *pp)
{
    mp->p = pp;
    pp->m = mp;
    pp->status = Prunning;
}

/* For module.c. -1: exception set. */

/* Makes the first P, and binds main if this is the main thread. */
int schedinit(void);
int deadlock_init(void); /* fetches what checkdead asks about signals */
void deadlock_after_fork(void);
int gort_deadlock_init(PyObject *module); /* what a session's main asks; -1: exception set */
/* Installs the handler that runs in the child inside fork(); it cannot be taken away again. */
void fork_init(void);
void sched_after_fork(void); /* from a hook of the module os, in the child: the second step */
/* The interpreter is about to end: Ms come to rest, and nothing is scheduled any more. May give up the
 * GIL. */
void sched_stop(void);

/* -- the lists of Ms --------------------------------------------------------------------------------- */

/* Held for a few instructions, in which nothing else is locked and nothing allocated. Any thread, with or
 * without the GIL. */
static inline void
idlelock(void)
{
    while (atomic_exchange_explicit(&sched.lock, 1, memory_order_acquire))
        cpu_relax();
}

static inline void
idleunlock(void)
{
    atomic_store_explicit(&sched.lock, 0, memory_order_release);
}

/* How many Ms are not asleep: those that run a goroutine, and those on their way to sleep or to work. */
static inline int32_t
awake_ms(void)
{
    idlelock();
    int32_t n = sched.mcount - sched.nmidle - sched.nmidlelocked;
    idleunlock();
    return n;
}

/* -- p.c: queues and Ps ------------------------------------------------------------------------------- */

static inline void
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

static inline g *
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

static inline void
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

#if GORT_DEBUG >= 3
void validate(void); /* throws if a queue or a P is not as it must be */
#else
#define validate() ((void)0)
#endif
/* Takes the goroutine that pp runs next out of its queue, the global one or another P's; NULL: there is
 * none. */
g *nextg(p *pp);
/* pp, which no M has and whose queue is empty, or will be looked at by others, is idle from now on. */
void pidleput(p *pp);

/* -- m.c -------------------------------------------------------------------------------------------- */

/* These need no GIL. Takes `want` from the idle Ms, or if it is NULL any of them but `avoid`; NULL: it is not
 * idle, there is none. The caller must wake it. */
m *midleget(m *want, m *avoid);
/* Wakes or makes an M that takes a P over; see m.standby and m.chain. False: no M can be had. */
bool wake_for_takeover(p *standby, bool chain);
void wake_m0(void);                     /* to look for signals, if it is asleep */
#define M_STACK (512 << 10)             /* the stack of an OS thread made for goroutines */
_Noreturn void thread_refused(int err); /* no new thread, errno says why: the program ends */
/* PyEval_RestoreThread, by a thread that is not left waiting while others give up the GIL only to take it
 * again. */
void gil_take(PyThreadState *ts);

void allm_add(m *mp);    /* under idlelock, with mcount */
void allm_remove(m *mp); /* takes idlelock, counts mcount down */
/* startm for this M, which midleget gave the caller; NULL: any that is idle or new. */
bool startm_on(m *mp, p *pp, g *gp);
/* mp gives up its P, if it has one: to an M that is idle or new if there is work or a timer, else to the idle
 * ones. */
void handoffp(m *mp);
/* The P of a goroutine that makes no progress, which goes on without it, is mp's now; NULL: all make
 * progress. */
p *retake(m *mp);
/* mp, on g0 and without a P, sleeps without the GIL until it is woken, or `deadline`, or on m0 a signal. It
 * may have a P when this returns. */
void stopm(m *mp, int64_t deadline);
/* The interpreter ends: mp never asks for the GIL again, which it has given up. */
_Noreturn void sleep_forever(m *mp);
extern _Atomic int32_t making; /* how many thread states are being made, perhaps without the GIL */

/* -- finish.c --------------------------------------------------------------------------------------- */

_Noreturn void stop_forever(m *mp);  /* on g0, with the GIL: sched.stopping is set */
_Noreturn void sched_abandon(g *gp); /* gp ends with the program */
/* sched.stopping is set: does not return to goroutines that wait, unless it is their thread that ends. */
void sched_ended(void);

/* -- fork.c, deadlock.c -------------------------------------------------------------------------------- */

extern bool fork_unfinished; /* this is the child of a fork, between the two steps */
/* Locks main, which gp is, to its thread until the second step, where CPython needs that. */
void fork_pin(g *gp);
void g_lost(g *gp); /* gp does not exist in the child: gives back what was handed over to it */
/* Ends the program if nothing can run again. Otherwise, how long the M that asks, which is about to sleep,
 * may do so: for ever if somebody else will wake it. On g0. */
int64_t checkdead(void);

/* -- sched.c ---------------------------------------------------------------------------------------- */

/* If main is parked and a signal waits, or a session has something to tell it: readies it, to run the
 * handlers. */
void interrupt_main(void);
/* Ends the running goroutine gp, which is on the free list already, and runs others. Its next life continues
 * after the call. */
void godead(g *gp);
void newproc1(g *gp); /* makes a new goroutine runnable, and starts sysmon with the first one */
/* By gp, before all else when it runs again: attaches its thread state. May run Python code. */
void resumed(g *gp);
/* There is a new first timer, set by a thread that will not look at the heap itself: finds one that will. */
void timer_added(void);
void setm(m *mp);   /* of this OS thread */
void g0_main(void); /* where m0's scheduler stack begins */
/* Main, runnable, wants to be locked to m0, which is not asleep: what is in C there goes on first. Main is in
 * no queue; m0 takes it when it comes to look for work. */
extern g *coming_home;
/* What m0 does not run unless it must, while it is not locked. */
static inline uint8_t
m0_denies(void)
{
    return fork_unfinished ? G_LOCKED : G_UNPROVEN | G_LOCKED;
}

/* When a full collection is due and there may be a goroutine for it. A program without goroutines is
 * collected only in its own thread. */
static inline int64_t
forcegc_when(void)
{
    return sched.goidgen > 1 ? atomic_load_explicit(&sched.forcegc, memory_order_relaxed) : INT64_MAX;
}

/* The scheduler's loop on g0. Returns when the thread must end. */
void mloop(m *mp);
/* Switches from gp, whose m is no longer set, to mp's scheduler stack; returns when gp is resumed. */
void switch_to_g0(m *mp, g *gp);

/* -- mainthread.c --------------------------------------------------------------------------------------- */

/* The process's main thread becomes m0 and runs the main goroutine. In that thread. -1: exception set. */
int bind_main(void);
/* In the child of a fork, by the thread that forked: the process ends with it. -1: exception set. */
int watch_forker(void);
/* The thread that forked has ended: waits until only gort's threads are left, then ends the process. No
 * GIL. */
_Noreturn void forker_gone(void);
bool forker_is_ending(void); /* is this that thread, with its thread state being cleared? */

/* Main is about to park or yield: other goroutines may run on its thread, and no thread is the main one. */
static inline void
main_leaves(g *gp)
{
    main_thread_set(false);
    if (unlikely(gp->m != m0))
        sigmask_move(false);
}

int gort_threadstats_init(PyObject *module); /* threadstats.c */

#endif
