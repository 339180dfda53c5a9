/* ident.c: who is running, as locks and _thread.get_ident() know it.
 *
 * Goroutines change threads, so a thread's identifier says nothing about them. A goroutine is known by its
 * number, main by the identifier of the thread that it was on when gort was imported, a plain thread by its
 * own. Numbers are below 2^32 and never those of threads, which are addresses (is_goid). In a goroutine's
 * PyThreadState the same number is the thread_id: sys._current_frames() and PyThreadState_SetAsyncExc agree
 * with get_ident().
 *
 * Invariant: nobody's identity ever changes. Main has its own also on another thread than the process's
 * first; a goroutine that forked is main in the child and keeps its number, because it may hold locks.
 *
 * A function that takes such a number for a pthread_t would read memory at that address: pthread_kill and
 * pthread_getcpuclockid are given the thread that the goroutine runs on, and faulthandler's dumps get
 * "goroutine 7" for the name of the thread.
 *
 * The extension modules _sqlite3 and _multiprocessing ask for the thread all over their code, to refuse a
 * connection to other threads and to let the owner of a recursive lock in. They do it by a function of
 * CPython's that they import, and get owner_id() instead. That is arranged when they are loaded, or at the
 * import of gort if they are loaded already.
 *
 * Differs from Go, which tells nobody who is running.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "lib/out.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/ident.h"
#include "sched/stack.h"

#include <errno.h>
#include <string.h>

unsigned long main_ident;

unsigned long
owner_id(void)
{
    const m *mp = getm();
    const g *gp = mp ? mp->curg : NULL;
    if (unlikely(!gp))
        return PyThread_get_thread_ident();
    return gp->flags & G_MAIN ? main_ident : (unsigned long)gp->goid;
}

static PyObject *
get_ident(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyLong_FromUnsignedLong(owner_id());
}

static PyObject *(*o_get_main_ident)(PyObject *, PyObject *);

/* 3.13: in the child of a fork threading asks before the goroutine that forked has become main. */
static PyObject *
get_main_ident(PyObject *mod, PyObject *unused)
{
    if (on_main_thread())
        return PyLong_FromUnsignedLong(owner_id());
    return main_ident ? PyLong_FromUnsignedLong(main_ident) : o_get_main_ident(mod, unused);
}

/* The thread that runs the goroutine with this identity: *ident; unchanged for a thread's own. 0 in it: a
 * parked goroutine. False: there is no such goroutine; exception set. */
static bool
thread_of(unsigned long *ident)
{
    bool of_main = *ident == main_ident && maing;
    if (!is_goid(*ident) && !of_main)
        return true;
    allgs all = {0};
    for (const g *gp; (gp = allgs_next(&all)) != NULL;) {
        if (!g_alive(gp) || (of_main ? gp != maing : gp->goid != *ident))
            continue;
        *ident = gp->m ? gp->m->ident : 0;
        return true;
    }
    errno = ESRCH;
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

static PyObject *(*o_pthread_kill)(PyObject *, PyObject *const *, Py_ssize_t);

/* A goroutine that is parked is on no thread. A signal's handler is run by main all the same: the first
 * thread gets it. */
static PyObject *
pthread_kill_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyLong_Check(args[0]))
        return o_pthread_kill(mod, args, nargs);
    unsigned long was = PyLong_AsUnsignedLongMask(args[0]), ident = was;
    if (!thread_of(&ident))
        return NULL;
    if (ident == was)
        return o_pthread_kill(mod, args, nargs);
    PyObject *a[2] = {PyLong_FromUnsignedLong(ident ? ident : m0->ident), args[1]};
    PyObject *r = a[0] ? o_pthread_kill(mod, a, 2) : NULL;
    Py_XDECREF(a[0]);
    return r;
}

static PyObject *(*o_getcpuclockid)(PyObject *, PyObject *);

static PyObject *
getcpuclockid(PyObject *mod, PyObject *args)
{
    PyObject *id = PyTuple_GET_SIZE(args) == 1 ? PyTuple_GET_ITEM(args, 0) : NULL;
    if (!id || !PyLong_Check(id))
        return o_getcpuclockid(mod, args);
    unsigned long was = PyLong_AsUnsignedLongMask(id), ident = was;
    if (!thread_of(&ident))
        return NULL;
    if (ident == was)
        return o_getcpuclockid(mod, args);
    if (!ident)
        return PyErr_Format(PyExc_ValueError,
                            "goroutine %lu is parked: it has no thread whose CPU-time clock could be read",
                            was);
    PyObject *a = Py_BuildValue("(k)", ident);
    PyObject *r = a ? o_getcpuclockid(mod, a) : NULL;
    Py_XDECREF(a);
    return r;
}

static PyObject *(*o_excepthook)(PyObject *, PyObject *);

