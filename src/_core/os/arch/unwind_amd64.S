/* unwind_amd64.S: unwinding from another place than the current one, and calls on another stack.
 *
 *   void gort_unwind_from(const registers *regs, void (*fn)(void *), void *arg);
 *       calls fn(arg) in a frame whose caller is, for every unwinder, the place that regs describe: the CFI
 *       says that the caller's registers are in *regs, as that of a signal trampoline says that they are in
 *       the signal context. It is
 *       a signal frame, so regs->pc is taken as it is and not as a return address.
 *
 *   void gort_call_on(void *stack, void (*fn)(void *), void *arg);
 *       calls fn(arg) with the stack pointer `stack`, the high end of a stack. fn may park if that stack is
 *       its own.
 *
 * registers (os.h) holds, in words: pc sp rbx rbp r12 r13 r14 r15.
 */
    .text
    .globl  gort_unwind_from
    .hidden gort_unwind_from
    .type   gort_unwind_from, @function
    .p2align 4
gort_unwind_from:
    .cfi_startproc
    .cfi_signal_frame
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    movq    %rdi, %rbx
    .cfi_remember_state
    /* CFA = regs->sp: DW_CFA_def_cfa_expression, { DW_OP_breg3(rbx) 8, DW_OP_deref } */
    .cfi_escape 0x0f, 3, 0x73, 8, 0x06
    /* DW_CFA_expression reg, { DW_OP_breg3 offset }: saved at rbx + offset */
    .cfi_escape 0x10, 16, 2, 0x73, 0        /* rip */
    .cfi_escape 0x10, 3, 2, 0x73, 16        /* rbx */
    .cfi_escape 0x10, 6, 2, 0x73, 24        /* rbp */
    .cfi_escape 0x10, 12, 2, 0x73, 32       /* r12 */
    .cfi_escape 0x10, 13, 2, 0x73, 40       /* r13 */
    .cfi_escape 0x10, 14, 2, 0x73, 48       /* r14 */
    .cfi_escape 0x10, 15, 2, 0x73, 56       /* r15 */
    movq    %rdx, %rdi
    callq   *%rsi
    .cfi_restore_state
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size   gort_unwind_from, .-gort_unwind_from
    .globl  gort_unwind_from_end
    .hidden gort_unwind_from_end
gort_unwind_from_end:

    .globl  gort_call_on
    .hidden gort_call_on
    .type   gort_call_on, @function
    .p2align 4
gort_call_on:
    .cfi_startproc
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    movq    %rsp, %rbp
    .cfi_def_cfa_register rbp
    movq    %rdi, %rsp
    movq    %rdx, %rdi
    callq   *%rsi
    movq    %rbp, %rsp
    popq    %rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size   gort_call_on, .-gort_call_on

    .section .note.GNU-stack,"",@progbits
