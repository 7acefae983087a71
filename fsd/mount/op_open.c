/* Opening and reading. An open file shows one version, whole, from when it was opened until it was
 * read to its end; the kernel's page cache is not used, because it would share pages and the size
 * between versions.
 *
 * Happy path: OPEN takes the value from the mount's cache, or reads it from the member, and keeps a
 * reference; READ serves slices of it.
 * Failures: the node is gone (ENOENT); the session the file was opened in has ended (ESTALE); the
 * kernel came by a name that it has not dropped yet, of a node that is gone (ESTALE: it then looks
 * the path up again). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "blob.h"
#include "call.h"
#include "control.h"
#include "err.h"
#include "mem.h"
#include "op_local.h"
#include "poll_wait.h"
#include "replay_serve.h"

static void learn_value(struct mount *m, struct inode *i, const struct reply *r)
{
    inode_update(i, &r->u.read.attr, r->index);
    value_cache_put(&m->values, i, r->u.read.value, r->u.read.attr.version);
}

/* --- OPEN ------------------------------------------------------------------------------------ */

static void open_with(struct call *c, struct blob *value, uint64_t version)
{
    int flags = c->fi.flags;
    struct handle *h = handle_new(c->m, HANDLE_FILE, c->inode);
    bool cut = (flags & O_TRUNC) != 0;

    if ((flags & O_ACCMODE) != O_RDONLY || cut) {
        handle_make_writable(h);
    }
    h->user = fuse_req_ctx(c->req)->pid;
    h->append = (flags & O_APPEND) != 0 && !cut;
    h->append_stage = (flags & O_APPEND) != 0 && cut;
    h->blind = cut;
    h->cut = cut;
    h->version = version;
    poll_on_read(h, version);
    h->snapshot = blob_ref(value);
    c->fi.direct_io = 1;
    c->fi.noflush = !h->writable;
    call_reply_open(c, h);
}

static void on_open_value(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    learn_value(c->m, c->inode, r);
    open_with(c, r->u.read.value, r->u.read.attr.version);
}

static bool needs_value(int flags)
{
    return (flags & O_TRUNC) == 0 && (flags & (O_ACCMODE | O_APPEND)) != (O_WRONLY | O_APPEND);
}

static void open_now(struct call *c)
{
    struct blob *value = NULL;

    if (c->inode->removed) {
        call_reply_errno(c, ESTALE);
    } else if (needs_value(c->fi.flags) && !value_cache_get(&c->m->values, c->inode, &value)) {
        call_submit(c, &(struct request){.op = OP_READ, .u.read.id = c->inode->id}, on_open_value);
    } else {
        open_with(c, value, c->inode->attr.version);
    }
}

static void open_settled(struct call *c)
{
    call_wait(c, WAIT_CUTS, open_now);
}

