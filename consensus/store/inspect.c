/* Looks at a directory without touching it.
 *
 * Happy path: lock, list, read both copies of identity and vote, take the identity from them, and
 * let recovery read as it would at a start. Then every snapshot and every segment is read once
 * more, those that recovery does not need too, to say of each how it is.
 *
 * Failure modes: damage of any kind is a finding. Only what keeps one from looking at all is an
 * error: another process has the directory, or it cannot be listed. Between recovery and this code
 * stands a vfs that opens for reading and refuses everything else, so nothing can be changed by
 * mistake. */

#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "store_int.h"

/* --- a vfs that only reads -------------------------------------------------------------------- */

static int look_open(void *ctx, const char *name, int flags, int mode)
{
    const struct vfs *v = ctx;

    (void)mode;
    return (flags & O_CREAT) != 0 ? -EROFS : v->open(v->ctx, name, O_RDONLY, 0);
}

static int look_close(void *ctx, int fd)
{
    const struct vfs *v = ctx;

    return v->close(v->ctx, fd);
}

static ssize_t look_pread(void *ctx, int fd, void *to, size_t size, uint64_t offset)
{
    const struct vfs *v = ctx;

    return v->pread(v->ctx, fd, to, size, offset);
}

static ssize_t look_pwrite(void *ctx, int fd, const void *from, size_t size, uint64_t offset)
{
    (void)ctx, (void)fd, (void)from, (void)size, (void)offset;
    return -EROFS;
}

static int look_allocate(void *ctx, int fd, uint64_t size)
{
    (void)ctx, (void)fd, (void)size;
    return -EROFS;
}

static int look_sync(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return -EROFS;
}

static int look_size(void *ctx, int fd, uint64_t *ret)
{
    const struct vfs *v = ctx;

    return v->size(v->ctx, fd, ret);
}

static int look_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx, (void)from, (void)to;
    return -EROFS;
}

static int look_unlink(void *ctx, const char *name)
{
    (void)ctx, (void)name;
    return -EROFS;
}

static int look_sync_dir(void *ctx)
{
    (void)ctx;
    return -EROFS;
}

static int look_list(void *ctx, void (*fn)(void *arg, const char *name), void *arg)
{
    const struct vfs *v = ctx;

    return v->list(v->ctx, fn, arg);
}

static int look_lock(void *ctx, int fd)
{
    const struct vfs *v = ctx;

    return v->lock(v->ctx, fd);
}

static struct vfs look_vfs(struct vfs *v)
{
    return (struct vfs){
        .ctx = v,
        .open = look_open,
        .close = look_close,
        .pread = look_pread,
        .pwrite = look_pwrite,
        .allocate = look_allocate,
        .sync = look_sync,
        .size = look_size,
        .rename = look_rename,
        .unlink = look_unlink,
        .sync_dir = look_sync_dir,
        .list = look_list,
        .lock = look_lock,
    };
}

/* --- findings --------------------------------------------------------------------------------- */

/* The first finding of the worst kind is the one to tell. */
static void worsen(struct inspection *in, enum inspect_health health, const char *note)
{
    if (health > in->health) {
        in->health = health;
        (void)memccpy(in->note, note, '\0', sizeof(in->note) - 1);
    }
}

static void inspect_refused(struct inspection *in, const struct store *s, int err)
{
    in->open_err = err;
    worsen(in, INSPECT_REFUSED, s->note);
}

