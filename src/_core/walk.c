/* walk.c: walks the stacks of running threads at random times, to test the walker (compat.c, `careful`).
 *
 * A thread of its own sends SIGPROF to every M that runs a goroutine; the handler walks that thread's Python frames and
 * counts each pair (function, its caller) that it sees. The test knows which pairs can be: any other one is a frame
 * that was never on the stack. Internal; tests/stress/walk.py uses it.
 *
 * Invariant: the table is written by one handler at a time (`busy`); who comes second drops its sample.
 */
#include "core.h"

#include "compat.h"
#include "os.h"
#include "traceback.h"

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
name_of(char *to, PyCodeObject *code)
{
    const char *data;
    Py_ssize_t length;
    memset(to, 0, NAME);
    if (str_data(code->co_qualname, &data, &length, true) != 1)
        memcpy(to, "???", 3);
    else if (!mem_read(to, data, (size_t)(length < NAME - 1 ? length : NAME - 1)))
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
        for (bool more = frame_first(&at, gp->ts, true); more && n < deepest;
             more = frame_next(&at, true), n++) {
            name_of(names[n & 1], at.code);
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
    if (!atomic_exchange(&sampling, true) && thread_start(sampler, NULL, 64 << 10) != 0)
        return PyErr_Format(PyExc_OSError, "no thread for the sampler");
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

static PyMethodDef functions[] = {
    {"_walk_start", walk_start_, METH_O, "_walk_start(seconds, /)\n--\n\nWalks all that runs, so often."},
    {"_walk_stop", walk_stop_, METH_NOARGS,
     "_walk_stop()\n--\n\n(samples, dropped, [(callee, caller, times)])."},
    {NULL, NULL, 0, NULL},
};

int
gort_walk_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
