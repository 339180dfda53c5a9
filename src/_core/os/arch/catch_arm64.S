/* catch_arm64.S: a copy that survives what it cannot read. See catch_amd64.S. */
    .text
    .globl  gort_catch_copy
    .hidden gort_catch_copy
    .type   gort_catch_copy, %function
    .p2align 4
gort_catch_copy:
    .cfi_startproc
    hint    #34                     /* bti c */
    cbz     x2, gort_catch_caught
    .globl  gort_catch_access
    .hidden gort_catch_access
gort_catch_access:
    ldrb    w3, [x1], #1
    strb    w3, [x0], #1
    subs    x2, x2, #1
    b.ne    gort_catch_access
    .globl  gort_catch_caught
    .hidden gort_catch_caught
gort_catch_caught:
    mov     x0, x2
    ret
    .cfi_endproc
    .size   gort_catch_copy, .-gort_catch_copy

    .section .note.GNU-stack,"",%progbits
