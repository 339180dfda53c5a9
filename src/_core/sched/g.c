/* g.c: a goroutine's life.
 *
 *     newproc: gfget -> runnable -> [gomain: the function] -> dead (gfput)
 *
 * Invariants
 *   1. Between two lives a g waits for the next one with its C stack inside gomain's loop (in godead), with
 *      its thread state reset (or, after a fork or without memory, with none: newproc makes one). If none
 *      comes for some seconds, all of it is given up (reclaim.c).
 *   2. All that a life owns (function, arguments, context, thread-locals) is released by the goroutine
 *      itself, on its own stack, before it is dead (retire): destructors may run any Python code, park
 *      included, after a goexit too.
 *   3. An exception that escapes is a panic: the hook prints, the process ends. Only Goexit ends a goroutine
 *      quietly.
 *
 * Differs from Go: arguments are Python objects, kept for the goroutine's whole life; the context of
 * contextvars is copied from the creator; the number of the creator and the place of the go() are kept for
 * dumps.
 */
#include "core.h"

#include "cpython/compat.h"
#include "hooks.h"
#include "os/annotate.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/stack.h"

#include <string.h>
#include <unistd.h>

PyObject *Error, *Goexit;
PyObject *panic_hook, *fatal_hook, *threading_hook, *debugger_hook;

/* -- does a function block in C? ---------------------------------------------------------------
 *
 * Goroutines of functions that are known to park without blocking may start on the main thread; the others
 * start elsewhere, so that the main goroutine finds its thread free. A guess that is wrong costs time, never
 * correctness. */

#define NKNOWN 512
static struct {
    void *code;
    bool good;
} known[NKNOWN];

/* What fn(args...) runs: its code; of a builtin that is handed a function first (WaitGroup.go), that
 * function's. */
static void *
code_of(PyObject *fn, PyObject *const *args, Py_ssize_t nargs)
{
    if (PyCFunction_Check(fn) && nargs > 0 && PyCallable_Check(args[0]))
        fn = args[0];
    if (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    return PyFunction_Check(fn) ? (void *)PyFunction_GET_CODE(fn) : (void *)Py_TYPE(fn);
}

static inline size_t
slot_of(void *code)
{
    return ((uintptr_t)code >> 5) % NKNOWN;
}

static inline bool
known_good(void *code)
{
    size_t i = slot_of(code);
    return known[i].code == code && known[i].good;
}

static inline void
remember(void *code, bool good)
{
    size_t i = slot_of(code);
    if (known[i].code == code && !known[i].good)
        return; /* once bad, bad as long as it has the slot */
    known[i].code = code;
    known[i].good = good;
}

/* gp came to a park, or to its function's end, without having blocked; or it did block. */
void
proven(g *gp, bool good)
{
    check(gp->fn);
    remember(code_of(gp->fn, gp->args + 1, gp->nargs), good);
}

/* -- what can be started ------------------------------------------------------------------------ */

#define CO_RUNS_NOTHING (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR)

/* The flags of the code that a call of fn starts with; 0: it is not known to be Python code. */
static int
flags_of(PyObject *fn)
{
    PyObject *held = Py_NewRef(fn);
    int flags = 0;
    for (int i = 0; held && i < 100; i++) {
        if (PyMethod_Check(held))
            Py_SETREF(held, Py_NewRef(PyMethod_GET_FUNCTION(held)));
        if (PyFunction_Check(held)) {
            flags = ((PyCodeObject *)PyFunction_GET_CODE(held))->co_flags;
            break;
        }
        if (PyCFunction_Check(held) || PyType_Check(held))
            break;
        PyObject *type = (PyObject *)Py_TYPE(held);
        bool partial = strcmp(Py_TYPE(held)->tp_name, "functools.partial") == 0;
        Py_SETREF(held,
                  partial ? PyObject_GetAttrString(held, "func") : PyObject_GetAttrString(type, "__call__"));
        if (!partial && held && !PyFunction_Check(held))
            break;
    }
    PyErr_Clear();
    Py_XDECREF(held);
    return flags;
}

int
check_callable(const char *what, PyObject *fn)
{
    if (likely(PyCallable_Check(fn)))
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes a callable, not %R", what, fn);
    return -1;
}

int
check_args(const char *what, PyObject *const *args, Py_ssize_t nargs)
{
    if (likely(nargs > 0))
        return check_callable(what, args[0]);
    PyErr_Format(PyExc_TypeError, "%s takes a callable and its arguments", what);
    return -1;
}

int
check_runs(const char *what, PyObject *fn)
{
    if (likely(runs(fn)))
        return 0;
    if (check_callable(what, fn) < 0)
        return -1;
    int flags = flags_of(fn) & CO_RUNS_NOTHING;
    if (likely(flags == 0))
        return 0;
    if (flags & CO_COROUTINE)
        PyErr_Format(
            PyExc_TypeError,
            "%s: %R is a coroutine function, and calling it runs nothing: start a function that calls "
            "asyncio.run() with the coroutine",
            what, fn);
    else
        PyErr_Format(
            PyExc_TypeError,
            "%s: %R is %s function, and calling it runs nothing: start a function that iterates over what "
            "it returns",
            what, fn, flags & CO_ASYNC_GENERATOR ? "an asynchronous generator" : "a generator");
    return -1;
}

/* -- exceptions as objects ---------------------------------------------------------------------- */

PyObject *
take_exception(void)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace && value)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
}

