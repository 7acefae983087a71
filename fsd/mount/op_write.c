/* Writing. One open-write-close is one atomic change.
 *
 * Happy path: WRITE collects bytes in the open file's stage; FLUSH (each close of a descriptor) or
 * FSYNC commits the stage as one SET, on condition that the version is still the one seen at open,
 * or unconditionally if the file was truncated first. A FLUSH without new bytes commits nothing: a
 * shell sends one before its first write. O_APPEND is different: each write is an APPEND at once.
 *
 * A truncation by open() takes effect with the first commit. RELEASE commits one that saw no write
 * (`: > f`); nobody waits for RELEASE, so whoever opens or looks at the file next waits for it.
 *
 * Times that are set while bytes wait for their commit (`cp -p` and `tar` do it before they close)
 * belong behind it: they are set once more when it is done.
 *
 * Commits of one inode go out one after the other, so that a second FLUSH of the same open file
 * expects the version that the first one made.
 *
 * Failures: a refused write (too large, no quorum) takes the whole change with it: nothing that
 * this open file wrote or truncated is committed, so the file stays as it was. A failed commit is
 * reported by the FLUSH or FSYNC that tried it. Shells do not look at the result of close, so it
 * also stays on the inode until an fsync reports it, and the first write of a handle that was
 * flushed before, the mark of a shell redirection, asks the leader whether a quorum answers now. */
#include <errno.h>
#include <utlist.h>

#include "blob.h"
#include "call.h"
#include "control.h"
#include "err.h"
#include "lock.h"
#include "op_local.h"
#include "poll_wait.h"
#include "replay_serve.h"

enum commit_by { COMMIT_BY_FLUSH, COMMIT_BY_FSYNC, COMMIT_BY_RELEASE }; /* call.flags */

static int sticky_take(struct inode *i)
{
    int err_no = i->sticky_errno;

    i->sticky_errno = 0;
    return err_no;
}

/* --- commit ---------------------------------------------------------------------------------- */

static int commit_failed(struct call *c, int err)
{
    struct inode *i = c->inode;

    if (err == ERR_NOENT && i->removed_here) {
        return 0; /* as on any file system, what is written after unlink goes with the file */
    }
    if (c->flags != COMMIT_BY_FSYNC) {
        i->sticky_errno = err_to_errno(err == ERR_INTR ? ERR_TIMEOUT : err);
    }
    return err_to_errno(err);
}

static void commit_succeeded(struct call *c, const struct reply *r)
{
    inode_update(c->inode, &r->u.attr, r->index);
    value_cache_put(&c->m->values, c->inode, c->data, r->u.attr.version);
    c->handle->version = r->u.attr.version;
    poll_on_read(c->handle, r->u.attr.version);
}

/* A close gives back the process's fcntl locks, behind what it wrote under them. */
static void flushed(struct call *c, int err_no)
{
    uint64_t owner = c->fi.lock_owner;
    fuse_req_t req = c->req;

    lock_handle_flushed(c->handle, owner);
    if (lock_is_unknown(c->inode, LOCK_KIND_POSIX, owner)) {
        call_reply_errno(c, err_no);
        return;
    }
    lock_give_all(c->m, req, c->inode, LOCK_KIND_POSIX, owner, err_no);
    c->req = NULL;
    call_reply_errno(c, 0);
}

static void finish_commit(struct call *c, int err_no)
{
    struct mount *m = c->m;
    struct inode *i = c->inode;

    inode_pin(i);
    i->commits--;
    if (c->flags == COMMIT_BY_RELEASE) {
        i->cuts--;
        handle_free(m, c->handle);
    }
    if (c->flags == COMMIT_BY_FLUSH) {
        flushed(c, err_no);
    } else {
        call_reply_errno(c, err_no);
    }
    call_wake(m, i);
    inode_unpin(&m->inodes, i);
}

static void on_mtime_kept(struct call *c, const struct reply *r)
{
    if (r->err == 0) {
        inode_update(c->inode, &r->u.attr, r->index);
    }
    finish_commit(c, r->err == 0 || r->err == ERR_NOENT ? 0 : commit_failed(c, r->err));
}

/* The commit has made the file's time that of the commit. */
static void keep_mtime(struct call *c)
{
    struct handle *h = c->handle;

    h->mtime_kept = false;
    c->told = false; /* this one is another change */
    c->kernel_knows = false;
    call_submit(
        c,
        &(struct request){
            .op = OP_SETATTR,
            .u.setattr = {.id = c->inode->id, .mask = SETATTR_MTIME, .mtime_ns = h->mtime_ns}},
        on_mtime_kept);
}

