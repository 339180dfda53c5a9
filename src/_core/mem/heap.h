/* heap.h: the vocabulary of the heap behind CPython's allocator hooks: Go's, with one cache.
 *
 *   page      8 KiB of addresses. (The kernel's pages have 4 KiB.)
 *   span      a run of pages: in use for blocks of one size class, or for one large block; or idle.
 *   class     a size of small blocks; 1 to 66. 0 stands for large blocks.
 *   cache     for each class the span that blocks are taken from.
 *   central   for each class its other spans that have free blocks.
 *   page heap the idle spans. Clean ones hold no memory of the kernel; the others hold what was freed.
 *   arena     the tables for 64 MiB of addresses.
 *   region    4 MiB of addresses. In debug mode efence whole regions of retired spans leave the tables.
 *
 * An allocation: pymem.c (the hooks) -> cache (mcache.c) -> central (mcentral.c) -> page heap (mheap.c) ->
 * kernel.
 *
 * Lock: the main interpreter's GIL, for all of it; under_our_gil() in pymem.c sees to that. No Python code
 * runs and nothing parks, so nobody sees a state in between. The page heap also has a lock of its own, for
 * the scavenger.
 */
#ifndef GORT_HEAP_H
#define GORT_HEAP_H

#include "core.h"

#include "hooks.h"
#include "os/annotate.h"

#define HEAP_PAGE_SHIFT 13
#define HEAP_PAGE ((size_t)1 << HEAP_PAGE_SHIFT)
#define ARENA_SHIFT 26
#define ARENA_PAGES ((size_t)1 << (ARENA_SHIFT - HEAP_PAGE_SHIFT))
#define REGION_PAGES ((size_t)512)
#define ADDRESS_BITS 48 /* of what mmap gives when not asked for more */
#define NUM_CLASSES 67
#define SMALL_MAX 32768 /* larger blocks have spans of their own */
#define BLOCK_MAX ((size_t)1 << 44)

typedef struct mspan mspan;

/* Scavenged: idle, and in nobody's list while its memory is given back. Retired: its addresses are never used
 * again (efence). */
enum spanstate { SpanDead = 0, SpanIdle = 1, SpanInUse = 2, SpanScavenged = 3, SpanRetired = 4 };

/* One cache line. Its place goes with the span's first page and is never unmapped: looking at any span is
 * safe. */
struct mspan {
    void *freelist;  /* freed blocks, linked through their first words */
    char *fresh;     /* blocks from here to limit have never been handed out */
    char *limit;     /* end of the last whole block */
    uint32_t nalloc; /* blocks handed out and not freed */
    uint32_t nslow;  /* number of blocks - 2: see span_free_is_slow */
    uint8_t class;
    uint8_t state;    /* enum spanstate */
    bool clean : 1;   /* idle: it holds no memory of the kernel */
    bool zeroed : 1;  /* idle: its pages read as zeros. In use: what lies from fresh on does */
    uint8_t nspecial; /* how many of its blocks somebody must see freed; 255: that many, or more */
    uint32_t npages;
    char *base;
    mspan *next, *prev; /* in central or in the page heap */
};
_Static_assert(sizeof(mspan) == 64, "a span's struct is one cache line");

typedef struct {
    mspan *span[NUM_CLASSES];      /* never NULL */
    uint64_t mallocs[NUM_CLASSES]; /* blocks ever handed out; [0]: large ones */
    uint64_t frees[NUM_CLASSES];
    uint64_t large_alloc, large_free; /* bytes of large blocks */
    uint64_t lookups;                 /* of addresses, apart from those that led to one of `frees` */
} mcache;

/* -- classes (mcache.c) ----------------------------------------------------------------------- */

extern const uint16_t class_size[NUM_CLASSES];
extern const uint8_t class_npages[NUM_CLASSES];
extern uint8_t size_to_class8[1024 / 8 + 1], size_to_class128[(SMALL_MAX - 1024) / 128 + 1];

static inline unsigned
class_of(size_t n) /* <= SMALL_MAX */
{
    return likely(n <= 1024) ? size_to_class8[(n + 7) / 8] : size_to_class128[(n - 1024 + 127) / 128];
}

/* What a block of n bytes counts as. */
static inline size_t
counted_size(size_t n)
{
    return n <= SMALL_MAX ? class_size[class_of(n)] : (n + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1);
}

/* -- mcache.c, mcentral.c --------------------------------------------------------------------- */

extern mcache cache;
/* Fills in the tables of sizes, and gives each class a span without blocks. Once, before the hooks are
 * installed. */
void mcache_init(void);
/* The class's span in the cache is full: takes another one in its place. False: no memory. May call
 * hooks.heap_goal. */
bool mcache_refill(unsigned class);
/* A span of the class with a free block, which is in no list any more; NULL: there is none. */
mspan *mcentral_take(unsigned class);
/* The slow path of a free: p is counted as freed already. s may be gone after it. */
void mcentral_free(mspan *s, void *p);
/* One more block of s is special, or one less: while there is one, each free in s goes to mcentral_free, and
 * that asks hooks.special_freed. */
void span_add_special(mspan *s);
void span_drop_special(mspan *s);

/* True once the span is empty, or was full, before the last block was counted as freed: both are looked at by
 * mcentral_free. With nslow = 0 every free goes there. */
static inline bool
span_free_is_slow(const mspan *s)
{
    return s->nalloc - 1 >= s->nslow;
}

/* Bytes until hooks.heap_goal is called. The pacer sets it. */
extern int64_t heap_countdown;
/* This many bytes are handed out, or given to the cache to hand out. */
static inline void
count_down(size_t bytes)
{
    if (unlikely((heap_countdown -= (int64_t)bytes) < 0))
        hooks.heap_goal();
}

