/* lock.c: the arguments of acquire(), as CPython's locks take them, and the lock within an RLock.
 *
 * With the GIL, which is given up while one waits. Converting the arguments may run Python code.
 *
 * Invariant: what a lock of CPython's own would refuse is refused with the same exception and the same words,
 * so that rlock.c can stand in for it.
 *
 * Rejected: having CPython's lock check the arguments, since that would acquire it.
 *
 * Versions. From 3.13 on there are other words for a negative timeout, and PyTime_t in place of _PyTime_t.
 * From 3.14 on an RLock is made of a PyMutex, a byte, and not of a lock on the heap; and the owner alone says
 * whether it is held.
 */
#include "cpython/internal.h"

#if V314
_Static_assert(offsetof(rlock, owner) - offsetof(rlock, lock) == offsetof(_PyRecursiveMutex, thread) &&
                   offsetof(rlock, level) - offsetof(rlock, lock) == offsetof(_PyRecursiveMutex, level),
               "an RLock's fields lie elsewhere");

int
rlock_make(rlock *l)
{
    l->lock = (PyMutex){0};
    l->owner = 0;
    l->level = 0;
    return 0;
}

int
rlock_wait(rlock *l, int64_t timeout)
{
    PyLockStatus status = _PyMutex_LockTimed(&l->lock, timeout, _PY_LOCK_DETACH | _PY_LOCK_HANDLE_SIGNALS);
    return status == PY_LOCK_ACQUIRED ? 1 : status == PY_LOCK_FAILURE ? 0 : -1;
}

void
rlock_lock(rlock *l)
{
    PyMutex_Lock(&l->lock);
}
#else
int
rlock_make(rlock *l)
{
    l->owner = l->count = 0;
    if (!(l->lock = PyThread_allocate_lock())) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
rlock_wait(rlock *l, int64_t timeout)
{
    int64_t deadline = timeout > 0 ? nanotime() + timeout : 0;
    while (timeout != 0) {
        PyLockStatus status;
        PY_TIMEOUT_T us = timeout < 0 ? -1 : (timeout + 999) / 1000;
        Py_BEGIN_ALLOW_THREADS status = PyThread_acquire_lock_timed(l->lock, us, 1);
        Py_END_ALLOW_THREADS if (status != PY_LOCK_INTR) return status == PY_LOCK_ACQUIRED;
        if (Py_MakePendingCalls() < 0)
            return -1;
        if (PyThread_acquire_lock(l->lock, 0)) /* as CPython: a try also when the time is over */
            return 1;
        if (timeout > 0) {
            timeout = deadline - nanotime();
            if (timeout < 0)
                timeout = 0;
        }
    }
    return 0;
}

void
rlock_lock(rlock *l)
{
    if (!rlock_try(l)) {
        Py_BEGIN_ALLOW_THREADS PyThread_acquire_lock(l->lock, WAIT_LOCK);
        Py_END_ALLOW_THREADS
    }
}
#endif

int
lock_timeout(PyObject *args, PyObject *kw, int64_t *ns)
{
    static char *names[] = {"blocking", "timeout", NULL};
    int blocking = 1;
    PyObject *o = NULL;
    *ns = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|pO:acquire", names, &blocking, &o))
        return -1;
    const int64_t unset = -1000000000; /* what -1 becomes */
    int64_t timeout = unset;
#if V313
    PyTime_t t = unset;
#else
    _PyTime_t t = unset;
#endif
    if (o && _PyTime_FromSecondsObject(&t, o, _PyTime_ROUND_TIMEOUT) < 0)
        return -1;
    timeout = t;
    if (!blocking && timeout != unset) {
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
        return -1;
    }
    if (timeout < 0 && timeout != unset) {
#if V313
        PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number");
#else
        PyErr_SetString(PyExc_ValueError, "timeout value must be positive");
#endif
        return -1;
    }
    if (!blocking)
        *ns = 0;
    else if (timeout != unset) {
        if (_PyTime_AsMicroseconds(timeout, _PyTime_ROUND_TIMEOUT) > PY_TIMEOUT_MAX) {
            PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
            return -1;
        }
        *ns = timeout;
    }
    return 0;
}
