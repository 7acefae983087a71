/* Reads of the past, against copies of every state that there was. */
#include "mem.h"
#include "test_tree_help.h"
#include "tree_int.h"

/* --- a copy of a whole state ------------------------------------------------------------------ */

struct copy {
    struct attr attr;
    uint64_t cookie;
    struct blob *value; /* a reference */
    uint32_t name_size;
    char name[NAME_SIZE_MAX];
};

struct state {
    uint64_t index;
    size_t count;
    struct copy *nodes; /* by rising id */
};

static struct state state_copy(const struct tree *t)
{
    struct state s = {.index = tree_index(t)};

    s.nodes = mem_zalloc((size_t)tree_node_count(t) * sizeof(*s.nodes));
    for (uint64_t id = 1; s.count < tree_node_count(t); id++) {
        const struct tree_node *n = tree_node(t, id);
        struct copy *c = &s.nodes[s.count];

        if (n == NULL) {
            continue;
        }
        tree_node_attr(n, &c->attr);
        c->cookie = tnode_cookie(n);
        c->value = tree_node_value(n);
        c->name_size = n->name_size;
        memcpy(c->name, tnode_name(n), n->name_size);
        s.count++;
    }
    return s;
}

static void state_done(struct state *s)
{
    for (size_t i = 0; i < s->count; i++) {
        blob_unref(s->nodes[i].value);
    }
    mem_free(s->nodes);
}

static const struct copy *copy_of(const struct state *s, uint64_t id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->nodes[i].attr.id == id) {
            return &s->nodes[i];
        }
    }
    return NULL;
}

static const struct copy *copy_at(const struct state *s, uint64_t dir, struct name name)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct copy *c = &s->nodes[i];

        if (c->attr.parent == dir && c->name_size == name.size && name.size > 0 &&
            memcmp(c->name, name.bytes, name.size) == 0) {
            return c;
        }
    }
    return NULL;
}

/* The child with the lowest cookie above `after`. */
static const struct copy *copy_next(const struct state *s, uint64_t dir, uint64_t after)
{
    const struct copy *best = NULL;

    for (size_t i = 0; i < s->count; i++) {
        const struct copy *c = &s->nodes[i];

        if (c->attr.parent == dir && c->attr.id != dir && c->cookie > after &&
            (best == NULL || c->cookie < best->cookie)) {
            best = c;
        }
    }
    return best;
}

/* --- comparing ------------------------------------------------------------------------------- */

static void assert_same(const struct copy *c, const struct tree_past *p, uint64_t index)
{
    cr_assert_eq(memcmp(&c->attr, &p->attr, sizeof(c->attr)), 0, "node %lu as of %lu",
                 (unsigned long)c->attr.id, (unsigned long)index);
    cr_assert_eq(c->name_size, p->name.size);
    cr_assert_eq(memcmp(c->name, p->name.bytes, c->name_size), 0);
}