/* True: there is an identity, and recovery can go on under it. */
static bool inspect_meta(struct store *s, const struct file_list *files, struct inspection *in)
{
    struct meta_copy copies[2] = {0};
    int newest, rc = restore_check(s, files);

    if (rc != 0) {
        inspect_refused(in, s, rc);
        return false;
    }
    if (!files->has_meta[0] && !files->has_meta[1]) {
        in->is_empty = files->segment_count == 0 && files->snapshot_count == 0;
        if (!in->is_empty) {
            store_note(s, "meta-0, meta-1: missing beside a log or snapshot");
            inspect_refused(in, s, ERR_CORRUPT);
        }
        return false;
    }
    for (int i = 0; i < 2; i++) {
        rc = files->has_meta[i] ? meta_read(s, i, &copies[i]) : 0;
        if (rc != 0) {
            inspect_refused(in, s, rc);
        }
        in->meta[i] = (struct inspect_meta){
            .is_there = files->has_meta[i],
            .is_valid = copies[i].is_valid,
            .sequence = copies[i].meta.sequence,
            .promised_epoch = copies[i].meta.promised_epoch,
            .voted_for = copies[i].meta.voted_for,
        };
        if (copies[i].is_valid && !in->has_identity) {
            in->has_identity = true;
            in->cluster = s->conf.cluster = copies[i].cluster;
            in->member = s->conf.member = copies[i].member;
        }
    }
    rc = in->open_err != 0 ? in->open_err : meta_judge(s, copies, &newest);
    if (rc != 0) {
        inspect_refused(in, s, rc);
        return false;
    }
    s->meta = copies[newest].meta;
    in->incarnation = s->incarnation = copies[newest].incarnation;
    if (!copies[0].is_valid || !copies[1].is_valid) {
        worsen(in, INSPECT_MENDED,
               copies[0].is_valid ? "meta-1: missing or unreadable"
                                  : "meta-0: missing or unreadable");
    } else if (copies[0].meta.sequence != copies[1].meta.sequence) {
        worsen(in, INSPECT_MENDED, "meta-0, meta-1: one is older than the other");
    }
    return true;
}

static bool inspect_recovery(struct store *s, const struct file_list *files, struct inspection *in,
                             struct recover_end *ret_end)
{
    int rc = recover_read(s, files, &in->would, ret_end);

    if (rc != 0) {
        inspect_refused(in, s, rc);
    } else if (in->would.faulty) {
        worsen(in, INSPECT_FAULTY,
               in->would.note[0] != '\0' ? in->would.note
                                         : "log: it has not reached the claimed index again");
    } else if (in->would.torn_tail) {
        worsen(in, INSPECT_MENDED, in->would.note);
    }
    for (size_t i = 0; i < in->would.entry_count; i++) {
        blob_unref(in->would.entries[i].body);
        in->would.entries[i].body = NULL;
    }
    return rc == 0;
}

static void inspect_snapshots(struct store *s, const struct file_list *files, struct inspection *in)
{
    const struct vfs *v = &s->conf.vfs;

    in->snapshots = mem_zalloc((files->snapshot_count + 1) * sizeof(*in->snapshots));
    for (size_t i = 0; i < files->snapshot_count; i++) {
        struct inspect_snapshot *snap = &in->snapshots[in->snapshot_count++];
        struct snap_header h = {0};
        char name[FILE_NAME_SIZE];
        int fd;

        snap->index = files->snapshots[i];
        snap->err = snap_examine(v, snap->index, &h, &snap->offset);
        snap->pos = h.pos;
        file_name(name, "snap-", snap->index, "");
        fd = v->open(v->ctx, name, O_RDONLY, 0);
        if (fd >= 0) {
            (void)v->size(v->ctx, fd, &snap->size);
            v->close(v->ctx, fd);
        }
        if (snap->err != 0) {
            store_note(s, "%s: at %llu: %s", name, (unsigned long long)snap->offset,
                       err_text(snap->err));
            worsen(in, INSPECT_MENDED, s->note);
        }
    }
}

/* --- segments --------------------------------------------------------------------------------- */

static enum inspect_segment_state state_of(const struct segment_scan *scan, uint64_t limit)
{
    switch (scan->end) {
    case SEGMENT_REACHED:
        return INSPECT_SEGMENT_WHOLE;
    case SEGMENT_CLEAN: /* fine at the end of the log; elsewhere entries are missing */
        return limit == UINT64_MAX ? INSPECT_SEGMENT_WHOLE : INSPECT_SEGMENT_DAMAGED;
    case SEGMENT_TORN:
        return limit == UINT64_MAX ? INSPECT_SEGMENT_TORN : INSPECT_SEGMENT_DAMAGED;
    case SEGMENT_DAMAGED:
        break;
    }
    return INSPECT_SEGMENT_DAMAGED;
}

static void inspect_segment(struct store *s, size_t i, uint64_t first_sequence,
                            struct inspection *in)
{
    const struct segment *g = &s->segments[i];
    struct inspect_segment *seg = &in->segments[in->segment_count++];
    uint64_t limit = log_limit(s, i);
    struct segment_scan scan;
    char name[FILE_NAME_SIZE];
    int rc;

