/* memdebug.h: the debug modes of the heap (memdebug.c, efence.c, sbrk.c). GIL held. */
#ifndef GORT_MEMDEBUG_H
#define GORT_MEMDEBUG_H

#include "mem/heap.h"

extern const allocator efence_allocator, sbrk_allocator;

/* The hooks of these modes. */
PyMemAllocatorEx debug_hooks(unsigned modes, const PyMemAllocatorEx *previous);
/* Counts the freed blocks that clobberfree keeps back as freed. */
void debug_count_waiting(mcache *counts);
/* What efence and sbrk hand out and take back, whose blocks the cache does not see: counts a block of n bytes
 * under its class. count_malloc may call hooks.heap_goal. */
void count_malloc(size_t n);
void count_free(size_t n);
/* A cycle has ended: allocfreetrace says so, with all goroutines. Writes, and allocates nothing. */
void trace_gc(void);
/* Adds to the module what tests and the debug modes' Python side call. -1: exception set. */
int gort_memdebug_init(PyObject *module);

/* Adds to the module what debug.write_heap_dump() calls. -1: exception set. */
int gort_heapdump_init(PyObject *module); /* heapdump.c */

#endif
