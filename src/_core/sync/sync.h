/* sync.h: what the files of package sync share. All with the GIL. */
#ifndef GORT_SYNC_H
#define GORT_SYNC_H

#include "sched/wait.h"

typedef struct {
    PyObject_HEAD
    int64_t count;
    waitq waiters;
} Sema;
extern PyTypeObject *Sema_Type;
/* Gives one unit back, to the first waiter if there is one. Never waits; no Python code runs. */
void sema_release(Sema *s);
/* Sema.acquire(). -1: a signal's handler has raised, and no unit was taken. */
int sema_acquire(Sema *s);

typedef struct Mutex Mutex;
extern PyTypeObject *Mutex_Type;
Mutex *mutex_new(void);      /* NULL: MemoryError */
int mutex_lock(Mutex *mu);   /* -1: an exception, and not locked */
int mutex_unlock(Mutex *mu); /* -1: it is not locked */
/* lock(), on behalf of gp; `kept` as in wait_until. */
int mutex_wait(Mutex *mu, g *gp, PyObject **kept);

typedef struct RWMutex RWMutex;
extern PyTypeObject *RWMutex_Type, *RLocker_Type;
RWMutex *rlocker_rw(PyObject *l); /* whose readers' side the RLocker l is */
/* lock() and rlock(), on behalf of gp; `kept` as in wait_until. */
int rw_wait(RWMutex *rw, g *gp, PyObject **kept);
int rw_rwait(RWMutex *rw, g *gp, PyObject **kept);
/* -1: it is not locked in this way. */
int rw_unlock(RWMutex *rw);
int rw_runlock(RWMutex *rw);

/* Are these RWMutex's, called for l itself? */
bool rw_is_lock(PyObject *method, PyObject *l);
bool rw_is_unlock(PyObject *method, PyObject *l);

/* A Locker: an object with methods lock and unlock. Those of the core's own types are called without Python
 * code, also for an object of a derived class that has none of its own. */
enum method_kind { MethodOther, MethodMutex, MethodRLocker, MethodRWMutex };
typedef struct {
    PyObject *l;
    enum method_kind lock, unlock;
} locker;
int locker_of(locker *k, PyObject *l); /* borrows l. May run code of the program. -1: exception set */
int locker_unlock(const locker *k); /* runs code of the program if the method is its own. -1: exception set */
/* Locks on behalf of gp whatever happens: signal handlers run while it waits, what they raise is kept in
 * *kept (an exception that is there already becomes its context), and the wait goes on. Only a lock() of the
 * program's own can fail; so does everything once the interpreter ends. -1: not locked, *kept is set. */
int locker_lock_always(const locker *k, g *gp, PyObject **kept);

/* Have CPython's RLock, import lock and buffered files know goroutines. A CPython that is not as expected is
 * left as it is, with a warning. -1: exception set. */
int rlock_init(void);
int bufferedio_init(void);
/* Hooks, in the child of a fork, inside fork(). Nobody but the survivor (NULL: a plain thread) is inside a
 * buffered file, or waits to get in. */
void bufferedio_after_fork(const g *survivor);
/* The import lock is free, unless the goroutine that forked holds it. */
void import_lock_after_fork(void);
/* The goroutine that has the import lock ends without having given it back. */
void import_lock_left(void);

/* Each adds the types and functions of its file to the module, in the order of module.c. -1: exception
 * set. */
int gort_chan_init(PyObject *module);
int gort_select_init(PyObject *module);
int gort_atomic_init(PyObject *module);
int gort_timer_init(PyObject *module);
int gort_sema_init(PyObject *module);
int gort_mutex_init(PyObject *module);
int gort_rwmutex_init(PyObject *module);
int gort_waitgroup_init(PyObject *module);
int gort_cond_init(PyObject *module);
int gort_once_init(PyObject *module);
int gort_syncmap_init(PyObject *module);
int gort_pool_init(PyObject *module);
int gort_run_init(PyObject *module);

#endif
