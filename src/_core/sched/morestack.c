/* morestack.c: another stack for a goroutine that has little left of its own.
 *
 * CPython was written for threads, whose stacks have 8 MiB. Goroutines beyond the first thousand have less
 * (stack.c), and cannot have it all: a large stack costs a page-table page. What needs much is rare, though,
 * and can be had for as long as a call lasts: morestack() runs a function on a stack of 8 MiB from a pool. It
 * is used for
 *
 *   - functions of CPython's that count their recursion themselves, for a thread's stack: the compiler
 *     (compile, exec and eval of source, thus ast.parse and imports; symtable) and marshal;
 *   - 3.11: any Python frame. There one counter is for calls in Python and in C together, so C code may
 *     recurse as deep as Python code may. (From 3.12 on C has a count or a bound of its own, which is fitted
 *     to the stack: ts_set_stack.)
 *
 * How 3.11 notices. The guard of a small stack does not lie at its end but REDZONE above it. When a goroutine
 * touches it, the signal handler opens the guard, puts one at the end, and has CPython come to us for each
 * frame that C code enters (PEP 523). The goroutine goes on in the red zone to its next frame, and that is
 * evaluated on a new stack; if this becomes full too, the next one follows. When the goroutine is back above
 * the guard, the guard is closed again. While no guard is open CPython calls nobody, and a goroutine that
 * stays above its guard pays nothing. C code that enters no frame (nested iterators, callbacks in C) has the
 * red zone, and ends at the guard below.
 *
 * Invariants
 *   1. stack_lo and stack_hi of a goroutine are those of the stack it is on. An extra stack begins with its
 *      record (at stack_hi), which knows what was before.
 *   2. `opened` says that the guard of the stack it is on is open; nopened counts such goroutines. The hook
 *      is on while there are any.
 *   3. Greenlets need one stack: a goroutine that uses them gets no other (on 3.11 it gets RecursionError),
 *      and one that is on another cannot begin to use them.
 *
 * A goroutine that parks on an extra stack keeps it. Called with the GIL by the goroutine; the fault handler
 * runs in the thread that touches the guard, with or without the GIL.
 *
 * Differs from Go, where each function looks for room and moves the stack to a larger one: frames of C cannot
 * be moved.
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "os/annotate.h"
#include "os/arch/arch.h"
#include "os/os.h"
#include "sched/stack.h"

#include <errno.h>
#include <string.h>

#define EXTRA_STACK (8UL << 20)
#define EXTRA_GUARD (64UL << 10)
#define REDZONE (144UL << 10)
#define GUARD_MAX (16UL << 10) /* no guard is wider */
#define GUARD (16UL << 10)     /* what is guarded anew */
#define POOL_MAX 16
/* What these functions need, at least: as much as is left in a thread that has called a few others
 * already. */
#define ROOM (6UL << 20)

/* Lies at the high end of its stack. */
typedef struct extra extra;
struct extra {
    extra *next; /* in the pool */
    void (*fn)(void *);
    void *arg;
    char *lo, *hi; /* of the stack that the goroutine was on before */
    bool opened, was_extra;
    void *fake_stack;
};
#define EXTRA_RECORD ((sizeof(extra) + 63) & ~(size_t)63)

static extra *pool;
static int npool;
static size_t nextra; /* stacks that exist */
static _Atomic int nopened;

size_t
morestack_bytes(void)
{
    return nextra * EXTRA_STACK;
}

static extra *
take(void)
{
    extra *s = pool;
    if (s) {
        pool = s->next;
        npool--;
        return s;
    }
    char *base = mem_reserve(EXTRA_STACK);
    if (!base)
        return NULL;
    nextra++;
    mem_guard(base, EXTRA_GUARD);
    if (c_recursion_uncounted)
        mem_guard(base + EXTRA_GUARD + REDZONE, GUARD);
    return (extra *)(base + EXTRA_STACK - EXTRA_RECORD);
}

static void
give_back(extra *s)
{
    char *base = (char *)s + EXTRA_RECORD - EXTRA_STACK;
    if (npool == POOL_MAX) {
        nextra--;
        mem_unmap(base, EXTRA_STACK);
        return;
    }
    s->next = pool;
    pool = s;
    npool++;
}

/* The collector: gives back the memory of stacks that nobody uses; the guards stay. */
void
morestack_shrink(void)
{
    for (extra *s = pool; s; s = s->next) {
        char *lo = (char *)s + EXTRA_RECORD - EXTRA_STACK + EXTRA_GUARD;
        (void)mem_release(lo, (size_t)(((uintptr_t)s & ~(uintptr_t)4095) - (uintptr_t)lo));
    }
}

static void
set_opened(g *gp, bool opened)
{
    if (gp->opened == opened)
        return;
    gp->opened = opened;
    if (opened) {
        atomic_fetch_add(&nopened, 1);
        atomic_thread_fence(memory_order_seq_cst);
        eval_watch(true);
    }
    else if (atomic_fetch_sub(&nopened, 1) == 1) {
        eval_watch(false);
        /* a fault elsewhere, without the GIL, may have found it on just before: it is counted then, or sees
         * it off */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load(&nopened))
            eval_watch(true);
    }
}

