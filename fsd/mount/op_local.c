/* Requests about files that only this mount has. All is answered at once, from memory: a write is
 * there for the next reader, as on any file system.
 *
 * Failures: no room for more (ENOSPC). */
#include "op_local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "control.h"
#include "local.h"

/* The file, unless it has become a replicated one. */
static struct local_file *file_of(struct mount *m, fuse_ino_t ino)
{
    struct local_file *f = local_has(ino) ? local_find(&m->locals, ino) : NULL;

    return f != NULL && f->became == NULL ? f : NULL;
}

void op_local_entry(struct local_file *f, struct fuse_entry_param *ret)
{
    *ret =
        (struct fuse_entry_param){.ino = f->id, .generation = 1, .entry_timeout = CACHE_TIMEOUT_S};
    local_stat(f, &ret->attr);
    f->kernel_refs++;
}

static void reply_entry(struct mount *m, fuse_req_t req, struct local_file *f)
{
    struct fuse_entry_param e;

    op_local_entry(f, &e);
    if (fuse_reply_entry(req, &e) != 0) {
        local_kernel_forget(&m->locals, f, 1);
    }
}

static void reply_attr(fuse_req_t req, const struct local_file *f)
{
    struct stat st;

    local_stat(f, &st);
    fuse_reply_attr(req, &st, 0);
}

/* --- names ----------------------------------------------------------------------------------- */

bool op_local_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct local_file *f = local_child(&m->locals, parent, name);

    if (f != NULL) {
        reply_entry(m, req, f);
    }
    return f != NULL;
}

bool op_local_forget(struct mount *m, fuse_ino_t ino, uint64_t count)
{
    struct local_file *f = local_has(ino) ? local_find(&m->locals, ino) : NULL;

    if (f != NULL) {
        local_kernel_forget(&m->locals, f, count);
    }
    return local_has(ino);
}

static struct handle *open_handle(struct mount *m, struct local_file *f, struct fuse_file_info *fi)
{
    struct handle *h = handle_new(m, HANDLE_LOCAL, NULL);

    h->local = f;
    local_pin(f);
    h->writable = (fi->flags & O_ACCMODE) != O_RDONLY;
    h->append_stage = (fi->flags & O_APPEND) != 0;
    fi->fh = (uintptr_t)h;
    fi->direct_io = 1;
    return h;
}

static void reply_create(struct mount *m, fuse_req_t req, struct local_file *f,
                         struct fuse_file_info *fi)
{
    struct handle *h = open_handle(m, f, fi);
    struct fuse_entry_param e;

    op_local_entry(f, &e);
    if (fuse_reply_create(req, &e, fi) != 0) {
        handle_free(m, h);
        local_kernel_forget(&m->locals, f, 1);
    }
}

static int make(struct mount *m, fuse_req_t req, struct inode *dir, const char *name, mode_t mode,
                const char *target, struct local_file **ret)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct local_file *f;

    if (m->options->read_only) {
        return EROFS;
    }
    if (local_child(&m->locals, dir->id, name) != NULL) {
        return EEXIST;
    }
    f = local_new(&m->locals, target != NULL);
    if (f == NULL || (target != NULL && !local_resize(&m->locals, f, strlen(target)))) {
        if (f != NULL) {
            local_unpin(&m->locals, f);
        }
        return ENOSPC;
    }
    if (target != NULL) {
        memcpy(f->bytes.data, target, strlen(target));
    }
    f->mode = mode & 07777;
    f->uid = ctx->uid;
    f->gid = (dir->attr.mode & S_ISGID) ? dir->attr.gid : ctx->gid;
    local_place(&m->locals, f, dir, name);
    *ret = f;
    return 0;
}

bool op_local_make(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                   mode_t mode, const char *target, struct fuse_file_info *fi)
{
    struct inode *dir = control_has(parent) ? NULL : inode_find(&m->inodes, parent);
    struct local_file *f;
    int err_no;

    if (dir == NULL || strlen(name) > NAME_SIZE_MAX || !local_matches(&m->locals, name)) {
        return false;
    }
    err_no = make(m, req, dir, name, mode, target, &f);
    if (err_no != 0) {
        op_refuse(req, err_no);
        return true;
    }
    if (fi != NULL) {
        reply_create(m, req, f, fi);
    } else {
        reply_entry(m, req, f);
    }
    local_unpin(&m->locals, f);
    return true;
}

