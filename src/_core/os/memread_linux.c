/* memread_linux.c: reading memory of which it is not known whether it is there.
 *
 * Invariants
 *   1. A read of memory that is not there, or ceases to be meanwhile, gives false; it is never a fault that
 *      others see.
 *   2. All is async-signal-safe, and needs no lock.
 *
 * CAREFUL costs a system call, and goes on working when somebody else handles SIGSEGV. CATCHING costs nothing
 * but the copy; it takes a handler that asks fault_caught first of all.
 *
 * Rejected: mincore(), which says whether pages are mapped but not whether they may be read, and whose answer
 * may be out of date when the read comes; sigsetjmp around each read, which saves the registers each time.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* Is process_vm_readv forbidden by a sandbox, which will not change its mind? */
static _Atomic bool no_vm_readv;

/* By one system call, which answers EFAULT where a read would be a fault. Of n bytes in several pages of
 * which one is missing, it may copy any number. */
static bool
vm_read(void *to, const void *from, size_t n)
{
    if (no_vm_readv)
        return false;
    struct iovec there = {(void *)(uintptr_t)from, n}, here = {to, n};
    /* the pid is not kept: this may be the child of a fork that nobody was told of */
    long got = syscall(SYS_process_vm_readv, (long)getpid(), &here, 1UL, &there, 1UL, 0UL);
    if (got < 0 && errno != EFAULT)
        no_vm_readv = true;
    return got == (long)n;
}

/* write() too answers EFAULT, and no sandbox forbids pipes. At most a page, for which an empty pipe always
 * has room. */
static bool
pipe_read(void *to, const void *from, size_t n)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    bool all = write(fd[1], from, n) == (ssize_t)n && read(fd[0], to, n) == (ssize_t)n;
    close(fd[0]);
    close(fd[1]);
    return all;
}

size_t
mem_copy(void *to, const void *from, size_t n)
{
    if (vm_read(to, from, n))
        return n;
    size_t done = 0;
    while (done < n) {
        char *here = (char *)to + done;
        const char *at = (const char *)from + done;
        size_t k = 4096 - (uintptr_t)at % 4096;
        if (k > n - done)
            k = n - done;
        if (!vm_read(here, at, k) && !(no_vm_readv && pipe_read(here, at, k)))
            break;
        done += k;
    }
    return done;
}

bool
mem_read(void *to, const void *from, size_t n)
{
    return mem_copy(to, from, n) == n;
}

/* arch/catch_*.S */
extern size_t gort_catch_copy(void *to, const void *from, size_t n);
extern const char gort_catch_access[], gort_catch_caught[];

bool
mem_look(void *to, const void *from, size_t n, enum care care)
{
    if (care == CAREFUL)
        return mem_read(to, from, n);
    if (care == CATCHING)
        return gort_catch_copy(to, from, n) == 0;
    memcpy(to, from, n);
    return true;
}

bool
fault_caught(void *uc)
{
    if (context_pc(uc) != (uintptr_t)gort_catch_access)
        return false;
    mcontext_t *mc = &((ucontext_t *)uc)->uc_mcontext;
#if defined(__x86_64__)
    mc->gregs[REG_RIP] = (greg_t)(uintptr_t)gort_catch_caught;
#else
    mc->pc = (uintptr_t)gort_catch_caught;
#endif
    return true;
}