void open_begin(struct call *c)
{
    if (needs_value(c->fi.flags)) {
        linear_begin_behind_look(c, open_settled);
    } else {
        open_settled(c);
    }
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i;
    struct call *c;

    if (replay_serve_open(m, req, fi) || op_local_open(m, req, ino, fi)) {
        return;
    }
    if (control_has(ino)) {
        control_open(m, req, ino, fi);
        return;
    }
    if (m->options->read_only && (fi->flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY) {
        op_refuse(req, EROFS);
        return;
    }
    i = inode_of(m, ino);
    if (i == NULL) {
        op_refuse(req, ESTALE);
        return;
    }
    fi->fh = 0;
    c = call_new(m, req, i, fi);
    c->ino = ino;
    open_begin(c);
}

/* --- READ ------------------------------------------------------------------------------------ */

static void serve(struct call *c)
{
    const uint8_t *bytes;
    size_t size;

    handle_content(c->handle, &bytes, &size);
    c->handle->read_to_end = c->offset + c->size >= size;
    if (c->offset >= size) {
        call_reply_bytes(c, NULL, 0);
        return;
    }
    size -= c->offset;
    call_reply_bytes(c, bytes + c->offset, size < c->size ? size : c->size);
}

static void on_read_value(struct call *c, const struct reply *r)
{
    struct handle *h = c->handle;

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    learn_value(c->m, c->inode, r);
    blob_unref(h->snapshot);
    h->snapshot = blob_ref(r->u.read.value);
    h->snapshot_old = false;
    if (h->polled) {
        h->version = r->u.read.attr.version; /* a commit expects what was read last */
    }
    poll_on_read(h, r->u.read.attr.version);
    serve(c);
}

static void read_now(struct call *c)
{
    call_submit(c, &(struct request){.op = OP_READ, .u.read.id = c->inode->id}, on_read_value);
}

enum look { LOOK_NOT, LOOK_ON, LOOK_ANEW }; /* call.flags */

/* What a reader sees is one version, until it has seen the end of it. Then it goes on with what was
 * appended since, as `tail -f` does; and if it begins anew, it sees the newest version. So does who
 * has locked the file: what the one before has written must be there, or the lock would be for
 * nothing. */
static enum look looks_again(const struct handle *h, bool locked, uint64_t offset)
{
    const struct inode *i = h->inode;

    if (i->removed || i->attr.version <= h->version || handle_has_changes(h)) {
        return LOOK_NOT;
    }
    if (locked) {
        return LOOK_ANEW;
    }
    if (!h->read_to_end || h->writable) {
        return LOOK_NOT;
    }
    if (offset == 0) {
        return LOOK_ANEW;
    }
    return offset >= (h->snapshot != NULL ? h->snapshot->size : 0) ? LOOK_ON : LOOK_NOT;
}

static bool goes_on(const struct blob *old, const struct blob *new)
{
    return old == NULL ||
           (new != NULL &&new->size >= old->size &&memcmp(new->data, old->data, old->size) == 0);
}

static void serve_newest(struct call *c, struct blob *value, uint64_t version)
{
    struct handle *h = c->handle;

    if (c->flags == LOOK_ANEW || goes_on(h->snapshot, value)) {
        blob_ref(value);
        blob_unref(h->snapshot);
        h->snapshot = value;
        h->version = version;
        h->blind = false; /* what is written now rests on what was read */
        stage_done(&h->stage);
        poll_on_read(h, version);
    }
    serve(c);
}

static void on_newest(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    learn_value(c->m, c->inode, r);
    serve_newest(c, r->u.read.value, r->u.read.attr.version);
}

static void newest_now(struct call *c)
{
    struct blob *value = NULL;

    if (value_cache_get(&c->m->values, c->inode, &value)) {
        serve_newest(c, value, c->inode->attr.version);
    } else {
        call_submit(c, &(struct request){.op = OP_READ, .u.read.id = c->inode->id}, on_newest);
    }
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct call *c;
    bool locked;

    (void)ino;
    if (op_local_read(req, size, offset, fi)) {
        return;
    }
    if (h->kind == HANDLE_REPLAY || handle_is_expired(m, h)) {
        op_refuse(req, h->kind == HANDLE_REPLAY ? EBADF : ESTALE);
        return;
    }
    c = call_new(m, req, h->inode, fi);
    c->offset = (uint64_t)offset;
    c->size = size;
    locked = h->locked;
    h->locked = false;
    if (h->kind == HANDLE_CONTROL) {
        control_read(c);
    } else if ((h->snapshot_old && !h->stage.active) || poll_wants_newest(h, c->offset)) {
        linear_begin(c, read_now);
    } else if (h->kind == HANDLE_FILE &&
               (c->flags = looks_again(h, locked, (uint64_t)offset)) != LOOK_NOT) {
        linear_begin(c, newest_now);
    } else {
        serve(c);
    }
}

/* --- READLINK -------------------------------------------------------------------------------- */

static void reply_link(struct call *c, const struct blob *target)
{
    char *text = mem_zalloc((target != NULL ? target->size : 0) + 1);

    if (target != NULL && target->size > 0) {
        memcpy(text, target->data, target->size);
    }
    fuse_reply_readlink(c->req, text);
    mem_free(text);
    call_end(c);
}

static void on_link(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    learn_value(c->m, c->inode, r);
    reply_link(c, r->u.read.value);
}

static void readlink_now(struct call *c)
{
    struct blob *target;

    if (c->inode->removed) {
        call_reply_errno(c, ESTALE);
    } else if (value_cache_get(&c->m->values, c->inode, &target)) {
        reply_link(c, target);
    } else {
        call_submit(c, &(struct request){.op = OP_READ, .u.read.id = c->inode->id}, on_link);
    }
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = inode_of(m, ino);

    if (op_local_readlink(m, req, ino)) {
        return;
    }
    if (control_has(ino)) {
        control_readlink(m, req, ino);
    } else if (i == NULL) {
        op_refuse(req, ESTALE);
    } else {
        linear_begin(call_new(m, req, i, NULL), readlink_now);
    }
}
