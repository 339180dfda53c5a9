/* signal.c: signals that end the process, and what is said before.
 *
 *     SIGQUIT                        every goroutine's stack; exit status 2
 *     SIGSEGV, SIGBUS in a guard     a goroutine's stack has overflowed; exit status 2
 *     SIGSEGV, SIGBUS, SIGFPE,       `fatal error: unexpected signal during runtime execution`, the goroutine that
 *     SIGABRT otherwise              did it, the others as GOTRACEBACK says; then whoever was there before, or the
 *                                    default action, so that the parent sees the signal and a core is left
 *
 * SIGQUIT is answered in an orderly way if that can be: sysmon starts a thread that takes the GIL and writes. If it has not
 * got it within a second, the interpreter is wedged: some thread is in C code and keeps the GIL. Then the signal is
 * sent to that thread, whose handler writes the dump without the GIL (traceback.c, `careful`), with the C frames
 * that it was in. If that thread does not answer either (it blocks the signal), sysmon writes.
 *
 * Handlers run on the thread's alternate stack, use static memory, and take no lock. A failure inside of one is met by
 * `dying`: the second says `panic during panic`, the third `stack trace unavailable` and exits with 4, more with 5.
 *
 * A program's own handlers, set by signal.signal() or in C, replace these, as they replace any other.
 *
 * Differs from Go: a fault does not become a panic that could be recovered, since C code has no place to return to.
 */
#include "core.h"

#include "compat.h"
#include "os.h"
#include "traceback.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000

static struct fatalsig {
    int sig;
    const char *name, *text;
    struct sigaction old;
} fatals[] = {
    {.sig = SIGSEGV, .name = "SIGSEGV", .text = "segmentation violation"},
    {.sig = SIGBUS, .name = "SIGBUS", .text = "bus error"},
    {.sig = SIGFPE, .name = "SIGFPE", .text = "floating-point exception"},
    {.sig = SIGABRT, .name = "SIGABRT", .text = "abort"},
};

static _Atomic int dying;
static _Atomic uint32_t
    quits; /* 0; 1 wanted; 2 a thread tries to get the GIL; 3 nobody waits for it any more; 4 being written */
static uintptr_t quit_pc;
static int quit_code, quit_m;
static char quit_regs[2048];
static size_t quit_nregs;

int
start_dying(void)
{
    return atomic_fetch_add(&dying, 1) + 1;
}

static struct fatalsig *
fatalsig_of(int sig)
{
    for (size_t i = 0; i < sizeof fatals / sizeof *fatals; i++) {
        if (fatals[i].sig == sig)
            return &fatals[i];
    }
    return NULL;
}

_Noreturn void
crash(void)
{
    signal(SIGABRT, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(SIGABRT);
    _exit(2);
}

/* After what a second failure while dying says, no more is tried. */
static void
died_again(int times)
{
    if (times == 2) {
        write_all(2, "panic during panic\n", 19);
        return;
    }
    if (times == 3) {
        write_all(2, "stack trace unavailable\n", 24);
        _exit(4);
    }
    _exit(5);
}

/* The goroutine or thread that the handler interrupted. */
static g *
put_interrupted(out *o, void *uc)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if (gp && gp->flags & G_THREAD)
        gp = NULL;
    if (gp) {
        put_header(o, gp, "running");
        if (uc)
            cgo_print_signal(o, uc);
        put_frames(o, gp, gp->ts, true);
        put_tail(o, gp, true);
        return gp;
    }
    PyThreadState *ts = mp && !mp->curg ? NULL : ts_of_thread();
    if (ts) {
        put_str(o, "thread ");
        put_uint(o, ts_native_id(ts, true));
        put_str(o, " [running]:\n");
    }
    else
        put_str(o, "goroutine 0 [idle]:\n");
    if (uc)
        cgo_print_signal(o, uc);
    if (ts)
        put_frames(o, NULL, ts, true);
    return NULL;
}

