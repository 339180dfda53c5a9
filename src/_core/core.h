/* core.h: the vocabulary of the runtime; every other file includes it first.
 *
 *   g      a goroutine: a C stack and a PyThreadState of its own. Lives at the top of its stack.
 *   m      an OS thread that runs goroutines ("machine"). m0 is the process's main thread.
 *   p      the right to run goroutines; there are GOMAXPROCS of them. Holds a queue of runnable goroutines.
 *   sudog  a goroutine's place in the queue of a channel or lock. Lives on the waiting goroutine's stack (waiter_for).
 *   timer  an entry of the timer heap.
 *
 * THE LOCK. The core is for builds with the GIL, and the GIL is the scheduler's lock: whoever reads or writes
 * anything below holds it, unless the field's comment says otherwise. Two parties do without it: sysmon,
 * which reads (what it follows stays readable; of a g that was given up it reads zeros), writes its own fields and some atomic ones, and wakes or makes Ms;
 * and signal handlers, which only read. sched.lock, a leaf taken by idlelock(), guards what sysmon shares with the
 * others: the list of idle Ms and that of all Ms.
 *
 * THE RULE OF PYTHON CODE. Between the moment a goroutine puts itself into a wait queue and the moment its
 * stack is switched away, no Python code may run and the GIL may not be released: a waker could find the
 * goroutine queued but not yet parked. So nothing on that path allocates a GC-tracked object or drops the
 * last reference to one.
 */
#ifndef GORT_CORE_H
#define GORT_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef GORT_DEBUG
#define GORT_DEBUG 0
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((noinline))

/* A broken invariant: Go's throw. Never returns, needs no lock (os/throw.c). */
_Noreturn void throw(const char *text);
#if GORT_DEBUG >= 1
#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (unlikely(!(cond)))                                                                               \
            throw("check failed: " #cond);                                                                   \
    } while (0)
#else
#define check(cond) ((void)0)
#endif

typedef struct g g;
typedef struct m m;
typedef struct p p;
typedef struct sudog sudog;
typedef struct timer timer;
typedef struct chan chan;
typedef struct ancestors ancestors;
typedef struct handover handover;

/* Go's numbers, as schedtrace prints them. Glost is gort's: alive when the process forked, gone in the child. */
enum gstatus { Gidle = 0, Grunnable = 1, Grunning = 2, Gsyscall = 3, Gwaiting = 4, Gdead = 6, Glost = 9 };
enum pstatus { Pidle = 0, Prunning = 1, Psyscall = 2, Pgcstop = 3, Pdead = 4 };

/* Why a goroutine is parked. One table for dumps, schedtrace and profiles; a reason is never used for two things. */
#define WAIT_REASONS(X)                                                                                      \
    X(waitReasonZero, "")                                                                                    \
    X(waitReasonChanReceive, "chan receive")                                                                 \
    X(waitReasonChanSend, "chan send")                                                                       \
    X(waitReasonSelect, "select")                                                                            \
    X(waitReasonSelectNoCases, "select (no cases)")                                                          \
    X(waitReasonSleep, "sleep")                                                                              \
    X(waitReasonSemacquire, "semacquire")                                                                    \
    X(waitReasonMutexLock, "sync.Mutex.Lock")                                                                \
    X(waitReasonRWMutexLock, "sync.RWMutex.Lock")                                                            \
    X(waitReasonRWMutexRLock, "sync.RWMutex.RLock")                                                          \
    X(waitReasonWaitGroupWait, "sync.WaitGroup.Wait")                                                        \
    X(waitReasonCondWait, "sync.Cond.Wait")                                                                  \
    X(waitReasonGoexit, "goexit")                                                                            \
    X(waitReasonFinalizerWait, "finalizer wait")                                                             \
    X(waitReasonWaitForGCCycle, "wait for GC cycle")
enum waitreason {
#define X(name, text) name,
    WAIT_REASONS(X)
#undef X
        waitReasonCount
};
extern const char *const waitreason_text[waitReasonCount];

