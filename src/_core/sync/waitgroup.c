/* waitgroup.c: WaitGroup, Go's sync.WaitGroup, and what errgroup.Group is made of.
 *
 * Invariant: waiters are parked only while n > 0. The call that brings n to 0 wakes all of them.
 *
 * With the GIL.
 *
 * Differs from Go: a counter that gets negative raises runtime.Error with Go's text.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/type.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    int64_t n;
    waitq waiters;
    PyObject *weakrefs;
} WaitGroup;

static int
wg_add(WaitGroup *wg, int64_t delta)
{
    int64_t n;
    if (__builtin_add_overflow(wg->n, delta, &n) || n < 0) {
        PyErr_SetString(Error, delta < 0 ? "sync: negative WaitGroup counter"
                                         : "sync: WaitGroup counter overflow"); /* n has wrapped around */
        return -1;
    }
    wg->n = n;
    if (n == 0) {
        sudog *s;
        while ((s = waitq_pop(&wg->waiters)) != NULL)
            goready(s->w->g);
    }
    return 0;
}

static PyObject *
WaitGroup_add(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs)
{
    long long delta = 1;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "add() takes at most one argument, got %zd", nargs);
    if (nargs == 1) {
        delta = PyLong_AsLongLong(args[0]);
        if (delta == -1 && PyErr_Occurred())
            return NULL;
    }
    if (wg_add(wg, delta) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
WaitGroup_done(WaitGroup *wg, PyObject *unused)
{
    (void)unused;
    if (unlikely(wg_add(wg, -1) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static bool
is_zero(void *of, g *gp)
{
    (void)gp;
    return ((const WaitGroup *)of)->n == 0;
}

static const waitable zero = {waitReasonWaitGroupWait, is_zero, NULL};

static PyObject *
WaitGroup_wait(WaitGroup *wg, PyObject *unused)
{
    (void)unused;
    g *gp = getg();
    if (!gp || wait_for(gp, &wg->waiters, &zero, wg, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* done(), with an exception set or not. If the program has already brought the counter to 0, that error is
 * reported as unraisable. */
static void
wg_done(WaitGroup *wg)
{
    PyObject *t, *v, *tb;
    PyErr_Fetch(&t, &v, &tb);
    if (wg_add(wg, -1) < 0)
        PyErr_WriteUnraisable((PyObject *)wg);
    PyErr_Restore(t, v, tb);
}

/* add(1), and a goroutine that calls def(args...) on wg. -1: nothing was started, and the counter is as
 * before; goroutines that have begun to wait meanwhile (newproc may run the program's code) are woken if it
 * is 0. */
static int
wg_start(WaitGroup *wg, PyMethodDef *def, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *run = PyCFunction_New(def, (PyObject *)wg);
    int r = run ? wg_add(wg, 1) : -1;
    if (r == 0 && newproc_user(run, args, nargs, kwnames) < 0) {
        wg_done(wg);
        r = -1;
    }
    Py_XDECREF(run);
    return r;
}

/* What go() starts: args[0] is the function. */
static PyObject *
WaitGroup_run(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), kwnames);
    if (r) {
        Py_DECREF(r);
        return WaitGroup_done(wg, NULL);
    }
    if (PyErr_ExceptionMatches(Goexit))
        wg_done(wg);
    return NULL; /* a panic: the program ends */
}

static PyMethodDef run_def = {"WaitGroup.go", (PyCFunction)(void (*)(void))WaitGroup_run,
                              METH_FASTCALL | METH_KEYWORDS, NULL};

static PyObject *
WaitGroup_go(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (check_call("WaitGroup.go()", args, nargs) < 0 || wg_start(wg, &run_def, args, nargs, kwnames) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- what errgroup.Group is made of: goroutines that have a place, and tell if they fail ------------ */

/* The goroutine: args are the function, a Sema (or None), and whom to call with an Exception that escapes. */
static PyObject *
WaitGroup_run_task(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *r = PyObject_Vectorcall(args[0], args + 3, (size_t)(nargs - 3), kwnames);
    if (!r && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *exc = take_exception();
        r = PyObject_CallOneArg(args[2], exc);
        Py_DECREF(exc);
    }
    if (!r && !PyErr_ExceptionMatches(Goexit))
        return NULL; /* a panic: the program ends */
    if (args[1] != Py_None)
        sema_release((Sema *)args[1]);
    wg_done(wg);
    return r;
}

static PyMethodDef run_task_def = {"Group.go", (PyCFunction)(void (*)(void))WaitGroup_run_task,
                                   METH_FASTCALL | METH_KEYWORDS, NULL};

static PyObject *
WaitGroup_start_task(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (wg_start(wg, &run_task_def, args, nargs, kwnames) == 0)
        Py_RETURN_NONE;
    if (args[1] != Py_None)
        sema_release((Sema *)args[1]);
    return NULL;
}

static int
check_task(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs >= 3 && (args[1] == Py_None || PyObject_TypeCheck(args[1], Sema_Type)))
        return 0;
    PyErr_SetString(PyExc_TypeError, "_go() takes a callable, a Sema or None, and a callback");
    return -1;
}

static PyObject *
WaitGroup_go_task(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (check_task(args, nargs) < 0)
        return NULL;
    if (args[1] != Py_None && sema_acquire((Sema *)args[1]) < 0)
        return NULL;
    return WaitGroup_start_task(wg, args, nargs, kwnames);
}

static PyObject *
WaitGroup_try_go_task(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (check_task(args, nargs) < 0)
        return NULL;
    if (args[1] != Py_None) {
        Sema *places = (Sema *)args[1];
        if (places->count == 0)
            Py_RETURN_FALSE;
        places->count--;
    }
    PyObject *r = WaitGroup_start_task(wg, args, nargs, kwnames);
    if (!r)
        return NULL;
    Py_DECREF(r);
    Py_RETURN_TRUE;
}

static PyMethodDef WaitGroup_methods[] = {
    {"add", (PyCFunction)(void (*)(void))WaitGroup_add, METH_FASTCALL,
     "add($self, delta=1, /)\n--\n\n"
     "Adds delta to the counter; when it becomes 0, the waiters go on: Go's WaitGroup.Add.\n\n"
     "delta may be negative. Raises TypeError if it is not an int, and runtime.Error if the counter\n"
     "would become negative."},
    {"done", (PyCFunction)WaitGroup_done, METH_NOARGS,
     "done($self, /)\n--\n\nSubtracts 1 from the counter: Go's WaitGroup.Done.\n\n"
     "Raises runtime.Error if the counter would become negative."},
    {"wait", (PyCFunction)WaitGroup_wait, METH_NOARGS,
     "wait($self, /)\n--\n\nWaits until the counter is 0: Go's WaitGroup.Wait."},
    {"go", (PyCFunction)(void (*)(void))WaitGroup_go, METH_FASTCALL | METH_KEYWORDS,
     "go($self, fn, /, *args, **kwargs)\n--\n\n"
     "Adds 1 and starts a goroutine that calls fn(*args, **kwargs), then done(): Go's WaitGroup.Go.\n\n"
     "Raises TypeError if fn cannot be called, or if calling it runs nothing (a coroutine or generator\n"
     "function)."},
    {"_go", (PyCFunction)(void (*)(void))WaitGroup_go_task, METH_FASTCALL | METH_KEYWORDS,
     "_go($self, fn, places, failed, /, *args, **kwargs)\n--\n\n"
     "go(), with a unit of `places` while fn runs.\n\n"
     "places: a Sema, or None. failed(exc) is called for an Exception that escapes fn."},
    {"_try_go", (PyCFunction)(void (*)(void))WaitGroup_try_go_task, METH_FASTCALL | METH_KEYWORDS,
     "_try_go($self, fn, places, failed, /, *args, **kwargs)\n--\n\n"
     "_go(), unless it would have to wait: then it returns False."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef WaitGroup_members[] = {
    {"_n", T_LONGLONG, offsetof(WaitGroup, n), READONLY, "The counter."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(WaitGroup, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot WaitGroup_slots[] = {
    {Py_tp_doc, "WaitGroup()\n--\n\nWaits for a group of goroutines to end: Go's sync.WaitGroup."},
    {Py_tp_new, type_no_args},
    {Py_tp_dealloc, type_free_weak},
    {Py_tp_methods, WaitGroup_methods},
    {Py_tp_members, WaitGroup_members},
    {0, NULL},
};

static PyType_Spec WaitGroup_spec = {"gort.sync.WaitGroup", sizeof(WaitGroup), 0, Py_TPFLAGS_DEFAULT,
                                     WaitGroup_slots};

int
gort_waitgroup_init(PyObject *module)
{
    return add_type(module, &WaitGroup_spec) ? 0 : -1;
}