static void
on_extra(void *arg)
{
    extra *s = arg;
    annotate_arrive(NULL);
    s->fn(s->arg);
    annotate_leave(NULL, s->lo, s->hi);
}

bool
morestack(g *gp, void (*fn)(void *), void *arg)
{
    extra *s = gp->greenlets ? NULL : take();
    if (!s)
        return false;
    *s = (extra){.fn = fn,
                 .arg = arg,
                 .lo = gp->stack_lo,
                 .hi = gp->stack_hi,
                 .opened = gp->opened,
                 .was_extra = gp->extra};
    /* before the switch: the fault handler goes by these, and `opened` is of the stack that gp is on */
    set_opened(gp, false);
    gp->stack_lo = (char *)s + EXTRA_RECORD - EXTRA_STACK + EXTRA_GUARD;
    gp->stack_hi = (char *)s;
    gp->extra = true;
    int entered = ts_enter_stack(gp->ts, (size_t)(s->hi - s->lo), gp->stack_lo, gp->stack_hi);

    annotate_leave(&s->fake_stack, gp->stack_lo, gp->stack_hi);
    gort_call_on(s, on_extra, s);
    annotate_arrive(s->fake_stack);

    ts_leave_stack(gp->ts, entered, s->lo, s->hi);
    morestack_close(gp); /* for the next user of the stack; before stack_lo, by which it finds the guard */
    gp->stack_lo = s->lo;
    gp->stack_hi = s->hi;
    gp->extra = s->was_extra;
    set_opened(gp, s->opened);
    give_back(s); /* last: s lies on the stack that goes */
    return true;
}

/* -- the guard that can be opened ------------------------------------------------------------------ */

size_t
redzone(size_t stride)
{
    return c_recursion_uncounted && stride >= 3 * REDZONE && stride < 2UL << 20 ? REDZONE : 0;
}

static char *
soft_guard(g *gp)
{
    return gp->stack_lo + REDZONE;
}

/* Async-signal-safe. */
bool
morestack_fault(g *gp, const char *addr)
{
    char *guard = soft_guard(gp);
    if (!c_recursion_uncounted || !gp->slab || gp->opened || addr < guard || addr >= guard + GUARD_MAX)
        return false;
    int err = errno;
    mem_unguard(guard, GUARD_MAX);
    mem_guard(gp->stack_lo - GUARD, GUARD);
    set_opened(gp, true);
    errno = err;
    return true;
}

/* It is back above its guard. */
void
morestack_close(g *gp)
{
    if (!gp->opened)
        return;
    mem_guard(soft_guard(gp), GUARD);
    set_opened(gp, false);
}

bool
morestack_eval(PyThreadState *ts, void (*eval)(void *), void *arg)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if (likely(!gp || !gp->opened || gp->ts != ts)) {
        eval(arg);
        return true;
    }
    char *here = __builtin_frame_address(0);
    if (here >= soft_guard(gp) + GUARD_MAX + 4096) {
        morestack_close(gp);
        eval(arg);
        return true;
    }
    return morestack(gp, eval, arg);
}

/* -- functions that count for themselves --------------------------------------------------------------- */

/* A function of CPython's that is called on a large stack, and how. */
typedef struct {
    const char *module, *name;
    int flags;
    void *real;
} builtin;
enum { compile, exec, eval, symtable, loads, dumps, NBUILTINS };
static builtin builtins[NBUILTINS] = {{"builtins", "compile"},   {"builtins", "exec"}, {"builtins", "eval"},
                                      {"_symtable", "symtable"}, {"marshal", "loads"}, {"marshal", "dumps"}};
static PyObject *str_string, *str_exec, *str_eval;

typedef struct {
    const builtin *f;
    PyObject *module, *const *args, *kwnames;
    Py_ssize_t nargs;
    PyObject *result;
} call;

static void
call_now(void *arg)
{
    call *c = arg;
    void *f = c->f->real;
    switch (c->f->flags) {
    case METH_O:
        c->result = ((PyCFunction)f)(c->module, c->args[0]);
        break;
    case METH_FASTCALL:
        c->result =
            ((PyObject * (*)(PyObject *, PyObject *const *, Py_ssize_t)) f)(c->module, c->args, c->nargs);
        break;
    default:
        c->result = ((PyObject * (*)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *))
                         f)(c->module, c->args, c->nargs, c->kwnames);
    }
}

/* The running goroutine, if it has less stack left than a thread would have. */
static inline g *
short_of_stack(void)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if (!gp || !gp->slab)
        return NULL; /* a thread */
    return (size_t)((char *)__builtin_frame_address(0) - gp->stack_lo) < ROOM ? gp : NULL;
}

