/* forceperiod.c: has collections forced sooner than after two minutes, which are long for a test. Built for
 * the tests only.
 *
 * Lock: the GIL.
 */
#include "gc/mgc.h"

static PyObject *
set_force_period_(PyObject *mod, PyObject *args)
{
    (void)mod;
    double period, most;
    if (!PyArg_ParseTuple(args, "dd:_set_force_period", &period, &most))
        return NULL;
    gc_set_force_period((int64_t)(period * 1e9), (int64_t)(most * 1e9));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_set_force_period", set_force_period_, METH_VARARGS,
     "_set_force_period(seconds, most, /)\n--\n\n"
     "Sets after which time a full collection is forced if it takes `most` seconds at most."},
    {NULL, NULL, 0, NULL},
};

int
gort_forceperiod_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
