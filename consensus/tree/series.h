#ifndef ZABFS_SERIES_H
#define ZABFS_SERIES_H

#include <stddef.h>
#include <stdint.h>

#include "slab.h"

/* Items under keys that only rise: the children of a directory by cookie, the sessions by id. An
 * array in key order; appending is O(1), finding O(log n), removal leaves a gap, and the gaps are
 * closed when they are more than half, so that it stays O(1) on average beside the search.
 * Zero-initialised is empty and valid. Items are pieces of one slab, and borrowed. */
struct series_entry { /* 12 bytes, for millions of them */
    uint32_t key[2];  /* the lower half first */
    uint32_t item;    /* its number; 0: a gap */
};

struct series {
    const struct slab *slab; /* of the items; NULL: there was none yet */
    struct series_entry *entries;
    size_t count; /* with gaps */
    size_t cap;
    size_t live;
};

static inline uint64_t series_key(const struct series *s, size_t place)
{
    return s->entries[place].key[0] | (uint64_t)s->entries[place].key[1] << 32;
}

/* NULL: a gap. */
static inline void *series_item(const struct series *s, size_t place)
{
    return s->entries[place].item != 0 ? slab_at(s->slab, s->entries[place].item) : NULL;
}

void series_done(struct series *s);
void series_append(struct series *s, uint64_t key, void *item); /* key above all in it */
/* For undoing, last change first: an item back to where it was, and out of the last place as if
 * it had never been there. */
void series_put_back(struct series *s, uint64_t key, void *item);
void series_take_back(struct series *s, uint64_t key);
void series_remove(struct series *s, uint64_t key);     /* must be in it */
void *series_get(const struct series *s, uint64_t key); /* NULL: none */

/* Place of the first entry, gap or not, with a key above `after`; `count` if there is none. */
size_t series_place(const struct series *s, uint64_t after);

/* Item with the lowest key above `after`; NULL: none. */
void *series_next(const struct series *s, uint64_t after);

/* Upper bound of the keys in it; 0 when empty. */
uint64_t series_last_key(const struct series *s);

#endif
