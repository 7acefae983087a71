#ifndef ZABFS_TABLE_H
#define ZABFS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "slab.h"

/* A chained hash table for the tree's millions of items. It grows by one bucket an insertion
 * (linear hashing: Litwin, VLDB 1980), so that no transaction ever waits for a whole rehash. An
 * item is a piece of the table's slab and embeds a link for each table it is in; its hash is
 * computed again when its bucket is split. Nothing depends on addresses, and nothing iterates in
 * the order of buckets but the release of everything. */
struct table_link {
    uint32_t next; /* number of the item; 0: none */
};

typedef uint64_t (*table_hash_fn)(const struct table_link *link);

struct table {
    uint32_t *buckets; /* number of the first item; 0: none */
    size_t cap;        /* of `buckets` */
    size_t base;       /* buckets at the start of this round, a power of two */
    size_t split;      /* buckets of this round that were split; base + split are in use */
    size_t count;      /* items */
    table_hash_fn hash;
    const struct slab *slab; /* of the items */
    size_t offset;           /* of their links */
};

/* TABLE_INIT(): a link's place in its item comes from the type and the field. */
void table_init(struct table *t, const struct slab *slab, size_t offset, table_hash_fn hash);
#define TABLE_INIT(t, slab, type, field, hash) table_init(t, slab, offsetof(type, field), hash)
void table_done(struct table *t); /* does not touch the items */

void table_add(struct table *t, struct table_link *link);
void table_remove(struct table *t, struct table_link *link); /* must be in it */

/* The chain in which an item with this hash would be: walk table_next() and compare keys. */
struct table_link *table_chain(const struct table *t, uint64_t hash);

/* The link of an item by its number; NULL: none. */
static inline struct table_link *table_link_at(const struct table *t, uint32_t item)
{
    return item != 0 ? (struct table_link *)((uint8_t *)slab_at(t->slab, item) + t->offset) : NULL;
}

static inline struct table_link *table_next(const struct table *t, const struct table_link *link)
{
    return table_link_at(t, link->next);
}

/* Has the processor fetch, meanwhile, what the next call for this hash reads first. */
void table_expect(const struct table *t, uint64_t hash);

/* Takes any one item out; NULL when empty. For releasing all: *pos starts at 0. */
struct table_link *table_take(struct table *t, size_t *pos);

/* The item that embeds `link` as `field`. */
#define TABLE_ITEM(link, type, field) ((type *)((uintptr_t)(link)-offsetof(type, field)))

#endif