static void
put_regs(out *o, void *uc)
{
    const char *name;
    uint64_t value;
    for (int i = 0; context_reg(uc, i, &name, &value); i++) {
        put_str(o, name);
        for (size_t n = strlen(name); n < 7; n++)
            put(o, " ", 1);
        put_hex(o, value);
        put(o, "\n", 1);
    }
}

/* -- faults ---------------------------------------------------------------------------------------- */

static void
on_fatal(int sig, siginfo_t *info, void *uc)
{
    static char buf[4096];
    struct fatalsig *s = fatalsig_of(sig);
    int times = start_dying();
    out o = {.buf = buf, .cap = sizeof buf, .fd = 2};
    size_t overflow = sig == SIGSEGV || sig == SIGBUS ? stack_guard_hit(info->si_addr) : 0;
    if (times > 1)
        died_again(times);
    else {
        if (overflow) {
            put_str(&o, "runtime: goroutine stack exceeds ");
            put_uint(&o, overflow);
            put_str(&o, "-byte limit\nfatal error: stack overflow\n");
        }
        else {
            put_str(&o, "fatal error: unexpected signal during runtime execution\n[signal ");
            put_str(&o, s->name);
            put_str(&o, ": ");
            put_str(&o, s->text);
            put_str(&o, " code=");
            put_hex(&o, (uint64_t)(uint32_t)info->si_code);
            put_str(&o, " addr=");
            put_hex(&o, info->si_code > 0 ? (uintptr_t)info->si_addr : 0);
            put_str(&o, " pc=");
            put_hex(&o, context_pc(uc));
            put_str(&o, "]\n");
        }
        out_flush(&o);
        if (tb.level > 0) {
            put(&o, "\n", 1);
            g *gp = put_interrupted(&o, overflow ? NULL : uc);
            out_flush(&o);
            if (tb.all) {
                put_others(&o, gp, true);
                put_threads(&o, gp ? NULL : ts_of_thread(), true);
            }
            if (tb.level >= 2) {
                put(&o, "\n", 1);
                put_regs(&o, uc);
            }
        }
        out_flush(&o);
        if (overflow) {
            if (tb.crash)
                crash();
            _exit(2);
        }
    }
    /* whoever was here before us, or the default action: when the instruction is run again, or by raising it anew */
    struct sigaction *old = &s->old;
    if (times == 1 && old->sa_flags & SA_SIGINFO)
        old->sa_sigaction(sig, info, uc);
    else if (times == 1 && old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN)
        old->sa_handler(sig);
    signal(sig, SIG_DFL);
    if (info->si_code <= 0 && sig != SIGABRT)
        raise(sig);
}

/* -- SIGQUIT --------------------------------------------------------------------------------------- */

static void
put_quit(out *o)
{
    put_str(o, "SIGQUIT: quit\nPC=");
    put_hex(o, quit_pc);
    put_str(o, " m=");
    put_uint(o, (uint64_t)quit_m);
    put_str(o, " sigcode=");
    put_uint(o, (uint64_t)(uint32_t)quit_code);
    put(o, "\n", 1);
}

static _Noreturn void
quit_end(out *o)
{
    if (tb.level >= 2) {
        put(o, "\n", 1);
        put(o, quit_regs, quit_nregs);
    }
    out_flush(o);
    if (tb.crash)
        crash();
    _exit(2);
}

/* Writes without the GIL; from the handler of the interrupted thread, else uc is NULL. */
static _Noreturn void
quit_careful(void *uc)
{
    static char buf[4096];
    out o = {.buf = buf, .cap = sizeof buf, .fd = 2};
    start_dying();
    put_quit(&o);
    if (tb.level > 0) {
        put(&o, "\n", 1);
        g *gp = NULL;
        if (uc)
            gp = put_interrupted(&o, uc);
        put_others(&o, gp, true);
        put_threads(&o, uc && !gp ? ts_of_thread() : NULL, true);
    }
    quit_end(&o);
}

