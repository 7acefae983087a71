#include "limits.h"
#include "test_tree_help.h"

/* Random transactions on a tree that has a bit of everything: what is refused leaves every byte of
 * the state as it was. The proof is a twin, loaded from the state before, that is asked for
 * something which is refused at its first step: once both replies are forgotten, both images are
 * the same. */

struct play {
    struct world w;
    struct prng prng;
    uint64_t id_max;    /* about the newest node */
    char paths[64][32]; /* of the transaction that is being made */
    uint32_t path_count;
};

/* The path of a node that is there before the transaction; false: none was hit. */
static bool existing_path(struct play *p, char *path, size_t cap, bool dir)
{
    char whole[PATH_SIZE_MAX];
    struct attr a;

    for (int i = 0; i < 20; i++) {
        uint64_t id = 1 + prng_below(&p->prng, p->id_max);
        size_t size = tree_node_path(p->w.tree, id, whole);

        if (tree_node(p->w.tree, id) == NULL || size >= cap) {
            continue;
        }
        tree_node_attr(tree_node(p->w.tree, id), &a);
        if (!dir || a.type == NODE_DIR) {
            memcpy(path, whole, size);
            path[size] = '\0';
            return true;
        }
    }
    return false;
}

static const char *random_path(struct play *p, bool to_create)
{
    char *path = p->paths[p->path_count++];
    bool is_new = to_create || prng_below(&p->prng, 5) == 0;
    size_t size;

    path[0] = '\0';
    if (!existing_path(p, path, 20, is_new) || !is_new) {
        return path;
    }
    size = strlen(path);
    if (prng_below(&p->prng, 12) == 0) {
        snprintf(path + size, 32 - size, "/.data");
    } else {
        snprintf(path + size, 32 - size, "/%c%s", (char)('a' + prng_below(&p->prng, 12)),
                 to_create && prng_below(&p->prng, 3) == 0 ? "#" : "");
    }
    return path;
}

static struct txn_step random_step(struct play *p)
{
    static const enum txn_step_kind kinds[] = {TXN_CREATE, TXN_CREATE, TXN_MKDIR,  TXN_MKDIR,
                                               TXN_SET,    TXN_APPEND, TXN_DELETE, TXN_RENAME,
                                               TXN_RENAME, TXN_SYMLINK};
    enum txn_step_kind kind = kinds[prng_below(&p->prng, 10)];
    struct txn_step s = {.kind = kind};

    s.path = name_of(random_path(p, kind <= TXN_SYMLINK));
    if (kind == TXN_RENAME) {
        const char *to = random_path(p, prng_below(&p->prng, 3) > 0);

        s.value = blob_new(to, strlen(to));
    } else if (kind != TXN_MKDIR && kind != TXN_DELETE) {
        s.value = random_value(&p->prng);
    }
    return s;
}

static uint32_t random_steps(struct play *p, struct txn_step *steps)
{
    uint32_t count = 1 + (uint32_t)prng_below(&p->prng, 8);

    p->path_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        steps[i] = random_step(p);
    }
    return count;
}

static uint64_t random_id(struct play *p)
{
    for (;;) {
        uint64_t id = 1 + prng_below(&p->prng, p->id_max);

        if (id == TREE_ROOT_ID || tree_node(p->w.tree, id) != NULL) {
            return id;
        }
    }
}

/* One request that gives nodes what a transaction does not: attributes, rules, quotas, locks,
 * lives. Most are refused, which is fine. */
static void spice(struct play *p)
{
    struct prng *prng = &p->prng;
    static const char *const rules[] = {"open", "session"};
    struct request r = {.op = OP_SETXATTR};
    const char *value = "v";

    switch (prng_below(prng, 5)) {
    case 0:
        r.u.setxattr.name = name_of(prng_below(prng, 2) ? "user.a" : "user.b");
        break;
    case 1:
        r.u.setxattr.name = name_of("user.zabfs.ephemeral");
        value = rules[prng_below(prng, 2)];
        break;
    case 2:
        r.u.setxattr.name = name_of("user.zabfs.quota");
        value = prng_below(prng, 2) ? "20K 60" : "- 90";
        break;
    case 3:
        r.op = OP_LOCK;
        r.u.lock.id = random_id(p);
        r.u.lock.lock = (struct lock){
            LOCK_KIND_FLOCK, LOCK_TYPE_EXCLUSIVE, prng_below(prng, 3), 0, UINT64_MAX, 0};
        r.u.lock.wait = true;
        world_run(&p->w, r);
        return;
    default:
        r.op = OP_CREATE;
        r.u.create.dir = random_id(p);
        r.u.create.name = (struct name){"klm" + prng_below(prng, 3), 1};
        r.u.create.type = NODE_FILE;
        r.u.create.life = LIFE_SESSION;
        world_run(&p->w, r);
        return;
    }
    r.u.setxattr.id = random_id(p);
    r.u.setxattr.value = blob_new(value, strlen(value));
    world_run(&p->w, r);
    blob_unref(r.u.setxattr.value);
}

