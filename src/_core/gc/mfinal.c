/* mfinal.c: finalizers (runtime.set_finalizer): which objects have one, and how they are kept from being
 * freed.
 *
 *     set_finalizer -> entry in the table -> finalize(), when the object would be freed -> job in the queue
 *                   -> run_finalizers, in the finalizer goroutine: f(obj)
 *
 * Here are the table, the hook in the types and the question that it answers. mfinalorder.c: which of the
 * garbage comes first. mfinalrun.c: the queue and the goroutine.
 *
 * CPython asks an object's type before it frees the object: tp_finalize, which runs __del__. It is called
 * when the reference count falls to 0, and by the collector for everything that it found unreachable; an
 * object that is referred to afterwards stays. So the type of each object that gets a finalizer has its
 * tp_finalize replaced by finalize(), once, which looks the object up and calls the earlier function for all
 * that have no entry. Objects whose type does not ask (list, int, ...) cannot carry a finalizer.
 *
 * Invariants
 *   1. An entry stands for an object that lives: finalize() removes it, and special_freed() if the object was
 *      freed without a question, because its class has another __del__ by now or it has another class. Only
 *      blocks of the heap are seen freed. Of an object in another allocator's block (entry.seen is false) the
 *      type is compared, and nothing is followed that may be gone.
 *   2. The table refers to finalizers, not to objects. A job refers to both, and so do the entries of the
 *      batch and of `spared` (below).
 *   3. CPython calls tp_finalize once for each container, and marks it. Objects in the table do not have the
 *      mark; once the finalizer is about to run they have it again if they had it before.
 *   4. A type that has finalize() in its slot finds its earlier function: a heap type in type_note(), which
 *      goes with the type; a static type in `statics`, which only grows; a type that was derived since and
 *      copied the slot has none of its own, and uses what its bases have.
 *
 * Order. If A refers to B, B's reference count cannot be 0 before A is gone: A's finalizer runs first, then
 * B's. A collection asks for all garbage in any order; what it asks for is kept, and mfinalorder.c finds the
 * order when it has ended.
 *
 * Who may call: the GIL is the lock. finalize() runs wherever a reference is dropped: in threads without a g,
 * with an exception set. It runs no Python code but the earlier function. special_freed() is called by the
 * allocator, and lets nothing go. Threads of interpreters with a GIL of their own come to finalize() too,
 * since they share static types: they get no further than `statics`.
 *
 * Why not a weak reference to each object: its callback comes when the object is gone, and many objects
 * cannot be referred to weakly. Why not __del__: it runs in whatever goroutine dropped the last reference,
 * whatever locks that holds.
 *
 * Differs from Go: finalizers of objects that are in no cycle run at once, not after a collection. Cycles do
 * not prevent them: of objects that refer to each other one is finalized after the other. Go counts the
 * finalizer goroutine in NumGoroutine; here it is not counted, and it is made when the first finalizer is to
 * run.
 */
#include "gc/mfinal.h"

#include "cpython/compat.h"
#include "gc/finalizer.h"
#include "lib/addrmap.h"
#include "lib/list.h"
#include "mem/heap.h"
#include "sched/g.h"

#include <stdlib.h>

static addrmap by_key; /* the table: all entries */
static uint64_t numbers;
struct fin fin;

/* -- the table ---------------------------------------------------------------------------------- */

/* The block that op lies in, behind the collector's head and other words; op itself if it is none of the
 * heap's. */
static uintptr_t
key_of(PyObject *op, mspan **s)
{
    *s = heap_installed ? spanof(op) : NULL;
    if (!*s)
        return (uintptr_t)op;
    size_t offset = (size_t)((char *)op - (*s)->base);
    return (uintptr_t)(*s)->base + offset - offset % span_block_size(*s);
}

static entry *
table_get(uintptr_t key)
{
    const uintptr_t *e = addrmap_get(&by_key, (void *)key);
    return e ? (entry *)*e : NULL;
}

static void
entries_add(entries *to, entry *e)
{
    e->in = to;
    list_append(to->first, to->last, e, next, prev);
    to->n++;
}

static void
entries_remove(entry *e)
{
    list_take_out(e->in->first, e->in->last, e, next, prev);
    e->in->n--;
}

bool
fin_owned(const entry *e)
{
    return e->in == &fin.asked || e->in == &fin.spared;
}

/* False: no memory. */
static bool
table_add(entry *e)
{
    uintptr_t *value = addrmap_put(&by_key, (void *)e->key);
    if (!value)
        return false;
    check(!*value);
    *value = (uintptr_t)e;
    entries_add(&fin.set, e);
    return true;
}

void
fin_move(entries *to, entry *e)
{
    entries_remove(e);
    entries_add(to, e);
}

/* Takes e out and frees it. Its finalizer, if it still has one, is let go of by the next fin_drop_dead(), and
 * its object if it owns that. */
