/* compat.h: all that the runtime wants from CPython beyond its public API, by noun, a section for each file
 * of this folder. No file outside it includes CPython's internal headers or tests its version.
 *
 * Unless a comment says otherwise the GIL is held. `careful` and `care` are as for frames, below. */
#ifndef GORT_COMPAT_H
#define GORT_COMPAT_H

#include "core.h"
#include "os/os.h"

/* -- interp.c: the interpreter ---------------------------------------------------------------- */

/* Must be called before all else here. -1: exception set. */
int compat_init(void);
/* The allocators' name as PYTHONMALLOC knows it; NULL: somebody has hooked them. */
const char *allocator_name(void);

#pragma GCC visibility push(hidden)
extern PyInterpreterState *main_interp; /* the one that gort runs in */
#if PY_VERSION_HEX >= 0x030C0000
extern PyInterpreterState **newest_interp; /* where CPython has the head of its list of interpreters */
/* The slow part of under_our_gil: this thread's interpreter is looked at. */
bool interp_shares_gil(void);
#endif
#pragma GCC visibility pop

/* Is this thread in the main interpreter, or in one that shares its GIL? Needs no GIL. */
static inline bool
under_our_gil(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return likely(__atomic_load_n(newest_interp, __ATOMIC_RELAXED) == main_interp) || interp_shares_gil();
#else
    return true;
#endif
}

/* -- tstate.c: a thread state's life ---------------------------------------------------------- */

