/* mgc.c: CPython's collector under the pacer: one collection, and the functions that Python calls.
 *
 * mgcpacer.c decides; here its figures are measured, and what it wants is asked of CPython. The collector
 * itself stays CPython's, and so do gc.enable, disable, collect, freeze, callbacks and get_stats.
 *
 * How it collects. Nothing can run in the middle of an allocation, so gc_look() asks CPython to, by its
 * thresholds (mgcthreshold.c). So collections happen where CPython has them, and never while gc is disabled.
 * The collector calls callback_() when one begins and ends: gort gives it a list of callbacks with nothing
 * else in it, and calls those of the program's own list, gc.callbacks, itself. Rejected: an entry in
 * gc.callbacks, which a program may clear, and be left with thresholds that make every allocation collect.
 *
 * A full one that is due by time begins at the next allocation that looks, or in a goroutine (gc_force).
 *
 * The default thresholds of the program are (8192, never, never), which gc.get_threshold() shows; the first
 * one changes with what the young generation yields (pacer_learn). A program that sets its own gets them:
 * they say when CPython collects beside the cycles. 0 turns automatic collection off, cycles included. With
 * GOGC=off the first one is 0, so that no collection comes by count, and there is no goal from what is alive;
 * but the limit has its cycles, which gc.disable() turns off.
 *
 * Invariant
 *   From the callback's "start" to its "stop" the pacer's phase is one of those that run. At any other
 *   time it is not, except where "stop" never comes: for want of memory, or in the child of a fork that did
 *   not wait long enough for a collection of another thread.
 *
 * Lock: the GIL. gc_look() and gc_force() run no Python code. The collector calls callback_() in the thread
 * that collects; the GIL may be given up there while one of the program's callbacks runs, or a tp_clear
 * (gccheckmark).
 *
 * Differs from Go: see mgcpacer.c. runtime.gc() in the middle of a collection of its own goroutine does
 * nothing.
 */
#include "gc/mgc.h"

#include "cpython/compat.h"
#include "gc/finalizer.h"
#include "gc/gctrace.h"
#include "gc/mgcpacer.h"
#include "gc/mgcthreshold.h"
#include "mem/heap.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "sched/wait.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER INT_MAX
#define PATIENCE 100 /* milliseconds that a fork waits for the end of a collection */

gcdebug gcdebugging = {.invalidptr = 1};

static gcpacer pacer;

static struct {
    uint64_t older;           /* blocks of the earlier allocator */
    bool asked;               /* runtime.gc() calls CPython: the argument that its function does not have */
    PyThreadState *collector; /* whose collection runs; NULL: none runs, or a fork has lost it */
    waitq waiting;            /* goroutines in runtime.gc() that collect when it has ended */

    /* the collection that runs */
    int64_t marking;  /* nanotime: CPython's part of it began */
    int64_t startcpu; /* of this thread */
    const m *startm;  /* and where and when on it */
    const p *startp;
    uint32_t starttick;
    uint64_t starttotal;
    size_t startinuse;
    size_t looked; /* how many containers it looks at, if it is a young one or a slice */

    gcstats s;
    int64_t cputime; /* of all collections */
} gc;

/* -- figures for the pacer ------------------------------------------------------------------------ */

static gcmoment
measure(void)
{
    return (gcmoment){.time = nanotime(),
                      .cpu = process_cputime(),
                      .heap = heap_alloc_now(),
                      .blocks = gc.older + heap_blocks_now()};
}

/* What counts against the memory limit besides the heap: all that gort has from the system, less what is
 * idle, whether it was given back or not. Of each stack only the page that it always has counts. */
static int64_t
memory_beside(void)
{
    mheap_stats h;
    mheap_read(&h);
    return (int64_t)(h.sys - h.idle + h.span_inuse + sizeof cache - heap_alloc_now()) + stack_count() * 4096;
}

