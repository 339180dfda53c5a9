/* mgc.c: the pacer: GOGC for CPython's collector.
 *
 * CPython collects by counting objects, whatever they weigh and however many there are. The pacer does it by bytes: a
 * cycle begins when the heap reaches the goal, which is what the last cycle left (or the least there was since: blocks
 * are also freed by their reference counts) and GOGC per cent more, but at least 4 MiB * GOGC / 100. The collector
 * itself stays CPython's, and so do gc.enable, disable, collect, freeze, callbacks and get_stats.
 *
 * How it collects. Nothing can run in the middle of an allocation, so the pacer asks CPython to: it sets the thresholds
 * of the generations so that CPython's own test, at the next new container, comes out as wanted, and puts them back
 * when that collection begins. So collections happen where CPython has them, and never while gc is disabled. The
 * collector calls the pacer when one begins and ends; it has a list of callbacks with nothing else in it, and the pacer
 * calls those of gc.callbacks.
 *
 * Which collection. CPython's generations offer three prices:
 *   young    what was allocated since the last one; by count, each 8,192 containers, without regard to the goal. The
 *            objects are in the processor's cache, and cycles that die young never make the heap grow. After some
 *            that found nothing it is a sample, an eighth, until that finds something.
 *   slice    after each young one: the part of the old objects that was not looked at for the longest time. It frees
 *            what is a cycle within the slice, and above all it tells how much garbage there is among the old. A
 *            slice grows while it finds some. Containers of thousands of items are left out: they take too long.
 *   full     all of them: the price of the whole heap.
 * At the goal comes a young one. If it frees half of what was allocated since the last cycle, that was the cycle, and
 * the goal stays. If not, a full one follows if
 *   - it will take less than AFFORDABLE of the time since the last one; or
 *   - less than OVERDUE, and either it promises something or the heap has passed GOALS goals in a row without one; or
 *   - it promises something, and GOALS_PROMISED goals were moved on although it did; or
 *   - the heap has passed GOALS_MAX goals.
 * With a GOGC below 100, which asks for memory rather than time, a promise is enough, and the last is GOALS_FRUGAL.
 * It promises something if the last full one or the slices found garbage among the old objects, GARBAGE of it or more;
 * or if many die young: MORTALITY of the young ones were garbage, and those that survived may be now.
 * Otherwise, in a program that builds up data as fast as it can, the goal moves on.
 *
 * Near the memory limit goals are lower, and cycles are full ones, but take no more than half of the time.
 *
 * A heap that does not grow is collected all the same: a full one is forced FORCE_PERIOD after the last, by the next
 * allocation that looks, or, if the program has goroutines, in one that sysmon asks for.
 *
 * The default thresholds of the program are (8192, never, never), which gc.get_threshold() shows. A program that sets its
 * own gets them: they say when CPython collects beside the cycles. 0 turns automatic collection off, cycles included.
 *
 * Lock: the GIL.
 *
 * Differs from Go: a collection stops the world from its beginning to its end, in the goroutine that allocates. So all
 * its time is "assist" in Go's terms, or, if it was asked for, "dedicated". Nothing is allocated while it marks and
 * nothing is swept later. So none is forced that would take longer than FORCE_MOST: who did not ask for a pause shall
 * not notice it.
 */
#include "mgc.h"

#include "compat.h"
#include "heap.h"
#include "os.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_MIN ((uint64_t)4 << 20)
#define YOUNG 8192    /* containers */
#define YOUNG_MIN 700 /* CPython's own, up to 3.12 */
#define SAMPLE (YOUNG / 8)
#define IN_VAIN 4 /* young ones, before they become samples */
#define SLICE_MIN 512
#define SLICE_MAX 32768
#define GARBAGE (1 / 32.)
#define MORTALITY (1 / 8.)
#define AFFORDABLE (1 / 10.)
#define OVERDUE (1 / 5.)
#define GOALS_PROMISED 2
#define GOALS 3
#define GOALS_MAX 6
#define GOALS_FRUGAL 2
#define PRICE_MIN                                                                                            \
    300. /* nanoseconds for each block of a heap much larger than those seen: it is in no cache */
