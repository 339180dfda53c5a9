/* memstats.h: MemStats (memstats.c). GIL held. */
#ifndef GORT_MEMSTATS_H
#define GORT_MEMSTATS_H

#include "gc/mgc.h"
#include "mem/heap.h"

/* The whole numbers of runtime.MemStats, in its order: single ones, and rings of the last pauses. */
#define MEMSTATS(FIGURE, RING)                                                                               \
    FIGURE(alloc)                                                                                            \
    FIGURE(total_alloc)                                                                                      \
    FIGURE(sys)                                                                                              \
    FIGURE(lookups)                                                                                          \
    FIGURE(mallocs)                                                                                          \
    FIGURE(frees)                                                                                            \
    FIGURE(heap_alloc)                                                                                       \
    FIGURE(heap_sys)                                                                                         \
    FIGURE(heap_idle)                                                                                        \
    FIGURE(heap_inuse)                                                                                       \
    FIGURE(heap_released)                                                                                    \
    FIGURE(heap_objects)                                                                                     \
    FIGURE(stack_inuse)                                                                                      \
    FIGURE(stack_sys)                                                                                        \
    FIGURE(mspan_inuse)                                                                                      \
    FIGURE(mspan_sys)                                                                                        \
    FIGURE(mcache_inuse)                                                                                     \
    FIGURE(mcache_sys)                                                                                       \
    FIGURE(buck_hash_sys)                                                                                    \
    FIGURE(gc_sys)                                                                                           \
    FIGURE(other_sys)                                                                                        \
    FIGURE(next_gc)                                                                                          \
    FIGURE(last_gc)                                                                                          \
    FIGURE(pause_total_ns)                                                                                   \
    RING(pause_ns)                                                                                           \
    RING(pause_end)                                                                                          \
    FIGURE(num_gc)                                                                                           \
    FIGURE(num_forced_gc)

typedef struct {
#define FIGURE(name) uint64_t name;
#define RING(name) uint64_t name[PAUSES];
    MEMSTATS(FIGURE, RING)
#undef FIGURE
#undef RING
    double gc_cpu_fraction;
    uint64_t class_mallocs[NUM_CLASSES], class_frees[NUM_CLASSES];
} memstats; /* large for a goroutine's stack */

void memstats_read(memstats *to); /* as of now */

/* Its whole numbers, one field after the other. */
typedef struct {
    const char *name;
    size_t offset, n; /* n numbers, 8 bytes each */
    bool dumped;      /* a heap dump has them */
} memstats_field;
extern const memstats_field memstats_fields[];
extern const size_t nmemstats_fields;
static inline const uint64_t *
memstats_numbers(const memstats *m, const memstats_field *f)
{
    return (const uint64_t *)((const char *)m + f->offset);
}

int gort_memstats_init(PyObject *module);

#endif
