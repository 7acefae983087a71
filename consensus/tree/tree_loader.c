#include "tree_int.h"

#include <string.h>

#include "bytes.h"
#include "check.h"
#include "err.h"
#include "mem.h"

/* Builds a tree from an image (tree_image.c), fed in pieces of any size.
 *
 * Happy path: bytes gather in `record` until one record is whole; a value is gathered where it will
 * be, in its node or in a blob; a node is linked when its value and attributes are
 * there. Whether another node has its name is looked at when UNCHECKED_MAX more were linked: by
 * then the processor has fetched what it is compared with, where otherwise every node would wait
 * for that. Sessions come behind the nodes, so that END gives each its ephemerals and locks; then
 * it compares counts and digest.
 *
 * Failure: whatever is not exactly what tree_image_read() writes (an unknown kind, a record out of
 * place, a limit passed, a parent that did not come before, bytes after END) fails the loader for
 * good: every later call is ERR_CORRUPT. A damaged field that passes all this changes the digest.
 */

enum stage { STAGE_HEAD, STAGE_ROOT, STAGE_NODES, STAGE_SESSIONS, STAGE_DONE, STAGE_FAILED };

enum { UNCHECKED_MAX = 8 };

struct tree_loader {
    enum stage stage;
    struct tree *tree;       /* owned */
    struct session *session; /* the last one: slots belong to it */
    struct tree_node *node;  /* owned; waits for its value or attributes */
    struct tree_node *parent;
    struct tree_node *linked;      /* the last one: locks belong to it */
    struct lock_entry lock;        /* the last one of it; session 0: none yet */
    struct tree_extra *ephemerals; /* linked so far, by owned_next */
    uint32_t xattrs_left;          /* of `node` */
    struct name xattr;             /* that waits for its value, or empty; in xattr_name */
    char xattr_name[NAME_SIZE_MAX];
    struct reply txn;       /* of a slot that waits for its outcomes: a list of them, owned */
    uint32_t outcomes_have; /* of it, with their names, each owned */
    /* A value that is waited for, as far as it has come. */
    struct blob *value; /* owned; of the attribute, or else of `node`; NULL: it is packed */
    uint8_t *value_to;  /* NULL: none is waited for */
    size_t value_size, value_have;
    struct tree_node *unchecked[UNCHECKED_MAX]; /* linked last, a ring; NULL: none */
    size_t unchecked_at;                        /* the one linked longest ago */
    size_t record_have;
    uint8_t record[RECORD_SIZE_MAX];
};

struct tree_loader *tree_loader_new(void)
{
    struct tree_loader *l = mem_zalloc(sizeof(*l));

    l->tree = tree_new_empty();
    return l;
}

const struct tree *tree_loader_tree(const struct tree_loader *l)
{
    return l->tree;
}

/* The slot waits no longer. */
static void outcomes_drop(struct tree_loader *l)
{
    for (uint32_t i = 0; i < l->outcomes_have; i++) {
        mem_free((void *)(uintptr_t)l->txn.u.txn.list[i].name.bytes);
    }
    mem_free(l->txn.u.txn.list);
    l->txn.u.txn.list = NULL;
    l->outcomes_have = 0;
}

void tree_loader_free(struct tree_loader *l)
{
    if (l == NULL) {
        return;
    }
    if (l->node != NULL) {
        tnode_free(l->node);
    }
    outcomes_drop(l);
    blob_unref(l->value);
    tree_free(l->tree);
    mem_free(l);
}

/* Checks the node that waits longest, in whose place `n` (or NULL) waits from now on. */
static bool check_next(struct tree_loader *l, struct tree_node *n)
{
    struct tree_node **at = &l->unchecked[l->unchecked_at];
    bool good = *at == NULL || !tnode_has_double(l->tree, *at);

    *at = n;
    l->unchecked_at = (l->unchecked_at + 1) % UNCHECKED_MAX;
    return good;
}

