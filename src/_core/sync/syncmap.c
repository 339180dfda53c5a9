/* syncmap.c: Map, Go's sync.Map.
 *
 * A hash table with chains; the entries also form a list in the order in which their keys came.
 *
 * Invariants
 *   1. There is no lock: looking for a key may run the program's __eq__, and dropping something its __del__.
 *      What makes an operation atomic is the GIL, from the end of the search (find) to the change.
 *   2. `version` changes with each key that comes or goes. A search that has run the program's code and finds
 *      it changed begins again: what find() says is true when it returns, and its entry is good until Python
 *      code runs.
 *   3. What an operation lets go of is dropped when it is done.
 *   4. An operation that raises has changed nothing: what it returns is made first (answer_new).
 *
 * Why not a dict: between looking at a key's value and replacing or deleting it a dict looks for the key
 * again, which may run the program's code. Why not a lock: the program's code would run while it is held, and
 * might want it.
 *
 * Differs from Go: range sees the map as it was when it began; Go promises less.
 */
#include "core.h"

#include "cpython/type.h"
#include "lib/list.h"
#include "sched/g.h"
#include "sync/sync.h"

#include <string.h>
#include <structmember.h>

typedef struct entry {
    struct entry *chain, *next, *prev;
    Py_hash_t hash;
    PyObject *key, *value;
} entry;

typedef struct {
    PyObject_HEAD
    entry **buckets;
    size_t nbuckets; /* a power of 2 */
    Py_ssize_t n;
    uint64_t version;
    entry *first, *last;
    PyObject *weakrefs;
} Map;

#define MIN_BUCKETS 8

static PyObject *
Map_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    if (PyTuple_GET_SIZE(args) || (kw && PyDict_GET_SIZE(kw)))
        return PyErr_Format(PyExc_TypeError, "Map() takes no arguments");
    entry **buckets = PyMem_Calloc(MIN_BUCKETS, sizeof *buckets);
    if (!buckets)
        return PyErr_NoMemory();
    Map *map = (Map *)type->tp_alloc(type, 0);
    if (!map) {
        PyMem_Free(buckets);
        return NULL;
    }
    map->buckets = buckets;
    map->nbuckets = MIN_BUCKETS;
    return (PyObject *)map;
}

/* 1: *found is the key's entry; 0: there is none; -1: an exception. */
static int
find(Map *map, PyObject *key, Py_hash_t hash, entry **found)
{
    *found = NULL;
again:;
    uint64_t version = map->version;
    for (entry *e = map->buckets[(size_t)hash & (map->nbuckets - 1)]; e; e = e->chain) {
        if (e->hash != hash)
            continue;
        int equal = 1;
        if (e->key != key) {
            PyObject *its = Py_NewRef(e->key);
            equal = PyObject_RichCompareBool(its, key, Py_EQ);
            Py_DECREF(its);
            if (equal < 0)
                return -1;
            if (unlikely(map->version != version))
                goto again;
        }
        if (equal) {
            *found = e;
            return 1;
        }
    }
    return 0;
}

static void
chain_in(Map *map, entry *e)
{
    entry **bucket = &map->buckets[(size_t)e->hash & (map->nbuckets - 1)];
    e->chain = *bucket;
    *bucket = e;
}

/* More buckets, if there is memory for them. */
static void
grow(Map *map)
{
    size_t n = map->nbuckets * 2;
    entry **buckets = PyMem_Calloc(n, sizeof *buckets);
    if (!buckets)
        return;
    PyMem_Free(map->buckets);
    map->buckets = buckets;
    map->nbuckets = n;
    for (entry *e = map->first; e; e = e->next)
        chain_in(map, e);
}

/* A key that is not there. Runs no Python code. */
static int
insert(Map *map, PyObject *key, Py_hash_t hash, PyObject *value)
{
    entry *e = PyMem_Malloc(sizeof *e);
    if (!e) {
        PyErr_NoMemory();
        return -1;
    }
    if ((size_t)map->n >= map->nbuckets)
        grow(map);
    *e = (entry){.hash = hash, .key = Py_NewRef(key), .value = Py_NewRef(value)};
    list_append(map->first, map->last, e, next, prev);
    chain_in(map, e);
    map->n++;
    map->version++;
    return 0;
}

