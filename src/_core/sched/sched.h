/* sched.h: the scheduler: parking and making ready for everybody, and below that what its files share. With the GIL,
 * where nothing else is said. */
#ifndef GORT_SCHED_H
#define GORT_SCHED_H

#include "core.h"

#include "cpython/compat.h"
#include "sched/sigmask.h"
#include "sched/wait.h"

/* -- for every layer -------------------------------------------------------------------------------- */

/* Makes a parked goroutine runnable. Any thread that holds the GIL; no Python code runs. */
void goready(g *gp);
/* Lets others run; gp goes on when its turn comes. */
void goschedule(g *gp);
/* Main was interrupted in a park: runs the signal handlers. -1 with an exception set. */
int check_signals(void);
/* lock_os_thread and unlock_os_thread; the calls nest. */
void lock_thread(g *gp);
void unlock_thread(g *gp);
/* GOMAXPROCS. Returns the one before; -1: MemoryError. */
int procresize(int32_t n);
_Noreturn void thread_limit_exceeded(void);
/* An idle P, which the caller gives to an M or puts back; NULL: there is none. */
p *pidleget(void);
/* Gives pp to an M that is idle or new, to run gp (or NULL) first. False: nobody can be had; pp is idle, gp queued. */
bool startm(p *pp, g *gp);
static inline void
acquirep(m *mp, p *pp)
{
    mp->p = pp;
    pp->m = mp;
    pp->status = Prunning;
}

/* For module.c: the beginning, the end, and forks. -1: exception set. */
int schedinit(void);
int deadlock_init(void);
void fork_init(void);
void sched_after_fork(void); /* from a hook of the module os, in the child */
void sched_stop(void);       /* the interpreter is about to end */

/* -- the lists of Ms --------------------------------------------------------------------------------- */

static inline void
idlelock(void)
{
    while (atomic_exchange_explicit(&sched.lock, 1, memory_order_acquire)) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
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
/* The goroutine that pp runs next, out of its queue, the global one or another P's; NULL: there is none. */
g *nextg(p *pp);
void pidleput(p *pp);

/* -- m.c -------------------------------------------------------------------------------------------- */

/* See there. No GIL. */
m *midleget(m *want, m *avoid);
bool wake_for_takeover(p *standby, bool chain); /* false: no M can be had */
void wake_m0(void);
#define M_STACK (512 << 10)             /* the stack of an OS thread made for goroutines */
_Noreturn void thread_refused(int err); /* no new thread, errno says why: the program ends */
/* PyEval_RestoreThread, by a thread that is not left waiting while others give up the GIL only to take it again. */
void gil_take(PyThreadState *ts);
void allm_add(m *mp); /* under idlelock */
void allm_remove(m *mp);
bool startm_on(m *mp, p *pp, g *gp);
void handoffp(m *mp);
p *retake(m *mp);
void stopm(m *mp, int64_t deadline);
_Noreturn void sleep_forever(m *mp);
extern _Atomic int32_t making; /* so many thread states are, perhaps without the GIL */

/* -- finish.c --------------------------------------------------------------------------------------- */

_Noreturn void stop_forever(m *mp);
_Noreturn void sched_abandon(g *gp); /* gp ends with the program */

/* -- fork.c, deadlock.c -------------------------------------------------------------------------------- */

extern bool fork_unfinished;
void fork_pin(g *gp); /* main, meanwhile */
void g_lost(g *gp);   /* also stacks_after_fork */
int64_t checkdead(void);

/* -- sched.c ---------------------------------------------------------------------------------------- */

/* If main is parked and a signal waits: it shall run the handlers. */
void interrupt_main(void);
/* Ends the running goroutine gp, which is on the free list already, and runs others. Its next life continues after the
 * call. */
void godead(g *gp);
void newproc1(g *gp);   /* makes a new one runnable */
void resumed(g *gp);    /* the first thing that it does when it runs again */
void timer_added(void); /* by somebody who will not look at the heap */
void setm(m *mp);       /* of this OS thread */
void g0_main(void);
/* Main, runnable, wants to be locked to m0, which is not asleep: whatever is in C there goes on first. In no queue; m0 takes it when
 * it comes to look for work. */
extern g *coming_home;
/* What m0 does not run unless it must, while it is not locked. */
static inline uint8_t
m0_denies(void)
{
    return fork_unfinished ? G_LOCKED : G_UNPROVEN | G_LOCKED;
}

/* When a full collection is due and there may be a goroutine for it. A program without any is collected in its own thread
 * alone. */
static inline int64_t
forcegc_when(void)
{
    return sched.goidgen > 1 ? atomic_load_explicit(&sched.forcegc, memory_order_relaxed) : INT64_MAX;
}

/* The scheduler's loop on g0. Returns when the thread must end. */
void mloop(m *mp);
/* From gp, whose m is no longer set, to the scheduler's own stack of mp. */
void switch_to_g0(m *mp, g *gp);

/* -- mainthread.c --------------------------------------------------------------------------------------- */

void main_forked(void); /* from the hook, in the child of a fork */
/* The process's main thread becomes m0 and runs the main goroutine. In that thread. -1: exception set. */
int bind_main(void);
/* In the child of a fork, by the thread that forked: the process ends with it. -1: exception set. */
int watch_forker(void);
_Noreturn void forker_gone(void);
bool forker_is_ending(void); /* this thread has, and its thread state is being cleared */

/* Main is about to leave its thread. */
static inline void
main_leaves(g *gp)
{
    main_thread_set(false);
    if (unlikely(gp->m != m0))
        sigmask_move(false);
}

int gort_threadstats_init(PyObject *module); /* threadstats.c */

#endif
