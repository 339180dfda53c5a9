/* sigmask.c: which threads take the program's signals.
 *
 * A program that blocks a signal, to fetch it with sigwait or from a signalfd, must get it: no thread that
 * the program does not know of may take it. So the threads of the runtime block all signals but those that
 * an instruction of their own causes, or abort(), from their first instruction on (thread_start). The
 * signals that are sent to the process come to its first thread, or to the threads that the program made, as
 * without goroutines.
 * That would show in two places, and must not: what a goroutine starts on such a thread would inherit the
 * mask (a child that nobody can end, a thread that takes no signals), and what it sends to its own thread
 * would never arrive. Therefore
 *   - each such thread knows the mask that it would have if it were the program's: main's when the thread
 *     began, as changed by goroutines with signal.pthread_sigmask since. The functions of the standard
 *     library that start something, send to a thread or ask for the mask run with that one (`redirects`: the
 *     C function in their method table is replaced, so that every name that they are known under means ours);
 *   - a child of fork has it, whichever thread called fork;
 *   - main brings its own mask along when it runs on another thread than its own (sched.c).
 * What C libraries start on their own from a goroutine, other than by fork, inherits the blocked signals.
 *
 * Invariant: `blocked` says what the kernel's mask of this thread is, except while one of `redirects` runs.
 * All of it is the thread's own except `program`, which the GIL guards.
 *
 * Rejected: unblocking while a goroutine runs, and blocking while the thread sleeps: a goroutine in C is what
 * takes the signal then. As in Go, where each M has the mask of the program's start: there the program cannot
 * block signals.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "os/os.h"
#include "sched/sched.h"

static uint64_t program; /* main's mask */
static _Thread_local bool blocked
    __attribute__((tls_model("initial-exec"))); /* a thread of the runtime's, on which main does not run */
static _Thread_local bool lent __attribute__((tls_model("initial-exec"))); /* one of `redirects` runs on it */
/* what it would have otherwise */
static _Thread_local uint64_t own __attribute__((tls_model("initial-exec")));

/* What a thread of the runtime begins with. SIGPROF samples whatever runs. */
uint64_t
sigmask_runtime(void)
{
    return ~(sigmask_faults | kick_bit() | (sigmask_profile & ~program));
}

/* Main begins, on this thread. */
void
sigmask_main(void)
{
    program = sigmask_get();
}

/* This thread, which has sigmask_runtime() already, is an M. */
void
sigmask_m(void)
{
    blocked = true;
    own = program;
}

/* Main has come to this thread, which is not its own, or is about to leave it. */
noinline void
sigmask_move(bool here)
{
    blocked = !here;
    sigmask_set(here ? program & ~kick_bit() : sigmask_runtime());
}

/* In the child, on the one thread that it has. */
static void
after_fork(void)
{
    if (blocked)
        sigmask_set(program = own);
    blocked = lent = false;
}

/* -- what has to see the program's mask ------------------------------------------------------------ */

enum { SIGNALS = 1 /* main may have been signalled */, MASKS = 2 /* changes the mask */ };

static struct redirect {
    const char *module, *name;
    int what;
    PyCFunction old;
} redirects[];

static noinline bool
lend(void)
{
    if (!blocked)
        return false;
    sigmask_set(own);
    return lent = true;
}

static noinline PyObject *
done(const struct redirect *d, bool was_lent, PyObject *result)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if (was_lent && lent) { /* else a hook has parked meanwhile, and this is another thread */
        lent = false;
        if (d->what & MASKS)
            own = sigmask_get();
        sigmask_set(sigmask_runtime());
    }
    else if (d->what & MASKS && gp && (gp->flags & G_MAIN || mp == m0)) {
        program = sigmask_get();
        if (mp != m0)
            push_mask(program);
    }
    if (d->what & SIGNALS && result && under_our_gil())
        interrupt_main();
    return result;
}

#define AROUND(i, call)                                                                                      \
    struct redirect *d = &redirects[i];                                                                      \
    bool was_lent = lend();                                                                                  \
    return done(d, was_lent, call)

