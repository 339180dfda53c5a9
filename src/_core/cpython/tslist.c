/* tslist.c: the interpreter's list of thread states.
 *
 * CPython puts new thread states in front. Those that ts_new makes, one for each goroutine, are moved to the
 * end, so that a walk to the others, main's and those of plain threads, need not pass a million goroutines.
 *
 * Invariants
 *   1. From first_ours on all thread states of the list are ts_new's, and none before it is; NULL: there are
 *      none. In the child of a fork the one that is left counts as one of the others.
 *   2. A thread that changes the list holds CPython's lock for it (tslist_lock), for a moment and without
 *      giving up the GIL.
 *   3. Up to 3.13: once the interpreter is about to end (ts_outlive), what ts_new makes is in no list: the
 *      interpreter frees what is in its list, while threads that have just given up the GIL, or wait for it,
 *      still read their thread states. A thread state outside the list is its own predecessor, so that
 *      CPython, when it deletes it, finds a list to take it out of.
 *      From 3.14 on all are in the list when the interpreter ends: it marks what is there, and only threads
 *      whose thread state is marked are stopped when they take the GIL. It frees none that a thread may still
 *      read.
 *
 * Walks need no lock for those that are careful, and the GIL for all others.
 *
 * Rejected: keeping goroutines' thread states out of the list at all times. sys._current_frames,
 * PyThreadState_SetAsyncExc and what traces all threads would not find them.
 *
 * Versions. The lock is a PyMutex in 3.13 and waits without the GIL there, which is why it is taken by hand.
 * In 3.11 and 3.12 a thread that a fork loses would keep it, and the child would find the list half changed,
 * or wait for the lock when it deletes the thread states of the lost: it is held around forks. From 3.13 on
 * os.fork() does so itself. What the end of the interpreter does to thread states: see Invariant 3.
 */
#include "cpython/internal.h"

static PyThreadState *first_ours; /* under tslist_lock */
static bool outliving;            /* the interpreter is about to end; under tslist_lock */

/* CPython's lock for the list of thread states. The GIL is kept: the lock is held for a moment only. */
static void
tslist_lock(void)
{
#if V313
    uint8_t unlocked = 0;
    while (!_Py_atomic_compare_exchange_uint8(&_PyRuntime.interpreters.mutex._bits, &unlocked, 1)) {
        unlocked = 0;
        thread_yield();
    }
#else
    PyThread_acquire_lock(_PyRuntime.interpreters.mutex, WAIT_LOCK);
#endif
}

static void
tslist_unlock(void)
{
#if V313
    PyMutex_Unlock(&_PyRuntime.interpreters.mutex);
#else
    PyThread_release_lock(_PyRuntime.interpreters.mutex);
#endif
}

static void
ts_unlink(PyThreadState *ts)
{
    if (ts->prev)
        ts->prev->next = ts->next;
    else
        main_interp->threads.head = ts->next;
    if (ts->next)
        ts->next->prev = ts->prev;
}

/* Out of the list: CPython does not free it. */
static void
ts_isolate(PyThreadState *ts)
{
    ts_unlink(ts);
    ts->prev = ts; /* so that CPython, when it deletes ts, finds a list to take it out of */
    ts->next = NULL;
}

void
tslist_add(PyThreadState *ts)
{
    tslist_lock();
    if (unlikely(_PyRuntimeState_GetFinalizing(&_PyRuntime) != NULL)) {
        /* an M that starts as the interpreter ends, which has freed the others or is about to: first_ours may
         * be gone */
#if V314
        ts->state = _Py_THREAD_SHUTTING_DOWN; /* it may come too late to be marked */
#endif
        tslist_unlock();
        return;
    }
    if (unlikely(outliving)) {
        ts_isolate(ts);
        tslist_unlock();
        return;
    }
    ts_unlink(ts);
    PyThreadState *after = first_ours;
    if (!after) { /* the first of ts_new's: `after` becomes the last one of the others */
        first_ours = ts;
        for (PyThreadState *at = main_interp->threads.head; at; at = at->next)
            after = at;
    }
    /* its own links first, then those to it: careful walks follow `next` without the lock */
    ts->prev = after;
    ts->next = after ? after->next : NULL;
    if (ts->next)
        ts->next->prev = ts;
    if (after)
        after->next = ts;
    else
        main_interp->threads.head = ts;
    tslist_unlock();
}

void
ts_deleting(PyThreadState *ts)
{
    tslist_lock();
    if (first_ours == ts)
        first_ours = ts->next;
    tslist_unlock();
}

Py_ssize_t
ts_others(void)
{
    Py_ssize_t n = 0;
    tslist_lock();
    for (PyThreadState *ts = main_interp->threads.head; ts && ts != first_ours; ts = ts->next)
        n++;
    tslist_unlock();
    return n;
}

void
ts_outlive(PyThreadState *ts)
{
#if V314
    (void)ts; /* it is marked where it is */
#else
    ts_deleting(ts);
    tslist_lock();
    outliving = true; /* with the first one: what is made from now on must outlive the interpreter too */
    if (ts->prev != ts)
        ts_isolate(ts);
    tslist_unlock();
#endif
}

PyThreadState *
ts_head(bool careful)
{
    (void)careful; /* one read */
    return PyInterpreterState_ThreadHead(main_interp);
}

PyThreadState *
ts_next(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->next : NULL;
}

PyThreadState *
ts_next_other(PyThreadState *ts, bool careful)
{
    PyThreadState *next = ts_next(ts, careful);
    return next == first_ours ? NULL : next;
}

/* Around a fork nobody is in the middle of changing the list. */
static void
before_fork(void)
{
#if !V313
    tslist_lock();
#endif
}

static void
after_fork(void)
{
#if !V313
    tslist_unlock();
#endif
}

/* In the child, before CPython takes all but the current one out of the list and frees them: first_ours would
 * point to one of these. It goes before the lock does, under which it is. (3.13: os.fork() still holds the
 * lock.) */
static void
forget_ours(void)
{
    first_ours = NULL;
    after_fork();
}

void
tslist_init(void)
{
    around_forks(before_fork, after_fork, forget_ours);
}
