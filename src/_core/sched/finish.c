/* finish.c: the interpreter is about to end: nothing is scheduled any more.
 *
 * CPython ends all threads but one, and frees their thread states. Ms and goroutines come to rest before, or
 * outlive it:
 *   - Ms that are idle, or on their way, sleep for good;
 *   - Ms whose goroutines are in C or compute are left to CPython, which ends them when they want the GIL,
 *     like daemon threads; their thread states are never freed, because they read them before and after that.
 *
 * With the GIL, by the thread that ends the interpreter; sched_abandon and stop_forever by those that find it
 * ending.
 *
 * Differs from Go, where the process ends while the other threads run.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/sched.h"
#include "sched/sysmon.h"

/* mp comes to rest on its g0. */
_Noreturn void
stop_forever(m *mp)
{
    ts_forget_drop_request(mp->ts); /* giving up the GIL must be quick: nobody may be there to take it */
    PyEval_SaveThread();
    sleep_forever(mp);
}

/* The program has ended without gp, and what happens to gp now is nobody's concern any more. */
_Noreturn void
sched_abandon(g *gp)
{
    ts_forget_drop_request(gp->ts);
    PyEval_SaveThread();
    sleep_forever(gp->m);
}

/* A goroutine, or main, waits though the program has ended: it rests until the process is gone. Not who ends
 * it, and not plain threads: those may hold locks that the end needs, and get an exception. */
void
sched_ended(void)
{
    m *mp = getm();
    if (mp && mp->curg && PyThreadState_Get() != sched.stopper)
        sched_abandon(mp->curg);
}

/* Those Ms whose goroutines are in C or compute are left to CPython, which ends them like daemon threads when
 * they want the GIL. It would free the thread states that they read before and after that: on their way to
 * the GIL, and when they have given it up. An M runs no other goroutine than the one that it runs now: with
 * this the thread states are all known. */
static void
keep_thread_states(void)
{
    PyThreadState *mine = PyThreadState_Get();
    for (m *mp = sched.allm; mp; mp = mp->alllink) {
        mp->deny = G_ANY;
        PyThreadState *states[] = {mp->ts, mp->curg ? mp->curg->ts : NULL};
        for (int i = 0; i < 2; i++) {
            if (states[i] && states[i] != mine && !(maing && states[i] == maing->ts))
                ts_outlive(states[i]);
        }
    }
}

/* Lets the Ms that are awake come to rest before the interpreter takes their thread states apart. */
static void
rest(const m *mine)
{
    for (int i = 0; i < 50 || making; i++) {
        bool awake = making;
        idlelock();
        for (m *mp = sched.allm; mp; mp = mp->alllink)
            awake |= mp != mine && !mp->curg && !mp->inidle && !mp->stopped;
        idleunlock();
        if (!awake)
            return;
        _Atomic uint32_t never = 0;
        PyThreadState *ts = PyEval_SaveThread();
        futex_sleep(&never, 0, nanotime() + 100000);
        PyEval_RestoreThread(ts);
    }
}

void
sched_stop(void)
{
    sched.stopper = PyThreadState_Get(); /* before stopping: see sched_ended */
    sched.stopping = true; /* first: the others look at it before they ask for the GIL or make anything */
    sysmon_asks_no_more(); /* before rest, which gives up the GIL */
    /* CPython ends all threads but the one that main's thread state names: main stays where it is from now
     * on */
    if (maing && maing->m)
        ts_set_thread(maing->ts, maing->m->ident);
    sysmon_wake();
    rest(getm());
    keep_thread_states(); /* after rest, in which goroutines still take turns */
}
