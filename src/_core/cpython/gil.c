/* gil.c: the current thread state, the switch from one to another, and the GIL.
 *
 * ts_switch attaches a goroutine's thread state in place of another one, on the same OS thread, with the GIL
 * held. It is the one function of this folder that every switch of goroutines passes, and all that it does is
 * in this file: it calls nothing but PyThread_tss_set, as long as m.tss is known.
 *
 * Invariants
 *   1. After ts_switch all that CPython knows the current thread state by is the new one: its own variable,
 *      the key of PyGILState_Ensure, the status bits of both thread states, and last_holder of the GIL.
 *   2. A request to drop the GIL is neither lost by a switch nor obeyed in a later run of the thread state
 *      that it was made to: with nobody waiting, that would wait for ever for somebody to take the GIL.
 *   3. native_thread_id of the thread state that is attached names this OS thread, and that of the one whose
 *      place it takes names `nowhere`.
 *   4. m.tss is NULL, or the address of the word in libpython that is this OS thread's current thread state,
 *      proven when the M started.
 *
 * ts_switch, ts_find_tss: with the GIL, on the M's own OS thread. The others as they say in compat.h:
 * ts_running, interpreter_busy and gil_interval need neither the GIL nor a lock.
 *
 * Rejected: PyThreadState_Swap. On 3.11 it leaves the key of PyGILState_Ensure behind, which then deadlocks
 * in callbacks from C. Later it releases and retakes the GIL (70-120 ns, and others may get in); it is what
 * is left if the word cannot be found.
 *
 * Versions
 *   3.11        The current thread state is a global of _PyRuntime: it holds the GIL.
 *   3.12 on     It is a thread-local of libpython that is not exported: gil_init looks for it in libpython's
 *               TLS block and proves its find by writing to it.
 *   3.13 on     The version of the code's instrumentation is part of each thread state and refreshed on
 *               attaching. A request to drop the GIL is a bit of one thread state, set under the GIL's lock;
 *               before, it is one flag of the interpreter.
 *   3.15        What PyGILState_Ensure finds is a thread-local too, and not a key of pthread's.
 */
#include "cpython/internal.h"

/* The native_thread_id of thread states that ts_switch left behind: a thread that nearly always sleeps, so
 * that samplers, which ask the kernel what that thread does, take them for idle. 0: there is none yet. */
static unsigned long nowhere;

/* An OS thread's identifier is handed on with the thread. */
static inline void
native_id_moves(PyThreadState *from, PyThreadState *to)
{
    to->native_thread_id = from->native_thread_id;
    from->native_thread_id = nowhere;
}

void
ts_set_nowhere(unsigned long tid)
{
    __atomic_store_n(&nowhere, tid, __ATOMIC_RELAXED);
}

