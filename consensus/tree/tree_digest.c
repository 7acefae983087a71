#include "tree_int.h"

#include <utlist.h>

#include "check.h"
#include "name.h"

/* The digest is the sum of the hashes of all records (tree_record.c), each seeded with what the
 * record belongs to but does not hold: a node's with the hashes of its value and its extended
 * attributes, a slot's with its session. A sum, so that a change costs the hash of what is changed,
 * before and after, whatever the size of the tree (Bellare and Micciancio's AdHash; against
 * mistakes, not adversaries). */

uint64_t value_hash(const struct blob *value)
{
    return value != NULL ? hash64(value->data, value->size, 0) : 0;
}

static uint64_t node_hash(const struct tree_node *n)
{
    uint8_t record[RECORD_SIZE_MAX];

    return hash64(record, record_put_node(n, record), tnode_value_hash(n) + xattrs_hash(n));
}

static uint64_t session_hash(const struct session *s)
{
    uint8_t record[RECORD_SIZE_MAX];

    return hash64(record, record_put_session(s, record), 0);
}

static uint64_t slot_hash(const struct session *s, const struct slot *r)
{
    uint8_t record[RECORD_SIZE_MAX];
    uint64_t sum = hash64(record, record_put_slot(r, record), s->info.id);

    for (uint32_t i = 0; i < slot_outcome_count(r); i++) {
        const struct txn_outcome *o = &r->reply.u.txn.list[i];

        sum += hash64(record, record_put_outcome(o, r->reply.xid, i, record), s->info.id);
    }
    return sum;
}

static uint64_t head_hash(const struct tree *t)
{
    uint8_t record[RECORD_SIZE_MAX];

    return hash64(record, record_put_head(t, record), 0);
}

uint64_t lock_hash(const struct tree_node *n, const struct node_lock *l)
{
    uint8_t record[RECORD_SIZE_MAX];
    struct lock_entry e;

    lock_entry_fill(n, l, &e);
    return hash64(record, record_put_lock(&e, record), n->id);
}

void digest_add_node(struct tree *t, const struct tree_node *n)
{
    t->digest += node_hash(n);
}

void digest_drop_node(struct tree *t, const struct tree_node *n)
{
    if (t->history != NULL) {
        history_note(t, n);
    }
    if (t->journal != NULL) {
        journal_fields(t, n);
    }
    t->digest -= node_hash(n);
}

void digest_add_lock(struct tree *t, const struct tree_node *n, const struct node_lock *l)
{
    t->digest += lock_hash(n, l);
}

void digest_drop_lock(struct tree *t, const struct tree_node *n, const struct node_lock *l)
{
    t->digest -= lock_hash(n, l);
}

void digest_set_fence(struct tree *t, struct tree_node *n, uint64_t fence)
{
    t->digest -= node_hash(n);
    tnode_extra_need(n)->fence = fence;
    t->digest += node_hash(n);
}

void digest_add_session(struct tree *t, const struct session *s)
{
    t->digest += session_hash(s);
}

void digest_drop_session(struct tree *t, const struct session *s)
{
    t->digest -= session_hash(s);
}

void digest_add_slot(struct tree *t, const struct session *s, const struct slot *r)
{
    t->digest += slot_hash(s, r);
}

void digest_drop_slot(struct tree *t, const struct session *s, const struct slot *r)
{
    t->digest -= slot_hash(s, r);
}

uint64_t tree_digest(const struct tree *t)
{
    return t->digest + head_hash(t);
}

/* --- audit --- */

static void audit_usage(const struct tree_node *n, const struct tree_node *child, uint64_t *nodes,
                        uint64_t *bytes)
{
    uint64_t child_nodes, child_bytes;

    CHECK(child->parent == n);
    subtree_usage(child, &child_nodes, &child_bytes);
    *nodes += child_nodes;
    *bytes += child_bytes;
}

static void audit_dir(const struct tree_node *n)
{
    const struct series *s = &n->dir->children;
    const struct tree_node *data = n->dir->data;
    uint64_t cookie = 0, nodes = 0, bytes = 0;
    size_t live = 0;
    uint32_t dirs = 0;

    if (data != NULL) {
        CHECK(data->type == NODE_FILE && name_is_data(tree_node_name(data)));
        audit_usage(n, data, &nodes, &bytes);
    }
    CHECK(s->count == 0 || s->live * 2 >= s->count);
    for (size_t i = 0; i < s->count; i++) {
        const struct tree_node *child = series_item(s, i);

        CHECK(series_key(s, i) > cookie);
        cookie = series_key(s, i);
        if (child == NULL) {
            continue;
        }
        CHECK(tnode_cookie(child) == cookie);
        CHECK(!name_is_data(tree_node_name(child)));
        audit_usage(n, child, &nodes, &bytes);
        live++;
        dirs += tnode_is_dir(child) ? 1 : 0;
    }
    CHECK(cookie <= n->dir->create_count);
    CHECK(live == s->live);
    CHECK(dirs == n->dir->child_dirs);
    CHECK(nodes == n->dir->nodes);
    CHECK(bytes == n->dir->bytes);
}

