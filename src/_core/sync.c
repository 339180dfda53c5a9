/* sync.c: Sema, Mutex, RWMutex and WaitGroup; the rest of package sync is Python over Sema.
 *
 * Invariants
 *   1. Whoever is woken by a hand-over owns what it waited for: semaphore units, a starving mutex, read locks.
 *   2. A woken waiter of a mutex in normal mode owns nothing: it competes, and queues in front if it loses.
 *
 * Mutex is Go's: in normal mode an unlock wakes the first waiter but anybody may take the lock before it runs, which is
 * quick; a waiter that has not got it for 1 ms puts the mutex into starvation mode, where unlock hands it over to the
 * first waiter, until a waiter has waited less than 1 ms or is the last one.
 *
 * Differs from Go: under the GIL there are no atomics and no spinning. Misuse that is fatal in Go (unlock of an unlocked
 * mutex) raises runtime.Error with Go's text.
 */
#include "core.h"

#include "compat.h"
#include "os.h"

#include <structmember.h>

#define STARVATION_NS 1000000

/* Waits in q. 0: a waker took it; -1: interrupted (out of the queue, nothing owned). */
static int
wait_in(g *gp, waitq *q, bool front, enum waitreason why)
{
    wait w = {.g = gp};
    sudog s = {.w = &w};
    waitq_push(q, &s, front);
    gopark(gp, why);
    if (likely(w.fired != NULL))
        return 0;
    waitq_remove(q, &s);
    return -1;
}

/* -- Sema --------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int64_t count;
    waitq waiters;
} Sema;

static PyObject *
Sema_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    long long count = 0;
    static char *names[] = {"", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|L:Sema", names, &count))
        return NULL;
    if (count < 0)
        return PyErr_Format(PyExc_ValueError, "a semaphore's count is 0 or more, not %lld", count);
    Sema *s = (Sema *)type->tp_alloc(type, 0);
    if (s)
        s->count = count;
    return (PyObject *)s;
}

static int
reason_of(PyObject *o, enum waitreason *why)
{
    for (int i = 1; i < waitReasonCount; i++) {
        if (PyUnicode_Check(o) && PyUnicode_CompareWithASCIIString(o, waitreason_text[i]) == 0) {
            *why = (enum waitreason)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "%R is no wait reason", o);
    return -1;
}

static PyObject *
Sema_acquire(Sema *s, PyObject *const *args, Py_ssize_t nargs)
{
    enum waitreason why = waitReasonSemacquire;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "acquire() takes a wait reason and nothing else");
    if (nargs == 1 && reason_of(args[0], &why) < 0)
        return NULL;
    g *gp = getg();
    if (!gp)
        return NULL;
    for (bool front = false;; front = true) {
        if (s->count > 0) {
            s->count--;
            Py_RETURN_NONE;
        }
        if (wait_in(gp, &s->waiters, front, why) == 0)
            Py_RETURN_NONE; /* the unit was handed over */
        if (check_signals() < 0)
            return NULL;
    }
}

static PyObject *
Sema_try_acquire(Sema *s, PyObject *unused)
{
    (void)unused;
    if (s->count == 0)
        Py_RETURN_FALSE;
    s->count--;
    Py_RETURN_TRUE;
}

static PyObject *
Sema_release(Sema *s, PyObject *unused)
{
    (void)unused;
    sudog *sg = waitq_pop(&s->waiters);
    if (sg)
        goready(sg->w->g);
    else
        s->count++;
    Py_RETURN_NONE;
}

static PyMethodDef Sema_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))Sema_acquire, METH_FASTCALL,
     "acquire($self, reason='semacquire', /)\n--\n\nTakes one unit; waits for it first come, first served."},
    {"try_acquire", (PyCFunction)Sema_try_acquire, METH_NOARGS,
     "try_acquire($self, /)\n--\n\nTakes one unit if there is one; never waits."},
    {"release", (PyCFunction)Sema_release, METH_NOARGS,
     "release($self, /)\n--\n\nGives one unit back; wakes a waiter."},
    {NULL, NULL, 0, NULL},
};