/* Why an M may not simply run a g: an M's `deny` is tested against a g's `flags`. */
enum {
    G_ANY = 1,      /* every g: an M that is locked to a goroutine denies this */
    G_MAIN = 2,     /* the main goroutine: its home is m0, every other M takes the slow path */
    G_UNPROVEN = 4, /* has not yet shown that it parks without blocking in C: not on m0 */
    G_LOCKED = 8,   /* locked to an OS thread */
    /* not tested by deny */
    G_BLOCKS = 16,   /* has lost a P while blocked or busy; stays unproven for good */
    G_THREAD = 32,   /* no goroutine but a plain thread that waits in gort */
    G_SYSTEM = 64,   /* the runtime's own: not counted, and not shown while it is idle */
    G_PTHREAD = 128, /* its stack is a pthread's, which a fork that loses it gives to others: a pthread_g */
};

/* A goroutine. The struct lies at the top of its own stack, so that a parked goroutine touches one page. */
struct g {
    void *sp;          /* saved stack pointer while it does not run */
    PyThreadState *ts; /* its own; NULL until its first life */
    m *m;              /* the M that runs it, else NULL */
    g *schedlink;      /* next in a run queue or free list */
    uint8_t status;    /* enum gstatus; sysmon reads it */
    uint8_t waitreason;
    uint8_t flags;
    uint32_t lockcount; /* depth of lock_os_thread */
    m *lockedm;
    uint64_t goid;
    int64_t waitsince; /* coarse nanotime when it parked */
    char *stack_lo;    /* lowest usable address (above the guard) */
    char *stack_hi;    /* where C frames begin */
    PyObject *fn;      /* what to call; args[0] is scratch for vectorcall */
    PyObject **args;
    Py_ssize_t nargs;
    PyObject *kwnames;
    PyObject *context; /* contextvars to start with: copied by the goroutine itself if copy_context */
    bool copy_context;
    bool shrunk;     /* its stack was, and it has not run since */
    bool goexiting;  /* called goexit: met again if swallowed */
    bool retiring;   /* its function has ended; what is left are destructors */
    bool traced;     /* threading has trace or profile functions for it */
    bool extra;      /* is on a stack that it has for a call (morestack.c) */
    bool opened;     /* ... the guard of the stack that it is on was */
    bool greenlets;  /* has used greenlets, which hold one of its lockcount to its end */
    uint64_t parent; /* goid of the creator */
    PyCodeObject *created_code;
    PyObject *created_module; /* its module's name, or NULL; lives as long as created_code does */
    int created_lasti;        /* byte offset in created_code */
    int c_budget;             /* C recursion that its stack allows */
    uint32_t slab, nth;       /* where its stack is (stack.c); 0: on the main thread's own */
    ancestors *ancestors;     /* tracebackancestors: where its creators were; else NULL */
    void *fake_stack;         /* AddressSanitizer's */
    /* its calls into C and back that have not returned, the innermost first (cgo.h) */
    struct cgoframe *cgo;
    /* locks that it waits for, or was given and does not know of yet, the innermost first */
    handover *handover;
};

/* A short argument list lies right below the g. Its first word is vectorcall's scratch. */
#define INLINE_ARGS 8
#define inline_args(gp) ((PyObject **)(gp) - INLINE_ARGS)

/* An OS thread that runs goroutines. */
struct m {
    g *curg;    /* the goroutine that runs on it (in the interpreter or in C), NULL on g0; sysmon reads it */
    p *p;       /* NULL: idle, or its goroutine was in C when the P was taken away; sysmon reads it */
    p *nextp;   /* the P it shall have when it wakes */
    g *nextg;   /* and the goroutine to run first */
    void *g0sp; /* saved stack pointer of the scheduler's own stack */
    PyThreadState *ts;   /* the scheduler's own thread state */
    PyThreadState **tss; /* where libpython keeps this thread's current thread state (3.12+), or NULL */
    uint8_t deny;        /* flags of goroutines that it may not simply run */
    p *standby; /* takeover: the P whose next goroutine it stands by for, and the schedtick of that */
    uint32_t standbytick;
    bool chain;            /* takeover: goroutines block in C one after the other: have the next M stand by */
    _Atomic bool takeover; /* woken by sysmon to take a P from a goroutine that is blocked or busy */
    bool inidle;           /* asleep, and may be taken by midleget; under idlelock */
    _Atomic bool stopped;  /* the interpreter ends, and this M sleeps for good */
    bool exiting;          /* its locked goroutine ended: the thread ends */
    g *lockedg;
    unsigned long ident; /* Python's thread identifier */
    int32_t tid;         /* the kernel's */
    int32_t id;
    _Atomic uint32_t note;  /* futex: 1 when woken */
    m *idlelink, *idleprev; /* the list of idle ones; under idlelock */
    m *alllink, *allprev;
    void *altstack;      /* its signal stack, if we made it */
    char *g0_lo, *g0_hi; /* bounds of the scheduler's stack, for the sanitizer */
    void *g0_fake;
};

