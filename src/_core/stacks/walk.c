/* walk.c: walks the stacks of running threads at random times, to test the walker (frame.c, with care).
 *
 * A thread of its own sends SIGPROF to every M that runs a goroutine; the handler walks that thread's Python
 * frames and counts each pair (function, its caller) that it sees. The test knows which pairs are possible:
 * any other one is a frame that was never on the stack. Built for the tests only: tests/stress/walk.py and
 * tests/core/test_walk.py use it.
 *
 * Invariant: the table is written by one handler at a time (`busy`); a second one drops its sample.
 */
#include "core.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/sigmask.h"
#include "stacks/pc.h"
#include "stacks/traceback.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define NPAIRS 16384 /* a power of 2 */
#define NAME 56

static struct pair {
    char callee[NAME], caller[NAME];
    uint64_t count;
} pairs[NPAIRS];
static atomic_flag busy = ATOMIC_FLAG_INIT;
static _Atomic uint64_t samples, dropped;
static _Atomic bool sampling;
static int64_t interval;

/* The function's name, ASCII, zeroes behind. */
static void
name_of(char *to, const codeview *code, enum care care)
{
    const char *data;
    Py_ssize_t length;
    memset(to, 0, NAME);
    if (str_data(code->qualname, &data, &length, care) != 1)
        memcpy(to, "???", 3);
    else if (!mem_look(to, data, (size_t)(length < NAME - 1 ? length : NAME - 1), care))
        memcpy(to, "!!!", 3);
}

static void
count(const char *callee, const char *caller)
{
    uint64_t h = 14695981039346656037ULL;
    for (int i = 0; i < NAME; i++)
        h = ((h ^ (uint8_t)callee[i]) * 1099511628211ULL ^ (uint8_t)caller[i]) * 1099511628211ULL;
    for (size_t i = h, n = 0; n < NPAIRS; i++, n++) {
        struct pair *p = &pairs[i & (NPAIRS - 1)];
        if (!p->count) {
            memcpy(p->callee, callee, NAME);
            memcpy(p->caller, caller, NAME);
        }
        else if (memcmp(p->callee, callee, NAME) || memcmp(p->caller, caller, NAME))
            continue;
        p->count++;
        return;
    }
}

static void
on_prof(int sig)
{
    (void)sig;
    int err = errno;
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if (gp && gp->ts && !atomic_flag_test_and_set(&busy)) {
        char names[2][NAME];
        pyframe at;
        int n = 0;
        const int deepest = 500;
        /* both ways of looking in turn, if there are two */
        enum care care = samples & 1 && faults_are_caught() ? CATCHING : CAREFUL;
        for (bool more = frame_first(&at, gp->ts, care); more && n < deepest;
             more = frame_next(&at, care), n++) {
            codeview code;
            if (!code_look(&code, at.code, care))
                break;
            (void)code_line(&code, at.lasti,
                            care); /* of frames that change it may be any; it must not fault */
            name_of(names[n & 1], &code, care);
            if (n)
                count(names[(n - 1) & 1], names[n & 1]);
        }
        atomic_fetch_add(&samples, 1);
        atomic_flag_clear(&busy);
    }
    else
        atomic_fetch_add(&dropped, 1);
    errno = err;
}

static void *
sampler(void *unused)
{
    (void)unused;
    thread_name("gort walk");
    _Atomic uint32_t never = 0;
    while (atomic_load(&sampling)) {
        futex_sleep(&never, 0, nanotime() + interval);
        for (m *mp = sched.allm; mp; mp = mp->alllink) {
            if (mp->curg)
                thread_kill(mp->tid, SIGPROF);
        }
    }
    return NULL;
}

static PyObject *
walk_start_(PyObject *mod, PyObject *arg)
{
    (void)mod;
    double seconds = PyFloat_AsDouble(arg);
    if (PyErr_Occurred())
        return NULL;
    interval = (int64_t)(seconds * 1e9);
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_prof;
    sa.sa_flags = SA_RESTART | SA_ONSTACK;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGPROF, &sa, NULL);
    if (!atomic_exchange(&sampling, true) && thread_start(sampler, NULL, 64 << 10, sigmask_runtime()) != 0)
        return PyErr_Format(PyExc_OSError, "cannot start a thread for the sampler");
    Py_RETURN_NONE;
}

