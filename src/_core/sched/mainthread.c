/* mainthread.c: the main goroutine, its home m0, and who it is to the threading module.
 *
 * The process's main thread is m0, the home of the main goroutine, whether gort was imported there first or
 * not. In the child of a fork the goroutine that forked becomes the main one, and its M the new m0 (fork.c).
 *
 * threading finds threads by get_ident(), which main's moves to other threads do not change (ident.c): there
 * is nothing to tell it while the process lives. From 3.13 on a Thread has a handle besides. In the child
 * CPython takes all handles for ended that do not name the thread that it finds itself on; if main forked
 * while it was away from the thread that threading knows it by, its own is one of them, and it gets another
 * (threading_main_forked).
 *
 * With the GIL.
 *
 * Differs from Go, which does not fork.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/ident.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/stack.h"
#include "sched/thread.h"

#include <stdlib.h>
#include <string.h>

static m main_m;
m *m0 = &main_m;
g *maing;

void
interrupt_main(void)
{
    if (maing && maing->status == Gwaiting && (signals_pending() || session_waits()))
        goready(maing);
}

/* -- a thread that has forked ----------------------------------------------------------------------- */

static g *unbound;      /* the record of a main goroutine that has no thread state any more */
static uint64_t ending; /* the id of that thread state: its destructors may run yet */

bool
forker_is_ending(void)
{
    return ending != 0 && PyThreadState_GetID(PyThreadState_Get()) == ending;
}

/* Main's thread state is about to be deleted: nobody must look at it any more, and what is left of the thread
 * runs on the thread itself. */
static void
unbind_main(void)
{
    g *gp = maing;
    lock_thread(gp); /* home, if it is away; first: on the way m0 and the others run, and Ps change hands */
    p *pp = m0->p;
    gp->flags &= (uint8_t)~G_LOCKED;
    gp->lockcount = 0;
    gp->lockedm = gp->m = NULL;
    gp->ts = NULL; /* before maing: sysmon may have read that already, and looks at gp; so it is not freed */
    gp->status = Gdead;
    unbound = gp;
    maing = NULL;
    m0->lockedg = m0->curg = NULL;
    m0->p = NULL;
    m0->deny = m0_denies();
    ending = PyThreadState_GetID(PyThreadState_Get());
    compat_after_fork(m0->ts); /* for those that ask the main thread state about signals */
    allm_remove(m0);
    setm(NULL);
    thread_may_exit();
    if (pp)
        startm(pp, NULL); /* some M has to fall asleep last */
}

/* CPython clears the thread state of a thread that has forked, in the child: its function, or a callback of
 * C's, has returned. */
static void
forker_ends(PyObject *capsule)
{
    PyThreadState *ts = PyCapsule_GetPointer(capsule, NULL);
    if (!sched.stopping && maing && maing->ts == ts && PyThreadState_Get() == ts)
        unbind_main(); /* else it is not bound, or lost in another fork, or the interpreter ends */
}

/* The thread itself ends. Without gort the process would end with its last thread, as if exit(0) had been
 * called: gort's threads must not keep it. */
_Noreturn void
forker_gone(void)
{
    int64_t wait = 1000000;
    for (int alone = 0; alone < 2;) { /* twice: one of ours is counted before it is there */
        sleep_ns(wait);
        if (thread_count() <= sched.mcount + sched.sysmonstarted + 1)
            alone++;
        else {
            alone = 0;
            wait += wait < 50000000 ? wait : 0;
        }
    }
    exit(0);
}

int
watch_forker(void)
{
    static const char key[] = "gort";
    thread_at_exit(thread_ended, FORKER);
    PyObject *dict = PyThreadState_GetDict();
    if (dict && PyDict_GetItemString(dict, key))
        return 0; /* it has forked before */
    PyObject *capsule = dict ? PyCapsule_New(PyThreadState_Get(), NULL, forker_ends) : NULL;
    int err = capsule ? PyDict_SetItemString(dict, key, capsule) : -1;
    Py_XDECREF(capsule);
    if (err < 0 && !PyErr_Occurred())
        PyErr_NoMemory();
    return err;
}

/* The process's main thread becomes m0 and runs the main goroutine. GIL held, in that thread. */
int
bind_main(void)
{
    bool forker = m0 != &main_m; /* this thread has forked the process */
    if (forker && watch_forker() < 0)
        return -1;
    if (!m0->g0sp)
        m0->g0sp = sysstack(256 << 10);
    g *gp = !m0->g0sp ? NULL : unbound ? unbound : calloc(1, sizeof(pthread_g));
    PyThreadState *ts = !gp ? NULL : m0->ts ? m0->ts : ts_new();
    if (!ts) {
        if (gp != unbound)
            free(gp);
        PyErr_NoMemory();
        return -1;
    }
    if (unbound)
        memset(unbound, 0, sizeof(pthread_g));
    unbound = NULL;
    gp->ts = PyThreadState_Get();
    if (forker)
        compat_after_fork(gp->ts);
    gp->goid = 1;
    gp->flags = G_ANY | G_MAIN | (forker ? G_PTHREAD : 0);
    gp->status = Grunning;
    gp->m = m0;
    thread_bounds(&gp->stack_lo, &gp->stack_hi);
    m0->ts = ts;
    ts_set_stack(ts, m0->g0_lo, m0->g0_hi);
    ts_set_thread(ts, scheduler_ident(m0));
    m0->ident = main_ident = PyThread_get_thread_ident();
    m0->tid = (int32_t)PyThread_get_thread_native_id();
    m0->deny = m0_denies();
    m0->curg = gp;
    idlelock();
    allm_add(m0);
    sched.mcount++;
    idleunlock();
    this_m = m0;
    thread_never_exits();
    sigmask_main();
    m0->tss = ts_find_tss();
    /* when all of it is there: sysmon follows it without the GIL */
    __atomic_store_n(&maing, gp, __ATOMIC_RELEASE);
    p *pp = pidleget();
    if (pp)
        acquirep(m0, pp);
    if (unlikely(fork_unfinished))
        fork_pin(gp);
    return 0;
}