static bool same_bytes(const struct blob *a, const struct blob *b)
{
    return a == NULL || b == NULL ? a == b
                                  : a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* As tree_past_get(), without the value. */
static int past_get(const struct tree *t, uint64_t index, uint64_t id, struct tree_past *ret)
{
    int err = tree_past_get(t, index, id, ret);

    if (err == 0) {
        blob_unref(ret->value);
        ret->value = NULL;
    }
    return err;
}

static bool past_value_is(const struct tree *t, uint64_t index, uint64_t id, const char *text)
{
    struct tree_past p;
    bool same;

    cr_assert_eq(tree_past_get(t, index, id, &p), 0);
    same = p.value != NULL && p.value->size == strlen(text) &&
           memcmp(p.value->data, text, p.value->size) == 0;
    blob_unref(p.value);
    return same;
}

struct listing {
    const struct state *s;
    uint64_t dir, after;
    int room;
};

static bool check_child(void *ctx, uint64_t cookie, const struct tree_past *child)
{
    struct listing *l = ctx;
    const struct copy *c = copy_next(l->s, l->dir, l->after);

    if (l->room-- == 0) {
        return false;
    }
    cr_assert_not_null(c, "one too many in %lu as of %lu", (unsigned long)l->dir,
                       (unsigned long)l->s->index);
    cr_assert_eq(c->cookie, cookie);
    assert_same(c, child, l->s->index);
    l->after = cookie;
    return true;
}

static void check_listing(const struct tree *t, const struct state *s, uint64_t dir, int page)
{
    struct listing l = {.s = s, .dir = dir};
    bool end = false;

    while (!end) {
        l.room = page;
        cr_assert_eq(tree_past_readdir(t, s->index, dir, l.after, check_child, &l, &end), 0);
    }
    cr_assert_null(copy_next(s, dir, l.after), "one is missing");
}

/* All that was in this state is found in the past of now, and nothing that was not. */
static void check_state(const struct tree *t, const struct state *s, uint64_t id_last)
{
    static const char letters[] = "abcdefghijklmnopqrst";
    struct tree_past p;

    for (uint64_t id = 0; id <= id_last + 1; id++) {
        const struct copy *c = copy_of(s, id);
        int err = tree_past_get(t, s->index, id, &p);
        bool end;

        cr_assert_eq(err, c != NULL ? 0 : ERR_NOENT, "node %lu as of %lu", (unsigned long)id,
                     (unsigned long)s->index);
        if (c == NULL) {
            cr_assert_eq(tree_past_lookup(t, s->index, id, name_of("a"), &p), ERR_NOENT);
            cr_assert_eq(tree_past_readdir(t, s->index, id, 0, check_child, NULL, &end), ERR_NOENT);
            continue;
        }
        assert_same(c, &p, s->index);
        cr_assert(same_bytes(c->value, p.value));
        blob_unref(p.value);
        if (id != TREE_ROOT_ID) {
            struct name name = {c->name, c->name_size};

            cr_assert_eq(tree_past_lookup(t, s->index, c->attr.parent, name, &p), 0);
            assert_same(c, &p, s->index);
        }
        if (c->attr.type != NODE_DIR) {
            cr_assert_eq(tree_past_lookup(t, s->index, id, name_of("a"), &p), ERR_NOTDIR);
            cr_assert_eq(tree_past_readdir(t, s->index, id, 0, check_child, NULL, &end),
                         ERR_NOTDIR);
            continue;
        }
        for (uint32_t i = 0; i < sizeof(letters); i++) {
            struct name name = {letters + i, i + 1 < sizeof(letters)}; /* the last one is empty */
            const struct copy *at = copy_at(s, id, name);

            err = tree_past_lookup(t, s->index, id, name, &p);
            cr_assert_eq(err, at != NULL ? 0 : ERR_NOENT);
        }
        check_listing(t, s, id, 1000);
        check_listing(t, s, id, 1);
        check_listing(t, s, id, 3);
    }
}

/* --- random transactions ---------------------------------------------------------------------- */

struct run { /* the same entries, with a history and without */
    struct random_txns x;
    struct tree *t, *plain;
};

static int steps_done, steps_refused; /* transactions of several steps, in all runs of a test */

static void learn(struct run *run, const struct txn *txn, const struct txn_result *result)
{
    const struct reply *r = &result->reply;
    struct random_txns *x = &run->x;

    if (r->err != 0 || result->duplicate) {
        return;
    }
    if (r->op == OP_CREATE) {
        x->node_last = r->u.create.attr.id;
    } else if (r->op == OP_SESSION_OPEN) {
        x->sessions[txn->request.u.session_open.key.bytes[0]] = result->session;
    } else if (r->op == OP_TXN) {
        *(r->u.txn.err == 0 ? &steps_done : &steps_refused) += 1;
        for (uint32_t i = 0; i < r->u.txn.count; i++) {
            uint64_t id = r->u.txn.list[i].id;

            x->node_last = id > x->node_last ? id : x->node_last;
        }
    }
}

static void apply(struct run *run, struct txn *txn)
{
    struct txn_result result;

    txn->index = tree_index(run->t) + 1;
    tree_apply(run->plain, txn, &result);
    txn_result_done(&result);
    tree_apply(run->t, txn, &result);
    learn(run, txn, &result);
    txn_result_done(&result);
}

static void open_sessions(struct run *run)
{
    for (uint8_t i = 0; i < 4; i++) {
        struct txn txn = {.request = {.op = OP_SESSION_OPEN}};

        txn.request.u.session_open.key.bytes[0] = i;
        apply(run, &txn);
    }
}

static void apply_random(struct run *run)
{
    struct txn txn = random_txn(&run->x);

    apply(run, &txn);
    random_txn_done(&txn);
}

static void run_random(uint64_t seed, int entries, uint32_t changes_max, size_t bytes_max)
{
    struct run run = {.x = {.prng = {seed}, .node_last = 1}, .t = tree_new(), .plain = tree_new()};
    struct state *states = mem_zalloc((size_t)(entries + 1) * sizeof(*states));
    uint64_t floor;

    open_sessions(&run);
    tree_history_keep(run.t, changes_max, bytes_max);
    states[0] = state_copy(run.t);
    for (int i = 1; i <= entries; i++) {
        apply_random(&run);
        states[i] = state_copy(run.t);
    }
    cr_assert_eq(tree_digest(run.t), tree_digest(run.plain), "no part of the state");
    cr_assert_eq(tree_audit(run.t), tree_digest(run.t));
    floor = tree_history_floor(run.t);
    for (int i = 0; i <= entries; i++) {
        struct tree_past p;

        if (states[i].index >= floor) {
            check_state(run.t, &states[i], run.x.node_last);
        } else {
            cr_assert_eq(past_get(run.t, states[i].index, TREE_ROOT_ID, &p), ERR_COMPACTED);
        }
        state_done(&states[i]);
    }
    mem_free(states);
    tree_free(run.t);
    tree_free(run.plain);
}

Test(tree_history, every_state_is_as_it_was)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        run_random(seed, 300, 1000000, 1 << 30);
    }
    cr_assert(steps_done > 10 && steps_refused > 10, "%d, %d", steps_done, steps_refused);
}