typedef struct {
    g *head, *tail;
    int32_t size;
} gqueue;

struct p {
    int32_t id;
    uint8_t status;       /* sysmon reads it */
    m *m;                 /* sysmon reads it */
    uint32_t schedtick;   /* incremented at each schedule; sysmon reads it */
    uint32_t syscalltick; /* times it was taken from a goroutine in C */
    gqueue runq;
    p *idlelink;
    /* sysmon's own memory of this P */
    uint32_t seentick;
    int64_t seenwhen;
};

/* Something a goroutine waits for: shared by the sudogs of one select. */
typedef struct {
    g *g;
    sudog *fired; /* the sudog that a waker took; NULL: not woken (yet) */
} wait;

struct sudog {
    wait *w;
    sudog *next, *prev;
    PyObject *elem; /* a value to send (owned), or where a waker puts the received one (owned) */
    bool success;   /* false: woken because the channel was closed */
    bool queued;
    int32_t ncase; /* select: which case */
};

typedef struct {
    sudog *head, *tail;
} waitq;

/* What a goroutine that waits in one queue needs for it. */
typedef struct waiter {
    union {
        wait w;              /* first: a sudog leads to it */
        struct waiter *next; /* of those that are not in use */
    };
    sudog s;
    bool parked; /* cond.c */
} waiter;

/* A g with G_PTHREAD. In the child of a fork that another thread made, queues go on pointing to its sudogs, but its stack
 * is given to the next thread, or unmapped: so they do not lie there. */
typedef struct {
    g g;
    waiter *free;
} pthread_g;

/* For a fork: what becomes of a lock if the goroutine that waits for it, or that it was handed over to but has not run
 * since, is lost. */
struct handover {
    wait *w;
    void *lock;
    void (*lost)(void *lock, bool woken);
    handover *outer;
};

/* The scheduler's state. */
struct sched {
    bool ending;           /* main has returned and the threads are joined: atexit handlers run */
    _Atomic bool stopping; /* the interpreter is about to end: nothing more is scheduled */
    _Atomic bool
        attention; /* timers are due or a signal waits: look before the next switch; sysmon sets it */
    int32_t nprocs;
    int32_t npidle;
    p *pidle;
    gqueue runq; /* global */
    bool firing; /* runtimers is at work: what it readies is collected in `fired` */
    gqueue fired;
    int64_t ngoroutines; /* main included */
    int64_t nthreads;    /* plain threads parked in gort */
    uint64_t goidgen;
    m *allm;
    m *threads; /* records of plain threads that waited in gort; linked by alllink, never freed */
    int32_t mcount;
    int32_t maxmcount;
    int64_t handoffs, mcreated, mainmoves;
    _Atomic int32_t lock; /* idlelock */
    m *midle;             /* idle and not locked to a goroutine, the last one first */
    m *mfree;             /* records of Ms whose threads have ended */
    int32_t nmidle, nmidlelocked;
    _Atomic int32_t ntakeover; /* Ms woken for a takeover that have not got the GIL yet */
    _Atomic int32_t nwaitgil;  /* threads in gil_take */
    _Atomic uint32_t gilturns; /* how often one has got it there */
    _Atomic int64_t coarse;    /* nanotime, as of sysmon's or an idle M's last look */
    _Atomic int64_t timer0;    /* when the first timer is due; INT64_MAX: none */
    _Atomic int64_t forcegc;   /* when a full collection is, though the heap has not grown; the same */
    _Atomic uint32_t sysmonnote;
    _Atomic bool sysmonwait;
    _Atomic bool sysmonslow; /* it looks seldom, because no goroutine gets on and none can */
    bool sysmonstarted;
    int32_t schedtrace, scheddetail;
    int64_t starttime;
    bool throwing;
    bool owing; /* timer.c has left something to do that may run Python code */
};
extern struct sched sched;
extern m *m0; /* the main goroutine's home */
extern g *maing;
#define MAXPROCS 4096
extern p *allp[MAXPROCS];

