/* unwind_arm64.S: unwinding from another place than the current one, and calls on another stack. See
 * unwind_amd64.S for the functions.
 *
 * registers (os.h) holds, in words: pc sp x19..x28 x29. The pc goes where the unwinder looks for the return
 * address, into x30; so a place whose x30 is live, an interrupted leaf function, cannot be unwound from.
 */
    .text
    .globl  gort_unwind_from
    .hidden gort_unwind_from
    .type   gort_unwind_from, %function
    .p2align 4
gort_unwind_from:
    .cfi_startproc
    .cfi_signal_frame
    hint    #34                     /* bti c */
    stp     x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    str     x19, [sp, #16]
    .cfi_offset x19, -16
    mov     x19, x0
    .cfi_remember_state
    .cfi_escape 0x0f, 3, 0x83, 8, 0x06
    .cfi_escape 0x10, 30, 2, 0x83, 0
    .cfi_escape 0x10, 19, 2, 0x83, 16
    .cfi_escape 0x10, 20, 2, 0x83, 24
    .cfi_escape 0x10, 21, 2, 0x83, 32
    .cfi_escape 0x10, 22, 2, 0x83, 40
    .cfi_escape 0x10, 23, 2, 0x83, 48
    .cfi_escape 0x10, 24, 2, 0x83, 56
    .cfi_escape 0x10, 25, 3, 0x83, 0xc0, 0
    .cfi_escape 0x10, 26, 3, 0x83, 0xc8, 0
    .cfi_escape 0x10, 27, 3, 0x83, 0xd0, 0
    .cfi_escape 0x10, 28, 3, 0x83, 0xd8, 0
    .cfi_escape 0x10, 29, 3, 0x83, 0xe0, 0
    mov     x0, x2
    blr     x1
    .cfi_restore_state
    ldr     x19, [sp, #16]
    ldp     x29, x30, [sp], #32
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size   gort_unwind_from, .-gort_unwind_from
    .globl  gort_unwind_from_end
    .hidden gort_unwind_from_end
gort_unwind_from_end:

    .globl  gort_call_on
    .hidden gort_call_on
    .type   gort_call_on, %function
    .p2align 4
gort_call_on:
    .cfi_startproc
    hint    #34
    stp     x29, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    mov     x29, sp
    .cfi_def_cfa x29, 16
    mov     sp, x0
    mov     x0, x2
    blr     x1
    mov     sp, x29
    .cfi_def_cfa sp, 16
    ldp     x29, x30, [sp], #16
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size   gort_call_on, .-gort_call_on

    .section .note.GNU-stack,"",%progbits
