#ifndef ZABFS_TEST_TREE_HELP_H
#define ZABFS_TEST_TREE_HELP_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "err.h"
#include "prng.h"
#include "tree.h"

/* A tree, one open session, and the result of the last transaction. */
struct world {
    struct tree *tree;
    uint64_t session;
    uint64_t xid;
    int64_t time_ns;
    uint32_t value_size_max;
    struct txn_result last;
};

static inline struct name name_of(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

/* Applies a request as `session`, exactly as given. */
static inline int world_apply(struct world *w, uint64_t session, const struct request *r)
{
    struct txn txn = {
        .index = tree_index(w->tree) + 1,
        .time_ns = w->time_ns,
        .value_size_max = w->value_size_max,
        .session = session,
        .request = *r,
    };

    txn_result_done(&w->last);
    tree_apply(w->tree, &txn, &w->last);
    return w->last.reply.err;
}

/* Applies a request as the world's session with a fresh xid; a value is taken over. */
static inline int world_run(struct world *w, struct request r)
{
    r.xid = ++w->xid;
    r.xid_floor = w->xid;
    return world_apply(w, w->session, &r);
}

static inline uint64_t world_open(struct world *w, uint8_t key)
{
    struct request r = {.op = OP_SESSION_OPEN};

    r.u.session_open.key.bytes[3] = key;
    r.u.session_open.timeout_ms = 10000;
    r.u.session_open.label = name_of("test");
    cr_assert_eq(world_apply(w, 0, &r), 0);
    return w->last.session;
}

static inline struct world world_new(void)
{
    struct world w = {.time_ns = 1000, .value_size_max = 1 << 20};

    w.tree = tree_new();
    w.session = world_open(&w, 1);
    return w;
}

static inline void world_done(struct world *w)
{
    txn_result_done(&w->last);
    tree_free(w->tree);
}

static inline int world_create_type(struct world *w, uint64_t dir, const char *name,
                                    enum node_type type, uint32_t flags, const char *value)
{
    struct request r = {.op = OP_CREATE};
    int err;

    r.u.create.dir = dir;
    r.u.create.name = name_of(name);
    r.u.create.type = type;
    r.u.create.mode = 0644;
    r.u.create.uid = 7;
    r.u.create.gid = 8;
    r.u.create.flags = flags;
    r.u.create.value = value != NULL ? blob_new(value, strlen(value)) : NULL;
    err = world_run(w, r);
    blob_unref(r.u.create.value);
    return err;
}

static inline int world_create(struct world *w, uint64_t dir, const char *name, const char *value)
{
    return world_create_type(w, dir, name, NODE_FILE, 0, value);
}

static inline int world_mkdir(struct world *w, uint64_t dir, const char *name)
{
    return world_create_type(w, dir, name, NODE_DIR, 0, NULL);
}

static inline uint64_t world_made(const struct world *w) /* id, after a create */
{
    return w->last.reply.u.create.attr.id;
}

static inline int world_set(struct world *w, uint64_t id, uint64_t if_version, const char *value)
{
    struct request r = {.op = OP_SET};
    int err;

    r.u.set.id = id;
    r.u.set.if_version = if_version;
    r.u.set.value = blob_new(value, strlen(value));
    err = world_run(w, r);
    blob_unref(r.u.set.value);
    return err;
}

static inline int world_append(struct world *w, uint64_t id, const char *value)
{
    struct request r = {.op = OP_APPEND};
    int err;

    r.u.append.id = id;
    r.u.append.value = blob_new(value, strlen(value));
    err = world_run(w, r);
    blob_unref(r.u.append.value);
    return err;
}

static inline int world_remove(struct world *w, uint64_t dir, const char *name, uint32_t flags)
{
    struct request r = {.op = OP_REMOVE};

    r.u.remove.dir = dir;
    r.u.remove.name = name_of(name);
    r.u.remove.flags = flags;
    return world_run(w, r);
}

/* `value` NULL: none. */
static inline int world_setxattr(struct world *w, uint64_t id, const char *name, const char *value,
                                 uint32_t flags)
{
    struct request r = {.op = OP_SETXATTR};
    int err;

    r.u.setxattr.id = id;
    r.u.setxattr.name = name_of(name);
    r.u.setxattr.value = value != NULL ? blob_new(value, strlen(value)) : NULL;
    r.u.setxattr.flags = flags;
    err = world_run(w, r);
    blob_unref(r.u.setxattr.value);
    return err;
}

static inline struct attr world_attr(const struct world *w, uint64_t id)
{
    struct attr a;

    cr_assert_not_null(tree_node(w->tree, id));
    tree_node_attr(tree_node(w->tree, id), &a);
    return a;
}

static inline bool world_value_is(const struct world *w, uint64_t id, const char *bytes,
                                  size_t size)
{
    struct blob *b = tree_node_value(tree_node(w->tree, id));
    bool same = b == NULL ? size == 0 : b->size == size && memcmp(b->data, bytes, size) == 0;

    blob_unref(b);
    return same;
}

static inline struct buf image_of_world(const struct tree *t) /* buf_done() */
{
    struct buf b = {0};
    struct tree_image it;
    size_t size;

    tree_image_begin(&it, t);
    do {
        buf_reserve(&b, 4096);
        size = tree_image_read(&it, b.data + b.size, 4096);
        b.size += size;
    } while (size > 0);
    return b;
}

/* Goes on with what a member has that got the image: the same, but for the addresses. */
static inline void world_reload(struct world *w)
{
    struct buf image = image_of_world(w->tree);
    struct tree_loader *l = tree_loader_new();
    struct tree *loaded = NULL;

    cr_assert_eq(tree_loader_feed(l, image.data, image.size), 0);
    cr_assert_eq(tree_loader_finish(l, &loaded), 0);
    cr_assert_eq(tree_audit(loaded), tree_digest(w->tree));
    buf_done(&image);
    txn_result_done(&w->last);
    tree_free(w->tree);
    w->tree = loaded;
}

static inline bool name_equals(struct name name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.bytes, text, name.size) == 0;
}

