/* Renames that a file of this mount alone takes part in.
 *
 * Between two local names the table is all that changes. To a replicated name, which is how editors
 * put a new version in place, the content becomes that file's, in one change. From a replicated
 * name, which is how they keep the old version, the content is read, and the file removed. A
 * directory is never local, whatever its name.
 *
 * Failures: those of the change; then nothing has happened, but that what was to be kept as a local
 * file is there if the replicated one may be gone. ESTALE when the new name has come or gone since
 * the kernel looked: it looks again and asks again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "blob.h"
#include "err.h"
#include "local.h"
#include "mem.h"
#include "op_local.h"
#include "times.h"

static struct name to_name(const struct call *c)
{
    return (struct name){c->to_name, (uint32_t)strlen(c->to_name)};
}

static struct call *call_of(struct mount *m, fuse_req_t req, struct inode *dir, const char *name,
                            struct inode *to_dir, const char *to_name)
{
    struct call *c = call_new(m, req, dir, NULL);

    call_set_name(c, name);
    c->to_dir = to_dir;
    inode_pin(to_dir);
    c->to_name = mem_strdup(to_name);
    return c;
}

/* --- to a replicated name -------------------------------------------------------------------- */

/* Descriptors of the local file are descriptors of what it has become. */
static void repoint(struct mount *m, struct local_file *f, struct inode *i, struct blob *content)
{
    struct handle *h;

    DL_FOREACH (m->handles, h) {
        if (h->local != f) {
            continue;
        }
        h->kind = HANDLE_FILE;
        h->local = NULL;
        local_unpin(&m->locals, f); /* the caller holds it, too */
        h->inode = i;
        inode_pin(i);
        i->writers += h->writable;
        h->session_count = m->session_count;
        h->snapshot = blob_ref(content);
        h->version = i->attr.version;
        h->append = h->append_stage;
        h->append_stage = false;
    }
}

/* Who waits for a lock of the local file would wait for ever: nobody gives one back here again. */
static void refuse_waiters(struct local_file *f)
{
    struct call *c;

    while ((c = f->lock_waiters) != NULL) {
        call_leave(c);
        call_reply_errno(c, ESTALE);
    }
}

static void on_published(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct local_file *f = c->local;
    const struct attr *a = r->op == OP_CREATE ? &r->u.create.attr : &r->u.attr;
    struct inode *i;

    if (r->err == ERR_NOENT || (r->err == ERR_EXISTS && (c->flags & RENAME_NOREPLACE) == 0)) {
        call_reply_errno(c, ESTALE);
        return;
    }
    if (r->err != 0) {
        call_reply_err(c, r->err == ERR_EXPIRED ? ERR_TIMEOUT : r->err);
        return;
    }
    i = inode_learn(&m->inodes, c->to_dir, to_name(c), a, r->index);
    value_cache_put(&m->values, i, c->data, a->version);
    if (f->became == NULL) {
        f->became = i;
        inode_pin(i);
        repoint(m, f, i, c->data);
        refuse_waiters(f);
    }
    local_unlink(&m->locals, f);
    notify_entry(m->notify, c->to_dir->id, c->to_name, strlen(c->to_name));
    inode_unpin(&m->inodes, i);
    call_reply_errno(c, 0);
}

static void publish(struct call *c, struct local_file *f, unsigned flags)
{
    const struct inode *there = inode_child(c->to_dir, c->to_name, strlen(c->to_name));

    c->local = f;
    local_pin(f);
    c->flags = flags;
    c->data = f->bytes.size > 0 ? blob_new(f->bytes.data, f->bytes.size) : NULL;
    if (there != NULL && (flags & RENAME_NOREPLACE)) {
        call_reply_errno(c, EEXIST);
    } else if (there != NULL && !f->is_link) {
        call_submit(c,
                    &(struct request){.op = OP_SET, .u.set = {.id = there->id, .value = c->data}},
                    on_published);
    } else {
        call_submit(c,
                    &(struct request){.op = OP_CREATE,
                                      .u.create = {.dir = c->to_dir->id,
                                                   .name = to_name(c),
                                                   .type = f->is_link ? NODE_SYMLINK : NODE_FILE,
                                                   .mode = f->mode,
                                                   .uid = f->uid,
                                                   .gid = f->gid,
                                                   .value = c->data}},
                    on_published);
    }
}

/* --- from a replicated name ------------------------------------------------------------------ */

/* The file may be gone, or go yet. */
static bool is_uncertain(int err)
{
    return err == ERR_TIMEOUT || err == ERR_INTR || err == ERR_EXPIRED;
}

static void on_taken_out(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;

    if (r->err == 0 || is_uncertain(r->err)) { /* one copy too many is better than none */
        local_place(&m->locals, c->local, c->to_dir, c->to_name);
        notify_entry(m->notify, c->to_dir->id, c->to_name, strlen(c->to_name));
    }
    call_reply_err(c, r->err == ERR_EXPIRED ? ERR_TIMEOUT : r->err);
}

static bool copy(struct mount *m, struct local_file *f, const struct reply *r)
{
    const struct attr *a = &r->u.read.attr;
    const struct blob *value = r->u.read.value;

    if (!local_resize(&m->locals, f, value != NULL ? value->size : 0)) {
        return false;
    }
    if (value != NULL) {
        memcpy(f->bytes.data, value->data, value->size);
    }
    f->mode = a->mode;
    f->uid = a->uid;
    f->gid = a->gid;
    f->atime = to_timespec(a->atime_ns);
    f->mtime = to_timespec(a->mtime_ns);
    return true;
}

static void on_value(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    c->local = local_new(&m->locals, r->u.read.attr.type == NODE_SYMLINK);
    if (c->local == NULL || !copy(m, c->local, r)) {
        call_reply_errno(c, ENOSPC);
        return;
    }
    call_submit(
        c,
        &(struct request){
            .op = OP_REMOVE,
            .u.remove = {.dir = c->inode->id, .name = call_name(c), .id = r->u.read.attr.id}},
        on_taken_out);
}

/* --- the request ----------------------------------------------------------------------------- */

static bool is_dir(struct inode *dir, const char *name)
{
    const struct inode *i = inode_child(dir, name, strlen(name));

    return i == NULL || inode_is_dir(i);
}

bool op_local_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                     fuse_ino_t to_parent, const char *to_name, unsigned flags)
{
    struct inode *dir = inode_find(&m->inodes, parent);
    struct inode *to_dir = inode_find(&m->inodes, to_parent);
    struct local_file *f = local_child(&m->locals, parent, name);
    struct local_file *other = local_child(&m->locals, to_parent, to_name);
    bool to_local = local_matches(&m->locals, to_name);
    struct inode *i;

    if (dir == NULL || to_dir == NULL || (f == NULL && !to_local && other == NULL) ||
        (f == NULL && is_dir(dir, name))) {
        return false;
    }
    if (flags & RENAME_EXCHANGE) {
        op_refuse(req, EINVAL);
    } else if (other != NULL && (flags & RENAME_NOREPLACE)) {
        op_refuse(req, EEXIST);
    } else if (f != NULL && to_local) {
        local_place(&m->locals, f, to_dir, to_name);
        op_refuse(req, 0);
    } else if (f != NULL) {
        publish(call_of(m, req, dir, name, to_dir, to_name), f, flags);
    } else {
        i = inode_child(dir, name, strlen(name));
        call_submit(call_of(m, req, dir, name, to_dir, to_name),
                    &(struct request){.op = OP_READ, .u.read.id = i->id}, on_value);
    }
    return true;
}
