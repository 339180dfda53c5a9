/* recursion.c: how deep a goroutine may call, by the size of its C stack.
 *
 * Invariant: where C has a count or a bound of its own, a goroutine whose C code calls deeper than its stack
 * allows gets RecursionError before it reaches the guard; if it is a count, then as long as each entry into C
 * that is counted takes at most C_FRAME bytes.
 *
 * All with the GIL, except eval_watch, which is async-signal-safe: the handler that opens a stack's guard
 * calls it (morestack.c).
 *
 * Rejected: giving goroutines the limit of threads. It is made for stacks of 8 MiB.
 *
 * Versions. From 3.14 on CPython knows the addresses of each thread state's stack, and says no where it
 * ends; attaching takes them from the OS thread if they are not known. 3.12 and 3.13 have a counter of their
 * own for C, c_recursion_remaining, which says no before a small stack ends. 3.11 has one for both, large
 * enough for Python. There the evaluation of frames, which is how C code comes back to Python code, passes
 * through gort while a stack's guard is open (the interpreter's eval_frame, PEP 523). A debugger's or
 * compiler's own function stays where it is.
 */
#include "cpython/internal.h"

#include "hooks.h"

#if V313 && !V314
const bool c_recursion_is_deep = true;
#else
const bool c_recursion_is_deep = false;
#endif

#if V312 && !V314
/* C_RECURSION_LIMIT counts entries into C, whatever the size of the stack. The hungriest known in the
 * standard library, sorted(key=...) calling itself, takes 2.4 KiB per counted entry. */
#define C_FRAME 2400

static inline int
c_budget(size_t stack)
{
#if V313
    /* with less than twice the headroom left the trashcan frees nothing of what it has put aside */
    const size_t limit = Py_C_RECURSION_LIMIT, least = 2 * Py_TRASHCAN_HEADROOM + 20;
#else
    const size_t limit = C_RECURSION_LIMIT, least = 1;
#endif
    size_t n = stack / C_FRAME;
    return (int)(n > limit ? limit : n < least ? least : n);
}
#endif

size_t ts_stack_reserve;

/* 3.14's JIT optimizes traces in frames of 92 KiB, which it enters from Python code however little of the
 * stack is left. (3.15 has what was in them on the heap.) */
#define JIT_FRAMES (128UL << 10)

int
recursion_init(void)
{
#if V314 && !V315
    int jit = jit_says("is_enabled");
    if (jit > 0)
        ts_stack_reserve = JIT_FRAMES;
    return jit < 0 ? -1 : 0;
#else
    return 0;
#endif
}

void
ts_set_stack(PyThreadState *ts, char *lo, char *hi)
{
#if V314
    lo += ts_stack_reserve;
    if (PyUnstable_ThreadState_SetStackProtection(ts, lo, (size_t)(hi - lo)) < 0)
        throw("a stack too small for CPython");
#elif V312
    ts->c_recursion_remaining = c_budget((size_t)(hi - lo));
#else
    (void)ts, (void)lo, (void)hi;
#endif
}

/* Nothing runs on it any more. */
void
ts_reset_depth(PyThreadState *ts, size_t stack)
{
#if V314
    (void)stack;
    ts->py_recursion_remaining = ts->py_recursion_limit;
#elif V312
    ts->py_recursion_remaining = ts->py_recursion_limit;
    ts->c_recursion_remaining = c_budget(stack);
#else
    (void)stack;
    ts->recursion_remaining = ts->recursion_limit;
#endif
}

void
ts_set_thread_stack(PyThreadState *ts)
{
#if V314
    impl(ts)->c_stack_hard_limit = 0;
#else
    (void)ts; /* as it is made */
#endif
}

int
ts_enter_stack(PyThreadState *ts, size_t from, char *lo, char *hi)
{
    int more = 0;
#if V314
    (void)from;
    ts_set_stack(ts, lo, hi);
#elif V312
    more = c_budget((size_t)(hi - lo)) - c_budget(from);
    if (more < 0)
        more = 0;
    ts->c_recursion_remaining += more;
#else
    (void)ts, (void)from, (void)lo, (void)hi;
#endif
    return more;
}

void
ts_leave_stack(PyThreadState *ts, int entered, char *lo, char *hi)
{
#if V314
    (void)entered;
    ts_set_stack(ts, lo, hi);
#elif V312
    (void)lo, (void)hi;
    ts->c_recursion_remaining -= entered;
#else
    (void)ts, (void)entered, (void)lo, (void)hi;
#endif
}

#if V312
const bool c_recursion_uncounted = false;

void
eval_watch(bool on)
{
    (void)on;
}
#else
const bool c_recursion_uncounted = true;

typedef struct {
    PyThreadState *ts;
    struct _PyInterpreterFrame *frame;
    int throwing;
    PyObject *result;
} evaluation;

static void
evaluate(void *arg)
{
    evaluation *e = arg;
    e->result = _PyEval_EvalFrameDefault(e->ts, e->frame, e->throwing);
}

/* Has the interpreter raise RecursionError, and clean up, as if the count were used up. */
static void
evaluate_too_deep(evaluation *e)
{
    PyThreadState *ts = e->ts;
    int depth = ts->recursion_limit - ts->recursion_remaining;
    ts->recursion_limit = main_interp->ceval.recursion_limit;
    ts->recursion_remaining = 0;
    evaluate(e);
    ts->recursion_remaining = ts->recursion_limit - depth;
}

static PyObject *
evaluate_watched(PyThreadState *ts, struct _PyInterpreterFrame *frame, int throwing)
{
    evaluation e = {ts, frame, throwing, NULL};
    if (!hooks.eval_deep(ts, evaluate, &e))
        evaluate_too_deep(&e);
    return e.result;
}

void
eval_watch(bool on)
{
    _PyFrameEvalFunction now = __atomic_load_n(&main_interp->eval_frame, __ATOMIC_RELAXED);
    if (on ? now == NULL : now == evaluate_watched)
        __atomic_store_n(&main_interp->eval_frame, on ? evaluate_watched : NULL, __ATOMIC_RELAXED);
}
#endif
