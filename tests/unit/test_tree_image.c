#include "test_tree_help.h"
#include "tree_int.h"

#include "bytes.h"

static struct buf image_of(const struct tree *t, size_t slice)
{
    struct buf b = {0};
    struct tree_image it;
    size_t n;

    tree_image_begin(&it, t);
    do {
        buf_reserve(&b, slice);
        n = tree_image_read(&it, b.data + b.size, slice);
        b.size += n;
    } while (n > 0);
    return b;
}

static int load(const uint8_t *bytes, size_t size, struct prng *slices, struct tree **ret)
{
    struct tree_loader *l = tree_loader_new();
    size_t at = 0;

    while (at < size) {
        size_t n = slices != NULL ? 1 + prng_below(slices, 300) : size;

        n = n < size - at ? n : size - at;
        if (tree_loader_feed(l, bytes + at, n) != 0) {
            tree_loader_free(l);
            return ERR_CORRUPT;
        }
        at += n;
    }
    return tree_loader_finish(l, ret);
}

static struct tree *random_tree(uint64_t seed, int txns)
{
    struct random_txns x = {.prng = {seed}};
    struct tree *t = tree_new();

    random_txns_apply(&x, t, txns);
    return t;
}

/* An image loads to a tree with the same digest, the same structure and the same image. */
Test(tree_image, round_trip_in_any_slices)
{
    struct prng p = {7};

    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct tree *t = random_tree(seed, 3000);
        struct buf image = image_of(t, 1 + prng_below(&p, 5000));
        struct tree *loaded = NULL;
        struct buf again;

        cr_assert_eq(load(image.data, image.size, &p, &loaded), 0);
        cr_assert_eq(tree_digest(loaded), tree_digest(t));
        cr_assert_eq(tree_audit(loaded), tree_digest(t));
        cr_assert_eq(tree_index(loaded), 3000);
        cr_assert_eq(tree_value_bytes(loaded), tree_value_bytes(t));
        again = image_of(loaded, 1);
        cr_assert_eq(again.size, image.size);
        cr_assert_eq(memcmp(again.data, image.data, image.size), 0);
        buf_done(&image);
        buf_done(&again);
        tree_free(t);
        tree_free(loaded);
    }
}

/* A loaded tree goes on exactly as the one whose image it is: replies, digests, retries. */
Test(tree_image, loaded_tree_goes_on_alike)
{
    struct random_txns x = {.prng = {11}};
    struct tree *t = tree_new();
    struct tree *loaded = NULL;
    struct random_txns y;
    struct buf image;

    random_txns_apply(&x, t, 2000);
    image = image_of(t, 4096);
    cr_assert_eq(load(image.data, image.size, NULL, &loaded), 0);
    y = x;
    random_txns_apply(&x, t, 2000);
    random_txns_apply(&y, loaded, 2000);
    cr_assert_eq(tree_digest(loaded), tree_digest(t));
    cr_assert_eq(tree_audit(loaded), tree_digest(t));
    buf_done(&image);
    tree_free(t);
    tree_free(loaded);
}

static void lock_it(struct world *w, uint64_t session, uint64_t id, enum lock_kind kind,
                    enum lock_type type, uint64_t owner, uint64_t start, uint64_t end)
{
    struct request r = {.op = OP_LOCK, .xid = ++w->xid};

    r.u.lock.id = id;
    r.u.lock.lock = (struct lock){kind, type, owner, start, end, 77};
    r.u.lock.wait = true;
    cr_assert_eq(world_apply(w, session, &r), 0);
}

static void add_locks(struct world *w, uint64_t other)
{
    uint64_t a = w->session, f = world_made(w), all = UINT64_MAX;

    lock_it(w, a, f, LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 1, 0, all);
    lock_it(w, other, f, LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 1, 0, all);
    lock_it(w, a, f, LOCK_KIND_FLOCK, LOCK_TYPE_EXCLUSIVE, 2, 0, all);
    lock_it(w, a, f, LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 3, 0, all);
    lock_it(w, a, f, LOCK_KIND_POSIX, LOCK_TYPE_EXCLUSIVE, 1, 8, 15);
    lock_it(w, a, f, LOCK_KIND_POSIX, LOCK_TYPE_SHARED, 1, 4, 11);
    lock_it(w, other, f, LOCK_KIND_POSIX, LOCK_TYPE_SHARED, 1, 0, 5);
    lock_it(w, other, f, LOCK_KIND_POSIX, LOCK_TYPE_EXCLUSIVE, 1, 15, all);
    lock_it(w, other, f, LOCK_KIND_POSIX, LOCK_TYPE_SHARED, 2, 3, 8);
    lock_it(w, other, f, LOCK_KIND_POSIX, LOCK_TYPE_SHARED, 3, 15, 16);
}