/* What ends with a session is a file, and in its session's list. */
static void audit_life(const struct tree *t, const struct tree_node *n)
{
    const struct tree_extra *x = tnode_extra(n);

    if (x == NULL || x->life == LIFE_PERMANENT) {
        CHECK(x == NULL || (x->owner == 0 && !x->by_rule && x->owned_prev == NULL));
        return;
    }
    CHECK(life_check(tree_node_name(n), (enum node_type)n->type, (enum node_life)x->life) == 0);
    CHECK(session_get(t, x->owner) != NULL);
    CHECK(x->owned_prev->owner == x->owner);
}

static void audit_node(const struct tree *t, const struct tree_node *n)
{
    const struct tree_facts f = tnode_facts(n);
    struct blob *value = tnode_value(n);

    CHECK(n->id < t->node_id_next);
    CHECK(tnode_get(t, n->id) == n);
    CHECK(f.version > 0);
    CHECK(f.czxid <= f.mzxid);
    CHECK(f.mzxid <= t->index);
    CHECK(value == NULL || value->size > 0);
    CHECK(tnode_value_hash(n) == value_hash(value));
    blob_unref(value);
    CHECK(xattrs_are_sound(n));
    CHECK(tnode_extra(n) == NULL || tnode_extra(n)->fence <= t->index);
    audit_life(t, n);
    if (n == t->root) {
        CHECK(n->parent == n);
    } else {
        CHECK(name_check(tnode_name(n), n->name_size) == 0);
        CHECK(tnode_child(t, n->parent, tree_node_name(n)) == n);
        CHECK(f.cookie > 0 ? series_get(&n->parent->dir->children, f.cookie) == n
                           : n->parent->dir->data == n);
    }
    if (tnode_is_dir(n)) {
        audit_dir(n);
    }
}

static uint64_t audit_session(const struct tree *t, const struct session *s, uint64_t *owned)
{
    uint64_t digest = session_hash(s);
    const struct tree_extra *x;
    const struct slot *r;
    uint32_t slots = 0;

    CHECK(s->info.id <= t->index);
    CHECK(session_get(t, s->info.id) == s);
    CHECK(session_find(t, &s->info.key) == s);
    DL_FOREACH (s->slots, r) {
        CHECK(r->reply.xid >= s->info.xid_floor);
        CHECK(r == s->slots || r->reply.xid > r->prev->reply.xid);
        digest += slot_hash(s, r);
        slots++;
    }
    CHECK(slots == s->info.slot_count);
    CHECK(slots <= CLIENT_REQUESTS_MAX);
    DL_FOREACH2 (s->owned, x, owned_next) {
        CHECK(tnode_get(t, x->node->id) == x->node);
        CHECK(tnode_extra(x->node) == x);
        CHECK(x->owner == s->info.id);
        (*owned)++;
    }
    return digest;
}

uint64_t tree_audit(const struct tree *t)
{
    const struct session *s;
    uint64_t digest = head_hash(t);
    uint64_t nodes = 0;
    uint64_t value_bytes = 0;
    uint64_t sessions = 0, ephemerals = 0, owned = 0, quotas = 0;

    for (const struct tree_node *n = t->root; n != NULL; n = tnode_walk(n)) {
        audit_node(t, n);
        digest += node_hash(n) + locks_audit(t, n);
        nodes++;
        ephemerals += tnode_extra(n) != NULL && tnode_extra(n)->life != LIFE_PERMANENT;
        quotas += quota_is_set(n);
        value_bytes += tnode_value_size(n);
    }
    for (uint64_t id = 0; (s = series_next(&t->sessions, id)) != NULL; id = s->info.id) {
        digest += audit_session(t, s, &owned);
        sessions++;
    }
    CHECK(nodes == t->by_id.count);
    CHECK(nodes == t->by_name.count + 1);
    CHECK(value_bytes == t->value_bytes);
    CHECK(ephemerals == owned);
    CHECK(quotas == t->quota_count);
    CHECK(sessions == t->by_key.count);
    CHECK(sessions == t->sessions.live);
    return digest;
}
