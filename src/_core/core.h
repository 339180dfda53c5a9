/* core.h: the vocabulary of the runtime; every other file includes it first.
 *
 *   g      a goroutine: a C stack and a PyThreadState of its own. Lives at the top of its stack; never freed.
 *   m      an OS thread that runs goroutines ("machine"). m0 is the process's main thread.
 *   p      the right to run goroutines; there are GOMAXPROCS of them. Holds a queue of runnable goroutines.
 *   sudog  a goroutine's place in the queue of a channel or lock. Lives on the waiting goroutine's stack.
 *   timer  an entry of the timer heap.
 *
 * THE LOCK. The core is for builds with the GIL, and the GIL is the scheduler's lock: whoever reads or writes
 * anything below holds it, unless the field's comment says otherwise. Two parties do without it: sysmon,
 * which reads (all that it follows is never freed), writes its own fields and some atomic ones, and wakes or makes Ms;
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

/* A broken invariant: Go's throw. Never returns, needs no lock. */
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
    X(waitReasonFinalizerWait, "finalizer wait")
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
    G_BLOCKS = 16, /* has lost a P while blocked or busy; stays unproven for good */
    G_THREAD = 32, /* no goroutine but a plain thread that waits in gort */
    G_SYSTEM = 64, /* the runtime's own: not counted, and not shown while it is idle */
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
    bool traced;     /* call the start hook first: threading has trace or profile functions */
    uint64_t parent; /* goid of the creator */
    PyCodeObject *created_code;
    PyObject *created_module; /* its module's name, or NULL; lives as long as created_code does */
    int created_lasti;        /* byte offset in created_code */
    int c_budget;             /* C recursion that its stack allows */
    g *alllink;               /* list of all */
    ancestors *ancestors;     /* tracebackancestors: where its creators were; else NULL */
    void *fake_stack;         /* AddressSanitizer's */
    /* its calls into C and back that have not returned, the innermost first (cgo.h) */
    struct cgoframe *cgo;
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
    bool inidle;           /* in the idle list; under idlelock */
    _Atomic bool stopped;  /* the interpreter ends, and this M sleeps for good */
    bool exiting;          /* its locked goroutine ended: the thread ends */
    g *lockedg;
    unsigned long ident; /* Python's thread identifier */
    int32_t tid;         /* the kernel's */
    int32_t id;
    _Atomic uint32_t note; /* futex: 1 when woken */
    m *idlelink;           /* under idlelock */
    m *alllink;
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

struct timer {
    int64_t when;
    int64_t period;
    void (*f)(timer *t, int64_t now); /* runs in the scheduler: no Python code, no parking */
    int32_t index;                    /* in the heap; -1: not in it */
};

