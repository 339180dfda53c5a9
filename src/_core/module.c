/* module.c: the extension module gort._core: initialisation and the functions of goroutines and the
 * scheduler. The types are in the files of their nouns. */
#include "core.h"

#include "cgo/cgo.h"
#include "cpython/compat.h"
#include "debug/memdebug.h"
#include "debug/memstats.h"
#include "gc/finalizer.h"
#include "gc/mgc.h"
#include "mem/heap.h"
#include "os/arch/arch.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/greenlet.h"
#include "sched/ident.h"
#include "sched/sched.h"
#include "sched/session.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "stacks/pc.h"
#include "stacks/signal.h"
#include "stacks/traceback.h"
#include "sync/sync.h"

#include <string.h>

static PyTypeObject *GoroutineInfo;

/* -- goroutines --------------------------------------------------------------------------------- */

static PyObject *
go_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)mod;
    if (check_call("go()", args, nargs) < 0 || newproc_user(args[0], args + 1, nargs - 1, kwnames) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
gosched_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    goschedule(gp);
    Py_RETURN_NONE;
}

static PyObject *
goexit_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    if (gp->flags & G_THREAD)
        return PyErr_Format(Error, "runtime.goexit called in a thread that is not a goroutine");
    /* a destructor at the end: the interpreter reports it, and the next one runs; at a prompt the statement
     * ends, as by any other exception, and the next one runs */
    gp->goexiting = !gp->retiring && !(gp->flags & G_MAIN && session_prompts());
    PyErr_SetNone(Goexit);
    return NULL;
}

/* Main has ended by goexit and waits for signals. */
static enum turn
goexit_turn(void *of, g *gp, bool front)
{
    (void)of, (void)front;
    gopark(gp, waitReasonGoexit);
    return INTERRUPTED;
}

static PyObject *
main_goexit_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp && !(PyErr_ExceptionMatches(Goexit) && (PyErr_Clear(), gp = maing)))
        return NULL;
    if (!(gp->flags & G_MAIN))
        return PyErr_Format(Error, "only the main goroutine can end as main");
    gp->goexiting = false;
    sched.ngoroutines--;
    wait_until(gp, NULL, goexit_turn, false, NULL);
    return NULL; /* a handler's exception ends it */
}

static PyObject *
gomaxprocs_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    long n = 0;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "gomaxprocs() takes at most one argument, got %zd", nargs);
    if (nargs == 1) {
        if (!PyLong_Check(args[0]))
            return PyErr_Format(PyExc_TypeError, "gomaxprocs() takes an int, not %R", args[0]);
        int overflow;
        n = PyLong_AsLongAndOverflow(args[0], &overflow);
        if (overflow > 0 || n > MAXPROCS)
            return PyErr_Format(PyExc_ValueError, "gomaxprocs(): %R is more than %d", args[0], MAXPROCS);
    }
    int old = sched.nprocs;
    if (n > 0 && n != old && procresize((int32_t)n) < 0)
        return NULL;
    return PyLong_FromLong(old);
}

static PyObject *
num_goroutine_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyLong_FromLongLong(sched.ngoroutines);
}

static PyObject *
lock_os_thread_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    lock_thread(gp);
    Py_RETURN_NONE;
}

static PyObject *
unlock_os_thread_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    unlock_thread(gp);
    Py_RETURN_NONE;
}

static PyObject *
check_callable_(PyObject *mod, PyObject *args)
{
    (void)mod;
    const char *what;
    PyObject *fn;
    if (!PyArg_ParseTuple(args, "sO:check_callable", &what, &fn) || check_callable(what, fn) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
check_runs_(PyObject *mod, PyObject *args)
{
    (void)mod;
    const char *what;
    PyObject *fn;
    if (!PyArg_ParseTuple(args, "sO:check_runs", &what, &fn) || check_runs(what, fn) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
unsignaled_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (check_args("unsignaled()", args, nargs) < 0)
        return NULL;
    bool mine = on_main_thread();
    if (mine && need_threading() < 0) /* before it seems not to be the main thread: f may start goroutines */
        return NULL;
    if (mine)
        main_thread_set(false);
    PyObject *r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), NULL);
    if (mine) {
        main_thread_set(true);
        signals_again(); /* the interpreter may have looked, and forgotten that it had to */
    }
    return r;
}

static PyObject *
keep_alive_(PyObject *mod, PyObject *x)
{
    (void)mod, (void)x;
    Py_RETURN_NONE;
}

static g *
current(void)
{
    m *mp = getm();
    if (mp)
        return mp->curg;
    return getg(); /* binds the main thread */
}

static PyObject *
goid_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = current();
    if (!gp)
        return NULL;
    return PyLong_FromUnsignedLongLong(gp->goid);
}