/* -- the running goroutine -------------------------------------------------------------------- */

/* The M of this OS thread; NULL in a thread that runs no goroutines. Out of line: a goroutine may move to
 * another thread at every switch, and a compiler may keep the address of a thread-local across calls. */
noinline m *getm(void);
extern _Thread_local m *this_m __attribute__((tls_model("initial-exec")));
/* The same for a function that asks once, before it calls anything. */
static inline m *
getm_first(void)
{
    return this_m;
}

/* The running g; makes one for a plain Python thread that never waited in gort before. NULL: MemoryError. */
g *getg(void);

/* -- sched.c ---------------------------------------------------------------------------------- */

int schedinit(void);
/* Parks until goready(gp), or, main only, until a signal waits: the caller knows from its `wait`. */
void gopark(g *gp, enum waitreason why);
/* Makes a parked goroutine runnable. Any thread that holds the GIL; no Python code runs. */
void goready(g *gp);
void goschedule(g *gp);
/* If main is parked and a signal waits: it shall run the handlers. */
void interrupt_main(void);
/* Ends the running goroutine gp, which is on the free list already, and runs others. Its next life continues after the
 * call. */
void godead(g *gp);
/* Main was interrupted in a park: runs the signal handlers. -1 with an exception set. */
int check_signals(void);
void runqput(g *gp);
void newproc1(g *gp);
void timer_added(void); /* by somebody who will not look at the heap */
void resumed(g *gp);
int procresize(int32_t n);
m *allocm(void);
#define M_STACK (512 << 10) /* the stack of an OS thread made for goroutines */
_Noreturn void thread_limit_exceeded(void);
_Noreturn void thread_refused(int err); /* no new thread, errno says why: the program ends */
bool startm(p *pp, g *gp);
void wake_for_takeover(p *standby, bool chain);
void wake_m0(void);
/* PyEval_RestoreThread, by a thread that is not left waiting while others give up the GIL only to take it again. */
void gil_take(PyThreadState *ts);
void lock_thread(g *gp);
void unlock_thread(g *gp);
void g0_main(void);
/* fork.c */
void fork_init(void);
void sched_after_fork(void);
extern bool fork_unfinished;
void fork_pin(g *gp); /* main, meanwhile */
void g_lost(g *gp);   /* fork.c and stacks_after_fork */
waiter *pthread_waiter(pthread_g *gp, waiter *here);
void pthread_waiter_back(pthread_g *gp, waiter *at);
void sched_stop(void);
_Noreturn void sched_abandon(g *gp);
int64_t checkdead(void); /* deadlock.c */
int deadlock_init(void);
void pidleput(p *pp);
p *pidleget(void);
void setm(m *mp);       /* of this OS thread */
void main_forked(void); /* mainthread.c; from the hook */
extern m *free_threads; /* records of plain threads that have ended; under idlelock */

static inline void
acquirep(m *mp, p *pp)
{
    mp->p = pp;
    pp->m = mp;
    pp->status = Prunning;
}

