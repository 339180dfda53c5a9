/* os_linux.c: memory, time, futexes and threads of Linux. (Signals are in stack.c, the dynamic linker in compat.c.)
 *
 * Stacks are guarded by MADV_GUARD_INSTALL where the kernel has it (6.13): it costs no mapping of its own. An
 * older kernel gets mprotect, which splits a mapping in two for each guard, so that vm.max_map_count bounds the
 * number of guarded stacks; mem_guard then fails and stack.c goes on without a guard (docs/limits.md says so).
 */
#define _GNU_SOURCE 1
#include "core.h"

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
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

int64_t
nanotime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
thread_cputime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
sleep_ns(int64_t ns)
{
    nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

bool
thread_computes(int32_t tid)
{
    char name[64], text[256];
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *end = strrchr(text, ')'); /* after the name: a blank and the state */
    return end && end[1] && end[2] == 'R';
}

void
thread_yield(void)
{
    sched_yield();
}

double
walltime(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

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

void
os_timerslack(void)
{
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
}

void
mem_small_pages(void *addr, size_t size)
{
    madvise(addr, size, MADV_NOHUGEPAGE);
}

void *
mem_reserve(size_t size)
{
    void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addr == MAP_FAILED)
        return NULL;
    mem_small_pages(addr, size); /* one touched byte shall cost one small page */
    return addr;
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

size_t
mem_max_mappings(void)
{
    static size_t max;
    if (!max) {
        char text[32] = "";
        int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            if (read(fd, text, sizeof text - 1) < 0)
                *text = 0;
            close(fd);
        }
        max = strtoul(text, NULL, 10);
        if (!max)
            max = 65530; /* the kernel's default */
    }
    return max;
}

void
mem_fence_all(void *addr, size_t size)
{
    /* a mapping of its own, or a part of its neighbour's, without page tables; if it cannot be, all stays as it is */
    mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void
mem_without_guard_markers(void)
{
    noguard = true;
}

/* One process_madvise for many pages costs a quarter less than a call each, where the kernel takes it for oneself (6.15).
 * (For touching pages it is no gain: faults need no lock that two threads share.) */
void
mem_guard_pages(char *const *pages, int n)
{
    static bool none;
    const int PIDFD_SELF_ = -10000;
    struct iovec iov[PAGES_MAX];
    for (int i = 0; i < n; i++)
        iov[i] = (struct iovec){pages[i], 4096};
    if (!none)
        none = syscall(SYS_process_madvise, PIDFD_SELF_, iov, n, MADV_GUARD_INSTALL, 0) != n * 4096L;
    for (int i = 0; none && i < n; i++)
        mem_guard(pages[i], 4096);
}

bool
mem_readable(const void *addr)
{
    char c;
    return mem_read(&c, addr, 1);
}

size_t
mem_copy(void *to, const void *from, size_t n)
{
    size_t done = 0;
    while (done < n) {
        /* page by page: a transfer that meets an unreadable page may give up all of it */
        const char *at = (const char *)from + done;
        size_t k = 4096 - (uintptr_t)at % 4096;
        if (k > n - done)
            k = n - done;
        struct iovec there = {(void *)(uintptr_t)at, k}, here = {(char *)to + done, k};
        if (syscall(SYS_process_vm_readv, getpid(), &here, 1UL, &there, 1UL, 0UL) != (long)k) {
            if (errno != EPERM && errno != ENOSYS)
                break;
            memcpy((char *)to + done, at, k); /* forbidden here: no way to ask */
        }
        done += k;
    }
    return done;
}

bool
mem_read(void *to, const void *from, size_t n)
{
    return mem_copy(to, from, n) == n;
}

void
around_forks(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    if (pthread_atfork(before, parent, child) != 0)
        throw("no memory for a fork handler");
}

int
thread_start(void *(*fn)(void *), void *arg, size_t stack_size)
{
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, stack_size);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    int err = pthread_create(&t, &a, fn, arg);
    pthread_attr_destroy(&a);
    return err;
}

void
thread_bounds(char **lo, char **hi)
{
    pthread_attr_t a;
    void *addr = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &a) == 0) {
        pthread_attr_getstack(&a, &addr, &size);
        pthread_attr_destroy(&a);
    }
    *lo = addr;
    *hi = (char *)addr + size;
}

