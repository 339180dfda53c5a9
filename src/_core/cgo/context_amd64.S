/* context_amd64.S: where a call from C to Python comes from.
 *
 *   void cgo_unwind_context(cgo_context_arg *arg);
 *       calls cgo_record_context(arg, regs) with the registers that its caller will have when this returns.
 *       In assembly, because the frame of a C function that looked at its caller's registers would be gone
 *       before they are used.
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

    .section .note.GNU-stack,"",@progbits