static inline void
idlelock(void)
{
    while (atomic_exchange_explicit(&sched.lock, 1, memory_order_acquire)) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

static inline void
idleunlock(void)
{
    atomic_store_explicit(&sched.lock, 0, memory_order_release);
}

/* How many Ms are not asleep: those that run a goroutine, and those on their way to sleep or to work. */
static inline int32_t
awake_ms(void)
{
    idlelock();
    int32_t n = sched.mcount - sched.nmidle - sched.nmidlelocked;
    idleunlock();
    return n;
}

/* -- ident.c, rlock.c, bufferedio.c ---------------------------------------------------------------- */

/* Who owns what is acquired here: the goroutine or the plain thread that runs. Needs no GIL. */
unsigned long owner_id(void);
extern unsigned long main_ident; /* main's */
int gort_ident_init(void);
int gort_rlock_init(void);
int gort_bufferedio_init(void);
void bufferedio_after_fork(const g *survivor);
void import_lock_after_fork(void);

/* -- g.c -------------------------------------------------------------------------------------- */

/* Starts fn(*args, **kw): args and kwnames as in vectorcall, all borrowed. `context` only from timers: what they were
 * made in; no Python code runs then. -1: exception set. */
int newproc(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *context);
int newproc_system(PyObject *fn, PyObject *context); /* the same, for fn() of the runtime itself */
int ginit(void);
/* There will be goroutines: the module threading shall tell them of main's end, and is loaded for that if it can be, on
 * the main thread (what loads it is the main thread to it). -1: exception set. */
int need_threading(void);
void gomain(void);
void proven(g *gp, bool good);
/* A goroutine's thread state has the goroutine's number for its thread's identifier, so that what finds threads by it
 * (sys._current_frames, PyThreadState_SetAsyncExc) finds each goroutine; a real one is an address. */
static inline bool
is_goid(unsigned long ident)
{
    return ident < 1UL << 32;
}
/* That of an M's own thread state, the scheduler's: odd, which no thread's is. Who finds threads by it finds what runs on
 * the M instead. */
static inline unsigned long
scheduler_ident(const m *mp)
{
    return (unsigned long)mp | 1;
}
static inline bool
is_scheduler(unsigned long ident)
{
    return !is_goid(ident) && ident & 1;
}
extern PyObject *Error, *Goexit;
extern PyObject *panic_hook, *fatal_hook, *threading_hook;

/* newproc for the program: refused once the interpreter ends. */
int newproc_user(PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* TypeError, beginning with `what`, if a call of fn does no more than to make a coroutine or a generator. -1: so it is. */
int check_runs(const char *what, PyObject *fn);
/* The same, and for what cannot be called at all. */
int check_callable(const char *what, PyObject *fn);
/* Surely no such function: nearly all. */
static inline bool
runs(PyObject *fn)
{
    if (likely(PyFunction_Check(fn)))
        return !(((PyCodeObject *)PyFunction_GET_CODE(fn))->co_flags &
                 (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR));
    return PyCFunction_Check(fn);
}
/* The exception that is set, with its traceback, as an object of the caller's; none is set then. */
PyObject *take_exception(void);
void give_exception(PyObject *exc); /* sets it; steals */

/* -- panic.c ---------------------------------------------------------------------------------- */

_Noreturn void fatal(const char *text);
int gort_panic_init(PyObject *module);

/* -- stack.c ---------------------------------------------------------------------------------- */

g *gfget(void);    /* one that is dead, or new; NULL: MemoryError set */
void gfput(g *gp); /* it is dead */
int64_t gfree_count(void);
/* All goroutines that live, main first: {0} is the beginning. Needs no lock: others may begin and end meanwhile, so the
 * status says what a g is. NULL: there are no more. */
typedef struct {
    bool begun;
    int slab;
    uint32_t word;
    uint64_t bits;
} allgs;
g *allgs_next(allgs *at);
void stacks_after_fork(const g *me);          /* in the child: all others are lost */
bool set_max_stack(size_t n, size_t *old);    /* false: no memory */
void stack_stats(size_t *inuse, size_t *sys); /* bytes of addresses */
int64_t stack_count(void);
void shrink_stacks(void);
bool stacks_ahead(void);
/* What guard addr lies in: the size of that stack, else 0. Async-signal-safe. */
size_t stack_guard_hit(const void *addr);
char *sysstack(size_t size); /* a plain stack, for m0's scheduler; returns its low end */

/* -- reclaim.c -------------------------------------------------------------------------------- */

/* When an M shall call stacks_reclaim, on its g0, with a P; INT64_MAX: there is nothing to give back. */
extern _Atomic int64_t reclaim_time;
static inline bool
reclaim_due(int64_t now)
{
    return atomic_load_explicit(&reclaim_time, memory_order_relaxed) <= now;
}
void stacks_reclaim(int64_t now, bool busy);
void stacks_reclaim_all(void);    /* at once; any thread with the GIL, which is given up meanwhile */
int64_t stacks_when(int64_t now); /* sysmon: the same time, after a look at whether there is something */
void stacks_finish(void);         /* sysmon: its part */
void reclaim_after_fork(void);
bool slabs_given(void);
void slabs_taken(void);
bool give_slabs_back(void); /* what sysmon has not done yet; true: there are empty slabs */

/* -- sigmask.c -------------------------------------------------------------------------------- */

int sigmask_init(void);         /* -1: exception set */
uint64_t sigmask_runtime(void); /* what a thread of the runtime begins with */
void sigmask_main(void);
void sigmask_m(void);
void sigmask_move(bool here);

/* -- kick.c: the runtime's own signal ---------------------------------------------------------- */

void kick_init(void);
void kick(int32_t tid);        /* ends a system call of the thread early */
uint64_t kick_bit(void);       /* in a mask; 0: there is none */
void push_mask(uint64_t mask); /* the process's first thread, which is busy, goes on with this */

/* -- signal.c --------------------------------------------------------------------------------- */

void signals_init(void);    /* installs the handlers of signals that end the process, for good */
bool quit_wanted(void);     /* hook: SIGQUIT came: sysmon shall have the dump written */
void quit(void);            /* hook: sysmon does it; ends the process */
void quit_kicked(void *uc); /* hook */
void quit_after_fork(void);
_Noreturn void crash(void); /* SIGABRT's default action */
/* Would a fault of this thread, if it had one now, come to gort's handler? Three system calls, async-signal-safe. */
bool faults_are_caught(void);
int start_dying(void);   /* 1 at the first call, 2 at the second, ... */
bool handled_in_c(void); /* hook: is there a signal handler that is neither Python's nor ours? */

/* -- chan.c, select.c, atomic.c, timer.c ---------------------------------------------- */

int gort_chan_init(PyObject *module);
int gort_select_init(PyObject *module);
int gort_atomic_init(PyObject *module);
int gort_timer_init(PyObject *module);

extern PyTypeObject *Chan_Type;
PyObject *select_run(PyObject *const *cases, Py_ssize_t n);

/* Where gp keeps its sudog while it waits: `here`, on its stack, if that stays what it is whatever happens. */
static inline waiter *
waiter_for(g *gp, waiter *here)
{
    return unlikely(gp->flags & G_PTHREAD) ? pthread_waiter((pthread_g *)gp, here) : here;
}

/* It is in no queue any more. */
static inline void
waiter_back(g *gp, waiter *at, const waiter *here)
{
    if (unlikely(at != here))
        pthread_waiter_back((pthread_g *)gp, at);
}

static inline void
waitq_push(waitq *q, sudog *s, bool front)
{
    s->queued = true;
    if (front) {
        s->prev = NULL;
        s->next = q->head;
        if (q->head)
            q->head->prev = s;
        else
            q->tail = s;
        q->head = s;
    }
    else {
        s->next = NULL;
        s->prev = q->tail;
        if (q->tail)
            q->tail->next = s;
        else
            q->head = s;
        q->tail = s;
    }
}

static inline void
waitq_remove(waitq *q, sudog *s)
{
    if (!s->queued)
        return;
    s->queued = false;

    if (s->prev)
        s->prev->next = s->next;
    else
        q->head = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        q->tail = s->prev;
#if GORT_DEBUG >= 2
    s->next = s->prev = (sudog *)0xdeaddeaddeadULL;
#endif
}

/* Takes the first waiter that nobody woke yet and that still exists (a fork loses all goroutines but one). */
static inline sudog *
waitq_pop(waitq *q)
{
    sudog *s;
    while ((s = q->head) != NULL) {
        waitq_remove(q, s);
        if (s->w->fired == NULL && s->w->g->status != Glost) {
            s->w->fired = s;
            return s;
        }
    }
    return NULL;
}

/* The first waiter that waitq_pop would take. */
static inline sudog *
waitq_peek(waitq *q)
{
    sudog *s;
    while ((s = q->head) != NULL && (s->w->fired != NULL || s->w->g->status == Glost))
        waitq_remove(q, s);
    return s;
}

/* -- greenlet.c ------------------------------------------------------------------------------- */

int greenlet_init(void); /* -1: exception set */
/* The method's entry in its module's or type's table, if it is called as `flags` say; else NULL, no exception set. */
PyMethodDef *method_of(PyObject *owner, const char *name, int flags);

/* -- morestack.c ------------------------------------------------------------------------------ */

int morestack_init(void); /* -1: exception set */
/* Calls fn(arg), which may park, on a stack of 8 MiB. False: there is none, and it was not called. */
bool morestack(g *gp, void (*fn)(void *), void *arg);
/* How far above its end the guard of a stack of this size lies, and is opened when it is reached; 0: it lies at the end. */
size_t redzone(size_t stride);
/* gp, which runs, has touched addr in the frame at its stack pointer. True: it goes on. Async-signal-safe. */
bool morestack_fault(g *gp, const char *addr);
void morestack_close(g *gp); /* at its end, if it is opened */
/* Hook: eval(arg) on a stack with room for it. False: there is none. */
bool morestack_eval(PyThreadState *ts, void (*eval)(void *), void *arg);
void morestack_shrink(void);
size_t morestack_bytes(void);
void morestack_after_fork(g *gp);

/* -- session.c ---------------------------------------------------------------------------------- */

int gort_session_init(PyObject *module);
/* An exception escaped a goroutine. True: main has been told, and the goroutine ends quietly. */
bool session_takes(PyObject *exc);
/* On g0, main is parked: all are asleep. True: main shall be told, by whoever looks for work next. */
bool session_is_dead(const char *text);
bool session_waits(void); /* main shall be told something */
/* Is it a signal handler of whoever runs the session, who wakes nobody by it? */
bool session_handles(PyObject *handler);
int session_raise(void); /* main's wait was interrupted: -1 if it has been told something, which is raised */
void session_after_fork(void);

/* -- mfinal.c --------------------------------------------------------------------------------- */

int gort_mfinal_init(PyObject *module);
/* Is it a goroutine of the runtime that runs no code of the program? Async-signal-safe. */
bool is_idle_system(const g *gp);
void special_freed(void *p);      /* hook */
void finalizers_forked(void);     /* in the child, before all Python code */
void finalizers_after_fork(void); /* and when it may run */
void finalizers_settle(void); /* a collection has ended: finds the order of the finalizers that it came to */
void finalizers_stop(void);   /* the program ends: lets go of everything; runs destructors */
/* Each finalizer that is set or waits to run. An object that is none of the heap's may be gone: its address tells which
 * it was. Nothing may change meanwhile. */
void finalizers_each(void (*visit)(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting));

/* -- sysmon.c --------------------------------------------------------------------------------- */

void sysmon_start(void);
void sysmon_try_start(void);   /* for what can do without it */
void sysmon_memory_idle(void); /* hook */
void sysmon_wake(void);
/* There is something to do, or to do at a time, and whoever is to do it may stay in C. */
static inline void
sysmon_notice(void)
{
    if (unlikely(atomic_load_explicit(&sched.sysmonslow, memory_order_relaxed))) {
        atomic_store_explicit(&sched.sysmonslow, false, memory_order_relaxed);
        sysmon_wake();
    }
}
void sysmon_asks_no_more(void); /* at the interpreter's end */
int32_t sysmon_tid(void);       /* 0: it has not begun yet */
void sysmon_pause(void);        /* before a fork */
void sysmon_resume(void);
void sysmon_after_fork(void); /* in the child, which has none */
void schedtrace(bool detailed);

#endif
