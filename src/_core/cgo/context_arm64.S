/* context_arm64.S: where a call from C to Python comes from. See context_amd64.S for the function.
 *
 * registers (os.h) holds, in words: pc sp x19..x28 x29.
 */
    .text
    .globl  cgo_unwind_context
    .hidden cgo_unwind_context
    .type   cgo_unwind_context, %function
    .p2align 4
cgo_unwind_context:
    .cfi_startproc
    hint    #34                     /* bti c */
    mov     x9, sp
    sub     x10, x30, #1            /* within the call instruction, not behind it */
    stp     x29, x30, [sp, #-128]!
    .cfi_def_cfa_offset 128
    .cfi_offset x29, -128
    .cfi_offset x30, -120
    stp     x10, x9, [sp, #16]
    stp     x19, x20, [sp, #32]
    stp     x21, x22, [sp, #48]
    stp     x23, x24, [sp, #64]
    stp     x25, x26, [sp, #80]
    stp     x27, x28, [sp, #96]
    str     x29, [sp, #112]
    add     x1, sp, #16
    bl      cgo_record_context
    ldp     x29, x30, [sp], #128
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size   cgo_unwind_context, .-cgo_unwind_context

    .section .note.GNU-stack,"",%progbits
