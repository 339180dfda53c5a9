/* memdebug.h: the debug modes of the heap (memdebug.c, efence.c, sbrk.c). GIL held. */
#ifndef GORT_MEMDEBUG_H
#define GORT_MEMDEBUG_H

#include "mem/heap.h"

extern const allocator efence_allocator, sbrk_allocator;

/* The hooks of these modes. */
PyMemAllocatorEx debug_hooks(unsigned modes, const PyMemAllocatorEx *previous);
/* Counts the freed blocks that clobberfree keeps back as freed. */
void debug_count_waiting(mcache *counts);
void count_malloc(size_t n);
void count_free(size_t n);
/* A cycle has ended: allocfreetrace says so, with all goroutines. Writes, and allocates nothing. */
void trace_gc(void);
int gort_memdebug_init(PyObject *module);

int gort_heapdump_init(PyObject *module); /* heapdump.c */

#endif
