#include "table.h"

#include <string.h>

#include "check.h"
#include "mem.h"

enum {
    BUCKETS_MIN = 16,
    SPLIT_AHEAD = 4, /* items are fetched for the split after so many; less than BUCKETS_MIN */
};

void table_init(struct table *t, const struct slab *slab, size_t offset, table_hash_fn hash)
{
    *t = (struct table){
        .cap = BUCKETS_MIN, .base = BUCKETS_MIN, .hash = hash, .slab = slab, .offset = offset};
    t->buckets = mem_zalloc(BUCKETS_MIN * sizeof(*t->buckets));
}

void table_done(struct table *t)
{
    mem_free(t->buckets);
    *t = (struct table){0};
}

static uint32_t item_of(const struct table *t, const struct table_link *link)
{
    return slab_ref((const uint8_t *)link - t->offset);
}

static size_t bucket_of(const struct table *t, uint64_t hash)
{
    size_t at = (size_t)hash & (2 * t->base - 1);

    return at < t->base + t->split ? at : at - t->base;
}

/* Deals the items of the next bucket out to it and to a new one at the end. */
static void split_one(struct table *t)
{
    uint32_t item = t->buckets[t->split];
    size_t last = t->base + t->split;

    if (last == t->cap) {
        t->cap *= 2;
        t->buckets = mem_realloc(t->buckets, t->cap * sizeof(*t->buckets));
    }
    __builtin_prefetch(table_link_at(t, t->buckets[t->split + SPLIT_AHEAD]));
    t->buckets[t->split] = 0;
    t->buckets[last] = 0;
    t->split++;
    while (item != 0) {
        struct table_link *link = table_link_at(t, item);
        uint32_t next = link->next;
        size_t at = bucket_of(t, t->hash(link));

        link->next = t->buckets[at];
        t->buckets[at] = item;
        item = next;
    }
    if (t->split == t->base) {
        t->base *= 2;
        t->split = 0;
    }
}

void table_add(struct table *t, struct table_link *link)
{
    size_t at;

    if (t->count >= t->base + t->split) {
        split_one(t);
    }
    at = bucket_of(t, t->hash(link));
    link->next = t->buckets[at];
    t->buckets[at] = item_of(t, link);
    t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
    uint32_t *at = &t->buckets[bucket_of(t, t->hash(link))];
    uint32_t item = item_of(t, link);

    while (*at != item) {
        CHECK(*at != 0);
        at = &table_link_at(t, *at)->next;
    }
    *at = link->next;
    t->count--;
}

struct table_link *table_chain(const struct table *t, uint64_t hash)
{
    return table_link_at(t, t->buckets[bucket_of(t, hash)]);
}

void table_expect(const struct table *t, uint64_t hash)
{
    __builtin_prefetch(&t->buckets[bucket_of(t, hash)]);
}

struct table_link *table_take(struct table *t, size_t *pos)
{
    for (; *pos < t->base + t->split; (*pos)++) {
        struct table_link *link = table_link_at(t, t->buckets[*pos]);

        if (link != NULL) {
            t->buckets[*pos] = link->next;
            t->count--;
            return link;
        }
    }
    return NULL;
}
