/* memdebug.h: the debug modes of the heap (memdebug.c, efence.c, sbrk.c), and MemStats (memstats.c). GIL held. */
#ifndef GORT_MEMDEBUG_H
#define GORT_MEMDEBUG_H

#include "gc/mgc.h"
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

/* The figures of MemStats, as of now, by their names there; how many. Those of classes are not in it, nor sums,
 * nor the pauses, which are in *gc. */
typedef struct {
    const char *name;
    uint64_t value;
} figure;
#define MSTATS_FIGURES 32
int mstats_figures(figure to[MSTATS_FIGURES], gcstats *gc);

/* Add to the module what runtime.read_mem_stats() and debug.write_heap_dump() call. -1: exception set. */
int gort_memstats_init(PyObject *module);
int gort_heapdump_init(PyObject *module); /* heapdump.c */

#endif
