/* A peer's snapshot, from its first piece to its installation.
 *
 * Happy path: pieces are written as they come to one temporary file, in the format of a snapshot;
 * the last one seals it: footer, header, sync, and all of it is read back from the disk and
 * verified. INSTALL then puts it in the place of log and snapshots, in the step that makes it the
 * newest snapshot: the rename, or the removal of newer ones. It names the segment from which on the
 * log is its own. Before that step a crash leaves the old state, after it the new one.
 *
 * Failure modes: a full disk gives the transfer up, not the member; the log, which has its space
 * already, goes on. A transfer that was interrupted leaves the file, which the next transfer
 * writes over and the next start removes. Any other error is final. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

enum { SYNC_SIZE = 16 << 20 }; /* written between two syncs, so that none takes long */

static const char temporary_name[] = "install.tmp";

struct transfer {
    uint64_t number;
    struct store_pos pos;
    struct snap_file f;
    size_t fill; /* bytes of the block that is being gathered */
    uint64_t received;
    uint64_t unsynced;
    uint64_t first_sequence; /* in the header */
    bool is_sealed;
};

void transfer_close(struct store *s)
{
    struct transfer *t = s->transfer;

    if (t == NULL) {
        return;
    }
    if (t->f.fd >= 0) {
        t->f.vfs->close(t->f.vfs->ctx, t->f.fd);
    }
    mem_free(t->f.piece);
    mem_free(t);
    s->transfer = NULL;
}

int transfer_drop(struct store *s)
{
    int rc;

    if (s->transfer == NULL) {
        return 0;
    }
    transfer_close(s);
    rc = s->conf.vfs.unlink(s->conf.vfs.ctx, temporary_name);
    return rc == 0 || rc == -ENOENT ? 0 : store_fail(s, ERR_IO, temporary_name, "remove", rc);
}