static PyObject *
is_main_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = current();
    if (!gp)
        return NULL;
    return PyBool_FromLong(gp->flags & G_MAIN);
}

static PyObject *
info_of(g *gp)
{
    const char *status = "running", *why = "";
    double since = 0;
    m *mp = gp->m;
    if (gp->status == Gwaiting) {
        status = "waiting";
        why = waitreason_text[gp->waitreason];
        since = (double)gp->waitsince * 1e-9;
    }
    else if (gp->status == Grunnable)
        status = "runnable";
    else if (gp != current() && mp && !mp->p)
        status = "syscall"; /* its P was taken away: it is in C, or computes without */
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(gp->ts);
    PyErr_Clear();
    PyObject *t = PyStructSequence_New(GoroutineInfo);
    if (!t) {
        Py_XDECREF(frame);
        return NULL;
    }
    PyStructSequence_SET_ITEM(t, 0, PyLong_FromUnsignedLongLong(gp->goid));
    PyStructSequence_SET_ITEM(t, 1, PyUnicode_FromString(status));
    PyStructSequence_SET_ITEM(t, 2, PyUnicode_FromString(why));
    PyStructSequence_SET_ITEM(t, 3, PyFloat_FromDouble(since));
    PyStructSequence_SET_ITEM(t, 4, PyBool_FromLong(gp->flags & G_LOCKED));
    PyStructSequence_SET_ITEM(t, 5, frame ? frame : Py_NewRef(Py_None));
    PyStructSequence_SET_ITEM(t, 6, PyLong_FromUnsignedLongLong(gp->parent));
    PyStructSequence_SET_ITEM(t, 7, Py_NewRef(gp->created_code ? (PyObject *)gp->created_code : Py_None));
    PyStructSequence_SET_ITEM(
        t, 8, PyLong_FromLong(gp->created_code ? PyCode_Addr2Line(gp->created_code, gp->created_lasti) : 0));
    if (PyErr_Occurred())
        Py_CLEAR(t);
    return t;
}

static PyObject *
goroutines_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    PyObject *list = PyList_New(0);
    allgs all = {0};
    for (g *gp; list && (gp = allgs_next(&all)) != NULL;) {
        if (!g_alive(gp) || !gp->ts || is_idle_system(gp))
            continue;
        PyObject *t = info_of(gp);
        if (!t || PyList_Append(list, t) < 0)
            Py_CLEAR(list);
        Py_XDECREF(t);
    }
    if (list && PyList_Sort(list) < 0) /* by number: no two are equal */
        Py_CLEAR(list);
    return list;
}

/* -- settings ------------------------------------------------------------------------------------ */

static int
positive(PyObject *o, const char *what, long long max, long long *n)
{
    if (!PyLong_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %R", what, o);
        return -1;
    }
    int overflow;
    *n = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow || *n < 1 || *n > max) {
        PyErr_Format(PyExc_ValueError, "%s must be between 65536 and %lld bytes, not %R", what, max, o);
        return -1;
    }
    return 0;
}

static PyObject *
set_max_threads_(PyObject *mod, PyObject *o)
{
    (void)mod;
    int overflow;
    if (!PyLong_Check(o))
        return PyErr_Format(PyExc_TypeError, "the thread limit must be an int, not %R", o);
    long long n = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow < 0 || (!overflow && n < 1))
        return PyErr_Format(PyExc_ValueError, "the thread limit must be at least 1, not %R", o);
    if (overflow || n > INT32_MAX)
        n = INT32_MAX; /* as Go takes it */
    int old = sched.maxmcount;
    sched.maxmcount = (int32_t)n;
    if (sched.mcount > sched.maxmcount)
        thread_limit_exceeded();
    return PyLong_FromLong(old);
}

static PyObject *
set_max_stack_(PyObject *mod, PyObject *o)
{
    (void)mod;
    long long n;
    if (positive(o, "the stack size", 1LL << 40, &n) < 0)
        return NULL;
    if (n < 64 << 10)
        return PyErr_Format(PyExc_ValueError, "the stack size must be at least 65536 bytes, not %R", o);
    size_t old;
    return set_max_stack((size_t)n, &old) ? PyLong_FromSize_t(old) : PyErr_NoMemory();
}

