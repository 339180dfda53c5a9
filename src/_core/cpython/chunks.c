/* chunks.c: the memory of data stacks, in which CPython keeps the frames of Python functions.
 *
 * The first chunk of a goroutine's data stack lies in its own C stack. CPython frees chunks with the arena
 * allocator's free; the hook here ignores ours, and keeps a pool of CPython's own 16 KiB chunks, each of
 * which would otherwise be an mmap and a munmap.
 *
 * Invariants
 *   1. No chunk but a goroutine's first one, and no arena, has the size CHUNK_SIZE: by it the hook knows
 *      ours.
 *   2. The first word of a root chunk's data is never used: popping it would free the chunk.
 *
 * The hook is called with or without the GIL (thread states may be deleted without it). Nobody waits for the
 * pool's lock: in the child of a fork its holder may be gone, and then the pool is not used any more.
 *
 * Rejected: letting CPython allocate the first chunk, 16 KiB for a goroutine that needs 1 KiB.
 *
 * Versions. From 3.13.1x on a thread state keeps a chunk that it has popped (spare_chunk_at). Of a parked
 * goroutine that would be 16 KiB: it goes to the pool. In 3.15 the JIT records a trace in 320 KiB of each
 * thread state, from the arena allocator too: they go back when the goroutine ends, as its thread state is
 * used again.
 */
#include "cpython/internal.h"

#define PY_CHUNK_SIZE (16 * 1024)
#define POOL_MAX 1024
static PyObjectArenaAllocator arena; /* the one that was there before */
static void *pool[POOL_MAX];         /* under pool_lock, as npool */
static int npool;
static atomic_flag pool_lock = ATOMIC_FLAG_INIT;

static void *
chunk_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size == PY_CHUNK_SIZE && !atomic_flag_test_and_set_explicit(&pool_lock, memory_order_acquire)) {
        void *chunk = npool > 0 ? pool[--npool] : NULL;
        atomic_flag_clear_explicit(&pool_lock, memory_order_release);
        if (chunk)
            return chunk;
    }
    return arena.alloc(arena.ctx, size);
}

static void
chunk_free(void *ctx, void *addr, size_t size)
{
    (void)ctx;
    if (size == CHUNK_SIZE)
        return; /* part of a goroutine's stack */
    if (size == PY_CHUNK_SIZE && !atomic_flag_test_and_set_explicit(&pool_lock, memory_order_acquire)) {
        bool kept = npool < POOL_MAX;
        if (kept)
            pool[npool++] = addr;
        atomic_flag_clear_explicit(&pool_lock, memory_order_release);
        if (kept)
            return;
    }
    arena.free(arena.ctx, addr, size);
}

void
ts_set_chunk(PyThreadState *ts, void *mem, size_t size)
{
    _PyStackChunk *chunk = mem;
    chunk->previous = NULL;
    chunk->size = size;
    chunk->top = 0;
    ts->datastack_chunk = chunk;
    ts->datastack_top = &chunk->data[1]; /* data[0] is never used */
    ts->datastack_limit = (PyObject **)((char *)mem + size);
}

#if V313
void
free_spare_chunk(PyThreadState *ts)
{
    _PyStackChunk **at = (_PyStackChunk **)((char *)ts + spare_chunk_at), *spare = *at;
    *at = NULL;
    chunk_free(NULL, spare, spare->size);
}
#endif

void
ts_free_tracer(PyThreadState *ts)
{
#if V315
    _PyJitTracerState **at = (_PyJitTracerState **)((char *)impl(ts) + tracer_at), *tracer = *at;
    if (likely(tracer_at == 0 || !tracer || tracer->is_tracing))
        return;
    *at = NULL;
    chunk_free(NULL, tracer, sizeof *tracer); /* which is how CPython frees it, with its thread state */
#else
    (void)ts;
#endif
}

void
chunks_init(void)
{
    PyObject_GetArenaAllocator(&arena);
    PyObjectArenaAllocator hook = {NULL, chunk_alloc, chunk_free};
    PyObject_SetArenaAllocator(&hook);
}