static bool check_rest(struct tree_loader *l)
{
    bool good = true;

    for (int i = 0; i < UNCHECKED_MAX; i++) {
        good = check_next(l, NULL) && good;
    }
    return good;
}

/* Links the node if all of it is there; it was found fit to be linked. */
static bool node_step(struct tree_loader *l)
{
    struct tree_node *n = l->node;
    struct tree_extra *x = tnode_extra(n);

    if (l->xattrs_left > 0) {
        return true;
    }
    tree_link(l->tree, l->parent, n);
    digest_add_node(l->tree, n);
    l->linked = n;
    l->lock.session = 0;
    if (x != NULL && x->life != LIFE_PERMANENT) {
        x->owned_next = l->ephemerals;
        l->ephemerals = x;
    }
    l->node = NULL;
    __builtin_prefetch(table_next(&l->tree->by_name, &n->by_name));
    return check_next(l, n);
}

/* The value that was waited for is there, or empty. */
static bool value_step(struct tree_loader *l)
{
    struct blob *value = l->value;
    struct name xattr = l->xattr;

    l->value = NULL;
    l->value_to = NULL;
    l->xattr.size = 0;
    if (xattr.size > 0) {
        bool good = xattr_load(l->node, xattr, value);

        blob_unref(value);
        if (!good) {
            return false;
        }
        l->xattrs_left--;
    } else if (value != NULL) {
        struct tree_facts facts = tnode_facts(l->node);

        tnode_value_set(l->node, &facts, value);
    }
    return node_step(l);
}

/* Gathers as many bytes, which follow: at `to`, or in a blob. */
static bool value_begin(struct tree_loader *l, uint32_t size, uint8_t *to)
{
    if (size == 0) {
        return value_step(l);
    }
    l->value = to == NULL ? blob_new_uninit(size) : NULL;
    l->value_to = to == NULL ? l->value->data : to;
    l->value_size = size;
    l->value_have = 0;
    return true;
}

static bool root_fits(const struct tree_loader *l, const struct tree_node *n, uint64_t parent)
{
    return l->stage == STAGE_ROOT && parent == TREE_ROOT_ID && tnode_is_dir(n) &&
           n->name_size == 0 && tnode_cookie(n) == 0;
}

/* Finds the parent, and whether the node can be linked below it, if its name is not taken. */
static bool node_fits(const struct tree_loader *l, const struct tree_node *n, uint64_t parent,
                      struct tree_node **ret_parent)
{
    struct tree_node *dir = tnode_get(l->tree, parent);
    uint64_t cookie = tnode_cookie(n);

    if (l->stage != STAGE_NODES || dir == NULL || !tnode_is_dir(dir)) {
        return false;
    }
    *ret_parent = dir;
    if (n->id <= TREE_ROOT_ID || tnode_get(l->tree, n->id) != NULL) {
        return false;
    }
    tnode_child_expect(l->tree, dir, tree_node_name(n));
    if (name_is_data(tree_node_name(n))) {
        return n->type == NODE_FILE && cookie == 0 && dir->dir->data == NULL &&
               dir->dir->children.count == 0;
    }
    return cookie > series_last_key(&dir->dir->children) && cookie <= dir->dir->create_count;
}

static bool load_node(struct tree_loader *l, const uint8_t *body, size_t size)
{
    struct record_node_links links;
    struct tree_node *n = record_get_node(&l->tree->slab, body, size, &links);
    struct tree_node *parent = n;
    struct tree_facts f;
    bool fits;

    if (n == NULL) {
        return false;
    }
    f = tnode_facts(n);
    fits = n->id == TREE_ROOT_ID ? root_fits(l, n, links.parent)
                                 : node_fits(l, n, links.parent, &parent);
    if (!fits || n->id >= l->tree->node_id_next || f.czxid > f.mzxid || f.mzxid > l->tree->index ||
        (tnode_extra(n) != NULL && tnode_extra(n)->fence > l->tree->index)) {
        tnode_free(n);
        return false;
    }
    l->stage = STAGE_NODES;
    l->node = n;
    l->parent = parent;
    l->xattrs_left = links.xattr_count;
    return value_begin(l, links.value_size, links.value_to);
}

