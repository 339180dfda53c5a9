/* interp.c: the interpreter that gort runs in, and the start of everything in this folder.
 *
 * Invariants
 *   1. gort runs in the main interpreter. Others may exist beside it, with its GIL or with one of their own.
 *   2. main_ts is the thread state of the thread that CPython was started in, which runs the main goroutine.
 *      (In the child of a fork it is that of the goroutine that forked: atfork.c.)
 *
 * compat_init: once, when gort is imported, with the GIL. The rest may be called by any thread at any time,
 * by the allocator too.
 *
 * Rejected: asking for the current thread state's interpreter at each allocation. That is a call into
 * libpython, where one load and a comparison say in nearly all processes that there is only one interpreter.
 *
 * Versions. 3.13 has the main thread state in _PyRuntime; before, it is the last one of the list, since new
 * ones are put in front. On 3.11 all interpreters share one GIL.
 */
#include "cpython/internal.h"

PyInterpreterState *main_interp;
PyThreadState *main_ts;

int
compat_init(void)
{
    if (offsets_init() < 0 || recursion_init() < 0)
        return -1;
    PyInterpreterState *interp = PyInterpreterState_Get();
    if (interp != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "gort runs in the main interpreter only, not in a subinterpreter");
        return -1;
    }
    main_interp = interp;
#if V313
    main_ts = _PyRuntime.main_tstate;
#else
    /* new thread states are put in front: the first one of the process is the last */
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(main_interp); ts; ts = PyThreadState_Next(ts))
        main_ts = ts;
#endif
#if V312
    newest_interp = &_PyRuntime.interpreters.head;
#endif
    if (object_init() < 0 || threading_init() < 0)
        return -1; /* before anything of CPython's is changed: the import may be tried again */
    gil_init();
    tslist_init();
    chunks_init();
    return 0;
}

#if V312
/* New interpreters are put in front of the list: while the main one is the first, it is alone. A thread of
 * another one always sees that it is not: it has its interpreter since that was put there. */
PyInterpreterState **newest_interp;

/* Without a thread state, nobody is in the interpreter but the one that begins or ends it. */
noinline bool
interp_shares_gil(void)
{
    PyThreadState *ts = ts_current();
    return !ts || ts->interp == main_interp || ts->interp->ceval.gil == main_interp->ceval.gil;
}
#endif

const char *
allocator_name(void)
{
    return _PyMem_GetCurrentAllocatorName();
}