void
fin_drop(entry *e)
{
    if (e->seen) /* while the key is still that of a block: the span may be freed any time after this */
        span_drop_special(spanof((void *)e->key));
    entries_remove(e);
    addrmap_remove(&by_key, (void *)e->key);
    if (e->job) {
        e->job->obj = fin_owned(e) ? e->obj : NULL;
        e->job->next = fin.dead;
        fin.dead = e->job;
    }
    free(e);
}

/* A block of the heap is about to be freed: what had a finalizer in it died unasked. */
void
special_freed(void *p)
{
    entry *e = table_get((uintptr_t)p);
    if (e)
        fin_drop(e);
}

entry *
fin_find(PyObject *op)
{
    if (!by_key.n)
        return NULL;
    mspan *s;
    entry *e = table_get(key_of(op, &s));
    if (e && !e->seen && !fin_owned(e) && e->type != Py_TYPE(op)) {
        fin_drop(e); /* of another object, that was here before */
        return NULL;
    }
    return e;
}

void
fin_set_mark(PyObject *op, bool finalized)
{
    if (PyObject_IS_GC(op))
        gc_set_finalized(op, finalized);
}

/* Runs destructors. */
void
fin_drop_dead(void)
{
    for (job *j; (j = fin.dead) != NULL;) {
        fin.dead = j->next; /* before the destructors, which may come here again */
        PyObject *fn = j->fn, *op = j->obj;
        free(j);
        Py_DECREF(fn);
        Py_XDECREF(op);
    }
    for (entry *e; (e = fin.spared.first) != NULL;) {
        fin_move(&fin.set, e); /* before the last reference goes: the question about it must find it there */
        Py_DECREF(e->obj);
    }
}

/* -- the hook ------------------------------------------------------------------------------------- */

typedef struct patch {
    struct patch *next;
    PyTypeObject *type;
    destructor earlier;
} patch;
static patch *statics; /* types that live for ever; only put in front, read without a lock */

static void finalize(PyObject *op);

/* What tp_finalize of the type would be without us: what the type had, or, if it copied the slot from a base,
 * what it would have copied. */
static destructor
earlier_of(PyTypeObject *type)
{
    PyObject *mro = type->tp_mro; /* NULL while the type is taken apart */
    Py_ssize_t n = mro ? PyTuple_GET_SIZE(mro) : 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTypeObject *t = mro ? (PyTypeObject *)PyTuple_GET_ITEM(mro, i) : type;
        destructor f = __atomic_load_n(&t->tp_finalize, __ATOMIC_ACQUIRE);
        if (f == finalize) {
            f = NULL;
            if (!PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE)) {
                for (patch *p = __atomic_load_n(&statics, __ATOMIC_ACQUIRE); p; p = p->next) {
                    if (p->type == t)
                        f = p->earlier;
                }
            }
            else if (type_note(t))
                f = (destructor)PyLong_AsVoidPtr(type_note(t));
        }
        if (f)
            return f;
    }
    return NULL;
}

/* If the class was given another __del__ since it was hooked, what died meanwhile was not asked, and what is
 * not seen freed may have been followed by others at its place. */
static void
forget_unseen(PyTypeObject *type)
{
    if (type->tp_finalize == finalize || !type_note(type))
        return;
    for (entry *e = fin.set.first, *next; e; e = next) {
        next = e->next;
        if (!e->seen && e->type == type)
            fin_drop(e);
    }
}

/* Puts finalize() into the type's slot. -1: exception set. */
static int
hook_type(PyTypeObject *type)
{
    destructor f = type->tp_finalize;
    if (f == finalize)
        return 0;
    if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
        patch *p = malloc(sizeof *p);
        if (!p) {
            PyErr_NoMemory();
            return -1;
        }
        *p = (patch){statics, type, f};
        __atomic_store_n(&statics, p, __ATOMIC_RELEASE);
    }
    else {
        if (type_note(type) && !PyLong_CheckExact(type_note(type))) {
            PyErr_Format(Error, "runtime.SetFinalizer: tp_cache of class %s is in use by another extension",
                         type->tp_name);
            return -1;
        }
        PyObject *note = PyLong_FromVoidPtr((void *)f);
        if (!note)
            return -1;
        type_set_note(type, note);
    }
    __atomic_store_n(&type->tp_finalize, finalize, __ATOMIC_RELEASE);
    return 0;
}

/* -- the question --------------------------------------------------------------------------------- */

/* An object that is in the table would be freed. False: the earlier function is to be called. True: it lives
 * on, and what makes it so must come before the return: a reference, without which the deallocator goes on,
 * and in a collection the mark that it was asked, which CPython has set already and which would keep it from
 * asking again. */
