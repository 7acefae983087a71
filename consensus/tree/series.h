#ifndef ZABFS_SERIES_H
#define ZABFS_SERIES_H

#include <stddef.h>
#include <stdint.h>

/* Items under keys that only rise: the children of a directory by cookie, the sessions by id. An
 * array in key order; appending is O(1), finding O(log n), removal leaves a gap, and the gaps are
 * closed when they are more than half, so that it stays O(1) on average beside the search.
 * Zero-initialised is empty and valid. Items are borrowed. */
struct series_entry {
    uint64_t key;
    void *item; /* NULL: a gap */
};

struct series {
    struct series_entry *entries;
    size_t count; /* with gaps */
    size_t cap;
    size_t live;
};

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