static PyObject *
configure_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"gomaxprocs", "schedtrace", "scheddetail", NULL};
    int procs = 0, trace = 0, detail = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|$iii:configure", names, &procs, &trace, &detail))
        return NULL;
    if (procs > MAXPROCS)
        procs = MAXPROCS;
    if (procs > 0 && procs != sched.nprocs && procresize(procs) < 0)
        return NULL;
    sched.scheddetail = detail;
    sched.schedtrace = trace;
    if (trace > 0 && !sched.sysmonstarted)
        sysmon_start();
    Py_RETURN_NONE;
}

static PyObject *
set_hooks_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"panic", "fatal", "threading", "debugger", NULL};
    PyObject *panic, *fatal_, *threading, *debugger;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "$OOOO:set_hooks", names, &panic, &fatal_, &threading,
                                     &debugger))
        return NULL;
    Py_XSETREF(panic_hook, Py_NewRef(panic));
    Py_XSETREF(fatal_hook, Py_NewRef(fatal_));
    Py_XSETREF(threading_hook, Py_NewRef(threading));
    Py_XSETREF(debugger_hook, Py_NewRef(debugger));
    Py_RETURN_NONE;
}

static PyObject *
crash_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    crash();
}

static PyObject *
start_panic_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    start_dying();
    if (sched.schedtrace > 0 || sched.scheddetail > 0) {
        sched.schedtrace = 0; /* sysmon's would mix with it */
        schedtrace(true);
    }
    Py_RETURN_NONE;
}

static PyObject *
main_ends_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    sched.ending = true;
    Py_RETURN_NONE;
}

static PyObject *
shutdown_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    gc_stop();         /* first: while sched_stop gives up the GIL no goroutine is started to collect */
    sched_stop();      /* before finalizers_stop: from here on destructors cannot set finalizers */
    finalizers_stop(); /* nobody else takes jobs from the queue any more */
    Py_RETURN_NONE;
}

static PyObject *
before_fork_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    gc_before_fork(); /* first: it may need sysmon */
    sysmon_pause();
    Py_RETURN_NONE;
}

static PyObject *
after_fork_parent_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    sysmon_resume();
    Py_RETURN_NONE;
}

static PyObject *
after_fork_child_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    sched_after_fork();
    Py_RETURN_NONE;
}

/* compile() of builtins makes the classes of the module ast first, to know a tree when it sees one: 120 of
 * them. */
static PyObject *
compile_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *source, *filename;
    if (!PyArg_ParseTuple(args, "OU:compile", &source, &filename))
        return NULL;
    PyCompilerFlags flags = {.cf_flags = PyCF_SOURCE_IS_UTF8, .cf_feature_version = PY_MINOR_VERSION};
    const char *text = NULL;
    char *bytes;
    Py_ssize_t n;
    if (PyUnicode_Check(source)) {
        flags.cf_flags |= PyCF_IGNORE_COOKIE;
        text = PyUnicode_AsUTF8AndSize(source, &n);
    }
    else if (PyBytes_AsStringAndSize(source, &bytes, &n) == 0)
        text = bytes;
    if (!text)
        return NULL;
    if (strlen(text) != (size_t)n)
        return PyErr_Format(PyExc_ValueError, "compile(): the source contains a null byte");
    return Py_CompileStringObject(text, filename, Py_file_input, &flags, -1);
}