Test(tree_history, what_is_kept_within_bounds_is_as_it_was)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        run_random(seed, 300, 100, 1 << 30);
        run_random(seed, 300, 1000000, 3000);
        run_random(seed, 300, 1, 1 << 30);
    }
}

/* --- single properties ------------------------------------------------------------------------ */

Test(tree_history, without_a_history_only_now_is_known)
{
    struct world w = world_new();
    struct tree_past p;
    uint64_t now;

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "one"), 0);
    now = tree_index(w.tree);
    cr_assert_eq(tree_history_floor(w.tree), now);
    cr_assert_eq(tree_past_lookup(w.tree, now, TREE_ROOT_ID, name_of("a"), &p), 0);
    cr_assert_eq(past_get(w.tree, now - 1, TREE_ROOT_ID, &p), ERR_COMPACTED);
    cr_assert_eq(past_get(w.tree, now + 1, TREE_ROOT_ID, &p), ERR_INVAL);
    world_done(&w);
}

Test(tree_history, it_begins_when_it_is_asked_for_and_ends_likewise)
{
    struct world w = world_new();
    struct tree_past p;
    uint64_t before, id;

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "one"), 0);
    id = world_made(&w);
    before = tree_index(w.tree);
    tree_history_keep(w.tree, 10, 1000);
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "two"), 0);
    cr_assert_eq(past_get(w.tree, before, id, &p), 0);
    cr_assert_eq(p.attr.version, 1);
    cr_assert(past_value_is(w.tree, before, id, "one"));
    cr_assert_eq(past_get(w.tree, before - 1, id, &p), ERR_COMPACTED);
    tree_history_keep(w.tree, 0, 0);
    cr_assert_eq(past_get(w.tree, before, id, &p), ERR_COMPACTED);
    world_done(&w);
}

Test(tree_history, the_oldest_entries_go_first)
{
    struct world w = world_new();
    struct tree_past p;
    uint64_t first, id;

    tree_history_keep(w.tree, 3, 1 << 20);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "0"), 0); /* a note of the root */
    id = world_made(&w);
    first = tree_index(w.tree);
    for (int i = 1; i <= 2; i++) {
        cr_assert_eq(world_set(&w, id, VERSION_ANY, "x"), 0);
    }
    cr_assert_eq(tree_history_floor(w.tree), first - 1);
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "x"), 0);
    cr_assert_eq(tree_history_floor(w.tree), first);
    cr_assert_eq(past_get(w.tree, first, id, &p), 0);
    cr_assert_eq(p.attr.version, 1);
    world_done(&w);
}

/* A value counts for each note that refers to it, shared or not. */
Test(tree_history, a_value_counts_for_each_note)
{
    struct world w = world_new();
    struct request chmod = {.op = OP_SETATTR, .u.setattr.mask = SETATTR_MODE};
    uint64_t id;
    char value[901];

    memset(value, 'v', 900);
    value[900] = '\0';
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", value), 0);
    id = world_made(&w);
    tree_history_keep(w.tree, 10, 1000);
    chmod.u.setattr.id = id;
    for (uint32_t i = 0; i < 30; i++) {
        chmod.u.setattr.mode = 0600 + i % 2;
        cr_assert_eq(world_run(&w, chmod), 0);
        cr_assert_eq(tree_history_floor(w.tree), tree_index(w.tree) - 1);
    }
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "short"), 0);
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "shorter"), 0);
    cr_assert_eq(tree_history_floor(w.tree), tree_index(w.tree) - 2);
    world_done(&w);
}

