/* mgcthreshold.c: how CPython's collector is asked for a collection: by the thresholds of its generations.
 *
 * What the pacer wants is asked by thresholds with which CPython's own test, at the next new container, comes
 * out as wanted. When that collection begins, the program's are put back. gc.get_threshold() and
 * gc.set_threshold() are the program's thresholds at all times: they are in place while CPython's own
 * functions run.
 *
 * Invariant: thresholds are ours (-1) while the pacer wants something, and `saved` holds the program's then;
 * and at no other time. Only the functions of this file make the pacer want something, or nothing.
 *
 * With the GIL. No Python code runs, except in CPython's two functions.
 *
 * Differs from Go, whose allocator begins cycles itself.
 */
#include "gc/mgcthreshold.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"

#include <string.h>

static gcpacer *pacer;
static int saved[3]; /* the program's thresholds, while the pacer wants something */

bool
threshold_automatic(void)
{
    int t[3];
    collector_thresholds(t);
    return collector_enabled() && (t[0] != 0 || pacer->percent < 0);
}

/* Those that make CPython begin what is wanted, at the next new container. */
static void
set_ours(void)
{
    bool full = pacer_wanted(pacer) >= WantFull;
    const int t[3] = {-1, saved[1], full ? -1 : saved[2]};
    collector_set_thresholds(t);
    if (full)
        collector_allow_full();
}

void
threshold_restore(void)
{
    collector_set_thresholds(saved);
}

void
threshold_young(int from, int to)
{
    int t[3];
    if (pacer_wanted(pacer) > Idle) {
        if (saved[0] == from)
            saved[0] = to;
        return;
    }
    collector_thresholds(t);
    if (t[0] != from || from == to)
        return;
    t[0] = to;
    collector_set_thresholds(t);
}

bool
threshold_ask(enum gcphase what)
{
    bool first = pacer_wanted(pacer) == Idle;
    if (!pacer_ask(pacer, what))
        return false;
    if (first)
        collector_thresholds(saved); /* for threshold_restore, when it begins */
    return true;
}

void
threshold_want(enum gcphase what)
{
    if (threshold_automatic() && threshold_ask(what))
        set_ours();
}

void
threshold_drop(void)
{
    if (pacer_wanted(pacer) > Idle)
        threshold_restore();
    pacer_unask(pacer);
}

/* Calls one of CPython's functions with the program's thresholds in place. It may collect, and so may code
 * that its arguments run: what the pacer wants may have changed after it. */
static PyObject *
with_programs(PyCFunction orig, PyObject *mod, PyObject *args, Py_ssize_t nset)
{
    int before[3], after[3];
    if (PyInterpreterState_Get() != main_interp)
        return orig(mod, args); /* another one has a collector of its own */
    if (pacer_wanted(pacer) > Idle)
        threshold_restore();
    collector_thresholds(before);
    PyObject *r = orig(mod, args);
    if (pacer_wanted(pacer) <= Idle)
        return r;
    collector_thresholds(after);
    if (after[0] != -1 || nset) { /* otherwise the pacer has begun to want something meanwhile */
        memcpy(saved, before, sizeof before);
        for (Py_ssize_t i = 0; r && i < nset && i < 3; i++)
            saved[i] = after[i];
    }
    if (saved[0] != 0 || pacer->percent < 0)
        set_ours();
    else
        threshold_drop();
    return r;
}

static PyCFunction o_set_threshold, o_get_threshold;

static PyObject *
set_threshold(PyObject *mod, PyObject *args)
{
    return with_programs(o_set_threshold, mod, args, PyTuple_GET_SIZE(args));
}

static PyObject *
get_threshold(PyObject *mod, PyObject *args)
{
    return with_programs(o_get_threshold, mod, args, 0);
}

static const redirection table[] = {
    {"gc", NULL, "set_threshold", METH_VARARGS, set_threshold, &o_set_threshold, false},
    {"gc", NULL, "get_threshold", METH_NOARGS, get_threshold, &o_get_threshold, false},
};

int
threshold_init(gcpacer *p)
{
    pacer = p;
    return redirect(table, sizeof table / sizeof *table,
                    "gc.get_threshold() may show -1, and what gc.set_threshold() sets may be lost");
}
