/* lock.c: the arguments of acquire(), as CPython's locks take them.
 *
 * With the GIL. Converting the arguments may run Python code.
 *
 * Invariant: what a lock of CPython's own would refuse is refused with the same exception and the same words,
 * so that rlock.c can stand in for it.
 *
 * Rejected: having CPython's lock check the arguments, since that would acquire it.
 *
 * Versions. 3.13 has other words for a negative timeout, and PyTime_t in place of _PyTime_t.
 */
#include "cpython/internal.h"

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
