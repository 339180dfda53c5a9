/* gctrace.c: the lines that GODEBUG=gctrace=1 and gcpacertrace=1 print of a collection.
 *
 * Lock: the GIL. Nothing is allocated: the collector is at work.
 *
 * Differs from Go: see mgcpacer.c. The first of the three times is what was done before CPython began, the
 * second CPython's, the third what came after.
 */
#include "gc/gctrace.h"

#include "mem/heap.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void
gctrace_cycle(const gcpacer *pacer, const gccycle *c)
{
    char b[8][24];
    bool forced = pacer->phase == RunForced;
    int64_t before = c->marking - pacer->start.time, mark = c->markend - c->marking,
            after = c->end - c->markend;
    err_printf(
        "gc %u @%lld.%03llds %d%%: %s+%s+%s ms clock, %s+%s/%s/%s+%s ms cpu, "
        "%llu->%llu->%llu MB, %llu MB goal, %d P%s\n",
        c->num, (long long)((pacer->start.time - sched.starttime) / 1000000000),
        (long long)((pacer->start.time - sched.starttime) / 1000000 % 1000), (int)(c->cpu_fraction * 100),
        ms(b[0], before), ms(b[1], mark), ms(b[2], after), ms(b[3], before * sched.nprocs),
        ms(b[4], forced ? 0 : c->markcpu), ms(b[5], forced ? c->markcpu : 0), ms(b[6], 0),
        ms(b[7], after * sched.nprocs), (unsigned long long)(pacer->start.heap >> 20),
        (unsigned long long)((pacer->start.heap + c->allocated) >> 20), (unsigned long long)(c->heap >> 20),
        (unsigned long long)(c->goal >> 20), sched.nprocs, forced ? " (forced)" : "");
}

void
pacertrace_start(const gcpacer *pacer)
{
    char b[2][24];
    err_printf("pacer: assist ratio=%s (scan %llu MB in %llu->%llu MB) workers=0+%s\n", gofloat(b[0], 0),
               (unsigned long long)(pacer->least >> 20), (unsigned long long)(pacer->start.heap >> 20),
               (unsigned long long)(pacer_goal(pacer) >> 20), gofloat(b[1], 0));
}

/* H_m_prev is what the last cycle left, H_T, H_a and H_g the heap at the start, at the end of marking and as
 * the goal wanted it, h_t, h_a and h_g how much they are above it; W_a the bytes marked. */
void
pacertrace_end(const gcpacer *pacer, const gccycle *c)
{
    char concurrent[440] = "", b[8][24];
    double prev = c->before ? (double)c->before : 1, marked = (double)(pacer->start.heap + c->allocated);
    double h_t = (double)pacer->start.heap / prev - 1, h_a = marked / prev - 1,
           h_g = (double)c->goal / prev - 1;
    if (pacer->phase != RunForced)
        snprintf(
            concurrent, sizeof concurrent,
            "pacer: H_m_prev=%llu h_t=%s H_T=%llu h_a=%s H_a=%llu h_g=%s H_g=%llu u_a=%s u_g=%s W_a=%llu "
            "goalΔ=%s actualΔ=%s u_a/u_g=%s\n",
            (unsigned long long)c->before, gofloat(b[0], h_t), (unsigned long long)pacer->start.heap,
            gofloat(b[1], h_a), (unsigned long long)marked, gofloat(b[2], h_g), (unsigned long long)c->goal,
            gofloat(b[3], 0), gofloat(b[4], 0), (unsigned long long)c->heap, gofloat(b[5], h_g - h_t),
            gofloat(b[6], h_a - h_t), gofloat(b[7], 0));
    mheap_stats h;
    mheap_read(&h);
    size_t swept = c->startinuse > h.inuse ? (c->startinuse - h.inuse) >> HEAP_PAGE_SHIFT : 0;
    err_printf("%spacer: sweep done at heap size %lluMB; allocated %lluMB during sweep; "
               "swept %zu pages at %s pages/byte\n",
               concurrent, (unsigned long long)(c->heap >> 20), (unsigned long long)(c->allocated >> 20),
               swept, gofloat(b[0], 0));
}