static void
set_goals(void)
{
    bool limited = pacer.limit != INT64_MAX;
    pacer_set_goals(&pacer, limited ? memory_beside() : 0);
    mheap_set_limit(limited ? (size_t)pacer.limit : SIZE_MAX);
}

/* Goals go down with the heap, as blocks are also freed without a cycle: a goal that stayed high would let
 * the heap grow again to twice what it was. */
static void
lower_goals(uint64_t heap)
{
    if (pacer_shrink(&pacer, heap))
        set_goals();
}

/* -- the time that has passed ----------------------------------------------------------------------- */

static void
set_force_time(void)
{
    atomic_store(&sched.forcegc, pacer_force_time(&pacer, nanotime(), gc.s.num_gc));
}

/* One is due by time: may it be now? The caller has set the time anew, so if not, it is asked again. */
static bool
may_force(void)
{
    return pacer.phase != Off && threshold_automatic() && pacer_may_force(&pacer, measure().blocks);
}

static PyObject *collect_forced, *empty_context;

void
gc_force(void)
{
    set_force_time(); /* first: otherwise sysmon asks again and again for one that may not be */
    if (!may_force())
        return;
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    newproc_system(collect_forced, empty_context); /* without memory: not this time */
    PyErr_Restore(type, value, tb);
}

/* What the goroutine does that gc_force starts. */
static PyObject *
collect_forced_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    /* Asked before the call, which has no argument to say that the program did not ask for it; but only if
     * the call will collect: otherwise a full collection would stay wanted. */
    bool asked = collector_enabled() && !collector_busy() && threshold_ask(WantTimed);
    PyGC_Collect();
    if (asked && pacer.phase == WantTimed)
        threshold_drop(); /* no memory to tell us of it: otherwise nothing would ask any more */
    Py_RETURN_NONE;
}

/* -- at an allocation ----------------------------------------------------------------------------- */

void
gc_look(void)
{
    uint64_t heap = heap_alloc_now();
    if (pacer.phase != Off) {
        if (nanotime() >= sched.forcegc) {
            set_force_time();
            if (may_force())
                threshold_want(WantTimed);
        }
        lower_goals(heap);
        if (heap >= pacer_goal(&pacer) && pacer_wanted(&pacer) < WantYoung && threshold_automatic())
            threshold_want(pacer_at_goal(&pacer, measure()));
    }
    heap_countdown = pacer_countdown(&pacer, heap);
}

/* -- a collection ----------------------------------------------------------------------------------- */

/* Cuts the young generation down, or adds some of the old one to it. Returns how many containers are looked
 * at. */
static size_t
prepare_young(void)
{
    if (pacer.phase == RunSlice)
        return collector_slice((size_t)pacer.slice);
    size_t young = collector_young_count();
    if (pacer.phase == RunYoung || pacer.phase == RunGoal) {
        size_t most = pacer_sample(&pacer);
        if (most != SIZE_MAX) {
            collector_sample(most);
            young = most;
        }
    }
    return young;
}

static void
collection_starts(int generation)
{
    /* First, while CPython's thresholds are those that it compared its counts with. */
    bool due = collector_enabled() && collector_young_is_due();
    enum gcphase wanted = pacer_wanted(&pacer);
    gcmoment start = measure();
    pacer_begin(&pacer, generation, due, gc.asked, start);
    if (wanted > Idle && pacer_wanted(&pacer) == Idle)
        threshold_restore(); /* before any Python code: gc.get_threshold() shows the program's */
    bool full = pacer.phase >= RunFull;
    if (full)
        gc.asked = false; /* it is this one, even if an allocation on the way into gc.collect() began it */
    gc.startcpu = thread_cputime();
    gc.startm = getm();
    gc.startp = gc.startm ? gc.startm->p : NULL;
    gc.starttick = gc.startp ? gc.startp->schedtick : 0;
    lower_goals(start.heap); /* before the trace of the start, which shows the goal */
    gc.starttotal = total_alloc_now();
    mheap_stats h;
    mheap_read(&h);
    gc.startinuse = h.inuse;
    if (full) { /* after the clock was read: the first of gctrace's three times is theirs */
        if (gcdebugging.stoptheworld > 0)
            gc_stop_the_world();
        if (gcdebugging.invalidptr > 0)
            gc_check_pointers(start.time, start.blocks);
        if (gcdebugging.checkmark > 0)
            gc_checkmark_start();
    }
    gc.looked = prepare_young();
    if ((full || pacer.phase == RunGoal) && wanted != WantRest && gcdebugging.pacertrace)
        pacertrace_start(&pacer);
    if (pacer.phase == RunFull && wanted == WantTimed && gcdebugging.trace > 0)
        write_all(errfd, "GC forced\n", 10);
    gc.marking = nanotime(); /* last: from here on it is CPython's time */
}