bool op_local_unlink(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct local_file *f = local_child(&m->locals, parent, name);

    if (f != NULL) {
        local_unlink(&m->locals, f);
        op_refuse(req, 0);
    }
    return f != NULL;
}

bool op_local_rmdir(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct inode *dir = m->locals.count > 0 ? inode_find(&m->inodes, parent) : NULL;
    const struct inode *i = dir != NULL ? inode_child(dir, name, strlen(name)) : NULL;

    if (i == NULL || local_next(&m->locals, i->id, 0) == NULL) {
        return false;
    }
    op_refuse(req, ENOTEMPTY);
    return true;
}

/* --- attributes ------------------------------------------------------------------------------ */

bool op_local_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    const struct local_file *f = file_of(m, ino);

    if (f != NULL) {
        reply_attr(req, f);
    }
    return f != NULL;
}

static void set_times(struct local_file *f, const struct stat *st, int set)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
        f->atime = (set & FUSE_SET_ATTR_ATIME_NOW) ? now : st->st_atim;
    }
    if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
        f->mtime = (set & FUSE_SET_ATTR_MTIME_NOW) ? now : st->st_mtim;
    } else if (set & FUSE_SET_ATTR_SIZE) {
        f->mtime = now;
    }
    f->ctime = now;
}

bool op_local_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct stat *st,
                      int set)
{
    struct local_file *f = file_of(m, ino);

    if (f == NULL) {
        return false;
    }
    if ((set & FUSE_SET_ATTR_SIZE) && !local_resize(&m->locals, f, (uint64_t)st->st_size)) {
        op_refuse(req, ENOSPC);
        return true;
    }
    f->mode = (set & FUSE_SET_ATTR_MODE) ? st->st_mode & 07777 : f->mode;
    f->uid = (set & FUSE_SET_ATTR_UID) ? st->st_uid : f->uid;
    f->gid = (set & FUSE_SET_ATTR_GID) ? st->st_gid : f->gid;
    set_times(f, st, set);
    reply_attr(req, f);
    return true;
}

/* --- content --------------------------------------------------------------------------------- */

bool op_local_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    const struct local_file *f = file_of(m, ino);
    char target[PATH_MAX];
    size_t size;

    if (f == NULL) {
        return false;
    }
    size = f->bytes.size < sizeof(target) ? f->bytes.size : sizeof(target) - 1;
    memcpy(target, f->bytes.data, size);
    target[size] = '\0';
    fuse_reply_readlink(req, target);
    return true;
}

bool op_local_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct local_file *f = file_of(m, ino);
    struct handle *h;

    if (f == NULL) {
        return false;
    }
    if (fi->flags & O_TRUNC) {
        set_times(f, NULL, FUSE_SET_ATTR_SIZE);
        (void)local_resize(&m->locals, f, 0);
    }
    h = open_handle(m, f, fi);
    if (fuse_reply_open(req, fi) != 0) {
        handle_free(m, h);
    }
    return true;
}

bool op_local_read(fuse_req_t req, size_t size, off_t offset, const struct fuse_file_info *fi)
{
    const struct handle *h = handle_of(fi);
    size_t left;

    if (h->kind != HANDLE_LOCAL) {
        return false;
    }
    if ((uint64_t)offset >= h->local->bytes.size) {
        fuse_reply_buf(req, NULL, 0);
        return true;
    }
    left = h->local->bytes.size - (size_t)offset;
    fuse_reply_buf(req, (const char *)h->local->bytes.data + offset, left < size ? left : size);
    return true;
}

bool op_local_write(fuse_req_t req, const char *bytes, size_t size, off_t offset,
                    const struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    const struct handle *h = handle_of(fi);
    struct local_file *f = h->local;
    uint64_t at;

    if (h->kind != HANDLE_LOCAL) {
        return false;
    }
    at = h->append_stage ? f->bytes.size : (uint64_t)offset;
    if (!h->writable) {
        op_refuse(req, EBADF);
    } else if (at + size > f->bytes.size && !local_resize(&m->locals, f, at + size)) {
        op_refuse(req, ENOSPC);
    } else {
        memcpy(f->bytes.data + at, bytes, size);
        set_times(f, NULL, FUSE_SET_ATTR_SIZE);
        fuse_reply_write(req, size);
    }
    return true;
}
