/* g.h: a goroutine's life (g.c), and the death of the process (panic.c). */
#ifndef GORT_G_H
#define GORT_G_H

#include "core.h"

/* Starts fn(*args, **kw): args and kwnames as in vectorcall, all borrowed. Only timers give a `context`, the
 * one in which they were made; no Python code runs then. -1: exception set. */
int newproc(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *context);
int newproc_system(PyObject *fn, PyObject *context); /* the same, for fn() of the runtime itself */
/* There will be goroutines, which need the module threading to tell them of main's end. Loads it if it can
 * be, on the main thread: threading takes the thread that loads it for the main one. -1: exception set. */
int need_threading(void);
/* Is it alive? Neither between two lives nor lost in a fork. */
static inline bool
g_alive(const g *gp)
{
    return gp->status != Gidle && gp->status != Gdead && gp->status != Glost;
}
/* Where each goroutine's stack begins (first_frame in stack.c); never returns. */
void gomain(void);
/* Notes whether gp's function can park or end without having blocked: later goroutines of it may start on m0
 * if so. */
void proven(g *gp, bool good);
/* A goroutine's thread state has the goroutine's number in place of a thread identifier, so that what finds
 * threads by it (sys._current_frames, PyThreadState_SetAsyncExc) finds each goroutine. Identifiers of threads
 * are addresses. */
static inline bool
is_goid(unsigned long ident)
{
    return ident < 1UL << 32;
}
/* The identifier in an M's own thread state, the scheduler's: odd, which no thread's is. What looks for the
 * M's thread by its identifier finds the goroutine that runs there instead. */
static inline unsigned long
scheduler_ident(const m *mp)
{
    return (unsigned long)mp | 1;
}
static inline bool
is_scheduler(unsigned long ident)
{
    return !is_goid(ident) && ident & 1;
}
extern PyObject *Error, *Goexit; /* runtime.Error; what goexit() raises */
extern PyObject *panic_hook, *fatal_hook, *threading_hook,
    *debugger_hook; /* as set_hooks set them; NULL: not yet */

/* newproc for the program: refused once the interpreter ends. */
int newproc_user(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* Does a call of fn surely run something? True of nearly all functions. */
static inline bool
runs(PyObject *fn)
{
    if (likely(PyFunction_Check(fn)))
        return !(((PyCodeObject *)PyFunction_GET_CODE(fn))->co_flags &
                 (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR));
    return PyCFunction_Check(fn);
}
/* TypeErrors, whose text begins with `what`: "go()". -1: it is set. */
int check_callable(const char *what, PyObject *fn); /* fn can be called */
int check_runs(const char *what, PyObject *fn); /* and that does more than make a coroutine or a generator */
/* args are a callable and its arguments. */
int check_args(const char *what, PyObject *const *args, Py_ssize_t nargs);
/* Both, for what starts a goroutine. */
static inline int
check_call(const char *what, PyObject *const *args, Py_ssize_t nargs)
{
    if (unlikely(nargs < 1))
        return check_args(what, args, nargs);
    return likely(runs(args[0])) ? 0 : check_runs(what, args[0]);
}
/* Clears the exception that is set and returns it, owned, with its traceback. */
PyObject *take_exception(void);
void give_exception(PyObject *exc); /* sets it; steals */

/* -- panic.c -------------------------------------------------------------------------------------- */

/* The runtime's own fatal error: reports it with all goroutines, and ends the process with status 2. The hook
 * that writes the report runs Python code, and may park. GIL held, a thread state attached. */
_Noreturn void fatal(const char *text);
/* The goroutine that runs here ends the process: exc, which is a panic or SystemExit, has escaped it. */
void death_begins(PyObject *exc);
void death_after_fork(void);   /* in the child: nobody ends that process yet */
void panic_during_panic(void); /* says that it is one; async-signal-safe */
/* Adds to the module what _traceback.py calls when the process dies. -1: exception set. */
int gort_panic_init(PyObject *module);

#endif