static void
plain_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Sema_slots[] = {
    {Py_tp_doc, "Sema(count=0, /)\n--\n\nA counting semaphore."},
    {Py_tp_new, Sema_new},
    {Py_tp_dealloc, plain_dealloc},
    {Py_tp_methods, Sema_methods},
    {0, NULL},
};

static PyType_Spec Sema_spec = {"gort._core.Sema", sizeof(Sema), 0, Py_TPFLAGS_DEFAULT, Sema_slots};

/* -- Mutex -------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    bool locked, starving;
    bool woken; /* a waiter was woken and has not run yet: no need to wake another */
    int64_t nwait;
    waitq waiters;
    PyObject *weakrefs;
} Mutex;

static PyObject *
no_args_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    if (PyTuple_GET_SIZE(args) || (kw && PyDict_GET_SIZE(kw)))
        return PyErr_Format(PyExc_TypeError, "%s() takes no arguments", type->tp_name);
    return type->tp_alloc(type, 0);
}

static void
weak_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_ClearWeakRefs(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
mutex_lock(Mutex *mu)
{
    if (likely(!mu->locked && !mu->starving)) {
        mu->locked = true;
        return 0;
    }
    g *gp = getg();
    if (!gp)
        return -1;
    int64_t since = 0;
    bool front = false;
    for (;;) {
        if (!mu->locked && !mu->starving) {
            mu->locked = true;
            return 0;
        }
        if (!since)
            since = nanotime();
        mu->nwait++;
        int r = wait_in(gp, &mu->waiters, front, waitReasonMutexLock);
        mu->nwait--;
        if (unlikely(r < 0)) {
            if (check_signals() < 0)
                return -1;
            front = true;
            continue;
        }
        bool late = nanotime() - since > STARVATION_NS;
        if (mu->starving) {
            /* handed over: mu->locked stayed true */
            if (!late || mu->nwait == 0)
                mu->starving = false;
            return 0;
        }
        mu->woken = false;
        if (mu->locked && late)
            mu->starving = true;
        front = true;
    }
}

static int
mutex_unlock(Mutex *mu)
{
    if (unlikely(!mu->locked)) {
        PyErr_SetString(Error, "sync: unlock of unlocked mutex");
        return -1;
    }
    if (mu->starving) {
        sudog *s = waitq_pop(&mu->waiters);
        if (s) {
            goready(s->w->g); /* it owns the lock from now on */
            return 0;
        }
        mu->starving = false;
    }
    mu->locked = false;
    if (mu->waiters.head && !mu->woken) {
        sudog *s = waitq_pop(&mu->waiters);
        if (s) {
            mu->woken = true;
            goready(s->w->g);
        }
    }
    return 0;
}

static PyObject *
Mutex_lock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_lock(mu) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Mutex_try_lock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (mu->locked || mu->starving)
        Py_RETURN_FALSE;
    mu->locked = true;
    Py_RETURN_TRUE;
}