/* A young collection at the goal has left this heap. */
static bool
judge_young(uint64_t heap)
{
    gcmoment m = measure();
    m.heap = heap;
    if (!pacer_judge(&pacer, m))
        return false;
    threshold_want(WantRest);
    return pacer_wanted(&pacer) >=
           WantFull; /* not if the program has turned automatic collection off meanwhile */
}

static double
cpu_fraction(void)
{
    int64_t available = (nanotime() - sched.starttime) * sched.nprocs;
    return available > 0 ? (double)gc.cputime / (double)available : 0;
}

static void
cycle_ends(uint64_t heap, int64_t markend, int64_t cpu, bool measured)
{
    /* Before the pacer moves on: traces show what this cycle aimed at. */
    gccycle c = {.num = gc.s.num_gc,
                 .marking = gc.marking,
                 .markend = markend,
                 .end = nanotime(),
                 .markcpu = cpu,
                 .goal = pacer_goal(&pacer),
                 .before = pacer.least,
                 .heap = heap,
                 .allocated = total_alloc_now() - gc.starttotal,
                 .startinuse = gc.startinuse};
    if (pacer_cycle_ends(&pacer, heap, c.end, measured))
        set_goals();
    if (c.goal == UINT64_MAX)
        c.goal = 0;

    hooks.cycle_ended();

    gcstats *s = &gc.s;
    s->pause_ns[s->num_gc % PAUSES] = (uint64_t)(c.end - pacer.start.time);
    s->pause_end[s->num_gc % PAUSES] = s->last_gc = (uint64_t)(walltime() * 1e9);
    c.num = ++s->num_gc;
    s->num_forced += pacer.phase == RunForced;
    if (pacer.phase >= RunFull || s->num_gc == 1)
        set_force_time();
    c.cpu_fraction = s->cpu_fraction = cpu_fraction();
    if (gcdebugging.trace > 0)
        gctrace_cycle(&pacer, &c);
    if (gcdebugging.pacertrace > 0)
        pacertrace_end(&pacer, &c);
}

/* Has the thread done nothing but this collection since it began? Otherwise a finalizer has parked: others
 * have run here, or this is another thread. */
static bool
in_one_go(void)
{
    const m *mp = getm();
    return mp == gc.startm && (!mp || (mp->p == gc.startp && (!mp->p || mp->p->schedtick == gc.starttick)));
}

