/* What nodes are made of: pieces of memory, and facts that are packed. */
#include "mem.h"
#include "test_tree_help.h"
#include "tree_int.h"

enum { PIECES = 20000 };

struct piece {
    uint8_t *at;
    size_t size;
    uint8_t mark;
};

static void piece_check(const struct piece *p)
{
    for (size_t i = 0; i < p->size; i++) {
        cr_assert_eq(p->at[i], p->mark);
    }
}

/* Pieces of all sizes come and go in any order, and none touches another. */
Test(tree_node, pieces_are_apart)
{
    struct slab *slab = mem_zalloc(sizeof(*slab));
    struct piece *list = mem_zalloc(PIECES * sizeof(*list));
    struct prng prng = {.state = 7};

    for (int i = 0; i < 5 * PIECES; i++) {
        struct piece *p = &list[prng_below(&prng, PIECES)];

        if (p->at != NULL) {
            piece_check(p);
            slab_free(p->at);
            p->at = NULL;
            continue;
        }
        p->size = 1 + prng_below(&prng, SLAB_SIZE_MAX);
        p->mark = (uint8_t)i;
        p->at = slab_alloc(slab, p->size);
        cr_assert_eq((uintptr_t)p->at % (p->size % 8 == 0 ? 8 : 4), 0);
        cr_assert_eq(slab_of(p->at), slab);
        cr_assert(p->size % 8 != 0 || slab_at(slab, slab_ref(p->at)) == p->at);
        memset(p->at, p->mark, p->size);
    }
    for (int i = 0; i < PIECES; i++) {
        if (list[i].at != NULL) {
            piece_check(&list[i]);
            slab_free(list[i].at);
        }
    }
    cr_assert_eq(slab->count, 0);
    slab_done(slab);
    mem_free(slab);
    mem_free(list);
}

static uint64_t random_number(struct prng *p)
{
    uint64_t bits = prng_below(p, 65);

    return bits == 0 ? 0 : prng_next(p) >> (64 - bits);
}

static struct tree_facts random_facts(struct prng *p)
{
    return (struct tree_facts){
        .cookie = random_number(p),
        .version = random_number(p),
        .czxid = random_number(p),
        .mzxid = random_number(p),
        .atime_ns = (int64_t)random_number(p),
        .mtime_ns = (int64_t)random_number(p),
        .ctime_ns = (int64_t)random_number(p),
        .uid = (uint32_t)random_number(p),
        .gid = (uint32_t)random_number(p),
    };
}

static void check_node(const struct tree_node *n, const struct tree_facts *f, struct name name,
                       const struct blob *value)
{
    struct tree_facts have = tnode_facts(n);
    struct blob *b = tnode_value(n);

    cr_assert(have.cookie == f->cookie && have.version == f->version && have.czxid == f->czxid &&
              have.mzxid == f->mzxid && have.uid == f->uid && have.gid == f->gid);
    cr_assert(have.atime_ns == f->atime_ns && have.mtime_ns == f->mtime_ns &&
              have.ctime_ns == f->ctime_ns);
    cr_assert_eq(tnode_cookie(n), f->cookie);
    cr_assert(n->name_size == name.size && memcmp(tnode_name(n), name.bytes, name.size) == 0);
    cr_assert_eq(tnode_value_size(n), value != NULL ? value->size : 0);
    cr_assert(value == NULL ? b == NULL : memcmp(b->data, value->data, value->size) == 0);
    cr_assert_eq(tnode_value_hash(n), value_hash(value));
    blob_unref(b);
}

static struct blob *random_blob(struct prng *p)
{
    size_t size = prng_below(p, 3) == 0 ? 0 : prng_below(p, 2 * VALUE_PACKED_SIZE_MAX + 2);
    struct blob *b = size > 0 ? blob_new_uninit(size) : NULL;

    for (size_t i = 0; i < size; i++) {
        b->data[i] = (uint8_t)prng_next(p);
    }
    return b;
}

/* Facts of any size, names and values: each change leaves the others as they are. */
Test(tree_node, what_is_packed_comes_back)
{
    struct slab *slab = mem_zalloc(sizeof(*slab));
    struct prng prng = {.state = 9};
    char bytes[NAME_SIZE_MAX];
    struct name name = {bytes, 1};
    struct tree_facts f = {.version = 1};
    struct tree_node *n;
    struct blob *value = NULL;

    memset(bytes, 'n', sizeof(bytes));
    n = tnode_new(slab, NODE_FILE, name);
    tnode_facts_set(n, &f);
    for (int i = 0; i < 20000; i++) {
        switch (prng_below(&prng, 4)) {
        case 0:
            f = random_facts(&prng);
            tnode_facts_set(n, &f);
            break;
        case 1:
            name.size = 1 + (uint32_t)prng_below(&prng, NAME_SIZE_MAX);
            tnode_name_set(n, name);
            break;
        case 2:
            blob_unref(value);
            value = random_blob(&prng);
            f = random_facts(&prng);
            tnode_value_set(n, &f, blob_ref(value));
            break;
        default:
            f.cookie = random_number(&prng);
            tnode_cookie_set(n, f.cookie);
            tnode_aversion_set(n, (uint64_t)i);
            cr_assert_eq(tnode_aversion(n), (uint64_t)i);
            break;
        }
        check_node(n, &f, name, value);
    }
    blob_unref(value);
    tnode_free(n);
    slab_done(slab);
    mem_free(slab);
}
