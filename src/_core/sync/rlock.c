/* rlock.c: _thread.RLock belongs to a goroutine, and so does the import lock.
 *
 * CPython's RLock remembers the thread that holds it. Goroutines share threads and change them, so a second
 * one of the same thread would get in while the first is parked inside, and the first could not get out on
 * another thread. Condition, the handlers of logging, cached_property of 3.11 and much else rely on RLock.
 *
 * Invariants
 *   1. The object is CPython's, with its fields as CPython means them; only the owner differs (owner_id), in
 *      every thread, goroutine or not: all writers of the field agree. What CPython does to the fields
 *      without asking who runs (repr, _at_fork_reinit, the destructor; up to 3.13 also _release_save and
 *      _acquire_restore) it goes on doing.
 *   2. Locks that were held when gort was imported stay so: main and the threads are known by the same
 *      numbers as before.
 *
 * The import lock of _imp, under which importlib keeps its table of modules' locks, is held for a few lines
 * of Python; in these a signal's handler, a destructor or a finder's __getattr__ may park. If it belonged to
 * a thread, the goroutine could not give it back on another one, and no thread but the first would ever
 * import anything again. So in the main interpreter _imp's functions take a lock of ours, made like an RLock.
 * CPython's own is left to os.fork(), which takes it when no Python code runs. A fork does not wait for ours:
 * its holder may be parked, and what it guards is whole between any two instructions. A goroutine that ends
 * gives it back: importlib's `with` cannot where the recursion that it ends in leaves no room for one call.
 *
 * A goroutine that waits for an RLock waits in C and keeps its thread, as for a Lock; sysmon has its P taken.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "os/os.h"
#include "sched/ident.h"
#include "sync/sync.h"

/* Two names of CPython's for one function each (up to 3.14): the table proves that they are. */
static PyObject *(*o_release)(PyObject *, PyObject *);
#if !RLOCK_FASTCALL
static PyObject *(*o_acquire)(PyObject *, PyObject *, PyObject *);
#endif

static inline bool
is_mine(const rlock *l)
{
    return rlock_count(l) > 0 && l->owner == owner_id();
}

/* Until it is taken: 1; or until `timeout` nanoseconds (-1: for ever) are over: 0. -1: exception set. */
static int
take(rlock *l, int64_t timeout)
{
    unsigned long me = owner_id(), count = rlock_count(l);
    if (count > 0 && l->owner == me) {
        if (unlikely(count + 1 == 0)) {
            PyErr_SetString(PyExc_OverflowError, "Internal lock count overflowed");
            return -1;
        }
        rlock_set(l, me, count + 1);
        return 1;
    }
    if (unlikely(!rlock_try(l))) {
        int taken = rlock_wait(l, timeout);
        if (taken <= 0)
            return taken;
    }
    rlock_set(l, me, 1);
    return 1;
}

static PyObject *
acquire(PyObject *self, PyObject *args, PyObject *kw)
{
    int64_t timeout = -1;
    if (unlikely((kw || (args && PyTuple_GET_SIZE(args))) && lock_timeout(args, kw, &timeout) < 0))
        return NULL;
    int taken = take((rlock *)self, timeout);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *
not_mine(void)
{
    PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
    return NULL;
}

static PyObject *
release(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    if (unlikely(!is_mine(l)))
        return not_mine();
    unsigned long count = rlock_count(l);
    if (count == 1)
        rlock_free(l);
    else
        rlock_set(l, l->owner, count - 1);
    Py_RETURN_NONE;
}

static PyObject *
is_owned(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(is_mine((rlock *)self));
}

static PyObject *
recursion_count(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    return PyLong_FromUnsignedLong(is_mine(l) ? rlock_count(l) : 0);
}

#if RLOCK_SAVE_ASKS
/* For a Condition: gives the lock back altogether, and takes it again as it was. */
static PyObject *
release_save(PyObject *self, PyObject *unused)
{
    (void)unused;
    rlock *l = (rlock *)self;
    if (!is_mine(l))
        return not_mine();
    PyObject *state = Py_BuildValue("(kk)", rlock_count(l), (unsigned long)l->owner);
    if (state)
        rlock_free(l);
    return state;
}

static PyObject *
acquire_restore(PyObject *self, PyObject *state)
{
    unsigned long count, owner;
    if (!PyTuple_Check(state)) {
        PyErr_SetString(PyExc_TypeError,
                        RLOCK_ACQUIRE_RESTORE "() takes what " RLOCK_RELEASE_SAVE "() returned");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "kk:" RLOCK_ACQUIRE_RESTORE, &count, &owner))
        return NULL;
    rlock *l = (rlock *)self;
    rlock_lock(l);
    rlock_set(l, owner, count);
    Py_RETURN_NONE;
}
#endif

