/* threading.c: the private names of the module threading.
 *
 * Invariant: thread_name_of and threading_hooks call nothing of the program's: not the import system (which
 * may wait for an import), no __getattribute__, no property. No function leaves an exception set.
 *
 * With the GIL. Dumps ask for names, where nothing may park.
 *
 * Rejected: importing threading, or asking threading.enumerate(). The module takes the thread that loads it
 * for the main one, and its functions take its lock.
 *
 * Versions. All alike: threading._active, _trace_hook and _profile_hook, and Thread._name; _start_new_thread
 * up to 3.12, then _start_joinable_thread. 3.11, 3.12: in the child of a fork threading makes a Thread object
 * for the thread that forked, if it has none, under a lock that it makes anew only after that; a lost thread
 * may hold it. From 3.12 on a dict can be watched; before, it has a version. From 3.13 on a Thread has a
 * handle.
 */
#include "cpython/internal.h"

#if V313
#define THREAD_START "_start_joinable_thread"
#else
#define THREAD_START "_start_new_thread"
#endif

/* Made at the import: in the child of a fork nothing of Python's may be allocated. */
static struct {
    PyObject *threading, *active, *name, *lock, *reinit, *trace_hook, *profile_hook, *start;
} names;
static PyObject *variables; /* the module's, for threading_hooks */

/* dict[key], borrowed; `dict` may be anything. */
static PyObject *
plain_item(PyObject *dict, PyObject *key)
{
    return dict && PyDict_CheckExact(dict) ? PyDict_GetItemWithError(dict, key) : NULL;
}

/* (PyImport_GetModule waits for the thread that imports it, which a fork may have lost.) */
PyObject *
threading_module(void)
{
    PyObject *module = plain_item(PyImport_GetModuleDict(), names.threading);
    PyErr_Clear();
    return module;
}

/* A variable of the module, borrowed. */
static PyObject *
variable(PyObject *name)
{
    PyObject *module = plain_item(PyImport_GetModuleDict(), names.threading);
    return module && PyModule_Check(module) ? plain_item(PyModule_GetDict(module), name) : NULL;
}

PyObject *
thread_name_of(unsigned long ident)
{
    PyObject *active = variable(names.active);
    PyObject *key = active && PyDict_CheckExact(active) ? PyLong_FromUnsignedLong(ident) : NULL;
    PyObject *thread = key ? PyDict_GetItemWithError(active, key) : NULL;
    PyObject *name = NULL;
    /* where the class has a _name, which may be a property, the generic lookup would ask that */
    if (thread && !_PyType_Lookup(Py_TYPE(thread), names.name))
        name = PyObject_GenericGetAttr(thread, names.name);
    if (name && !PyUnicode_CheckExact(name))
        Py_CLEAR(name);
    Py_XDECREF(key);
    PyErr_Clear();
    return name;
}

#if V312
static bool stale = true, watched;

static int
note_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    (void)event, (void)dict, (void)key, (void)value;
    stale = true;
    return 0;
}

static void
watch(void)
{
    static int watcher = -1;
    if (watcher < 0)
        watcher = PyDict_AddWatcher(note_change);
    watched = watcher >= 0 && PyDict_Watch(watcher, variables) == 0;
    stale = true;
    PyErr_Clear();
}

/* Have the variables changed since this was asked last? They may have. */
static bool
changed(void)
{
    bool was = stale;
    stale = !watched;
    return was;
}
#else
static void
watch(void)
{
}

static bool
changed(void)
{
    static uint64_t seen;
    uint64_t was = seen;
    seen = ((PyDictObject *)variables)->ma_version_tag;
    return seen != was;
}
#endif

bool
threading_found(void)
{
    PyObject *module = threading_module();
    if (module) {
        Py_XSETREF(variables, Py_NewRef(PyModule_GetDict(module)));
        watch();
    }
    return module != NULL;
}