static PyObject *
Mutex_unlock(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_unlock(mu) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
Mutex_enter(Mutex *mu, PyObject *unused)
{
    (void)unused;
    if (unlikely(mutex_lock(mu) < 0))
        return NULL;
    return Py_NewRef(mu);
}

static PyObject *
Mutex_exit(Mutex *mu, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    (void)nargs;
    return Mutex_unlock(mu, NULL);
}

static PyMethodDef Mutex_methods[] = {
    {"lock", (PyCFunction)Mutex_lock, METH_NOARGS,
     "lock($self, /)\n--\n\nLocks; waits until it can: Go's Mutex.Lock."},
    {"try_lock", (PyCFunction)Mutex_try_lock, METH_NOARGS,
     "try_lock($self, /)\n--\n\nLocks if nobody holds it, and says whether it did: Go's Mutex.TryLock."},
    {"unlock", (PyCFunction)Mutex_unlock, METH_NOARGS,
     "unlock($self, /)\n--\n\nUnlocks: Go's Mutex.Unlock. Any goroutine may. runtime.Error if it is not locked."},
    {"__enter__", (PyCFunction)Mutex_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Mutex_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Mutex_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Mutex, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Mutex_slots[] = {
    {Py_tp_doc,
     "Mutex()\n--\n\nA mutual exclusion lock: Go's sync.Mutex. Belongs to no goroutine; not reentrant."},
    {Py_tp_new, no_args_new},
    {Py_tp_dealloc, weak_dealloc},
    {Py_tp_methods, Mutex_methods},
    {Py_tp_members, Mutex_members},
    {0, NULL},
};

static PyType_Spec Mutex_spec = {"gort.sync.Mutex", sizeof(Mutex), 0, Py_TPFLAGS_DEFAULT, Mutex_slots};

/* -- RWMutex ------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int64_t readers; /* that hold it */
    bool writing;    /* a writer holds it */
    bool draining;   /* a writer waits for the readers that came before it */
    waitq writers;   /* the first one drains, the others wait for their turn */
    waitq drainer;
    waitq waiting; /* readers that came after a writer */
    PyObject *weakrefs;
} RWMutex;

static int
rw_rlock(RWMutex *rw)
{
    if (likely(!rw->writing && !rw->draining)) {
        rw->readers++;
        return 0;
    }
    g *gp = getg();
    if (!gp)
        return -1;
    for (bool front = false;; front = true) {
        if (!rw->writing && !rw->draining) {
            rw->readers++;
            return 0;
        }
        if (wait_in(gp, &rw->waiting, front, waitReasonRWMutexRLock) == 0)
            return 0; /* the waker counted us */
        if (check_signals() < 0)
            return -1;
    }
}

/* No writer holds or drains any more: first all readers that wait, then, behind them, the next writer. */
static void
rw_next(RWMutex *rw, bool readers_first)
{
    if (readers_first) {
        sudog *s;
        while ((s = waitq_pop(&rw->waiting)) != NULL) {
            rw->readers++;
            goready(s->w->g);
        }
    }
    sudog *s = waitq_pop(&rw->writers);
    if (s) {
        rw->draining = true; /* in its name: it goes on as the one that drains */
        goready(s->w->g);
    }
    else if (!readers_first)
        rw_next(rw, true);
}

static int
rw_runlock(RWMutex *rw)
{
    if (unlikely(rw->readers == 0)) {
        PyErr_SetString(Error, "sync: RUnlock of unlocked RWMutex");
        return -1;
    }
    if (--rw->readers == 0 && rw->draining) {
        sudog *s = waitq_pop(&rw->drainer);
        if (s) {
            rw->draining = false;
            rw->writing = true; /* handed over */
            goready(s->w->g);
        }
    }
    return 0;
}

static int
rw_lock(RWMutex *rw)
{
    if (likely(!rw->writing && !rw->draining && rw->readers == 0)) {
        rw->writing = true;
        return 0;
    }
    g *gp = getg();
    if (!gp)
        return -1;
    bool mine = false; /* draining in our name */
    for (bool front = false; !mine; front = true) {
        if (!rw->writing && !rw->draining) {
            rw->draining = true;
            break;
        }
        mine = wait_in(gp, &rw->writers, front, waitReasonRWMutexLock) == 0;
        if (!mine && check_signals() < 0)
            return -1;
    }
    for (;;) {
        if (rw->readers == 0) {
            rw->draining = false;
            rw->writing = true;
            return 0;
        }
        if (wait_in(gp, &rw->drainer, false, waitReasonRWMutexLock) == 0)
            return 0;
        if (check_signals() < 0) {
            rw->draining = false;
            rw_next(rw, true);
            return -1;
        }
    }
}

static int
rw_unlock(RWMutex *rw)
{
    if (unlikely(!rw->writing)) {
        PyErr_SetString(Error, "sync: Unlock of unlocked RWMutex");
        return -1;
    }
    rw->writing = false;
    rw_next(rw, true);
    return 0;
}

#define METHOD(name, call)                                                                                   \
    static PyObject *name(RWMutex *rw, PyObject *unused)                                                     \
    {                                                                                                        \
        (void)unused;                                                                                        \
        if (unlikely(call(rw) < 0))                                                                          \
            return NULL;                                                                                     \
        Py_RETURN_NONE;                                                                                      \
    }
METHOD(RWMutex_lock, rw_lock)
METHOD(RWMutex_unlock, rw_unlock)
METHOD(RWMutex_rlock, rw_rlock)
METHOD(RWMutex_runlock, rw_runlock)

static PyObject *
RWMutex_try_lock(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    if (rw->writing || rw->draining || rw->readers)
        Py_RETURN_FALSE;
    rw->writing = true;
    Py_RETURN_TRUE;
}

static PyObject *
RWMutex_try_rlock(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    if (rw->writing || rw->draining)
        Py_RETURN_FALSE;
    rw->readers++;
    Py_RETURN_TRUE;
}

static PyObject *
RWMutex_enter(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    if (rw_lock(rw) < 0)
        return NULL;
    return Py_NewRef(rw);
}

static PyObject *
RWMutex_exit(RWMutex *rw, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    (void)nargs;
    return RWMutex_unlock(rw, NULL);
}

static PyMethodDef RWMutex_methods[] = {
    {"lock", (PyCFunction)RWMutex_lock, METH_NOARGS,
     "lock($self, /)\n--\n\nLocks for writing; waits for the readers that hold it. Later readers wait: Go's RWMutex.Lock."},
    {"try_lock", (PyCFunction)RWMutex_try_lock, METH_NOARGS,
     "try_lock($self, /)\n--\n\nLocks for writing if nobody holds it, and says whether it did: Go's RWMutex.TryLock."},
    {"unlock", (PyCFunction)RWMutex_unlock, METH_NOARGS,
     "unlock($self, /)\n--\n\nUndoes lock(): Go's RWMutex.Unlock. runtime.Error if it is not locked for writing."},
    {"rlock", (PyCFunction)RWMutex_rlock, METH_NOARGS,
     "rlock($self, /)\n--\n\nLocks for reading; waits while a writer holds it or waits for it: Go's RWMutex.RLock."},
    {"try_rlock", (PyCFunction)RWMutex_try_rlock, METH_NOARGS,
     "try_rlock($self, /)\n--\n\nLocks for reading if it need not wait, and says whether it did: Go's RWMutex.TryRLock."},
    {"runlock", (PyCFunction)RWMutex_runlock, METH_NOARGS,
     "runlock($self, /)\n--\n\nUndoes one rlock(): Go's RWMutex.RUnlock. runtime.Error if nobody reads."},
    {"__enter__", (PyCFunction)RWMutex_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))RWMutex_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef RWMutex_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RWMutex, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot RWMutex_slots[] = {
    {Py_tp_doc,
     "RWMutex()\n--\n\nA lock for many readers or one writer: Go's sync.RWMutex. `with` locks for writing."},
    {Py_tp_new, no_args_new},
    {Py_tp_dealloc, weak_dealloc},
    {Py_tp_methods, RWMutex_methods},
    {Py_tp_members, RWMutex_members},
    {0, NULL},
};

static PyType_Spec RWMutex_spec = {"gort._core.RWMutex", sizeof(RWMutex), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, RWMutex_slots};

/* -- WaitGroup ----------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int64_t n;
    waitq waiters;
    PyObject *weakrefs;
} WaitGroup;

static int
wg_add(WaitGroup *wg, int64_t delta)
{
    int64_t n;
    if (__builtin_add_overflow(wg->n, delta, &n) || n < 0) {
        PyErr_SetString(Error,
                        n < 0 ? "sync: negative WaitGroup counter" : "sync: WaitGroup counter overflow");
        return -1;
    }
    wg->n = n;
    if (n == 0) {
        sudog *s;
        while ((s = waitq_pop(&wg->waiters)) != NULL)
            goready(s->w->g);
    }
    return 0;
}

static PyObject *
WaitGroup_add(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs)
{
    long long delta = 1;
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "add() takes one int, got %zd arguments", nargs);
    if (nargs == 1) {
        delta = PyLong_AsLongLong(args[0]);
        if (delta == -1 && PyErr_Occurred())
            return NULL;
    }
    if (wg_add(wg, delta) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
WaitGroup_done(WaitGroup *wg, PyObject *unused)
{
    (void)unused;
    if (unlikely(wg_add(wg, -1) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
WaitGroup_wait(WaitGroup *wg, PyObject *unused)
{
    (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    for (bool front = false; wg->n > 0; front = true) {
        if (wait_in(gp, &wg->waiters, front, waitReasonWaitGroupWait) == 0)
            break;
        if (check_signals() < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* What go() starts: args[0] is the function. */
static PyObject *
WaitGroup_run(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), kwnames);
    if (r) {
        Py_DECREF(r);
        return WaitGroup_done(wg, NULL);
    }
    if (PyErr_ExceptionMatches(Goexit)) {
        PyObject *t, *v, *tb;
        PyErr_Fetch(&t, &v, &tb);
        if (wg_add(wg, -1) < 0)
            PyErr_WriteUnraisable((PyObject *)wg);
        PyErr_Restore(t, v, tb);
    }
    return NULL; /* a panic: the program ends */
}