#define LOOK_MIN ((uint64_t)64 << 10) /* bytes */
#define LOOK_MAX ((uint64_t)1 << 20)
#define FORCE_PERIOD ((int64_t)120 * 1000000000)
#define FORCE_MOST ((int64_t)120 * 1000000)
#define HEADROOM(limit) ((limit) / 32) /* below the memory limit */
#define NEVER INT_MAX

gcdebug gcdebugging = {.invalidptr = 1};

enum kind { None, Slice, Young, Full };

static struct {
    bool on;
    int percent;   /* GOGC; -1: off */
    int64_t limit; /* of memory; INT64_MAX: none */

    uint64_t goal;    /* where the next cycle begins */
    uint64_t least;   /* what the last cycle left, or less if the heap has been smaller since */
    uint64_t full;    /* what the last full one left */
    int64_t fullend;  /* when it ended: nanotime */
    int64_t fulltime; /* how long it took */
    uint64_t older;   /* blocks of the earlier allocator */
    double price;     /* of a full one: nanoseconds for each block */
    uint64_t priced;  /* the number of blocks that this was seen with */
    unsigned putoff;  /* goals that moved on since the last full one, though one promised something */
    double garbage;   /* expected among the old: the part of them */
    double mortality; /* the part of the young that was garbage, lately */
    size_t young;     /* how many the running collection looks at */
    unsigned invain;  /* young collections that found nothing, in a row */
    size_t slice;     /* containers in the next one */
    enum kind wanted; /* and asked of CPython */
    bool near_limit;  /* the goal is the limit's */
    int saved[3];     /* thresholds, while something is wanted */

    int64_t force_period, force_most; /* nanoseconds */
    bool forcing;                     /* the next full one is due to the time that has passed */

    /* the collection that runs */
    enum kind running; /* None: the program's own, of a younger generation */
    bool cycle, forced;
    bool open; /* a cycle has begun, and not ended: after its young collection a full one follows */
    size_t sliced;
    int64_t start, marking; /* nanotime: it began; CPython's part began */
    int64_t startcpu;
    uint64_t startheap, startblocks, starttotal;
    size_t startinuse;

    gcstats s;
    int64_t cputime; /* of all collections */
} gc = {.percent = 100,
        .limit = INT64_MAX,
        .slice = SLICE_MIN,
        .price = PRICE_MIN,
        .force_period = FORCE_PERIOD,
        .force_most = FORCE_MOST};

int64_t gc_countdown = INT64_MAX;
_Atomic int64_t gc_force_time = INT64_MAX;

/* -- goals -------------------------------------------------------------------------------------- */

/* What counts against the memory limit: all that gort has from the system, less what it gave back. Of a goroutine's
 * stack the page that it always has. */
static int64_t
memory_in_use(void)
{
    mheap_stats h;
    mheap_read(&h);
    return (int64_t)(h.sys - h.released + h.span_inuse + sizeof cache) + stack_count() * 4096;
}

static uint64_t
goal_over(uint64_t live, int steps)
{
    double factor = 1, step = 1 + gc.percent / 100.;
    for (int i = 0; i < steps; i++)
        factor *= step;
    double least = (double)HEAP_MIN * gc.percent / 100, goal = (double)live * factor;
    if (goal < least)
        goal = least;
    return goal < 9e18 ? (uint64_t)goal : (uint64_t)9e18;
}

/* The heap that gets a full collection whatever it costs; before the first one, the first goal. */
static uint64_t
goal_max(void)
{
    return goal_over(gc.full, gc.percent < 100 ? GOALS_FRUGAL : GOALS_MAX);
}

