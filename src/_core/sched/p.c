/* p.c: Ps, the rights to run goroutines, and their queues of runnable ones.
 *
 * Invariants
 *   1. A P is idle (in sched.pidle), has an M (p.m and m.p, or m.nextp of an M on its way, point at each
 *      other), or is dead because GOMAXPROCS is smaller now.
 *   2. A goroutine in a queue is Grunnable and has no M.
 *
 * With the GIL. sysmon reads status, m, schedtick and the sizes of the queues without it; allp grows and
 * never shrinks.
 *
 * Rejected: Go's runnext slot. A pair of goroutines that wake each other would starve the others, which Go
 * cures by preemption. Queues are first in, first out; only what timers wake goes in front.
 *
 * Differs from Go: local queues are lists without bound, because under the GIL nobody steals concurrently,
 * and a list costs no memory of its own.
 */
#include "core.h"

#include "sched/sched.h"
#include "sched/sysmon.h"

#include <stdlib.h>

p *allp[MAXPROCS];

/* -- queues ------------------------------------------------------------------------------------ */

/* At most n of them, in their order. */
static void
queue_move(gqueue *to, gqueue *from, int32_t n)
{
    for (g *gp; n > 0 && (gp = queue_pop(from)) != NULL; n--)
        queue_push(to, gp);
}

#if GORT_DEBUG >= 3
/* A long one not at every schedule: so often that a schedule costs 100 steps. */
static void
validate_queue(gqueue *q)
{
    static int32_t saved;
    if (q->size > 100) {
        saved += 100;
        if (q->size > saved)
            return;
        saved = 0;
    }
    int32_t n = 0;
    g *last = NULL;
    for (g *gp = q->head; gp; last = gp, gp = gp->schedlink, n++) {
        if (gp->status != Grunnable || gp->m)
            throw("a goroutine in a run queue is not runnable");
    }
    if (n != q->size || last != q->tail)
        throw("a run queue's size or tail is wrong");
}

void
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
        atomic_thread_fence(memory_order_seq_cst); /* sysmon says that it waits, then looks at npidle */
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
    atomic_thread_fence(memory_order_release); /* sysmon walks them */
    sched.nprocs = n;
    for (int32_t i = old; i < n; i++)
        pidleput(allp[i]); /* after nprocs, or all Ps would look idle to sysmon for a moment */
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
            if (pp->m->nextp == pp) { /* that M is on its way: it looks at these when it has the GIL */
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
    /* an M whose P is dead now may be in C while the others sleep: one must sleep until the first timer */
    if (sched.npidle == sched.nprocs && atomic_load(&sched.timer0) != INT64_MAX)
        startm(pidleget(), NULL);
    return old;
}

/* -- what a P runs next -------------------------------------------------------------------------- */

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

g *
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
