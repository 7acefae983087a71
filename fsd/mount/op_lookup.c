/* Names and attributes. What the table knows is answered at once, also while no member can be
 * reached (with reads=linearizable: once it is known to be the newest); the rest is asked of the
 * member, whose answer brings the subscription that keeps the table true. */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "control.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "name.h"
#include "op_local.h"
#include "replay_serve.h"
#include "times.h"

/* --- showing --------------------------------------------------------------------------------- */

void attr_to_stat(const struct attr *a, struct stat *ret)
{
    mode_t type = a->type == NODE_DIR ? S_IFDIR : a->type == NODE_SYMLINK ? S_IFLNK : S_IFREG;

    *ret = (struct stat){
        .st_ino = a->id,
        .st_mode = type | (a->mode & 07777),
        .st_nlink = a->nlink,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_size = (off_t)a->size,
        .st_blksize = 4096,
        .st_blocks = a->type == NODE_DIR ? 0 : (blkcnt_t)((a->size + 511) / 512),
        .st_atim = to_timespec(a->atime_ns),
        .st_mtim = to_timespec(a->mtime_ns),
        .st_ctim = to_timespec(a->ctime_ns),
    };
}

/* The size is another one for a process that has written, until the commit is known; nobody is to
 * get it from a cache. */
static bool is_changing(const struct mount *m, const struct inode *i)
{
    return i->commits > 0 || handle_changes(m, i);
}

double inode_stat(const struct mount *m, struct inode *i, struct stat *ret)
{
    attr_to_stat(&i->attr, ret);
    ret->st_ino = i->id;
    if (i->removed) {
        ret->st_nlink = 0;
    }
    if (!i->attr_fresh || m->options->linearizable || is_changing(m, i)) {
        return 0;
    }
    i->attr_kept = KEPT_ALL;
    return CACHE_TIMEOUT_S;
}

void inode_stat_drop(struct mount *m, struct inode *i, bool value)
{
    if (i->kernel_refs > 0 && i->attr_kept > (value ? KEPT_PERMISSIONS : KEPT_NOTHING)) {
        i->attr_kept = KEPT_NOTHING;
        notify_inode(m->notify, i->id);
    }
}

void inode_entry(struct mount *m, struct inode *i, struct fuse_entry_param *ret)
{
    *ret = (struct fuse_entry_param){.ino = i->id, .generation = 1};
    ret->attr_timeout = inode_stat(m, i, &ret->attr);
    /* While changes of names in the directory wait to be repeated, a helper must ask for each. */
    ret->entry_timeout =
        i->linked && !m->options->linearizable && !replay_renames(m->replay, i->parent)
            ? CACHE_TIMEOUT_S
            : 0;
    inode_kernel_ref(i);
}

struct inode *inode_of(struct mount *m, fuse_ino_t ino)
{
    if (local_has(ino)) {
        const struct local_file *f = local_find(&m->locals, ino);

        return f != NULL ? inode_current(f->became) : NULL;
    }
    return inode_current(inode_find(&m->inodes, ino));
}

void op_refuse(fuse_req_t req, int err_no)
{
    fuse_reply_err(req, err_no);
}

/* What is known is good enough: it is the newest, or no member has been there to ask for so long
 * that it is the best there is. */
static bool can_show(const struct mount *m, const struct inode *i)
{
    return i->attr_fresh || (i->attr.id != 0 && !m->options->linearizable && !m->attached &&
                             uv_now(m->loop) - m->detached_ms >= CUT_OFF_MS);
}

/* --- LOOKUP ---------------------------------------------------------------------------------- */

static void on_lookup(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct name name = call_name(c);
    struct inode *i;

    if (r->err == ERR_NOENT) {
        i = inode_child(c->inode, name.bytes, name.size);
        if (i != NULL && r->index >= c->inode->event_index) {
            inode_remove(i); /* it went while nobody told us: between two sessions */
        }
    }
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    i = inode_learn(&m->inodes, c->inode, name, &r->u.attr, r->index);
    if (i->ending) {
        call_reply_errno(c, ENOENT);
    } else {
        call_reply_entry(c, i);
    }
    inode_unpin(&m->inodes, i);
}