static bool load_xattr(struct tree_loader *l, const uint8_t *body, size_t size)
{
    struct name name;
    uint32_t value_size;

    if (l->node == NULL || !record_get_xattr(body, size, &name, &value_size) || name.size == 0) {
        return false;
    }
    memcpy(l->xattr_name, name.bytes, name.size);
    l->xattr = (struct name){l->xattr_name, name.size};
    return value_begin(l, value_size, NULL);
}

static bool load_lock(struct tree_loader *l, const uint8_t *body, size_t size)
{
    const struct lock_entry *before = l->lock.session != 0 ? &l->lock : NULL;
    struct lock_entry e;

    if (l->stage != STAGE_NODES || l->linked == NULL || !record_get_lock(body, size, &e) ||
        !locks_load(l->tree, l->linked, &e, before)) {
        return false;
    }
    l->lock = e;
    return true;
}

static bool load_session(struct tree_loader *l, const uint8_t *body, size_t size)
{
    const struct tree *t = l->tree;
    struct tree_session info;

    if ((l->stage != STAGE_NODES && l->stage != STAGE_SESSIONS) ||
        !record_get_session(body, size, &info)) {
        return false;
    }
    if (info.id <= series_last_key(&t->sessions) || info.id > t->index ||
        t->sessions.live >= SESSIONS_MAX || session_find(t, &info.key) != NULL) {
        return false;
    }
    l->session = session_add(l->tree, &info);
    l->stage = STAGE_SESSIONS;
    return true;
}

static bool load_slot(struct tree_loader *l, const uint8_t *body, size_t size)
{
    struct session *s = l->session;
    struct reply r;

    if (s == NULL || !record_get_slot(body, size, &r)) {
        return false;
    }
    if (r.xid < s->info.xid_floor || r.index > l->tree->index ||
        s->info.slot_count >= CLIENT_REQUESTS_MAX ||
        (s->slots != NULL && s->slots->prev->reply.xid >= r.xid)) {
        return false;
    }
    if (r.op == OP_TXN && r.err == 0 && r.u.txn.count > 0) {
        l->txn = r;
        l->txn.u.txn.list = mem_zalloc(r.u.txn.count * sizeof(*r.u.txn.list));
        return true;
    }
    session_slot_add(l->tree, s, &r);
    return true;
}

static bool load_outcome(struct tree_loader *l, const uint8_t *body, size_t size)
{
    struct txn_outcome o;

    if (l->txn.u.txn.list == NULL ||
        !record_get_outcome(body, size, l->txn.xid, l->outcomes_have, &o)) {
        return false;
    }
    o.name.bytes = o.name.size > 0 ? mem_dup(o.name.bytes, o.name.size) : NULL;
    l->txn.u.txn.list[l->outcomes_have++] = o;
    if (l->outcomes_have == l->txn.u.txn.count) {
        session_slot_add(l->tree, l->session, &l->txn);
        outcomes_drop(l);
    }
    return true;
}

/* Ephemerals of sessions that are not there are damage. */
static bool ephemerals_link(struct tree_loader *l)
{
    while (l->ephemerals != NULL) {
        struct tree_extra *x = l->ephemerals;
        struct session *s = session_get(l->tree, x->owner);

        if (s == NULL) {
            return false;
        }
        l->ephemerals = x->owned_next;
        life_set(x->node, s, (enum node_life)x->life, x->by_rule);
    }
    return true;
}

