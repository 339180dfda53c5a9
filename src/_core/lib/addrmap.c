/* addrmap.c: maps addresses to words: see addrmap.h. */
#include "lib/addrmap.h"

#include <stdlib.h>

#define SIZE_MIN 64

static bool
grow(addrmap *t)
{
    addrmap more = {.size = t->size ? 2 * t->size : SIZE_MIN, .n = t->n};
    more.slots = calloc(more.size, sizeof *more.slots);
    if (!more.slots)
        return false;
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].key)
            more.slots[addrmap_place(&more, t->slots[i].key)] = t->slots[i];
    }
    free(t->slots);
    *t = more;
    return true;
}

uintptr_t *
addrmap_put(addrmap *t, const void *key)
{
    uintptr_t *value = addrmap_get(t, key);
    if (value)
        return value;
    if (3 * (t->n + 1) > 2 * t->size && !grow(t))
        return NULL;
    struct addrslot *slot = &t->slots[addrmap_place(t, (uintptr_t)key)];
    slot->key = (uintptr_t)key;
    t->n++;
    return &slot->value;
}

/* The rest of the run is put in again: its places may depend on the one that is free now. */
void
addrmap_remove(addrmap *t, const void *key)
{
    size_t mask = t->size - 1, hole = addrmap_place(t, (uintptr_t)key);
    t->slots[hole] = (struct addrslot){0};
    for (size_t i = (hole + 1) & mask; t->slots[i].key; i = (i + 1) & mask) {
        struct addrslot moved = t->slots[i];
        t->slots[i] = (struct addrslot){0};
        t->slots[addrmap_place(t, moved.key)] = moved;
    }
    t->n--;
}

void
addrmap_clear(addrmap *t)
{
    free(t->slots);
    *t = (addrmap){0};
}
