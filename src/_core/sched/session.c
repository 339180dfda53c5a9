/* session.c: a session outlives the programs that run in it.
 *
 * A test runner runs one program after the other in its process, and whoever sits at a prompt runs one
 * statement after the other. There an exception that escapes a goroutine, or a deadlock, must not end the
 * process.
 *
 *     a test runner (report_to_main)   an exception that escapes is noted, its goroutine ends, and if main is
 *                                      parked its wait raises runtime.Error; the runner also asks for what
 *                                      was noted (escaped), since main may have been busy
 *     a prompt (sys.ps1, python -i)    an exception that escapes is printed (_session.py), and its goroutine
 *                                      ends
 *     both                             a deadlock raises runtime.Error in main's wait
 *
 * Whether a prompt is there is asked at the moment it counts, not at the start: a debugging console may come
 * and go in a program that has run for days.
 *
 * A deadlock. The processes of sessions have threads and signal handlers of their own, which would make
 * everybody who waits a waiter for them, and who they are is known by Python's names for them. So where a
 * program would be asked about, main is woken, tells the core which threads and signals are the session's
 * (_session.py), and waits on, in front. Then, while it is in its queue and nothing else runs, g0 gives the
 * verdict as it does elsewhere (session_judges). Main itself could not: it is in no queue while it runs, and
 * whoever comes to wake it then finds nobody. If somebody else could wake main, it is asked again, at most
 * once a second.
 *
 * In the child of a fork, which nobody watches, there is no session.
 *
 * All with the GIL; session_judges on g0; session_name from any thread, in signal handlers too.
 *
 * Differs from Go, in which both end the process, a test's too.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/session.h"

#include <string.h>

#define MS 1000000

static bool runner;                  /* a test runner is at work */
static int prompts = 1;              /* 0: prompts are nothing special; 1: ask sys.ps1; 2: there is one */
static bool forked;                  /* nobody watches */
static PyObject *takes_hook;         /* at a prompt: an exception escaped */
static PyObject *asleep_hook;        /* has the core told what is the session's own; true if it could be */
static PyObject *dead_hook;          /* makes the exception of a deadlock */
static PyObject *noted;              /* a list of exceptions, or NULL */
static const char *reason;           /* what main's wait raises; NULL: nothing */
static bool asks;                    /* main is to tell what is the session's own */
static bool told;                    /* it has, since it was asked */
static int64_t ask_pause, next_asks; /* not before this time */
static int64_t dead;                 /* the verdict on the wait that began then; 0: none */
static int64_t last_dead;            /* when there was one last */

bool
session_prompts(void)
{
    return prompts && !forked && !runner && (prompts == 2 || PySys_GetObject("ps1") != NULL);
}

bool
session_on(void)
{
    return runner || session_prompts();
}

/* -- exceptions that escape ------------------------------------------------------------------------ */

