/* catch_amd64.S: a copy that survives what it cannot read.
 *
 *   size_t gort_catch_copy(void *to, const void *from, size_t n);
 *       copies n bytes and returns how many of them it could not. A fault at gort_catch_access continues at
 *       gort_catch_caught, if the handler of the signal asks fault_caught (memread_linux.c).
 *
 * The registers say how far the copy has come, so the place of the fault is all that the handler must know.
 */
    .text
    .globl  gort_catch_copy
    .hidden gort_catch_copy
    .type   gort_catch_copy, @function
    .p2align 4
gort_catch_copy:
    .cfi_startproc
    movq    %rdx, %rcx
    .globl  gort_catch_access
    .hidden gort_catch_access
gort_catch_access:
    rep movsb
    .globl  gort_catch_caught
    .hidden gort_catch_caught
gort_catch_caught:
    movq    %rcx, %rax
    ret
    .cfi_endproc
    .size   gort_catch_copy, .-gort_catch_copy

    .section .note.GNU-stack,"",@progbits
