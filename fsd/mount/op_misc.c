/* The requests that need little, and the table of all. libfuse answers ENOSYS for what is not in
 * the table, and the kernel takes one ENOSYS as "never ask again" for the whole mount. That is
 * wanted for two: lseek (SEEK_HOLE and SEEK_DATA see one run of data), and retrieve_reply, which is
 * never sent to us. */
#include <errno.h>

#include "call.h"
#include "control.h"

/* --- STATFS ---------------------------------------------------------------------------------- */

enum { BLOCK_SIZE = 4096, STATFS_WAIT_MS = 1000 };

/* What is left of a limit; without one, so much that no program thinks the file system full. */
static uint64_t room(uint64_t used, uint64_t max, uint64_t without_limit)
{
    if (max == 0) {
        return without_limit;
    }
    return max > used ? max - used : 0;
}

static void on_statfs(struct call *c, const struct reply *r)
{
    struct statvfs *s = &c->m->statfs_last;

    s->f_bsize = s->f_frsize = BLOCK_SIZE;
    s->f_namemax = NAME_SIZE_MAX;
    if (r->err == 0) {
        uint64_t used = (r->u.statfs.bytes + BLOCK_SIZE - 1) / BLOCK_SIZE;

        s->f_bfree = s->f_bavail = room(used, r->u.statfs.bytes_max / BLOCK_SIZE, 1u << 28);
        s->f_blocks = used + s->f_bfree;
        s->f_ffree = s->f_favail = room(r->u.statfs.nodes, r->u.statfs.nodes_max, 1u << 30);
        s->f_files = r->u.statfs.nodes + s->f_ffree;
    }
    fuse_reply_statfs(c->req, s);
    call_end(c);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct mount *m = fuse_req_userdata(req);
    const struct inode *i = control_has(ino) ? NULL : inode_of(m, ino);

    call_submit(call_new(m, req, NULL, NULL),
                &(struct request){.op = OP_STATFS,
                                  .deadline_ms = STATFS_WAIT_MS,
                                  .u.statfs.id = i != NULL ? i->id : TREE_ROOT_ID},
                on_statfs);
}

/* --- what is always granted ------------------------------------------------------------------ */

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    (void)ino;
    (void)mask;
    op_refuse(req, 0); /* default_permissions: the kernel has decided */
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    op_refuse(req, 0); /* every change in a directory was committed before it was answered */
}

/* --- what is refused ------------------------------------------------------------------------- */

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino;
    (void)parent;
    (void)name;
    op_refuse(req, EPERM);
}

static void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t block_size, uint64_t index)
{
    (void)ino;
    (void)block_size;
    (void)index;
    op_refuse(req, EOPNOTSUPP);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
                     size_t out_size)
{
    (void)ino;
    (void)cmd;
    (void)arg;
    (void)fi;
    (void)flags;
    (void)in;
    (void)in_size;
    (void)out_size;
    op_refuse(req, ENOTTY);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
                         struct fuse_file_info *fi)
{
    (void)ino;
    (void)mode;
    (void)offset;
    (void)size;
    (void)fi;
    op_refuse(req, EOPNOTSUPP);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                               struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
                               struct fuse_file_info *to_fi, size_t size, int flags)
{
    (void)from;
    (void)from_offset;
    (void)from_fi;
    (void)to;
    (void)to_offset;
    (void)to_fi;
    (void)size;
    (void)flags;
    op_refuse(req, EOPNOTSUPP); /* the kernel then reads and writes */
}

const struct fuse_lowlevel_ops op_table = {
    .init = session_on_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .create = op_create,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .access = op_access,
    .getlk = op_getlk,
    .setlk = op_setlk,
    .flock = op_flock,
    .poll = op_poll,
    .bmap = op_bmap,
    .ioctl = op_ioctl,
    .fallocate = op_fallocate,
    .copy_file_range = op_copy_file_range,
};