static void
collection_ends(size_t collected)
{
    /* First: what follows is not CPython's time. */
    int64_t markend = nanotime();
    bool measured = in_one_go();
    int64_t cpu = measured ? thread_cputime() - gc.startcpu : pacer_guess(&pacer, gc.looked);
    gc.cputime += cpu;
    if (pacer.phase >= RunFull) {
        /* Before the heap is measured, since the check frees the garbage that it had CPython keep. */
        if (gcdebugging.checkmark > 0)
            gc_checkmark_end();
        if (pacer.phase < RunFull)
            return; /* that ran the program's code: another collection came in between, or pacer_stop */
        if (!gcdebugging.shrinkstackoff)
            shrink_stacks();
        if (gcdebugging.stoptheworld > 1)
            mheap_release();
    }
    uint64_t heap = heap_alloc_now();
    /* Whether a full one follows comes before the end of the cycle, which moves the goal that it is judged
     * by. */
    bool cycle = pacer.phase >= RunFull || (pacer.phase == RunGoal && !judge_young(heap));
    if (cycle)
        cycle_ends(heap, markend, cpu, measured);
    /* Allocations asked before the heap was freed, or for an old goal. The next one looks again. */
    enum gcphase asked = pacer_wanted(&pacer);
    if ((asked == WantYoung || asked == WantFull) && (cycle || heap < pacer_goal(&pacer)))
        threshold_drop();
    int young = pacer.young;
    pacer_learn(&pacer, gc.looked, collected);
    threshold_young(young, pacer.young);
    int64_t end = nanotime(), process_cpu = process_cputime();
    if (pacer_slice_follows(&pacer, heap,
                            process_cpu)) /* by the account as it was: before this one is paid for */
        threshold_want(WantSlice);
    gc.s.pause_total += (uint64_t)(end - pacer.start.time);
    pacer_pay(&pacer, cpu, end, process_cpu);
    pacer_end(&pacer); /* last: all of the above asks which one it was */
    if (pacer_wanted(&pacer) >= WantFull)
        collector_allow_full(); /* again: it was asked for before CPython began to count anew */
    heap_countdown = 0;         /* the goal may have changed */
}

static PyObject *gc_module, *str_generation, *str_collected;
static PyObject *program_callbacks; /* gc.callbacks; the collector has a list of our own */

static PyObject *
callback_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (nargs != 2 || !PyUnicode_Check(args[0]) || !PyDict_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "_gc_callback() takes a phase and a dict");
    bool start = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    if (start)
        gc.collector = PyThreadState_Get(); /* even while the pacer is off: runtime.gc() waits for its end */
    PyObject *value = PyDict_GetItemWithError(args[1], start ? str_generation : str_collected);
    Py_ssize_t n = value ? PyLong_AsSsize_t(value) : 0;
    if (PyErr_Occurred())
        return NULL;
    /* Before the program's callbacks, at both ends. At the start they would otherwise see thresholds of -1,
     * and what they allocate could ask for a collection in place of the one that has begun. At the end they
     * see this one's figures. */
    if (pacer.phase != Off && start)
        collection_starts((int)n);
    else if (pacer.phase != Off) {
        if (pacer.phase >= RunOther)
            collection_ends((size_t)n);
        /* Also if nobody told us of the start, for want of memory.
         * Before Python code runs that may change what the finalizers' objects refer to: the order is found
         * in the references as the collector saw them. */
        finalizers_settle();
    }
    for (Py_ssize_t i = 0; program_callbacks && i < PyList_GET_SIZE(program_callbacks); i++) {
        PyObject *callback = Py_NewRef(PyList_GET_ITEM(program_callbacks, i));
        PyObject *r = PyObject_Vectorcall(callback, args, 2, NULL);
        if (!r)
            PyErr_WriteUnraisable(callback); /* as CPython does, and calls the others */
        Py_XDECREF(r);
        Py_DECREF(callback);
    }
    /* Last: the program's callbacks may park, and CPython's flag "collecting" is up until we return. Waiters
     * are only made runnable here, so they run after that. */
    if (!start) {
        gc.collector = NULL;
        for (sudog *s; (s = waitq_pop(&gc.waiting)) != NULL;)
            goready(s->w->g);
    }
    Py_RETURN_NONE;
}

/* Does another thread, or goroutine, collect? In the middle of that CPython's collector would do nothing. */
static bool
others_collect(void)
{
    return gc.collector && gc.collector != PyThreadState_Get() && collector_busy();
}