#if RLOCK_FASTCALL
static PyObject *
acquire_fast(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (likely(nargs == 0 && !kwnames))
        return acquire(self, NULL, NULL);
    PyObject *tuple = PyTuple_New(nargs), *kw = kwnames ? PyDict_New() : NULL, *r = NULL;
    for (Py_ssize_t i = 0; tuple && i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    bool whole = tuple && (kw || !kwnames);
    for (Py_ssize_t i = 0; whole && kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        whole = PyDict_SetItem(kw, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) == 0;
    if (whole)
        r = acquire(self, tuple, kw);
    Py_XDECREF(tuple);
    Py_XDECREF(kw);
    return r;
}

static PyObject *
enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return acquire(self, NULL, NULL);
}

static PyObject *
exit_fast(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return release(self, NULL);
}
#elif RLOCK_SAVE_ASKS
static PyObject *
acquire_restore_of(PyObject *self, PyObject *args)
{
    PyObject *state;
    return PyArg_ParseTuple(args, "O:" RLOCK_ACQUIRE_RESTORE, &state) ? acquire_restore(self, state) : NULL;
}
#endif

/* -- the import lock ------------------------------------------------------------------------------- */

static rlock import_lock; /* no object: nothing but the fields is used */
static PyObject *(*o_import_acquire)(PyObject *, PyObject *), *(*o_import_release)(PyObject *, PyObject *),
    *(*o_import_held)(PyObject *, PyObject *);

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
    sched.importer = import_lock.owner;
    Py_RETURN_NONE;
}

static PyObject *
import_release(PyObject *mod, PyObject *unused)
{
    if (!in_main_interpreter() || !is_mine(&import_lock))
        return o_import_release(mod, unused); /* a thread took it before gort was imported; or an error */
    if (rlock_count(&import_lock) == 1)
        sched.importer = 0;
    return release((PyObject *)&import_lock, NULL);
}

void
import_lock_left(void)
{
    sched.importer = 0;
    if (is_mine(&import_lock))
        rlock_free(&import_lock);
}

static PyObject *
import_held(PyObject *mod, PyObject *unused)
{
    if (in_main_interpreter() && rlock_count(&import_lock) > 0)
        Py_RETURN_TRUE;
    return o_import_held(mod, unused);
}

/* In the child: other holders and waiters are lost. */
void
import_lock_after_fork(void)
{
    if (is_mine(&import_lock))
        return;
    if (rlock_make(&import_lock) < 0)
        throw("no memory in the child of a fork");
}

static const redirection import_table[] = {
    {"_imp", NULL, "acquire_lock", METH_NOARGS, import_acquire, &o_import_acquire, false},
    {"_imp", NULL, "release_lock", METH_NOARGS, import_release, &o_import_release, false},
    {"_imp", NULL, "lock_held", METH_NOARGS, import_held, &o_import_held, false},
};

static int
import_lock_init(void)
{
    if (rlock_make(&import_lock) < 0)
        return -1;
    return redirect(
        import_table, sizeof import_table / sizeof *import_table,
        "the import lock belongs to a thread, and does not work if a goroutine waits while it holds it");
}

/* -- RLock ----------------------------------------------------------------------------------------- */

static const redirection table[] = {
#if RLOCK_FASTCALL
    {"_thread", "RLock", "acquire", METH_FASTCALL | METH_KEYWORDS, acquire_fast, NULL, false},
    {"_thread", "RLock", "__enter__", METH_NOARGS, enter, NULL, false},
    {"_thread", "RLock", "__exit__", METH_FASTCALL, exit_fast, NULL, false},
    {"_thread", "RLock", RLOCK_ACQUIRE_RESTORE, METH_O, acquire_restore, NULL, false},
#else
    {"_thread", "RLock", "acquire", METH_VARARGS | METH_KEYWORDS, acquire, &o_acquire, false},
    {"_thread", "RLock", "__enter__", METH_VARARGS | METH_KEYWORDS, acquire, &o_acquire, false},
    {"_thread", "RLock", "__exit__", METH_VARARGS, release, &o_release, false},
#if RLOCK_SAVE_ASKS
    {"_thread", "RLock", RLOCK_ACQUIRE_RESTORE, METH_VARARGS, acquire_restore_of, NULL, false},
#endif
#endif
#if RLOCK_SAVE_ASKS
    {"_thread", "RLock", RLOCK_RELEASE_SAVE, METH_NOARGS, release_save, NULL, false},
#endif
    {"_thread", "RLock", "release", METH_NOARGS, release, &o_release, false},
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
    fits = fits && !l->owner && rlock_count(l) == 0;
    for (int i = 1; fits && i <= 2; i++) {
        Py_XDECREF(PyObject_CallMethod(o, "acquire", NULL));
        fits = l->owner == PyThread_get_thread_ident() && rlock_count(l) == (unsigned long)i && !rlock_try(l);
    }
    for (int i = 1; fits && i >= 0; i--) {
        Py_XDECREF(PyObject_CallMethod(o, "release", NULL));
        fits = rlock_count(l) == (unsigned long)i && (i || !l->owner);
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