static PyObject *
call_small(const builtin *f, PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    call c = {f, module, args, kwnames, nargs, NULL};
    call_now(&c);
    return c.result;
}

static PyObject *
call_large(const builtin *f, PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    call c = {f, module, args, kwnames, nargs, NULL};
    g *gp = short_of_stack();
    if (!gp || !morestack(gp, call_now, &c))
        call_now(&c);
    return c.result;
}

/* The code of the source that exec or eval was called with. Only the compiler runs on the large stack: what
 * the code does may take long, and may use greenlets. NULL without an exception: the function is called with
 * its own arguments. */
static PyObject *
code_of_source(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *mode)
{
    if (nargs < 1 || !(PyUnicode_CheckExact(args[0]) || PyBytes_CheckExact(args[0])) || !short_of_stack())
        return NULL;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), "closure") == 0)
            return NULL;
    }
    PyObject *source = Py_NewRef(args[0]);
    if (mode == str_eval) /* blanks before an expression are not indentation */
        Py_SETREF(source, PyObject_CallMethod(source, "lstrip", PyUnicode_Check(source) ? "s" : "y", " \t"));
    if (!source)
        return NULL;
    PyObject *r = call_large(&builtins[compile], module, (PyObject *[]){source, str_string, mode}, 3, NULL);
    Py_DECREF(source);
    return r;
}

#define ARGS_MAX 6 /* source, globals, locals; what is more is refused by the functions themselves */

static PyObject *
call_with_code(const builtin *f, PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject *mode)
{
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *code = n <= ARGS_MAX ? code_of_source(module, args, nargs, kwnames, mode) : NULL;
    if (!code)
        return PyErr_Occurred() ? NULL : call_small(f, module, args, nargs, kwnames);
    PyObject *with[ARGS_MAX] = {code};
    memcpy(with + 1, args + 1, (size_t)(n - 1) * sizeof *with);
    PyObject *r = call_small(f, module, with, nargs, kwnames);
    Py_DECREF(code);
    return r;
}

#define CALL_LARGE(f, module, args, nargs, kwnames) call_large(f, module, args, nargs, kwnames)
#define CALL_EXEC(f, module, args, nargs, kwnames) call_with_code(f, module, args, nargs, kwnames, str_exec)
#define CALL_EVAL(f, module, args, nargs, kwnames) call_with_code(f, module, args, nargs, kwnames, str_eval)
/* What takes the place of each: the conventions differ between versions. */
#define REPLACE(f, how)                                                                                      \
    static PyObject *f##_o(PyObject *module, PyObject *arg)                                                  \
    {                                                                                                        \
        return how(&builtins[f], module, &arg, 1, NULL);                                                     \
    }                                                                                                        \
    static PyObject *f##_fast(PyObject *module, PyObject *const *args, Py_ssize_t nargs)                     \
    {                                                                                                        \
        return how(&builtins[f], module, args, nargs, NULL);                                                 \
    }                                                                                                        \
    static PyObject *f##_keywords(PyObject *module, PyObject *const *args, Py_ssize_t nargs,                 \
                                  PyObject *kwnames)                                                         \
    {                                                                                                        \
        return how(&builtins[f], module, args, nargs, kwnames);                                              \
    }
REPLACE(compile, CALL_LARGE)
REPLACE(exec, CALL_EXEC)
REPLACE(eval, CALL_EVAL)
REPLACE(symtable, CALL_LARGE)
REPLACE(loads, CALL_LARGE)
REPLACE(dumps, CALL_LARGE)
#define REPLACEMENTS(f) {(void *)f##_o, (void *)f##_fast, (void *)f##_keywords}
static void *const replacements[NBUILTINS][3] = {REPLACEMENTS(compile), REPLACEMENTS(exec),
                                                 REPLACEMENTS(eval),    REPLACEMENTS(symtable),
                                                 REPLACEMENTS(loads),   REPLACEMENTS(dumps)};

/* A function that is called in yet another way is left as it is: it works where stacks are large. */
int
morestack_init(void)
{
    static const int conventions[] = {METH_O, METH_FASTCALL, METH_FASTCALL | METH_KEYWORDS};
    str_string = PyUnicode_InternFromString("<string>");
    str_exec = PyUnicode_InternFromString("exec");
    str_eval = PyUnicode_InternFromString("eval");
    if (!str_string || !str_exec || !str_eval)
        return -1;
    for (int i = 0; i < NBUILTINS; i++) {
        builtin *f = &builtins[i];
        PyMethodDef *def = builtin_def(f->module, f->name);
        for (int k = 0; def && k < 3; k++) {
            if (def_convention(def) == conventions[k] && (i == compile || builtins[compile].real)) {
                f->real = (void *)def->ml_meth;
                f->flags = def_convention(def);
                def->ml_meth = (PyCFunction)replacements[i][k];
                break;
            }
        }
    }
    return 0;
}

void
morestack_after_fork(g *gp)
{
    atomic_store(&nopened, gp && gp->opened);
    if (!nopened)
        eval_watch(false);
}
