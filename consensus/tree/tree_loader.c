#include "tree_int.h"

#include <string.h>

#include "bytes.h"
#include "check.h"
#include "err.h"
#include "mem.h"

/* Builds a tree from an image (tree_image.c), fed in pieces of any size.
 *
 * Happy path: bytes gather in `record` until one record is whole; a node's value is gathered in its
 * blob; the node is linked when both are there. END compares counts and digest.
 *
 * Failure: whatever is not exactly what tree_image_read() writes (an unknown kind, a record out of
 * place, a limit passed, a parent that did not come before, bytes after END) fails the loader for
 * good: every later call is ERR_CORRUPT. A damaged field that passes all this changes the digest.
 */

enum stage { STAGE_HEAD, STAGE_ROOT, STAGE_NODES, STAGE_SESSIONS, STAGE_DONE, STAGE_FAILED };

struct tree_loader {
    enum stage stage;
    struct tree *tree;       /* owned */
    struct session *session; /* the last one: slots belong to it */
    struct tree_node *node;  /* owned; waits for its value */
    struct tree_node *parent;
    struct blob *value; /* owned; of `node`, as far as it has come */
    size_t value_have;
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

void tree_loader_free(struct tree_loader *l)
{
    if (l == NULL) {
        return;
    }
    if (l->node != NULL) {
        tnode_free(l->node);
    }
    blob_unref(l->value);
    tree_free(l->tree);
    mem_free(l);
}

/* The node and its value are complete and were found fit to be linked. */
static void link_node(struct tree_loader *l)
{
    tnode_value_init(l->node, l->value);
    tree_link(l->tree, l->parent, l->node);
    digest_add_node(l->tree, l->node);
    l->node = NULL;
    l->value = NULL;
}

static bool root_fits(const struct tree_loader *l, const struct tree_node *n, uint64_t parent)
{
    return l->stage == STAGE_ROOT && parent == TREE_ROOT_ID && n->dir != NULL &&
           n->name_size == 0 && n->cookie == 0;
}

/* Finds the parent, and whether the node can be linked below it. */
static bool node_fits(const struct tree_loader *l, const struct tree_node *n, uint64_t parent,
                      struct tree_node **ret_parent)
{
    struct tree_node *dir = tnode_get(l->tree, parent);

    if (l->stage != STAGE_NODES || dir == NULL || dir->dir == NULL) {
        return false;
    }
    *ret_parent = dir;
    return n->id > TREE_ROOT_ID && n->cookie > series_last_key(&dir->dir->children) &&
           n->cookie <= dir->dir->create_count && tnode_get(l->tree, n->id) == NULL &&
           tnode_child(l->tree, dir, tree_node_name(n)) == NULL;
}

static bool load_node(struct tree_loader *l, const uint8_t *body, size_t size)
{
    struct record_node_links links;
    struct tree_node *n = record_get_node(body, size, &links);
    struct tree_node *parent = n;
    bool fits;

    if (n == NULL) {
        return false;
    }
    fits = n->id == TREE_ROOT_ID ? root_fits(l, n, links.parent)
                                 : node_fits(l, n, links.parent, &parent);
    if (!fits || n->id >= l->tree->node_id_next || n->czxid > n->mzxid ||
        n->mzxid > l->tree->index) {
        tnode_free(n);
        return false;
    }
    l->stage = STAGE_NODES;
    l->node = n;
    l->parent = parent;
    if (links.value_size > 0) {
        l->value = blob_new_uninit(links.value_size);
        l->value_have = 0;
    } else {
        link_node(l);
    }
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
    session_slot_add(l->tree, s, &r);
    return true;
}

static bool load_end(struct tree_loader *l, const uint8_t *body, size_t size)
{
    const struct tree *t = l->tree;
    struct record_end end;

    if ((l->stage != STAGE_NODES && l->stage != STAGE_SESSIONS) ||
        !record_get_end(body, size, &end)) {
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

    switch ((enum record_kind)l->record[0]) {
    case RECORD_HEAD:
        return load_head(l, body, size);
    case RECORD_NODE:
        return load_node(l, body, size);
    case RECORD_SESSION:
        return load_session(l, body, size);
    case RECORD_SLOT:
        return load_slot(l, body, size);
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

static void take_value(struct tree_loader *l, struct cursor *piece)
{
    l->value_have += copy_in(piece, l->value->data + l->value_have, l->value->size - l->value_have);
    if (l->value_have == l->value->size) {
        link_node(l);
    }
}

int tree_loader_feed(struct tree_loader *l, const void *bytes, size_t size)
{
    struct cursor piece = cur_make(bytes, size);

    while (cur_left(&piece) > 0) {
        if (l->value != NULL) {
            take_value(l, &piece);
        } else if (l->stage >= STAGE_DONE || !take_record(l, &piece)) {
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
