/* sched.h: what the files of the scheduler share. All of it with the GIL, where nothing else is said. */
#ifndef GORT_SCHED_H
#define GORT_SCHED_H

#include "core.h"

#include "cpython/compat.h"

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

/* At most n of them, in their order. */
void queue_move(gqueue *to, gqueue *from, int32_t n);
#if GORT_DEBUG >= 3
void validate(void); /* throws if a queue or a P is not as it must be */
#else
#define validate() ((void)0)
#endif
/* The goroutine that pp runs next, out of its queue, the global one or another P's; NULL: there is none. */
g *nextg(p *pp);

/* -- m.c -------------------------------------------------------------------------------------------- */

/* See there. No GIL. */
m *midleget(m *want, m *avoid);
void notewakeup(m *mp);
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

/* -- sched.c ---------------------------------------------------------------------------------------- */

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

/* -- thread.c ----------------------------------------------------------------------------------------- */

/* gp, a plain thread's, waits on its own. */
void park_thread(g *gp);
void thread_ended(void *arg); /* its m: the thread is about to be gone; no GIL */

/* -- mainthread.c --------------------------------------------------------------------------------------- */

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

#endif
