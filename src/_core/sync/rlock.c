/* rlock.c: _thread.RLock belongs to a goroutine, and so does the import lock.
 *
 * CPython's RLock remembers the thread that holds it. Goroutines share threads and change them, so a second
 * one of the same thread would get in while the first is parked inside, and the first could not get out on
 * another thread. Condition, the handlers of logging, cached_property of 3.11 and much else rely on RLock.
 *
 * Invariants
 *   1. The object is CPython's, with its fields as CPython means them; only the owner differs (owner_id), in
 *      every thread, goroutine or not: all writers of the field agree. What CPython does to the fields
 *      without asking who runs (repr, _release_save, _acquire_restore, _at_fork_reinit, the destructor) it
 *      goes on doing.
 *   2. Locks that were held when gort was imported stay so: main and the threads are known by the same
 *      numbers as before.
 *
 * The import lock of _imp, under which importlib keeps its table of modules' locks, is held for a few lines
 * of Python; in these a signal's handler, a destructor or a finder's __getattr__ may park. If it belonged to
 * a thread, the goroutine could not give it back on another one, and no thread but the first would ever
 * import anything again. So in the main interpreter _imp's functions take a lock of ours, made like an RLock.
 * CPython's own is left to os.fork(), which takes it when no Python code runs. A fork does not wait for ours:
 * its holder may be parked, and what it guards is whole between any two instructions.
 *
 * A goroutine that waits for an RLock waits in C and keeps its thread, as for a Lock; sysmon has its P taken.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "os/os.h"
#include "sched/ident.h"
#include "sync/sync.h"

static PyObject *(*o_release)(PyObject *, PyObject *), *(*o_acquire)(PyObject *, PyObject *, PyObject *);

/* Waits until the lock is taken: 1; or until `timeout` nanoseconds (-1: for ever) are over: 0. -1: a signal's
 * handler raised. */
static int
acquire_timed(PyThread_type_lock lock, int64_t timeout)
{
    int64_t deadline = timeout > 0 ? nanotime() + timeout : 0;
    while (timeout != 0) {
        PyLockStatus status;
        PY_TIMEOUT_T us = timeout < 0 ? -1 : (timeout + 999) / 1000;
        Py_BEGIN_ALLOW_THREADS status = PyThread_acquire_lock_timed(lock, us, 1);
        Py_END_ALLOW_THREADS if (status != PY_LOCK_INTR) return status == PY_LOCK_ACQUIRED;
        if (Py_MakePendingCalls() < 0)
            return -1;
        if (PyThread_acquire_lock(lock, 0)) /* as CPython: a try also when the time is over */
            return 1;
        if (timeout > 0) {
            timeout = deadline - nanotime();
            if (timeout < 0)
                timeout = 0;
        }
    }
    return 0;
}

/* As acquire_timed. */
static int
take(rlock *l, int64_t timeout)
{
    unsigned long me = owner_id();
    if (l->count > 0 && l->owner == me) {
        if (unlikely(l->count + 1 == 0)) {
            PyErr_SetString(PyExc_OverflowError, "Internal lock count overflowed");
            return -1;
        }
        l->count++;
        return 1;
    }
    if (unlikely(!PyThread_acquire_lock(l->lock, 0))) {
        int taken = acquire_timed(l->lock, timeout);
        if (taken <= 0)
            return taken;
    }
    l->owner = me;
    l->count = 1;
    return 1;
}

static PyObject *
acquire(PyObject *self, PyObject *args, PyObject *kw)
{
    int64_t timeout = -1;
    if (unlikely((kw || PyTuple_GET_SIZE(args)) && lock_timeout(args, kw, &timeout) < 0))
        return NULL;
    int taken = take((rlock *)self, timeout);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *
release(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    if (unlikely(l->count == 0 || l->owner != owner_id())) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
        return NULL;
    }
    if (--l->count == 0) {
        l->owner = 0;
        PyThread_release_lock(l->lock);
    }
    Py_RETURN_NONE;
}

static PyObject *
is_owned(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    return PyBool_FromLong(l->count > 0 && l->owner == owner_id());
}

static PyObject *
recursion_count(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    return PyLong_FromUnsignedLong(l->count > 0 && l->owner == owner_id() ? l->count : 0);
}

/* -- the import lock ------------------------------------------------------------------------------- */

static rlock import_lock; /* no object: nothing but the fields is used */
static PyObject *(*o_import_acquire)(PyObject *, PyObject *), *(*o_import_release)(PyObject *, PyObject *),
    *(*o_import_held)(PyObject *, PyObject *);