static void lookup_now(struct call *c)
{
    struct inode *i = inode_child(c->inode, c->name, strlen(c->name));

    if (i != NULL && i->ending) {
        call_reply_errno(c, ENOENT);
        return;
    }
    if (i != NULL && can_show(c->m, i)) {
        call_reply_entry(c, i);
        return;
    }
    call_submit(
        c,
        &(struct request){.op = OP_LOOKUP, .u.lookup = {.dir = c->inode->id, .name = call_name(c)}},
        on_lookup);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mount *m = fuse_req_userdata(req);
    size_t size = strlen(name);
    struct inode *dir;
    struct call *c;

    if (replay_serve_lookup(m, req, parent, name) || control_lookup(m, req, parent, name) ||
        op_local_lookup(m, req, parent, name)) {
        return;
    }
    dir = inode_find(&m->inodes, parent);
    if (size > NAME_SIZE_MAX) {
        op_refuse(req, ENAMETOOLONG);
    } else if (dir == NULL || name[size - 1] == '#' || name[size - 1] == '@') {
        op_refuse(req, dir == NULL ? ESTALE : ENOENT); /* no node ends in a template's mark */
    } else {
        c = call_new(m, req, dir, NULL);
        c->ino = parent;
        call_set_name(c, name);
        linear_begin_behind_look(c, lookup_now);
    }
}

static void forget(struct mount *m, fuse_ino_t ino, uint64_t count)
{
    struct inode *i;

    if (control_has(ino)) {
        control_forget(m, ino, count);
        return;
    }
    if (op_local_forget(m, ino, count)) {
        return;
    }
    i = inode_find(&m->inodes, ino);
    if (i != NULL) {
        inode_kernel_forget(&m->inodes, i, count);
    }
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    struct mount *m = fuse_req_userdata(req);

    forget(m, ino, count);
    fuse_reply_none(req);
    interest_update(m);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct mount *m = fuse_req_userdata(req);

    for (size_t n = 0; n < count; n++) {
        forget(m, forgets[n].ino, forgets[n].nlookup);
    }
    fuse_reply_none(req);
    interest_update(m);
}

/* --- GETATTR --------------------------------------------------------------------------------- */

static void answer_attr(struct call *c)
{
    struct stat st;
    double timeout = inode_stat(c->m, c->inode, &st);
    const struct handle *h = c->handle;

    if (h == NULL || !handle_has_changes(h)) {
        h = handle_of_writer(c->m, c->inode, fuse_req_ctx(c->req)->pid);
    }
    if (c->ino != c->inode->id) {
        timeout = 0; /* of another inode of the kernel's, which is told of nothing */
    }
    if (h != NULL) { /* its own process sees what it wrote; nobody else is to, from a cache */
        const uint8_t *bytes;
        size_t size;

        handle_content(h, &bytes, &size);
        st.st_size = (off_t)size;
        timeout = 0;
    }
    call_reply_attr(c, &st, timeout);
}

static void on_attr(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    inode_update(c->inode, &r->u.attr, r->index);
    answer_attr(c);
}

static void getattr_now(struct call *c)
{
    if (can_show(c->m, c->inode)) {
        answer_attr(c);
        return;
    }
    call_submit(c, &(struct request){.op = OP_GETATTR, .u.getattr.id = c->inode->id}, on_attr);
}

