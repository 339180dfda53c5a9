/* mfinal.c: finalizers (runtime.set_finalizer), and the goroutine that runs them.
 *
 *     set_finalizer -> entry in the table -> finalize(), when the object would be freed -> job in the queue
 *                   -> run_finalizers, in the finalizer goroutine: f(obj)
 *
 * CPython asks an object's type before it frees the object: tp_finalize, which runs __del__. It is called when the
 * reference count falls to 0, and by the collector for everything that it found unreachable; an object that is referred
 * to afterwards stays. So the type of each object that gets a finalizer has its tp_finalize replaced by finalize(), once,
 * which looks the object up and calls the earlier function for all that have none. Objects whose type does not ask (list,
 * int, ...) cannot carry a finalizer.
 *
 * Invariants
 *   1. An entry stands for an object that lives: finalize() removes it, and special_freed() if the object was freed
 *      without a question, because its class has another __del__ by now or it has another class. Only blocks of the heap
 *      are seen freed. Of an object in another allocator's block (entry.seen is false) the type is compared, and nothing
 *      is followed that may be gone.
 *   2. The table refers to finalizers, not to objects. A job refers to both.
 *   3. CPython calls tp_finalize once for each container, and marks it. Objects in the table do not have the mark; once the
 *      finalizer is about to run they have it again if they had it before.
 *   4. A type that has finalize() in its slot finds its earlier function: a heap type in type_note(), which goes with the
 *      type; a static type in `statics`, which only grows; a type that was derived since and copied the slot has none
 *      of its own, and uses what its bases have.
 *
 * Order. If A refers to B, B's reference count cannot be 0 before A is gone: A's finalizer runs first, then B's. A
 * collection asks for all garbage in any order, so at its first question decide() answers for all (below).
 *
 * Who may call: the GIL is the lock. finalize() runs wherever a reference is dropped: in threads without a g, with an
 * exception set. It runs no Python code but the earlier function. special_freed() is called by the allocator, and
 * lets nothing go. Threads of interpreters with a GIL of their own come to finalize() too, since they share static types:
 * they get no further than `statics`.
 *
 * Why not a weak reference to each object: its callback comes when the object is gone, and many objects
 * cannot be referred to weakly. Why not __del__: it runs in whatever goroutine dropped the last reference, whatever locks
 * that holds.
 *
 * Differs from Go: finalizers of objects that are in no cycle run at once, not after a collection. Cycles do not prevent
 * them: of objects that refer to each other one is finalized after the other. Go counts the finalizer goroutine in
 * NumGoroutine; here it is not counted, and it is made when the first finalizer is to run.
 */
#include "core.h"

#include "addrmap.h"
#include "compat.h"
#include "heap.h"

#include <stdlib.h>

typedef struct job {
    struct job *next;
    PyObject *obj; /* owned once it is queued; before that NULL */
    PyObject *fn;
    bool finalized; /* the mark of 3. */
} job;

typedef struct entry {
    struct entry *next, *prev; /* by time of set_finalizer */
    uintptr_t key;             /* of the object's block */
    PyObject *obj;             /* borrowed */
    PyTypeObject *type;        /* only compared */
    job *job;                  /* NULL: queued by decide(), and the collector's question is still to come */
    uint64_t decided;          /* the collection for which decide() has answered; 0: none */
    struct entry *link, *root; /* decide: the next of the garbage, of the roots */
    bool finalized;            /* as in the job */
    bool seen;                 /* its block's end will be seen */
    bool chosen;               /* decide: to be queued */
} entry;

static struct {
    addrmap by_key;
    entry *first, *last;
} table;

static struct {
    g *g; /* NULL: has not begun yet */
    bool made, parked;
    bool running; /* it is in code of the program */
} fing;

static job *queue, **queue_end = &queue;
static job *dead; /* finalizers that will not run: to let go of */
static PyObject *loop, *empty_context;

/* -- the table ---------------------------------------------------------------------------------- */

/* The block that op lies in, behind the collector's head and other words; op itself if it is none of the heap's. */
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
    const uintptr_t *e = addrmap_get(&table.by_key, (void *)key);
    return e ? (entry *)*e : NULL;
}

/* False: no memory. */
static bool
table_add(entry *e)
{
    uintptr_t *value = addrmap_put(&table.by_key, (void *)e->key);
    if (!value)
        return false;
    check(!*value);
    *value = (uintptr_t)e;
    e->next = NULL;
    e->prev = table.last;
    if (table.last)
        table.last->next = e;
    else
        table.first = e;
    table.last = e;
    return true;
}