/* Notes go into the tables with the first question, leave them when nobody asks for long, and come
 * back: what they say is the same. */
Test(tree_history, the_tables_come_and_go)
{
    struct world w = world_new();
    struct tree_past p;
    uint64_t id;

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "0"), 0);
    id = world_made(&w);
    tree_history_keep(w.tree, 5, 1000);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3 + 5 * round; i++) {
            cr_assert_eq(world_set(&w, id, VERSION_ANY, "1"), 0);
        }
        for (uint64_t at = tree_history_floor(w.tree); at <= tree_index(w.tree); at++) {
            cr_assert_eq(past_get(w.tree, at, id, &p), 0);
            cr_assert_eq(p.attr.mzxid, at);
        }
    }
    world_done(&w);
}

/* The note of a place tells who was there later, too: it had come there behind the index asked for.
 */
Test(tree_history, a_name_is_free_before_a_node_came_to_it)
{
    struct world w = world_new();
    struct request move = {.op = OP_RENAME, .u.rename = {.dir = TREE_ROOT_ID}};
    struct tree_past p;
    uint64_t before, id;

    tree_history_keep(w.tree, 100, 1 << 20);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "one"), 0);
    id = world_made(&w);
    before = tree_index(w.tree);
    move.u.rename.to_dir = TREE_ROOT_ID;
    move.u.rename.name = name_of("a");
    move.u.rename.to_name = name_of("b");
    cr_assert_eq(world_run(&w, move), 0);
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "two"), 0);
    cr_assert_eq(tree_past_lookup(w.tree, before, TREE_ROOT_ID, name_of("b"), &p), ERR_NOENT);
    cr_assert_eq(tree_past_lookup(w.tree, before, TREE_ROOT_ID, name_of("a"), &p), 0);
    cr_assert_eq(tree_past_lookup(w.tree, before + 1, TREE_ROOT_ID, name_of("b"), &p), 0);
    cr_assert_eq(tree_past_lookup(w.tree, before + 1, TREE_ROOT_ID, name_of("a"), &p), ERR_NOENT);
    world_done(&w);
}

/* Not even by driving out what was kept before. */
Test(tree_history, a_refused_transaction_leaves_no_trace)
{
    static const char *const paths[] = {"/b", "/c", "/d", "/e", "/f", "/none"};
    struct world w = world_new();
    struct txn_step steps[6];
    struct request r = {.op = OP_TXN, .u.txn = {.count = 6, .steps = steps}};
    struct tree_past p;
    uint64_t before, id;

    for (int i = 0; i < 5; i++) {
        steps[i] = (struct txn_step){.kind = TXN_SET, .path = name_of(paths[i])};
        cr_assert_eq(world_create(&w, TREE_ROOT_ID, paths[i] + 1, "one"), 0);
    }
    steps[5] = (struct txn_step){.kind = TXN_DELETE, .path = name_of(paths[5])};
    id = world_made(&w);
    tree_history_keep(w.tree, 4, 1 << 20);
    before = tree_index(w.tree);
    cr_assert_eq(world_set(&w, id, VERSION_ANY, "two"), 0);
    cr_assert_eq(world_run(&w, r), 0);
    cr_assert_eq(w.last.reply.u.txn.err, ERR_NOENT);
    cr_assert_eq(tree_history_floor(w.tree), before);
    cr_assert_eq(past_get(w.tree, before, id, &p), 0);
    cr_assert(past_value_is(w.tree, before, id, "one"));
    cr_assert_eq(past_get(w.tree, before + 1, id, &p), 0);
    cr_assert_eq(p.attr.version, 2);
    world_done(&w);
}

/* An entry with more changes than are kept leaves nothing behind, and does no harm. */
Test(tree_history, an_entry_above_the_bounds_is_not_kept)
{
    struct world w = world_new();
    struct tree_past p;
    uint64_t id;

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a", "one"), 0);
    id = world_made(&w);
    tree_history_keep(w.tree, 1, 1 << 20);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "a", 0), 0); /* notes of the node and the root */
    cr_assert_eq(tree_history_floor(w.tree), tree_index(w.tree));
    cr_assert_eq(past_get(w.tree, tree_index(w.tree), id, &p), ERR_NOENT);
    cr_assert_eq(past_get(w.tree, tree_index(w.tree) - 1, id, &p), ERR_COMPACTED);
    world_done(&w);
}