static bool
note(PyObject *exc)
{
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

/* False: it could not be printed; the process ends as it would elsewhere. */
static bool
tell(PyObject *exc)
{
    PyObject *r = takes_hook ? PyObject_CallOneArg(takes_hook, exc) : NULL;
    if (!r)
        PyErr_Clear();
    Py_XDECREF(r);
    return r != NULL;
}

bool
session_takes(PyObject *exc)
{
    return runner ? note(exc) : session_prompts() && tell(exc);
}

/* -- deadlocks --------------------------------------------------------------------------------------- */

static int64_t
longer(int64_t pause)
{
    return pause == 0 ? 5 * MS : pause < 500 * MS ? 2 * pause : 1000 * MS;
}

int64_t
session_judges(bool (*others_could_wake)(void))
{
    int64_t now = nanotime();
    if (told) {
        told = false;
        if (!others_could_wake()) {
            dead = maing->waitsince;
            /* main's next wait is another question; but if it must have a lock before it can go on, and waits
             * for that again and again, it is not to do so at full speed */
            ask_pause = now - last_dead > 2000 * MS ? 0 : longer(ask_pause);
            next_asks = now + ask_pause;
            last_dead = now;
            return now; /* to find main ready */
        }
        ask_pause = now - next_asks > 1000 * MS ? 5 * MS : longer(ask_pause);
        next_asks = now + ask_pause;
    }
    if (now < next_asks)
        return next_asks;
    asks = true;
    return now;
}

bool
session_waits(void)
{
    return reason || asks || dead;
}

/* An exception of the program's own, from a signal handler, ends main's wait. */
static int
ask(void)
{
    asks = false;
    PyObject *r = asleep_hook ? PyObject_CallNoArgs(asleep_hook) : NULL;
    told = r == Py_True;
    if (!told)
        next_asks = nanotime() + 1000 * MS;
    if (!r && PyErr_Occurred() &&
        (PyErr_ExceptionMatches(PyExc_RecursionError) || PyErr_ExceptionMatches(PyExc_MemoryError)))
        PyErr_Clear(); /* main waits deep in a recursion: it is asked again */
    Py_XDECREF(r);
    return PyErr_Occurred() ? -1 : 0;
}

static int
raise_deadlock(void)
{
    PyObject *exc = dead_hook ? PyObject_CallNoArgs(dead_hook) : NULL;
    if (!exc)
        PyErr_Clear();
    if (exc)
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    else
        PyErr_SetString(Error, "all goroutines are asleep - deadlock!");
    Py_XDECREF(exc);
    return -1;
}

int
session_raise(void)
{
    if (likely(!session_waits()))
        return 0;
    if (reason) {
        PyErr_SetString(Error, reason);
        reason = NULL;
        return -1;
    }
    bool is_dead =
        dead && maing && dead == maing->waitsince; /* main's last wait is the one that was judged */
    dead = 0;
    return is_dead ? raise_deadlock() : asks ? ask() : 0;
}

void
session_after_fork(void)
{
    runner = asks = told = false;
    dead = 0;
    forked = true;
    reason = NULL;
    session_names("");
}

/* -- what runs, for those who write why the process ends ---------------------------------------------- */

/* Two, so that a signal handler finds one that is whole. */
static char names[2][512];
static _Atomic int current;

void
session_names(const char *text)
{
    int other = 1 - atomic_load(&current);
    size_t n = strlen(text), max = sizeof names[0] - 1;
    if (n > max) {
        n = max;
        while (n > 0 && (text[n] & 0xc0) == 0x80)
            n--; /* no half characters */
    }
    memcpy(names[other], text, n);
    names[other][n] = 0;
    atomic_store(&current, other);
}

const char *
session_name(void)
{
    return names[atomic_load(&current)];
}

/* -- for Python -------------------------------------------------------------------------------------- */

static PyObject *
report_to_main_(PyObject *mod, PyObject *yes)
{
    (void)mod;
    int is = PyObject_IsTrue(yes);
    if (is < 0)
        return NULL;
    runner = is;
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

static PyObject *
set_session_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *keys[] = {"takes", "asleep", "dead", "prompts", NULL};
    PyObject *takes, *asleep, *is_dead;
    int p;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "$OOOi:set_session", keys, &takes, &asleep, &is_dead, &p))
        return NULL;
    Py_XSETREF(dead_hook, Py_NewRef(is_dead));
    Py_XSETREF(takes_hook, Py_NewRef(takes));
    Py_XSETREF(asleep_hook, Py_NewRef(asleep));
    prompts = p;
    Py_RETURN_NONE;
}

static PyObject *
at_prompt_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyBool_FromLong(session_prompts());
}

static PyObject *
set_session_name_(PyObject *mod, PyObject *text)
{
    (void)mod;
    const char *s = PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;
    if (!s) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "set_session_name() takes a str, not %R", text);
        return NULL;
    }
    session_names(s);
    Py_RETURN_NONE;
}

static PyObject *
session_name_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyUnicode_FromString(session_name());
}

static PyMethodDef functions[] = {
    {"report_to_main", report_to_main_, METH_O,
     "report_to_main(yes, /)\n--\n\n"
     "Exceptions that escape goroutines, and deadlocks, are raised in main: for test runners.\n\n"
     "Otherwise they end the process."},
    {"escaped", escaped_, METH_NOARGS,
     "escaped()\n--\n\nThe exceptions that have escaped goroutines since the last call.\n\n"
     "Always empty unless they are reported to main."},
    {"set_session", (PyCFunction)(void (*)(void))set_session_, METH_VARARGS | METH_KEYWORDS,
     "Sets the functions that are called in sessions, and whether a prompt is one."},
    {"at_prompt", at_prompt_, METH_NOARGS,
     "at_prompt()\n--\n\nTrue if somebody sits at a prompt in this process."},
    {"set_session_name", set_session_name_, METH_O,
     "set_session_name(text, /)\n--\n\nWhat the session runs now: shown if the process dies."},
    {"session_name", session_name_, METH_NOARGS, "session_name()\n--\n\nWhat set_session_name() has set."},
    {NULL, NULL, 0, NULL},
};

int
gort_session_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
