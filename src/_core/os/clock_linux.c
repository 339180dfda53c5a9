/* clock_linux.c: the clocks, and sleeping.
 *
 * Invariant: deadlines are times of the monotonic clock, nanotime(); walltime() is for what people read.
 *
 * Any thread at any time, signal handlers too.
 *
 * Differs from Go: no call of the vDSO by hand. libc makes it.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <sys/prctl.h>
#include <time.h>

int64_t
nanotime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double
walltime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t
thread_cputime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
process_cputime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
sleep_ns(int64_t ns)
{
    nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

void
os_timerslack(void)
{
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
}