static void
set_goal(void)
{
    gc.goal = gc.percent < 0 ? UINT64_MAX : goal_over(gc.least, 1);
    /* Each goal is reckoned from the heap that was left, so they may fall short of it by a little. */
    if (gc.full && gc.percent >= 0 && gc.least < goal_max() && goal_max() < gc.goal)
        gc.goal = goal_max();
    gc.near_limit = false;
    mheap_set_limit(gc.limit == INT64_MAX ? SIZE_MAX : (size_t)gc.limit);
    if (gc.limit == INT64_MAX)
        return;
    mheap_stats h;
    mheap_read(&h);
    int64_t beside = memory_in_use() - (int64_t)heap_alloc_now() - (int64_t)(h.idle - h.released);
    int64_t goal = gc.limit - HEADROOM(gc.limit) - beside;
    if (goal < (int64_t)gc.least + (int64_t)LOOK_MIN)
        goal = (int64_t)gc.least + (int64_t)LOOK_MIN; /* it cannot be met */
    if ((uint64_t)goal < gc.goal) {
        gc.goal = (uint64_t)goal;
        gc.near_limit = true;
    }
}

/* -- asking CPython ------------------------------------------------------------------------------ */

static bool
automatic(void)
{
    int t[3];
    collector_thresholds(t);
    return collector_enabled() && t[0] != 0;
}

static void
want(enum kind kind)
{
    if (gc.wanted >= kind || !automatic())
        return;
    if (gc.wanted == None)
        collector_thresholds(gc.saved);
    const int t[3] = {-1, gc.saved[1], kind == Full ? -1 : gc.saved[2]};
    collector_set_thresholds(t);
    if (kind == Full)
        collector_allow_full();
    gc.wanted = kind;
}

static void
unwant(void)
{
    int t[3];
    collector_thresholds(t);
    if (t[0] == -1) /* else the program has set its own meanwhile */
        collector_set_thresholds(gc.saved);
    gc.wanted = None;
}

static uint64_t
blocks_now(void)
{
    return gc.older + heap_blocks_now();
}

/* What a full collection will take, in nanoseconds. */
static double
full_price(void)
{
    uint64_t blocks = blocks_now();
    double price = blocks > 4 * gc.priced && gc.price < PRICE_MIN ? PRICE_MIN : gc.price;
    return price * (double)blocks;
}

static enum kind
worth(uint64_t heap)
{
    int64_t since = nanotime() - gc.fullend;
    if (gc.near_limit)
        return since >= gc.fulltime ? Full : Young;
    if (heap >= goal_max())
        return Full;
    bool promises = gc.garbage >= GARBAGE || gc.mortality >= MORTALITY;
    if (promises && (gc.percent < 100 || gc.putoff >= GOALS_PROMISED))
        return Full;
    double share = promises || heap >= goal_over(gc.full, GOALS) ? OVERDUE : AFFORDABLE;
    if (full_price() <= share * (double)since)
        return Full;
    gc.putoff += promises;
    return Young;
}

/* -- the time that has passed ----------------------------------------------------------------------- */

static void
set_force_time(void)
{
    bool off = gc.percent < 0 || gc.s.num_gc == 0;
    atomic_store(&gc_force_time, off ? INT64_MAX : nanotime() + gc.force_period);
}

/* A collection is due. True: it shall be now; false: it will be asked about again after as long a time. */
static bool
force_now(void)
{
    set_force_time();
    return gc.on && automatic() && full_price() <= (double)gc.force_most;
}

static PyObject *collect_forced, *empty_context;

void
gc_force(void)
{
    if (!force_now())
        return;
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    newproc_system(collect_forced, empty_context); /* no memory: not this time */
    PyErr_Restore(type, value, tb);
}

/* What the goroutine does that gc_force starts. */
static PyObject *
collect_forced_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    gc.forcing = true;
    PyGC_Collect();
    gc.forcing = false; /* gc.disable() came before it */
    Py_RETURN_NONE;
}

/* -- at an allocation ----------------------------------------------------------------------------- */

/* Of the heap. Goals go down with it. */
static uint64_t
heap_now(void)
{
    uint64_t heap = heap_alloc_now();
    if (heap < gc.least) {
        gc.least = heap;
        if (gc.full > heap)
            gc.full = heap;
        set_goal();
    }
    return heap;
}