/* Takes out e, whose references are the caller's then. */
static void
take_out(Map *map, entry *e)
{
    entry **at = &map->buckets[(size_t)e->hash & (map->nbuckets - 1)];
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    list_take_out(map->first, map->last, e, next, prev);
    map->n--;
    map->version++;
}

/* A tuple for (value, ok). The collector does not know of it, and shows it to nobody, before it is filled.
 * NULL: MemoryError. */
static PyObject *
answer_new(void)
{
    PyObject *t = PyTuple_New(2);
    if (t)
        PyObject_GC_UnTrack(t);
    return t;
}

/* Takes over the reference to value. Of NULL: (None, False). */
static PyObject *
fill(PyObject *t, PyObject *value, bool ok)
{
    PyTuple_SET_ITEM(t, 0, value ? value : Py_NewRef(Py_None));
    PyTuple_SET_ITEM(t, 1, Py_NewRef(ok ? Py_True : Py_False));
    return t;
}

static PyObject *
answer(PyObject *t, PyObject *value, bool ok)
{
    PyObject_GC_Track(fill(t, value, ok));
    return t;
}

/* The operation failed. */
static PyObject *
no_answer(PyObject *t)
{
    Py_XDECREF(t);
    return NULL;
}

static PyObject *
Map_load(Map *map, PyObject *key)
{
    entry *e;
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1 || find(map, key, hash, &e) < 0)
        return NULL;
    PyObject *value = e ? Py_NewRef(e->value) : NULL, *t = PyTuple_New(2);
    if (likely(t != NULL))
        return fill(t, value, value);
    Py_XDECREF(value);
    return NULL;
}

static int
arguments(const char *name, Py_ssize_t nargs, Py_ssize_t n)
{
    if (nargs == n)
        return 0;
    PyErr_Format(PyExc_TypeError, "Map.%s() takes %zd arguments, got %zd", name, n, nargs);
    return -1;
}

/* Sets the key's value. *before: the one that was there, the caller's now, or NULL. */
static int
exchange(Map *map, PyObject *key, PyObject *value, PyObject **before)
{
    entry *e;
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1 || find(map, key, hash, &e) < 0)
        return -1;
    *before = NULL;
    if (!e)
        return insert(map, key, hash, value);
    *before = e->value;
    e->value = Py_NewRef(value);
    return 0;
}

static PyObject *
Map_store(Map *map, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *before;
    if (arguments("store", nargs, 2) < 0 || exchange(map, args[0], args[1], &before) < 0)
        return NULL;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *
Map_swap(Map *map, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *before, *t = arguments("swap", nargs, 2) < 0 ? NULL : answer_new();
    if (!t || exchange(map, args[0], args[1], &before) < 0)
        return no_answer(t);
    return answer(t, before, before);
}

static PyObject *
Map_load_or_store(Map *map, PyObject *const *args, Py_ssize_t nargs)
{
    entry *e;
    Py_hash_t hash;
    PyObject *t = arguments("load_or_store", nargs, 2) < 0 ? NULL : answer_new();
    if (!t || (hash = PyObject_Hash(args[0])) == -1 || find(map, args[0], hash, &e) < 0 ||
        (!e && insert(map, args[0], hash, args[1]) < 0))
        return no_answer(t);
    return answer(t, Py_NewRef(e ? e->value : args[1]), e);
}

/* Takes the key out. *value: what it had, the caller's now, or NULL: it was not there. */
static int
take(Map *map, PyObject *key, PyObject **value)
{
    entry *e;
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1 || find(map, key, hash, &e) < 0)
        return -1;
    *value = NULL;
    if (e) {
        take_out(map, e);
        *value = e->value;
        PyObject *its = e->key;
        PyMem_Free(e);
        Py_DECREF(its);
    }
    return 0;
}

static PyObject *
Map_load_and_delete(Map *map, PyObject *key)
{
    PyObject *value, *t = answer_new();
    if (!t || take(map, key, &value) < 0)
        return no_answer(t);
    return answer(t, value, value);
}

