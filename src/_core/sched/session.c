/* session.c: a session outlives the programs that run in it.
 *
 * A test runner runs one program after the other in its process. There an exception that escapes a goroutine,
 * or a deadlock, must not end the process: main is told, which runs the session. The exception is noted, its
 * goroutine ends, and if main is parked its wait raises runtime.Error; the test runner also asks for what was
 * noted, since main may have been busy. A deadlock raises in main's wait as well: then main is awake, and
 * there is no deadlock any more. If main calls goexit, that ends the program that runs, not the session.
 *
 * Off unless report_to_main(True) was called, and in the child of a fork, which nobody watches.
 *
 * All with the GIL, session_is_dead on g0. Differs from Go, in which both end the process, a test's too.
 */
#include "core.h"

#include "cpython/compat.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/session.h"

static bool on;
static PyObject *noted;    /* a list of exceptions, or NULL */
static const char *reason; /* what main's wait raises; NULL: nothing */

bool
session_takes(PyObject *exc)
{
    if (!on)
        return false;
    if (!noted)
        noted = PyList_New(0);
    if (!noted || PyList_Append(noted, exc) < 0) {
        PyErr_Clear();
        return false;
    }
    if (maing && maing->status == Gwaiting) {
        reason = "an exception escaped a goroutine";
        goready(maing);
    }
    return true;
}

bool
session_is_dead(const char *text)
{
    if (on)
        reason = text;
    return on;
}

bool
session_waits(void)
{
    return reason != NULL;
}

/* pytest-timeout's: its alarm ends the test. */
bool
session_handles(PyObject *handler)
{
    PyObject *module = on && PyFunction_Check(handler) ? PyFunction_GET_MODULE(handler) : NULL;
    return module && PyUnicode_Check(module) &&
           PyUnicode_CompareWithASCIIString(module, "pytest_timeout") == 0;
}

int
session_raise(void)
{
    if (likely(!reason))
        return 0;
    PyErr_SetString(Error, reason);
    reason = NULL;
    return -1;
}

void
session_after_fork(void)
{
    on = false;
    reason = NULL;
}

static PyObject *
report_to_main_(PyObject *mod, PyObject *yes)
{
    (void)mod;
    int is = PyObject_IsTrue(yes);
    if (is < 0)
        return NULL;
    on = is;
    Py_RETURN_NONE;
}

static PyObject *
escaped_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    PyObject *list = noted ? noted : PyList_New(0);
    noted = NULL;
    reason = NULL; /* somebody else had woken main by then */
    if (maing)
        maing->goexiting = false; /* it has ended the test, and nothing after it */
    return list;
}

static PyMethodDef functions[] = {
    {"report_to_main", report_to_main_, METH_O,
     "report_to_main(yes, /)\n--\n\n"
     "Exceptions that escape goroutines, and deadlocks, are raised in main: for test runners.\n\n"
     "Otherwise they end the process."},
    {"escaped", escaped_, METH_NOARGS,
     "escaped()\n--\n\nThe exceptions that have escaped goroutines since the last call.\n\n"
     "Always empty unless they are reported to main."},
    {NULL, NULL, 0, NULL},
};

int
gort_session_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
