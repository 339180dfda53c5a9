/* g.c: a goroutine's life.
 *
 *     newproc: free list or stackalloc -> runnable -> [gomain: the function] -> dead -> free list
 *
 * Invariants
 *   1. A g is made once and lives for ever; between two lives it waits on sched.gfree with its C stack inside gomain's
 *      loop (in godead), with its thread state reset (or, after a fork or without memory, with none: newproc makes
 *      one).
 *   2. All that a life owns (function, arguments, context, thread-locals) is released by the goroutine itself, on its
 *      own stack, before it is dead: destructors may run any Python code, park included.
 *   3. An exception that escapes is a panic: the hook prints, the process ends. Only Goexit ends a goroutine quietly.
 *
 * Differs from Go: arguments are Python objects, kept for the goroutine's whole life; the context of contextvars is
 * copied from the creator; the number of the creator and the place of the go() are kept for dumps.
 */
#include "core.h"

#include "annotate.h"
#include "compat.h"
#include "os.h"
#include "pc.h"
#include "traceback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PyObject *Error, *Goexit;
PyObject *panic_hook, *fatal_hook, *start_hook, *threading_hook;

/* -- does a function block in C? ---------------------------------------------------------------
 *
 * Goroutines of functions that are known to park without blocking may start on the main thread; the others start
 * elsewhere, so that the main goroutine finds its thread free. A guess that is wrong costs time, never correctness. */

#define NKNOWN 512
static struct {
    void *code;
    bool good;
} known[NKNOWN];

/* What fn(args...) runs: its code; of a builtin that is handed a function first (WaitGroup.go), that function's. */
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

/* gp came to a park, or to its end, without having blocked; or it did block. */
void
proven(g *gp, bool good)
{
    remember(code_of(gp->fn, gp->args + 1, gp->nargs), good);
}

/* -- tracing ----------------------------------------------------------------------------------- */

static PyObject *threading_dict, *str_trace_hook, *str_profile_hook;

int
ginit(void)
{
    str_trace_hook = PyUnicode_InternFromString("_trace_hook");
    str_profile_hook = PyUnicode_InternFromString("_profile_hook");
    return str_trace_hook && str_profile_hook ? 0 : -1;
}

int
need_threading(void)
{
    if (likely(threading_dict != NULL) || !threading_hook)
        return 0;
    if (!threading_module() && !on_main_thread())
        return 0;
    PyObject *r = PyObject_CallNoArgs(threading_hook);
    PyObject *threading = r ? threading_module() : NULL;
    if (threading)
        Py_XSETREF(threading_dict, Py_NewRef(PyModule_GetDict(threading)));
    Py_XDECREF(r);
    return r ? 0 : -1;
}

/* Would a new threading.Thread be traced or profiled? */
static bool
threading_traces(void)
{
    if (!threading_dict)
        return false;
    PyObject *t = PyDict_GetItemWithError(threading_dict, str_trace_hook);
    PyObject *p = PyDict_GetItemWithError(threading_dict, str_profile_hook);
    return (t && t != Py_None) || (p && p != Py_None);
}

/* -- birth ------------------------------------------------------------------------------------- */

static int
newproc_as(uint8_t flags, PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           PyObject *context)
{
    PyThreadState *ts = PyThreadState_Get();
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **argv = NULL;
    if (!context && need_threading() < 0)
        return -1;
    if (unlikely(total >= INLINE_ARGS)) { /* one word is vectorcall's scratch */
        argv = PyMem_Malloc((size_t)(total + 1) * sizeof(PyObject *));
        if (!argv) {
            PyErr_NoMemory();
            return -1;
        }
    }
    bool copied = false, from_timer = context != NULL;
    if (!context && ts_context(ts)) {
        context = PyContext_CopyCurrent(); /* may collect garbage: any Python code */
        if (!context) {
            PyMem_Free(argv);
            return -1;
        }
        copied = true;
    }
    bool traced = start_hook && threading_traces();

    g *gp = sched.gfree;
    if (likely(gp != NULL))
        sched.gfree = gp->schedlink;
    else {
        gp = stackalloc();
        if (gp) {
            gp->alllink = sched.allgs;
            sched.allgs = gp;
        }
    }
    if (gp && unlikely(!gp->ts)) {
        gp->ts = ts_new();
        if (gp->ts)
            ts_set_chunk(gp->ts, (char *)inline_args(gp) - CHUNK_SIZE, CHUNK_SIZE);
        else {
            gp->status = Gdead;
            gp->schedlink = sched.gfree;
            sched.gfree = gp;
            gp = NULL;
            PyErr_NoMemory();
        }
        if (gp)
            ts_set_c_budget(gp->ts, gp->c_budget);
    }
    if (!gp) {
        PyMem_Free(argv);
        if (copied)
            Py_DECREF(context);
        return -1;
    }

    PyObject **to = argv ? argv : gp->args;
    for (Py_ssize_t i = 0; i < total; i++)
        to[i + 1] = Py_NewRef(args[i]);
    gp->args = to;
    gp->fn = Py_NewRef(fn);
    gp->nargs = nargs;
    gp->kwnames = Py_XNewRef(kwnames);
    gp->context = copied ? context : Py_XNewRef(context);
    gp->copy_context = !copied && context;
    gp->traced = traced;
    gp->goid = ++sched.goidgen;
    gp->lockcount = 0;
    gp->lockedm = NULL;
    gp->goexiting = false;
    gp->flags = flags | (known_good(code_of(fn, args, nargs)) ? G_ANY : G_ANY | G_UNPROVEN);
    gp->parent = 0;
    gp->created_code = NULL;
    if (!from_timer) {
        m *mp = getm();
        g *creator = mp ? mp->curg : NULL;
        pyframe at;
        if (frame_first(&at, ts, false)) {
            gp->created_code = (PyCodeObject *)Py_NewRef(at.code);
            gp->created_lasti = at.lasti;
            func *f = func_of(at.code, at.globals);
            gp->created_module = f ? func_module(f) : NULL;
        }
        if (creator) {
            gp->parent = creator->goid;
            if (unlikely(tb.ancestors > 0))
                gp->ancestors = save_ancestors(creator, ts);
        }
    }
    ts_set_thread(gp->ts, (unsigned long)gp->goid);
    sched.ngoroutines += !(flags & G_SYSTEM);
    newproc1(gp);
    return 0;
}