static PyObject *
hook(PyObject *name)
{
    PyObject *f = variables ? PyDict_GetItemWithError(variables, name) : NULL;
    return f == Py_None ? NULL : f;
}

void
threading_hooks(PyObject **trace, PyObject **profile)
{
    *trace = hook(names.trace_hook);
    *profile = hook(names.profile_hook);
}

bool
threading_start_replaced(void)
{
    PyObject *start = hook(names.start);
    return start && !PyCFunction_Check(start);
}

bool
threading_hooked(void)
{
    static bool answer;
    if (unlikely(!variables))
        return false;
    if (unlikely(changed()))
        answer = hook(names.trace_hook) || hook(names.profile_hook) || threading_start_replaced();
    return answer;
}

void
threading_forget(unsigned long ident)
{
    PyObject *active = variable(names.active);
    PyObject *key = active && PyDict_CheckExact(active) ? PyLong_FromUnsignedLong(ident) : NULL;
    if (key)
        PyDict_DelItem(active, key);
    Py_XDECREF(key);
    PyErr_Clear();
}

#if V314
#define THREAD_HANDLE "_os_thread_handle"
#else
#define THREAD_HANDLE "_handle"
#endif

void
threading_main_forked(unsigned long ident)
{
    PyObject *threading = threading_module(), *thread = NULL, *handle = NULL, *done = NULL;
    PyObject *make = threading ? PyObject_GetAttrString(threading, "_make_thread_handle") : NULL;
    if (make)
        thread = PyObject_GetAttrString(threading, "_main_thread");
    if (thread)
        handle = PyObject_GetAttrString(thread, THREAD_HANDLE);
    if (handle)
        done = PyObject_CallMethod(handle, "is_done", NULL);
    if (done == Py_True) {
        Py_SETREF(handle, PyObject_CallFunction(make, "k", ident));
        if (handle)
            PyObject_SetAttrString(thread, THREAD_HANDLE, handle);
    }
    PyErr_Clear(); /* 3.11 and 3.12 have none */
    Py_XDECREF(done);
    Py_XDECREF(handle);
    Py_XDECREF(thread);
    Py_XDECREF(make);
}

void
threading_lock_after_fork(void)
{
    if (!ts_current())
        return; /* C code has forked without the GIL: threading is not told */
    PyObject *lock = variable(names.lock);
    if (lock && strcmp(Py_TYPE(lock)->tp_name, "_thread.lock") == 0)
        Py_XDECREF(PyObject_CallMethodNoArgs(lock, names.reinit)); /* a function in C */
    PyErr_Clear();
}

void
threading_forget_lost(bool (*lost)(unsigned long ident))
{
    if (!ts_current())
        return; /* as above */
    PyObject *active = variable(names.active), *key, *thread;
    if (!active || !PyDict_CheckExact(active))
        return;
    for (Py_ssize_t at = 0; PyDict_Next(active, &at, &key, &thread);) { /* deleting moves nothing in a dict */
        if (PyLong_CheckExact(key) && lost(PyLong_AsUnsignedLongMask(key)))
            PyDict_DelItem(active, key);
    }
    PyErr_Clear();
}

int
threading_init(void)
{
    names.threading = PyUnicode_InternFromString("threading");
    names.active = PyUnicode_InternFromString("_active");
    names.name = PyUnicode_InternFromString("_name");
    names.lock = PyUnicode_InternFromString("_shutdown_locks_lock");
    names.reinit = PyUnicode_InternFromString("_at_fork_reinit");
    names.trace_hook = PyUnicode_InternFromString("_trace_hook");
    names.profile_hook = PyUnicode_InternFromString("_profile_hook");
    names.start = PyUnicode_InternFromString(THREAD_START);
    bool all = names.threading && names.active && names.name && names.lock && names.reinit &&
               names.trace_hook && names.profile_hook && names.start;
    return all ? 0 : -1;
}