void
give_exception(PyObject *exc)
{
    PyErr_Restore(Py_NewRef(Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}

/* -- tracing ----------------------------------------------------------------------------------- */

int
need_threading(void)
{
    static bool done;
    if (likely(done) || !threading_hook)
        return 0;
    if (!threading_module() && !on_main_thread())
        return 0;
    PyObject *r = PyObject_CallNoArgs(threading_hook);
    if (r == Py_True && threading_found())
        done = true;
    Py_XDECREF(r);
    return r ? 0 : -1;
}

/* Gives this goroutine the functions that threading, or a debugger, gives a new Thread. The former without a
 * frame of Python code, which they would be told of. */
static void
trace_as_threading_does(void)
{
    PyObject *fns[2];
    if (unlikely(threading_start_replaced())) {
        PyObject *r = PyObject_CallNoArgs(debugger_hook);
        if (!r)
            PyErr_WriteUnraisable(debugger_hook);
        Py_XDECREF(r);
    }
    threading_hooks(&fns[0], &fns[1]);
    const char *setters[] = {"settrace", "setprofile"};
    for (int i = 0; i < 2; i++)
        Py_XINCREF(fns[i]);
    for (int i = 0; i < 2; i++) {
        PyObject *setter = fns[i] ? PySys_GetObject(setters[i]) : NULL;
        PyObject *r = setter ? PyObject_CallOneArg(setter, fns[i]) : NULL;
        if (setter && !r)
            PyErr_WriteUnraisable(setter);
        Py_XDECREF(r);
        Py_XDECREF(fns[i]);
    }
}

/* -- birth ------------------------------------------------------------------------------------- */

/* One that is dead or new, with a thread state. NULL: exception set. */
static inline g *
gfget_with_ts(void)
{
    g *gp = gfget();
    if (!gp || likely(gp->ts != NULL))
        return gp;
    gp->ts = ts_new();
    if (!gp->ts) {
        gfput(gp);
        PyErr_NoMemory();
        return NULL;
    }
    ts_set_chunk(gp->ts, (char *)inline_args(gp) - CHUNK_SIZE, CHUNK_SIZE);
    ts_set_stack(gp->ts, gp->stack_lo, gp->stack_hi);
    return gp;
}

/* What it calls. argv has room for all arguments and a word, vectorcall's scratch. */
static inline void
set_call(g *gp, PyObject *fn, PyObject **argv, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    for (Py_ssize_t i = 0; i < total; i++)
        argv[i + 1] = Py_NewRef(args[i]);
    gp->args = argv;
    gp->fn = Py_NewRef(fn);
    gp->nargs = nargs;
    gp->kwnames = Py_XNewRef(kwnames);
}

/* Nothing of its earlier life is left. */
static inline void
set_identity(g *gp, uint8_t flags)
{
    gp->goid = ++sched.goidgen;
    gp->flags = flags;
    gp->lockcount = 0;
    gp->lockedm = NULL;
    gp->goexiting = gp->retiring = false;
    gp->parent = 0;
    gp->created_code = NULL;
    ts_set_thread(gp->ts, (unsigned long)gp->goid);
}

static int
newproc_as(uint8_t flags, PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           PyObject *context)
{
    PyThreadState *ts = PyThreadState_Get();
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **argv = NULL;
    bool copied = false, from_timer = context != NULL;
    if (!from_timer && need_threading() < 0)
        return -1;
    if (unlikely(total >= INLINE_ARGS) && !(argv = PyMem_Malloc((size_t)(total + 1) * sizeof *argv))) {
        PyErr_NoMemory();
        return -1;
    }
    if (!from_timer && ts_context(ts)) {
        context = PyContext_CopyCurrent(); /* may collect garbage: any Python code */
        copied = context != NULL;
        if (!copied)
            goto failed;
    }
    bool traced = threading_hooked();
    /* after all that may run Python code: until newproc1 gp is in no queue and no list */
    g *gp = gfget_with_ts();
    if (!gp)
        goto failed;
    set_call(gp, fn, argv ? argv : gp->args, args, nargs, kwnames);
    gp->context = copied ? context : Py_XNewRef(context);
    gp->copy_context = from_timer;
    gp->traced = traced;
    set_identity(gp, flags | (known_good(code_of(fn, args, nargs)) ? G_ANY : G_ANY | G_UNPROVEN));
    if (!from_timer)
        hooks.born(gp, ts);
    sched.ngoroutines += !(flags & G_SYSTEM);
    newproc1(gp);
    return 0;

failed:
    PyMem_Free(argv);
    if (copied)
        Py_DECREF(context);
    return -1;
}

int
newproc(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *context)
{
    return newproc_as(0, fn, args, nargs, kwnames, context);
}

int
newproc_user(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (unlikely(sched.stopping)) {
        PyErr_SetString(Error, "go: the program has ended");
        return -1;
    }
    return newproc_as(0, fn, args, nargs, kwnames, NULL);
}

int
newproc_system(PyObject *fn, PyObject *context)
{
    return newproc_as(G_SYSTEM, fn, NULL, 0, NULL, context);
}

/* -- life -------------------------------------------------------------------------------------- */

static void
call_panic_hook(PyObject *exc)
{
    int status = 2;
    /* first: main, which this goroutine may have woken on its way here, must not end the program before it */
    death_begins(exc);
    PyObject *r = panic_hook ? PyObject_CallOneArg(panic_hook, exc) : NULL;
    if (r) {
        status = (int)PyLong_AsLong(r);
        if (PyErr_Occurred())
            status = 2;
    }
    else {
        panic_during_panic();
        PyErr_Print();
    }
    _exit(status);
}

/* An exception left the goroutine's function. */
static void
escaped(g *gp)
{
    if (PyErr_ExceptionMatches(Goexit)) {
        PyErr_Clear();
        return;
    }
    if (unlikely(sched.stopping && !(gp->flags & G_MAIN)))
        sched_abandon(gp); /* of the end, like a go() that is refused, or a module that is gone: no panic */
    PyObject *exc = take_exception();
    if (unlikely(exc && session_takes(exc)))
        Py_DECREF(exc);
    else
        call_panic_hook(exc);
}

/* A goroutine forked, and in the child, where it is the main goroutine, its function returned: the child ends
 * as a program does. */
static void
child_exit(void)
{
    PyObject *exc = PyObject_CallFunction(PyExc_SystemExit, "i", 0);
    if (exc)
        call_panic_hook(exc);
    _exit(1);
}

/* Where it comes from, for dumps. True: Python code may have run. */
static bool
drop_origin(g *gp)
{
    ancestors *a = gp->ancestors;
    if (unlikely(a != NULL)) {
        gp->ancestors = NULL;
        hooks.free_ancestors(a);
    }
    bool last =
        gp->created_code && Py_REFCNT(gp->created_code) == 1; /* a code object can be referred to weakly */
    Py_CLEAR(gp->created_code);
    return last;
}

/* The function has ended: lets go of all that this life owns. Destructors run here as in any other place:
 * they may wait, block, fork, start goroutines or leave thread-locals behind, and dumps look at gp meanwhile.
 * So each field is NULL, or holds no more than it says, before what it held is let go of. */
static void
retire(g *gp)
{
    if (gp->flags & G_PROOF)
        proven(gp, (gp->flags & G_PROOF) != G_BLOCKS);
    gp->flags &= (uint8_t)~G_PROOF; /* the verdict is on the function, and the function is let go of now */

    PyObject **args = gp->args;
    Py_ssize_t total = gp->nargs + (gp->kwnames ? PyTuple_GET_SIZE(gp->kwnames) : 0);
    for (Py_ssize_t i = 1; i <= total; i++)
        Py_CLEAR(args[i]);
    Py_CLEAR(gp->kwnames);
    gp->nargs = 0;
    if (unlikely(total >= INLINE_ARGS)) {
        gp->args = inline_args(gp);
        PyMem_Free(args);
    }
    Py_CLEAR(gp->fn);
    const size_t stack = (size_t)(gp->stack_hi - gp->stack_lo);
    ts_reset(gp->ts, stack);
    if (unlikely(drop_origin(gp)))
        ts_reset(gp->ts, stack);
}

static void
run(g *gp)
{
    if (gp->context) {
        PyObject *context = gp->context;
        gp->context = NULL;
        if (gp->copy_context)
            Py_SETREF(context, PyContext_Copy(context));
        if (context)
            ts_set_context(gp->ts, context);
        else
            PyErr_WriteUnraisable(gp->fn);
    }
    ts_has_frames(gp->ts, !PyCFunction_Check(gp->fn));
    if (unlikely(gp->traced))
        trace_as_threading_does();
    PyObject *r = PyObject_Vectorcall(gp->fn, gp->args + 1,
                                      (size_t)gp->nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, gp->kwnames);
    /* Before anything is let go of (the result, the frames of an exception): what that destroys may wait, as
     * may the hook of a panic out of a `finally`, though this goroutine swallowed its Goexit; and if it calls
     * goexit, that ends it alone. */
    gp->goexiting = false;
    gp->retiring = true;
    if (likely(r != NULL))
        Py_DECREF(r);
    else
        escaped(gp);
    retire(gp);
    ts_has_frames(gp->ts, false);
    if (unlikely(sched.importer == gp->goid))
        hooks.importer_ended();
    check(!PyErr_Occurred() && !gp->cgo);
}

/* Where every goroutine's stack begins. Each turn is one life. */
void
gomain(void)
{
    annotate_arrive(NULL);
    for (;;) {
        g *gp = getm()->curg;
        resumed(gp);
        run(gp);
        if (unlikely(gp->flags & G_MAIN))
            child_exit();
        if (unlikely(gp->opened))
            morestack_close(gp);
        sched.ngoroutines -= !(gp->flags & G_SYSTEM);
        gfput(gp); /* still on its stack: before that is left only attend can start its next life (reborn) */
        godead(gp);
    }
}