static enum turn
collect_turn(void *of, g *gp, bool front)
{
    (void)of, (void)front; /* behind: the end of a collection has woken all of them */
    if (!others_collect())
        return HAD;
    int r = wait_in(gp, &gc.waiting, false, waitReasonWaitForGCCycle, NULL, NULL);
    return r < 0 ? INTERRUPTED : LOOK_AGAIN; /* the next one may have begun */
}

/* runtime.GC: a collection that begins now. */
static PyObject *
collect_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    g *gp = getg();
    if (!gp)
        return NULL;
    if (wait_until(gp, NULL, collect_turn, false, NULL) < 0)
        return NULL;
    PyObject *collect = PyObject_GetAttrString(gc_module, "collect");
    gc.asked = collect != NULL;
    PyObject *r = collect ? PyObject_CallNoArgs(collect) : NULL;
    gc.asked = false;
    Py_XDECREF(collect);
    if (!r)
        return NULL;
    Py_DECREF(r);
    Py_RETURN_NONE;
}

/* Before a fork: in the child a collection of another thread would never end, and CPython's collector would
 * do nothing any more. Most collections end in a moment. One whose finalizers wait for something may not, and
 * then the child is as it would be in plain CPython. */
void
gc_before_fork(void)
{
    for (int i = 0; i < PATIENCE && others_collect(); i++) {
        PyThreadState *ts = PyEval_SaveThread();
        sleep_ns(1000000);
        PyEval_RestoreThread(ts);
    }
}

void
gc_after_fork(const PyThreadState *left)
{
    if (gc.collector != left)
        gc.collector = NULL;
    gc.waiting = (waitq){0};
}

void
gc_stats(gcstats *to)
{
    *to = gc.s;
    to->next_gc = pacer_goal(&pacer);
    to->cpu_fraction = cpu_fraction();
}

/* -- settings ---------------------------------------------------------------------------------------- */

static void
set_percent(int percent)
{
    int t[3];
    threshold_drop(); /* first: the thresholds that are read below must be the program's */
    pacer_set_percent(&pacer, percent);
    collector_thresholds(t);
    t[0] = percent < 0 ? 0 : pacer.young;
    collector_set_thresholds(t);
    set_goals();
    set_force_time();
    heap_countdown = 0;
}

static bool
is_int(PyObject *value, const char *what)
{
    if (!PyLong_Check(value))
        PyErr_Format(PyExc_TypeError, "%s takes an int, not %R", what, value);
    return PyLong_Check(value);
}

static PyObject *
set_gc_percent_(PyObject *mod, PyObject *value)
{
    (void)mod;
    if (!is_int(value, "set_gc_percent()"))
        return NULL;
    int overflow;
    long n = PyLong_AsLongAndOverflow(value, &overflow);
    if (overflow > 0 || n > INT32_MAX)
        return PyErr_Format(PyExc_ValueError, "set_gc_percent(): %R is more than %d", value, INT32_MAX);
    int old = pacer.percent;
    set_percent(overflow < 0 || n < 0 ? -1 : (int)n);
    return PyLong_FromLong(old);
}

static PyObject *
set_memory_limit_(PyObject *mod, PyObject *value)
{
    (void)mod;
    if (!is_int(value, "set_memory_limit()"))
        return NULL;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow > 0)
        return PyErr_Format(PyExc_ValueError,
                            "set_memory_limit(): %R is more than 2**63 - 1, which means no limit", value);
    int64_t old = pacer.limit;
    if (overflow == 0 && n >= 0) {
        pacer.limit = n;
        set_goals();
        heap_countdown = 0;
    }
    return PyLong_FromLongLong(old);
}