    *seg = (struct inspect_segment){.sequence = g->sequence, .size = g->size, .first = 1};
    if (g->sequence < first_sequence || (g->readable && g->before.index >= limit)) {
        seg->state = INSPECT_SEGMENT_VOID;
        return;
    }
    seg->is_needed = limit > s->base.index;
    segment_name(name, g->sequence);
    if (!g->readable) {
        seg->state = INSPECT_SEGMENT_BAD_HEADER;
        store_note(s, "%s: at 0: the header is damaged", name);
        worsen(in, INSPECT_MENDED, s->note);
        return;
    }
    rc = segment_scan(s, g, limit, NULL, NULL, &scan);
    if (rc != 0) {
        inspect_refused(in, s, rc);
        return;
    }
    seg->state = state_of(&scan, limit);
    seg->first = g->before.index + 1;
    seg->last = scan.last.index;
    seg->offset = scan.offset;
    seg->reason = scan.reason != NULL ? scan.reason : "the file ends too early";
    if (seg->state == INSPECT_SEGMENT_DAMAGED) {
        store_note(s, "%s: at %llu: %s", name, (unsigned long long)seg->offset, seg->reason);
        worsen(in, INSPECT_MENDED, s->note);
    }
}

/* Those that were begun, and the spare behind them. */
static void inspect_segments(struct store *s, const struct file_list *files,
                             const struct recover_end *end, struct inspection *in)
{
    in->segments = mem_zalloc((files->segment_count + 1) * sizeof(*in->segments));
    for (size_t i = 0; i < s->segment_count; i++) {
        inspect_segment(s, i, end->first_sequence, in);
    }
    for (size_t i = s->segment_count; i < files->segment_count; i++) {
        struct inspect_segment *seg = &in->segments[in->segment_count++];
        struct segment g = {0};
        bool is_spare;

        (void)segment_read_header(s, files->segments[i], &g, &is_spare);
        *seg = (struct inspect_segment){.sequence = files->segments[i], .size = g.size, .first = 1};
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

/* A directory that no process ever had open has no such file. */
static int inspect_lock(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = v->open(v->ctx, "lock", O_RDONLY, 0);

    if (rc < 0) {
        return rc == -ENOENT ? 0 : store_fail(s, ERR_IO, "lock", "open", rc);
    }
    s->lock_fd = rc;
    rc = v->lock(v->ctx, s->lock_fd);
    if (rc == -EWOULDBLOCK) {
        store_note(s, "lock: held by another process");
        return ERR_BUSY;
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, "lock", "lock", rc);
}

static size_t names_count(const struct buf *names)
{
    size_t count = 0;

    for (size_t i = 0; i < names->size; i++) {
        count += names->data[i] == '\0';
    }
    return count;
}

int inspect_run(const struct vfs *vfs, struct inspection *ret, char *ret_note)
{
    struct store *s = mem_zalloc(sizeof(*s));
    struct inspection in = {0};
    struct file_list files = {0};
    struct vfs inner = *vfs;
    struct recover_end end;
    int rc;

    s->conf.vfs = look_vfs(&inner);
    s->lock_fd = s->active_fd = s->spare_fd = s->meta_fd[0] = s->meta_fd[1] = -1;
    rc = inspect_lock(s);
    if (rc == 0) {
        rc = file_list(&s->conf.vfs, &files);
        rc = rc == 0 ? 0 : store_fail(s, ERR_IO, "directory", "list", rc);
    }
    if (rc == 0) {
        in.temporary_count = names_count(&files.temporary);
        if (inspect_meta(s, &files, &in) && inspect_recovery(s, &files, &in, &end)) {
            inspect_segments(s, &files, &end, &in);
        }
        inspect_snapshots(s, &files, &in);
        *ret = in;
    } else {
        memcpy(ret_note, s->note, NOTE_SIZE);
    }
    file_list_done(&files);
    store_close(s);
    return rc;
}

void inspect_done(struct inspection *in)
{
    store_recovered_done(&in->would);
    mem_free(in->snapshots);
    mem_free(in->segments);
    *in = (struct inspection){0};
}
