/* futex_linux.c: a thread sleeps until another one wakes it.
 *
 * Invariant: futex_sleep returns at once if the word has changed, so a wake between the look at the word and
 * the sleep is not lost. It may return for no reason.
 *
 * Any thread. Which locks a thread may hold while it sleeps is up to the caller.
 *
 * Rejected: condition variables. They need a mutex, and a signal does not end their wait.
 *
 * Differs from Go: a signal ends it as well, and the caller is told (EINTR); and the time limit is a deadline
 * (FUTEX_WAIT_BITSET), so that an interrupted sleep goes on without a calculation.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct timespec
timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int
futex_sleep(_Atomic uint32_t *addr, uint32_t val, int64_t deadline)
{
    struct timespec t = timespec_of(deadline), *tp = deadline == INT64_MAX ? NULL : &t;
    /* FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock */
    if (syscall(SYS_futex, addr, FUTEX_WAIT_BITSET_PRIVATE, val, tp, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
        return 0;
    return errno == EAGAIN ? 0 : errno;
}

void
futex_wake(_Atomic uint32_t *addr)
{
    syscall(SYS_futex, addr, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