static void add_outcomes(struct world *w)
{
    struct txn_step steps[] = {
        {TXN_CREATE, name_of("/j#"), 0, NULL},
        {TXN_ABSENT, name_of("/none"), 0, NULL},
    };
    struct request r = {.op = OP_TXN, .xid = ++w->xid};

    r.u.txn.count = 2;
    r.u.txn.steps = steps;
    cr_assert_eq(world_apply(w, w->session, &r), 0);
    cr_assert_eq(w->last.reply.u.txn.count, 2);
    r.xid = ++w->xid;
    steps[1].path = name_of("/dir");
    cr_assert_eq(world_apply(w, w->session, &r), 0);
    cr_assert_eq(w->last.reply.u.txn.failed, 2);
}

static struct tree *small_tree(void)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 2);
    uint64_t dir;

    world_mkdir(&w, TREE_ROOT_ID, "dir");
    dir = world_made(&w);
    world_create(&w, dir, "file", "value");
    world_create(&w, dir, "file", "again");
    world_create_type(&w, dir, "link", NODE_SYMLINK, 0, "target");
    world_create_type(&w, TREE_ROOT_ID, "job-", NODE_FILE, CREATE_SEQUENTIAL, NULL);
    world_create(&w, dir, ".data", "about");
    world_setxattr(&w, dir, "user.zabfs.quota", "1K 9", 0);
    world_setxattr(&w, dir, "user.zabfs.ephemeral", "session", 0);
    world_create(&w, dir, "e", "1");
    world_setxattr(&w, world_made(&w), "user.a", "", 0);
    world_setxattr(&w, world_made(&w), "user.b", "2", 0);
    world_create(&w, TREE_ROOT_ID, "locked", "");
    add_locks(&w, other);
    add_outcomes(&w);
    txn_result_done(&w.last);
    return w.tree;
}

/* No image with a flipped bit loads. */
Test(tree_image, every_flipped_bit_is_found)
{
    struct tree *t = small_tree();
    struct buf image = image_of(t, 4096);

    for (size_t bit = 0; bit < image.size * 8; bit++) {
        struct tree *loaded = NULL;

        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(load(image.data, image.size, NULL, &loaded), ERR_CORRUPT, "bit %zu", bit);
        cr_assert_null(loaded);
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_done(&image);
    tree_free(t);
}

/* An image that was made up, with an END that fits it: every flipped bit is refused, or gives a
 * tree that is sound in itself. */
Test(tree_image, made_up_images_give_sound_trees)
{
    struct tree *t = small_tree();
    struct buf image = image_of(t, 4096);
    uint8_t end[RECORD_SIZE_MAX];
    size_t end_size = record_put_end(t, end);
    int loaded_count = 0;

    for (size_t bit = 0; bit < (image.size - end_size) * 8; bit++) {
        struct tree_loader *l = tree_loader_new();
        struct tree *loaded = NULL;

        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (tree_loader_feed(l, image.data, image.size - end_size) == 0) {
            end_size = record_put_end(tree_loader_tree(l), end);
            tree_loader_feed(l, end, end_size);
        }
        if (tree_loader_finish(l, &loaded) == 0) {
            cr_assert_eq(tree_audit(loaded), tree_digest(loaded), "bit %zu", bit);
            loaded_count++;
        }
        tree_free(loaded);
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_gt(loaded_count, 100, "%d", loaded_count);
    buf_done(&image);
    tree_free(t);
}

/* Completes an image that has no END with one that fits what was loaded. */
static int load_with_end(const uint8_t *bytes, size_t size)
{
    struct tree_loader *l = tree_loader_new();
    struct tree *loaded = NULL;
    uint8_t end[RECORD_SIZE_MAX];
    int err;

    if (tree_loader_feed(l, bytes, size) == 0) {
        tree_loader_feed(l, end, record_put_end(tree_loader_tree(l), end));
    }
    err = tree_loader_finish(l, &loaded);
    tree_free(loaded);
    return err;
}

/* Two nodes of one name are found, however far apart and however close to the end they are; in
 * two directories they may have it. */
Test(tree_image, names_that_are_there_twice_are_found)
{
    enum { FILES = 24 };
    struct world w = world_new();
    uint8_t end[RECORD_SIZE_MAX];
    uint8_t *at[FILES];
    struct buf image;
    char name[16];

    world_mkdir(&w, TREE_ROOT_ID, "d");
    world_create(&w, world_made(&w), "file00", NULL);
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "file%02d", i);
        world_create(&w, TREE_ROOT_ID, name, i % 3 ? "value" : NULL);
    }
    image = image_of(w.tree, 4096);
    image.size -= record_put_end(w.tree, end);
    cr_assert_eq(load_with_end(image.data, image.size), 0);
    for (int i = 0; i < FILES; i++) {
        uint8_t *from = i > 0 ? at[i - 1] + 1 : image.data;

        (void)snprintf(name, sizeof(name), "file%02d", i);
        at[i] = memmem(from, image.size - (size_t)(from - image.data), name, 6);
        if (i == 0) { /* the one in the directory comes first */
            at[i] = memmem(at[i] + 1, image.size - (size_t)(at[i] + 1 - image.data), name, 6);
        }
        cr_assert_not_null(at[i]);
    }
    for (int i = 0; i < FILES; i++) {
        for (int j = 0; j < i; j++) {
            memcpy(name, at[i], 6);
            memcpy(at[i], at[j], 6);
            cr_assert_eq(load_with_end(image.data, image.size), ERR_CORRUPT, "%d as %d", i, j);
            memcpy(at[i], name, 6);
        }
    }
    buf_done(&image);
    world_done(&w);
}

