/* signal.c: signals that end the process, and what is said before.
 *
 *     SIGQUIT                        every goroutine's stack; exit status 2
 *     SIGSEGV, SIGBUS in the guard   a goroutine's stack has overflowed; exit status 2
 *       of the stack it runs on
 *     SIGSEGV, SIGBUS in CPython's   `fatal error: found bad pointer in Go heap`, if a container holds one,
 *       collector                    and which (mgcmark.c); exit status 2
 *     SIGSEGV, SIGBUS, SIGFPE,       `fatal error: unexpected signal during runtime execution`, the goroutine
 *       SIGABRT otherwise            that did it, the others as GOTRACEBACK says; then the handler that was
 *                                    there before, or the default action, so that the parent sees the signal
 *                                    and a core is left
 *
 * SIGQUIT is answered in an orderly way if that can be: sysmon starts a thread that takes the GIL and writes.
 * If it has not got it within a second, the interpreter is wedged: some thread is in C code and keeps the
 * GIL. Then a signal of our own is sent to that thread, whose handler writes the dump without the GIL
 * (traceback.c, `careful`), with the C frames that it was in. If that thread does not answer either, sysmon
 * writes.
 *
 * Handlers run on the thread's alternate stack, use static memory, and take no lock. `dying` counts failures
 * inside of them: the second says `panic during panic`, the third says `stack trace unavailable` and exits
 * with 4, later ones exit with 5.
 *
 * A program's own handlers, set by signal.signal() or in C, replace these, as they replace any other.
 *
 * A fault of the copy that reads what may not be there (CATCHING in os.h) is not a failure: it goes on at its
 * error exit. That can only be relied on while the handlers are these and the thread does not block the
 * signals, which faults_are_caught() asks the kernel. Dumps do without: what they read they ask the kernel
 * for.
 *
 * Differs from Go: a fault does not become a panic that could be recovered, since C code has no place to
 * return to.
 */
#include "core.h"

#include "cpython/compat.h"
#include "gc/mgc.h"
#include "hooks.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/session.h"
#include "sched/sigmask.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "stacks/signal.h"
#include "stacks/traceback.h"

#include <errno.h>
#include <signal.h>
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
static _Atomic uint32_t quits;
enum {
    QuitNone,
    QuitNoting,  /* the handler writes quit_pc and the rest, which others read later on */
    QuitWanted,  /* sysmon is to act */
    QuitTrying,  /* a thread tries to get the GIL */
    QuitNobody,  /* no thread waits for the GIL any more: a handler writes */
    QuitWriting, /* one does */
};
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

