/* switch_amd64.S: the stack switch and nothing else (System V x86-64).
 *
 *   void gort_switch(void **save, void *to);
 *       saves the callee-saved registers, MXCSR and the x87 control word on the running stack, stores the
 *       stack pointer in *save, and continues where `to` was saved.
 *   gort_entry: where a fresh stack begins: calls the function in r12. It has no caller: the CFI ends the
 *       walk of every unwinder and rbp is 0.
 *
 * A fresh stack holds, from its saved pointer upwards: control words, r15 r14 r13 r12 rbx rbp, the address of
 * gort_entry (stack.c builds it). No shadow stacks: a process that runs with them is refused at import.
 */
    .text
    .globl  gort_switch
    .hidden gort_switch
    .type   gort_switch, @function
    .p2align 4
gort_switch:
    .cfi_startproc
    pushq   %rbp
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $8, %rsp
    stmxcsr (%rsp)
    fnstcw  4(%rsp)
    movq    %rsp, (%rdi)
    movq    %rsi, %rsp
    .cfi_def_cfa rsp, 64
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
    ldmxcsr (%rsp)
    fldcw   4(%rsp)
    addq    $8, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbx
    popq    %rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size   gort_switch, .-gort_switch

    .globl  gort_entry
    .hidden gort_entry
    .type   gort_entry, @function
    .p2align 4
gort_entry:
    .cfi_startproc
    .cfi_undefined rip
    .cfi_undefined rbp
    xorl    %ebp, %ebp
    callq   *%r12
    ud2
    .cfi_endproc
    .size   gort_entry, .-gort_entry

    .section .note.GNU-stack,"",@progbits
