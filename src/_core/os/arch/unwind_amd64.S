/* unwind_amd64.S: unwinding from another place than the current one, and calls on another stack.
 *
 *   void cgo_unwind_context(cgo_context_arg *arg);
 *       calls cgo_record_context(arg, regs) with the registers that its caller will have when this returns. In assembly,
 *       because the frame of a C function that looked at its caller's registers would be gone before they are used.
 *   void gort_unwind_from(const registers *regs, void (*fn)(void *), void *arg);
 *       calls fn(arg) in a frame whose caller is, for every unwinder, the place that regs describe: the CFI says that the
 *       caller's registers are in *regs, as that of a signal trampoline says that they are in the signal context. It is
 *       a signal frame, so regs->pc is taken as it is and not as a return address.
 *
 *   void gort_call_on(void *stack, void (*fn)(void *), void *arg);
 *       calls fn(arg) with the stack pointer `stack`, the high end of a stack. fn may not park.
 *
 * registers (os.h) holds, in words: pc sp rbx rbp r12 r13 r14 r15.
 */
    .text
    .globl  cgo_unwind_context
    .hidden cgo_unwind_context
    .type   cgo_unwind_context, @function
    .p2align 4
cgo_unwind_context:
    .cfi_startproc
    leaq    8(%rsp), %rax           /* the caller's stack pointer */
    movq    (%rsp), %rdx
    decq    %rdx                    /* within the call instruction, not behind it */
    subq    $72, %rsp
    .cfi_def_cfa_offset 80
    movq    %rdx, 0(%rsp)
    movq    %rax, 8(%rsp)
    movq    %rbx, 16(%rsp)
    movq    %rbp, 24(%rsp)
    movq    %r12, 32(%rsp)
    movq    %r13, 40(%rsp)
    movq    %r14, 48(%rsp)
    movq    %r15, 56(%rsp)
    movq    %rsp, %rsi
    callq   cgo_record_context
    addq    $72, %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size   cgo_unwind_context, .-cgo_unwind_context

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