void write_keep_mtime(struct mount *m, const struct inode *i, int64_t mtime_ns)
{
    struct handle *h;

    DL_FOREACH (m->handles, h) {
        if (h->inode == i && handle_has_changes(h)) {
            h->mtime_kept = true;
            h->mtime_ns = mtime_ns;
        }
    }
}

static void commit_send(struct call *c);

/* The file was renamed onto another while the commit was on its way: it is that one's then. */
static bool commit_follows(struct call *c, const struct reply *r)
{
    struct inode *i = c->inode;
    struct inode *now = inode_current(i);

    if (r->err != ERR_NOENT || now == i) {
        return false;
    }
    inode_pin(now);
    c->inode = now;
    i->commits--;
    now->commits++;
    if (c->flags == COMMIT_BY_RELEASE) {
        i->cuts--;
        now->cuts++;
    }
    commit_send(c);
    call_wake(c->m, i);
    inode_unpin(&c->m->inodes, i);
    return true;
}

static void on_committed(struct call *c, const struct reply *r)
{
    if (commit_follows(c, r)) {
        return;
    }
    if (r->err != 0) {
        finish_commit(c, commit_failed(c, r->err));
        return;
    }
    commit_succeeded(c, r);
    if (c->handle->mtime_kept) {
        keep_mtime(c);
        return;
    }
    finish_commit(c, c->flags == COMMIT_BY_FSYNC ? sticky_take(c->inode) : 0);
}

static void commit_send(struct call *c)
{
    const struct handle *h = c->handle;

    c->kernel_knows = c->ino == c->inode->id;
    call_submit(c,
                &(struct request){.op = OP_SET,
                                  .u.set = {.id = c->inode->id,
                                            .if_version = h->blind ? VERSION_ANY : h->version,
                                            .value = c->data}},
                on_committed);
}

static void commit(struct call *c, enum commit_by by)
{
    struct handle *h = c->handle;
    const uint8_t *bytes = NULL;
    size_t size = 0;

    if (h->stage.active) {
        handle_content(h, &bytes, &size);
    }
    c->flags = by;
    c->data = size > 0 ? blob_new(bytes, size) : NULL;
    h->dirty = false;
    h->cut = false;
    if (h->mtime_kept) {
        c->began_ms = uv_now(c->m->loop); /* one deadline for two requests */
    }
    c->inode->commits++;
    if (handle_is_expired(c->m, h)) { /* its session ended while it waited for its turn */
        on_committed(c, &(struct reply){.op = OP_SET, .err = ERR_EXPIRED});
        return;
    }
    commit_send(c);
}

/* --- WRITE ----------------------------------------------------------------------------------- */

static void append(struct call *c);

static void on_appended(struct call *c, const struct reply *r)
{
    struct inode *now = inode_current(c->inode);

    if (r->err == ERR_NOENT && now != c->inode) { /* renamed onto another meanwhile */
        inode_pin(now);
        inode_unpin(&c->m->inodes, c->inode);
        c->inode = now;
        append(c);
        return;
    }
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    inode_update(c->inode, &r->u.attr, r->index);
    c->handle->snapshot_old = true;
    poll_on_read(c->handle, r->u.attr.version);
    fuse_reply_write(c->req, c->size);
    call_end(c);
}

static void append(struct call *c)
{
    call_submit(
        c, &(struct request){.op = OP_APPEND, .u.append = {.id = c->inode->id, .value = c->data}},
        on_appended);
}

static void write_staged(struct call *c, const void *bytes)
{
    struct handle *h = c->handle;

    if (h->refused_errno == EINTR) {
        h->refused_errno = 0; /* an interrupted write may be repeated, and was */
    }
    handle_stage(h);
    stage_write(&h->stage, h->append_stage ? h->stage.bytes.size : c->offset, bytes, c->size);
    h->dirty = true;
    h->cut = false;
    h->wrote = true;
    h->user = fuse_req_ctx(c->req)->pid;
    h->mtime_kept = false;
    fuse_reply_write(c->req, c->size);
    call_end(c);
}

static void on_confirmed(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        c->handle->refused_errno = err_to_errno(r->err);
        call_reply_err(c, r->err);
        return;
    }
    c->handle->confirmed = true;
    write_staged(c, c->data->data);
}

