/* thread.c: plain threads that wait in gort, each with records of its own (thread_g): a g with G_THREAD, which is in
 * no run queue, and an m to sleep on.
 *
 * Invariants
 *   1. A thread's records are made when it waits for the first time and go to free_threads when the thread ends. They are
 *      never freed: sched.threads links them all.
 *   2. Its sudogs lie on the heap (G_PTHREAD, see fork.c).
 *
 * With the GIL; free_threads is under idlelock, because threads end without it.
 *
 * Differs from Go, where all threads belong to the runtime.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"

#include <stdlib.h>

m *free_threads; /* under idlelock */

void
thread_ended(void *arg)
{
    m *tm = arg;
    if (!tm->curg || !(tm->curg->flags & G_THREAD))
        forker_gone();
    /* another thread may have the record at once: a later destructor of this one gets one of its own */
    this_m = NULL;
    idlelock(); /* without the GIL: CPython's part of the thread has ended */
    tm->idlelink = free_threads;
    free_threads = tm;
    idleunlock();
}

static g *
thread_g(void)
{
    if (getm()) {
        PyErr_SetString(Error, "the scheduler itself cannot wait");
        return NULL;
    }
    bool ending = forker_is_ending(); /* a destructor waits: that is done as a plain thread */
    if (!maing && on_main_thread() && !ending)
        return bind_main() < 0 ? NULL : maing;
    idlelock();
    m *tm = free_threads;
    if (tm)
        free_threads = tm->idlelink;
    idleunlock();
    if (!tm) {
        tm = calloc(1, sizeof *tm);
        g *gp = calloc(1, sizeof(pthread_g));
        if (!tm || !gp) {
            free(tm);
            free(gp);
            PyErr_NoMemory();
            return NULL;
        }
        gp->flags = G_ANY | G_THREAD | G_PTHREAD;
        gp->status = Grunning;
        gp->m = tm;
        tm->curg = gp;
        tm->alllink = sched.threads;
        sched.threads = tm;
    }
    this_m = tm;
    if (!ending) /* else the process ends with it */
        thread_at_exit(thread_ended, tm);
    return tm->curg;
}

/* Goexit was swallowed by an `except BaseException`: meet it again. */
static g *
goexit_again(g *gp)
{
    if (ts_handling(PyThreadState_Get(), Goexit))
        return gp; /* not swallowed: a finally or with block runs because of it */
    PyErr_SetNone(Goexit);
    return NULL;
}

g *
getg(void)
{
    m *mp = getm();
    if (likely(mp != NULL && mp->curg != NULL)) {
        if (unlikely(mp->curg->goexiting))
            return goexit_again(mp->curg);
        return mp->curg;
    }
    return thread_g();
}

/* A plain thread waits on its own. */
void
park_thread(g *gp)
{
    m *tm = gp->m;
    atomic_store(&tm->note, 0); /* it is queued already, but whoever wakes it needs the GIL for that */
    gp->ts = PyThreadState_Get();
    sched.nthreads++;
    if (sched.npidle == sched.nprocs && maing && maing->status == Gwaiting) {
        /* the last one that could have woken anybody may be this thread: let an M look for a deadlock */
        p *pp = pidleget();
        if (pp)
            startm(pp, NULL);
    }
    PyThreadState *ts = PyEval_SaveThread();
    while (!atomic_load_explicit(&tm->note, memory_order_acquire))
        futex_sleep(&tm->note, 0, INT64_MAX);
    gil_take(ts);
    gp->ts = NULL;
    gp->status = Grunning;
}
