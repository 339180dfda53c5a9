/* fork.c: the child of a fork starts over with one goroutine.
 *
 * Called in the child, GIL held, from an at-fork hook. Only the thread that forked is left, and CPython has deleted all
 * thread states but its current one. The goroutine that forked becomes the main one, its M the new m0.
 *
 * Invariant: the others are lost (Glost), and their stacks stay as they are: wait queues of channels and locks point
 * into them, and skip them (waitq_pop). Timers are gone: what they would wake is.
 *
 * Differs from Go, which does not fork.
 */
#include "core.h"

#include "compat.h"

#include <stdlib.h>

void
sched_after_fork(void)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    bool thread = gp && gp->flags & G_THREAD;

    atomic_store(&sched.lock, 0);
    for (g *other = sched.allgs; other; other = other->alllink) {
        if (other == gp)
            continue;
        other->ts = NULL;
        if (other->status != Gdead)
            other->status = Glost;
    }
    timers_after_fork();
    sched.midle = NULL;
    sched.nmidle = 0;
    sched.allm = NULL;
    sched.mcount = 0;
    sched.nthreads = 0;
    sched.ngoroutines = 1;
    sched.sysmonstarted = false;
    atomic_store(&sched.sysmonwait, false);
    atomic_store(&sched.ntakeover, 0);
    atomic_store(&sched.attention, false);
    sched.runq = (gqueue){0};
    sched.pidle = NULL;
    sched.npidle = 0;
    free_threads = NULL;
    sched.threads = NULL;
    for (int32_t i = sched.nprocs - 1; i >= 0; i--) {
        allp[i]->runq = (gqueue){0};
        pidleput(allp[i]);
    }
    compat_after_fork();
    main_forked();
    if (!gp || thread) {
        /* a plain thread forked: it is bound as the main thread when it comes to gort */
        setm(NULL);
        maing = NULL;
        m *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
            throw("no memory in the child of a fork");
        m0 = fresh;
        return;
    }
    maing = gp;
    gp->flags = (uint8_t)((gp->flags | G_MAIN) & ~(G_UNPROVEN | G_BLOCKS | G_SYSTEM));
    m0 = mp;
    mp->ts = ts_new();
    if (!mp->ts)
        throw("no memory in the child of a fork");
    mp->ident = PyThread_get_thread_ident();
    mp->tid = (int32_t)PyThread_get_thread_native_id();
    mp->p = mp->nextp = NULL;
    mp->nextg = NULL;
    mp->takeover = false;
    mp->inidle = false;
    mp->alllink = NULL;
    sched.allm = mp;
    sched.mcount = 1;
    mp->deny = gp->lockcount ? 0xff : G_UNPROVEN | G_LOCKED;
    acquirep(mp, pidleget());
}