static void getattr_settled(struct call *c)
{
    call_wait(c, WAIT_CUTS, getattr_now);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct inode *i;
    struct call *c;

    if (replay_serve_getattr(m, req, ino) || op_local_getattr(m, req, ino)) {
        return;
    }
    if (control_has(ino)) {
        control_getattr(m, req, ino);
        return;
    }
    i = inode_of(m, ino);
    if (i == NULL || (h != NULL && handle_is_expired(m, h))) {
        op_refuse(req, ESTALE);
        return;
    }
    c = call_new(m, req, i, fi);
    c->ino = ino;
    if (linear_is_opener(req, i)) {
        answer_attr(c);
    } else {
        linear_begin_look(c, getattr_settled);
    }
}

/* --- SETATTR --------------------------------------------------------------------------------- */

static int64_t to_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t setattr_mask(int set)
{
    static const struct {
        int fuse;
        uint32_t mask;
    } map[] = {
        {FUSE_SET_ATTR_MODE, SETATTR_MODE},
        {FUSE_SET_ATTR_UID, SETATTR_UID},
        {FUSE_SET_ATTR_GID, SETATTR_GID},
        {FUSE_SET_ATTR_SIZE, SETATTR_SIZE},
        {FUSE_SET_ATTR_ATIME, SETATTR_ATIME},
        {FUSE_SET_ATTR_MTIME, SETATTR_MTIME},
        {FUSE_SET_ATTR_ATIME_NOW, SETATTR_ATIME_NOW},
        {FUSE_SET_ATTR_MTIME_NOW, SETATTR_MTIME_NOW},
    };
    uint32_t mask = 0;

    for (size_t n = 0; n < sizeof(map) / sizeof(map[0]); n++) {
        if (set & map[n].fuse) {
            mask |= map[n].mask;
        }
    }
    /* The kernel sets both flags of a time that is to be now. */
    if (mask & SETATTR_ATIME_NOW) {
        mask &= ~(uint32_t)SETATTR_ATIME;
    }
    if (mask & SETATTR_MTIME_NOW) {
        mask &= ~(uint32_t)SETATTR_MTIME;
    }
    return mask;
}

static void on_attr_set(struct call *c, const struct reply *r)
{
    if (c->handle != NULL && c->handle->append) {
        c->handle->snapshot_old = true; /* it may have been cut */
    }
    on_attr(c, r);
}

static void submit_setattr(struct call *c, const struct stat *st, uint32_t mask)
{
    call_submit(c,
                &(struct request){.op = OP_SETATTR,
                                  .u.setattr = {.id = c->inode->id,
                                                .mask = mask,
                                                .mode = st->st_mode & 07777,
                                                .uid = st->st_uid,
                                                .gid = st->st_gid,
                                                .size = (uint64_t)st->st_size,
                                                .atime_ns = to_ns(st->st_atim),
                                                .mtime_ns = to_ns(st->st_mtim)}},
                on_attr_set);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = inode_of(m, ino);
    struct handle *h = handle_of(fi);
    uint32_t mask = setattr_mask(set);
    struct call *c;

    if (replay_serve_setattr(m, req, ino) || op_local_setattr(m, req, ino, st, set)) {
        return;
    }
    if (control_has(ino)) {
        control_setattr(m, req, ino, set);
        return;
    }
    if (i == NULL || (h != NULL && handle_is_expired(m, h))) {
        op_refuse(req, ESTALE);
        return;
    }
    if (m->options->read_only) {
        op_refuse(req, EROFS);
        return;
    }
    if ((mask & SETATTR_SIZE) && (uint64_t)st->st_size > m->value_size_max) {
        op_refuse(req, EFBIG);
        return;
    }
    c = call_new(m, req, i, fi);
    c->ino = ino;
    if ((mask & SETATTR_SIZE) && h != NULL && write_truncate(m, h, (uint64_t)st->st_size)) {
        mask &= ~(uint32_t)(SETATTR_SIZE | SETATTR_MTIME_NOW);
    }
    if (mask & SETATTR_MTIME) {
        write_keep_mtime(m, i, to_ns(st->st_mtim));
    }
    if (mask == 0) {
        getattr_now(c);
    } else {
        submit_setattr(c, st, mask);
    }
}
