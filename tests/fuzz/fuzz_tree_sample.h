#ifndef ZABFS_FUZZ_TREE_SAMPLE_H
#define ZABFS_FUZZ_TREE_SAMPLE_H

#include <string.h>

#include "bytes.h"
#include "tree.h"

/* Images of small trees, for targets that read them. Number n has seen the first n + 1 of the
 * transactions below. */
enum { SAMPLE_IMAGES = 15 };

static inline void sample_apply(struct tree *t, uint64_t session, struct request r)
{
    struct txn txn = {
        .index = tree_index(t) + 1,
        .time_ns = 1000 + (int64_t)tree_index(t),
        .value_size_max = 1000,
        .session = session,
    };
    struct txn_result result;

    r.xid = session != 0 ? txn.index : 0;
    txn.request = r;
    tree_apply(t, &txn, &result);
    txn_result_done(&result);
}

static inline struct request sample_create(uint64_t dir, const char *name, enum node_type type,
                                           struct blob *value)
{
    struct request r = {.op = OP_CREATE};

    r.u.create.dir = dir;
    r.u.create.name = (struct name){name, (uint32_t)strlen(name)};
    r.u.create.type = type;
    r.u.create.mode = 0644;
    r.u.create.value = value;
    return r;
}

/* Value NULL: none. */
static inline struct request sample_setxattr(uint64_t id, const char *name, struct blob *value)
{
    struct request r = {.op = OP_SETXATTR};

    r.u.setxattr.id = id;
    r.u.setxattr.name = (struct name){name, (uint32_t)strlen(name)};
    r.u.setxattr.value = value;
    return r;
}

static inline struct request sample_lock(uint64_t id, enum lock_kind kind, uint64_t owner,
                                         uint64_t end)
{
    struct request r = {.op = OP_LOCK};

    r.u.lock.id = id;
    r.u.lock.lock = (struct lock){
        .kind = kind, .type = LOCK_TYPE_EXCLUSIVE, .owner = owner, .end = end, .pid = 7};
    r.u.lock.wait = true;
    return r;
}

static inline struct request sample_rename(const char *from, const char *to)
{
    struct request r = {.op = OP_RENAME};

    r.u.rename.dir = r.u.rename.to_dir = TREE_ROOT_ID;
    r.u.rename.name = (struct name){from, (uint32_t)strlen(from)};
    r.u.rename.to_name = (struct name){to, (uint32_t)strlen(to)};
    return r;
}

enum { SAMPLE_FILE = TREE_ROOT_ID + 1, SAMPLE_DIR = TREE_ROOT_ID + 2 };

static inline void sample_txns(struct request txns[SAMPLE_IMAGES], struct blob *value,
                               struct blob *quota)
{
    struct request open = {.op = OP_SESSION_OPEN};
    struct request remove = {.op = OP_REMOVE};

    open.u.session_open.key.bytes[0] = 1;
    open.u.session_open.timeout_ms = 10000;
    open.u.session_open.label = (struct name){"sample", 6};
    remove.u.remove.dir = TREE_ROOT_ID;
    remove.u.remove.name = (struct name){"link", 4};
    txns[0] = open;
    txns[1] = sample_create(TREE_ROOT_ID, "file", NODE_FILE, value);
    txns[2] = sample_create(TREE_ROOT_ID, "dir", NODE_DIR, NULL);
    txns[3] = sample_create(TREE_ROOT_ID, "link", NODE_SYMLINK, value);
    txns[4] = sample_create(SAMPLE_DIR, "inner", NODE_FILE, NULL);
    txns[5] = remove;
    txns[6] = remove; /* refused, and the slot says so */
    txns[7] = sample_create(SAMPLE_DIR, "passing", NODE_FILE, value);
    txns[7].u.create.life = LIFE_SESSION;
    txns[8] = sample_setxattr(SAMPLE_FILE, "user.color", value);
    txns[9] = sample_setxattr(SAMPLE_DIR, "user.zabfs.quota", quota);
    txns[10] = sample_create(SAMPLE_DIR, ".data", NODE_FILE, value);
    txns[11] = sample_lock(SAMPLE_FILE, LOCK_KIND_FLOCK, 1, UINT64_MAX);
    txns[12] = sample_lock(SAMPLE_FILE, LOCK_KIND_POSIX, 2, 9);
    txns[13] = sample_lock(SAMPLE_FILE, LOCK_KIND_FLOCK, 3, UINT64_MAX); /* waits */
    txns[14] = sample_rename("dir", "folder");
}

static inline struct tree *sample_tree(unsigned n)
{
    struct tree *t = tree_new();
    struct blob *value = blob_new("value", 5);
    struct blob *quota = blob_new("2K 9", 4);
    struct request txns[SAMPLE_IMAGES];

    sample_txns(txns, value, quota);
    for (unsigned i = 0; i <= n; i++) {
        sample_apply(t, i > 0 ? 1 : 0, txns[i]);
    }
    blob_unref(value);
    blob_unref(quota);
    return t;
}

static inline void sample_image(unsigned n, struct buf *b)
{
    struct tree *t = sample_tree(n);
    struct tree_image it;
    size_t size;

    tree_image_begin(&it, t);
    do {
        buf_reserve(b, 4096);
        size = tree_image_read(&it, b->data + b->size, 4096);
        b->size += size;
    } while (size > 0);
    tree_free(t);
}

#endif
