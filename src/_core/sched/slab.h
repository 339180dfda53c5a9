/* slab.h: slabs and bins of stacks, for stack.c, which hands them out, and reclaim.c, which gives them
 * back. */
#ifndef GORT_SLAB_H
#define GORT_SLAB_H

#include "core.h"

#define PAGE 4096
#define STACK_CLASSES 4 /* of the default's sizes */

typedef struct bin bin;
typedef struct slab slab;

/* In use; all its stacks were given up, and its memory is to go back; it may be used for any bin. */
enum slabstate { SlabUsed, SlabGiving, SlabEmpty };

/* A stretch of addresses, cut into stacks of one size. The nth of them is given up, or has never been made,
 * or has a g: live, or dead and in one of its bin's lists. */
struct slab {
    char *lo;
    size_t size, stride;
    _Atomic uint32_t state; /* SlabGiving to SlabEmpty without the GIL, under stackwork */
    uint32_t room;          /* of the bitmaps, in stacks */
    uint32_t count;         /* stacks */
    uint32_t used;          /* how many have been made, from the first one on */
    uint32_t nraw;          /* given up */
    uint32_t ndirty;        /* of these, with memory still */
    uint32_t rawhint;       /* no word of `raw` below this one has a bit */
    bool fixed;             /* has guards of this stride for good */
    bool listed;            /* in its bin's list of slabs with room */
    uint8_t class;          /* which of the bin's lists that is */
    bin *bin;
    slab *next, *prev;
    uint64_t *live; /* bitmaps; never freed */
    uint64_t *raw, *dirty;
};

/* What belongs to one value of set_max_stack: stacks of one size; of the default, 0, those of all classes. */
struct bin {
    size_t max;
    g *free;   /* dead, the last one first */
    g *idle;   /* dead, and unused since the last tick */
    g *doomed; /* unused for an interval: to be given up */
    slab *roomy[STACK_CLASSES];
    size_t reserved; /* bytes */
    bin *next;
};

#define MAX_SLABS 16384
extern slab slabs[MAX_SLABS];
extern _Atomic int nslabs; /* grows under the GIL; read by sysmon and signal handlers */
extern bin bin0, *bins;    /* the default; all */
extern _Atomic int64_t nstacks, nlive;
extern size_t carved; /* bytes of stacks that have a g */

/* The lock for what is done to stacks without the GIL. Taken with the GIL too; its holder never waits for the
 * GIL. False: another thread has it. */
bool stackwork_try(void);
void stackwork_done(void);
/* Nothing that was prepared in s counts any more. Under stackwork, with the GIL. */
void forget_ahead(slab *s);

static inline slab *
slab_of(const g *gp)
{
    return &slabs[gp->slab - 1];
}
/* Puts s in front of its bin's list of slabs with room, or takes it out. */
void slab_list(slab *s);
void slab_unlist(slab *s);

#define KEEP 64 /* as many dead goroutines stay as they are: not worth a tick */

#endif
