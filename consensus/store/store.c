/* The store as its caller sees it: open, run batches, close. */

#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

void store_note(struct store *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(s->note, sizeof(s->note), fmt, ap);
    va_end(ap);
}

int store_fail(struct store *s, int err, const char *name, const char *action, int rc)
{
    char text[64];

    store_note(s, "%s: %s: %s", name, action, strerror_r(-rc, text, sizeof(text)));
    return err;
}

/* --- open ------------------------------------------------------------------------------------ */

int store_lock(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = v->open(v->ctx, "lock", O_RDWR | O_CREAT, 0600);

    if (rc < 0) {
        return store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, "lock", "open", rc);
    }
    s->lock_fd = rc;
    rc = v->lock(v->ctx, s->lock_fd);
    if (rc == -EWOULDBLOCK) {
        store_note(s, "lock: held by another process");
        return ERR_BUSY;
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, "lock", "lock", rc);
}

/* What writers that died left behind; nobody else writes while the lock is new. */
static int open_remove_temporary(struct store *s, const struct file_list *files)
{
    const char *name = (const char *)files->temporary.data;
    size_t left = files->temporary.size;

    while (left > 0) {
        size_t size = strlen(name) + 1;
        int rc = s->conf.vfs.unlink(s->conf.vfs.ctx, name);

        if (rc != 0 && rc != -ENOENT) {
            return store_fail(s, ERR_IO, name, "remove", rc);
        }
        name += size;
        left -= size;
    }
    return 0;
}

static int open_recover(struct store *s, struct file_list *files, struct store_recovered *rec)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = file_list(v, files);

    if (rc != 0) {
        return store_fail(s, ERR_IO, "directory", "list", rc);
    }
    rc = restore_check(s, files);
    if (rc == 0) {
        rc = meta_open(s, files);
    }
    if (rc == 0) {
        rc = recover_run(s, files, rec);
    }
    if (rc == 0) {
        rc = open_remove_temporary(s, files);
    }
    if (rc != 0) {
        return rc;
    }
    rc = segment_prepare(s, 0);
    if (rc == ERR_NOSPACE && !rec->is_new) {
        rc = 0; /* it may still serve, and purge */
    }
    if (rc == 0) {
        rc = v->sync_dir(v->ctx);
        rc = rc == 0 ? 0 : store_fail(s, ERR_IO, "directory", "sync", rc);
    }
    return rc;
}

struct store *store_alloc(const struct store_conf *conf)
{
    struct store *s = mem_zalloc(sizeof(*s));

    s->conf = *conf;
    s->lock_fd = s->active_fd = s->spare_fd = s->meta_fd[0] = s->meta_fd[1] = -1;
    return s;
}

int store_open(const struct store_conf *conf, struct store **ret, struct store_recovered *ret_rec,
               char *ret_note)
{
    struct store *s = store_alloc(conf);
    struct store_recovered rec = {0};
    struct file_list files = {0};
    int rc;

    CHECK(conf->segment_size >= STORE_SEGMENT_SIZE_MIN);
    CHECK(conf->segment_size <= LOG_SEGMENT_SIZE_MAX);
    CHECK(conf->segment_size % BLOCK_SIZE == 0);
    CHECK(conf->snapshots_kept >= 2);
    rc = store_lock(s);
    if (rc == 0) {
        rc = open_recover(s, &files, &rec);
    }
    file_list_done(&files);
    if (rc != 0) {
        if (ret_note != NULL) {
            memcpy(ret_note, s->note, NOTE_SIZE);
        }
        store_recovered_done(&rec);
        store_close(s);
        return rc;
    }
    *ret = s;
    *ret_rec = rec;
    return 0;
}