/* One random transaction, valid or not: small name and id ranges, so that most kinds of success and
 * refusal come up, retries included. Depends on nothing but the generator. */
struct random_txns {
    struct prng prng;
    uint64_t sessions[4];
    uint64_t xids[4];
    uint64_t node_last; /* id given out last */
    uint64_t dirs[4];   /* some directories, gone by now or not */
    char name[16], to_name[2];
    char xattr[32];
    char paths[3][16]; /* of the steps of a transaction */
    struct txn_step steps[3];
    uint32_t errors[40]; /* replies with each error, by -err; of them [0]: none */
};

static inline struct blob *random_value(struct prng *p)
{
    uint64_t kind = prng_below(p, 50);
    size_t size = kind == 0 ? 20000 : kind < 10 ? 0 : prng_below(p, 200);
    struct blob *b = blob_new_uninit(size);

    for (size_t i = 0; i < size; i++) {
        b->data[i] = (uint8_t)prng_next(p);
    }
    return b;
}

static inline uint64_t random_dir(struct random_txns *x)
{
    return x->dirs[prng_below(&x->prng, 4)];
}

static inline void random_create(struct random_txns *x, struct request *r, uint64_t id)
{
    struct prng *p = &x->prng;

    r->op = OP_CREATE;
    r->u.create.dir = prng_below(p, 3) ? TREE_ROOT_ID : prng_below(p, 2) ? random_dir(x) : id;
    r->u.create.type = (enum node_type)(1 + prng_below(p, 3));
    r->u.create.name = (struct name){x->name, 1 + (uint32_t)prng_below(p, 2)};
    r->u.create.flags = prng_below(p, 4) == 0 ? CREATE_SEQUENTIAL : 0;
    r->u.create.mode = (uint32_t)prng_below(p, 010000);
    r->u.create.value = r->u.create.type == NODE_DIR ? NULL : random_value(p);
    r->u.create.life = prng_below(p, 5) == 0 ? (enum node_life)prng_below(p, 3) : LIFE_PERMANENT;
    if (prng_below(p, 12) == 0) {
        r->u.create.name = name_of(".data");
    }
}

static inline struct blob *random_setting(struct prng *p, bool quota)
{
    static const char *const values[] = {"open", "session", "never", "300 3",
                                         "- 2",  "1G 100",  "100 -", "1 1 "};
    const char *v =
        values[prng_below(p, 3) == 0 ? prng_below(p, 8)
                                     : (quota ? 3 + prng_below(p, 4) : prng_below(p, 2))];

    return blob_new(v, strlen(v));
}

static inline void random_setxattr(struct random_txns *x, struct request *r, uint64_t id)
{
    struct prng *p = &x->prng;
    uint64_t kind = prng_below(p, 8);

    r->op = OP_SETXATTR;
    r->u.setxattr.id = prng_below(p, 20) == 0 ? TREE_ROOT_ID : id;
    r->u.setxattr.flags = prng_below(p, 3) == 0 ? (uint32_t)prng_below(p, SETXATTR_ALL + 1) : 0;
    if (kind < 3) {
        r->u.setxattr.id = random_dir(x); /* not of the root, which would stop everything */
        r->u.setxattr.name = name_of(kind == 0 ? "user.zabfs.ephemeral" : "user.zabfs.quota");
        r->u.setxattr.value = random_setting(p, kind > 0);
        return;
    }
    snprintf(x->xattr, sizeof(x->xattr), "%s%u", kind < 7 ? "user." : "trusted.",
             (unsigned)prng_below(p, 6));
    r->u.setxattr.name = name_of(x->xattr);
    r->u.setxattr.value = random_value(p);
}

