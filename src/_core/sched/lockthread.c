/* lockthread.c: goroutines that are locked to their thread (Go's LockOSThread).
 *
 * Invariant: gp->lockcount > 0 means gp->lockedm == mp and mp->lockedg == gp; then mp runs gp and nothing
 * else, and sleeps while gp is parked. Main is locked to m0 only.
 *
 * With the GIL, by the goroutine itself.
 *
 * Differs from Go: a goroutine on m0 moves to another thread first, since nobody may take the process's main
 * thread from the main goroutine.
 */
#include "core.h"

#include "os/os.h"
#include "sched/sched.h"
#include "sched/sysmon.h"

#include <errno.h>

/* Runs on from another M: what gp->flags say now keeps it off this one. */
static void
migrate(g *gp)
{
    m *mp = gp->m;
    if (gp->flags & G_MAIN)
        main_leaves(gp);
    gp->status = Grunnable;
    gp->m = NULL;
    mp->curg = NULL;
    queue_push(&sched.runq, gp); /* not saved yet: nobody runs it before this M gives up the GIL, on g0 */
    sysmon_notice();
    switch_to_g0(mp, gp);
    resumed(gp);
}

void
lock_thread(g *gp)
{
    if (gp->lockcount == 0 && !(gp->flags & G_THREAD)) {
        if (gp->flags & G_MAIN) {
            while (gp->m != m0) { /* main is locked to the main thread and to no other */
                /* before it is queued: because of these an M that finds it sends it home */
                gp->flags |= G_LOCKED;
                gp->lockedm = m0;
                migrate(gp);
            }
        }
        else {
            if (gp->m == m0) { /* nobody else may take the main thread */
                /* make_do or a fork may have had it run everything */
                m0->deny |= G_UNPROVEN;
                gp->flags |= G_BLOCKS;
                migrate(gp);
                if (gp->m == m0)
                    thread_refused(ENOMEM);
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
    if (gp->lockcount == gp->greenlets || --gp->lockcount > 0 || gp->flags & G_THREAD)
        return;
    gp->flags &= (uint8_t)~G_LOCKED;
    gp->lockedm = NULL;
    gp->m->lockedg = NULL;
    gp->m->deny = gp->m == m0 ? m0_denies() : G_MAIN | G_LOCKED;
}
