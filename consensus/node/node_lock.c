#include "node_int.h"

#include <string.h>

#include "err.h"
#include "mem.h"

/* Locks, as far as a member has to do with them: it tells a session that waited for one that it has
 * it now, and shows who holds and who waits. Who gets what is the tree's to say. */

void node_lock_granted(struct node *n, const struct tree_grant *grants, uint32_t count)
{
    for (uint32_t i = 0; i < count && !(BUG(X37_ONE_GRANT_TOLD) && i > 0); i++) {
        const struct tree_grant *g = &grants[i];
        struct node_attached *a = node_attached_find(n, g->session);
        struct event e = {
            .index = tree_index(n->tree),
            .kind = CHANGE_GRANT,
            .lock_kind = (uint32_t)g->kind,
            .session = g->session,
            .xid = g->owner,
        };

        if (a == NULL) {
            continue; /* attached elsewhere, or it will ask again when it is back */
        }
        tree_node_attr(tree_node(n->tree, g->node), &e.attr);
        n->scratch.size = 0;
        codec_encode_event(&n->scratch, &e);
        n->io.send_client(n->io.ctx, a->conn->id, n->scratch.data, n->scratch.size);
    }
}

int node_lock_test(struct node *n, struct node_conn *conn, const struct request *q, struct reply *r)
{
    const struct tree_node *node = tree_node(n->tree, q->u.lock_test.id);
    const struct lock *l = &q->u.lock_test.lock;
    struct attr attr;

    if (node == NULL) {
        return ERR_NOENT;
    }
    tree_node_attr(node, &attr);
    if (attr.type != NODE_FILE) {
        return attr.type == NODE_DIR ? ERR_ISDIR : ERR_INVAL;
    }
    if (l->kind == LOCK_KIND_NONE || l->start > l->end) {
        return ERR_INVAL;
    }
    r->u.lock_test.found = tree_lock_test(n->tree, node, conn->session, l, &r->u.lock_test.entry);
    return 0;
}

/* --- a list of them -------------------------------------------------------------------------- */

struct list {
    const struct tree *tree;
    struct lock_entry *entries; /* their labels, and the path of the first of a node, are owned */
    uint32_t count, cap;
    bool first_of_node;
};

static struct name own(const char *bytes, size_t size)
{
    return (struct name){size > 0 ? mem_dup(bytes, size) : NULL, (uint32_t)size};
}

static void list_add(void *ctx, const struct lock_entry *found)
{
    struct list *l = ctx;
    struct tree_session session;
    struct lock_entry *e;

    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? 2 * l->cap : 64;
        l->entries = mem_realloc(l->entries, l->cap * sizeof(*l->entries));
    }
    e = &l->entries[l->count++];
    *e = *found;
    if (l->first_of_node) {
        char path[PATH_SIZE_MAX];

        e->path = own(path, tree_node_path(l->tree, e->node, path));
        l->first_of_node = false;
    }
    if (tree_session_get(l->tree, e->session, &session)) {
        e->label = own(session.label, strlen(session.label));
    }
}

static void list_done(struct list *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        mem_free((void *)(uintptr_t)l->entries[i].path.bytes);
        mem_free((void *)(uintptr_t)l->entries[i].label.bytes);
    }
    mem_free(l->entries);
}

static void list_add_node(struct list *l, const struct tree_node *node)
{
    l->first_of_node = true;
    tree_node_locks(node, list_add, l);
}

/* Returns whether there is nothing behind these. */
static bool list_add_all(struct list *l, uint64_t after)
{
    uint64_t ids[LOCK_ENTRIES_MAX + 1]; /* each has a lock, so that the last one is left over */
    size_t count = tree_locks_nodes(l->tree, after, ids, LOCK_ENTRIES_MAX + 1);
    size_t i = 0;

    for (; i < count && l->count < LOCK_ENTRIES_MAX; i++) {
        list_add_node(l, tree_node(l->tree, ids[i]));
    }
    return i == count;
}

void node_lock_list(struct node *n, struct node_conn *conn, const struct request *q)
{
    struct reply r = {.op = OP_LOCKS, .xid = q->xid};
    struct list l = {.tree = n->tree};
    const struct tree_node *node = tree_node(n->tree, q->u.locks.id);
    bool end = true;

    if (q->u.locks.id == 0) {
        end = list_add_all(&l, q->u.locks.after);
    } else if (node != NULL) {
        list_add_node(&l, node);
    } else {
        r.err = ERR_NOENT;
    }
    if (r.err == 0) {
        r.u.locks.end = end;
        r.u.locks.count = l.count;
        r.u.locks.list = l.entries;
    }
    node_reply(n, conn, &r);
    list_done(&l);
}
