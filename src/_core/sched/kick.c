/* kick.c: the runtime's own signal: it ends a system call of a thread early, has a thread go on with another
 * mask, and after a SIGQUIT that nobody answers its handler writes the dump (hooks.kicked).
 *
 * Invariant: no SA_RESTART, which would undo what it is for.
 *
 * kick may be called by any thread, without the GIL. The handler runs on the thread's alternate stack and
 * takes no lock.
 *
 * Differs from Go, which preempts goroutines by SIGURG: here Python code is asked through the eval breaker.
 */
#include "core.h"

#include "hooks.h"
#include "os/os.h"
#include "sched/sigmask.h"

#include <errno.h>
#include <signal.h>

static int kicksig;
static _Atomic bool mask_pushed;
static _Atomic uint64_t pushed_mask;

static void
on_kick(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)info;
    int err = errno;
    if (getm() == m0 && atomic_exchange(&mask_pushed, false))
        context_set_sigmask(uc, atomic_load(&pushed_mask));
    hooks.kicked(uc);
    errno = err;
}

/* It is the last real-time signal that is nobody's. */
void
kick_init(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK},
                     now; /* no SA_RESTART: that is what it is for */
    sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = on_kick;
    for (int sig = SIGRTMAX - 1; sig > SIGRTMIN && !kicksig; sig--) {
        if (sigaction(sig, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL &&
            sigaction(sig, &sa, NULL) == 0)
            kicksig = sig;
    }
}

uint64_t
kick_bit(void)
{
    return kicksig ? (uint64_t)1 << (kicksig - 1) : 0;
}

void
kick(int32_t tid)
{
    struct sigaction now;
    if (kicksig && sigaction(kicksig, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
        now.sa_sigaction == on_kick) /* else the program has taken it */
        thread_kill(tid, kicksig);
}

void
push_mask(uint64_t mask)
{
    atomic_store(&pushed_mask, mask); /* before the flag: on_kick takes the flag, then the mask */
    atomic_store(&mask_pushed, true);
    kick(m0->tid);
}
