/* tstate.c: a thread state's life: made, lent to goroutine after goroutine, deleted.
 *
 * Invariants
 *   1. A thread state that waits for its next goroutine is clean: no locals, no context, no hook, no
 *      exception is left in it (ts_is_clean). A goroutine that used none of these costs one test.
 *   2. A thread state that is attached nowhere is what PyGILState_Ensure finds in no thread.
 *   3. A goroutine's thread state has the goroutine's number for its identifier (is_goid in sched/g.h). Its
 *      native identifier names the OS thread that runs it, or one that sleeps (ts_switch); so does that of an
 *      M's own, which runs while no goroutine does (ts_here).
 *
 * ts_new needs no GIL (under tracemalloc its hook takes it). What resets or deletes is called with the GIL
 * and may run destructors, hence any Python code, except for ts_delete, whose thread state is clean. What
 * takes `careful` may, with that, be called at any time, in signal handlers too.
 *
 * Rejected: a new thread state for each goroutine. Making one allocates, and making and deleting one take the
 * lock of the list.
 *
 * Versions. What a thread state holds of a life differs: on_delete up to 3.12; from 3.13 on
 * threading_local_key, its sentinel and asyncio's running loop, from 3.14 on also its running task, in 3.15 a
 * set of imports that are put off. 3.12's asyncio remembers the last running loop by a thread
 * state's id, and without a reference. 3.11 has one counter for calls in C and in Python. From 3.12 on a
 * thread state knows whether it is the one that PyGILState_Ensure finds. In 3.11 PyThreadState_New crashes
 * without memory.
 */
#include "cpython/internal.h"

/* See Invariant 1. */
bool
ts_is_clean(const PyThreadState *ts)
{
    return ts->dict == NULL && ts->context == NULL && ts->exc_state.exc_value == NULL &&
           ts->c_traceobj == NULL && ts->c_profileobj == NULL && ts->async_exc == NULL &&
           ts->async_gen_firstiter == NULL && ts->async_gen_finalizer == NULL
#if V313
           && ts->threading_local_key == NULL && ts->threading_local_sentinel == NULL &&
           impl(ts)->asyncio_running_loop == NULL
#if V314
           && impl(ts)->asyncio_running_task == NULL
#endif
#if V315
           && *ts_lazy_imports(ts) == NULL
#endif
#else
           && ts->on_delete == NULL
#endif
        ;
}

/* 3.12's asyncio must not find its last running loop by the id of ts. */
static void
forget_loop(PyThreadState *ts)
{
#if V312 && !V313
    static uint64_t fresh = (uint64_t)1 << 62; /* none that CPython gives */
    ts->id = fresh++;
#else
    (void)ts;
#endif
}

/* May it have used a threading.local? */
static bool
has_locals(const PyThreadState *ts)
{
#if V313
    return ts->dict || ts->threading_local_key;
#else
    return ts->dict;
#endif
}

/* Lets go of it in the order of PyThreadState_Clear: a trace function sees the destructors of
 * thread-locals. */
static void
clear(PyThreadState *ts)
{
    if (ts->dict)
        forget_loop(ts);                   /* before the dict goes, which holds it */
    if (has_locals(ts) || ts->c_tracefunc) /* current_thread(), or the debugger that traces it */
        threading_forget(ts->thread_id);
    Py_CLEAR(ts->dict);
    Py_CLEAR(ts->async_exc);
    Py_CLEAR(ts->exc_state.exc_value);
    if (ts->c_tracefunc)
        PyEval_SetTrace(NULL, NULL);
    if (ts->c_profilefunc)
        PyEval_SetProfile(NULL, NULL);
    Py_CLEAR(ts->async_gen_firstiter);
    Py_CLEAR(ts->async_gen_finalizer);
    Py_CLEAR(ts->context);
    ts->context_ver++;
#if V313
    Py_CLEAR(ts->threading_local_key);
    Py_CLEAR(ts->threading_local_sentinel);
    Py_CLEAR(impl(ts)->asyncio_running_loop);
#if V314
    Py_CLEAR(impl(ts)->asyncio_running_task);
#endif
#if V315
    Py_CLEAR(*ts_lazy_imports(ts));
#endif
#else
    if (ts->on_delete) {
        void (*f)(void *) = ts->on_delete;
        ts->on_delete = NULL;
        f(ts->on_delete_data);
        ts->on_delete_data = NULL;
    }
#endif
}