static PyObject *
walk_stop_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    atomic_store(&sampling, false);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < NPAIRS; i++) {
        if (!pairs[i].count)
            continue;
        PyObject *t =
            Py_BuildValue("ssK", pairs[i].callee, pairs[i].caller, (unsigned long long)pairs[i].count);
        if (!t || PyList_Append(list, t) < 0)
            Py_CLEAR(list);
        Py_XDECREF(t);
    }
    return list ? Py_BuildValue("KKN", (unsigned long long)samples, (unsigned long long)dropped, list) : NULL;
}

/* -- what the walker is made of, for its tests ------------------------------------------------------ */

static int
care_arg(PyObject *o, enum care *care)
{
    long v = PyLong_AsLong(o);
    if (v == -1 && PyErr_Occurred())
        return -1;
    if (v < TRUSTING || v > CATCHING) {
        PyErr_Format(PyExc_ValueError, "care must be 0, 1 or 2, not %ld", v);
        return -1;
    }
    if (v == CATCHING && !faults_are_caught()) {
        PyErr_SetString(PyExc_RuntimeError, "faults are not caught in this thread");
        return -1;
    }
    *care = (enum care)v;
    return 0;
}

static PyObject *
walk_read_(PyObject *mod, PyObject *args)
{
    (void)mod;
    unsigned long long addr;
    Py_ssize_t n;
    PyObject *how;
    enum care care;
    if (!PyArg_ParseTuple(args, "KnO:_walk_read", &addr, &n, &how) || care_arg(how, &care) < 0)
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, n);
    if (bytes && !mem_look(PyBytes_AS_STRING(bytes), (const void *)(uintptr_t)addr, (size_t)n, care)) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    return bytes;
}

static PyObject *
walk_line_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *code, *how;
    int lasti;
    enum care care;
    codeview v;
    if (!PyArg_ParseTuple(args, "O!iO:_walk_line", &PyCode_Type, &code, &lasti, &how) ||
        care_arg(how, &care) < 0)
        return NULL;
    return PyLong_FromLong(code_look(&v, (PyCodeObject *)code, care) ? code_line(&v, lasti, care) : -1);
}

static PyObject *
walk_pc_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *code, *how;
    int lasti;
    enum care care;
    if (!PyArg_ParseTuple(args, "O!iO:_walk_pc", &PyCode_Type, &code, &lasti, &how) ||
        care_arg(how, &care) < 0)
        return NULL;
    return PyLong_FromSize_t(code_pc((PyCodeObject *)code, lasti, care));
}

static PyObject *
walk_time_(PyObject *mod, PyObject *args)
{
    (void)mod;
    int times;
    PyObject *how;
    enum care care;
    if (!PyArg_ParseTuple(args, "iO:_walk_time", &times, &how) || care_arg(how, &care) < 0)
        return NULL;
    PyThreadState *ts = PyThreadState_Get();
    unsigned long long frames = 0;
    int64_t start = nanotime();
    for (int i = 0; i < times; i++) {
        pyframe at;
        if (care == CATCHING && !faults_are_caught()) /* what each walk has to ask */
            break;
        for (bool more = frame_first(&at, ts, care); more; more = frame_next(&at, care))
            frames++;
    }
    return Py_BuildValue("KL", frames, (long long)(nanotime() - start));
}

static PyMethodDef functions[] = {
    {"_walk_start", walk_start_, METH_O,
     "_walk_start(seconds, /)\n--\n\n"
     "Walks all stacks that run, each time this many seconds have passed."},
    {"_walk_stop", walk_stop_, METH_NOARGS,
     "_walk_stop()\n--\n\n(samples, dropped, [(callee, caller, times)])."},
    {"_walk_read", walk_read_, METH_VARARGS,
     "_walk_read(address, n, care, /)\n--\n\nn bytes; None if they cannot be read."},
    {"_walk_line", walk_line_, METH_VARARGS,
     "_walk_line(code, lasti, care, /)\n--\n\nThe line as a walk finds it; -1 if it finds none."},
    {"_walk_pc", walk_pc_, METH_VARARGS,
     "_walk_pc(code, lasti, care, /)\n--\n\nThe PC as a walk finds it; 0 if there is none."},
    {"_walk_time", walk_time_, METH_VARARGS,
     "_walk_time(times, care, /)\n--\n\n(frames, nanoseconds) of this many walks of the caller's stack."},
    {NULL, NULL, 0, NULL},
};

int
gort_walk_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
