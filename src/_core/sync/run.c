/* run.c: gort.run: one function in a goroutine, and its outcome.
 *
 * In C, so that the first thing that a trace or profile function sees in the goroutine is the program's
 * function, and so that a signal either finds the goroutine not started or the outcome in its place.
 *
 * Invariant: `done` is set, with the outcome in place, before the waiter is woken. If a signal's exception
 * ends the wait, nobody waits any more: the goroutine goes on, and its outcome is dropped with the last
 * reference.
 *
 * Go has no such function.
 */
#include "core.h"

#include "cpython/type.h"

#include "sync/sync.h"
#include "sched/g.h"
#include "sched/sched.h"

#include <unistd.h>

typedef struct {
    PyObject_HEAD
    bool done;
    pid_t pid;
    PyObject *result, *error; /* once done, at most one; neither: goexit() */
    waitq waiter;
} Outcome;

static PyTypeObject *Outcome_Type;

static void
Outcome_dealloc(PyObject *self)
{
    Outcome *o = (Outcome *)self;
    Py_CLEAR(o->result);
    Py_CLEAR(o->error);
    type_free(self);
}

static PyType_Slot Outcome_slots[] = {
    {Py_tp_dealloc, Outcome_dealloc},
    {0, NULL},
};

static PyType_Spec Outcome_spec = {"gort._core.Outcome", sizeof(Outcome), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, Outcome_slots};

/* The goroutine: args[0] is the function. */
static PyObject *
body(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Outcome *o = (Outcome *)self;
    PyObject *r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), kwnames);
    bool goexit = !r && PyErr_ExceptionMatches(Goexit);
    if (!r && !goexit && getpid() != o->pid)
        return NULL; /* fn forked: in the child nobody waits, and this goroutine is the main one */
    if (r)
        o->result = r;
    else if (!goexit)
        o->error = take_exception();
    o->done = true;
    sudog *s = waitq_pop(&o->waiter);
    if (s)
        goready(s->w->g);
    return goexit ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef body_def = {"run", (PyCFunction)(void (*)(void))body, METH_FASTCALL | METH_KEYWORDS, NULL};

static bool
is_done(void *of, g *gp)
{
    (void)gp;
    return ((const Outcome *)of)->done;
}

static const waitable outcome = {waitReasonSemacquire, is_done, NULL};

static PyObject *
run_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)mod;
    if (check_call("run()", args, nargs) < 0)
        return NULL;
    g *gp = getg();
    Outcome *o = gp ? PyObject_New(Outcome, Outcome_Type) : NULL;
    if (!o)
        return NULL;
    o->done = false;
    o->pid = getpid();
    o->result = o->error = NULL;
    o->waiter = (waitq){NULL, NULL};
    PyObject *fn = PyCFunction_New(&body_def, (PyObject *)o), *result = NULL;
    if (!fn || newproc_user(fn, args, nargs, kwnames) < 0)
        goto out;
    if (wait_for(gp, &o->waiter, &outcome, o, NULL) < 0)
        goto out;
    if (o->error) {
        PyObject *error = o->error;
        o->error = NULL; /* or a frame of its own traceback would keep the exception alive */
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    else
        result = o->result ? Py_NewRef(o->result) : Py_NewRef(Py_None);
out:
    Py_XDECREF(fn);
    Py_DECREF(o);
    return result;
}

static PyMethodDef functions[] = {
    {"run", (PyCFunction)(void (*)(void))run_, METH_FASTCALL | METH_KEYWORDS,
     "run(fn, /, *args, **kwargs)\n--\n\n"
     "Runs fn(*args, **kwargs) in a new goroutine, waits for it and returns its result.\n\n"
     "An exception that escapes fn, SystemExit and KeyboardInterrupt included, is raised here with its\n"
     "traceback instead of ending the process. If fn ends by runtime.goexit(), the result is None.\n"
     "run() may be called from any goroutine and any thread. If a signal handler raises while run()\n"
     "waits, the goroutine goes on and its outcome is dropped. Raises TypeError if fn cannot be called,\n"
     "or if calling it runs nothing (a coroutine or generator function). Go has no such function."},
    {NULL, NULL, 0, NULL},
};

int
gort_run_init(PyObject *module)
{
    Outcome_Type = (PyTypeObject *)PyType_FromSpec(&Outcome_spec);
    return Outcome_Type ? PyModule_AddFunctions(module, functions) : -1;
}
