/* fd.c: file descriptors: the standard ones, and writing to one to the end.
 *
 * Invariants
 *   1. The descriptors 0 to 2 are open once standard_fds has been called, and no file of the program's has
 *      their numbers.
 *   2. What the runtime prints goes to errfd, which is never a file that was opened later than the process
 *      began.
 *
 * standard_fds: once, at the start. write_all is async-signal-safe; err_printf is as far as libc's formatting
 * is, which takes no lock for texts and whole numbers.
 *
 * Differs from Go: by the time that the runtime begins, a file may have got the number of a standard error
 * that was closed. What the runtime prints then goes nowhere.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

int errfd = 2;

void
standard_fds(bool had_stderr)
{
    bool closed[3];
    for (int fd = 0; fd < 3; fd++)
        closed[fd] = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
    if (!had_stderr && !closed[2])
        errfd = open("/dev/null", O_WRONLY | O_CLOEXEC);
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

bool
write_all(int fd, const char *buf, size_t n)
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

void
err_printf(const char *format, ...)
{
    char buf[640];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(buf, sizeof buf, format, args);
    va_end(args);
    if (n >= (int)sizeof buf) {
        n = sizeof buf;
        buf[n - 1] = '\n'; /* a text that is cut ends its line all the same */
    }
    if (n > 0)
        write_all(errfd, buf, (size_t)n);
}
