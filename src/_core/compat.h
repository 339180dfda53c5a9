/* compat.h: all that the runtime wants from CPython beyond its public API. Implemented by compat.c, the only file
 * that includes CPython's internal headers or tests its version. */
#ifndef GORT_COMPAT_H
#define GORT_COMPAT_H

#include "core.h"

int compat_init(void); /* -1: exception set */

/* A new thread state of the main interpreter. Needs no GIL. NULL: no memory (no exception set). */
PyThreadState *ts_new(void);
/* The interpreter is about to end, which frees its thread states: this one may still be read by a thread that has just
 * dropped the GIL, and has to stay where it is. */
void ts_outlive(PyThreadState *ts);
/* Gives a thread state that never ran the block `mem` as its first data-stack chunk. */
void ts_set_chunk(PyThreadState *ts, void *mem, size_t size);
#define CHUNK_SIZE 1280 /* no other chunk or arena has this size: the arena hook tells by it whose it is */
/* How deep C may recurse on a stack of this size, and tell ts. */
int ts_c_budget(size_t stack);
void ts_set_c_budget(PyThreadState *ts, int budget);
/* Makes ts like new after a goroutine's end: locals, context, hooks. Runs destructors. */
void ts_reset(PyThreadState *ts, int budget);
bool ts_is_clean(PyThreadState *ts);

/* Makes ts the current one of this OS thread in place of the one attached now. The GIL stays held or is released and
 * taken again: the caller's data may have changed after it. */
void ts_switch(m *mp, PyThreadState *ts);
/* Finds where libpython keeps this thread's current thread state, if it can be found. GIL held. */
void ts_find_tss(m *mp);
/* Does ts hold the GIL? Needs no lock: true or false, as of now. */
bool ts_running(PyThreadState *ts);

/* The interpreter's main thread is the one that runs the main goroutine: it alone runs signal handlers. */
void main_thread_set(bool mine);
bool on_main_thread(void);
bool signals_pending(void);
void signals_clear(void);
void signals_again(void);
/* Makes the main goroutine, which runs Python code, look for signals. Needs no lock. */
void signals_force(void);

/* ts runs in the OS thread with this identifier from now on. At the interpreter's end CPython spares the thread that
 * main's thread state names, and ends all others. */
void ts_set_thread(PyThreadState *ts, unsigned long ident);

/* Nobody waits for ts to give up the GIL: giving it up shall not wait until somebody has taken it. */
void ts_forget_drop_request(PyThreadState *ts);

/* All thread states of the main interpreter. `careful` as for frames. */
PyThreadState *ts_head(bool careful);
PyThreadState *ts_next(PyThreadState *ts, bool careful);
unsigned long ts_ident(PyThreadState *ts, bool careful);
unsigned long ts_native_id(PyThreadState *ts, bool careful);
/* That of this OS thread, whether or not it has the GIL; NULL: none. Async-signal-safe. */
PyThreadState *ts_of_thread(void);
/* The module threading, borrowed, or NULL: nobody has loaded it. */
PyObject *threading_module(void);
/* The name that threading has for a thread: a new str, or NULL. */
PyObject *thread_name_of(unsigned long ident);

/* The allocators' name as PYTHONMALLOC knows it; NULL: somebody has hooked them. */
const char *allocator_name(void);
/* Is this thread in the main interpreter, or in one that shares its GIL? */
#if PY_VERSION_HEX >= 0x030C0000
extern PyInterpreterState *main_interp, **newest_interp;
bool interp_shares_gil(void);
static inline bool
under_our_gil(void)
{
    return likely(__atomic_load_n(newest_interp, __ATOMIC_RELAXED) == main_interp) || interp_shares_gil();
}
#else
static inline bool
under_our_gil(void)
{
    return true;
}
#endif

/* How many thread states of the main interpreter exist. */
Py_ssize_t ts_count(void);
/* A Python frame. All is borrowed and holds as long as the GIL is. */
typedef struct {
    void *f;
    PyCodeObject *code;
    PyObject *globals;
    int lasti; /* byte offset of the instruction in the code */
    char *sp;  /* where its evaluation stack begins */
} pyframe;
/* The innermost frame of ts, and the one that called *at. False: there is none (left). With `careful` no lock is needed
 * and any thread may ask at any time, signal handlers too: what is read is looked at before it is followed, and a stack
 * that changes meanwhile may end early. */
