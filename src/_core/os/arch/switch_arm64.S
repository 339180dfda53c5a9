/* switch_arm64.S: the stack switch and nothing else (AAPCS64). See switch_amd64.S for the two functions.
 *
 * A fresh stack holds, from its saved pointer upwards: x19..x28, x29, x30, d8..d15, the FPCR and a pad: 176
 * bytes; x30 is gort_entry and x19 the function that it calls.
 */
    .text
    .globl  gort_switch
    .hidden gort_switch
    .type   gort_switch, %function
    .p2align 4
gort_switch:
    .cfi_startproc
    hint    #34                     /* bti c */
    sub     sp, sp, #176
    .cfi_def_cfa_offset 176
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    .cfi_offset x19, -176
    .cfi_offset x20, -168
    .cfi_offset x29, -96
    .cfi_offset x30, -88
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mrs     x9, fpcr
    str     x9, [sp, #160]
    mov     x10, sp
    str     x10, [x0]
    mov     sp, x1
    ldr     x9, [sp, #160]
    msr     fpcr, x9
    ldp     d14, d15, [sp, #144]
    ldp     d12, d13, [sp, #128]
    ldp     d10, d11, [sp, #112]
    ldp     d8, d9, [sp, #96]
    ldp     x29, x30, [sp, #80]
    ldp     x27, x28, [sp, #64]
    ldp     x25, x26, [sp, #48]
    ldp     x23, x24, [sp, #32]
    ldp     x21, x22, [sp, #16]
    ldp     x19, x20, [sp, #0]
    add     sp, sp, #176
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size   gort_switch, .-gort_switch

    .globl  gort_entry
    .hidden gort_entry
    .type   gort_entry, %function
    .p2align 4
gort_entry:
    .cfi_startproc
    .cfi_undefined x30
    hint    #36                     /* bti j */
    mov     x29, xzr
    blr     x19
    brk     #1
    .cfi_endproc
    .size   gort_entry, .-gort_entry

    .section .note.GNU-stack,"",%progbits
