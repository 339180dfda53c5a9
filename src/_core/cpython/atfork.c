/* atfork.c: what the child of a fork needs of CPython before CPython has repaired itself.
 *
 * Invariant: after compat_after_fork the thread that is left is the main thread, and its thread state the
 * main one, as CPython's own repair, which comes later, expects it.
 *
 * In the child, in its only thread: in a pthread_atfork handler, with or without the GIL, and
 * compat_after_fork once more when CPython is whole again. They take no lock: its holder may be gone.
 * (The list of thread states has a handler of its own, in tslist.c.)
 *
 * Rejected: waiting for the hooks of os.register_at_fork. By then CPython has deleted all thread states but
 * the current one.
 *
 * Versions. Whether somebody held the GIL is known from the GIL itself from 3.12 on, before from the current
 * thread state. Only 3.13 has the main thread state in _PyRuntime, and an import lock that knows its thread.
 */
#include "cpython/internal.h"

PyThreadState *
compat_forked(void)
{
    if (!Py_IsInitialized())
        return NULL;
    PyThreadState *now = ts_current(), *mine = PyGILState_GetThisThreadState();
    if (mine && mine->interp != main_interp)
        return NULL; /* it has a GIL of its own, and another thread may have ours */
    return (now ? now == mine : !interpreter_busy()) ? mine : NULL;
}

bool
fork_keeps_thread(void)
{
    return V313; /* the import lock, which it holds meanwhile, knows its thread */
}

void
compat_after_fork(PyThreadState *ts)
{
    main_ts = ts;
    main_thread_set(true);
#if V313
    _PyRuntime.main_tstate = main_ts;
#endif
}