/* -- the module ---------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"go", (PyCFunction)(void (*)(void))go_, METH_FASTCALL | METH_KEYWORDS,
     "go(fn, /, *args, **kwargs)\n--\n\n"
     "Starts fn(*args, **kwargs) in a goroutine: Go's go statement.\n\n"
     "The goroutine starts with a copy of the caller's contextvars context. An exception that escapes\n"
     "it ends the program with status 2. Raises TypeError if fn cannot be called, or if calling it runs\n"
     "nothing (a coroutine or generator function), and runtime.Error if the program has ended."},
    {"gosched", gosched_, METH_NOARGS,
     "gosched()\n--\n\nLets other goroutines run, and goes on when its turn comes: Go's runtime.Gosched."},
    {"goexit", goexit_, METH_NOARGS,
     "goexit()\n--\n\n"
     "Ends the running goroutine after its finally and with blocks: Go's runtime.Goexit.\n\n"
     "It raises a BaseException that `except Exception` does not catch. If the main goroutine calls it,\n"
     "the others go on. Raises runtime.Error in a thread that is not a goroutine."},
    {"main_goexit", main_goexit_, METH_NOARGS,
     "main_goexit()\n--\n\nCalled where goexit() has unwound main: lets the other goroutines go on."},
    {"gomaxprocs", (PyCFunction)(void (*)(void))gomaxprocs_, METH_FASTCALL,
     "gomaxprocs(n=0, /)\n--\n\n"
     "Sets how many goroutines may execute at once: Go's runtime.GOMAXPROCS.\n\n"
     "Returns the previous setting. If n is less than 1, it changes nothing. With the GIL, one of them\n"
     "can be in the interpreter, the others in C code that has released it. Raises TypeError if n is\n"
     "not an int, and ValueError if it is more than 4096."},
    {"num_goroutine", num_goroutine_, METH_NOARGS,
     "num_goroutine()\n--\n\n"
     "The number of goroutines that exist, main included: Go's runtime.NumGoroutine."},
    {"lock_os_thread", lock_os_thread_, METH_NOARGS,
     "lock_os_thread()\n--\n\n"
     "Locks the goroutine to its OS thread, and the thread to it: Go's runtime.LockOSThread.\n\n"
     "Calls nest. The main goroutine gets locked to the main thread. A goroutine that ends while it is\n"
     "locked ends its thread."},
    {"unlock_os_thread", unlock_os_thread_, METH_NOARGS,
     "unlock_os_thread()\n--\n\n"
     "Undoes one lock_os_thread(), if there was one: Go's runtime.UnlockOSThread."},
    {"check_callable", check_callable_, METH_VARARGS,
     "check_callable(what, fn, /)\n--\n\n"
     "Raises TypeError, with a text that begins with what, if fn cannot be called."},
    {"check_runs", check_runs_, METH_VARARGS,
     "check_runs(what, fn, /)\n--\n\n"
     "check_callable(), and the same if calling fn runs nothing: it is a coroutine or generator function."},
    {"unsignaled", (PyCFunction)(void (*)(void))unsignaled_, METH_FASTCALL,
     "unsignaled(f, /, *args)\n--\n\n"
     "Returns f(*args). f must not park; signal handlers run after it, not within it."},
    {"keep_alive", keep_alive_, METH_O,
     "keep_alive(x, /)\n--\n\nKeeps x alive until here: Go's runtime.KeepAlive."},
    {"compile", compile_, METH_VARARGS,
     "compile(source, filename, /)\n--\n\n"
     "The code of a program: a str, or bytes as they are in a file.\n\n"
     "Raises ValueError if the source contains a null byte."},
    {"goid", goid_, METH_NOARGS, "goid()\n--\n\nThe running goroutine's number; 0 in a plain thread."},
    {"is_main", is_main_, METH_NOARGS, "is_main()\n--\n\nTrue in the main goroutine."},
    {"goroutines", goroutines_, METH_NOARGS,
     "goroutines()\n--\n\nA list with a GoroutineInfo for each goroutine, sorted by number."},
    {"set_max_threads", set_max_threads_, METH_O,
     "set_max_threads(n, /)\n--\n\n"
     "Sets how many OS threads goroutines may use: Go's debug.SetMaxThreads.\n\n"
     "Returns the previous limit. A program that needs more threads dies. A limit above 2**31 - 1\n"
     "counts as 2**31 - 1. Raises TypeError if n is not an int, and ValueError if it is less than 1."},
    {"set_max_stack", set_max_stack_, METH_O,
     "set_max_stack(n, /)\n--\n\n"
     "Sets how many bytes each new stack reserves: Go's debug.SetMaxStack.\n\n"
     "Returns the previous number. Raises TypeError if n is not an int, and ValueError if it is not\n"
     "between 65536 and 2**40."},
    {"configure", (PyCFunction)(void (*)(void))configure_, METH_VARARGS | METH_KEYWORDS,
     "Hands the parsed environment to the core."},
    {"set_hooks", (PyCFunction)(void (*)(void))set_hooks_, METH_VARARGS | METH_KEYWORDS,
     "Sets the Python functions that the core calls."},
    {"crash", crash_, METH_NOARGS,
     "crash()\n--\n\nEnds the process by SIGABRT's default action, which dumps core."},
    {"start_panic", start_panic_, METH_NOARGS,
     "start_panic()\n--\n\nThe process begins to die.\n\n"
     "With schedtrace or scheddetail set, the scheduler's state is printed."},
    {"main_ends", main_ends_, METH_NOARGS,
     "main_ends()\n--\n\nMain has returned: from now on the other goroutines run only while main waits."},
    {"shutdown", shutdown_, METH_NOARGS, "shutdown()\n--\n\nStops scheduling for good."},
    {"_before_fork", before_fork_, METH_NOARGS, NULL},
    {"_after_fork_parent", after_fork_parent_, METH_NOARGS, NULL},
    {"_after_fork_child", after_fork_child_, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyStructSequence_Field info_fields[] = {
    {"goid", NULL},  {"status", NULL}, {"wait_reason", NULL},  {"wait_since", NULL},   {"locked", NULL},
    {"frame", NULL}, {"parent", NULL}, {"created_code", NULL}, {"created_line", NULL}, {NULL, NULL},
};
static PyStructSequence_Desc info_desc = {"gort._core.GoroutineInfo", "One goroutine.", info_fields, 9};

static int
register_fork_hooks(PyObject *module)
{
    PyObject *names = PyModule_GetDict(module);
    PyObject *kw = Py_BuildValue("{s:O,s:O,s:O}", "before", PyDict_GetItemString(names, "_before_fork"),
                                 "after_in_parent", PyDict_GetItemString(names, "_after_fork_parent"),
                                 "after_in_child", PyDict_GetItemString(names, "_after_fork_child"));
    PyObject *os = kw ? PyImport_ImportModule("os") : NULL;
    PyObject *reg = os ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *none = reg ? PyTuple_New(0) : NULL;
    PyObject *r = none ? PyObject_Call(reg, none, kw) : NULL;
    int err = r ? 0 : -1;
    Py_XDECREF(r);
    Py_XDECREF(none);
    Py_XDECREF(reg);
    Py_XDECREF(os);
    Py_XDECREF(kw);
    return err;
}

/* What each noun adds to the module. */
static int (*const inits[])(PyObject *) = {
    gort_chan_init,        gort_select_init,    gort_sema_init,        gort_mutex_init,    gort_rwmutex_init,
    gort_waitgroup_init,   gort_cond_init,      gort_once_init,        gort_syncmap_init,  gort_run_init,
    gort_pool_init,        gort_atomic_init,    gort_timer_init,       gort_cgo_init,      gort_pc_init,
    gort_traceback_init,   gort_mstats_init,    gort_memdebug_init,    gort_gc_init,       gort_scavenge_init,
    gort_mfinal_init,      gort_session_init,   gort_heapdump_init,    gort_memstats_init, gort_panic_init,
    gort_runtimefile_init, gort_deadlock_init,
#if GORT_TESTS
    gort_forceperiod_init, gort_heapcheck_init, gort_threadstats_init, gort_walk_init,
#endif
};