bool frame_first(pyframe *at, PyThreadState *ts, bool careful);
bool frame_next(pyframe *at, bool careful);
/* The module that globals are of (__name__); NULL: none. Borrowed. `careful` as above. Without it, too, no Python code
 * runs and no exception is set or cleared. */
PyObject *globals_name(PyObject *globals, bool careful);
/* Where the text of a str lies, as the kind 1, 2 or 4 bytes per character; 0: *s is no str. `careful` as above. */
int str_data(PyObject *s, const char **data, Py_ssize_t *length, bool careful);

/* Where the frame's memory ends: with its evaluation stack as far as that is used or, while the frame runs,
 * with all of it; the words behind the top may be old ones then. */
char *frame_end(const pyframe *at);

/* How many bytes of its block lie before an object of this type; the GC_HEAD ones right before it are the
 * collector's. */
size_t object_prefix(PyTypeObject *t);
#define GC_HEAD (2 * sizeof(uintptr_t))
/* Does an object without items take more than tp_basicsize says? */
bool type_has_tail(const PyTypeObject *t);

/* One pointer of ours in each code object. `freed` is called with it when the code object dies. */
int code_extra_init(void (*freed)(void *)); /* -1: exception set */
void *code_extra(PyCodeObject *code);
int code_set_extra(PyCodeObject *code, void *extra);
size_t code_size(PyCodeObject *code); /* of its instructions, in bytes */
/* CPython's collector: its switches, and its lists of containers. GIL held. */
bool collector_enabled(void); /* gc.enable */
bool collector_busy(void);    /* it runs */
void collector_thresholds(int t[3]);
void collector_set_thresholds(const int t[3]);
/* Has the youngest generation outgrown its threshold? (If so it is not the program that asked for a collection.) */
bool collector_young_is_due(void);
/* The thresholds alone shall decide whether the oldest generation is collected, not CPython's rule of the quarter. */
void collector_allow_full(void);
/* Puts what survived in the middle generation behind the old one, and up to n of the old one's first, those that were
 * looked at the longest ago, into the young one; giant containers stay, at the end. Returns how many are in. */
size_t collector_slice(size_t n);
/* Leaves the n oldest objects in the young generation, and puts the others behind the old one. */
void collector_sample(size_t n);
PyObject *collector_garbage(void); /* gc.garbage, borrowed; NULL: none any more */
/* Switches gc.DEBUG_SAVEALL; false: the program has it on. */
bool collector_save_all(bool on);
/* Visits what the interpreter holds itself: modules, builtins, frames and what else a thread state has. */
void interpreter_roots(visitproc visit, void *arg);
/* The list of functions that the collector calls, in place of gc.callbacks, which is returned. Steals and gives references.
 * NULL: it has none any more. */
PyObject *collector_set_callbacks(PyObject *list);
size_t collector_young_count(void); /* as CPython counts: allocations less deallocations */
/* Calls f for all containers that the collector knows, frozen ones included. */
void collector_each(void (*f)(PyObject *op, void *arg), void *arg);
PyObject *ts_context(PyThreadState *ts);
void ts_set_context(PyThreadState *ts, PyObject *context); /* steals */
/* Is an exception of this type being handled (an except, finally or with block runs because of it)? */
bool ts_handling(PyThreadState *ts, PyObject *type);

/* Containers (PyObject_IS_GC): was tp_finalize called already? Nobody calls it then. */
bool gc_is_finalized(PyObject *op);
void gc_set_finalized(PyObject *op, bool finalized);
/* Has the collection that runs now found op unreachable? Between collections, and once op is deallocated, false. */
bool gc_is_garbage(PyObject *op);
/* The same, of an address at which there may be a container of this type, or anything, or no memory. */
bool gc_is_garbage_at(PyObject *op, PyTypeObject *type);
uint64_t gc_collections(void); /* how many there were */
/* An object of ours in each heap type; it goes with the type. NULL: none. */
PyObject *type_note(PyTypeObject *type);                /* borrowed */
void type_set_note(PyTypeObject *type, PyObject *note); /* steals */

void compat_after_fork(void);

#endif
