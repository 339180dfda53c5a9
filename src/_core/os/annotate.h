/* annotate.h: what AddressSanitizer is told of stack switches and of the heap. Empty in a normal build. */
#ifndef GORT_ANNOTATE_H
#define GORT_ANNOTATE_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
/* The sanitizer's own: the first before a switch, with the stack that comes next (save NULL: this stack is
 * left for good); the second as the first thing after it. The bounds are those of a thread's stack. */
void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack_save, const void **bottom_old, size_t *size_old);
#define annotate_leave(save, lo, hi) __sanitizer_start_switch_fiber((save), (lo), (size_t)((hi) - (lo)))
#define annotate_bounds(lo, hi) thread_bounds((lo), (hi))
#define annotate_arrive(fake) __sanitizer_finish_switch_fiber((fake), NULL, NULL)
/* Reading or writing a poisoned byte is reported: free blocks are poisoned. */
void __asan_poison_memory_region(void const volatile *addr, size_t size);
void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
#define annotate_allocated(p, n) __asan_unpoison_memory_region((p), (n))
#define annotate_freed(p, n) __asan_poison_memory_region((p), (n))
#else
#define annotate_leave(save, lo, hi) ((void)0)
#define annotate_arrive(fake) ((void)0)
#define annotate_bounds(lo, hi) ((void)0)
#define annotate_allocated(p, n) ((void)0)
#define annotate_freed(p, n) ((void)0)
#endif

#endif