/* What destructors leave behind is let go of too, and what the destructors of that leave, and so on. If this
 * never ends, what the last of the rounds leaves stays for ever; where CPython ends a thread, already what
 * the first round leaves does. */
#define CLEAR_ROUNDS 100

static noinline void
clear_all(PyThreadState *ts)
{
    for (int i = 0; i < CLEAR_ROUNDS && !ts_is_clean(ts); i++)
        clear(ts);
    if (likely(ts_is_clean(ts)))
        return;
    forget_loop(ts);
    ts->dict = ts->context = ts->async_exc = ts->exc_state.exc_value = NULL;
    ts->async_gen_firstiter = ts->async_gen_finalizer = NULL;
    ts->c_tracefunc = ts->c_profilefunc = NULL;
    ts->c_traceobj = ts->c_profileobj = NULL;
#if V313
    ts->threading_local_key = ts->threading_local_sentinel = NULL;
    impl(ts)->asyncio_running_loop = NULL;
#if V314
    impl(ts)->asyncio_running_task = NULL;
#endif
#if V315
    *ts_lazy_imports(ts) = NULL;
#endif
#else
    ts->on_delete = NULL;
#endif
}

void
ts_reset(PyThreadState *ts, size_t stack)
{
    if (unlikely(!ts_is_clean(ts)))
        clear_all(ts); /* first: destructors may set what is set below */
    ts->coroutine_origin_tracking_depth = 0;
    ts_free_spare_chunk(ts);
    ts_free_tracer(ts);
    ts_reset_depth(ts, stack);
    ts->recursion_headroom = 0;
}

/* PyGILState_Ensure no longer finds ts in this thread. */
static void
forget_thread(PyThreadState *ts)
{
    gilstate_set(NULL);
#if V312
    ts->_status.bound_gilstate = 0;
#else
    (void)ts;
#endif
}

void
ts_here(PyThreadState *ts)
{
    ts->native_thread_id = PyThread_get_thread_native_id();
    ts_set_thread_stack(ts);
}

void
ts_leave(PyThreadState *ts)
{
    if (unlikely(!ts_is_clean(ts)))
        clear_all(ts); /* first: destructors may call PyGILState_Ensure, and must find ts */
    forget_thread(ts); /* before the GIL goes: from then on another thread may attach ts, and bind it */
    PyEval_SaveThread();
}

PyThreadState *
ts_new(void)
{
#if !V312
    /* without memory PyThreadState_New crashes */
    void *room = PyMem_RawMalloc(2 * sizeof(PyThreadState) + 1024);
    if (!room)
        return NULL;
    PyMem_RawFree(room);
#endif
    PyThreadState *ts = PyThreadState_New(main_interp);
    if (!ts)
        return NULL;
    if (unlikely(PyGILState_GetThisThreadState() == ts))
        forget_thread(ts); /* this thread had none (sysmon), and CPython has made this one its own */
    ts_has_frames(ts, false);
    ts->native_thread_id = 0;
    ts_is_nowhere(ts);
    tslist_add(ts);
    return ts;
}

void
ts_delete(PyThreadState *ts)
{
    ts_deleting(ts); /* first: first_ours must not be left pointing at it */
    PyThreadState_Clear(ts);
    PyThreadState_Delete(ts);
}

void
ts_set_thread(PyThreadState *ts, unsigned long ident)
{
    ts->thread_id = ident;
}

unsigned long
ts_ident(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->thread_id : 0;
}

unsigned long
ts_native_id(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->native_thread_id : 0;
}

PyThreadState *
ts_of_thread(void)
{
    return PyGILState_GetThisThreadState();
}

PyObject *
ts_context(PyThreadState *ts)
{
    return ts->context;
}

void
ts_set_context(PyThreadState *ts, PyObject *context)
{
    Py_XSETREF(ts->context, context);
    ts->context_ver++;
}

bool
ts_handling(PyThreadState *ts, PyObject *type)
{
    for (_PyErr_StackItem *e = ts->exc_info; e; e = e->previous_item) {
        if (e->exc_value && PyErr_GivenExceptionMatches(e->exc_value, type))
            return true;
    }
    return false;
}
