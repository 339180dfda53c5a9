/* threadstats.c: what the scheduler counts of its threads. Built for the tests only.
 *
 * Lock: the GIL.
 */
#include "sched/sched.h"

static PyTypeObject *ThreadStats;

static PyStructSequence_Field stats_fields[] = {
    {"threads", NULL},  {"idle", NULL},       {"created", NULL},
    {"handoffs", NULL}, {"main_moves", NULL}, {NULL, NULL},
};
static PyStructSequence_Desc stats_desc = {"gort._core._ThreadStats", "Figures of the scheduler's threads.",
                                           stats_fields, 5};

static PyObject *
thread_stats_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    PyObject *t = PyStructSequence_New(ThreadStats);
    if (!t)
        return NULL;
    PyStructSequence_SET_ITEM(t, 0, PyLong_FromLong(sched.mcount));
    PyStructSequence_SET_ITEM(t, 1, PyLong_FromLong(sched.nmidle));
    PyStructSequence_SET_ITEM(t, 2, PyLong_FromLongLong(sched.mcreated + 1));
    PyStructSequence_SET_ITEM(t, 3, PyLong_FromLongLong(sched.handoffs));
    PyStructSequence_SET_ITEM(t, 4, PyLong_FromLongLong(sched.mainmoves));
    if (PyErr_Occurred())
        Py_CLEAR(t);
    return t;
}

static PyMethodDef functions[] = {
    {"_thread_stats", thread_stats_, METH_NOARGS,
     "_thread_stats()\n--\n\nFigures of the scheduler's threads."},
    {NULL, NULL, 0, NULL},
};

int
gort_threadstats_init(PyObject *module)
{
    ThreadStats = PyStructSequence_NewType(&stats_desc);
    if (!ThreadStats || PyModule_AddObjectRef(module, "_ThreadStats", (PyObject *)ThreadStats) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
