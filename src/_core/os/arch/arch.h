/* arch.h: what C code has to say to the processor. x86-64 and aarch64; the rest is in the assembly beside it.
 *
 * No C file outside os/ asks which processor it is (tools/check_seams.py).
 */
#ifndef GORT_ARCH_H
#define GORT_ARCH_H

#include "os/os.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#define ARCH_GOARCH "amd64"
/* Where the heap wants to be: Go's addresses, which are easy to tell from others in a dump. */
#define ARCH_HEAP_HINT 0xc000000000
/* Can gort_unwind_from start at what a signal has interrupted? */
#define ARCH_UNWINDS_SIGNALS 1

#else

#define ARCH_GOARCH "arm64"
#define ARCH_HEAP_HINT 0x4000000000
#define ARCH_UNWINDS_SIGNALS 0 /* gcc's unwinder needs more registers than a call keeps */

#endif

/* switch_*.S: saves where it is in *save, and goes on where `to` was saved. */
void gort_switch(void **save, void *to);
/* What a first frame returns to: calls the function of first_frame(). */
void gort_entry(void);

/* unwind_*.S: calls fn(arg) as if the place of these registers had called it: an unwinder that it starts goes
 * on there. Whoever walks is behind it when the PC is no longer between it and its end. */
void gort_unwind_from(const registers *regs, void (*fn)(void *), void *arg);
extern const char gort_unwind_from_end[];
/* Calls fn(arg) on another stack, which ends at `stack`. */
void gort_call_on(void *stack, void (*fn)(void *), void *arg);

/* In a loop that waits for another processor. */
static inline void
cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

/* A frame below hi, which is aligned to 16, from which gort_switch starts gort_entry, and that calls fn.
 * Returns what gort_switch takes. Rounding and exceptions of floats are those of the caller. */
static inline void *
first_frame(char *hi, void (*fn)(void))
{
    uint64_t *sp = (uint64_t *)hi;
#if defined(__x86_64__)
    *--sp = 0; /* gort_entry starts with the stack aligned to 16 */
    *--sp = 0;
    *--sp = (uint64_t)(uintptr_t)gort_entry;
    *--sp = 0;                       /* rbp */
    *--sp = 0;                       /* rbx */
    *--sp = (uint64_t)(uintptr_t)fn; /* r12 */
    *--sp = 0;                       /* r13 */
    *--sp = 0;                       /* r14 */
    *--sp = 0;                       /* r15 */
    uint32_t mxcsr;
    uint16_t fpcw;
    __asm__("stmxcsr %0" : "=m"(mxcsr));
    __asm__("fnstcw %0" : "=m"(fpcw));
    *--sp = (uint64_t)fpcw << 32 | mxcsr;
#else
    sp -= 176 / 8;
    memset(sp, 0, 176);
    sp[0] = (uint64_t)(uintptr_t)fn;          /* x19 */
    sp[11] = (uint64_t)(uintptr_t)gort_entry; /* x30 */
    uint64_t fpcr;
    __asm__("mrs %0, fpcr" : "=r"(fpcr));
    sp[20] = fpcr;
#endif
    return sp;
}

#endif