void
ts_is_nowhere(PyThreadState *ts)
{
    unsigned long unknown = 0;
    __atomic_compare_exchange_n(&ts->native_thread_id, &unknown, nowhere, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

static inline struct _gil_runtime_state *
gil(void)
{
#if V312
    return main_interp->ceval.gil;
#else
    return &_PyRuntime.ceval.gil;
#endif
}

#if !V315
void
gilstate_set(PyThreadState *ts)
{
#if V312
    PyThread_tss_set(&_PyRuntime.autoTSSkey, ts);
#else
    PyThread_tss_set(&_PyRuntime.gilstate.autoTSSkey, ts);
#endif
}
#endif

#if V312
static ptrdiff_t tss_offset = -1; /* of the current thread state in libpython's TLS block; -1: not known */

#if V315
static ptrdiff_t gilstate_from_tss; /* where that of PyGILState_Ensure lies, from it */
#endif

/* Once, at the start. */
void
gil_init(void)
{
    char *tls;
    size_t size;
    PyThreadState *now = PyThreadState_Get(), *other;
    if (!library_tls(&_PyRuntime, &tls, &size) || !(other = PyThreadState_New(main_interp)))
        return;
    ptrdiff_t current = -1, gilstate = -1;
    for (size_t i = 0; i + sizeof(void *) <= size; i += sizeof(void *)) {
        PyThreadState *volatile *word = (PyThreadState **)(tls + i);
        if (*word != now)
            continue;
        *word = other;
        if (ts_current() == other)
            current = (ptrdiff_t)i;
        else if (PyGILState_GetThisThreadState() == other)
            gilstate = (ptrdiff_t)i;
        *word = now;
    }
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
#if V315
    gilstate_from_tss = gilstate - current;
    if (gilstate < 0)
        return;
#else
    (void)gilstate; /* a key's value: in nobody's TLS block */
#endif
    tss_offset = current;
}

#if V315
/* (If the word is not known nothing changes: an M that ends leaves its own behind, and so does sysmon, which
 * never attaches.) */
void
gilstate_set(PyThreadState *ts)
{
    char *tls;
    size_t size;
    if (tss_offset >= 0 && library_tls(&_PyRuntime, &tls, &size))
        *(tss)(tls + tss_offset + gilstate_from_tss) = ts;
}
#endif

tss
ts_find_tss(void)
{
    char *tls;
    size_t size;
    if (tss_offset < 0 || !library_tls(&_PyRuntime, &tls, &size))
        return NULL;
    tss word = (tss)(tls + tss_offset);
    return *word == PyThreadState_Get() ? word : NULL;
}

void
ts_switch(tss here, PyThreadState *ts)
{
    if (unlikely(!here)) {
        PyThreadState *old = ts_current();
        if (old == ts)
            return;
        /* it may be attached by another OS thread next, and must bind there */
        old->_status.bound_gilstate = 0;
        native_id_moves(old, ts);
        PyThreadState_Swap(ts);
        return;
    }
    PyThreadState *old = *here;
    if (old == ts)
        return;
    old->_status.active = 0;
    old->_status.bound_gilstate = 0;
#if V314
    old->holds_gil = 0;
    ts->holds_gil = 1;
#elif V313
    old->_status.holds_gil = 0;
    ts->_status.holds_gil = 1;
#endif
#if V313
    old->state = _Py_THREAD_DETACHED;
    ts->state = _Py_THREAD_ATTACHED;
    /* Attaching would refresh the instrumentation's version and forget a request to drop the GIL that was
     * meant for an earlier run of ts: if it were obeyed when nobody waits any more, ts would wait for ever
     * for somebody to take the GIL. A request made to `old` is passed on. One that is lost between these
     * lines is repeated after the switch interval. */
    uintptr_t version = main_interp->ceval.instrumentation_version;
    uintptr_t bits = _Py_atomic_load_uintptr_relaxed(&ts->eval_breaker), want;
    bool drop = _Py_eval_breaker_bit_is_set(old, _PY_GIL_DROP_REQUEST_BIT);
    do {
        want = version | (bits & _PY_EVAL_EVENTS_MASK & ~(uintptr_t)_PY_GIL_DROP_REQUEST_BIT) |
               (drop ? _PY_GIL_DROP_REQUEST_BIT : 0);
    } while (unlikely(bits != want) && !_Py_atomic_compare_exchange_uintptr(&ts->eval_breaker, &bits, want));
    /* after the loop, which would forget a request that is meant for this run: from here on ts is asked */
    _Py_atomic_store_ptr_relaxed(&gil()->last_holder, ts);
    if (unlikely(drop))
        _Py_unset_eval_breaker_bit(old, _PY_GIL_DROP_REQUEST_BIT);
#else
    _Py_atomic_store_relaxed(&gil()->last_holder, (uintptr_t)ts);
#endif
    /* in any order: only this thread reads them, and nothing of CPython's runs in between */
    ts->_status.active = 1;
    ts->_status.bound_gilstate = 1;
    native_id_moves(old, ts);
    *here = ts;
#if V315
    *(tss)((char *)here + gilstate_from_tss) = ts;
#else
    gilstate_set(ts);
#endif
}

bool
ts_switch_is_direct(void)
{
    return tss_offset >= 0;
}

bool
ts_running(PyThreadState *ts)
{
#if V313
    return _Py_atomic_load_int_relaxed(&gil()->locked) &&
           _Py_atomic_load_ptr_relaxed(&gil()->last_holder) == ts;
#else
    return _Py_atomic_load_relaxed(&gil()->locked) &&
           (PyThreadState *)_Py_atomic_load_relaxed(&gil()->last_holder) == ts;
#endif
}

bool
interpreter_busy(void)
{
#if V313
    return _Py_atomic_load_int_relaxed(&gil()->locked);
#else
    return _Py_atomic_load_relaxed(&gil()->locked);
#endif
}

#else /* 3.11 */

void
gil_init(void)
{
}

tss
ts_find_tss(void)
{
    return NULL;
}

void
ts_switch(tss here, PyThreadState *ts)
{
    (void)here;
    PyThreadState *old = ts_current();
    if (likely(old != ts))
        native_id_moves(old, ts);
    _Py_atomic_store_relaxed(&_PyRuntime.gilstate.tstate_current, (uintptr_t)ts);
    gilstate_set(ts);
}

bool
ts_switch_is_direct(void)
{
    return true;
}

bool
ts_running(PyThreadState *ts)
{
    return (PyThreadState *)_Py_atomic_load_relaxed(&_PyRuntime.gilstate.tstate_current) == ts;
}

bool
interpreter_busy(void)
{
    return _Py_atomic_load_relaxed(&_PyRuntime.gilstate.tstate_current) != 0;
}
#endif

void
gil_request_drop(void)
{
#if V313
    struct _gil_runtime_state *gs = gil();
    pthread_mutex_lock(&gs->mutex); /* the holder cannot give it up meanwhile, nor then end */
    PyThreadState *holder = _Py_atomic_load_ptr_relaxed(&gs->last_holder);
    if (holder && _Py_atomic_load_int_relaxed(&gs->locked) > 0)
        _Py_set_eval_breaker_bit(holder, _PY_GIL_DROP_REQUEST_BIT);
    pthread_mutex_unlock(&gs->mutex);
#else
    /* in this order: a thread that computes the breaker anew in between takes the request into account */
    _Py_atomic_store_relaxed(&main_interp->ceval.gil_drop_request, 1);
    _Py_atomic_store_relaxed(&main_interp->ceval.eval_breaker, 1);
#endif
}

int64_t
gil_interval(void)
{
    return (int64_t)gil()->interval * 1000;
}

void
ts_forget_drop_request(PyThreadState *ts)
{
#if V313
    _Py_unset_eval_breaker_bit(ts, _PY_GIL_DROP_REQUEST_BIT);
#else
    (void)ts; /* the breaker stays: it is for other things too, and CPython computes it anew */
    _Py_atomic_store_relaxed(&main_interp->ceval.gil_drop_request, 0);
#endif
}

void
ts_settle(void)
{
#if V313
    /* a thread that waits for the GIL asks the thread state that held it last to give it up, under this
     * lock */
    pthread_mutex_lock(&gil()->mutex);
    pthread_mutex_unlock(&gil()->mutex);
#endif
}