/* So is a directory's second ".data", which has no place among the children. */
Test(tree_image, second_data_file_is_found)
{
    enum { NAME_AT = RECORD_HEAD_SIZE + 2 }; /* behind the type and its size */
    struct world w = world_new();
    uint8_t record[RECORD_SIZE_MAX];
    const uint8_t *name;
    struct tree_node *data;
    struct buf image;
    uint64_t unused;
    size_t size;

    world_create(&w, TREE_ROOT_ID, "gone", NULL);
    unused = world_made(&w);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "gone", 0), 0);
    world_create(&w, TREE_ROOT_ID, ".data", NULL);
    image = image_of(w.tree, 4096);
    name = memmem(image.data, image.size, ".data", 5);
    cr_assert_not_null(name);
    data = w.tree->root->dir->data;
    data->id = unused;
    size = record_put_node(data, record);
    data->id = world_made(&w);
    image.size = (size_t)(name - image.data) - NAME_AT + size; /* it is the last node */
    cr_assert_eq(load_with_end(image.data, image.size), 0);
    buf_put(&image, record, size);
    cr_assert_eq(load_with_end(image.data, image.size), ERR_CORRUPT);
    buf_done(&image);
    world_done(&w);
}

/* No part of an image loads, and none with a byte more. */
Test(tree_image, truncation_and_extension_are_found)
{
    struct tree *t = small_tree();
    struct buf image = image_of(t, 4096);
    struct tree *loaded = NULL;

    for (size_t size = 0; size < image.size; size++) {
        cr_assert_eq(load(image.data, size, NULL, &loaded), ERR_CORRUPT, "size %zu", size);
    }
    buf_put_u8(&image, 0);
    cr_assert_eq(load(image.data, image.size, NULL, &loaded), ERR_CORRUPT);
    cr_assert_eq(load(image.data, image.size - 1, NULL, &loaded), 0);
    buf_done(&image);
    tree_free(loaded);
    tree_free(t);
}

/* Random damage of many bytes neither loads nor breaks the loader. */
Test(tree_image, random_damage_is_found)
{
    struct tree *t = random_tree(3, 500);
    struct buf image = image_of(t, 4096);
    struct prng p = {5};

    for (int round = 0; round < 2000; round++) {
        struct buf bad = {0};
        struct tree *loaded = NULL;
        size_t from = prng_below(&p, image.size);
        size_t to = prng_below(&p, image.size);
        size_t count = 1 + prng_below(&p, 40);

        buf_put(&bad, image.data, image.size);
        for (size_t i = 0; i < count && from + i < bad.size && to + i < bad.size; i++) {
            bad.data[to + i] = round % 2 ? image.data[from + i] : (uint8_t)prng_next(&p);
        }
        if (memcmp(bad.data, image.data, image.size) != 0) {
            cr_assert_eq(load(bad.data, bad.size, &p, &loaded), ERR_CORRUPT);
        }
        buf_done(&bad);
    }
    buf_done(&image);
    tree_free(t);
}

/* A loader that failed stays failed, and one that is given up releases what it holds. */
Test(tree_image, failed_loader_stays_failed)
{
    struct tree *t = random_tree(9, 300);
    struct buf image = image_of(t, 4096);
    struct tree_loader *l = tree_loader_new();
    struct tree *loaded = NULL;

    cr_assert_eq(tree_loader_feed(l, image.data, image.size - 10), 0);
    cr_assert_eq(tree_loader_feed(l, image.data, image.size), ERR_CORRUPT);
    cr_assert_eq(tree_loader_feed(l, image.data, image.size), ERR_CORRUPT);
    cr_assert_eq(tree_loader_finish(l, &loaded), ERR_CORRUPT);
    cr_assert_null(loaded);
    tree_loader_free(NULL);
    buf_done(&image);
    tree_free(t);
}

/* A value of the greatest size passes through an image that is read and fed in small slices. */
Test(tree_image, greatest_value_streams)
{
    struct world w = world_new();
    struct request r = {.op = OP_SET};
    struct tree *loaded = NULL;
    struct prng p = {1};
    struct buf image;

    w.value_size_max = 8 << 20;
    world_create(&w, TREE_ROOT_ID, "big", NULL);
    r.u.set.id = world_made(&w);
    r.u.set.value = blob_new_uninit(8 << 20);
    memset(r.u.set.value->data, 'x', 8 << 20);
    r.u.set.value->data[(8 << 20) - 1] = 'y';
    cr_assert_eq(world_run(&w, r), 0);
    blob_unref(r.u.set.value);
    image = image_of(w.tree, 1000);
    cr_assert_eq(load(image.data, image.size, &p, &loaded), 0);
    cr_assert_eq(tree_audit(loaded), tree_digest(w.tree));
    buf_done(&image);
    tree_free(loaded);
    world_done(&w);
}