/* Names the running goroutine by its number if there is no Thread object. */
static PyObject *
excepthook(PyObject *mod, PyObject *args)
{
    unsigned long id = owner_id();
    if (id == PyThread_get_thread_ident() || !PyTuple_Check(args) || PyTuple_GET_SIZE(args) != 4 ||
        PyTuple_GET_ITEM(args, 3) != Py_None)
        return o_excepthook(mod, args);
    PyObject *types = PyImport_ImportModule("types");
    PyObject *namespace = types ? PyObject_GetAttrString(types, "SimpleNamespace") : NULL;
    PyObject *kw = namespace ? Py_BuildValue("{s:k}", "name", id) : NULL;
    PyObject *thread = kw ? PyObject_VectorcallDict(namespace, NULL, 0, kw) : NULL;
    PyObject *fields = thread ? PyTuple_Pack(4, PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1),
                                             PyTuple_GET_ITEM(args, 2), thread)
                              : NULL;
    PyObject *named = fields ? PyObject_CallOneArg((PyObject *)Py_TYPE(args), fields) : NULL;
    PyObject *r = named ? o_excepthook(mod, named) : NULL;
    Py_XDECREF(named);
    Py_XDECREF(fields);
    Py_XDECREF(thread);
    Py_XDECREF(kw);
    Py_XDECREF(namespace);
    Py_XDECREF(types);
    return r;
}

/* -- extension modules ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *otherwise;
} askers[] = {
    {"_sqlite3", "connections of sqlite3 belong to the thread that made them: use check_same_thread=False"},
    {"_multiprocessing", "a multiprocessing.RLock belongs to a thread"},
};

/* -1: exception set */
static int
tell_owner(PyObject *module, size_t asker)
{
    const PyModuleDef *def = PyModule_Check(module) ? PyModule_GetDef(module) : NULL;
    if (!under_our_gil())
        return 0; /* when the main interpreter loads it */
    if (def && library_redirect(def, "PyThread_get_thread_ident", (void *)owner_id))
        return 0;
    return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                            "gort cannot tell %s of this CPython which goroutine runs; %s",
                            askers[asker].name, askers[asker].otherwise);
}

static PyObject *(*o_create_dynamic)(PyObject *, PyObject *const *, Py_ssize_t);

/* An extension module is loaded. */
static PyObject *
create_dynamic(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *module = o_create_dynamic(mod, args, nargs);
    PyObject *name = module && nargs > 0 ? PyObject_GetAttrString(args[0], "name") : NULL;
    for (size_t i = 0; name && PyUnicode_Check(name) && i < sizeof askers / sizeof *askers; i++) {
        if (PyUnicode_CompareWithASCIIString(name, askers[i].name) == 0 && tell_owner(module, i) < 0)
            Py_CLEAR(module);
    }
    if (module && !name)
        PyErr_Clear();
    Py_XDECREF(name);
    return module;
}

static int
tell_those_loaded(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
        PyObject *module = PyDict_GetItemString(modules, askers[i].name);
        if (module && module != Py_None && tell_owner(module, i) < 0)
            return -1;
    }
    return 0;
}

/* -- dumps of threads ------------------------------------------------------------------------------ */

/* faulthandler's dumps, from 3.14 on, show the name of each thread, for which they take its thread state's
 * identifier for a pthread_t. Async-signal-safe. */
static int
name_of(unsigned long ident, char *buf, size_t size)
{
    if (!is_goid(ident) && !is_scheduler(ident))
        return thread_getname(ident, buf, size);
    char text[40];
    out o = {.buf = text, .cap = sizeof text, .fd = -1};
    put_str(&o, is_goid(ident) ? "goroutine " : "gort");
    if (is_goid(ident))
        put_uint(&o, ident);
    if (o.n >= size)
        return ERANGE;
    memcpy(buf, text, o.n);
    buf[o.n] = 0;
    return 0;
}

/* -1: exception set */
static int
tell_names(void)
{
    if (!THREADS_NAMED || library_redirect(main_interp, "pthread_getname_np", (void *)name_of))
        return 0;
    return PyErr_WarnEx(
        PyExc_RuntimeWarning,
        "gort cannot tell faulthandler of this CPython what goroutines are called; its dumps of "
        "all threads may crash",
        1);
}

static const redirection loader[] = {
    {"_imp", NULL, "create_dynamic", METH_FASTCALL, create_dynamic, &o_create_dynamic, false},
};

static const redirection table[] = {
    {"_thread", NULL, "get_ident", METH_NOARGS, get_ident, NULL, false},
    {"_thread", NULL, THREAD_MAIN_IDENT, METH_NOARGS, get_main_ident, &o_get_main_ident, true},
    {"_thread", NULL, THREAD_EXCEPTHOOK, METH_O, excepthook, &o_excepthook, true},
    {"_signal", NULL, "pthread_kill", METH_FASTCALL, pthread_kill_, &o_pthread_kill, false},
    {"time", NULL, "pthread_getcpuclockid", METH_VARARGS, getcpuclockid, &o_getcpuclockid, true},
};

int
ident_init(void)
{
    int done = redirect(
        table, sizeof table / sizeof *table,
        "threading.get_ident() distinguishes threads, not goroutines, and another goroutine may see a "
        "module half imported");
    if (done <= 0)
        return done;
    done = redirect(loader, 1, "extension modules that ask which thread runs are not told of goroutines");
    return done <= 0 ? done : tell_those_loaded() < 0 ? -1 : tell_names();
}
