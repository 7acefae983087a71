#include "node_int.h"

#include <inttypes.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* The whole tree for a client that keeps a backup: the image is taken in one step, so that it is
 * the exact state at one index, and handed out as the client asks for it. It belongs to the stream,
 * is read front to back, and is dropped with its last piece, with the stream, or when nothing was
 * asked for during BACKUP_IDLE_MS. */

static struct node_backup *find(struct node *n, uint64_t conn)
{
    for (uint32_t i = 0; i < n->backup_count; i++) {
        if (n->backups[i].conn == conn) {
            return &n->backups[i];
        }
    }
    return NULL;
}

static void drop(struct node *n, struct node_backup *b)
{
    buf_done(&b->image);
    *b = n->backups[--n->backup_count];
}

void node_backup_drop(struct node *n, uint64_t conn)
{
    struct node_backup *b = find(n, conn);

    if (b != NULL) {
        drop(n, b);
    }
}

void node_backup_housekeep(struct node *n)
{
    for (uint32_t i = n->backup_count;
         i-- > 0;) { /* from the end: a dropped one leaves its place */
        if (n->now.mono_ms - n->backups[i].asked_ms > BACKUP_IDLE_MS) {
            node_log(n, LOG_WARN, "ev=backup_dropped conn=%" PRIu64 " index=%" PRIu64,
                     n->backups[i].conn, n->backups[i].pos.index);
            drop(n, &n->backups[i]);
        }
    }
}

void node_backup_done(struct node *n)
{
    while (n->backup_count > 0) {
        drop(n, &n->backups[0]);
    }
}

static struct node_backup *begin(struct node *n, uint64_t conn)
{
    struct node_backup *b = &n->backups[n->backup_count++];
    struct tree_image it;
    size_t got;

    *b = (struct node_backup){.conn = conn};
    CHECK(zab_pos_at(n->zab, tree_index(n->tree), &b->pos));
    tree_image_begin(&it, n->tree);
    do {
        buf_reserve(&b->image, SNAPSHOT_CHUNK_SIZE);
        got = tree_image_read(&it, b->image.data + b->image.size, SNAPSHOT_CHUNK_SIZE);
        b->image.size += got;
    } while (got > 0);
    node_log(n, LOG_INFO, "ev=backup conn=%" PRIu64 " index=%" PRIu64 " bytes=%zu", conn,
             b->pos.index, b->image.size);
    return b;
}

/* The image to go on with. */
static int choose(struct node *n, uint64_t conn, uint64_t offset, struct node_backup **ret)
{
    struct node_backup *b = find(n, conn);

    if (offset == 0) {
        if (b != NULL) {
            drop(n, b);
        }
        if (n->backup_count == BACKUPS_MAX) {
            return ERR_OVERLOAD;
        }
        b = begin(n, conn);
    } else if (b == NULL || offset != b->at) {
        return ERR_NOENT;
    }
    *ret = b;
    return 0;
}

void node_backup_piece(struct node *n, struct node_conn *conn, const struct request *q)
{
    struct reply r = {.op = OP_BACKUP, .xid = q->xid};
    struct node_backup *b;
    size_t size;

    r.err = choose(n, conn->id, q->u.backup.offset, &b);
    if (r.err != 0) {
        node_reply(n, conn, &r);
        return;
    }
    size = b->image.size - b->at;
    size = size < q->u.backup.size_max ? size : q->u.backup.size_max;
    r.index = b->pos.index;
    r.u.backup.cluster_lo = n->conf.cluster.lo;
    r.u.backup.cluster_hi = n->conf.cluster.hi;
    r.u.backup.epoch = b->pos.epoch;
    r.u.backup.chain_lo = b->pos.chain.lo;
    r.u.backup.chain_hi = b->pos.chain.hi;
    r.u.backup.total = b->image.size;
    r.u.backup.bytes = blob_new(b->image.data + b->at, size);
    b->at += size;
    b->asked_ms = n->now.mono_ms;
    if (b->at == b->image.size) {
        drop(n, b);
    }
    node_reply(n, conn, &r);
    blob_unref(r.u.backup.bytes);
}
