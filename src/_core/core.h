/* core.h: the vocabulary of the runtime: its structures, and the rules for them. What a noun can do is in its
 * own header, beside its file (sched/g.h, sched/stack.h, sync/chan.h, ...). Words that gort uses in a sense
 * of its own are explained in docs/internals/words.md.
 *
 *   g      a goroutine: a C stack and a PyThreadState of its own. Lives at the top of its stack.
 *   m      an OS thread that runs goroutines ("machine"). m0 is the process's main thread.
 *   p      the right to run goroutines; there are GOMAXPROCS of them. Holds a queue of runnable goroutines.
 *   sudog  a goroutine's place in the queue of a channel or lock. Lives on the waiting goroutine's stack
 *          (waiter_for).
 *   timer  an entry of the timer heap.
 *
 * THE LOCK. The core is for builds with the GIL, and the GIL is the scheduler's lock: anyone who reads or
 * writes anything below holds it, unless the field's comment says otherwise. These work without it:
 *
 *   - sysmon reads (what it follows stays readable; of a g that was given up it reads zeros), writes its own
 *     fields and some atomic ones, and wakes or makes Ms;
 *   - an M that starts (mstart), sleeps (stopm) or ends touches its own record and the lists of Ms until it
 *     has the GIL (gil_take), or once it has given it up for good;
 *   - a plain thread that ends puts its record into free_threads (thread_ended);
 *   - in the child of a fork that C code made without the GIL, the one thread that is left does everything
 *     (fork.c);
 *   - signal handlers read, set atomic flags, and open the guard of the stack that they interrupted
 *     (morestack_fault).
 *
 * sched.lock, a leaf taken by idlelock(), guards what these share with the others: the list of idle Ms and
 * how many there are, the list of all Ms and mcount, and the records that can be used again (mfree,
 * free_threads).
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
/* What only the tests call: meson's option `tests`. */
#ifndef GORT_TESTS
#define GORT_TESTS 0
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
typedef struct thread thread;

/* Go's numbers, as schedtrace prints them. Glost is gort's: alive when the process forked, gone in the
 * child. */
enum gstatus { Gidle = 0, Grunnable = 1, Grunning = 2, Gsyscall = 3, Gwaiting = 4, Gdead = 6, Glost = 9 };
enum pstatus { Pidle = 0, Prunning = 1, Psyscall = 2, Pgcstop = 3, Pdead = 4 };

/* Why a goroutine is parked. One table for dumps, schedtrace and profiles; a reason is never used for two
 * things. */
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
    X(waitReasonWaitForGCCycle, "wait for GC cycle")                                                         \
    X(waitReasonPanicWait, "panicwait")
enum waitreason {
#define X(name, text) name,
    WAIT_REASONS(X)
#undef X
        waitReasonCount
};
extern const char *const waitreason_text[waitReasonCount];

/* Why an M may not simply run a g: an M's `deny` is tested against a g's `flags`. */
enum {
    G_ANY = 1,         /* every g: an M that is locked to a goroutine denies this */
    G_MAIN = 2,        /* the main goroutine: its home is m0, every other M takes the slow path */
    G_UNPROVEN = 4,    /* has not yet shown that it parks without blocking in C: not on m0 */
    G_BLOCKS = 4 | 16, /* has lost a P while blocked or busy; until its function has ended */
    G_PROOF = 4 | 16,  /* one of these two, or 0: it parks without blocking */
    G_LOCKED = 8,      /* locked to an OS thread */
    /* not tested by deny */
    G_THREAD = 32,   /* not a goroutine: what wait queues know of a plain thread (thread.h) */
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
    bool shrunk;     /* its stack was shrunk, and it has not run since */
    bool goexiting;  /* has called goexit, which is raised again if it is swallowed */
    bool retiring;   /* its function has ended; only destructors still run */
    bool traced;     /* threading has trace or profile functions for it */
    bool extra;      /* is on another stack for the time of a call (morestack.c) */
    bool opened;     /* the guard of the stack that it is on is open (morestack.c) */
    bool greenlets;  /* has used greenlets, which hold one of its lockcount to its end */
    uint64_t parent; /* goid of the creator */
    PyCodeObject *created_code;
    PyObject *created_module; /* its module's name, or NULL; lives as long as created_code does */
    int created_lasti;        /* byte offset in created_code */
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
    p *nextp;   /* the P that it takes when it wakes */
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
    char *g0_lo, *g0_hi; /* bounds of the scheduler's stack, if it is m0's; the sanitizer wants all */
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

/* A g with G_PTHREAD. In the child of a fork that another thread made, queues go on pointing to its sudogs,
 * but its stack is given to the next thread, or unmapped: so they do not lie there. */
typedef struct {
    g g;
    waiter *free;
} pthread_g;

/* For a fork: what becomes of a lock if the goroutine that waits for it, or that it was handed over to but
 * has not run since, is lost. */
struct handover {
    wait *w;
    void *lock;
    void (*lost)(void *lock, bool woken);
    handover *outer;
};

/* The scheduler's state. */
struct sched {
    bool ending;            /* main has returned and the threads are joined: atexit handlers run */
    _Atomic bool stopping;  /* the interpreter is about to end: nothing more is scheduled */
    PyThreadState *stopper; /* of the thread that ends it, or the process */
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
    uint64_t importer; /* the goroutine that has the import lock, if it is one's that has */
    m *allm;
    thread *threads; /* all that have waited in gort, linked by alllink; never freed */
    int32_t mcount;
    int32_t maxmcount;
    int64_t handoffs, mcreated, mainmoves;
    _Atomic int32_t lock; /* idlelock */
    m *midle;             /* idle and not locked to a goroutine, the latest first */
    m *mfree;             /* records of Ms whose threads have ended */
    int32_t nmidle, nmidlelocked;
    _Atomic int32_t ntakeover; /* Ms woken for a takeover that have not got the GIL yet */
    _Atomic int32_t nwaitgil;  /* threads in gil_take */
    _Atomic uint32_t gilturns; /* how often one of them has got it */
    _Atomic int64_t coarse;    /* nanotime, as of sysmon's or an idle M's last look */
    _Atomic int64_t timer0;    /* when the first timer is due; INT64_MAX: none */
    _Atomic int64_t forcegc;   /* when a full collection is due by time; INT64_MAX: never */
    _Atomic uint32_t sysmonnote;
    _Atomic bool sysmonwait;
    _Atomic bool sysmonslow; /* it looks seldom: no goroutine makes progress, none is runnable */
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

/* What runs here: a goroutine, or what stands for a plain thread in wait queues, which is made at its first
 * wait. NULL: exception set. */
g *getg(void);

#endif