/* A full disk ends the transfer, and what it took is given back. */
static int fail(struct store *s, struct store_op *op, const char *action, int rc)
{
    store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, temporary_name, action, rc);
    if (rc != -ENOSPC) {
        return ERR_IO;
    }
    op->err = ERR_NOSPACE;
    return transfer_drop(s);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static int begin(struct store *s, const struct store_op *op)
{
    const struct vfs *v = &s->conf.vfs;
    int fd = v->open(v->ctx, temporary_name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct transfer *t;

    if (fd < 0) {
        return fd;
    }
    t = mem_zalloc(sizeof(*t));
    t->number = op->u.piece.transfer;
    t->pos = op->u.piece.pos;
    t->f = (struct snap_file){
        .vfs = v,
        .fd = fd,
        .index = t->pos.index,
        .piece = mem_alloc(SNAP_PIECE_SIZE),
        .offset = SECTOR_SIZE,
    };
    s->transfer = t;
    return 0;
}

static int put(struct transfer *t, const uint8_t *bytes, size_t size)
{
    size_t cap = SNAP_PIECE_SIZE - SNAP_PIECE_HEADER_SIZE;
    int rc = 0;

    t->received += size;
    t->unsynced += size;
    while (size > 0 && rc == 0) {
        size_t n = cap - t->fill < size ? cap - t->fill : size;

        memcpy(t->f.piece + SNAP_PIECE_HEADER_SIZE + t->fill, bytes, n);
        t->fill += n;
        bytes += n;
        size -= n;
        if (t->fill == cap) {
            rc = snap_file_put(&t->f, cap);
            t->fill = 0;
        }
    }
    if (rc == 0 && t->unsynced >= SYNC_SIZE) {
        rc = t->f.vfs->sync(t->f.vfs->ctx, t->f.fd);
        t->unsynced = 0;
    }
    return rc;
}

int transfer_piece(struct store *s, struct store_op *op)
{
    const struct blob *bytes = op->u.piece.bytes;
    int rc = 0;

    if (op->u.piece.offset == 0) {
        transfer_close(s); /* the file is written anew */
        rc = begin(s, op);
    } else if (s->transfer == NULL) {
        op->err = ERR_NOSPACE;
        return 0;
    }
    if (rc == 0) {
        CHECK(s->transfer->number == op->u.piece.transfer);
        CHECK(s->transfer->received == op->u.piece.offset && !s->transfer->is_sealed);
        rc = put(s->transfer, bytes->data, bytes->size);
    }
    return rc == 0 ? 0 : fail(s, op, "write", rc);
}

/* --- the end --------------------------------------------------------------------------------- */

static struct snap_header header(const struct store *s)
{
    return (struct snap_header){
        .cluster = s->conf.cluster,
        .pos = s->transfer->pos,
        .first_sequence = s->spare_sequence,
    };
}

static int complete(struct store *s)
{
    struct transfer *t = s->transfer;
    struct snap_header h = header(s);
    int rc = t->fill > 0 ? snap_file_put(&t->f, t->fill) : 0;

    t->first_sequence = h.first_sequence;
    return rc == 0 ? snap_file_end(&t->f, &h) : rc;
}

int transfer_seal(struct store *s, struct store_op *op)
{
    struct transfer *t = s->transfer;
    struct snap_file back;
    int rc;

    if (t == NULL) {
        op->err = ERR_NOSPACE;
        return 0;
    }
    CHECK(t->number == op->u.seal.transfer && !t->is_sealed);
    CHECK(t->received == op->u.seal.size);
    rc = segment_prepare(s, 0); /* INSTALL will need it */
    if (rc == ERR_NOSPACE) {
        op->err = ERR_NOSPACE;
        return transfer_drop(s);
    }
    if (rc != 0) {
        return rc;
    }
    rc = complete(s);
    if (rc != 0) {
        return fail(s, op, "complete", rc);
    }
    back = (struct snap_file){.vfs = t->f.vfs, .index = t->pos.index, .piece = t->f.piece};
    rc = snap_file_read(&back, temporary_name, NULL, NULL, NULL);
    if (rc != 0) {
        store_note(s, "%s: read back: %s", temporary_name, err_text(rc));
        return ERR_IO;
    }
    t->is_sealed = true;
    return 0;
}

/* Appends since the seal may have taken the segment that the header names. */
static int rename_sealed(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    struct transfer *t = s->transfer;
    struct snap_header h = header(s);
    char name[FILE_NAME_SIZE];
    int rc = 0;

    if (h.first_sequence != t->first_sequence) {
        rc = snap_file_set_header(&t->f, &h);
    }
    if (rc != 0) {
        store_note(s, "%s: the header cannot be written", temporary_name);
        return rc;
    }
    file_name(name, "snap-", t->pos.index, "");
    rc = v->rename(v->ctx, temporary_name, name);
    if (rc == 0) {
        rc = v->sync_dir(v->ctx);
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, name, "rename", rc);
}

int transfer_install(struct store *s, const struct store_pos *pos)
{
    uint64_t first_sequence;
    int rc;

    CHECK(pos->index > 0);
    CHECK(s->transfer != NULL && s->transfer->is_sealed);
    CHECK(s->transfer->pos.index == pos->index && s->transfer->pos.epoch == pos->epoch);
    CHECK(hash128_equal(s->transfer->pos.chain, pos->chain));
    rc = segment_prepare(s, 0);
    if (rc != 0) {
        return rc;
    }
    first_sequence = s->spare_sequence;
    rc = rename_sealed(s);
    transfer_close(s);
    if (rc == 0) {
        rc = snap_remove_above(s, pos->index);
    }
    if (rc == 0) {
        s->base = *pos;
        rc = log_begin(s, pos, pos);
    }
    if (rc == 0) {
        rc = log_drop_before(s, first_sequence);
    }
    return rc == 0 ? snap_remove_below(s, pos->index) : rc;
}
