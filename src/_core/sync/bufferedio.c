/* bufferedio.c: one goroutine at a time inside an io.BufferedReader, BufferedWriter or BufferedRandom.
 *
 * CPython's buffered files have a lock that remembers the thread that holds it, to tell a thread that waits
 * for itself (RuntimeError: reentrant call) from one that waits for another. A goroutine that parks inside,
 * in a raw file written in Python, leaves the lock behind with the name of a thread that other goroutines run
 * on. So the goroutine that is inside is noted here, and CPython's lock only keeps goroutines and plain
 * threads apart: another goroutine parks until the first one leaves; one that is inside already is let
 * through to CPython, which raises as it always has.
 *
 * Invariants
 *   1. Each file that a goroutine is inside has one record, in its bucket: the first one of a bucket lies in
 *      the table, where a file nearly always finds it free, the others on the heap. None lies on a C stack: a
 *      raw file may switch greenlets, which copy the stack away.
 *   2. A goroutine that leaves hands over to the first waiter: the record becomes that goroutine's, with the
 *      other waiters.
 *   3. Only the methods that take CPython's lock are here: tell() of a file that somebody reads from does not
 *      wait.
 *
 * With the GIL. Differs from Go, where an os.File has no buffer, and a bufio.Reader no lock.
 *
 * Rejected: to rewrite the owner in CPython's object at each park and resume (its place is not known, and
 * parks are the scheduler's hottest path).
 */
#include "core.h"

#include "cpython/compat.h"
#include "cpython/redirect.h"
#include "sched/sched.h"
#include "sync/sync.h"

#include <stdlib.h>

typedef struct inside inside;
struct inside {
    PyObject *self; /* the file; NULL: the record is free */
    g *g;
    unsigned long thread; /* as whom CPython's lock knows it, if it holds that */
    inside *next;         /* in its bucket */
    waitq waiters;
};

#define NBUCKETS 256
static inside table[NBUCKETS];

static inline inside *
bucket(const PyObject *self)
{
    return &table[((uintptr_t)self >> 4) % NBUCKETS];
}

static inside *
find(const PyObject *self)
{
    inside *in = bucket(self);
    while (in && in->self != self)
        in = in->next;
    return in;
}

/* in is free, or gp's turn has come. */
static inline void
enter(inside *in, PyObject *self, g *gp)
{
    in->self = self;
    in->g = gp;
    in->thread = gp->m->ident;
}

static size_t buffered_size; /* of CPython's object */

/* A goroutine is inside self, and has changed threads since it entered: CPython would have it wait for
 * itself. The name of the old thread, somewhere in the object as long as the lock is held, becomes the new
 * one's. No other word there can be the address of a thread. */
static void
reenter(PyObject *self, unsigned long old, unsigned long new)
{
    for (size_t at = sizeof(PyObject); at + sizeof old <= buffered_size; at += sizeof old) {
        unsigned long *word = (unsigned long *)((char *)self + at);
        if (*word == old)
            *word = new;
    }
}

typedef struct {
    PyObject *self;
    inside *mine;
} entering;

static inline enum turn
enter_turn(void *of, g *gp, bool front)
{
    entering *e = of;
    inside *in = find(e->self);
    if (in && in->g == gp) {
        if (unlikely(in->thread != gp->m->ident)) {
            reenter(e->self, in->thread, gp->m->ident);
            in->thread = gp->m->ident;
        }
        return HAD;
    }
    if (in) {
        if (sched.stopping || PyThreadState_Get() != gp->ts)
            return HAD; /* it cannot park: CPython's lock knows what to do */
        if (unlikely(wait_in(gp, &in->waiters, front, waitReasonSemacquire, NULL, NULL) < 0))
            return INTERRUPTED;
        in->thread = gp->m->ident; /* the rest of the record is ours already */
        e->mine = in;
        return HAD;
    }
    for (in = bucket(e->self); in->self; in = in->next) {
        if (!in->next && !(in->next = calloc(1, sizeof *in))) {
            PyErr_NoMemory();
            return NOT_HAD;
        }
    }
    enter(in, e->self, gp);
    e->mine = in;
    return HAD;
}

/* Somebody may be inside. Parks until it is our turn, if it is to be. *mine: our record; NULL: none was made.
 * -1: exception set. */
static noinline int
occupied(PyObject *self, g *gp, inside **mine)
{
    entering e = {self, NULL};
    int r = wait_until(gp, &e, enter_turn, false, NULL);
    *mine = e.mine;
    return r;
}

/* The goroutine that runs here, if files are its own. */
static inline g *
here(void)
{
    m *mp = getm_first();
    g *gp = mp ? mp->curg : NULL;
    return likely(gp && under_our_gil()) ? gp : NULL;
}

/* Is gp inside self, on the thread on which it entered? `in` is the first of its bucket. (3.12's __next__
 * calls readline.) */
static inline bool
first_inside(const inside *in, const PyObject *self, const g *gp)
{
    return in->self == self && in->g == gp && in->thread == gp->m->ident;
}

/* Nobody is inside any more. */
static void
release(inside *in)
{
    inside **at = &bucket(in->self)->next;
    in->self = NULL;
    while (*at && *at != in)
        at = &(*at)->next;
    if (*at) { /* the first one lies in the table */
        *at = in->next;
        free(in);
    }
}

static noinline void
leave(inside *in)
{
    sudog *s = waitq_pop(&in->waiters);
    if (s) {
        in->g = s->w->g;
        goready(in->g);
    }
    else
        release(in);
}

