/* thread_linux.c: threads of this process: started, named, signalled, ended.
 *
 * Invariants
 *   1. A thread has the signal mask that it was given from its first instruction on.
 *   2. A thread that is known by its number (tid) may have ended: a signal to it is lost then. The kernel
 *      does not use a number again at once.
 *
 * Any thread. thread_kill and thread_exists are async-signal-safe.
 *
 * Rejected: clone() without libc, as Go has it. The threads run C code, which takes them for pthreads.
 *
 * Differs from Go: a thread can be made never to end (thread_never_exits).
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include "os/throw.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void
around_forks(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    if (pthread_atfork(before, parent, child) != 0)
        throw("no memory for a fork handler");
}

static bool
has_addresses(size_t n)
{
    void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, n);
    return true;
}

int
thread_start(void *(*fn)(void *), void *arg, size_t stack_size, uint64_t sigmask)
{
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, stack_size);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    uint64_t mine = sigmask_set(sigmask);
    int err = pthread_create(&t, &a, fn, arg);
    if (err == EAGAIN && !has_addresses(stack_size + (1 << 20)))
        err = ENOMEM; /* pthread_create does not tell the one from the other */
    for (int tries = 1; err == EAGAIN && tries < 20; tries++) { /* as in Go: it may be for a moment */
        sleep_ns(tries * 1000000);
        err = pthread_create(&t, &a, fn, arg);
    }
    sigmask_set(mine);
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

/* pthread_exit finishes on the thread's first stack, which another thread may be running on just then. glibc
 * calls cleanup handlers before it leaves the current stack. (The macros of pthread.h cannot register a
 * handler beyond one block.) */
struct cleanup_buffer {
    void (*fn)(void *);
    void *arg;
    int type;
    struct cleanup_buffer *prev;
};
extern void _pthread_cleanup_push(struct cleanup_buffer *, void (*)(void *), void *);
extern void _pthread_cleanup_pop(struct cleanup_buffer *, int);

static struct cleanup_buffer sleeper;

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
    _pthread_cleanup_push(&sleeper, sleep_forever, NULL);
}

void
thread_may_exit(void)
{
    _pthread_cleanup_pop(&sleeper, 0);
}

int
thread_getname(unsigned long ident, char *buf, size_t size)
{
    return pthread_getname_np((pthread_t)ident, buf, size);
}

void
thread_yield(void)
{
    sched_yield();
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
