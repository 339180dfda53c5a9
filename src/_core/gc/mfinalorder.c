/* mfinalorder.c: the order of the finalizers of garbage.
 *
 * A collection asks for each object of its garbage, in any order. Those with finalizers are all kept for now:
 * they are in the batch (fin.asked), with all of the garbage that they lead to (batch.state), which can only
 * be told while the collection runs. What is found there with a finalizer is in the batch before it is asked
 * for. When the collection has ended, finalizers_settle() chooses among them such that no chosen one is
 * referred to, over any number of other objects, by another chosen one, and each is chosen or referred to by
 * a chosen one. The chosen ones are queued, the others are spared: they are in the table as before, and live
 * as long as those that refer to them.
 *
 * If a __del__ makes the collection wait for long, what was found so far is settled meanwhile, so that the
 * __del__ may wait for a finalizer.
 *
 * Walks begin at each of them, in the order of set_finalizer, that no earlier walk has reached. So the first
 * of these roots do not lead to the later ones. Then, from the last root to the first, one that is not
 * blocked is chosen, and all that it leads to is blocked. Of a cycle this chooses the first. Each object of
 * the garbage is traversed three times at most, and nothing else is looked at.
 *
 * A __del__ may change what refers to what before the order is found, and free some of it. Then its addresses
 * stay in batch.state, which are only compared.
 *
 * Who may call: the GIL is the lock. fin_ask() is called by the collector, in the middle of a collection; no
 * function here runs Python code or lets go of anything.
 *
 * Rejected: to look at what objects with finalizers refer to when a finalizer is set, or at each collection
 * for those that are alive, which would cost in proportion to what lives.
 *
 * Differs from Go: there a cycle that has an object with a finalizer in it is not sure to be freed at all.
 */
#include "gc/mfinal.h"

#include "cpython/compat.h"
#include "gc/finalizer.h"
#include "lib/addrmap.h"

#include <stdlib.h>

enum { GARBAGE = 1, REACHED, BLOCKED };

static struct {
    addrmap state; /* objects of the garbage, and how far they got */
    bool failed;   /* no memory: there is no order */
} batch;

typedef struct {
    PyObject **stack; /* reached and not traversed yet */
    size_t depth, room;
    uintptr_t goal; /* what reaching means now */
} walk;

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

static void
batch_add(entry *e)
{
    fin_move(&fin.asked, e);
    Py_INCREF(e->obj);
    e->due = fin.collection;
}

static int
visit(PyObject *op, void *arg)
{
    walk *w = arg;
    if (!PyObject_IS_GC(op) || (w->goal == GARBAGE && !gc_is_garbage(op)))
        return 0;
    uintptr_t *state = w->goal == GARBAGE ? addrmap_put(&batch.state, op) : addrmap_get(&batch.state, op);
    if (state && *state < w->goal) {
        *state = w->goal;
        batch.failed |= !walk_push(w, op);
        entry *e = w->goal == GARBAGE ? fin_find(op) : NULL;
        if (e && e->in == &fin.set)
            batch_add(e);
    }
    batch.failed |= !state && w->goal == GARBAGE;
    return batch.failed;
}

/* Reaches op and all that it leads to. */
static void
walk_from(walk *w, PyObject *op)
{
    visit(op, w);
    while (w->depth > 0 && !batch.failed) {
        PyObject *next = w->stack[--w->depth];
        traverseproc traverse = Py_TYPE(next)->tp_traverse;
        if (traverse)
            traverse(next, visit, w);
    }
}

static uintptr_t
state_of(const entry *e)
{
    const uintptr_t *state = addrmap_get(&batch.state, e->obj);
    return state ? *state : BLOCKED;
}

static int
by_number(const void *a, const void *b)
{
    uint64_t m = (*(entry *const *)a)->number, n = (*(entry *const *)b)->number;
    return (m > n) - (m < n);
}

static void
choose(entry **asked, size_t n)
{
    walk w = {.goal = REACHED};
    entry *roots = NULL; /* the last one first */
    for (size_t i = 0; i < n; i++) {
        entry *e = asked[i];
        e->chosen = false;
        if (state_of(e) < REACHED) {
            walk_from(&w, e->obj);
            e->root = roots;
            roots = e;
        }
    }
    w.goal = BLOCKED;
    for (entry *e = roots; e; e = e->root) {
        if (state_of(e) < BLOCKED) {
            e->chosen = true;
            walk_from(&w, e->obj);
        }
    }
    free(w.stack);
}

/* The collection of the batch has ended, or waits. No Python code runs: it could change what refers to what
 * between the walks, and two of the chosen ones might lead to each other. */
void
finalizers_settle(void)
{
    size_t n = fin.asked.n;
    if (!n)
        return;
    entry **asked = malloc(n * sizeof *asked);
    if (asked) {
        n = 0;
        for (entry *e = fin.asked.first; e; e = e->next)
            asked[n++] = e;
        /* What was first given a finalizer is a root first, so that of a cycle it is the one that is
         * chosen. */
        qsort(asked, n, sizeof *asked, by_number);
        if (!batch.failed)
            choose(asked, n);
    }
    batch.failed |= !asked;
    for (size_t i = 0; i < n; i++) {
        entry *e = asked ? asked[i] : fin.asked.first;
        if (e->chosen || batch.failed)
            queuefinalizer(e);
        else
            fin_move(&fin.spared, e);
    }
    free(asked);
    /* Last, together: what is asked for from here on, by the same collection, is a batch by itself. */
    addrmap_clear(&batch.state);
    batch.failed = false;
}

/* The collector asks for an object in the table. */
void
fin_ask(entry *e)
{
    uint64_t collection = gc_collections() + 1;
    if (fin.collection != collection)
        finalizers_settle(); /* nobody said that the earlier one had ended */
    fin.collection = collection;
    batch_add(e); /* before the walk, which adds what it finds in the table: e itself, if it is in a cycle */
    walk w = {.goal = GARBAGE};
    walk_from(&w, e->obj);
    free(w.stack);
    /* It settles if the collection waits, or if there is no heap: nobody says then that the collection has
     * ended. */
    wakefing();
}