void store_close(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;

    meta_close(s);
    transfer_close(s);
    if (s->active_fd >= 0) {
        v->close(v->ctx, s->active_fd);
    }
    if (s->spare_fd >= 0) {
        v->close(v->ctx, s->spare_fd);
    }
    if (s->lock_fd >= 0) {
        v->close(v->ctx, s->lock_fd);
    }
    mem_free(s->segments);
    mem_free(s->sectors);
    mem_free(s);
}

void store_recovered_done(struct store_recovered *rec)
{
    for (size_t i = 0; i < rec->entry_count; i++) {
        blob_unref(rec->entries[i].body);
    }
    mem_free(rec->entries);
    *rec = (struct store_recovered){0};
}

/* --- run ------------------------------------------------------------------------------------- */

static int run_purge(struct store *s)
{
    uint64_t floor_index;
    int rc = snap_purge(s, &floor_index);

    return rc == 0 ? log_purge(s, floor_index) : rc;
}

static size_t appends_from(const struct store_batch *batch, size_t i)
{
    size_t count = 0;

    while (i + count < batch->count && batch->ops[i + count].type == STORE_OP_APPEND) {
        count++;
    }
    return count;
}

static int run_op(struct store *s, const struct store_batch *batch, size_t i, size_t *ret_done)
{
    struct store_op *op = &batch->ops[i];

    *ret_done = 1;
    op->err = 0;
    switch (op->type) {
    case STORE_OP_VOTE:
        return meta_save(s, op->u.vote.promised_epoch, op->u.vote.voted_for);
    case STORE_OP_APPEND:
        return log_append(s, op, appends_from(batch, i), ret_done);
    case STORE_OP_TRUNCATE:
        return log_truncate(s, op->u.index);
    case STORE_OP_SNAP_PIECE:
        return transfer_piece(s, op);
    case STORE_OP_SNAP_SEAL:
        return transfer_seal(s, op);
    case STORE_OP_SNAP_DROP:
        return transfer_drop(s);
    case STORE_OP_INSTALL:
        return transfer_install(s, &op->u.install);
    case STORE_OP_PURGE:
        return run_purge(s);
    }
    CHECK(false); /* no such operation */
    return ERR_INVAL;
}

int store_run(struct store *s, const struct store_batch *batch, char *ret_note)
{
    s->batch_done = 0;
    if (s->has_failed) {
        return ERR_IO;
    }
    while (s->batch_done < batch->count) {
        size_t done;
        int rc = run_op(s, batch, s->batch_done, &done);

        if (rc != 0) {
            s->has_failed = rc != ERR_NOSPACE;
            if (ret_note != NULL) {
                memcpy(ret_note, s->note, NOTE_SIZE);
            }
            return rc;
        }
        s->batch_done += done;
    }
    return 0;
}

int store_prepare(struct store *s, char *ret_note)
{
    int rc = s->has_failed ? ERR_IO : segment_prepare(s, 0);

    s->has_failed = s->has_failed || (rc != 0 && rc != ERR_NOSPACE);
    if (rc != 0 && ret_note != NULL) {
        memcpy(ret_note, s->note, NOTE_SIZE);
    }
    return rc;
}

void store_stats(const struct store *s, struct store_stats *ret)
{
    struct store_stats stats = {
        .log_first = s->base.index + 1,
        .log_last = s->last.index,
        .log_bytes = s->spare_fd >= 0 ? s->spare_size : 0,
        .syncs = s->syncs,
        .batch_done = s->batch_done,
        .has_spare = s->spare_fd >= 0,
    };

    for (size_t i = 0; i < s->segment_count; i++) {
        stats.log_bytes += s->segments[i].size;
        if (s->segments[i].readable && s->segments[i].before.index < stats.log_first) {
            stats.log_first = s->segments[i].before.index + 1;
        }
    }
    *ret = stats;
}

/* --- snapshots ------------------------------------------------------------------------------- */

int store_snapshot_read(struct store *s, const struct store_pos *pos, store_consume_fn consume,
                        void *ctx)
{
    return snap_read(&s->conf.vfs, pos->index, NULL, consume, ctx);
}
