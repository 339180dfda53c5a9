/* rwmutex.c: RWMutex, Go's sync.RWMutex, and its RLocker.
 *
 * Invariants
 *   1. A writer first gets its turn (drains), which keeps later readers out, then waits for the readers that
 *      came before.
 *   2. A waiter that is woken owns what it waited for: a reader its read lock, the first writer the turn, the
 *      writer that drains the lock.
 *   3. In the child of a fork, what was handed over to a goroutine that is lost and has not run since is
 *      given back (the *_lost functions), and the turn of one that is lost is over (draining).
 *
 * With the GIL.
 *
 * Differs from Go: no atomics. Misuse that is fatal in Go raises runtime.Error with Go's text.
 */
#include "core.h"

#include "cpython/type.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sync/sync.h"

#include <structmember.h>

struct RWMutex {
    PyObject_HEAD
    int64_t readers; /* that hold it */
    bool writing;    /* a writer holds it */
    g *drains;       /* the writer that waits for the readers that came before it: see draining */
    waitq writers;   /* wait for their turn */
    waitq drainer;   /* the writer whose turn it is, unless it runs */
    waitq waiting;   /* readers that came after a writer */
    PyObject *weakrefs;
};

PyTypeObject *RWMutex_Type, *RLocker_Type;

/* Does a writer wait for the readers that came before it? Not one that is lost in a fork, wherever it was: it
 * may have been in no queue, running signal handlers. */
static inline bool
draining(RWMutex *rw)
{
    if (likely(!rw->drains))
        return false;
    if (unlikely(rw->drains->status == Glost))
        rw->drains = NULL;
    return rw->drains;
}

/* What readers wait for. The waker counts them. */
static bool
read_take(void *of, g *gp)
{
    (void)gp;
    RWMutex *rw = of;
    bool free = !rw->writing && !draining(rw);
    rw->readers += free;
    return free;
}

static void
read_lost(void *of, bool woken)
{
    ((RWMutex *)of)->readers -= woken;
}

static const waitable reading = {waitReasonRWMutexRLock, read_take, read_lost};

/* A writer waits for two things. First for its turn, which is `drains`: if a fork loses the writer,
 * `draining` sees it. */
static bool
turn_take(RWMutex *rw, g *gp)
{
    bool free = !rw->writing && !draining(rw);
    if (free)
        rw->drains = gp;
    return free;
}

/* And then for the last reader, which finds nobody in `drainer` while the writer's signal handlers run. */
static bool
write_take(RWMutex *rw)
{
    if (rw->readers > 0)
        return false;
    rw->drains = NULL;
    return rw->writing = true;
}

static void
write_lost(void *of, bool woken)
{
    if (woken)
        ((RWMutex *)of)->writing = false; /* in its name */
}

static void rw_next(RWMutex *rw);

/* gp's turn to write, if it has it, is over. */
static void
yield_turn(RWMutex *rw, const g *gp)
{
    if (likely(rw->drains != gp))
        return;
    rw->drains = NULL;
    rw_next(rw);
}

/* On behalf of gp; `kept` as in wait_until. */
int
rw_rwait(RWMutex *rw, g *gp, PyObject **kept)
{
    yield_turn(rw, gp);
    return wait_for(gp, &rw->waiting, &reading, rw, kept);
}

static int
rw_rlock(RWMutex *rw)
{
    if (likely(!rw->writing && !draining(rw))) {
        rw->readers++;
        return 0;
    }
    g *gp = getg();
    return gp ? rw_rwait(rw, gp, NULL) : -1;
}

/* No writer holds or drains any more: first all readers that wait, then, behind them, the next writer. */
static void
rw_next(RWMutex *rw)
{
    sudog *s;
    while ((s = waitq_pop(&rw->waiting)) != NULL) {
        rw->readers++;
        goready(s->w->g);
    }
    if ((s = waitq_pop(&rw->writers)) != NULL) {
        rw->drains = s->w->g; /* here, before it runs: readers that come first must wait for it */
        goready(s->w->g);
    }
}