static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static void (*exit_fn)(void *);

static void
exit_key_make(void)
{
    pthread_key_create(&exit_key, exit_fn);
}

void
thread_at_exit(void (*fn)(void *), void *arg)
{
    exit_fn = fn;
    pthread_once(&exit_once, exit_key_make);
    pthread_setspecific(exit_key, arg);
}

/* CPython ends a thread that wants the GIL while the interpreter ends by pthread_exit, which finishes on the thread's
 * first stack. For the process's main thread that is the main goroutine's stack, and the main goroutine may be running
 * on another thread just then. glibc calls cleanup handlers before it leaves the current stack. (The macros of
 * pthread.h cannot register a handler beyond one block.) */
struct cleanup_buffer {
    void (*fn)(void *);
    void *arg;
    int type;
    struct cleanup_buffer *prev;
};
extern void _pthread_cleanup_push(struct cleanup_buffer *, void (*)(void *), void *);

static void
sleep_forever(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

void
thread_never_exits(void)
{
    static struct cleanup_buffer buffer;
    _pthread_cleanup_push(&buffer, sleep_forever, NULL);
}

void
thread_kill(int32_t tid, int sig)
{
    syscall(SYS_tgkill, getpid(), tid, sig);
}

bool
thread_exists(int32_t tid)
{
    return syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

uintptr_t
context_pc(const void *uc)
{
    const mcontext_t *mc = &((const ucontext_t *)uc)->uc_mcontext;
#if defined(__x86_64__)
    return (uintptr_t)mc->gregs[REG_RIP];
#else
    return mc->pc;
#endif
}

bool
context_reg(const void *uc, int i, const char **name, uint64_t *value)
{
    const mcontext_t *mc = &((const ucontext_t *)uc)->uc_mcontext;
#if defined(__x86_64__)
    static const struct {
        const char *name;
        int reg;
    } regs[] = {{"rax", REG_RAX}, {"rbx", REG_RBX}, {"rcx", REG_RCX},   {"rdx", REG_RDX}, {"rdi", REG_RDI},
                {"rsi", REG_RSI}, {"rbp", REG_RBP}, {"rsp", REG_RSP},   {"r8", REG_R8},   {"r9", REG_R9},
                {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12},   {"r13", REG_R13}, {"r14", REG_R14},
                {"r15", REG_R15}, {"rip", REG_RIP}, {"rflags", REG_EFL}};
    if (i >= (int)(sizeof regs / sizeof *regs))
        return false;
    *name = regs[i].name;
    *value = (uint64_t)mc->gregs[regs[i].reg];
#else
    static const char *const names[] = {"r0",  "r1",  "r2",  "r3",  "r4",  "r5",  "r6",  "r7",  "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17",
                                        "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26",
                                        "r27", "r28", "r29", "lr",  "sp",  "pc"};
    if (i >= (int)(sizeof names / sizeof *names))
        return false;
    *name = names[i];
    *value = i < 31 ? mc->regs[i] : i == 31 ? mc->sp : mc->pc;
#endif
    return true;
}

void
thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

bool
shadow_stack_on(void)
{
#if defined(__x86_64__) && defined(SYS_arch_prctl)
    unsigned long features = 0;
    const long ARCH_SHSTK_STATUS = 0x5005;
    return syscall(SYS_arch_prctl, ARCH_SHSTK_STATUS, &features) == 0 && (features & 1);
#else
    return false;
#endif
}

void
ucontext_registers(const void *ucontext, registers *r)
{
    const mcontext_t *c = &((const ucontext_t *)ucontext)->uc_mcontext;
#if defined(__x86_64__)
    const greg_t *gr = c->gregs;
    *r = (registers){(uintptr_t)gr[REG_RIP], (uintptr_t)gr[REG_RSP], (uintptr_t)gr[REG_RBX],
                     (uintptr_t)gr[REG_RBP], (uintptr_t)gr[REG_R12], (uintptr_t)gr[REG_R13],
                     (uintptr_t)gr[REG_R14], (uintptr_t)gr[REG_R15]};
#else
    *r = (registers){.pc = c->pc, .sp = c->sp};
    memcpy(r->x19_x29, &c->regs[19], sizeof r->x19_x29);
#endif
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
