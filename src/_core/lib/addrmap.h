/* addrmap.h: maps addresses to words: a hash table with open addressing.
 *
 * Its memory is malloc's: nothing that is kept here makes the heap change, so that it can be filled while the
 * heap is looked at, and in the middle of freeing. All zeros is an empty map. A pointer to a value holds
 * until the next put or remove.
 *
 * It has no lock; each map has its owner's.
 *
 * Why not a dict: it would allocate from the heap, and own its keys.
 */
#ifndef GORT_ADDRMAP_H
#define GORT_ADDRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    struct addrslot {
        uintptr_t key, value; /* key 0: free */
    } *slots;
    size_t size; /* 0, or a power of 2 of which at most two thirds are in use */
    size_t n;
} addrmap;

/* Where the key is or would be; the map has slots. */
static inline size_t
addrmap_place(const addrmap *t, uintptr_t key)
{
    size_t i = (size_t)((key >> 4) * 0x9e3779b97f4a7c15u >> 20) & (t->size - 1);
    while (t->slots[i].key && t->slots[i].key != key)
        i = (i + 1) & (t->size - 1);
    return i;
}

/* The key's value; NULL: there is none. */
static inline uintptr_t *
addrmap_get(const addrmap *t, const void *key)
{
    if (t->n == 0)
        return NULL;
    struct addrslot *slot = &t->slots[addrmap_place(t, (uintptr_t)key)];
    return slot->key ? &slot->value : NULL;
}

/* The key's value, which is 0 if the key was not there before. NULL: no memory, and the map is as it was. */
uintptr_t *addrmap_put(addrmap *t, const void *key);
void addrmap_remove(addrmap *t, const void *key); /* it is there */
void addrmap_clear(addrmap *t);                   /* empty, its memory given back */

#endif