int
rw_runlock(RWMutex *rw)
{
    if (unlikely(rw->readers == 0)) {
        PyErr_SetString(Error, "sync: RUnlock of unlocked RWMutex");
        return -1;
    }
    if (--rw->readers == 0 && draining(rw)) {
        sudog *s = waitq_pop(&rw->drainer);
        if (s) {
            rw->drains = NULL;
            rw->writing = true; /* handed over */
            goready(s->w->g);
        }
    }
    return 0;
}

/* It keeps its turn while its signal handlers run, or signals that come quickly would let readers in for
 * ever. If a handler itself waits for the lock, that has ended the turn (yield_turn), and it queues again. */
static enum turn
write_turn(void *of, g *gp, bool front)
{
    RWMutex *rw = of;
    if (rw->drains != gp && !turn_take(rw, gp) &&
        wait_in(gp, &rw->writers, front, waitReasonRWMutexLock, rw, NULL) < 0)
        return INTERRUPTED;
    if (write_take(rw) || wait_in(gp, &rw->drainer, false, waitReasonRWMutexLock, rw, write_lost) == 0)
        return HAD;
    return INTERRUPTED;
}

/* On behalf of gp; `kept` as in wait_until. */
int
rw_wait(RWMutex *rw, g *gp, PyObject **kept)
{
    yield_turn(rw, gp);
    int r = wait_until(gp, rw, write_turn, false, kept);
    if (unlikely(r < 0))
        yield_turn(rw, gp); /* nobody else would wake those that it kept waiting */
    return r;
}

static int
rw_lock(RWMutex *rw)
{
    if (likely(!rw->writing && !draining(rw) && rw->readers == 0)) {
        rw->writing = true;
        return 0;
    }
    g *gp = getg();
    return gp ? rw_wait(rw, gp, NULL) : -1;
}

int
rw_unlock(RWMutex *rw)
{
    if (unlikely(!rw->writing)) {
        PyErr_SetString(Error, "sync: Unlock of unlocked RWMutex");
        return -1;
    }
    rw->writing = false;
    rw_next(rw);
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

static bool
is_method(PyObject *method, PyObject *l, PyCFunction f)
{
    return PyCFunction_Check(method) && PyCFunction_GET_SELF(method) == l &&
           PyCFunction_GET_FUNCTION(method) == f;
}

bool
rw_is_lock(PyObject *method, PyObject *l)
{
    return is_method(method, l, (PyCFunction)RWMutex_lock);
}

bool
rw_is_unlock(PyObject *method, PyObject *l)
{
    return is_method(method, l, (PyCFunction)RWMutex_unlock);
}

static PyObject *
RWMutex_try_lock(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    if (rw->writing || draining(rw) || rw->readers)
        Py_RETURN_FALSE;
    rw->writing = true;
    Py_RETURN_TRUE;
}

static PyObject *
RWMutex_try_rlock(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    if (rw->writing || draining(rw))
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

/* -- RLocker ------------------------------------------------------------------------------------- */

/* The reader's side as a Locker. In C as the locks are: between any two instructions of Python code a signal
 * handler may raise, also between rlock() and the block of a `with`. */
typedef struct {
    PyObject_HEAD
    RWMutex *rw;
} RLocker;

static PyObject *
RWMutex_rlocker(RWMutex *rw, PyObject *unused)
{
    (void)unused;
    RLocker *l = (RLocker *)RLocker_Type->tp_alloc(RLocker_Type, 0);
    if (l)
        l->rw = (RWMutex *)Py_NewRef(rw);
    return (PyObject *)l;
}

static PyObject *
RLocker_lock(RLocker *l, PyObject *unused)
{
    return RWMutex_rlock(l->rw, unused);
}

static PyObject *
RLocker_unlock(RLocker *l, PyObject *unused)
{
    return RWMutex_runlock(l->rw, unused);
}

static PyObject *
RLocker_enter(RLocker *l, PyObject *unused)
{
    (void)unused;
    if (unlikely(rw_rlock(l->rw) < 0))
        return NULL;
    return Py_NewRef(l);
}

static PyObject *
RLocker_exit(RLocker *l, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    (void)nargs;
    return RWMutex_runlock(l->rw, NULL);
}

static int
RLocker_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((RLocker *)self)->rw);
    return 0;
}