void
gc_look(void)
{
    gc_countdown = (int64_t)LOOK_MAX;
    if (!gc.on)
        return;
    if (nanotime() >= gc_force_time && force_now()) {
        gc.forcing = true;
        want(Full);
    }
    uint64_t heap = heap_now();
    if (heap >= gc.goal) {
        if (gc.wanted < Young)
            want(gc.near_limit ? worth(heap) : Young);
        return;
    }
    uint64_t left = gc.goal - heap;
    if (left < LOOK_MAX)
        gc_countdown = (int64_t)(left < LOOK_MIN ? LOOK_MIN : left);
}

/* -- traces ---------------------------------------------------------------------------------------- */

/* Nanoseconds as milliseconds: whole ones from 10 on, else two digits that count, from whole microseconds. */
static const char *
ms(char *buf, int64_t ns)
{
    int64_t us = ns / 1000;
    int decimals = 3;
    if (ns >= 10000000)
        snprintf(buf, 24, "%lld", (long long)(ns / 1000000));
    else if (us == 0)
        snprintf(buf, 24, "0");
    else {
        for (; us >= 100; decimals--)
            us /= 10;
        const int64_t units[] = {1, 10, 100, 1000};
        snprintf(buf, 24, "%lld.%0*lld", (long long)(us / units[decimals]), decimals,
                 (long long)(us % units[decimals]));
    }
    return buf;
}

/* A float as Go's print shows it: a sign, seven digits, an exponent of three. */
static const char *
gofloat(char *buf, double x)
{
    char digits[40];
    snprintf(digits, sizeof digits, "%+.6e", x);
    char *e = strchr(digits, 'e');
    if (!e) /* an infinity or none */
        snprintf(buf, 24, "%s", x != x ? "NaN" : x > 0 ? "+Inf" : "-Inf");
    else
        snprintf(buf, 24, "%.*se%c%03d", (int)(e - digits), digits, e[1], atoi(e + 2));
    return buf;
}

static void
trace_cycle(int64_t end, int64_t markend, int64_t markcpu, uint64_t goal, uint64_t heap, uint64_t allocated)
{
    char buf[400], b[8][24];
    int64_t before = gc.marking - gc.start, mark = markend - gc.marking, after = end - markend;
    int n = snprintf(
        buf, sizeof buf,
        "gc %u @%lld.%03llds %d%%: %s+%s+%s ms clock, %s+%s/%s/%s+%s ms cpu, %llu->%llu->%llu MB, %llu MB goal, "
        "%d P%s\n",
        gc.s.num_gc, (long long)((gc.start - sched.starttime) / 1000000000),
        (long long)((gc.start - sched.starttime) / 1000000 % 1000), (int)(gc.s.cpu_fraction * 100),
        ms(b[0], before), ms(b[1], mark), ms(b[2], after), ms(b[3], before * sched.nprocs),
        ms(b[4], gc.forced ? 0 : markcpu), ms(b[5], gc.forced ? markcpu : 0), ms(b[6], 0),
        ms(b[7], after * sched.nprocs), (unsigned long long)(gc.startheap >> 20),
        (unsigned long long)((gc.startheap + allocated) >> 20), (unsigned long long)(heap >> 20),
        (unsigned long long)(goal >> 20), sched.nprocs, gc.forced ? " (forced)" : "");
    write_all(2, buf, (size_t)n);
}

static void
pacertrace_start(void)
{
    char buf[200], b[2][24];
    int n = snprintf(buf, sizeof buf, "pacer: assist ratio=%s (scan %llu MB in %llu->%llu MB) workers=0+%s\n",
                     gofloat(b[0], 0), (unsigned long long)(gc.least >> 20),
                     (unsigned long long)(gc.startheap >> 20), (unsigned long long)(gc.goal >> 20),
                     gofloat(b[1], 0));
    write_all(2, buf, (size_t)n);
}

/* H_m_prev is what the last cycle left, H_T, H_a and H_g the heap at the start, at the end of marking and as the goal
 * wanted it, h_t, h_a and h_g how much they are above it; W_a the bytes marked. */
