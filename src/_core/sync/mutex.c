/* mutex.c: Mutex, Go's sync.Mutex.
 *
 * Invariants
 *   1. In normal mode a woken waiter owns nothing: it competes, and queues in front if it loses. In
 *      starvation mode unlock hands the lock over to the first waiter, who owns it before it runs.
 *   2. woken: a waiter was woken and has not run yet, so that unlock need not wake another.
 *   3. In the child of a fork, a lock that was handed over to a goroutine that is lost and has not run since
 *      is given back. What a lost goroutine holds stays held: nobody knows what it was about to do.
 *
 * In normal mode an unlock wakes the first waiter but anybody may take the lock before it runs, which is
 * quick; a waiter that has not got it for 1 ms puts the mutex into starvation mode, until a waiter has waited
 * less than 1 ms or is the last one.
 *
 * With the GIL.
 *
 * Differs from Go: under the GIL there are no atomics and no spinning. Misuse that is fatal in Go (unlock of
 * an unlocked mutex) raises runtime.Error with Go's text.
 */
#include "core.h"

#include "cpython/type.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

#include <structmember.h>

#define STARVATION_NS 1000000

struct Mutex {
    PyObject_HEAD
    bool locked, starving;
    bool woken; /* a waiter was woken and has not run yet: no need to wake another */
    int64_t nwait;
    waitq waiters;
    PyObject *weakrefs;
};

PyTypeObject *Mutex_Type;

Mutex *
mutex_new(void)
{
    return (Mutex *)Mutex_Type->tp_alloc(Mutex_Type, 0);
}

static void
mutex_lost(void *lock, bool woken)
{
    Mutex *mu = lock;
    mu->nwait--;
    if (!woken)
        return;
    if (mu->starving)
        mu->locked = mu->starving = false;
    else
        mu->woken = false;
}

typedef struct {
    Mutex *mu;
    int64_t since; /* 0: it has not waited yet */
} locking;

static inline enum turn
lock_turn(void *of, g *gp, bool front)
{
    locking *l = of;
    Mutex *mu = l->mu;
    if (!mu->locked && !mu->starving) {
        mu->locked = true;
        return HAD;
    }
    if (!l->since)
        l->since = nanotime();
    mu->nwait++;
    int r = wait_in(gp, &mu->waiters, front, waitReasonMutexLock, mu, mutex_lost);
    mu->nwait--;
    /* not woken: `woken` is about another waiter, as is a lock that was handed over */
    if (unlikely(r < 0))
        return INTERRUPTED;
    bool late = nanotime() - l->since > STARVATION_NS;
    if (mu->starving) {
        /* handed over: mu->locked stayed true */
        if (!late || mu->nwait == 0)
            mu->starving = false;
        return HAD;
    }
    mu->woken = false; /* before it may queue again: the next unlock must wake somebody */
    if (mu->locked && late)
        mu->starving = true;
    return LOOK_AGAIN;
}

/* On behalf of gp; `kept` as in wait_until. */
int
mutex_wait(Mutex *mu, g *gp, PyObject **kept)
{
    locking l = {mu, 0};
    return wait_until(gp, &l, lock_turn, false, kept);
}

int
mutex_lock(Mutex *mu)
{
    if (likely(!mu->locked && !mu->starving)) {
        mu->locked = true;
        return 0;
    }
    g *gp = getg();
    return gp ? mutex_wait(mu, gp, NULL) : -1;
}

int
mutex_unlock(Mutex *mu)
{
    if (unlikely(!mu->locked)) {
        PyErr_SetString(Error, "sync: unlock of unlocked mutex");
        return -1;
    }
    if (mu->starving) {
        sudog *s = waitq_pop(&mu->waiters);
        if (s) {
            goready(s->w->g); /* it owns the lock from now on */
            return 0;
        }
        mu->starving = false;
    }
    mu->locked = false;
    if (mu->waiters.head && !mu->woken) {
        sudog *s = waitq_pop(&mu->waiters);
        if (s) {
            mu->woken = true;
            goready(s->w->g);
        }
    }
    return 0;
}

static PyObject *
Mutex_lock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_lock(mu) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Mutex_try_lock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (mu->locked || mu->starving)
        Py_RETURN_FALSE;
    mu->locked = true;
    Py_RETURN_TRUE;
}

static PyObject *
Mutex_unlock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_unlock(mu) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Mutex_enter(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_lock(mu) < 0))
        return NULL;
    return Py_NewRef(mu);
}

static PyObject *
Mutex_exit(Mutex *mu, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    (void)nargs;
    return Mutex_unlock(mu, NULL);
}

static PyMethodDef Mutex_methods[] = {
    {"lock", (PyCFunction)Mutex_lock, METH_NOARGS,
     "lock($self, /)\n--\n\nLocks the mutex, waiting until it is free: Go's Mutex.Lock."},
    {"try_lock", (PyCFunction)Mutex_try_lock, METH_NOARGS,
     "try_lock($self, /)\n--\n\nLocks the mutex if it is free; True if it did: Go's Mutex.TryLock."},
    {"unlock", (PyCFunction)Mutex_unlock, METH_NOARGS,
     "unlock($self, /)\n--\n\nUnlocks the mutex: Go's Mutex.Unlock.\n\n"
     "Any goroutine may unlock it. Raises runtime.Error if it is not locked."},
    {"__enter__", (PyCFunction)Mutex_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Mutex_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Mutex_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Mutex, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Mutex_slots[] = {
    {Py_tp_doc, "Mutex()\n--\n\nA mutual exclusion lock: Go's sync.Mutex.\n\n"
                "It belongs to no goroutine and is not reentrant."},
    {Py_tp_new, type_no_args},
    {Py_tp_dealloc, type_free_weak},
    {Py_tp_methods, Mutex_methods},
    {Py_tp_members, Mutex_members},
    {0, NULL},
};

static PyType_Spec Mutex_spec = {"gort.sync.Mutex", sizeof(Mutex), 0, Py_TPFLAGS_DEFAULT, Mutex_slots};

int
gort_mutex_init(PyObject *module)
{
    Mutex_Type = add_type(module, &Mutex_spec);
    return Mutex_Type ? 0 : -1;
}
