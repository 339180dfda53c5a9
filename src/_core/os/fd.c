/* fd.c: file descriptors: the standard ones, and writing to one to the end.
 *
 * Invariants
 *   1. The descriptors 0 to 2 are open once standard_fds has been called, and no file of the program's has
 *      their numbers.
 *   2. What the runtime prints goes to errfd, which is not a file that was opened later than the process
 *      began, unless the program has closed or replaced it.
 *   3. What it prints because the process ends (FATALFD) goes also to the file that errfd led to at the
 *      start, if it leads elsewhere by now: a test runner has captured it, and nobody will ever read that.
 *      The duplicate is closed in the child of a fork: whoever reads the other end of a pipe to its end must
 *      not wait for a daemon that has put its own standard error elsewhere.
 *
 * standard_fds, fatal_to: at the start. write_all is async-signal-safe; err_printf and fatal_printf are as
 * far as libc's formatting is, which takes no lock for texts and whole numbers.
 *
 * It keeps a pipe open: a program that replaces its standard error without a fork is still one of those that
 * may write there.
 *
 * Rejected: the duplicate alone. A service that has put its standard error into a log wants it there.
 *
 * Differs from Go: by the time that the runtime begins, a file may have got the number of a standard error
 * that was closed. What the runtime prints then goes nowhere.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_FD 10 /* programs may count on the smaller numbers */

int errfd = 2;

/* A duplicate of what errfd was at the start. A program that closes all descriptors closes it too, and its
 * number may be a file's then: so it is known by what it leads to. fd < 0: there is none. */
static struct {
    int fd;
    dev_t dev;
    ino_t ino;
} first = {.fd = -1};

/* Does fd lead to what errfd was at the start? */
static bool
is_first(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && s.st_dev == first.dev && s.st_ino == first.ino;
}

void
fatal_to(int fd)
{
    struct stat s;
    if (fstat(fd, &s) != 0)
        return;
    fatal_forget();
    first.dev = s.st_dev;
    first.ino = s.st_ino;
    first.fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
}

void
fatal_forget(void)
{
    if (first.fd >= 0 && is_first(first.fd))
        close(first.fd);
    first.fd = -1;
}

void
standard_fds(bool had_stderr)
{
    bool closed[3];
    for (int fd = 0; fd < 3; fd++)
        closed[fd] = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
    if (!had_stderr && !closed[2])
        errfd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    else if (!closed[2])
        fatal_to(errfd);
    for (int fd = 0; fd < 3; fd++) {
        if (closed[fd]) {
            int null = open("/dev/null", O_RDWR); /* for children, too, as an open one would be */
            if (null >= 0 && null != fd) {
                dup2(null, fd);
                close(null);
            }
        }
    }
}

static bool
write_to(int fd, const char *buf, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, buf, n);
        if (w < 0) {
            if (errno == EINTR)
                continue;
            return false;
        }
        buf += w;
        n -= (size_t)w;
    }
    return true;
}

#define CHUNK 4096    /* what poll says that a pipe has room for */
#define PATIENCE 1000 /* milliseconds without anybody who reads */

/* As far as somebody takes it: a process must not wait for that for ever when it ends. */
static bool
write_patiently(int fd, const char *buf, size_t n)
{
    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int ready = poll(&p, 1, PATIENCE);
        if (ready < 0 && errno == EINTR)
            continue;
        size_t k = n < CHUNK ? n : CHUNK;
        if (ready <= 0 || !write_to(fd, buf, k))
            return false;
        buf += k;
        n -= k;
    }
    return true;
}

bool
write_all(int fd, const char *buf, size_t n)
{
    if (fd != FATALFD)
        return write_to(fd, buf, n);
    bool captured = first.fd >= 0 && is_first(first.fd) && !is_first(errfd);
    bool written = write_to(errfd, buf, n);
    return (captured && write_patiently(first.fd, buf, n)) || written;
}

static void
print(int fd, const char *format, va_list args)
{
    char buf[640];
    int n = vsnprintf(buf, sizeof buf, format, args);
    if (n >= (int)sizeof buf) {
        n = sizeof buf;
        buf[n - 1] = '\n'; /* a text that is cut ends its line all the same */
    }
    if (n > 0)
        write_all(fd, buf, (size_t)n);
}

void
err_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print(errfd, format, args);
    va_end(args);
}

void
fatal_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print(FATALFD, format, args);
    va_end(args);
}