static void
pacertrace_end(uint64_t before, uint64_t goal, uint64_t heap, uint64_t allocated)
{
    char buf[500], b[8][24];
    double prev = before ? (double)before : 1, marked = (double)(gc.startheap + allocated);
    double h_t = (double)gc.startheap / prev - 1, h_a = marked / prev - 1, h_g = (double)goal / prev - 1;
    int n = 0;
    if (!gc.forced)
        n = snprintf(
            buf, sizeof buf,
            "pacer: H_m_prev=%llu h_t=%s H_T=%llu h_a=%s H_a=%llu h_g=%s H_g=%llu u_a=%s u_g=%s W_a=%llu "
            "goalΔ=%s actualΔ=%s u_a/u_g=%s\n",
            (unsigned long long)before, gofloat(b[0], h_t), (unsigned long long)gc.startheap,
            gofloat(b[1], h_a), (unsigned long long)marked, gofloat(b[2], h_g), (unsigned long long)goal,
            gofloat(b[3], 0), gofloat(b[4], 0), (unsigned long long)heap, gofloat(b[5], h_g - h_t),
            gofloat(b[6], h_a - h_t), gofloat(b[7], 0));
    mheap_stats h;
    mheap_read(&h);
    size_t swept = gc.startinuse > h.inuse ? (gc.startinuse - h.inuse) >> HEAP_PAGE_SHIFT : 0;
    n += snprintf(
        buf + n, sizeof buf - (size_t)n,
        "pacer: sweep done at heap size %lluMB; allocated %lluMB during sweep; swept %zu pages at %s pages/byte\n",
        (unsigned long long)(heap >> 20), (unsigned long long)(allocated >> 20), swept, gofloat(b[0], 0));
    write_all(2, buf, (size_t)n);
}

/* -- a collection ----------------------------------------------------------------------------------- */

static void
collection_starts(int generation)
{
    bool automatic_one = collector_enabled() && collector_young_is_due();
    enum kind wanted = gc.wanted;
    if (wanted == Full ? generation == 2 : wanted != None)
        unwant();
    gc.running = generation == 2 ? Full : generation == 0 && automatic_one ? Young : None;
    if (gc.running == Young && wanted == Slice)
        gc.running = Slice;
    gc.cycle = gc.running == Full || (gc.running == Young && wanted == Young);
    gc.forced = gc.running == Full && wanted != Full && !gc.forcing;
    gc.start = gc.marking = nanotime();
    gc.startcpu = thread_cputime();
    gc.startheap = heap_now();
    gc.startblocks = blocks_now();
    gc.starttotal = total_alloc_now();
    mheap_stats h;
    mheap_read(&h);
    gc.startinuse = h.inuse;
    if (gc.running == Full) {
        if (gcdebugging.stoptheworld > 0)
            gc_stop_the_world();
        if (gcdebugging.invalidptr > 0)
            gc_check_pointers();
        if (gcdebugging.checkmark > 0)
            gc_checkmark_start();
    }
    gc.young = collector_young_count();
    if (gc.running == Young && gc.invain >= IN_VAIN) {
        collector_sample(SAMPLE);
        gc.young = SAMPLE;
    }
    if (gc.running == Slice)
        gc.sliced = collector_slice(gc.slice);
    if (gc.cycle && !gc.open && gcdebugging.pacertrace)
        pacertrace_start();
    gc.open |= gc.cycle;
    if (gc.running == Full && gc.forcing) {
        gc.forcing = false;
        if (gcdebugging.trace > 0)
            write_all(2, "GC forced\n", 10);
    }
    gc.marking = nanotime();
}

/* A young collection at the goal has left this heap. */
static bool
full_one_follows(uint64_t heap)
{
    if (2 * heap <= gc.least + gc.goal || worth(heap) != Full)
        return false;
    want(Full);
    return gc.wanted == Full;
}