static PyObject *
Map_delete(Map *map, PyObject *key)
{
    PyObject *value;
    if (take(map, key, &value) < 0)
        return NULL;
    Py_XDECREF(value);
    Py_RETURN_NONE;
}

/* 1: *found is the key's entry, and its value equals old; 0: there is none; -1: an exception. */
static int
find_equal(Map *map, PyObject *key, PyObject *old, entry **found)
{
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1)
        return -1;
    for (;;) {
        int r = find(map, key, hash, found);
        if (r <= 0 || (*found)->value == old)
            return r;
        PyObject *there = Py_NewRef((*found)->value);
        r = PyObject_RichCompareBool(there, old, Py_EQ); /* the program's code */
        if (r > 0)
            r = find(map, key, hash, found) < 0 ? -1 : 1;
        bool same = r > 0 && *found && (*found)->value == there;
        /* if it is still the same, the map holds it too, and dropping this reference runs no code */
        Py_DECREF(there);
        if (r <= 0 || same)
            return r;
    }
}

static PyObject *
Map_compare_and_swap(Map *map, PyObject *const *args, Py_ssize_t nargs)
{
    entry *e;
    int r = arguments("compare_and_swap", nargs, 3) < 0 ? -1 : find_equal(map, args[0], args[1], &e);
    if (r > 0) {
        PyObject *before = e->value;
        e->value = Py_NewRef(args[2]);
        Py_DECREF(before);
    }
    return r < 0 ? NULL : PyBool_FromLong(r);
}

static PyObject *
Map_compare_and_delete(Map *map, PyObject *const *args, Py_ssize_t nargs)
{
    entry *e;
    int r = arguments("compare_and_delete", nargs, 2) < 0 ? -1 : find_equal(map, args[0], args[1], &e);
    if (r > 0) {
        take_out(map, e);
        PyObject *key = e->key, *value = e->value;
        PyMem_Free(e);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return r < 0 ? NULL : PyBool_FromLong(r);
}

static void
clear(Map *map)
{
    entry *e = map->first, *next;
    map->first = map->last = NULL;
    map->n = 0;
    map->version++;
    memset(map->buckets, 0, map->nbuckets * sizeof *map->buckets);
    for (; e; e = next) {
        next = e->next;
        PyObject *key = e->key, *value = e->value;
        PyMem_Free(e);
        Py_DECREF(key);
        Py_DECREF(value);
    }
}

static PyObject *
Map_clear_(Map *map, PyObject *unused)
{
    (void)unused;
    clear(map);
    Py_RETURN_NONE;
}

/* The map as it is now: a list of (key, value). */
static PyObject *
snapshot(Map *map)
{
    Py_ssize_t n = map->n, i = 0;
    PyObject **flat = PyMem_Malloc((size_t)(n ? n : 1) * 2 * sizeof *flat);
    if (!flat)
        return PyErr_NoMemory();
    for (entry *e = map->first; e; e = e->next) {
        flat[i++] = Py_NewRef(e->key);
        flat[i++] = Py_NewRef(e->value);
    }
    PyObject *list = PyList_New(0);
    for (i = 0; i < n; i++) {
        PyObject *pair = list ? PyTuple_Pack(2, flat[2 * i], flat[2 * i + 1]) : NULL;
        if (list && (!pair || PyList_Append(list, pair) < 0))
            Py_CLEAR(list);
        Py_XDECREF(pair);
        Py_DECREF(flat[2 * i]);
        Py_DECREF(flat[2 * i + 1]);
    }
    PyMem_Free(flat);
    return list;
}

static PyObject *
Map_items(Map *map, PyObject *unused)
{
    (void)unused;
    PyObject *list = snapshot(map), *it = list ? PyObject_GetIter(list) : NULL;
    Py_XDECREF(list);
    return it;
}

static PyObject *
Map_range(Map *map, PyObject *f)
{
    if (check_runs("Map.range()", f) < 0)
        return NULL;
    PyObject *list = snapshot(map);
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(list, i));
        PyObject *r =
            PyObject_CallFunctionObjArgs(f, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), NULL);
        bool stop = r == Py_False;
        Py_DECREF(pair);
        if (!r)
            Py_CLEAR(list);
        Py_XDECREF(r);
        if (stop)
            break;
    }
    if (!list)
        return NULL;
    Py_DECREF(list);
    Py_RETURN_NONE;
}