static PyMethodDef run_def = {"WaitGroup.go", (PyCFunction)(void (*)(void))WaitGroup_run,
                              METH_FASTCALL | METH_KEYWORDS, NULL};

static PyObject *
WaitGroup_go(WaitGroup *wg, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1 || !PyCallable_Check(args[0]))
        return PyErr_Format(PyExc_TypeError, "WaitGroup.go() takes a callable and its arguments, not %R",
                            nargs ? args[0] : Py_None);
    PyObject *run = PyCFunction_New(&run_def, (PyObject *)wg);
    if (!run || wg_add(wg, 1) < 0) {
        Py_XDECREF(run);
        return NULL;
    }
    int r = newproc(run, args, nargs, kwnames, NULL);
    Py_DECREF(run);
    if (r < 0) {
        wg->n--; /* nothing was started */
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef WaitGroup_methods[] = {
    {"add", (PyCFunction)(void (*)(void))WaitGroup_add, METH_FASTCALL,
     "add($self, delta=1, /)\n--\n\nAdds delta, which may be negative, to the counter; at 0 the waiters go on: Go's "
     "WaitGroup.Add. runtime.Error if it gets negative."},
    {"done", (PyCFunction)WaitGroup_done, METH_NOARGS,
     "done($self, /)\n--\n\nTakes one off the counter: Go's WaitGroup.Done."},
    {"wait", (PyCFunction)WaitGroup_wait, METH_NOARGS,
     "wait($self, /)\n--\n\nWaits until the counter is 0: Go's WaitGroup.Wait."},
    {"go", (PyCFunction)(void (*)(void))WaitGroup_go, METH_FASTCALL | METH_KEYWORDS,
     "go($self, fn, /, *args, **kwargs)\n--\n\nadd(1), then a goroutine that calls fn(*args, **kwargs) and is done: Go's "
     "WaitGroup.Go."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef WaitGroup_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(WaitGroup, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot WaitGroup_slots[] = {
    {Py_tp_doc, "WaitGroup()\n--\n\nWaits for a number of goroutines to finish: Go's sync.WaitGroup."},
    {Py_tp_new, no_args_new},
    {Py_tp_dealloc, weak_dealloc},
    {Py_tp_methods, WaitGroup_methods},
    {Py_tp_members, WaitGroup_members},
    {0, NULL},
};

static PyType_Spec WaitGroup_spec = {"gort.sync.WaitGroup", sizeof(WaitGroup), 0, Py_TPFLAGS_DEFAULT,
                                     WaitGroup_slots};

int
gort_sync_init(PyObject *module)
{
    PyType_Spec *specs[] = {&Sema_spec, &Mutex_spec, &RWMutex_spec, &WaitGroup_spec};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        PyObject *type = PyType_FromSpec(specs[i]);
        if (!type || PyModule_AddType(module, (PyTypeObject *)type) < 0)
            return -1;
        Py_DECREF(type);
    }
    PyObject *reasons = PyTuple_New(waitReasonCount - 1);
    for (int i = 1; reasons && i < waitReasonCount; i++) {
        PyObject *s = PyUnicode_FromString(waitreason_text[i]);
        if (!s)
            return -1;
        PyTuple_SET_ITEM(reasons, i - 1, s);
    }
    if (!reasons || PyModule_AddObjectRef(module, "WAIT_REASONS", reasons) < 0)
        return -1;
    Py_DECREF(reasons);
    return 0;
}
