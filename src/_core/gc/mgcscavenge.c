/* mgcscavenge.c: the scavenger: gives memory that the heap no longer needs back to the kernel, in the
 * background.
 *
 * Goal: the heap keeps what it has used in the last seconds, and a tenth more; so a program whose need goes
 * up and down within WINDOWS seconds does not pay for its memory again and again. The rest goes, the largest
 * idle spans first, in steps of STEP.
 *
 * Cost: after each step it rests for RESTS times as long as the step took, so that it uses 2% of a processor;
 * or for RESTS_IDLE times, 20%, while no goroutine computes.
 *
 * It runs in sysmon, without the GIL, so that nobody waits for it, and with the lock of the page heap only to
 * take a span and to put it back.
 *
 * scavenge=1 in GODEBUG: everything idle is given back every 10 ms, at whatever cost.
 *
 * Differs from Go: Go's goal follows the heap's goal of the last cycle; here blocks are freed without a
 * cycle, so it follows what is in use. MADV_DONTNEED unless GODEBUG says madvdontneed=0, as in Go since 1.16.
 */
#include "gc/mgc.h"

#include "mem/heap.h"
#include "os/os.h"
#include "sched/stack.h"
#include "sched/sysmon.h"

#include <stdio.h>

#define MS 1000000
#define SECOND ((int64_t)1000 * MS)
#define WINDOWS 3
#define STEP ((size_t)512 << 10) /* bytes */
#define RESTS 49
#define RESTS_IDLE 4

static struct {
    int64_t next;         /* when the next step may be */
    int64_t windowend;    /* when this second's use is known */
    size_t used[WINDOWS]; /* the most that was in use, in each of the last seconds */
    int64_t lastreport;
    size_t unreported; /* bytes given back */
    bool debug;        /* scavenge=1 */
} sc;

static void
report(const mheap_stats *h, size_t released, const char *forced)
{
    char first[64] = "";
    if (released >> 20)
        snprintf(first, sizeof first, "%sscvg: %zu MB released\n", forced, released >> 20);
    err_printf("%s%sscvg: inuse: %zu, idle: %zu, sys: %zu, released: %zu, consumed: %zu (MB)\n", first,
               forced, h->inuse >> 20, h->idle >> 20, h->sys >> 20, h->released >> 20,
               (h->sys - h->released) >> 20);
}

/* Gives n bytes back, span by span, the largest first; returns how many it was in the end. */
static size_t
step(size_t n)
{
    size_t done = 0;
    while (done < n) {
        mspan *s = mheap_take_idle((n - done + HEAP_PAGE - 1) >> HEAP_PAGE_SHIFT);
        if (!s)
            break;
        size_t size = (size_t)s->npages << HEAP_PAGE_SHIFT;
        mheap_put_idle(s, mem_release(s->base, size));
        done += size;
    }
    return done;
}

static size_t
goal(const mheap_stats *h)
{
    size_t most = h->peak;
    for (int i = 0; i < WINDOWS; i++)
        most = sc.used[i] > most ? sc.used[i] : most;
    return most + most / 10;
}

int64_t
scavenge(int64_t now, bool idle)
{
    if (!heap_installed)
        return INT64_MAX;
    if (now < sc.next)
        return sc.next;
    bool over = now >= sc.windowend;
    mheap_stats h;
    if (!mheap_peak(&h, over))
        return now + MS;
    if (over) {
        /* one window for each second that has passed; it is not known when the peak was: assume lately */
        int64_t passed = sc.windowend ? (now - sc.windowend) / SECOND : 0;
        for (int64_t n = passed < WINDOWS ? passed : WINDOWS; n >= 0; n--) {
            for (int i = WINDOWS - 1; i > 0; i--)
                sc.used[i] = sc.used[i - 1];
            sc.used[0] = n ? h.inuse : h.peak;
        }
        sc.windowend = now + SECOND;
    }
    size_t keep = sc.debug ? 0 : goal(&h), resident = h.sys - h.released, most = h.idle - h.released;
    size_t excess = resident > keep ? resident - keep : 0;
    if (excess > most)
        excess = most;
    if (sc.debug) {
        sc.unreported += step(most);
        excess = 0;
    }
    else if (excess >= HEAP_PAGE) {
        size_t n = step(excess < STEP ? excess : STEP);
        sc.unreported += n;
        int64_t end = nanotime();
        sc.next = end + (end - now) * (idle ? RESTS_IDLE : RESTS);
        excess = n < excess ? excess - n : 0;
    }
    bool done = excess < HEAP_PAGE;
    if (gcdebugging.trace > 0 && sc.unreported && (done || now - sc.lastreport > SECOND) &&
        mheap_peak(&h, false)) {
        report(&h, sc.unreported, "");
        sc.unreported = 0;
        sc.lastreport = now;
    }
    if (sc.debug)
        return sc.next = now + 10 * MS;
    if (!done)
        return sc.next;
    sc.next = now + MS;
    return most >= HEAP_PAGE ? sc.windowend : INT64_MAX;
}

/* -- for debug.free_os_memory ------------------------------------------------------------------- */

static PyObject *
scavenge_all_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    if (heap_installed) {
        size_t released = mheap_release();
        mheap_stats h;
        mheap_read(&h);
        if (gcdebugging.trace > 0)
            report(&h, released, "forced ");
    }
    stacks_reclaim_all();
    Py_RETURN_NONE;
}

static PyObject *
set_scavenger_(PyObject *mod, PyObject *args)
{
    (void)mod;
    int debug, lazily;
    if (!PyArg_ParseTuple(args, "pp", &debug, &lazily))
        return NULL;
    sc.debug = debug;
    mem_lazily = lazily;
    if (debug && heap_installed)
        sysmon_try_start();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"scavenge_all", scavenge_all_, METH_NOARGS,
     "scavenge_all()\n--\n\nGives the memory of all idle spans and of dead goroutines back to the system."},
    {"set_scavenger", set_scavenger_, METH_VARARGS,
     "set_scavenger(debug, lazily, /)\n--\n\nSets how memory is given back.\n\n"
     "debug: everything idle, every 10 ms. lazily: by MADV_FREE."},
    {NULL, NULL, 0, NULL},
};

int
gort_scavenge_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
