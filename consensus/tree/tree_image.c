#include "tree_int.h"

#include <string.h>

/* The state as a stream of records: HEAD; the nodes, depth first and children by cookie, so that a
 * directory comes before what is in it, each with its extended attributes and locks; the sessions
 * by id, each with its slots by xid; END. The order is that of the state itself, not of memory, so
 * that members write the same bytes.
 *
 * The only storage is the record being copied out. Values are copied from where they are. */

enum stage { STAGE_HEAD, STAGE_NODES, STAGE_SESSIONS, STAGE_DONE };

_Static_assert(sizeof(((struct tree_image *)NULL)->record) >= RECORD_SIZE_MAX,
               "a record fits its place");

void tree_image_begin(struct tree_image *it, const struct tree *t)
{
    *it = (struct tree_image){
        .tree = t,
        .stage = STAGE_HEAD,
        .node = t->root,
        .session = series_next(&t->sessions, 0),
    };
}

static size_t put_next_node(struct tree_image *it)
{
    const struct tree_node *n = it->node;

    it->value = tnode_value_bytes(n);
    it->value_size = tnode_value_size(n);
    it->value_at = 0;
    it->begun = n;
    it->xattr_at = 0;
    it->lock = NULL;
    it->node = tnode_walk(n);
    return record_put_node(n, it->record);
}

/* An outcome of the slot or a slot of the session that was begun, or the next session, or the end.
 */
static size_t put_next_of_sessions(struct tree_image *it)
{
    const struct session *s = it->session;
    const struct slot *r = it->slot_begun;

    if (r != NULL && it->outcome_at < slot_outcome_count(r)) {
        uint32_t step = it->outcome_at++;

        return record_put_outcome(&r->reply.u.txn.list[step], r->reply.xid, step, it->record);
    }
    r = it->slot;
    if (r != NULL) {
        it->slot = r->next;
        it->slot_begun = r;
        it->outcome_at = 0;
        return record_put_slot(r, it->record);
    }
    if (s != NULL) {
        it->slot = BUG(B21_SNAPSHOT_LACKS_REPLIES) ? NULL : s->slots;
        it->slot_begun = NULL;
        it->session = series_next(&it->tree->sessions, s->info.id);
        return record_put_session(s, it->record);
    }
    it->stage = STAGE_DONE;
    return record_put_end(it->tree, it->record);
}

/* Moves on to the next lock of the node that was begun; NULL: none left. */
static const struct node_lock *next_lock(struct tree_image *it)
{
    const struct tree_node *n = it->begun;

    if (n == NULL || tnode_extra(n) == NULL || tnode_extra(n)->locks == NULL) {
        return NULL;
    }
    it->lock = locks_after(tnode_extra(n)->locks, it->lock);
    it->begun = it->lock != NULL ? n : NULL;
    return it->lock;
}

/* An attribute or a lock of the node that was begun, or the next node, or what comes behind all of
 * them. */
static size_t put_next_of_nodes(struct tree_image *it)
{
    const struct xattr *a;

    if (it->begun == NULL || it->xattr_at == xattrs_count(it->begun)) {
        if (next_lock(it) != NULL) {
            struct lock_entry e;

            lock_entry_fill(it->begun, it->lock, &e);
            return record_put_lock(&e, it->record);
        }
        if (it->node != NULL) {
            return put_next_node(it);
        }
        it->stage = STAGE_SESSIONS;
        return put_next_of_sessions(it);
    }
    a = &tnode_extra(it->begun)->xattrs->list[it->xattr_at++];
    it->value = a->value != NULL ? a->value->data : NULL;
    it->value_size = a->value != NULL ? a->value->size : 0;
    it->value_at = 0;
    return record_put_xattr(a, it->record);
}

/* Makes the next record ready to be copied out; false at the end. */
static bool next_record(struct tree_image *it)
{
    switch ((enum stage)it->stage) {
    case STAGE_HEAD:
        it->stage = STAGE_NODES;
        it->record_size = record_put_head(it->tree, it->record);
        break;
    case STAGE_NODES:
        it->record_size = put_next_of_nodes(it);
        break;
    case STAGE_SESSIONS:
        it->record_size = put_next_of_sessions(it);
        break;
    case STAGE_DONE:
        return false;
    }
    it->record_at = 0;
    return true;
}

/* Copies what `to` takes of bytes `*at` to `size`, moves *at, returns how many. */
static size_t copy_out(uint8_t *to, size_t cap, const uint8_t *bytes, size_t size, size_t *at)
{
    size_t n = size - *at < cap ? size - *at : cap;

    memcpy(to, bytes + *at, n);
    *at += n;
    return n;
}

size_t tree_image_read(struct tree_image *it, uint8_t *to, size_t cap)
{
    size_t done = 0;

    while (done < cap) {
        if (it->record_at < it->record_size) {
            done += copy_out(to + done, cap - done, it->record, it->record_size, &it->record_at);
        } else if (it->value_at < it->value_size) {
            done += copy_out(to + done, cap - done, it->value, it->value_size, &it->value_at);
        } else if (!next_record(it)) {
            break;
        }
    }
    return done;
}