/* One for each calling convention. */
#define TRAMPOLINES(i)                                                                                       \
    static PyObject *args_##i(PyObject *self, PyObject *args)                                                \
    {                                                                                                        \
        AROUND(i, d->old(self, args));                                                                       \
    }                                                                                                        \
    static PyObject *args_kw_##i(PyObject *self, PyObject *args, PyObject *kw)                               \
    {                                                                                                        \
        AROUND(i, ((PyCFunctionWithKeywords)(void (*)(void))d->old)(self, args, kw));                        \
    }                                                                                                        \
    static PyObject *fast_##i(PyObject *self, PyObject *const *args, Py_ssize_t n)                           \
    {                                                                                                        \
        AROUND(i, ((_PyCFunctionFast)(void (*)(void))d->old)(self, args, n));                                \
    }                                                                                                        \
    static PyObject *fast_kw_##i(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)       \
    {                                                                                                        \
        AROUND(i, ((_PyCFunctionFastWithKeywords)(void (*)(void))d->old)(self, args, n, names));             \
    }

#define REDIRECTS(X)                                                                                         \
    X(0, "_posixsubprocess", "fork_exec", 0)                                                                 \
    X(1, "posix", "posix_spawn", 0)                                                                          \
    X(2, "posix", "posix_spawnp", 0)                                                                         \
    X(3, "posix", "system", 0)                                                                               \
    X(4, "posix", "execv", 0)                                                                                \
    X(5, "posix", "execve", 0)                                                                               \
    X(6, "_thread", "start_new_thread", 0)                                                                   \
    X(7, "_thread", "start_new", 0)                                                                          \
    X(8, "_thread", "start_joinable_thread", 0)                                                              \
    X(9, "_signal", "pthread_kill", SIGNALS)                                                                 \
    X(10, "_signal", "raise_signal", SIGNALS)                                                                \
    X(11, "_thread", "interrupt_main", SIGNALS)                                                              \
    X(12, "_signal", "pthread_sigmask", MASKS)

static struct redirect redirects[] = {
#define X(i, module, name, what) {module, name, what, NULL},
    REDIRECTS(X)
#undef X
};

#define X(i, module, name, what) TRAMPOLINES(i)
REDIRECTS(X)
#undef X

static const struct trampolines {
    PyCFunction args, args_kw, fast, fast_kw;
} trampolines[] = {
#define FN(f) (PyCFunction)(void (*)(void)) f
#define X(i, module, name, what) {FN(args_##i), FN(args_kw_##i), FN(fast_##i), FN(fast_kw_##i)},
    REDIRECTS(X)
#undef X
};

static PyCFunction
trampoline(const struct trampolines *t, int flags)
{
    switch (flags & (METH_VARARGS | METH_KEYWORDS | METH_NOARGS | METH_O | METH_FASTCALL | METH_METHOD)) {
    case METH_O:
    case METH_VARARGS:
        return t->args;
    case METH_VARARGS | METH_KEYWORDS:
        return t->args_kw;
    case METH_FASTCALL:
        return t->fast;
    case METH_FASTCALL | METH_KEYWORDS:
        return t->fast_kw;
    default:
        return NULL;
    }
}

/* -1: exception set. What a version of Python does not have is left out; a convention that is not known is an
 * error. */
int
sigmask_init(void)
{
    for (size_t i = 0; i < sizeof redirects / sizeof *redirects; i++) {
        struct redirect *d = &redirects[i];
        PyMethodDef *def = builtin_def(d->module, d->name);
        if (!def || d->old)
            continue;
        PyCFunction ours = trampoline(&trampolines[i], def->ml_flags);
        if (!ours) {
            PyErr_Format(PyExc_SystemError, "%s.%s has a calling convention that gort does not know: %d",
                         d->module, d->name, def->ml_flags);
            return -1;
        }
        d->old = def->ml_meth;
        def->ml_meth = ours;
    }
    around_forks(NULL, NULL, after_fork);
    return 0;
}