/* In the child: the others that waited are lost, and their sudogs may lie on stacks that new threads get. If
 * the goroutine that is left waited itself, and forks before it has gone on, it is in no queue any more. */
void
bufferedio_after_fork(const g *survivor)
{
    for (size_t i = 0; i < NBUCKETS; i++) {
        for (inside *in = &table[i], *next; in; in = next) {
            next = in->next;
            for (sudog *s = in->waiters.head; s; s = s->next)
                s->queued = false;
            in->waiters = (waitq){NULL, NULL};
            if (in->self && in->g != survivor)
                release(in);
        }
    }
}

/* A method of CPython's, during which the goroutine is noted as inside: its parameters, and how it is called.
 * Rare cases are in a function of their own, so that the common one saves no registers for them. */
#define WRAPPED(name, params, call)                                                                          \
    static PyObject *(*o_##name)params;                                                                      \
    static noinline PyObject *occupied_##name params                                                         \
    {                                                                                                        \
        inside *mine;                                                                                        \
        if (occupied(self, getm()->curg, &mine) < 0)                                                         \
            return NULL;                                                                                     \
        PyObject *r = o_##name call;                                                                         \
        if (mine)                                                                                            \
            leave(mine);                                                                                     \
        return r;                                                                                            \
    }                                                                                                        \
    static PyObject *buffered_##name params                                                                  \
    {                                                                                                        \
        g *gp = here();                                                                                      \
        if (unlikely(!gp))                                                                                   \
            return o_##name call;                                                                            \
        inside *in = bucket(self);                                                                           \
        if (unlikely(in->self || in->next))                                                                  \
            return first_inside(in, self, gp) ? o_##name call : occupied_##name call;                        \
        enter(in, self, gp);                                                                                 \
        PyObject *r = o_##name call;                                                                         \
        if (likely(!in->waiters.head))                                                                       \
            in->self = NULL;                                                                                 \
        else                                                                                                 \
            leave(in);                                                                                       \
        return r;                                                                                            \
    }
#define ONE(name) WRAPPED(name, (PyObject * self, PyObject * arg), (self, arg))
#define FAST(name)                                                                                           \
    WRAPPED(name, (PyObject * self, PyObject *const *args, Py_ssize_t nargs), (self, args, nargs))

FAST(read)
FAST(read1)
FAST(readline)
FAST(peek)
ONE(readinto)
ONE(readinto1)
ONE(write)
ONE(flush)
FAST(seek)
ONE(close)
WRAPPED(iternext, (PyObject * self), (self))
#if BUFFERED_TRUNCATE & METH_METHOD
WRAPPED(truncate,
        (PyObject * self, PyTypeObject *cls, PyObject *const *args, size_t nargs, PyObject *kwnames),
        (self, cls, args, nargs, kwnames))
#else
FAST(truncate)
#endif

#define READS(type)                                                                                          \
    {"_io", type, "read", METH_FASTCALL, buffered_read, &o_read, false},                                     \
        {"_io", type, "read1", METH_FASTCALL, buffered_read1, &o_read1, false},                              \
        {"_io", type, "readline", METH_FASTCALL, buffered_readline, &o_readline, false},                     \
        {"_io", type, "peek", METH_FASTCALL, buffered_peek, &o_peek, false},                                 \
        {"_io", type, "readinto", METH_O, buffered_readinto, &o_readinto, false},                            \
    {                                                                                                        \
        "_io", type, "readinto1", METH_O, buffered_readinto1, &o_readinto1, false                            \
    }
#define WRITES(type)                                                                                         \
    {"_io", type, "write", METH_O, buffered_write, &o_write, false},                                         \
    {                                                                                                        \
        "_io", type, "flush", METH_NOARGS, buffered_flush, &o_flush, false                                   \
    }
#define ALL(type)                                                                                            \
    {"_io", type, "seek", METH_FASTCALL, buffered_seek, &o_seek, false},                                     \
        {"_io", type, "truncate", BUFFERED_TRUNCATE, buffered_truncate, &o_truncate, false},                 \
    {                                                                                                        \
        "_io", type, "close", METH_NOARGS, buffered_close, &o_close, false                                   \
    }

static const redirection methods[] = {
    READS("BufferedReader"), ALL("BufferedReader"),    WRITES("BufferedWriter"), ALL("BufferedWriter"),
    READS("BufferedRandom"), WRITES("BufferedRandom"), ALL("BufferedRandom"),
};

#define OTHERWISE                                                                                            \
    "two goroutines that use one buffered file get \"reentrant call\" if the first one parks inside"

int
bufferedio_init(void)
{
    static const char *const names[] = {"BufferedReader", "BufferedWriter", "BufferedRandom"};
    PyTypeObject *types[3];
    for (int i = 0; i < 3; i++) {
        types[i] = redirect_type("_io", names[i]);
        if (!types[i])
            return -1;
        if (!buffered_size || (size_t)types[i]->tp_basicsize < buffered_size)
            buffered_size = (size_t)types[i]->tp_basicsize;
    }
    PyTypeObject *const readers[] = {types[0], types[2]};
    o_iternext = iternext_of(readers, 2);
    if (!o_iternext)
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                "gort does not know io.BufferedReader of this CPython; %s", OTHERWISE);
    int done = redirect(methods, sizeof methods / sizeof *methods, OTHERWISE);
    return done > 0 ? redirect_iternext(readers, 2, buffered_iternext) : done;
}