static void
on_quit(int sig, siginfo_t *info, void *uc)
{
    (void)sig;
    int err = errno;
    uint32_t none = 0;
    if (atomic_compare_exchange_strong(&quits, &none, 1)) {
        m *mp = getm();
        quit_pc = context_pc(uc);
        quit_m = mp ? mp->id : 0;
        quit_code = info->si_code;
        out o = {.buf = quit_regs, .cap = sizeof quit_regs, .fd = -1};
        put_regs(&o, uc);
        quit_nregs = o.n;
        if (sched.sysmonstarted)
            sysmon_wake();
        else { /* there never was a goroutine but main */
            atomic_store(&quits, 4);
            quit_careful(uc);
        }
    }
    else {
        uint32_t nobody = 3;
        if (atomic_compare_exchange_strong(&quits, &nobody, 4))
            quit_careful(uc);
    }
    errno = err;
}

bool
quit_wanted(void)
{
    return atomic_load_explicit(&quits, memory_order_relaxed) == 1;
}

static void *
quit_orderly(void *unused)
{
    (void)unused;
    PyGILState_Ensure();
    uint32_t trying = 2;
    if (!atomic_compare_exchange_strong(&quits, &trying, 4))
        return NULL; /* too late; and without giving back the GIL: the process ends */
    start_dying();
    out o = {.fd = -1};
    put_quit(&o);
    if (tb.level > 0) {
        put_others(&o, NULL, false);
        put_threads(&o, PyThreadState_Get(), false);
    }
    if (o.failed)
        quit_careful(NULL);
    write_all(2, o.buf, o.n);
    static char buf[4096];
    out rest = {.buf = buf, .cap = sizeof buf, .fd = 2};
    quit_end(&rest);
}

void
quit(void)
{
    atomic_store(&quits, 2);
    _Atomic uint32_t never = 0;
    if (thread_start(quit_orderly, NULL, 256 << 10) == 0)
        futex_sleep(&never, 0, nanotime() + SECOND);
    uint32_t trying = 2;
    if (atomic_compare_exchange_strong(&quits, &trying, 3)) {
        for (m *mp = sched.allm; mp; mp = mp->alllink) {
            g *gp = mp->curg;
            if (gp && gp->ts && ts_running(gp->ts))
                thread_kill(mp->tid, SIGQUIT);
        }
        futex_sleep(&never, 0, nanotime() + SECOND);
        uint32_t nobody = 3;
        if (atomic_compare_exchange_strong(&quits, &nobody, 4))
            quit_careful(NULL);
    }
    for (;;)
        futex_sleep(&never, 0, INT64_MAX); /* the process is about to end */
}

/* -- beginnings ------------------------------------------------------------------------------------ */

void
stack_altstack(void)
{
    stack_t ss;
    if (sigaltstack(NULL, &ss) == 0 && !(ss.ss_flags & SS_DISABLE))
        return;
    ss.ss_size = 512 << 10; /* a symbolizer's libraries are no misers; what is not touched costs nothing */
    ss.ss_flags = 0;
    ss.ss_sp = mem_reserve(ss.ss_size);
    if (ss.ss_sp) {
        mem_guard(ss.ss_sp, 4096);
        sigaltstack(&ss, NULL);
    }
}

void
signals_init(void)
{
    struct sigaction sa, now;
    memset(&sa, 0, sizeof sa);
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = on_fatal;
    for (size_t i = 0; i < sizeof fatals / sizeof *fatals; i++)
        sigaction(fatals[i].sig, &sa, &fatals[i].old);
    sa.sa_sigaction = on_quit;
    sa.sa_flags |= SA_RESTART;
    /* also where the parent had it ignored, as shells do for background jobs, and as in Go */
    if (sigaction(SIGQUIT, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
        (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        sigaction(SIGQUIT, &sa, NULL);
    stack_altstack();
}