static bool
keep(entry *e)
{
    PyObject *op = e->obj;
    if (Py_REFCNT(op) == 1) { /* its deallocator holds the only reference */
        bool kept = e->job != NULL;
        e->due = 0; /* first: no collection will ask, so the entry must not wait for one in `queued` */
        if (kept)
            queuefinalizer(e);
        else
            fin_drop(e);
        return kept;
    }
    if (!PyObject_IS_GC(op) || !gc_is_garbage(op))
        return false; /* the caller asks without meaning to free it */
    if (e->due != gc_collections() + 1) {
        if (e->in != &fin.set) {
            if (e->in == &fin.queued)
                fin_drop(e); /* its question never came */
            return false;
        }
        fin_ask(e); /* now, while the collection runs: later nothing tells what of it was garbage */
    }
    e->due = 0; /* after fin_ask(), which sets it for all of the batch: this question has come */
    if (e->job)
        gc_set_finalized(op, false); /* not now: ask again */
    else { /* it is queued; the finalizer may have run by now, so that nobody else would put this right */
        gc_set_finalized(op, e->finalized);
        fin_drop(e);
    }
    return true;
}

/* tp_finalize of every type that is hooked. */
static void
finalize(PyObject *op)
{
    if (likely(under_our_gil())) {
        entry *e = fin_find(op);
        if (e && keep(e))
            return;
    }
    destructor f = earlier_of(Py_TYPE(op));
    if (f)
        f(op);
}

/* -- for Python ----------------------------------------------------------------------------------- */

/* Does CPython ask before it frees it? Its deallocator calls tp_finalize: that of classes made in Python, and
 * those of C types that have a tp_finalize. */
static bool
can_carry(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    return !PyType_Check(op) &&
           (type->tp_dealloc == ((PyTypeObject *)Error)->tp_dealloc || type->tp_finalize);
}

static PyObject *
can_carry_finalizer_(PyObject *mod, PyObject *op)
{
    (void)mod;
    return PyBool_FromLong(can_carry(op));
}

/* Gives op a finalizer; e is its entry if it has one, which is in `queued`. -1: exception set. */
static int
add(PyObject *op, PyObject *fn, entry *e)
{
    /* First: a hook without an entry does no harm, an entry that nobody asks about does. */
    if (hook_type(Py_TYPE(op)) < 0)
        return -1;
    bool fresh = !e;
    mspan *s = NULL;
    job *j = malloc(sizeof *j);
    if (fresh && (e = malloc(sizeof *e)) != NULL)
        *e = (entry){.key = key_of(op, &s), .obj = op, .type = Py_TYPE(op), .seen = s != NULL};
    if (!j || !e || (fresh && !table_add(e))) {
        free(j);
        if (fresh)
            free(e);
        PyErr_NoMemory();
        return -1;
    }
    if (s)
        span_add_special(s);
    if (!fresh)
        fin_move(&fin.set, e);
    e->number = ++numbers;
    e->job = j;
    *j = (job){.fn = Py_NewRef(fn), .finalized = PyObject_IS_GC(op) && gc_is_finalized(op)};
    fin_set_mark(op, false);
    return 0;
}

static PyObject *
set_finalizer_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "set_finalizer() takes an object and a finalizer");
    PyObject *op = args[0], *fn = args[1];
    if (!can_carry(op))
        return PyErr_Format(PyExc_TypeError, "%s cannot carry a finalizer", Py_TYPE(op)->tp_name);
    if (!fin.loop)
        return PyErr_Format(Error, "the finalizer goroutine has no function yet");
    fin_drop_dead(); /* before the look-up: destructors may change what the table says of op */
    if (unlikely(sched.stopping))
        Py_RETURN_TRUE;         /* nothing would run it */
    forget_unseen(Py_TYPE(op)); /* before it, too: what it drops may lie where op does */
    entry *e = fin_find(op);
    bool has = e && e->job;
    if (fn == Py_None) {
        if (has) {
            fin_set_mark(op, e->job->finalized);
            fin_drop(e);
            fin_drop_dead();
        }
        Py_RETURN_TRUE;
    }
    if (has)
        Py_RETURN_FALSE;
    if (add(op, fn, e) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

void
finalizers_each(void (*visit)(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting))
{
    const entries *lists[] = {&fin.set, &fin.asked, &fin.spared};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (const entry *e = lists[i]->first; e; e = e->next)
            visit(e->obj, e->seen ? Py_TYPE(e->obj) : e->type, e->job->fn, false);
    }
    for (const job *j = fin.queue; j; j = j->next)
        visit(j->obj, Py_TYPE(j->obj), j->fn, true);
}

static PyMethodDef functions[] = {
    {"set_finalizer", (PyCFunction)(void (*)(void))set_finalizer_, METH_FASTCALL,
     "set_finalizer(obj, fn, /)\n--\n\n"
     "Sets obj's finalizer; None clears it. False if it already has one."},
    {"can_carry_finalizer", can_carry_finalizer_, METH_O,
     "can_carry_finalizer(obj, /)\n--\n\nTrue if CPython asks before it frees obj."},
    {NULL, NULL, 0, NULL},
};

int
gort_mfinal_init(PyObject *module)
{
    return gort_mfinalrun_init(module) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
