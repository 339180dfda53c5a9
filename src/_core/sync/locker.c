/* locker.c: Lockers, objects with methods lock and unlock, from inside the core (cond.c).
 *
 * Those of the core's own types are called without Python code, so that signal handlers run only where they
 * wait.
 *
 * With the GIL. A program sees no difference from Go's sync.Locker.
 */
#include "core.h"

#include "sync/sync.h"

static int
inherits(PyObject *l, const char *name, bool (*is)(PyObject *method, PyObject *l), enum method_kind *kind)
{
    PyObject *method = PyObject_GetAttrString(l, name);
    if (!method)
        return -1;
    *kind = is(method, l) ? MethodRWMutex : MethodOther;
    Py_DECREF(method);
    return 0;
}

int
locker_of(locker *k, PyObject *l)
{
    enum method_kind kind = Py_IS_TYPE(l, Mutex_Type)     ? MethodMutex
                            : Py_IS_TYPE(l, RLocker_Type) ? MethodRLocker
                            : Py_IS_TYPE(l, RWMutex_Type) ? MethodRWMutex
                                                          : MethodOther;
    *k = (locker){l, kind, kind};
    if (likely(kind != MethodOther) || !PyObject_TypeCheck(l, RWMutex_Type))
        return 0;
    return inherits(l, "lock", rw_is_lock, &k->lock) < 0 ? -1
                                                         : inherits(l, "unlock", rw_is_unlock, &k->unlock);
}

int
locker_unlock(const locker *k)
{
    switch (k->unlock) {
    case MethodMutex:
        return mutex_unlock((Mutex *)k->l);
    case MethodRLocker:
        return rw_runlock(rlocker_rw(k->l));
    case MethodRWMutex:
        return rw_unlock((RWMutex *)k->l);
    default:;
    }
    PyObject *r = PyObject_CallMethod(k->l, "unlock", NULL);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

int
locker_lock_always(const locker *k, g *gp, PyObject **kept)
{
    switch (k->lock) {
    case MethodMutex:
        return mutex_wait((Mutex *)k->l, gp, kept);
    case MethodRLocker:
        return rw_rwait(rlocker_rw(k->l), gp, kept);
    case MethodRWMutex:
        return rw_wait((RWMutex *)k->l, gp, kept);
    default:;
    }
    PyObject *r = PyObject_CallMethod(k->l, "lock", NULL);
    Py_XDECREF(r);
    if (r)
        return 0;
    keep_exception(kept);
    return -1;
}
