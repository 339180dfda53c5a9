/* thread.c: plain threads that wait in gort, and what runs on a thread (getg).
 *
 * Invariants
 *   1. A thread's record is made when it waits for the first time and goes to free_threads when the thread
 *      ends. It is never freed: sched.threads links them all.
 *   2. Its sudogs lie on the heap (G_PTHREAD: waiter_for; fork.c says why).
 *
 * Rejected: an m and a g as goroutines have, which every reader of either would have to tell from real ones;
 * and queues with two kinds of waiters, which every waker would have to tell apart.
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
#include "sched/thread.h"

#include <stdlib.h>

thread *free_threads;

static _Thread_local thread *this_thread __attribute__((tls_model("initial-exec")));

/* Out of line, like getm. */
noinline thread *
getthread(void)
{
    __asm__ volatile("");
    return this_thread;
}

void
setthread(thread *t)
{
    this_thread = t;
}

void
thread_ended(void *arg)
{
    thread *t = arg;
    if (arg == FORKER)
        forker_gone();
    /* another thread may have the record at once: a later destructor of this one gets one of its own */
    setthread(NULL);
    idlelock(); /* without the GIL: CPython's part of the thread has ended */
    t->freelink = free_threads;
    free_threads = t;
    idleunlock();
}

/* Nobody runs here yet that could wait. */
static noinline g *
newthread(void)
{
    bool ending = forker_is_ending(); /* a destructor waits: that is done as a plain thread */
    if (!maing && on_main_thread() && !ending)
        return bind_main() < 0 ? NULL : maing;
    idlelock();
    thread *t = free_threads;
    if (t)
        free_threads = t->freelink;
    idleunlock();
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t) {
            PyErr_NoMemory();
            return NULL;
        }
        t->g.g.flags = G_ANY | G_THREAD | G_PTHREAD;
        t->g.g.status = Grunning;
        t->alllink = sched.threads;
        sched.threads = t;
    }
    t->g.g.lockcount = 0;
    setthread(t);
    if (!ending) /* else the process ends with it */
        thread_at_exit(thread_ended, t);
    return &t->g.g;
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
    if (mp) {
        PyErr_SetString(Error, "the scheduler itself cannot wait");
        return NULL;
    }
    thread *t = getthread();
    return t ? &t->g.g : newthread();
}

void
park_thread(g *gp)
{
    thread *t = thread_of_g(gp);
    atomic_store(&t->note, 0); /* it is queued already, but its waker needs the GIL for that */
    gp->ts = PyThreadState_Get();
    sched.nthreads++;
    if (sched.npidle == sched.nprocs && maing && maing->status == Gwaiting) {
        /* this thread may be the last one that could have woken anybody: let an M look for a deadlock */
        p *pp = pidleget();
        if (pp)
            startm(pp, NULL);
    }
    PyThreadState *ts = PyEval_SaveThread();
    while (!atomic_load_explicit(&t->note, memory_order_acquire))
        futex_sleep(&t->note, 0, INT64_MAX);
    gil_take(ts);
    gp->ts = NULL;
    gp->status = Grunning;
}

void
wake_thread(g *gp)
{
    thread *t = thread_of_g(gp);
    sched.nthreads--; /* not by the thread itself: checkdead would call it parked until it has the GIL */
    atomic_store_explicit(&t->note, 1, memory_order_release);
    futex_wake(&t->note);
}