static PyObject *
start_gc_(PyObject *mod, PyObject *args, PyObject *kw)
{
    PyObject *percent, *limit;
    static char *names[] = {
        "",  "", "gctrace", "gcpacertrace", "gcstoptheworld", "gccheckmark", "invalidptr", "gcshrinkstackoff",
        NULL};
    gcdebug *d = &gcdebugging;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "O!O!|$iiiiii:start_gc", names, &PyLong_Type, &percent,
                                     &PyLong_Type, &limit, &d->trace, &d->pacertrace, &d->stoptheworld,
                                     &d->checkmark, &d->invalidptr, &d->shrinkstackoff))
        return NULL;
    if (!heap_installed || pacer.phase != Off)
        Py_RETURN_NONE;
    PyObject *count = PySys_GetObject("getallocatedblocks");
    PyObject *older = count ? PyObject_CallNoArgs(count) : NULL;
    if (!older)
        return NULL;
    gc.older = (uint64_t)PyLong_AsUnsignedLongLong(older);
    Py_DECREF(older);
    PyObject *callback = PyObject_GetAttrString(mod, "_gc_callback");
    PyObject *callbacks = callback ? PyList_New(1) : NULL;
    if (!callbacks) {
        Py_XDECREF(callback);
        return NULL;
    }
    PyList_SET_ITEM(callbacks, 0, callback);
    PyObject_GC_UnTrack(callbacks); /* gc.get_objects() must not find it */
    program_callbacks = collector_set_callbacks(callbacks);
    pacer_start(&pacer, nanotime(), process_cputime()); /* before the settings, which it would overwrite */
    const int never[3] = {pacer.young, NEVER, NEVER};
    collector_set_thresholds(never);
    Py_XDECREF(set_gc_percent_(mod, percent));
    Py_XDECREF(set_memory_limit_(mod, limit));
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* The interpreter is about to end: it collects as it likes. */
void
gc_stop(void)
{
    threshold_drop();
    pacer_stop(&pacer);
    atomic_store(&sched.forcegc, INT64_MAX);
}

#if GORT_TESTS
void
gc_set_force_period(int64_t period, int64_t most)
{
    pacer.force_period = period;
    pacer.force_most = most;
    set_force_time();
    sysmon_wake();
}
#endif

static PyMethodDef functions[] = {
    {"start_gc", (PyCFunction)(void (*)(void))start_gc_, METH_VARARGS | METH_KEYWORDS,
     "start_gc(percent, memory_limit, /, *, gctrace=0, gcpacertrace=0, gcstoptheworld=0,\n"
     "         gccheckmark=0, invalidptr=1, gcshrinkstackoff=0)\n--\n\n"
     "Puts CPython's collector under the pacer, if the heap is installed."},
    {"collect", collect_, METH_NOARGS,
     "collect()\n--\n\nRuns a full collection; waits first for one that runs in another goroutine."},
    {"set_gc_percent", set_gc_percent_, METH_O,
     "set_gc_percent(percent, /)\n--\n\nSets GOGC and returns the previous value; negative: off."},
    {"set_memory_limit", set_memory_limit_, METH_O,
     "set_memory_limit(limit, /)\n--\n\nSets the limit, unless it is negative; returns the previous one."},
    {"_collect_forced", collect_forced_, METH_NOARGS,
     "_collect_forced()\n--\n\nRuns a full collection that is due because of the time that has passed."},
    {"_gc_callback", (PyCFunction)(void (*)(void))callback_, METH_FASTCALL,
     "_gc_callback(phase, info, /)\n--\n\n"
     "The only entry of the list that the collector has in place of gc.callbacks."},
    {NULL, NULL, 0, NULL},
};

int
gort_gc_init(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0)
        return -1;
    collect_forced = PyObject_GetAttrString(module, "_collect_forced");
    empty_context = PyContext_New();
    gc_module = PyImport_ImportModule("gc");
    str_generation = PyUnicode_InternFromString("generation");
    str_collected = PyUnicode_InternFromString("collected");
    if (!collect_forced || !empty_context || !gc_module || !str_generation || !str_collected)
        return -1;
    return threshold_init(&pacer);
}