/* A second failure while dying says so, and nothing else is tried. */
static void
died_again(int times)
{
    if (times == 2) {
        panic_during_panic();
        return;
    }
    if (times == 3) {
        write_all(FATALFD, "stack trace unavailable\n", 24);
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
    if (gp) {
        put_header(o, gp, "running");
        if (uc)
            hooks.print_signal(o, uc);
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
        hooks.print_signal(o, uc);
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

#define FRAME_MAX (1 << 20)

/* The running goroutine, if the address is in the frame at its stack pointer: as far above that as a large
 * frame reaches, or a little below, where calls push. A wild pointer into a guard is not an overflow. */
static g *
touched_in_frame(int sig, const siginfo_t *info, const void *uc)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    if ((sig != SIGSEGV && sig != SIGBUS) || info->si_code <= 0 || !gp)
        return NULL;
    registers r;
    ucontext_registers(uc, &r);
    return (uintptr_t)info->si_addr - (r.sp - 4096) <= FRAME_MAX ? gp : NULL;
}

/* The limit that the goroutine's stack has exceeded by touching addr, or 0: the fault is something else. */
static size_t
overflowed(const g *gp, const char *addr)
{
    if (!gp || addr >= gp->stack_lo || gp->stack_lo - addr > FRAME_MAX)
        return 0;
    return gp->extra ? (size_t)(gp->stack_hi - gp->stack_lo) : stack_guard_hit(addr);
}

/* Which test it is that killed its runner. */
static void
put_session(out *o)
{
    const char *name = session_name();
    if (!*name)
        return;
    put_str(o, "[");
    put_str(o, name);
    put_str(o, "]\n");
}

static void
put_signal(out *o, const struct fatalsig *s, const siginfo_t *info, const void *uc)
{
    put_str(o, "fatal error: unexpected signal during runtime execution\n[signal ");
    put_str(o, s->name);
    put_str(o, ": ");
    put_str(o, s->text);
    put_str(o, " code=");
    put_hex(o, (uint64_t)(uint32_t)info->si_code);
    put_str(o, " addr=");
    put_hex(o, info->si_code > 0 ? (uintptr_t)info->si_addr : 0);
    put_str(o, " pc=");
    put_hex(o, context_pc(uc));
    put_str(o, "]\n");
}

/* What GOTRACEBACK shows of it. */
static void
put_stacks(out *o, void *uc, bool overflow)
{
    if (tb.level == 0)
        return;
    put(o, "\n", 1);
    g *gp = put_interrupted(o, overflow ? NULL : uc);
    out_flush(o);
    if (tb.all) {
        put_others(o, gp, true);
        put_threads(o, gp ? NULL : ts_of_thread(), true);
    }
    if (tb.level >= 2) {
        put(o, "\n", 1);
        put_regs(o, uc);
    }
    out_flush(o);
}

/* Has a fault come because the collector met a bad pointer? */
static bool
is_bad_pointer(int sig, const siginfo_t *info)
{
    return (sig == SIGSEGV || sig == SIGBUS) && info->si_code > 0 && fault_escaping(gc_explains_fault);
}

static void
on_fatal(int sig, siginfo_t *info, void *uc)
{
    static char buf[4096];
    /* before start_dying: neither of these two is a failure */
    if ((sig == SIGSEGV || sig == SIGBUS) && info->si_code > 0 && fault_caught(uc))
        return;
    fault_escape(); /* it comes while another one is explained */
    g *toucher = touched_in_frame(sig, info, uc);
    if (toucher && morestack_fault(toucher, info->si_addr))
        return;
    struct fatalsig *s = fatalsig_of(sig);
    int times = start_dying();
    out o = {.buf = buf, .cap = sizeof buf, .fd = FATALFD};
    size_t overflow = overflowed(toucher, info->si_addr);
    bool bad_pointer = times == 1 && !overflow && is_bad_pointer(sig, info);
    if (times > 1)
        died_again(times);
    else {
        if (overflow) {
            put_str(&o, "runtime: goroutine stack exceeds ");
            put_uint(&o, overflow);
            put_str(&o, "-byte limit\nfatal error: stack overflow\n");
        }
        else if (bad_pointer)
            put_str(&o, "fatal error: " BAD_POINTER "\n");
        else
            put_signal(&o, s, info, uc);
        put_session(&o);
        out_flush(&o); /* before the walks, where the next failure may be */
        put_stacks(&o, uc, overflow > 0 || bad_pointer);
        if (overflow || bad_pointer) {
            if (tb.crash)
                crash();
            _exit(2);
        }
    }
    /* the handler that was here before us, or the default action: by running the instruction again, or by
     * raising anew */
    struct sigaction *old = &s->old;
    if (times == 1 && old->sa_flags & SA_SIGINFO)
        old->sa_sigaction(sig, info, uc);
    else if (times == 1 && old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN)
        old->sa_handler(sig);
    signal(sig, SIG_DFL);
    if (info->si_code <= 0) /* abort()'s, too: with its frames still there */
        raise(sig);
}

bool
faults_are_caught(void)
{
    const int sigs[] = {SIGSEGV, SIGBUS};
    sigset_t blocked;
    if (pthread_sigmask(SIG_BLOCK, NULL, &blocked) != 0)
        return false;
    for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
        struct sigaction now;
        if (sigismember(&blocked, sigs[i]) || sigaction(sigs[i], NULL, &now) != 0 ||
            !(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fatal)
            return false;
    }
    return true;
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
    put_session(o);
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
    out o = {.buf = buf, .cap = sizeof buf, .fd = FATALFD};
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
    uint32_t none = QuitNone;
    if (atomic_compare_exchange_strong(&quits, &none, QuitNoting)) {
        m *mp = getm();
        quit_pc = context_pc(uc);
        quit_m = mp ? mp->id : 0;
        quit_code = info->si_code;
        out o = {.buf = quit_regs, .cap = sizeof quit_regs, .fd = -1};
        put_regs(&o, uc);
        quit_nregs = o.n;
        if (sched.sysmonstarted) {
            atomic_store(&quits, QuitWanted);
            sysmon_wake();
        }
        else { /* there is no sysmon: this process has started no goroutine but main */
            atomic_store(&quits, QuitWriting);
            quit_careful(uc);
        }
    }
    errno = err;
}

bool
quit_wanted(void)
{
    return atomic_load_explicit(&quits, memory_order_acquire) == QuitWanted;
}

static void *
quit_orderly(void *unused)
{
    (void)unused;
    PyGILState_Ensure();
    uint32_t trying = QuitTrying;
    if (!atomic_compare_exchange_strong(&quits, &trying, QuitWriting))
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
    write_all(FATALFD, o.buf, o.n);
    static char buf[4096];
    out rest = {.buf = buf, .cap = sizeof buf, .fd = FATALFD};
    quit_end(&rest);
}

void
quit(void)
{
    atomic_store(&quits,
                 QuitTrying); /* each later step is a compare and exchange: so only one of the three writes */
    _Atomic uint32_t never = 0;
    if (thread_start(quit_orderly, NULL, 256 << 10, sigmask_runtime()) == 0)
        futex_sleep(&never, 0, nanotime() + SECOND);
    uint32_t trying = QuitTrying;
    if (atomic_compare_exchange_strong(&quits, &trying, QuitNobody)) {
        for (m *mp = sched.allm; mp; mp = mp->alllink) {
            g *gp = mp->curg;
            if (gp && gp->ts && ts_running(gp->ts))
                kick(mp->tid);
        }
        futex_sleep(&never, 0, nanotime() + SECOND);
        uint32_t nobody = QuitNobody;
        if (atomic_compare_exchange_strong(&quits, &nobody, QuitWriting))
            quit_careful(NULL);
    }
    for (;;)
        futex_sleep(&never, 0, INT64_MAX); /* the process is about to end */
}

/* Hook, at each kick. If no thread waits for the GIL any more, it is most likely this one that keeps it. */
void
quit_kicked(void *uc)
{
    uint32_t nobody = QuitNobody;
    if (atomic_load(&quits) == QuitNobody && atomic_compare_exchange_strong(&quits, &nobody, QuitWriting))
        quit_careful(uc);
}

/* In the child: a SIGQUIT that came to the parent is the parent's to answer. */
void
quit_after_fork(void)
{
    atomic_store(&quits, QuitNone);
}

/* -- beginnings ------------------------------------------------------------------------------------ */

/* Python's own handlers are known to `getsignal`, where the caller has looked already: if there are any, it
 * says which. Its default for SIGINT
 * and what faulthandler installs for faults do not come from a library. Nor does a window that changes its
 * size let a thread go on: readline, which pytest loads, has a handler for that. */
bool
handled_in_c(uint64_t known)
{
    for (int sig = 1; sig <= SIGRTMAX; sig++) {
        struct sigaction now;
        if (known >> (sig - 1) & 1 || kick_bit() >> (sig - 1) & 1 || sig == SIGINT || sig == SIGQUIT ||
            sig == SIGILL || sig == SIGWINCH || fatalsig_of(sig))
            continue;
        if (sigaction(sig, NULL, &now) == 0 &&
            (now.sa_flags & SA_SIGINFO || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)))
            return true;
    }
    return false;
}

/* SIGABRT is also sent, and the program may want it for something: it ignores it, or has a handler in Python,
 * which would only be noted before the process ends. */
static bool
is_used(int sig)
{
    struct sigaction now;
    if (sig != SIGABRT || sigaction(sig, NULL, &now) != 0)
        return false;
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *handler = module ? PyObject_CallMethod(module, "getsignal", "i", sig) : NULL;
    bool used = now.sa_handler == SIG_IGN || (handler && PyCallable_Check(handler));
    PyErr_Clear();
    Py_XDECREF(handler);
    Py_XDECREF(module);
    return used;
}

void
signals_init(void)
{
    struct sigaction sa, now;
    memset(&sa, 0, sizeof sa);
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = on_fatal;
    for (size_t i = 0; i < sizeof fatals / sizeof *fatals; i++) {
        if (!is_used(fatals[i].sig))
            sigaction(fatals[i].sig, &sa, &fatals[i].old);
    }
    sa.sa_sigaction = on_quit;
    sa.sa_flags |= SA_RESTART;
    /* also where the parent had it ignored, as shells do for background jobs, and as in Go */
    if (sigaction(SIGQUIT, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
        (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        sigaction(SIGQUIT, &sa, NULL);
    kick_init();
    stack_altstack();
}