static void
RLocker_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((RLocker *)self)->rw);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef RLocker_methods[] = {
    {"lock", (PyCFunction)RLocker_lock, METH_NOARGS,
     "lock($self, /)\n--\n\nLocks the RWMutex for reading, as its rlock() does."},
    {"unlock", (PyCFunction)RLocker_unlock, METH_NOARGS,
     "unlock($self, /)\n--\n\nUndoes one lock(), as the RWMutex's runlock() does."},
    {"__enter__", (PyCFunction)RLocker_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))RLocker_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot RLocker_slots[] = {
    {Py_tp_doc, "The reading side of an RWMutex as a Locker: what RWMutex.rlocker() returns."},
    {Py_tp_dealloc, RLocker_dealloc},
    {Py_tp_traverse, RLocker_traverse},
    {Py_tp_methods, RLocker_methods},
    {0, NULL},
};

static PyType_Spec RLocker_spec = {
    "gort.sync.RLocker", sizeof(RLocker), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, RLocker_slots};

RWMutex *
rlocker_rw(PyObject *l)
{
    return ((RLocker *)l)->rw;
}

/* -- the type ------------------------------------------------------------------------------------- */

static PyMethodDef RWMutex_methods[] = {
    {"rlocker", (PyCFunction)RWMutex_rlocker, METH_NOARGS,
     "rlocker($self, /)\n--\n\n"
     "A Locker whose lock() and unlock() are rlock() and runlock(): Go's RWMutex.RLocker.\n\n"
     "`with` locks it for reading."},
    {"lock", (PyCFunction)RWMutex_lock, METH_NOARGS,
     "lock($self, /)\n--\n\n"
     "Locks for writing, waiting until nobody holds the lock: Go's RWMutex.Lock.\n\n"
     "Readers that come later wait until the writer is done."},
    {"try_lock", (PyCFunction)RWMutex_try_lock, METH_NOARGS,
     "try_lock($self, /)\n--\n\n"
     "Locks for writing if it need not wait; True if it did: Go's RWMutex.TryLock."},
    {"unlock", (PyCFunction)RWMutex_unlock, METH_NOARGS,
     "unlock($self, /)\n--\n\nUnlocks for writing: Go's RWMutex.Unlock.\n\n"
     "Raises runtime.Error if it is not locked for writing."},
    {"rlock", (PyCFunction)RWMutex_rlock, METH_NOARGS,
     "rlock($self, /)\n--\n\n"
     "Locks for reading; waits while a writer holds it or waits for it: Go's RWMutex.RLock."},
    {"try_rlock", (PyCFunction)RWMutex_try_rlock, METH_NOARGS,
     "try_rlock($self, /)\n--\n\n"
     "Locks for reading if it need not wait; True if it did: Go's RWMutex.TryRLock."},
    {"runlock", (PyCFunction)RWMutex_runlock, METH_NOARGS,
     "runlock($self, /)\n--\n\nUndoes one rlock(): Go's RWMutex.RUnlock.\n\n"
     "Raises runtime.Error if it is not locked for reading."},
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
     "RWMutex()\n--\n\nA lock that any number of readers or one writer holds: Go's sync.RWMutex.\n\n"
     "`with rw:` locks for writing, `with rw.rlocker():` for reading."},
    {Py_tp_new, type_no_args},
    {Py_tp_dealloc, type_free_weak},
    {Py_tp_methods, RWMutex_methods},
    {Py_tp_members, RWMutex_members},
    {0, NULL},
};

static PyType_Spec RWMutex_spec = {"gort.sync.RWMutex", sizeof(RWMutex), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, RWMutex_slots};

int
gort_rwmutex_init(PyObject *module)
{
    RWMutex_Type = add_type(module, &RWMutex_spec);
    RLocker_Type = add_type(module, &RLocker_spec);
    return RWMutex_Type && RLocker_Type ? 0 : -1;
}
