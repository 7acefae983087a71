#include <criterion/criterion.h>

#include "mem.h"
#include "prng.h"
#include "table.h"

enum { ITEMS = 5000 };

struct item {
    uint64_t key;
    struct table_link link;
    bool in;
};

/* What the hash is of 1000 keys: all chains, short and long, are walked. */
static uint64_t hash_same(const struct table_link *link)
{
    return TABLE_ITEM(link, struct item, link)->key / 1000;
}

static uint64_t hash_key(const struct table_link *link)
{
    return TABLE_ITEM(link, struct item, link)->key;
}

static struct item *find(const struct table *t, const struct item *wanted)
{
    table_expect(t, t->hash(&wanted->link));
    for (struct table_link *l = table_chain(t, t->hash(&wanted->link)); l != NULL;
         l = table_next(t, l)) {
        struct item *i = TABLE_ITEM(l, struct item, link);

        if (i->key == wanted->key) {
            return i;
        }
    }
    return NULL;
}

static struct item **items_new(struct slab *slab)
{
    struct item **items = mem_alloc(ITEMS * sizeof(struct item *));

    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i] = slab_zalloc(slab, sizeof(struct item));
        items[i]->key = i;
    }
    return items;
}

static void items_free(struct item **items)
{
    for (int i = 0; i < ITEMS; i++) {
        slab_free(items[i]);
    }
    mem_free(items);
}

/* Items come and go in no order; every look finds what is in, and nothing else. */
static void run(table_hash_fn hash)
{
    struct slab slab = {0};
    struct item **items = items_new(&slab);
    struct prng p = {11};
    struct table t;
    size_t count = 0;

    TABLE_INIT(&t, &slab, struct item, link, hash);
    for (int step = 0; step < 4 * ITEMS; step++) {
        struct item *i = items[prng_below(&p, ITEMS)];

        cr_assert_eq(find(&t, i), i->in ? i : NULL);
        if (i->in) {
            table_remove(&t, &i->link);
        } else {
            table_add(&t, &i->link);
        }
        i->in = !i->in;
        count += i->in ? 1 : (size_t)-1;
        cr_assert_eq(t.count, count);
    }
    for (int i = 0; i < ITEMS; i++) {
        cr_assert_eq(find(&t, items[i]), items[i]->in ? items[i] : NULL);
    }
    table_done(&t);
    items_free(items);
    slab_done(&slab);
}

Test(tree_table, items_come_and_go)
{
    run(hash_key);
}

Test(tree_table, items_of_one_hash_share_a_chain)
{
    run(hash_same);
}

/* One bucket more an item, at most: no chain is long while hashes differ, at any size. */
Test(tree_table, grows_with_its_items)
{
    struct slab slab = {0};
    struct item **items = items_new(&slab);
    struct table t;
    struct table_link *link;
    size_t pos = 0, taken = 0;

    TABLE_INIT(&t, &slab, struct item, link, hash_key);
    for (uint64_t n = 0; n < ITEMS; n++) {
        table_add(&t, &items[n]->link);
        cr_assert_leq(t.count, t.base + t.split);
        cr_assert_leq(t.base + t.split, t.cap);
        for (uint64_t k = n > 40 ? n - 40 : 0; k <= n; k++) {
            cr_assert_eq(find(&t, items[k]), items[k]);
        }
    }
    for (size_t b = 0; b < t.base + t.split; b++) {
        cr_assert(t.buckets[b] == 0 || table_link_at(&t, t.buckets[b])->next == 0);
    }
    while ((link = table_take(&t, &pos)) != NULL) {
        struct item *i = TABLE_ITEM(link, struct item, link);

        cr_assert_not(i->in);
        i->in = true;
        taken++;
    }
    cr_assert_eq(taken, ITEMS);
    cr_assert_eq(t.count, 0);
    table_done(&t);
    items_free(items);
    slab_done(&slab);
}
