/* pending.c: pending signals, and the main thread, which alone runs their handlers.
 *
 * CPython runs signal handlers in the OS thread whose identifier is _PyRuntime.main_thread. gort lets other
 * goroutines run on the process's main thread and, if that is occupied, the main goroutine on another one; so
 * main_thread is set when the main goroutine is resumed (to the thread that it runs on) and cleared when it
 * parks.
 *
 * Invariants
 *   1. While the main goroutine runs, main_thread is its OS thread; while it does not, no thread's.
 *   2. A signal that is pending while main runs is seen by it at its next look at the eval breaker; and so is
 *      a call (Py_AddPendingCall) that was asked for while it was parked.
 *
 * main_thread_set: with the GIL, by the scheduler. The others read or write one word, and need no lock.
 *
 * Rejected: leaving main_thread alone. On the process's main thread any goroutine would then run the
 * handlers, and the main goroutine, when it is elsewhere, none.
 *
 * Versions. Pending signals are a flag of _PyRuntime and a look that the interpreter's eval breaker asks for;
 * CPython's C handler asks for it only if it ran in the main goroutine's thread (signals_force), and so does
 * a thread that asks for a call; CPython makes up for it when a thread takes the GIL, which main does not
 * when it is resumed. From 3.13 on they are a bit of main's thread state, which only the main goroutine runs
 * with, and the C handler sets it in whatever thread it runs. From 3.14 on that thread state may also name a
 * script that main has to run: another process has written it there (sys.remote_exec), and nobody is told. It
 * is run where signal handlers are, and counts as a signal here.
 */
#include "cpython/internal.h"

bool
remote_scripts(void)
{
#if V314 && defined(Py_REMOTE_DEBUG)
    return main_interp->config.remote_debug == 1;
#else
    return false;
#endif
}

static inline bool
script_pending(void)
{
#if V314
    return __atomic_load_n(&main_ts->remote_debugger_support.debugger_pending_call, __ATOMIC_RELAXED) == 1 &&
           remote_scripts();
#else
    return false;
#endif
}

/* Has anybody asked for a call in the main thread that has not been made? */
static inline bool
calls_pending(void)
{
#if V313
    return _PyRuntime.ceval.pending_mainthread.npending;
#elif V312
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.pending_mainthread.calls_to_do);
#else
    return _Py_atomic_load_relaxed(&main_interp->ceval.pending.calls_to_do);
#endif
}

static void
calls_again(void)
{
#if V313
    _Py_set_eval_breaker_bit(main_ts, _PY_CALLS_TO_DO_BIT);
#else
    signals_force();
#endif
}

void
main_thread_set(bool mine)
{
    _PyRuntime.main_thread = mine ? PyThread_get_thread_ident() : 0;
    if (mine && unlikely(calls_pending()))
        calls_again();
}

bool
on_main_thread(void)
{
    return _PyRuntime.main_thread == PyThread_get_thread_ident();
}

#if V313
bool
signals_pending(void)
{
    return _Py_eval_breaker_bit_is_set(main_ts, _PY_SIGNALS_PENDING_BIT) || script_pending();
}

void
signals_clear(void)
{
    _Py_unset_eval_breaker_bit(main_ts, _PY_SIGNALS_PENDING_BIT);
}

void
signals_again(void)
{
    _Py_set_eval_breaker_bit(main_ts, _PY_SIGNALS_PENDING_BIT);
}

void
signals_force(void)
{
    /* the bit is in main's own thread state already */
}
#else
bool
signals_pending(void)
{
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.signals_pending);
}

void
signals_clear(void)
{
    _Py_atomic_store_relaxed(&_PyRuntime.ceval.signals_pending, 0);
}

void
signals_again(void)
{
    /* in this order: see gil_request_drop */
    _Py_atomic_store_relaxed(&_PyRuntime.ceval.signals_pending, 1);
    _Py_atomic_store_relaxed(&main_interp->ceval.eval_breaker, 1);
}

void
signals_force(void)
{
    /* the C handler sets the breaker only if it ran in the main goroutine's thread */
    _Py_atomic_store_relaxed(&main_interp->ceval.eval_breaker, 1);
}
#endif
