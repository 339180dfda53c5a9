/* signal_linux.c: signal masks, the registers that a signal handler is given, and alternate stacks.
 *
 * Invariants
 *   1. A mask is 64 bits, bit n - 1 for signal n, as the kernel has it. The two that glibc uses between its
 *      threads are never blocked.
 *   2. The registers are those of the processor that this was built for; arch/ and cgo/context_*.S know the
 *      order of `registers`.
 *
 * All but what makes and frees alternate stacks is async-signal-safe; nothing needs a lock.
 *
 * Rejected: sigset_t, which has room for 1024 signals and functions for one at a time.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGBIT(sig) ((uint64_t)1 << ((sig) - 1))
/* (SIGABRT: from glibc 2.41 on abort() sends it to its thread without unblocking it, and does without the
 * handler if nothing happens.) */
const uint64_t sigmask_faults = SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGFPE) | SIGBIT(SIGILL) |
                                SIGBIT(SIGTRAP) | SIGBIT(SIGSYS) | SIGBIT(SIGABRT);
const uint64_t sigmask_profile = SIGBIT(SIGPROF);
/* glibc's own, between its threads; pthread_sigmask leaves them alone too */
static const uint64_t internal = SIGBIT(32) | SIGBIT(33);

uint64_t
sigmask_set(uint64_t mask)
{
    uint64_t old = 0;
    mask &= ~internal;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof mask);
    return old;
}

uint64_t
sigmask_get(void)
{
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof mask);
    return mask;
}

void
context_set_sigmask(void *uc, uint64_t mask)
{
    memcpy(&((ucontext_t *)uc)->uc_sigmask, &mask, sizeof mask); /* the kernel's words come first */
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

/* -- the alternate stack ------------------------------------------------------------------------------ */

#define ALTSTACK (512 << 10) /* a symbolizer's libraries need much; what is not touched costs nothing */

void *
stack_altstack(void)
{
    stack_t ss;
    if (sigaltstack(NULL, &ss) == 0 && !(ss.ss_flags & SS_DISABLE))
        return NULL;
    ss.ss_size = ALTSTACK;
    ss.ss_flags = 0;
    ss.ss_sp = mem_reserve(ss.ss_size);
    if (ss.ss_sp) {
        mem_guard(ss.ss_sp, 4096);
        sigaltstack(&ss, NULL);
    }
    return ss.ss_sp;
}

/* A thread that ends runs some more instructions: a handler must not find the stack registered but gone. */
void
stack_altstack_free(void *stack)
{
    stack_t none = {.ss_flags = SS_DISABLE}, old;
    if (stack && sigaltstack(&none, &old) == 0) {
        if (old.ss_sp == stack || old.ss_flags & SS_DISABLE)
            mem_unmap(stack, ALTSTACK); /* after it was disabled, never before */
        else
            sigaltstack(&old, NULL); /* a library has put its own in place, and may go back to ours */
    }
}

/* -- faults in handlers ------------------------------------------------------------------------ */

static sigjmp_buf escape;
static _Atomic pid_t escaping; /* the thread that has come from fault_escaping; 0: none */

bool
fault_escaping(bool (*f)(void))
{
    volatile bool is = false;
    if (sigsetjmp(escape, 0) == 0) {
        atomic_store(&escaping, (pid_t)syscall(SYS_gettid));
        is = f();
    }
    atomic_store(&escaping, 0);
    return is;
}

void
fault_escape(void)
{
    if (atomic_load(&escaping) != 0 && atomic_load(&escaping) == (pid_t)syscall(SYS_gettid))
        siglongjmp(escape, 1);
}