/* The one that is attached in this OS thread; NULL: none, and the thread does not have the GIL. */
static inline PyThreadState *
ts_current(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

/* A new thread state of the main interpreter, in its list behind all others. Needs no GIL. NULL: no memory
 * (no exception set). */
PyThreadState *ts_new(void);
/* This thread will attach ts, which another one made or left. */
void ts_here(PyThreadState *ts);
/* Gives up the GIL and ts, the current one, to whichever thread attaches it next. */
void ts_leave(PyThreadState *ts);
/* Deletes one that is clean and attached nowhere. Another one is attached; no Python code runs. */
void ts_delete(PyThreadState *ts);
/* Is nothing in ts owned, so that deleting it runs no Python code? */
bool ts_is_clean(const PyThreadState *ts);
/* Makes ts, which is the current one and has a C stack of this size, like new after a goroutine's end:
 * locals, context, hooks. Runs destructors, and what they leave behind is gone too. */
void ts_reset(PyThreadState *ts, size_t stack);
/* ts runs in the OS thread with this identifier from now on. At the interpreter's end CPython spares the
 * thread that main's thread state names, and ends all others. */
void ts_set_thread(PyThreadState *ts, unsigned long ident);
/* The identifier of the thread that ts runs in, as threading knows it; 0: it cannot be read. */
unsigned long ts_ident(PyThreadState *ts, bool careful);
/* The same as the kernel knows it. */
unsigned long ts_native_id(PyThreadState *ts, bool careful);
/* The thread state of this OS thread, whether or not it has the GIL; NULL: none. Async-signal-safe. */
PyThreadState *ts_of_thread(void);
/* Its current context, borrowed; NULL: it has none yet. */
PyObject *ts_context(PyThreadState *ts);
/* Gives it another one; steals the reference. */
void ts_set_context(PyThreadState *ts, PyObject *context);
/* Is an exception of this type being handled (an except, finally or with block runs because of it)? */
bool ts_handling(PyThreadState *ts, PyObject *type);

/* Do faulthandler's dumps ask for the name of the thread that a thread state's identifier means? */
#define THREADS_NAMED (PY_VERSION_HEX >= 0x030E0000)

/* -- tslist.c: the list of thread states ------------------------------------------------------ */

/* The first one of the main interpreter; NULL: none. */
PyThreadState *ts_head(bool careful);
/* The one behind ts; NULL: there are no more. */
PyThreadState *ts_next(PyThreadState *ts, bool careful);
/* The same of those that ts_new did not make; they are the first ones. */
PyThreadState *ts_next_other(PyThreadState *ts, bool careful);
/* How many of those there are: main's, and those of plain threads. Walks only these. Needs no GIL. */
Py_ssize_t ts_others(void);
/* One that ts_new made is about to be deleted. Needs no GIL. */
void ts_deleting(PyThreadState *ts);
/* The interpreter is about to end, which up to 3.13 frees its thread states: this one may still be read by a
 * thread that has just dropped the GIL or waits for it, and has to stay where it is. What ts_new makes from
 * now on stays too. */
void ts_outlive(PyThreadState *ts);

/* -- gil.c: the switch, and the GIL ----------------------------------------------------------- */

/* Where libpython keeps this OS thread's current thread state, as ts_find_tss found it; NULL: not known. */
typedef PyThreadState **tss;
tss ts_find_tss(void);
/* Makes ts the current one of this OS thread in place of the one attached now. The GIL stays held or is
 * released and taken again: the caller's data may have changed after it. */
void ts_switch(tss here, PyThreadState *ts);
/* Thread states that ts_switch takes the place of name this OS thread (its kernel's number), which is idle:
 * samplers look at what the thread does that a thread state names. Needs no GIL. */
void ts_set_nowhere(unsigned long tid);
/* ts, if it was left before that was called. Needs no GIL. */
void ts_is_nowhere(PyThreadState *ts);
/* Does the GIL stay held meanwhile? */
bool ts_switch_is_direct(void);
/* Does ts hold the GIL? Needs no lock: true or false, as of now. */
bool ts_running(PyThreadState *ts);
/* Does anybody hold the GIL? As of now; needs no lock. */
bool interpreter_busy(void);
/* The thread that holds the GIL has to give it up, and gets it back only when another one has had it. Needs
 * no GIL. The caller knows of a thread that will take it: without one the holder would wait for ever. */
void gil_request_drop(void);
/* Nobody waits for ts to give up the GIL: giving it up must not wait until somebody has taken it. */
void ts_forget_drop_request(PyThreadState *ts);
/* sys.getswitchinterval(), in ns. Needs no GIL. */
int64_t gil_interval(void);
/* After this no thread without the GIL is about to write to a thread state that is attached nowhere. */
void ts_settle(void);

/* -- pending.c: pending signals, and the main thread ------------------------------------------ */

/* The interpreter's main thread is the one that runs the main goroutine: only that one runs signal handlers.
 * True: this thread is it from now on; false: no thread is. */
void main_thread_set(bool mine);
/* Is this thread it? Needs no GIL. */
bool on_main_thread(void);
/* Has a signal come whose handler has not run, or a script from another process? Needs no GIL. */
bool signals_pending(void);
/* Can such a script come, of which nobody is told? Needs no GIL. */
bool remote_scripts(void);
/* The handlers are about to be called, of all signals that have come. */
void signals_clear(void);
/* A handler has raised, and other signals may still wait: main must look again. */
void signals_again(void);
/* Makes the main goroutine, which runs Python code, look for signals. Needs no GIL. */
void signals_force(void);

/* -- chunks.c: data stacks -------------------------------------------------------------------- */

#define CHUNK_SIZE 1280 /* no other chunk or arena has this size, by which the arena hook knows them */
/* Samplers, from 3.14 on, read this much of each chunk, from another process, before they know its size. */
#if PY_VERSION_HEX >= 0x030E0000
#define CHUNK_READ (16UL << 10)
#else
#define CHUNK_READ 0UL
#endif
/* ts gives back the chunk that it keeps for when it is deep again. */
#if PY_VERSION_HEX >= 0x030D0000
extern size_t spare_chunk_at; /* where in a thread state; 0: this CPython keeps none (offsets.c) */
void free_spare_chunk(PyThreadState *ts);
static inline void
ts_free_spare_chunk(PyThreadState *ts)
{
    if (unlikely(spare_chunk_at && *(void **)((char *)ts + spare_chunk_at)))
        free_spare_chunk(ts);
}
#else
static inline void
ts_free_spare_chunk(PyThreadState *ts)
{
    (void)ts;
}
#endif
/* Gives a thread state that never ran the block `mem` as its first data-stack chunk. */
void ts_set_chunk(PyThreadState *ts, void *mem, size_t size);

/* -- recursion.c: how deep C may call --------------------------------------------------------- */

/* How much of each stack CPython needs for itself, beyond what it keeps free: 3.14's JIT. */
extern size_t ts_stack_reserve;
/* Code that ts runs in C, none of which runs yet, has this stack. */
void ts_set_stack(PyThreadState *ts, char *lo, char *hi);
/* It has that of whichever OS thread attaches ts next. */
void ts_set_thread_stack(PyThreadState *ts);
/* C code of the running ts goes on on another stack, from one of `from` bytes. Returns what ts_leave_stack
 * takes. */
int ts_enter_stack(PyThreadState *ts, size_t from, char *lo, char *hi);
/* It is back on the stack that it was on before. */
void ts_leave_stack(PyThreadState *ts, int entered, char *lo, char *hi);
/* 3.13: C counts further than a stack of 8 MiB holds. */
extern const bool c_recursion_is_deep;
/* 3.11: calls in C and in Python have one counter, which is large enough for the latter. */
extern const bool c_recursion_uncounted;
/* From now on C code that calls Python code comes to hooks.eval_deep, or no longer does. 3.11;
 * async-signal-safe. */
void eval_watch(bool on);

/* -- frame.c: frames -------------------------------------------------------------------------- */

/* A Python frame. All is borrowed and holds as long as the GIL is. */
typedef struct {
    void *f;
    void *previous; /* of f, as it was read with it */
    PyCodeObject *code;
    PyObject *globals;
    int lasti; /* byte offset of the instruction in the code */
    char *sp;  /* where its evaluation stack begins */
} pyframe;
/* The innermost frame of ts. False: there is none. With `care` (os.h) no lock is needed and any thread may
 * ask at any time, signal handlers too: what is read is looked at before it is followed, and a stack that
 * changes meanwhile may end early. Then at->code may be looked into by what follows only, with care. */
bool frame_first(pyframe *at, PyThreadState *ts, enum care care);
/* The one that called *at. False: there is none left. */
bool frame_next(pyframe *at, enum care care);
/* Where the frame's memory ends: with its evaluation stack as far as that is used or, while the frame runs,
 * with all of it; the words behind the top may be old ones then. */
char *frame_end(const pyframe *at);
/* A word of a frame's memory; of a reference only its address. */
uintptr_t frame_word(const char *frame, size_t at);
/* Where a frame may lie within this object (a generator's, a frame object's); SIZE_MAX: it has none. */
size_t object_frame(PyObject *op);

/* ts, which has no frame, is about to call what has some, or what has none. 3.15's samplers take a thread
 * state for broken whose only frame is the one that every chain of frames ends in. */
#if PY_VERSION_HEX >= 0x030F0000
void ts_has_frames(PyThreadState *ts, bool some);
#else
static inline void
ts_has_frames(PyThreadState *ts, bool some)
{
    (void)ts, (void)some;
}
#endif

/* -- code.c: code objects --------------------------------------------------------------------- */

/* What names a code object, and its table of lines. */
typedef struct {
    PyCodeObject *code;
    PyObject *filename, *qualname, *linetable;
    int firstline;
} codeview;
/* Fills it in. False: it is not a code object, or not any more. */
bool code_look(codeview *v, PyCodeObject *code, enum care care);
/* The line of the instruction at a byte offset; 0 or less: it has none, or the table is gone. */
int code_line(const codeview *v, int lasti, enum care care);
/* The size of its instructions, in bytes. */
size_t code_size(PyCodeObject *code);
/* One pointer of ours in each code object. `freed` is called with it when the code object dies. -1: exception
 * set. */
int code_extra_init(void (*freed)(void *));
/* That pointer; NULL: none was given. */
void *code_extra(PyCodeObject *code);
/* The same with care. CPython may be moving the slots: the result may be anything, and is looked at with care
 * too. */
void *code_extra_look(PyCodeObject *code, enum care care);
/* Gives it one. -1: exception set. */
int code_set_extra(PyCodeObject *code, void *extra);

/* -- object.c: what lies where in objects ----------------------------------------------------- */

/* The module that globals are of (__name__); NULL: none. Borrowed. Without care, too, no Python code runs and
 * no exception is set or cleared. */
PyObject *globals_name(PyObject *globals, enum care care);
/* Where the text of a str lies, as the kind 1, 2 or 4 bytes per character; 0: s is not a str. */
int str_data(PyObject *s, const char **data, Py_ssize_t *length, enum care care);
/* How many bytes of its block lie before an object of this type; the GC_HEAD ones right before it are the
 * collector's. */
size_t object_prefix(PyTypeObject *t);
#define GC_HEAD (2 * sizeof(uintptr_t))
/* Does an object without items take more than tp_basicsize says? */
bool type_has_tail(const PyTypeObject *t);
/* What ctypes.byref(x) refers to: x, a new reference. NULL: exception set. */
PyObject *byref_target(PyObject *ref);
/* An object of ours in each heap type; it goes with the type. Borrowed; NULL: none. */
PyObject *type_note(PyTypeObject *type);
/* Puts another one there; steals the reference. */
void type_set_note(PyTypeObject *type, PyObject *note);

/* -- collector.c: CPython's collector --------------------------------------------------------- */

/* Is it on (gc.enable)? */
bool collector_enabled(void);
/* Does it run? */
bool collector_busy(void);
/* gc.get_threshold(). */
void collector_thresholds(int t[3]);
/* gc.set_threshold(). */
void collector_set_thresholds(const int t[3]);
/* Has the youngest generation outgrown its threshold? (If so it is not the program that asked for a
 * collection.) */
bool collector_young_is_due(void);
/* The size of the youngest generation, as CPython counts: allocations less deallocations. */
size_t collector_young_count(void);
/* Only the thresholds decide whether the oldest generation is collected next, not CPython's rule of the
 * quarter. */
void collector_allow_full(void);
/* Puts what survived in the middle generation behind the old one, and up to n of the old one's first objects,
 * which were looked at longest ago, into the young one; giant containers stay, at the end. Returns how many
 * the young one has then. */
size_t collector_slice(size_t n);
/* Leaves the n oldest objects in the young generation, and puts the others behind the old one. */
void collector_sample(size_t n);
/* gc.garbage, borrowed; NULL: none any more. */
PyObject *collector_garbage(void);
/* Switches gc.DEBUG_SAVEALL; false: the program has it on. */
bool collector_save_all(bool on);
/* The list of functions that the collector calls, in place of gc.callbacks, which is returned. Steals and
 * gives references. NULL: it has none any more. */
PyObject *collector_set_callbacks(PyObject *list);
/* Calls `is` for all containers that the collector knows, frozen ones included, until it returns true. */
bool collector_find(bool (*is)(PyObject *op, void *arg), void *arg);
/* Calls f for all of them. */
void collector_each(void (*f)(PyObject *op, void *arg), void *arg);
/* Visits what the interpreter holds itself: modules, builtins, frames and what else a thread state has. */
void interpreter_roots(visitproc visit, void *arg);
/* A container (PyObject_IS_GC): was tp_finalize called already? Nobody calls it then. */
bool gc_is_finalized(PyObject *op);
/* Says so of it, or takes it back. */
void gc_set_finalized(PyObject *op, bool finalized);
/* Has the collection that runs now found op unreachable? Between collections, and once op is deallocated,
 * false. */
bool gc_is_garbage(PyObject *op);
/* How many collections there were. */
uint64_t gc_collections(void);

/* -- threading.c: the module threading -------------------------------------------------------- */

/* The module, borrowed, or NULL: nobody has loaded it. */
PyObject *threading_module(void);
/* The name that threading has for a thread: a new str, or NULL. No Python code runs. */
PyObject *thread_name_of(unsigned long ident);
/* From now on threading_hooks knows the module. False: nobody has loaded it. */
bool threading_found(void);
/* The trace and the profile function that threading gives a new Thread, borrowed; NULL: none. No Python code
 * runs. */
void threading_hooks(PyObject **trace, PyObject **profile);
/* Does a debugger start new Threads in threading's place, to trace them? */
bool threading_start_replaced(void);
/* Is there any of these? Asked at each go(). No Python code runs. */
bool threading_hooked(void);
/* threading has no record of this thread any more. May run destructors. */
void threading_forget(unsigned long ident);
/* In the child of a fork, before CPython's own repair: nor of those threads for whose identifiers lost() is
 * true. */
void threading_forget_lost(bool (*lost)(unsigned long ident));
/* In the child of a fork: main, whose thread has this identifier, gets another handle if threading takes the
 * one that it has for ended. */
void threading_main_forked(unsigned long ident);
/* In the child of a fork, before CPython's own repair: nobody holds the lock that threading needs for
 * that. */
void threading_lock_after_fork(void);

/* -- lock.c, and the conventions of methods that rlock.c and bufferedio.c replace ------------- */

/* What acquire(blocking=True, timeout=-1) of a lock was called with, as nanoseconds, 0: not to wait; -1: for
 * ever. -1 with an exception set, as CPython words it. */
int lock_timeout(PyObject *args, PyObject *kw, int64_t *ns);
/* _thread.RLock's own fields, guarded by the GIL. rlock.c proves before it uses them that they are there. */
typedef struct {
    PyObject_HEAD
#if PY_VERSION_HEX >= 0x030E0000
    PyMutex lock;
    unsigned long long owner; /* 0: none */
    size_t level;             /* how often it has taken the lock again */
#else
    PyThread_type_lock lock;
    unsigned long owner, count; /* the owner counts only while count > 0 */
#endif
} rlock;
/* The fields of a lock that nobody has. -1: exception set. */
int rlock_make(rlock *l);
/* Takes the lock itself, which is free or another owner's: waits, without the GIL, until it is taken: 1; or
 * until `timeout` nanoseconds (-1: for ever) are over: 0. -1: a signal's handler raised. */
int rlock_wait(rlock *l, int64_t timeout);
/* The same, for as long as it takes, whatever signals come. */
void rlock_lock(rlock *l);
/* Takes it if it is free. */
static inline bool
rlock_try(rlock *l)
{
#if PY_VERSION_HEX >= 0x030E0000
    uint8_t free = 0;
    return __atomic_compare_exchange_n(&l->lock._bits, &free, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
#else
    return PyThread_acquire_lock(l->lock, 0);
#endif
}
/* How many times its owner has it; 0: nobody has. */
static inline unsigned long
rlock_count(const rlock *l)
{
#if PY_VERSION_HEX >= 0x030E0000
    return l->owner ? l->level + 1 : 0;
#else
    return l->count;
#endif
}
/* Whoever holds the lock itself is its owner, `count` times. */
static inline void
rlock_set(rlock *l, unsigned long owner, unsigned long count)
{
    l->owner = owner;
#if PY_VERSION_HEX >= 0x030E0000
    l->level = count - 1;
#else
    l->count = count;
#endif
}
/* Its owner gives it back. */
static inline void
rlock_free(rlock *l)
{
    l->owner = 0;
#if PY_VERSION_HEX >= 0x030E0000
    l->level = 0;
    PyMutex_Unlock(&l->lock);
#else
    l->count = 0;
    PyThread_release_lock(l->lock);
#endif
}
/* Do an RLock's functions for a Condition ask who runs? */
#define RLOCK_SAVE_ASKS (PY_VERSION_HEX >= 0x030E0000)
/* Are its methods called with vectors of arguments? */
#define RLOCK_FASTCALL (PY_VERSION_HEX >= 0x030F0000)
/* How truncate of a buffered file is called. */
#if PY_VERSION_HEX >= 0x030C0000
#define BUFFERED_TRUNCATE (METH_METHOD | METH_FASTCALL | METH_KEYWORDS)
#else
#define BUFFERED_TRUNCATE METH_FASTCALL
#endif

/* -- atfork.c: the child of a fork ------------------------------------------------------------ */

/* In the child of a fork, of Python or of C: the thread state of the thread that is left, if no other thread
 * was in the interpreter; else NULL. Takes no lock. */
PyThreadState *compat_forked(void);
/* Must the thread that forked itself go through CPython's repair of the child? */
bool fork_keeps_thread(void);
/* ts is the main one now, and this thread the main thread. Takes no lock. */
void compat_after_fork(PyThreadState *ts);

#endif
