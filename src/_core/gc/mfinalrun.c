/* mfinalrun.c: the queue of finalizers that are to run, and the goroutine that runs them.
 *
 * The goroutine is made for the first job, and parks when there is none. A finalizer may do all that a
 * goroutine may: park, lock itself to a thread, raise, end the goroutine (Goexit), fork.
 *
 * Invariants
 *   1. A job in the queue owns its object and its finalizer. The object's entry is gone, or in `queued` until
 *      the collector's question, unless set_finalizer gave the object another one meanwhile.
 *   2. fing.parked: it is in gopark for want of a job, and queuefinalizer makes it ready. fing.made: it
 *      exists.
 *
 * Who may call: the GIL is the lock. queuefinalizer() and wakefing() run no Python code, since tp_finalize
 * calls them; fin_drop_dead() runs destructors, so that only the goroutine, set_finalizer and the program's
 * end call it.
 *
 * Rejected: a goroutine for each finalizer. They would run at the same time, and one that waits for another
 * would see it begin before it.
 *
 * Differs from Go: the goroutine is a system one, counted nowhere, and shown only while it runs code of the
 * program.
 */
#include "gc/mfinal.h"

#include "cpython/compat.h"
#include "gc/finalizer.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/time.h"

#include <stdlib.h>

static struct {
    g *g; /* NULL: has not begun yet */
    bool made, parked;
    bool running; /* it is in code of the program */
} fing;

#define PATIENCE 20 /* milliseconds to wait for the end of a collection */

static job **queue_end = &fin.queue;
static PyObject *empty_context;

/* -- the queue ------------------------------------------------------------------------------------ */

bool
is_idle_system(const g *gp)
{
    return gp->flags & G_SYSTEM && !(gp == fing.g && fing.running);
}

static bool
collection_runs(uint64_t collection)
{
    return collector_busy() && gc_collections() + 1 == collection;
}

/* Sees to it that the finalizer goroutine looks at the queue. No Python code runs. */
void
wakefing(void)
{
    if (fing.parked) {
        fing.parked = false; /* from here on it may park in a finalizer, where it must not be readied */
        goready(fing.g);
    }
    else if (!fing.made) {
        PyObject *type, *value, *tb;
        PyErr_Fetch(&type, &value, &tb);
        fing.made = newproc_system(fin.loop, empty_context) == 0; /* no memory: the next one tries again */
        PyErr_Restore(type, value, tb);
    }
}

/* The object is kept, and its finalizer will run. The entry is gone, or waits for the collector's
 * question. */
void
queuefinalizer(entry *e)
{
    job *j = e->job;
    e->job = NULL;
    /* First: a reference of the entry becomes the job's, and without one the object would not outlive the
     * question. */
    j->obj = fin_owned(e) ? e->obj : Py_NewRef(e->obj);
    j->next = NULL;
    *queue_end = j;
    queue_end = &j->next;
    if (e->due && collection_runs(e->due)) {
        e->finalized = j->finalized; /* the goroutine may free the job before the question comes */
        fin_move(&fin.queued, e);
    }
    else
        fin_drop(e); /* after the job was taken out, or the finalizer would be let go of */
    wakefing();
}

static job *
dequeue(void)
{
    job *j = fin.queue;
    if (j && !(fin.queue = j->next))
        queue_end = &fin.queue;
    return j;
}

/* -- the finalizer goroutine ------------------------------------------------------------------------ */

/* False: a finalizer forked, and this is the child, where the goroutine is the main one; an exception may be
 * set. */
static bool
run_one(g *gp, job *j)
{
    PyObject *op = j->obj, *fn = j->fn;
    /* Before the finalizer, which may drop the object for good: a __del__ that has had its turn must not have
     * another. */
    fin_set_mark(op, j->finalized);
    free(j); /* before it, too: it may never return */
    fing.running = true;
    PyObject *r = PyObject_CallOneArg(fn, op);
    gp->goexiting = false;
    while (gp->lockcount > gp->greenlets)
        unlock_thread(gp);
    bool child = gp->flags & G_MAIN;
    if (r)
        Py_DECREF(r);
    else if (PyErr_ExceptionMatches(Goexit))
        PyErr_Clear();
    else if (!child)
        PyErr_WriteUnraisable(fn);
    PyObject *type, *value, *tb; /* there is one in the child of a fork: main's */
    PyErr_Fetch(&type, &value, &tb);
    Py_DECREF(fn); /* before the context goes: destructors may put something into it */
    Py_DECREF(op);
    ts_set_context(gp->ts, NULL); /* the next one begins with an empty one too */
    PyErr_Restore(type, value, tb);
    if (child)
        return false;
    fing.running = false; /* after the destructors, which are code of the program */
    return true;
}

static PyObject *
run_finalizers_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    if (!(gp->flags & G_SYSTEM))
        return PyErr_Format(Error, "this is not the finalizer goroutine");
    fing.g = gp;
    for (;;) {
        fin_drop_dead(); /* first: destructors may begin a collection, with a batch to wait for and settle */
        for (int i = 0; i < PATIENCE && fin.asked.first && collection_runs(fin.collection); i++) {
            if (gosleep(1000000) < 0)
                PyErr_Clear();
        }
        finalizers_settle();
        job *j = dequeue();
        if (!j && (fin.dead || fin.spared.first))
            continue; /* it must not park while it keeps what nobody else does */
        if (!j) {
            fing.parked = true; /* nothing between dequeue and the park lets anyone queue a job */
            gopark(gp, waitReasonFinalizerWait);
        }
        else if (!run_one(gp, j))
            break;
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The goroutine is gone, unless it is the one that forked, and so is the finalizer that it was in. */
void
finalizers_forked(void)
{
    fing.g = NULL;
    fing.made = fing.parked = fing.running = false;
}

void
finalizers_after_fork(void)
{
    finalizers_settle(); /* its collection may be lost */
    if ((fin.queue || fin.dead || fin.spared.first) && !fing.made)
        wakefing();
}

void
finalizers_stop(void)
{
    finalizers_settle(); /* first: there is no batch any more */
    fin_drop_dead();     /* and then none that is spared */
    while (fin.set.first)
        fin_drop(fin.set.first);
    while (fin.queued.first)
        fin_drop(fin.queued.first);
    fin_drop_dead();
    /* Last: what these objects lead to has no finalizer any more that could be queued. */
    for (job *j; (j = dequeue()) != NULL;) {
        PyObject *op = j->obj, *fn = j->fn;
        fin_set_mark(op, j->finalized);
        free(j);
        Py_DECREF(fn);
        Py_DECREF(op);
    }
}

static PyObject *
set_finalizer_loop_(PyObject *mod, PyObject *fn)
{
    (void)mod;
    Py_XSETREF(fin.loop, Py_NewRef(fn));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"run_finalizers", run_finalizers_, METH_NOARGS,
     "run_finalizers()\n--\n\nRuns the finalizers, in the finalizer goroutine."},
    {"set_finalizer_loop", set_finalizer_loop_, METH_O,
     "set_finalizer_loop(fn, /)\n--\n\n"
     "Sets the finalizer goroutine's function, which calls run_finalizers()."},
    {NULL, NULL, 0, NULL},
};

int
gort_mfinalrun_init(PyObject *module)
{
    empty_context = PyContext_New();
    return empty_context ? PyModule_AddFunctions(module, functions) : -1;
}