/* The scheduler's state. */
struct sched {
    bool ending;   /* main has returned and the threads are joined: atexit handlers run */
    bool stopping; /* the interpreter is about to end: nothing more is scheduled */
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
    g *gfree;
    g *allgs;
    m *allm;
    m *threads; /* records of plain threads that waited in gort; linked by alllink, never freed */
    int32_t mcount;
    int32_t maxmcount;
    int64_t handoffs, mcreated, mainmoves;
    _Atomic int32_t lock; /* idlelock */
    m *midle;
    int32_t nmidle;
    _Atomic int32_t ntakeover; /* Ms woken for a takeover that have not got the GIL yet */
    _Atomic int64_t coarse;    /* nanotime, as of sysmon's or an idle M's last look */
    _Atomic int64_t timer0;    /* when the first timer is due; INT64_MAX: none */
    _Atomic uint32_t sysmonnote;
    _Atomic bool sysmonwait;
    bool sysmonstarted;
    int32_t schedtrace, scheddetail;
    int64_t starttime;
    bool throwing;
    bool dropped; /* timer.c has references to drop */
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

/* The running g; makes one for a plain Python thread that never waited in gort before. NULL: MemoryError. */
g *getg(void);

/* -- sched.c ---------------------------------------------------------------------------------- */

int schedinit(void);
/* Parks until goready(gp), or, main only, until a signal waits: the caller knows from its `wait`. */
void gopark(g *gp, enum waitreason why);
/* Makes a parked goroutine runnable. Any thread that holds the GIL; no Python code runs. */
void goready(g *gp);
void goschedule(g *gp);
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
void thread_limit_exceeded(void);
void startm(p *pp, g *gp);
void wake_for_takeover(p *standby, bool chain);
void wake_m0(void);
void lock_thread(g *gp);
void unlock_thread(g *gp);
void g0_main(void);
void sched_after_fork(void); /* fork.c */
void sched_stop(void);
_Noreturn void sched_abandon(g *gp);
bool checkdead(void); /* deadlock.c */
void queue_push(gqueue *q, g *gp);
g *queue_pop(gqueue *q);
void pidleput(p *pp);
p *pidleget(void);
void setm(m *mp);       /* of this OS thread */
void main_moved(m *mp); /* mainthread.c */
void main_forked(void);
extern m *main_away;    /* the M that main runs on while it is not at home */
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
_Noreturn void fatal(const char *text);
/* A goroutine's thread state has the goroutine's number for its thread's identifier, so that what finds threads by it
 * (sys._current_frames, PyThreadState_SetAsyncExc) finds each goroutine; a real one is an address. */
static inline bool
is_goid(unsigned long ident)
{
    return ident < 1UL << 32;
}
extern PyObject *Error, *Goexit;
extern PyObject *panic_hook, *fatal_hook, *start_hook, *threading_hook;

/* -- stack.c ---------------------------------------------------------------------------------- */

g *stackalloc(void); /* a g at the top of a fresh stack; NULL: MemoryError set */
size_t set_max_stack(size_t n);
void stack_stats(size_t *inuse, size_t *sys); /* bytes of addresses */
int64_t stack_count(void);
void shrink_stacks(void);
bool stacks_ahead(void);
/* What guard page addr lies in: the size of that stack, else 0. Async-signal-safe. */
size_t stack_guard_hit(const void *addr);
void stack_altstack(void);   /* this thread's signal stack */
char *sysstack(size_t size); /* a plain stack, for m0's scheduler; returns its low end */

/* -- signal.c --------------------------------------------------------------------------------- */

void signals_init(void);    /* installs the handlers of signals that end the process, for good */
bool quit_wanted(void);     /* SIGQUIT came: sysmon shall have the dump written */
void quit(void);            /* sysmon: does it; ends the process */
_Noreturn void crash(void); /* SIGABRT's default action */
int start_dying(void);      /* 1 at the first call, 2 at the second, ... */

/* -- chan.c, select.c, sync.c, atomic.c, timer.c ---------------------------------------------- */

int gort_chan_init(PyObject *module);
int gort_select_init(PyObject *module);
int gort_sync_init(PyObject *module);
int gort_atomic_init(PyObject *module);
int gort_timer_init(PyObject *module);

extern PyTypeObject *Chan_Type;
bool chan_trysend(chan *c, PyObject *v); /* no Python code, no parking; false: would block or closed */
void chan_drain(chan *c);
PyObject *select_run(PyObject *const *cases, Py_ssize_t n);

void addtimer(timer *t); /* t->when set; -1 in index */
bool deltimer(timer *t);
int timer_reserve(void); /* room for one more timer; -1: MemoryError */
void runtimers(int64_t now);
void timers_after_fork(void);
void drop_dropped(void);
int gosleep(int64_t ns);
/* Seconds (float or int) as nanoseconds; -1 with an exception set if that cannot be. */
int64_t duration_ns(PyObject *o, const char *what);

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

/* -- mfinal.c --------------------------------------------------------------------------------- */

int gort_mfinal_init(PyObject *module);
/* Is it a goroutine of the runtime that runs no code of the program? Async-signal-safe. */
bool is_idle_system(const g *gp);
void finalizers_after_fork(void);
void finalizers_stop(void); /* the program ends: lets go of everything; runs destructors */
/* Each finalizer that is set or waits to run. An object that is none of the heap's may be gone: its address tells which
 * it was. Nothing may change meanwhile. */
void finalizers_each(void (*visit)(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting));

/* -- sysmon.c --------------------------------------------------------------------------------- */

void sysmon_start(void);
void sysmon_try_start(void); /* for what can do without it */
extern _Atomic bool
    scavenger_asleep; /* sysmon sleeps until somebody wakes it, and has nothing to give back */
void sysmon_wake(void);
void sysmon_pause(void); /* before a fork */
void sysmon_resume(void);
void schedtrace(bool detailed);

#endif