static int
Map_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (entry *e = ((Map *)self)->first; e; e = e->next) {
        Py_VISIT(e->key);
        Py_VISIT(e->value);
    }
    return 0;
}

static int
Map_clear(PyObject *self)
{
    clear((Map *)self);
    return 0;
}

static void
Map_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Map_dealloc) PyObject_ClearWeakRefs(self);
    clear((Map *)self);
    PyMem_Free(((Map *)self)->buckets);
    type_free(self);
    Py_TRASHCAN_END
}

static PyMethodDef Map_methods[] = {
    {"load", (PyCFunction)Map_load, METH_O,
     "load($self, key, /)\n--\n\n(value, True), or (None, False) if the key is absent: Go's Map.Load."},
    {"store", (PyCFunction)(void (*)(void))Map_store, METH_FASTCALL,
     "store($self, key, value, /)\n--\n\nSets the value of the key: Go's Map.Store."},
    {"load_or_store", (PyCFunction)(void (*)(void))Map_load_or_store, METH_FASTCALL,
     "load_or_store($self, key, value, /)\n--\n\n"
     "Stores value unless the key is present: Go's Map.LoadOrStore.\n\n"
     "(the value that was there, True), or (value, False) if it was stored."},
    {"load_and_delete", (PyCFunction)Map_load_and_delete, METH_O,
     "load_and_delete($self, key, /)\n--\n\n"
     "Deletes the key and returns its value: Go's Map.LoadAndDelete.\n\n"
     "(value, True), or (None, False) if the key was absent."},
    {"delete", (PyCFunction)Map_delete, METH_O,
     "delete($self, key, /)\n--\n\nDeletes the key if it is present: Go's Map.Delete."},
    {"swap", (PyCFunction)(void (*)(void))Map_swap, METH_FASTCALL,
     "swap($self, key, value, /)\n--\n\nStores value and returns the previous one: Go's Map.Swap.\n\n"
     "(previous value, True), or (None, False) if the key was absent."},
    {"compare_and_swap", (PyCFunction)(void (*)(void))Map_compare_and_swap, METH_FASTCALL,
     "compare_and_swap($self, key, old, new, /)\n--\n\n"
     "Stores new if the key's value equals old; True if it did: Go's Map.CompareAndSwap."},
    {"compare_and_delete", (PyCFunction)(void (*)(void))Map_compare_and_delete, METH_FASTCALL,
     "compare_and_delete($self, key, old, /)\n--\n\n"
     "Deletes the key if its value equals old; True if it did: Go's Map.CompareAndDelete."},
    {"clear", (PyCFunction)Map_clear_, METH_NOARGS,
     "clear($self, /)\n--\n\nDeletes all keys: Go's Map.Clear."},
    {"range", (PyCFunction)Map_range, METH_O,
     "range($self, f, /)\n--\n\n"
     "Calls f(key, value) for each key until f returns False: Go's Map.Range.\n\n"
     "f sees the map as it was when range() was called, and may change it. Only False itself ends the\n"
     "loop; None does not. Raises TypeError if f cannot be called, or if calling it runs nothing (a\n"
     "coroutine or generator function)."},
    {"items", (PyCFunction)Map_items, METH_NOARGS,
     "items($self, /)\n--\n\n"
     "Iterates over the (key, value) of the map as it was when items() was called."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Map[K, V], for annotations."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Map_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Map, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Map_slots[] = {
    {Py_tp_doc,
     "Map()\n--\n\nA dict that many goroutines use at once, with Go's atomic operations: Go's sync.Map."},
    {Py_tp_new, Map_new},
    {Py_tp_dealloc, Map_dealloc},
    {Py_tp_traverse, Map_traverse},
    {Py_tp_clear, Map_clear},
    {Py_tp_methods, Map_methods},
    {Py_tp_members, Map_members},
    {0, NULL},
};

static PyType_Spec Map_spec = {"gort.sync.Map", sizeof(Map), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, Map_slots};

int
gort_syncmap_init(PyObject *module)
{
    return add_type(module, &Map_spec) ? 0 : -1;
}
