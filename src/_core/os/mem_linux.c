/* mem_linux.c: addresses and memory: reserved, given back, moved, guarded.
 *
 * Stacks are guarded by MADV_GUARD_INSTALL where the kernel has it (6.13): it costs no mapping of its own. An
 * older kernel gets mprotect, which splits a mapping in two for each guard, so that vm.max_map_count bounds
 * the number of guarded stacks; mem_guard then fails and stack.c goes on without a guard (docs/limits.md says
 * so).
 *
 * Invariants
 *   1. What is reserved costs addresses only, until it is touched; a touched byte costs one small page.
 *   2. Addresses that were handed out stay in use until mem_unmap: what replaces a mapping does so in one
 *      step. If the kernel gives some of them to somebody else all the same, the process ends.
 *   3. Tools that count what a program maps by libc's mmap see the heap (mem_map), but not what is only
 *      reserved: memray took that for memory in use.
 *   4. What a kernel lacks is found out once, by trying, and done in the older way from then on.
 *
 * Any thread, with no lock: the kernel has its own. mem_guard and mem_unguard are async-signal-safe.
 *
 * Rejected: MAP_STACK and MAP_GROWSDOWN for stacks. The former does nothing, and the latter grows into its
 * neighbour.
 *
 * Differs from Go, whose stacks need no guards, since its compiler has each function look for the end.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include "os/throw.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

void
mem_small_pages(void *addr, size_t size)
{
    madvise(addr, size, MADV_NOHUGEPAGE);
}

bool
mem_limited(void)
{
    struct rlimit as;
    return getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY;
}

/* Invariant 3. (AddressSanitizer has to see it: new addresses are not poisoned.) */
static void *
reserve(void *addr, size_t size, int fixed)
{
    const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed;
#ifdef __SANITIZE_ADDRESS__
    return mmap(addr, size, prot, flags, -1, 0);
#else
    return (void *)syscall(SYS_mmap, addr, size, prot, flags, -1, 0);
#endif
}

void *
mem_reserve(size_t size)
{
    void *addr = reserve(NULL, size, 0);
    if (addr == MAP_FAILED)
        return NULL;
    mem_small_pages(addr, size); /* so that one touched byte costs one small page */
    return addr;
}

bool
mem_renew(void *addr, size_t size)
{
    if (reserve(addr, size, MAP_FIXED) == MAP_FAILED) {
        madvise(addr, size, MADV_DONTNEED);
        return false;
    }
    mem_small_pages(addr, size);
    return true;
}

void
mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(1 << 20);
#endif
}

void *
mem_map(void *hint, size_t size, size_t align, const char *name)
{
    const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *addr = mmap(hint, size, prot, flags, -1, 0);
    if (addr == MAP_FAILED)
        return NULL;
    if ((uintptr_t)addr & (align - 1)) { /* not where it was wanted: map more, and cut */
        munmap(addr, size);
        addr = mmap(hint, size + align, prot, flags, -1, 0);
        if (addr == MAP_FAILED)
            return NULL;
        size_t before = -(uintptr_t)addr & (align - 1);
        if (before)
            munmap(addr, before);
        addr += before;
        if (align > before)
            munmap(addr + size, align - before);
    }
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, size, name);
    return addr;
}

void
mem_unmap(void *addr, size_t size)
{
    munmap(addr, size);
}

void
mem_populate(void *addr, size_t size)
{
    madvise(addr, size, MADV_POPULATE_WRITE); /* before Linux 5.14 they come one by one */
}

bool mem_lazily;

bool
mem_release(void *addr, size_t size)
{
    if (mem_lazily && madvise(addr, size, MADV_FREE) == 0)
        return false;
    return madvise(addr, size, MADV_DONTNEED) == 0; /* locked memory cannot be given back */
}

void
mem_discard(void *addr, size_t size)
{
    if (madvise(addr, size, MADV_DONTNEED) != 0)
        memset(addr, 0, size); /* locked memory cannot be given back */
}

bool
mem_move(void *to, void *from, size_t size)
{
    static bool none; /* the kernel has no MREMAP_DONTUNMAP (5.7) */
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if (none)
        return false;
    if (mremap(from, size, size, flags, to) != MAP_FAILED)
        return true;
    none = errno == EINVAL;
    /* it may have gone as far as unmapping `to` */
    if (mmap(to, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        throw("heap: addresses were lost to another mapping");
    return false;
}

static bool noguard; /* the kernel has no MADV_GUARD_INSTALL */

int
mem_guard(void *addr, size_t size)
{
    if (!noguard) {
        if (madvise(addr, size, MADV_GUARD_INSTALL) == 0)
            return 0;
        noguard = errno == EINVAL;
    }
    return mprotect(addr, size, PROT_NONE);
}

void
mem_unguard(void *addr, size_t size)
{
    if (noguard)
        mprotect(addr, size, PROT_READ | PROT_WRITE);
    else
        madvise(addr, size, MADV_GUARD_REMOVE);
}

void
mem_fence(void *addr, size_t size)
{
    if (mem_guard(addr, size) != 0 || noguard) /* else the guards have taken the place of the memory */
        madvise(addr, size, MADV_DONTNEED);
}

bool
mem_guards_are_mappings(void)
{
    return noguard;
}

void
mem_fence_all(void *addr, size_t size)
{
    /* a mapping of its own, or a part of its neighbour's, without page tables; if it cannot be, all stays as
     * it is */
    mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

#if GORT_TESTS
void
mem_without_guard_markers(void)
{
    noguard = true;
}
#endif

/* One process_madvise for many places costs a quarter less than a call each, where the kernel takes it for
 * oneself (6.15). (For touching pages it gains nothing: faults need no lock that two threads share.) */
void
mem_guard_all(char *const *at, int n, size_t size)
{
    static bool none;
    const int PIDFD_SELF_ = -10000;
    struct iovec iov[PAGES_MAX];
    for (int i = 0; i < n; i++)
        iov[i] = (struct iovec){at[i], size};
    if (!none)
        none = syscall(SYS_process_madvise, PIDFD_SELF_, iov, n, MADV_GUARD_INSTALL, 0) != n * (long)size;
    for (int i = 0; none && i < n; i++)
        mem_guard(at[i], size);
}