static void
cycle_ends(uint64_t heap, int64_t markend, int64_t markcpu)
{
    uint64_t allocated = total_alloc_now() - gc.starttotal;
    uint64_t goal = gc.goal, before = gc.least;
    gc.open = false;
    int64_t end = nanotime();
    if (gc.running == Full) {
        gc.full = heap;
        gc.fullend = end;
        gc.fulltime = end - gc.start;
        gc.putoff = 0;
        if (gc.startheap > HEAP_MIN / 4) {
            gc.price = (double)gc.fulltime / (double)gc.startblocks;
            gc.priced = gc.startblocks;
        }
        gc.garbage = gc.startheap > heap ? (double)(gc.startheap - heap) / (double)gc.startheap : 0;
    }
    if (gc.running == Full || 2 * heap > gc.least + gc.goal || gc.near_limit) {
        gc.least = heap;
        set_goal();
    }

    trace_gc();

    gcstats *s = &gc.s;
    double now = walltime() * 1e9;
    s->pause_ns[s->num_gc % PAUSES] = (uint64_t)(end - gc.start);
    s->pause_end[s->num_gc % PAUSES] = s->last_gc = (uint64_t)now;
    s->num_gc++;
    s->num_forced += gc.forced;
    if (gc.running == Full || s->num_gc == 1)
        set_force_time();
    gcstats figures;
    gc_stats(&figures);
    s->cpu_fraction = figures.cpu_fraction;
    if (gcdebugging.trace > 0)
        trace_cycle(end, markend, markcpu, goal == UINT64_MAX ? 0 : goal, heap, allocated);
    if (gcdebugging.pacertrace > 0)
        pacertrace_end(before, goal == UINT64_MAX ? 0 : goal, heap, allocated);
}

static void
collection_ends(size_t collected)
{
    int64_t markend = nanotime(), cpu = thread_cputime() - gc.startcpu;
    if (cpu < 0)
        cpu = 0; /* a finalizer has parked: another thread */
    gc.cputime += cpu;
    if (gc.running == Full) {
        if (gcdebugging.checkmark > 0)
            gc_checkmark_end();
        if (!gcdebugging.shrinkstackoff)
            shrink_stacks();
        if (gcdebugging.stoptheworld > 1)
            mheap_release();
    }
    uint64_t heap = heap_alloc_now();
    if (gc.cycle && gc.running == Young && full_one_follows(heap))
        gc.cycle = false;
    if (gc.cycle)
        cycle_ends(heap, markend, cpu);
    if (gc.running == Slice && gc.sliced) {
        double found = (double)collected / (double)gc.sliced;
        gc.garbage += (found - gc.garbage) / 4;
        if (found > GARBAGE && gc.slice < SLICE_MAX)
            gc.slice *= 2;
        else if (found < GARBAGE / 4 && gc.slice > SLICE_MIN)
            gc.slice /= 2;
    }
    if (gc.running == Young) {
        gc.invain = collected ? 0 : gc.invain + 1;
        if (gc.young >= SAMPLE / 2) {
            double dead = (double)collected / (double)gc.young;
            gc.mortality += ((dead < 1 ? dead : 1) - gc.mortality) / 4;
        }
        want(Slice);
    }
    gc.s.pause_total += (uint64_t)(nanotime() - gc.start);
    gc.running = None;
    gc_countdown = 0; /* the goal may be another one */
}

static PyObject *program_callbacks; /* gc.callbacks; the collector has a list of our own */

static PyObject *
callback_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (nargs != 2 || !PyUnicode_Check(args[0]) || !PyDict_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "the collector calls this, with a phase and a dict");
    bool start = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    PyObject *value = PyDict_GetItemString(args[1], start ? "generation" : "collected");
    Py_ssize_t n = value ? PyLong_AsSsize_t(value) : 0;
    if (PyErr_Occurred())
        return NULL;
    if (gc.on && start)
        collection_starts((int)n);
    else if (gc.on)
        collection_ends((size_t)n);
    /* what CPython does with the program's own */
    for (Py_ssize_t i = 0; program_callbacks && i < PyList_GET_SIZE(program_callbacks); i++) {
        PyObject *callback = Py_NewRef(PyList_GET_ITEM(program_callbacks, i));
        PyObject *r = PyObject_Vectorcall(callback, args, 2, NULL);
        if (!r)
            PyErr_WriteUnraisable(callback);
        Py_XDECREF(r);
        Py_DECREF(callback);
    }
    Py_RETURN_NONE;
}