static inline void random_remove(struct random_txns *x, struct request *r, uint64_t id)
{
    struct prng *p = &x->prng;

    r->op = OP_REMOVE;
    r->u.remove.flags = (uint32_t)prng_below(p, prng_below(p, 5) == 0 ? REMOVE_ALL + 1 : 2);
    if (prng_below(p, 6) == 0) {
        r->u.remove.id = id;
        return;
    }
    r->u.remove.dir = prng_below(p, 2) ? TREE_ROOT_ID : id;
    r->u.remove.name = (struct name){x->name, 1 + (uint32_t)prng_below(p, 2)};
    if (prng_below(p, 20) == 0) {
        r->u.remove.name = name_of(".data");
    }
}

static inline void random_setattr(struct random_txns *x, struct request *r, uint64_t id)
{
    struct prng *p = &x->prng;

    r->op = OP_SETATTR;
    r->u.setattr.id = id;
    r->u.setattr.mask = (uint32_t)prng_below(p, SETATTR_ALL + 1);
    r->u.setattr.mode = (uint32_t)prng_below(p, 4);
    r->u.setattr.uid = (uint32_t)prng_below(p, 2);
    r->u.setattr.size = prng_below(p, 300);
    r->u.setattr.mtime_ns = (int64_t)prng_below(p, 3);
}

static inline void random_session(struct random_txns *x, struct txn *txn, uint64_t which)
{
    struct request *r = &txn->request;

    txn->session = 0;
    if (prng_below(&x->prng, 4) == 0) {
        r->op = OP_SESSION_CLOSE;
        r->u.session_close.session = x->sessions[which];
        return;
    }
    r->op = OP_SESSION_OPEN;
    r->u.session_open.key.bytes[0] = (uint8_t)which;
    r->u.session_open.timeout_ms = (uint32_t)prng_below(&x->prng, 10000000);
    r->u.session_open.label = name_of("random");
}

static inline void random_rename(struct random_txns *x, struct request *r, uint64_t id)
{
    struct prng *p = &x->prng;

    x->to_name[0] = (char)('a' + prng_below(p, 20));
    r->op = OP_RENAME;
    r->u.rename.dir = prng_below(p, 2) ? TREE_ROOT_ID : id;
    r->u.rename.name = (struct name){x->name, 1 + (uint32_t)prng_below(p, 2)};
    r->u.rename.to_dir = prng_below(p, 2) ? TREE_ROOT_ID : random_dir(x);
    r->u.rename.to_name = prng_below(p, 10) == 0 ? name_of(".data") : (struct name){x->to_name, 1};
    r->u.rename.flags = prng_below(p, 4) == 0 ? (uint32_t)prng_below(p, RENAME_FLAG_ALL + 1) : 0;
}

static inline void random_lock(struct random_txns *x, struct request *r)
{
    struct prng *p = &x->prng;
    uint64_t back = prng_below(p, 8); /* few nodes, so that someone waits */
    struct lock *l = &r->u.lock.lock;

    r->op = OP_LOCK;
    r->u.lock.id = x->node_last / 64 * 64 > back ? x->node_last / 64 * 64 - back : 2;
    l->kind = prng_below(p, 2) ? LOCK_KIND_FLOCK : LOCK_KIND_POSIX;
    l->type = (enum lock_type)prng_below(p, 3);
    l->owner = prng_below(p, 2);
    l->start = l->kind == LOCK_KIND_FLOCK ? 0 : prng_below(p, 10);
    l->end = prng_below(p, 3) > 0 ? UINT64_MAX : prng_below(p, 10);
    r->u.lock.wait = prng_below(p, 4) > 0;
}

