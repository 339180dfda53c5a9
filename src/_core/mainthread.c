/* mainthread.c: the main goroutine away from the main thread, as the threading module sees it.
 *
 * threading finds threads by their identifier: current_thread() and main_thread().ident shall be right in the main
 * goroutine also while it runs on another thread than m0's. From 3.13 on a Thread has a handle besides, which a fork
 * compares with the thread that it finds itself on: main gets one for the time that it is away.
 *
 * Called by the scheduler with the GIL when main is resumed on another M, and with NULL when it leaves it. On the way into
 * a park no Python code may run (core.h): then it only changes ints in dicts and puts the first handle back. What allocates
 * more happens after a resume.
 *
 * Differs from Go, whose main goroutine is on any thread.
 */
#include "core.h"

#include "compat.h"

static PyObject *threading_active, *threading_main, *home_handle, *make_handle;
m *main_away;

static void
threading_move(m *mp, m *from)
{
    PyObject *id = PyLong_FromUnsignedLong(mp->ident);
    PyObject *old = from ? PyLong_FromUnsignedLong(from->ident) : NULL;
    if (!id || (from && (!old || PyDict_DelItem(threading_active, old) < 0)))
        PyErr_Clear();
    if (!id || PyDict_SetItem(threading_active, id, threading_main) < 0 ||
        PyObject_SetAttrString(threading_main, "_ident", id) < 0)
        PyErr_Clear();
    if (home_handle) {
        PyObject *handle = from ? Py_NewRef(home_handle) : id ? PyObject_CallOneArg(make_handle, id) : NULL;
        if (!handle || PyObject_SetAttrString(threading_main, "_handle", handle) < 0)
            PyErr_Clear();
        Py_XDECREF(handle);
    }
    Py_XDECREF(old);
    Py_XDECREF(id);
}

/* False: nobody has loaded the module, or not all of it yet. */
static bool
find_threading(void)
{
    PyObject *t = threading_main ? NULL : threading_module();
    PyObject *names = t ? PyModule_GetDict(t) : NULL;
    PyObject *main = names ? PyDict_GetItemString(names, "_main_thread") : NULL;
    if (main) {
        threading_main = Py_NewRef(main);
        threading_active = Py_XNewRef(PyDict_GetItemString(names, "_active"));
        make_handle = Py_XNewRef(PyDict_GetItemString(names, "_make_thread_handle"));
        if (make_handle) {
            home_handle = PyObject_GetAttrString(main, "_handle");
            PyErr_Clear();
        }
    }
    return threading_active != NULL;
}

/* In the child of a fork another Thread may be the main one. */
void
main_forked(void)
{
    main_away = NULL;
    Py_CLEAR(threading_active);
    Py_CLEAR(threading_main);
    Py_CLEAR(make_handle);
    Py_CLEAR(home_handle);
}

void
main_moved(m *mp)
{
    if (mp)
        sched.mainmoves++;
    if (find_threading())
        threading_move(mp ? mp : m0, mp ? NULL : main_away);
    main_away = mp;
    ts_set_thread(maing->ts, mp ? mp->ident : m0->ident);
}