/* Takes e out and frees it. Its finalizer, if it still has one, is let go of by the next drop_dead(). */
static void
entry_drop(entry *e)
{
    if (e->seen)
        span_drop_special(spanof((void *)e->key));
    if (e->prev)
        e->prev->next = e->next;
    else
        table.first = e->next;
    if (e->next)
        e->next->prev = e->prev;
    else
        table.last = e->prev;
    addrmap_remove(&table.by_key, (void *)e->key);
    if (e->job) {
        e->job->next = dead;
        dead = e->job;
    }
    free(e);
}

/* A block of the heap is about to be freed: what had a finalizer in it died unasked. */
void
special_freed(void *p)
{
    entry *e = table_get((uintptr_t)p);
    if (e)
        entry_drop(e);
}

static entry *
find(PyObject *op)
{
    if (!table.first)
        return NULL;
    mspan *s;
    entry *e = table_get(key_of(op, &s));
    if (e && !e->seen && e->type != Py_TYPE(op)) {
        entry_drop(e); /* of another object, that was here before */
        return NULL;
    }
    return e;
}

/* Runs destructors. */
static void
drop_dead(void)
{
    for (job *j; (j = dead) != NULL;) {
        dead = j->next;
        PyObject *fn = j->fn;
        free(j);
        Py_DECREF(fn);
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

/* What tp_finalize of the type would be without us: what the type had, or, if it copied the slot from a base, what it
 * would have copied. */
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

/* If the class was given another __del__ since it was hooked, what died meanwhile was not asked, and what is not seen
 * freed may have been followed by others at its place. */
static void
forget_unseen(PyTypeObject *type)
{
    if (type->tp_finalize == finalize || !type_note(type))
        return;
    for (entry *e = table.first, *next; e; e = next) {
        next = e->next;
        if (!e->seen && e->type == type)
            entry_drop(e);
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

/* -- the queue ------------------------------------------------------------------------------------ */

bool
is_idle_system(const g *gp)
{
    return gp->flags & G_SYSTEM && !(gp == fing.g && fing.running);
}

/* Sees to it that the finalizer goroutine looks at the queue. No Python code runs. */
static void
wake(void)
{
    if (fing.parked) {
        fing.parked = false;
        goready(fing.g);
    }
    else if (!fing.made) {
        PyObject *type, *value, *tb;
        PyErr_Fetch(&type, &value, &tb);
        fing.made = newproc_system(loop, empty_context) == 0; /* no memory: the next one tries again */
        PyErr_Restore(type, value, tb);
    }
}

/* The object is kept, and its finalizer will run. The entry has no job any more. */
static void
enqueue(entry *e)
{
    job *j = e->job;
    e->job = NULL;
    j->obj = Py_NewRef(e->obj);
    j->next = NULL;
    *queue_end = j;
    queue_end = &j->next;
    wake();
}

static job *
dequeue(void)
{
    job *j = queue;
    if (j && !(queue = j->next))
        queue_end = &queue;
    return j;
}

static void
set_mark(PyObject *op, bool finalized)
{
    if (PyObject_IS_GC(op))
        gc_set_finalized(op, finalized);
}

/* -- the order of garbage --------------------------------------------------------------------------
 *
 * A collection asks for each object of its garbage, in any order. decide() chooses among those with finalizers such that
 * no chosen one is referred to, over any number of other objects, by another chosen one, and each is chosen or
 * referred to by a chosen one. The others stay in the table: those that refer to them stay.
 *
 * Walks begin at each object with a finalizer, in the order of set_finalizer, that no earlier walk has reached. So the
 * first of these roots do not lead to the later ones. Then, from the last root to the first, one that is not blocked
 * is chosen, and all that it leads to is blocked. Of a cycle this chooses the first. Each object of the garbage is
 * traversed twice, and each entry of the table is looked at once. */

typedef struct {
    addrmap reached;  /* objects, and how far they got: REACHED or BLOCKED */
    PyObject **stack; /* reached and not traversed yet */
    size_t depth, room;
    uintptr_t goal; /* what reaching means now */
    bool failed;    /* no memory */
} walk;
enum { REACHED = 1, BLOCKED = 2 };

static bool
walk_push(walk *w, PyObject *op)
{
    if (w->depth == w->room) {
        size_t room = w->room ? 2 * w->room : 256;
        PyObject **stack = realloc(w->stack, room * sizeof *stack);
        if (!stack)
            return false;
        w->stack = stack;
        w->room = room;
    }
    w->stack[w->depth++] = op;
    return true;
}

static int
visit(PyObject *op, void *arg)
{
    walk *w = arg;
    if (!PyObject_IS_GC(op) || !gc_is_garbage(op))
        return 0;
    uintptr_t *state = addrmap_put(&w->reached, op);
    if (state && *state == w->goal)
        return 0;
    w->failed = !state || !walk_push(w, op);
    if (!w->failed)
        *state = w->goal;
    return w->failed;
}

/* Reaches all that what was reached leads to. */
static void
walk_all(walk *w)
{
    while (w->depth > 0 && !w->failed) {
        PyObject *op = w->stack[--w->depth];
        traverseproc traverse = Py_TYPE(op)->tp_traverse;
        if (traverse)
            traverse(op, visit, w);
    }
}

/* Answers for all garbage of the collection that runs now. If there is no memory it answers for none. */
static void
decide(uint64_t collection)
{
    walk w = {.goal = REACHED};
    entry *garbage = NULL, **end = &garbage;
    for (entry *e = table.first; e && !w.failed; e = e->next) {
        if (!e->job ||
            !(e->seen ? PyObject_IS_GC(e->obj) && gc_is_garbage(e->obj) : gc_is_garbage_at(e->obj, e->type)))
            continue;
        *end = e;
        end = &e->link;
    }
    *end = NULL;
    entry *roots = NULL; /* the last one first */
    for (entry *e = garbage; e && !w.failed; e = e->link) {
        e->chosen = false;
        if (visit(e->obj, &w) == 0 && w.depth > 0) {
            walk_all(&w);
            e->root = roots;
            roots = e;
        }
    }
    w.goal = BLOCKED;
    for (entry *e = roots; e && !w.failed; e = e->root) {
        if (*addrmap_get(&w.reached, e->obj) != BLOCKED) {
            e->chosen = true;
            visit(e->obj, &w);
            walk_all(&w);
        }
    }
    for (entry *e = garbage; e && !w.failed; e = e->link) {
        e->decided = collection;
        if (e->chosen)
            enqueue(e);
    }
    addrmap_clear(&w.reached);
    free(w.stack);
}

/* -- the question --------------------------------------------------------------------------------- */

/* An object that is in the table would be freed. False: the earlier function shall be called. */
static bool
keep(entry *e)
{
    PyObject *op = e->obj;
    if (Py_REFCNT(op) == 1) { /* its deallocator holds the only reference */
        if (e->job)
            enqueue(e);
        bool kept = Py_REFCNT(op) > 1;
        entry_drop(e);
        return kept;
    }
    if (!PyObject_IS_GC(op) || !gc_is_garbage(op))
        return false; /* somebody asks who does not mean to free it */
    uint64_t collection = gc_collections() + 1;
    if (e->decided != collection && e->job)
        decide(collection);
    if (e->decided != collection) { /* no order could be found */
        bool had = e->job != NULL;
        if (had)
            enqueue(e);
        entry_drop(e);
        return had;
    }
    e->decided = 0;
    if (e->job)
        gc_set_finalized(op, false); /* not now: ask again */
    else { /* it is queued; the finalizer may have run by now, so that nobody else would put this right */
        gc_set_finalized(op, e->finalized);
        entry_drop(e);
    }
    return true;
}

/* tp_finalize of every type that is hooked. */
static void
finalize(PyObject *op)
{
    if (likely(under_our_gil())) {
        entry *e = find(op);
        if (e && keep(e))
            return;
    }
    destructor f = earlier_of(Py_TYPE(op));
    if (f)
        f(op);
}

/* -- for Python ----------------------------------------------------------------------------------- */

/* Does CPython ask before it frees it? Its deallocator calls tp_finalize: that of classes made in Python, and those of C
 * types that have a tp_finalize. */
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

/* Gives op a finalizer; e is its entry if it has one. -1: exception set. */
static int
add(PyObject *op, PyObject *fn, entry *e)
{
    if (hook_type(Py_TYPE(op)) < 0)
        return -1;
    bool fresh = !e;
    mspan *s;
    job *j = malloc(sizeof *j);
    if (fresh && (e = malloc(sizeof *e)) != NULL) {
        *e = (entry){.key = key_of(op, &s), .obj = op, .type = Py_TYPE(op)};
        e->seen = s != NULL;
    }
    if (!j || !e || (fresh && !table_add(e))) {
        free(j);
        if (fresh)
            free(e);
        PyErr_NoMemory();
        return -1;
    }
    if (fresh && s)
        span_add_special(s);
    *j = (job){.fn = Py_NewRef(fn), .finalized = PyObject_IS_GC(op) && gc_is_finalized(op)};
    set_mark(op, false);
    e->job = j;
    e->finalized = j->finalized;
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
    if (!loop)
        return PyErr_Format(Error, "the finalizer goroutine has no function yet");
    drop_dead();
    if (unlikely(sched.stopping))
        Py_RETURN_TRUE; /* nothing would run it */
    forget_unseen(Py_TYPE(op));
    entry *e = find(op);
    bool has = e && e->job;
    if (fn == Py_None) {
        if (has) {
            set_mark(op, e->job->finalized);
            entry_drop(e);
            drop_dead();
        }
        Py_RETURN_TRUE;
    }
    if (has)
        Py_RETURN_FALSE;
    if (add(op, fn, e) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

/* -- the finalizer goroutine ------------------------------------------------------------------------ */

/* False: a finalizer forked, and this is the child, where the goroutine is the main one; an exception may be set. */
static bool
run_one(g *gp, job *j)
{
    PyObject *op = j->obj, *fn = j->fn;
    set_mark(op, j->finalized);
    free(j);
    fing.running = true;
    PyObject *r = PyObject_CallOneArg(fn, op);
    gp->goexiting = false;
    while (gp->lockcount)
        unlock_thread(gp);
    bool child = gp->flags & G_MAIN;
    if (r)
        Py_DECREF(r);
    else if (PyErr_ExceptionMatches(Goexit))
        PyErr_Clear();
    else if (!child)
        PyErr_WriteUnraisable(fn);
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    Py_DECREF(fn);
    Py_DECREF(op);
    ts_set_context(gp->ts, NULL); /* the next one begins with an empty one, too */
    PyErr_Restore(type, value, tb);
    if (child)
        return false;
    fing.running = false;
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
        drop_dead();
        job *j = dequeue();
        if (!j) {
            fing.parked = true;
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
finalizers_after_fork(void)
{
    fing.g = NULL;
    fing.made = fing.parked = fing.running = false;
    if (queue)
        wake();
}

void
finalizers_stop(void)
{
    while (table.first)
        entry_drop(table.first);
    drop_dead();
    for (job *j; (j = dequeue()) != NULL;) {
        PyObject *op = j->obj, *fn = j->fn;
        set_mark(op, j->finalized);
        free(j);
        Py_DECREF(fn);
        Py_DECREF(op);
    }
}

void
finalizers_each(void (*visit)(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting))
{
    for (const entry *e = table.first; e; e = e->next) {
        if (e->job)
            visit(e->obj, e->seen ? Py_TYPE(e->obj) : e->type, e->job->fn, false);
    }
    for (const job *j = queue; j; j = j->next)
        visit(j->obj, Py_TYPE(j->obj), j->fn, true);
}

static PyObject *
set_finalizer_loop_(PyObject *mod, PyObject *fn)
{
    (void)mod;
    Py_XSETREF(loop, Py_NewRef(fn));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_finalizer", (PyCFunction)(void (*)(void))set_finalizer_, METH_FASTCALL,
     "set_finalizer(obj, fn, /)\n--\n\nSets obj's finalizer; None clears it. False: it has one."},
    {"can_carry_finalizer", can_carry_finalizer_, METH_O,
     "can_carry_finalizer(obj, /)\n--\n\nDoes CPython ask before it frees obj?"},
    {"run_finalizers", run_finalizers_, METH_NOARGS,
     "run_finalizers()\n--\n\nWhat the finalizer goroutine does."},
    {"set_finalizer_loop", set_finalizer_loop_, METH_O,
     "set_finalizer_loop(fn, /)\n--\n\nfn() calls run_finalizers(): the finalizer goroutine's function."},
    {NULL, NULL, 0, NULL},
};

int
gort_mfinal_init(PyObject *module)
{
    empty_context = PyContext_New();
    return empty_context ? PyModule_AddFunctions(module, functions) : -1;
}