static int
module_exec(PyObject *module)
{
    static bool done;
    if (done) {
        PyErr_SetString(PyExc_ImportError, "gort._core cannot be loaded a second time in one process");
        return -1;
    }
    if (shadow_stack_on()) {
        PyErr_SetString(PyExc_ImportError,
                        "gort switches stacks, which a process with a shadow stack (CET) does not "
                        "allow; run it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
        return -1;
    }
    mheap_forks(); /* first of all that have fork handlers */
    if (compat_init() < 0)
        return -1;
    PyObject *python_stderr = PySys_GetObject("__stderr__");
    standard_fds(python_stderr && python_stderr != Py_None);
    done = true;
    Error = PyErr_NewExceptionWithDoc("gort.runtime.Error", "A run-time error: Go's runtime.Error.",
                                      PyExc_RuntimeError, NULL);
    Goexit = PyErr_NewExceptionWithDoc("gort.runtime.Goexit",
                                       "The exception that unwinds a goroutine that called goexit().",
                                       PyExc_BaseException, NULL);
    GoroutineInfo = PyStructSequence_NewType(&info_desc);
    if (!Error || !Goexit || !GoroutineInfo || PyModule_AddObjectRef(module, "Error", Error) < 0 ||
        PyModule_AddObjectRef(module, "Goexit", Goexit) < 0 ||
        PyModule_AddObjectRef(module, "GoroutineInfo", (PyObject *)GoroutineInfo) < 0)
        return -1;
    if (PyModule_AddStringConstant(module, "GOOS", "linux") < 0 ||
        PyModule_AddStringConstant(module, "GOARCH", ARCH_GOARCH) < 0)
        return -1;
    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
        if (inits[i](module) < 0)
            return -1;
    }
    /* greenlet_init after schedinit: it may have to lock main to its thread. The others in any order. */
    if (deadlock_init() < 0 || sigmask_init() < 0 || schedinit() < 0 || greenlet_init() < 0 ||
        ident_init() < 0 || rlock_init() < 0 || bufferedio_init() < 0 || morestack_init() < 0)
        return -1;
    signals_init();
    fork_init(); /* last: the handlers of a fork run in the child in the order in which they were made */
    return register_fork_hooks(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,  .m_name = "gort._core", .m_doc = "The C core of gort.",
    .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