static bool fits(const struct mount *m, const struct handle *h, uint64_t offset, size_t size)
{
    if (h->append) {
        offset = 0; /* the ensemble knows where it ends */
    } else if (h->append_stage) {
        offset = h->stage.bytes.size;
    }
    return offset <= m->value_size_max && size <= m->value_size_max - offset;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct call *c;

    (void)ino;
    if (replay_serve_write(m, req, size) || op_local_write(req, bytes, size, offset, fi)) {
        return;
    }
    if (h->kind == HANDLE_CONTROL) {
        c = call_new(m, req, NULL, fi);
        c->offset = (uint64_t)offset;
        c->size = size;
        control_write(c, bytes);
        return;
    }
    if (h->kind != HANDLE_FILE || !h->writable) {
        op_refuse(req, EBADF);
        return;
    }
    if (handle_is_expired(m, h)) {
        op_refuse(req, ESTALE);
        return;
    }
    if (!fits(m, h, (uint64_t)offset, size)) {
        h->refused_errno = h->append ? 0 : EFBIG; /* an append is a change of its own */
        op_refuse(req, EFBIG);
        return;
    }
    if (h->refused_errno != 0 && h->refused_errno != EINTR) {
        op_refuse(req, h->refused_errno);
        return;
    }
    c = call_new(m, req, h->inode, fi);
    c->offset = (uint64_t)offset;
    c->size = size;
    if (h->append) {
        h->wrote = true;
        c->data = blob_new(bytes, size);
        append(c);
    } else if (h->flushed_first && !h->confirmed) {
        c->data = blob_new(bytes, size);
        call_submit(c, &(struct request){.op = OP_SYNC, .u.sync.quorum = true}, on_confirmed);
    } else {
        write_staged(c, bytes);
    }
}

bool write_truncate(struct mount *m, struct handle *h, uint64_t size)
{
    (void)m;
    if (h->kind != HANDLE_FILE || !h->writable || h->append) {
        return false;
    }
    handle_stage(h);
    stage_resize(&h->stage, size);
    h->dirty = true;
    h->cut = false;
    h->mtime_kept = false;
    if (size == 0) {
        h->blind = true;
        h->refused_errno = 0;
    }
    return true;
}

/* --- FLUSH, FSYNC, RELEASE ------------------------------------------------------------------- */

static void commit_wait(struct mount *m, fuse_req_t req, fuse_ino_t ino,
                        const struct fuse_file_info *fi, void (*resume)(struct call *c))
{
    struct call *c = call_new(m, req, handle_of(fi)->inode, fi);

    c->ino = ino;
    call_wait(c, WAIT_COMMITS, resume);
}

static void flush_now(struct call *c)
{
    struct handle *h = c->handle;

    if (h->refused_errno == 0 && h->dirty) {
        commit(c, COMMIT_BY_FLUSH);
        return;
    }
    if (h->refused_errno == 0 && !h->wrote) {
        h->flushed_first = true;
    }
    flushed(c, h->refused_errno);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);

    if (h->kind == HANDLE_CONTROL) {
        control_flush(call_new(m, req, NULL, fi));
    } else if (h->kind == HANDLE_LOCAL) {
        op_local_give_all(h->local, LOCK_KIND_POSIX, fi->lock_owner);
        op_refuse(req, 0);
    } else if (h->kind != HANDLE_FILE || !h->writable) {
        op_refuse(req, 0);
    } else if (handle_is_expired(m, h)) {
        op_refuse(req, ESTALE);
    } else {
        commit_wait(m, req, ino, fi, flush_now);
    }
}

static void fsync_now(struct call *c)
{
    struct handle *h = c->handle;
    int err_no = h->refused_errno;

    if (handle_has_changes(h)) {
        commit(c, COMMIT_BY_FSYNC);
        return;
    }
    err_no = err_no != 0 ? err_no : sticky_take(c->inode);
    if (err_no != 0 || h->writable) {
        call_reply_errno(c, err_no);
    } else {
        barrier_begin(c);
    }
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);

    (void)datasync;
    if (h->kind == HANDLE_CONTROL) {
        control_fsync(call_new(m, req, NULL, fi));
    } else if (h->kind != HANDLE_FILE) {
        op_refuse(req, 0);
    } else if (handle_is_expired(m, h)) {
        op_refuse(req, ESTALE);
    } else {
        commit_wait(m, req, ino, fi, fsync_now);
    }
}

static void release_now(struct call *c)
{
    commit(c, COMMIT_BY_RELEASE);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);

    if (h->kind == HANDLE_LOCAL) {
        op_local_give_all(h->local, LOCK_KIND_FLOCK, fi->lock_owner);
    }
    fuse_reply_err(req, 0);
    if (h->inode != NULL) {
        h->inode->opener = 0;
    }
    if (h->kind == HANDLE_FILE && handle_has_changes(h) && h->ephemeral == 0 &&
        !handle_is_expired(m, h)) {
        h->inode->cuts++;
        commit_wait(m, NULL, ino, fi, release_now);
    } else {
        handle_end(m, h);
        interest_update(m);
    }
}
