/* proc_linux.c: what /proc says of the process and its threads.
 *
 * Invariant: where /proc is missing or says something else, the answer is the one that does no harm: nobody
 * computes, nobody waits, the number is not known.
 *
 * Any thread; only thread_find allocates.
 *
 * Rejected: keeping the files open. They are read seldom, and a program that closes all descriptors would
 * close them too.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The text of a file in /proc, with a 0 behind it; "" if it cannot be read. */
static void
proc_read(const char *name, char *text, size_t size)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
}

static int64_t
switches_of(int who)
{
    struct rusage u;
    return getrusage(who, &u) == 0 ? (int64_t)u.ru_nvcsw + u.ru_nivcsw : 0;
}

int64_t
others_switches(void)
{
    int64_t all, mine = switches_of(RUSAGE_THREAD), before;
    do { /* this thread may be interrupted between the two */
        before = mine;
        all = switches_of(RUSAGE_SELF);
        mine = switches_of(RUSAGE_THREAD);
    } while (mine != before);
    return all - mine;
}

bool
thread_computes(int32_t tid)
{
    char name[64], text[256];
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
    proc_read(name, text, sizeof text);
    const char *end = strrchr(text, ')'); /* after the name: a blank and the state */
    return end && end[1] && end[2] == 'R';
}

int32_t
thread_count(void)
{
    char text[512];
    proc_read("/proc/self/stat", text, sizeof text);
    char *at = strrchr(text, ')'); /* behind the name; the 18th word from there */
    for (int i = 0; at && i < 18; i++)
        at = strchr(at + 1, ' ');
    return at ? (int32_t)strtol(at, NULL, 10) : -1;
}

bool
thread_waits(int32_t tid)
{
    char name[64], text[256];
    snprintf(name, sizeof name, "/proc/self/task/%d/syscall", tid);
    proc_read(name, text, sizeof text);
    char *at = text;
    unsigned long words[5]; /* the call's number; address, operation, value, time limit */
    for (int i = 0; i < 5; i++) {
        char *end;
        words[i] = strtoul(at, &end, 0);
        if (end == at)
            return false; /* it runs, or there is no such file */
        at = end;
    }
    unsigned long op = words[2] & ~(unsigned long)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    return words[0] == SYS_futex && words[2] & FUTEX_PRIVATE_FLAG && words[4] == 0 &&
           (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET);
}

int32_t
thread_find(bool (*is)(int32_t tid))
{
    DIR *dir = opendir("/proc/self/task");
    int32_t mine = (int32_t)syscall(SYS_gettid), found = 0;
    for (struct dirent *d; dir && !found && (d = readdir(dir)) != NULL;) {
        int32_t tid = (int32_t)strtol(d->d_name, NULL, 10);
        if (tid > 0 && tid != mine && is(tid))
            found = tid;
    }
    if (dir)
        closedir(dir);
    return found;
}

size_t
mem_max_mappings(void)
{
    static size_t max;
    if (!max) {
        char text[32];
        proc_read("/proc/sys/vm/max_map_count", text, sizeof text);
        max = strtoul(text, NULL, 10);
        if (!max)
            max = 65530; /* the kernel's default */
    }
    return max;
}