void
gc_stats(gcstats *to)
{
    *to = gc.s;
    to->next_gc = gc.goal;
    int64_t available = (nanotime() - sched.starttime) * sched.nprocs;
    to->cpu_fraction = available > 0 ? (double)gc.cputime / (double)available : 0;
}

/* -- settings ---------------------------------------------------------------------------------------- */

static void
set_percent(int percent)
{
    int t[3], young = YOUNG;
    if (gc.wanted != None)
        unwant();
    if (percent >= 0 && percent < 100)
        young = YOUNG * percent / 100 > YOUNG_MIN ? YOUNG * percent / 100 : YOUNG_MIN;
    collector_thresholds(t);
    t[0] = percent < 0 ? 0 : young;
    collector_set_thresholds(t);
    gc.percent = percent;
    set_goal();
    set_force_time();
    gc_countdown = 0;
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
    int old = gc.percent;
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
    int64_t old = gc.limit;
    if (overflow == 0 && n >= 0) {
        gc.limit = n;
        set_goal();
        gc_countdown = 0;
    }
    return PyLong_FromLongLong(old);
}

static PyObject *
start_gc_(PyObject *mod, PyObject *args)
{
    PyObject *percent, *limit;
    if (!PyArg_ParseTuple(args, "O!O!(iiiiii)", &PyLong_Type, &percent, &PyLong_Type, &limit,
                          &gcdebugging.trace, &gcdebugging.pacertrace, &gcdebugging.stoptheworld,
                          &gcdebugging.checkmark, &gcdebugging.invalidptr, &gcdebugging.shrinkstackoff))
        return NULL;
    if (!heap_installed || gc.on)
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
    PyObject_GC_UnTrack(callbacks); /* nobody shall find it */
    program_callbacks = collector_set_callbacks(callbacks);
    const int never[3] = {YOUNG, NEVER, NEVER};
    collector_set_thresholds(never);
    gc.on = true;
    gc.fullend = nanotime();
    Py_XDECREF(set_gc_percent_(mod, percent));
    Py_XDECREF(set_memory_limit_(mod, limit));
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The interpreter is about to end: it collects as it likes. */
void
gc_stop(void)
{
    if (gc.wanted != None)
        unwant();
    gc.on = false;
    atomic_store(&gc_force_time, INT64_MAX);
}

/* For tests: two minutes are long. */
static PyObject *
set_force_period_(PyObject *mod, PyObject *args)
{
    (void)mod;
    double period, most;
    if (!PyArg_ParseTuple(args, "dd", &period, &most))
        return NULL;
    gc.force_period = (int64_t)(period * 1e9);
    gc.force_most = (int64_t)(most * 1e9);
    set_force_time();
    sysmon_wake();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"start_gc", start_gc_, METH_VARARGS,
     "start_gc(percent, memory_limit, (gctrace, gcpacertrace, gcstoptheworld, gccheckmark, invalidptr, gcshrinkstackoff))\n--\n\n"
     "The pacer rules CPython's collector from now on, if the heap is installed."},
    {"set_gc_percent", set_gc_percent_, METH_O, "set_gc_percent(percent)\n--\n\nReturns the previous one."},
    {"set_memory_limit", set_memory_limit_, METH_O,
     "set_memory_limit(limit)\n--\n\nReturns the previous one; negative: changes nothing."},
    {"set_force_period", set_force_period_, METH_VARARGS,
     "set_force_period(seconds, most)\n--\n\nAfter which time a full collection is forced, if it takes most seconds at "
     "most; for tests."},
    {"_collect_forced", collect_forced_, METH_NOARGS,
     "_collect_forced()\n--\n\nA full collection that is due to the time that has passed."},
    {"_gc_callback", (PyCFunction)(void (*)(void))callback_, METH_FASTCALL,
     "_gc_callback(phase, info)\n--\n\nThe pacer's entry in gc.callbacks."},
    {NULL, NULL, 0, NULL},
};

int
gort_gc_init(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0)
        return -1;
    collect_forced = PyObject_GetAttrString(module, "_collect_forced");
    empty_context = PyContext_New();
    return collect_forced && empty_context ? 0 : -1;
}