static bool load_end(struct tree_loader *l, const uint8_t *body, size_t size)
{
    const struct tree *t = l->tree;
    struct record_end end;

    if ((l->stage != STAGE_NODES && l->stage != STAGE_SESSIONS) ||
        !record_get_end(body, size, &end) || !check_rest(l) || !ephemerals_link(l) ||
        !locks_bind(l->tree)) {
        return false;
    }
    l->stage = STAGE_DONE;
    return end.nodes == tree_node_count(t) && end.value_bytes == tree_value_bytes(t) &&
           end.sessions == tree_session_count(t) &&
           (end.digest == tree_digest(t) || BUG(B21_SNAPSHOT_LACKS_REPLIES));
}

static bool load_head(struct tree_loader *l, const uint8_t *body, size_t size)
{
    if (l->stage != STAGE_HEAD || !record_get_head(body, size, l->tree)) {
        return false;
    }
    l->stage = STAGE_ROOT;
    return true;
}

static bool load_record(struct tree_loader *l)
{
    const uint8_t *body = l->record + RECORD_HEAD_SIZE;
    size_t size = l->record_have - RECORD_HEAD_SIZE;

    if ((l->node != NULL && l->record[0] != RECORD_XATTR) ||
        (l->txn.u.txn.list != NULL && l->record[0] != RECORD_OUTCOME)) {
        return false;
    }
    switch ((enum record_kind)l->record[0]) {
    case RECORD_HEAD:
        return load_head(l, body, size);
    case RECORD_NODE:
        return load_node(l, body, size);
    case RECORD_XATTR:
        return load_xattr(l, body, size);
    case RECORD_LOCK:
        return load_lock(l, body, size);
    case RECORD_SESSION:
        return load_session(l, body, size);
    case RECORD_SLOT:
        return load_slot(l, body, size);
    case RECORD_OUTCOME:
        return load_outcome(l, body, size);
    case RECORD_END:
        return load_end(l, body, size);
    default:
        return false;
    }
}

/* Moves up to `want` bytes from the piece to `to`, returns how many. */
static size_t copy_in(struct cursor *piece, uint8_t *to, size_t want)
{
    size_t n = cur_left(piece) < want ? cur_left(piece) : want;
    const uint8_t *bytes;

    CHECK(cur_bytes(piece, n, &bytes));
    memcpy(to, bytes, n);
    return n;
}

/* Takes bytes towards the end of the record's head, then of its body; loads it when it is whole. */
static bool take_record(struct tree_loader *l, struct cursor *piece)
{
    size_t size = RECORD_HEAD_SIZE;

    if (l->record_have >= RECORD_HEAD_SIZE) {
        size_t body_size = (size_t)l->record[1] | (size_t)l->record[2] << 8;

        if (body_size == 0 || body_size > RECORD_SIZE_MAX - RECORD_HEAD_SIZE) {
            return false;
        }
        size += body_size;
    }
    l->record_have += copy_in(piece, l->record + l->record_have, size - l->record_have);
    if (l->record_have < size || size == RECORD_HEAD_SIZE) {
        return true; /* more to come */
    }
    if (!load_record(l)) {
        return false;
    }
    l->record_have = 0;
    return true;
}

static bool take_value(struct tree_loader *l, struct cursor *piece)
{
    l->value_have += copy_in(piece, l->value_to + l->value_have, l->value_size - l->value_have);
    return l->value_have < l->value_size || value_step(l);
}

int tree_loader_feed(struct tree_loader *l, const void *bytes, size_t size)
{
    struct cursor piece = cur_make(bytes, size);

    while (cur_left(&piece) > 0) {
        if (l->stage >= STAGE_DONE ||
            !(l->value_to != NULL ? take_value(l, &piece) : take_record(l, &piece))) {
            l->stage = STAGE_FAILED;
            return ERR_CORRUPT;
        }
    }
    return 0;
}

int tree_loader_finish(struct tree_loader *l, struct tree **ret)
{
    bool complete = l->stage == STAGE_DONE;

    if (complete) {
        *ret = l->tree;
        l->tree = NULL;
    }
    tree_loader_free(l);
    return complete ? 0 : ERR_CORRUPT;
}