static bool
import_lock_is_mine(void)
{
    return import_lock.count > 0 && import_lock.owner == owner_id();
}

/* Other interpreters have a lock of their own, or a GIL of their own. */
static bool
in_main_interpreter(void)
{
    return PyInterpreterState_Get() == PyInterpreterState_Main();
}

static PyObject *
import_acquire(PyObject *mod, PyObject *unused)
{
    if (!in_main_interpreter())
        return o_import_acquire(mod, unused);
    if (take(&import_lock, -1) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
import_release(PyObject *mod, PyObject *unused)
{
    if (!in_main_interpreter() || !import_lock_is_mine())
        return o_import_release(mod, unused); /* a thread took it before gort was imported; or an error */
    return release((PyObject *)&import_lock, NULL);
}

static PyObject *
import_held(PyObject *mod, PyObject *unused)
{
    if (in_main_interpreter() && import_lock.count > 0)
        Py_RETURN_TRUE;
    return o_import_held(mod, unused);
}

/* In the child: other holders and waiters are lost. */
void
import_lock_after_fork(void)
{
    if (import_lock_is_mine())
        return;
    PyThread_type_lock fresh = PyThread_allocate_lock();
    if (!fresh)
        throw("no memory in the child of a fork");
    import_lock.lock = fresh;
    import_lock.owner = import_lock.count = 0;
}

static const redirection import_table[] = {
    {"_imp", NULL, "acquire_lock", METH_NOARGS, import_acquire, &o_import_acquire, false},
    {"_imp", NULL, "release_lock", METH_NOARGS, import_release, &o_import_release, false},
    {"_imp", NULL, "lock_held", METH_NOARGS, import_held, &o_import_held, false},
};

static int
import_lock_init(void)
{
    if (!(import_lock.lock = PyThread_allocate_lock())) {
        PyErr_NoMemory();
        return -1;
    }
    return redirect(
        import_table, sizeof import_table / sizeof *import_table,
        "the import lock belongs to a thread, and does not work if a goroutine waits while it holds it");
}

/* -- RLock ----------------------------------------------------------------------------------------- */

static const redirection table[] = {
    {"_thread", "RLock", "acquire", METH_VARARGS | METH_KEYWORDS, acquire, &o_acquire, false},
    {"_thread", "RLock", "__enter__", METH_VARARGS | METH_KEYWORDS, acquire, &o_acquire, false},
    {"_thread", "RLock", "release", METH_NOARGS, release, &o_release, false},
    {"_thread", "RLock", "__exit__", METH_VARARGS, release, &o_release, false},
    {"_thread", "RLock", RLOCK_IS_OWNED, METH_NOARGS, is_owned, NULL, false},
    {"_thread", "RLock", RLOCK_RECURSION_COUNT, METH_NOARGS, recursion_count, NULL, true},
};

#define OTHERWISE                                                                                            \
    "a threading.RLock belongs to a thread, and does not work if a goroutine waits while it holds one"

/* Are the fields where `rlock` has them? Asked of a lock, by means of CPython's own methods. */
static int
proven_layout(void)
{
    PyTypeObject *type = redirect_type("_thread", "RLock");
    rlock *l = type ? (rlock *)PyObject_CallNoArgs((PyObject *)type) : NULL;
    if (!l)
        return -1;
    PyObject *o = (PyObject *)l;
    bool fits = (size_t)type->tp_basicsize >= sizeof *l;
    PyThread_type_lock lock = fits ? l->lock : NULL;
    fits = fits && lock && !l->owner && !l->count;
    for (int i = 1; fits && i <= 2; i++) {
        Py_XDECREF(PyObject_CallMethod(o, "acquire", NULL));
        fits = l->lock == lock && l->owner == PyThread_get_thread_ident() && l->count == (unsigned long)i;
    }
    for (int i = 1; fits && i >= 0; i--) {
        Py_XDECREF(PyObject_CallMethod(o, "release", NULL));
        fits = l->lock == lock && l->count == (unsigned long)i && (i || !l->owner);
    }
    Py_DECREF(o);
    return PyErr_Occurred() ? -1 : fits;
}

int
rlock_init(void)
{
    int fits = import_lock_init() < 0 ? -1 : proven_layout();
    if (fits < 0)
        return -1;
    if (!fits)
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                "gort does not know _thread.RLock of this CPython; %s", OTHERWISE);
    return redirect(table, sizeof table / sizeof *table, OTHERWISE);
}