int
newproc(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *context)
{
    return newproc_as(0, fn, args, nargs, kwnames, context);
}

int
newproc_system(PyObject *fn, PyObject *context)
{
    return newproc_as(G_SYSTEM, fn, NULL, 0, NULL, context);
}

/* -- life -------------------------------------------------------------------------------------- */

static void
call_panic_hook(g *gp, PyObject *exc)
{
    int status = 2;
    PyObject *r =
        panic_hook ? PyObject_CallFunction(panic_hook, "OK", exc, (unsigned long long)gp->goid) : NULL;
    if (r) {
        status = (int)PyLong_AsLong(r);
        if (PyErr_Occurred())
            status = 2;
    }
    else {
        write_all(2, "panic during panic\n", 19);
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
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb && value)
        PyException_SetTraceback(value, tb);
    call_panic_hook(gp, value);
}

/* A goroutine forked, and in the child, where it is the main goroutine, its function returned: the child ends as a
 * program does. */
static void
child_exit(g *gp)
{
    PyObject *exc = PyObject_CallFunction(PyExc_SystemExit, "i", 0);
    if (exc)
        call_panic_hook(gp, exc);
    _exit(1);
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
    if (unlikely(gp->traced)) {
        PyObject *r = PyObject_CallNoArgs(start_hook);
        if (r)
            Py_DECREF(r);
        else
            PyErr_WriteUnraisable(start_hook);
    }
    PyObject *r = PyObject_Vectorcall(gp->fn, gp->args + 1,
                                      (size_t)gp->nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, gp->kwnames);
    if (likely(r != NULL))
        Py_DECREF(r);
    else
        escaped(gp);
    if (gp->flags & (G_UNPROVEN | G_BLOCKS))
        proven(gp, !(gp->flags & G_BLOCKS));

    PyObject **args = gp->args;
    Py_ssize_t total = gp->nargs + (gp->kwnames ? PyTuple_GET_SIZE(gp->kwnames) : 0);
    for (Py_ssize_t i = 1; i <= total; i++)
        Py_CLEAR(args[i]);
    if (unlikely(total >= INLINE_ARGS)) {
        gp->args = inline_args(gp);
        PyMem_Free(args);
    }
    Py_CLEAR(gp->kwnames);
    Py_CLEAR(gp->created_code);
    if (unlikely(gp->ancestors != NULL)) {
        free_ancestors(gp->ancestors);
        gp->ancestors = NULL;
    }
    Py_CLEAR(gp->fn);
    ts_reset(gp->ts, gp->c_budget);
    for (int i = 0; i < 3 && unlikely(!ts_is_clean(gp->ts)); i++)
        ts_reset(gp->ts, gp->c_budget); /* destructors may have made new thread-locals */
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
            child_exit(gp);
        gp->status = Gdead;
        gp->shrunk = false;
        sched.ngoroutines -= !(gp->flags & G_SYSTEM);
        gp->schedlink = sched.gfree;
        sched.gfree = gp;
        godead(gp);
    }
}

/* -- death of the process ---------------------------------------------------------------------- */

_Noreturn void throw(const char *text)
{
    char buf[256];
    int n = snprintf(buf, sizeof buf, "fatal error: %s\n", text);
    write_all(2, buf, (size_t)n);
    abort();
}

/* The runtime's own fatal error. GIL held, a thread state attached. */
_Noreturn void
fatal(const char *text)
{
    sched.throwing = true;
    PyObject *r = fatal_hook ? PyObject_CallFunction(fatal_hook, "s", text) : NULL;
    if (!r) {
        char buf[256];
        int n = snprintf(buf, sizeof buf, "fatal error: %s\n", text);
        write_all(2, buf, (size_t)n);
        if (PyErr_Occurred())
            PyErr_Print();
    }
    _exit(2);
}
