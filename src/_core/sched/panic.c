/* panic.c: the death of the process: who ends it, the runtime's fatal errors, and the limit of the time that
 * dying may take.
 *
 * What is said of a panic and of a fatal error is put together in Python (_traceback.py), which calls hooks
 * of the program's and flushes its files. That may hang: die_within gives it a number of seconds.
 *
 * fatal needs the GIL, and so do die_within and dies_in_time; the thread that ends the process does not.
 *
 * Differs from Go, which runs no code of the program's once it dies.
 */
#include "core.h"

#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/sigmask.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a thread that needs no GIL writes and does if the program's code does not let the process die in time:
 * if a hook hangs, or a file cannot be flushed. */
static struct {
    char *text;
    size_t n;
    int status;
    int64_t deadline;
    _Atomic uint32_t state; /* 0: no limit; 1: it runs; 2: met; 3: it is over, the thread ends the process */
} death;

static void *
death_guard(void *unused)
{
    (void)unused;
    while (atomic_load(&death.state) == 1 && nanotime() < death.deadline)
        futex_sleep(&death.state, 1, death.deadline);
    uint32_t runs = 1;
    if (atomic_compare_exchange_strong(&death.state, &runs, 3)) {
        write_all(FATALFD, death.text, death.n);
        _exit(death.status);
    }
    return NULL;
}

/* The process dies, but first code of the program may run for this long; after that a thread writes the text
 * and ends the process with this status. Only the first call counts. -1: exception set. */
static int
die_within(double seconds, const char *text, size_t n, int status)
{
    if (atomic_load(&death.state) != 0)
        return 0; /* dying already */
    char *copy = malloc(n ? n : 1);
    if (!copy) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(copy, text, n);
    death.text = copy;
    death.n = n;
    death.status = status;
    death.deadline = nanotime() + (int64_t)(seconds * 1e9);
    atomic_store(&death.state, 1); /* before the thread, which ends at any other state */
    if (thread_start(death_guard, NULL, 64 << 10, sigmask_runtime()) != 0)
        atomic_store(&death.state, 0); /* then without a limit */
    return 0;
}

/* That code has ended: the caller writes the text and ends the process. */
static void
dies_in_time(void)
{
    uint32_t runs = 1;
    if (!atomic_compare_exchange_strong(&death.state, &runs, 2) && runs == 3) {
        for (;;)
            sleep_ns(1000000000); /* the process is about to end */
    }
}

/* -- who ends the process -------------------------------------------------------------------------- */

/* By a panic, or by sys.exit(). The first goroutine does it; others wait for that for ever. Main, when it
 * returns, waits for a panic only: who calls sys.exit() may have to wait for what main still does. */
static const g *panics, *exits;
static PyThreadState *throws; /* a fatal error of the runtime */

static inline bool
claim(const g **whose, const g *gp)
{
    if (!*whose)
        *whose = gp;
    return *whose == gp;
}

void
death_begins(PyObject *exc)
{
    const m *mp = getm();
    if (mp && mp->curg && !PyErr_GivenExceptionMatches(exc, PyExc_SystemExit))
        claim(&panics, mp->curg);
}

/* The child has not begun to end. */
void
death_after_fork(void)
{
    panics = exits = NULL;
    throws = NULL;
}

static enum turn
death_turn(void *of, g *gp, bool front)
{
    (void)of, (void)front;
    gopark(gp, waitReasonPanicWait);
    return INTERRUPTED;
}

/* For ever, unless a handler of a signal raises. */
static PyObject *
wait_for_death(g *gp)
{
    wait_until(gp, NULL, death_turn, false, NULL);
    return NULL;
}

/* Who asks to end the process. A Goexit that it swallowed before is over. */
static g *
ender(void)
{
    const m *mp = getm();
    if (mp && mp->curg)
        mp->curg->goexiting = false;
    return getg();
}

static PyObject *
begin_panic_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = ender();
    if (!gp)
        return NULL;
    return claim(&panics, gp) ? Py_NewRef(Py_None) : wait_for_death(gp);
}

static PyObject *
begin_exit_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = ender();
    if (!gp)
        return NULL;
    return claim(&exits, gp) ? Py_NewRef(Py_None) : wait_for_death(gp);
}

static PyObject *
await_panic_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = ender();
    if (!gp)
        return NULL;
    bool others = (panics && panics != gp) || (throws && throws != PyThreadState_Get());
    return others ? wait_for_death(gp) : Py_NewRef(Py_None);
}

/* The runtime's own fatal error. GIL held, a thread state attached. */
_Noreturn void
fatal(const char *text)
{
    throws = PyThreadState_Get();
    sched.throwing = true; /* first: the hook may park, and must not be taken for a deadlock then */
    PyObject *r = fatal_hook ? PyObject_CallFunction(fatal_hook, "s", text) : NULL;
    if (!r) {
        fatal_printf("fatal error: %s\n", text);
        if (PyErr_Occurred())
            PyErr_Print();
    }
    _exit(2);
}

void
panic_during_panic(void)
{
    static const char said[] = "panic during panic\n";
    write_all(FATALFD, said, sizeof said - 1);
}

/* -- for Python ------------------------------------------------------------------------------------ */

static PyObject *
die_within_(PyObject *mod, PyObject *args)
{
    (void)mod;
    double seconds;
    const char *text;
    Py_ssize_t n;
    int status;
    if (!PyArg_ParseTuple(args, "dy#i:die_within", &seconds, &text, &n, &status) ||
        die_within(seconds, text, (size_t)n, status) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
dies_in_time_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    dies_in_time();
    Py_RETURN_NONE;
}

static PyObject *
write_error_(PyObject *mod, PyObject *text)
{
    (void)mod;
    char *data;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(text, &data, &n) < 0)
        return NULL;
    write_all(FATALFD, data, (size_t)n);
    Py_RETURN_NONE;
}

static PyObject *
fatal_to_(PyObject *mod, PyObject *fd)
{
    (void)mod;
    int n = PyObject_AsFileDescriptor(fd);
    if (n < 0)
        return NULL;
    fatal_to(n);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"die_within", die_within_, METH_VARARGS,
     "die_within(seconds, text, status, /)\n--\n\n"
     "If the process has not ended after this time, writes text and ends it with status."},
    {"dies_in_time", dies_in_time_, METH_NOARGS,
     "dies_in_time()\n--\n\nThe time limit of die_within() is kept: the caller writes the text itself."},
    {"begin_panic", begin_panic_, METH_NOARGS,
     "begin_panic()\n--\n\nThis goroutine ends the process by a panic; waits for ever if another one does."},
    {"begin_exit", begin_exit_, METH_NOARGS,
     "begin_exit()\n--\n\n"
     "This goroutine ends the process in an orderly way; waits for ever if another one does."},
    {"await_panic", await_panic_, METH_NOARGS,
     "await_panic()\n--\n\nWaits for ever if another goroutine panics, or the runtime dies."},
    {"write_error", write_error_, METH_O,
     "write_error(text, /)\n--\n\nWrites bytes to what was standard error when the process started."},
    {"fatal_to", fatal_to_, METH_O,
     "fatal_to(fd, /)\n--\n\n"
     "This file was standard error when the process started: it gets what says why the process ends."},
    {NULL, NULL, 0, NULL},
};

int
gort_panic_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