static inline size_t
span_block_size(const mspan *s)
{
    return s->class ? class_size[s->class] : (size_t)s->npages << HEAP_PAGE_SHIFT;
}

/* The second word of a freed block of two words or more. No object has it there: a type, or a link of the
 * collector. */
static inline void
mark_free(void *p)
{
    ((uintptr_t *)p)[1] = ~(uintptr_t)p;
}

bool block_is_free(const mspan *s, const void *p); /* s is in use; p lies anywhere in it */

/* -- mheap.c ---------------------------------------------------------------------------------- */

typedef struct {
    mspan *pages[ARENA_PAGES]; /* the span that each page belongs to; NULL: none of the heap's */
    mspan spans[ARENA_PAGES];  /* of the span that begins at that page, if one does */
    uint16_t nretired[ARENA_PAGES / REGION_PAGES]; /* pages of each region that are retired */
} arena;

extern arena **arenas; /* [address >> ARENA_SHIFT]; NULL: none of its pages are the heap's */

/* The span of an address; NULL: the address is none of the heap's. */
static inline mspan *
spanof(const void *p)
{
    const arena *a = arenas[(uintptr_t)p >> ARENA_SHIFT];
    return likely(a != NULL) ? a->pages[((uintptr_t)p >> HEAP_PAGE_SHIFT) & (ARENA_PAGES - 1)] : NULL;
}

/* Bytes. */
typedef struct {
    size_t sys, idle, released, inuse; /* sys = idle + inuse; released is a part of idle */
    size_t span_inuse, span_sys;       /* structs of spans */
    size_t other_sys;                  /* tables from address to span */
    size_t peak;                       /* of inuse, since mheap_peak */
    size_t retired;                    /* the part of idle that has left the tables */
} mheap_stats;
/* The figures as of now, under the page heap's lock. */
void mheap_read(mheap_stats *to);

/* No scavenger runs, or it is asleep: hooks.memory_idle is to be called when there is idle memory. */
extern _Atomic bool mheap_unwatched;

/* Reserves the table of arenas. Once, before the first mheap_alloc. False: no addresses. */
bool mheap_init(void);
void mheap_forks(void); /* at the import, before all other fork handlers are made */
mspan *mheap_alloc(size_t npages, unsigned class); /* NULL: no memory */
void mheap_free(mspan *s, bool clean);             /* clean: its pages read as zeros and have no memory */
bool mheap_extend(mspan *s, size_t npages);        /* to that many pages, if what follows is idle */
void mheap_trim(mspan *s, size_t npages);          /* gives the pages beyond back */
size_t
mheap_release(void); /* gives the memory of all idle spans back to the kernel; returns how much it was */
/* The heap gives memory of idle spans back before it takes more than this from the kernel. */
void mheap_set_limit(size_t resident);
/* The addresses of a span in use, which were made inaccessible, are never used again. */
void mheap_retire(mspan *s);
/* Is the address in a region that has left the tables? */
bool mheap_retired(const void *p);

/* Calls f for every span, in order of addresses within each mapping. Returns the figures of that moment. */
mheap_stats mheap_walk(void (*f)(mspan *s, void *arg), void *arg);

/* For the scavenger, which has no GIL: false or NULL if the page heap is locked, or nothing is there. */
bool mheap_peak(mheap_stats *h, bool reset); /* the figures; reset: peak begins anew */
mspan *mheap_take_idle(size_t npages);       /* with memory, and at most this large */
void mheap_put_idle(mspan *s, bool zeroed);  /* clean now; waits for the lock */

/* -- pymem.c, mstats.c ------------------------------------------------------------------------ */

enum { ModeAllocFreeTrace = 1, ModeClobberFree = 2, ModeEfence = 4, ModeSbrk = 8 }; /* memdebug.c */

/* CPython's objects come from the heap from now on, in these debug modes. NULL: done; else why not. */
const char *heap_install(unsigned modes);
extern bool heap_installed;
uint64_t heap_alloc_now(void), total_alloc_now(void); /* bytes, as in MemStats */
uint64_t heap_blocks_now(void);                       /* MemStats's heap_objects */
/* What the hooks do, for hooks that do more; the GIL is held, and s is the block's span. */
void *heap_new_block(size_t n, bool zero); /* NULL: no memory */
void heap_free_block(mspan *s, void *p);
void *heap_resize_block(mspan *s, void *p, size_t n); /* NULL: no memory, and p is as it was */
/* Adds to the module what installs the heap and checks it. -1: exception set. */
int gort_mstats_init(PyObject *module);
int gort_heapcheck_init(PyObject *module); /* heapcheck.c */

/* The sums of counters, one for each class ([0]: large blocks): of blocks, and of bytes, to which `large`
 * adds the bytes of large blocks. */
uint64_t sum_blocks(const uint64_t *counts);
uint64_t sum_bytes(const uint64_t *counts, uint64_t large);

/* What the hooks of the debug modes allocate with. */
typedef struct {
    bool sparing;                        /* most of a span's pages are never touched */
    void *(*alloc)(size_t n, bool zero); /* NULL: no memory */
    void (*free)(mspan *s, void *p);
    size_t (*size)(mspan *s, void *p); /* how many bytes of the block may be used */
    /* NULL: a resize is an allocation and a free, so that pointers to the old place are stale. */
    void *(*resize)(mspan *s, void *p, size_t n);
    /* Adds the blocks of a span in use up: by class, and the bytes of large ones. NULL: as the span says. */
    void (*tally)(mspan *s, uint64_t *live, uint64_t *large);
} allocator;
extern const allocator *debug_allocator; /* NULL: no debug mode */

#endif