static struct tree *twin_of(const struct tree *t)
{
    struct buf image = image_of_world(t);
    struct tree_loader *l = tree_loader_new();
    struct tree *twin = NULL;

    cr_assert_eq(tree_loader_feed(l, image.data, image.size), 0);
    cr_assert_eq(tree_loader_finish(l, &twin), 0);
    buf_done(&image);
    return twin;
}

static void ask_twin(struct world *twin, struct txn_step *steps, uint32_t count)
{
    struct request r = {.op = OP_TXN};

    r.u.txn.count = count;
    r.u.txn.steps = steps;
    cr_assert_eq(world_run(twin, r), 0);
    cr_assert_neq(twin->last.reply.u.txn.err, 0);
    cr_assert_eq(world_remove(twin, TREE_ROOT_ID, "none", 0), ERR_NOENT); /* drops the slot */
}

static void compare(struct play *p, struct tree *before)
{
    struct world twin = {.tree = before, .session = p->w.session, .value_size_max = 10000};
    struct txn_step none = {.kind = TXN_CHECK, .path = name_of("/none")};
    struct buf a, b;

    twin.xid = p->w.xid - 1;
    twin.time_ns = p->w.time_ns;
    ask_twin(&twin, &none, 1);
    cr_assert_eq(world_remove(&p->w, TREE_ROOT_ID, "none", 0), ERR_NOENT);
    a = image_of_world(p->w.tree);
    b = image_of_world(twin.tree);
    cr_assert_eq(a.size, b.size);
    cr_assert_eq(memcmp(a.data, b.data, a.size), 0);
    buf_done(&a);
    buf_done(&b);
    world_done(&twin);
}

/* 0: it was carried out; else the step at which it was not. */
static uint32_t play_one(struct play *p)
{
    struct txn_step steps[8];
    struct request r = {.op = OP_TXN};
    struct tree *before = twin_of(p->w.tree);
    uint32_t failed;

    r.u.txn.count = random_steps(p, steps);
    r.u.txn.steps = steps;
    cr_assert_eq(world_run(&p->w, r), 0);
    for (uint32_t i = 0; i < r.u.txn.count; i++) {
        blob_unref(steps[i].value);
    }
    failed = p->w.last.reply.u.txn.failed;
    for (uint32_t i = 0; i < p->w.last.reply.u.txn.count; i++) {
        uint64_t id = p->w.last.reply.u.txn.list[i].id;

        p->id_max = id > p->id_max ? id : p->id_max;
    }
    cr_assert_eq(tree_audit(p->w.tree), tree_digest(p->w.tree));
    for (uint32_t i = 0; i < p->w.last.change_count; i++) {
        cr_assert_eq(p->w.last.changes[i].more, i + 1 < p->w.last.change_count);
    }
    if (failed > 0) {
        cr_assert_eq(p->w.last.change_count, 0);
        cr_assert_eq(p->w.last.grant_count, 0);
        compare(p, before);
    } else {
        tree_free(before);
    }
    return failed;
}

static void play(uint64_t seed, int count, int *done, int *undone)
{
    struct play p = {.w = world_new(), .prng = {seed}, .id_max = 1};

    p.w.value_size_max = 10000;
    tree_history_keep(p.w.tree, 100, 100000);
    for (int i = 0; i < count; i++) {
        uint32_t failed = play_one(&p);

        p.w.time_ns += 1000;
        *done += failed == 0;
        *undone += failed > 1;
        if (i % 2 == 0) {
            p.path_count = 0;
            spice(&p);
        }
    }
    world_done(&p.w);
}

Test(tree_undo, refused_transactions_leave_no_trace)
{
    int done = 0, undone = 0;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        play(seed, 150, &done, &undone);
    }
    cr_assert_gt(done, 500, "%d", done);
    cr_assert_gt(undone, 1000, "%d", undone);
}