static inline void random_multi(struct random_txns *x, struct request *r)
{
    struct prng *p = &x->prng;
    struct txn_step *s = x->steps;

    r->op = OP_TXN;
    r->u.txn.steps = s;
    r->u.txn.count = 1 + (uint32_t)prng_below(p, 3);
    memset(s, 0, sizeof(x->steps));
    for (uint32_t i = 0; i < r->u.txn.count; i++) {
        size_t size;

        snprintf(x->paths[i], sizeof(x->paths[i]), "/%c%s", (char)('a' + prng_below(p, 20)),
                 prng_below(p, 3) ? "" : "/b#");
        size = strlen(x->paths[i]);
        s[i].kind = (enum txn_step_kind)(TXN_CHECK + prng_below(p, TXN_RENAME));
        s[i].path = (struct name){x->paths[i], (uint32_t)size};
        s[i].value = s[i].kind == TXN_RENAME  ? blob_new(x->paths[0], 2)
                     : s[i].kind == TXN_MKDIR ? NULL
                                              : random_value(p);
    }
}

/* The caller fills in the index and releases with random_txn_done(). */
static inline struct txn random_txn(struct random_txns *x)
{
    struct prng *p = &x->prng;
    struct txn txn = {.value_size_max = 10000, .time_ns = (int64_t)prng_below(p, 1u << 30)};
    struct request *r = &txn.request;
    uint64_t which = prng_below(p, 4);
    uint64_t back = prng_below(p, 60);
    uint64_t id = x->node_last > back ? x->node_last - back : TREE_ROOT_ID;

    x->name[0] = (char)('a' + prng_below(p, 20));
    x->name[1] = (char)('a' + prng_below(p, 5));
    txn.session = x->sessions[which];
    r->xid = prng_below(p, 10) == 0 ? x->xids[which] - prng_below(p, 5) : ++x->xids[which];
    r->xid_floor = x->xids[which] > 10 ? x->xids[which] - prng_below(p, 10) : 0;
    switch (prng_below(p, 17)) {
    case 0:
    case 1:
    case 2:
    case 3:
        random_create(x, r, id);
        break;
    case 4:
    case 5:
        r->op = OP_SET;
        r->u.set.id = id;
        r->u.set.if_version = prng_below(p, 3);
        r->u.set.value = random_value(p);
        break;
    case 6:
        r->op = OP_APPEND;
        r->u.append.id = id;
        r->u.append.value = random_value(p);
        break;
    case 7:
        random_setattr(x, r, id);
        break;
    case 8:
    case 9:
    case 10:
        random_remove(x, r, id);
        break;
    case 11:
        random_setxattr(x, r, id);
        break;
    case 13:
        random_rename(x, r, id);
        break;
    case 14:
    case 15:
        random_lock(x, r);
        break;
    case 16:
        random_multi(x, r);
        break;
    default:
        if (prng_below(p, 5) == 0 || x->sessions[which] == 0) {
            random_session(x, &txn, which);
        } else {
            random_create(x, r, id);
        }
    }
    return txn;
}

static inline void random_txn_done(struct txn *txn)
{
    switch (txn->request.op) {
    case OP_CREATE:
        blob_unref(txn->request.u.create.value);
        break;
    case OP_SET:
        blob_unref(txn->request.u.set.value);
        break;
    case OP_APPEND:
        blob_unref(txn->request.u.append.value);
        break;
    case OP_SETXATTR:
        blob_unref(txn->request.u.setxattr.value);
        break;
    case OP_TXN:
        for (uint32_t i = 0; i < txn->request.u.txn.count; i++) {
            blob_unref(txn->request.u.txn.steps[i].value);
        }
        break;
    default:
        break;
    }
}

/* Learns the ids that sessions and nodes were given. */
static inline void random_txn_heard(struct random_txns *x, const struct txn *txn,
                                    const struct txn_result *result)
{
    x->errors[-result->reply.err]++;
    for (int i = 0; i < 4; i++) {
        if (result->session_gone != 0 && x->sessions[i] == result->session_gone) {
            x->sessions[i] = 0;
        }
    }
    if (txn->request.op == OP_SESSION_OPEN) {
        uint8_t which = txn->request.u.session_open.key.bytes[0];

        if (x->sessions[which] != result->session) {
            x->xids[which] = 100;
        }
        x->sessions[which] = result->session;
    } else if (result->reply.op == OP_CREATE && result->reply.err == 0) {
        x->node_last = result->reply.u.create.attr.id;
        if (result->reply.u.create.attr.type == NODE_DIR) {
            x->dirs[x->node_last % 4] = x->node_last;
        }
    }
}

static inline void random_txns_apply(struct random_txns *x, struct tree *t, int count)
{
    for (int i = 0; i < count; i++) {
        struct txn txn = random_txn(x);
        struct txn_result result;

        txn.index = tree_index(t) + 1;
        tree_apply(t, &txn, &result);
        random_txn_heard(x, &txn, &result);
        txn_result_done(&result);
        random_txn_done(&txn);
    }
}

#endif
