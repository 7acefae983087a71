/* flock(2) and fcntl(2) locks, which hold across the ensemble. An open file locks with its own
 * owner, a process with its own; both come from the kernel as numbers.
 *
 * A flock ends with its open file. Locks of fcntl end when the process closes any descriptor of the
 * file, of which FLUSH tells; but a file that is open for reading has no FLUSH, for speed, so what
 * was locked through it ends with its last descriptor. So do locks of an open file (F_OFD_SETLK),
 * whose owner no FLUSH names. */
#include <errno.h>
#include <string.h>
#include <sys/file.h>

#include "call.h"
#include "lock.h"
#include "op_local.h"

static bool refused(struct mount *m, fuse_req_t req, const struct handle *h)
{
    if (h == NULL || h->kind != HANDLE_FILE) {
        op_refuse(req, EOPNOTSUPP);
        return true;
    }
    if (handle_is_expired(m, h)) {
        op_refuse(req, ESTALE);
        return true;
    }
    return false;
}

static enum lock_type type_of(short type)
{
    return type == F_RDLCK   ? LOCK_TYPE_SHARED
           : type == F_WRLCK ? LOCK_TYPE_EXCLUSIVE
                             : LOCK_TYPE_NONE;
}

static struct lock range_of(const struct fuse_file_info *fi, const struct flock *l)
{
    uint64_t start = (uint64_t)l->l_start;

    return (struct lock){
        .kind = LOCK_KIND_POSIX,
        .type = type_of(l->l_type),
        .owner = fi->lock_owner,
        .start = start,
        .end = l->l_len == 0 ? UINT64_MAX : start + (uint64_t)l->l_len - 1,
        .pid = (uint32_t)l->l_pid,
    };
}

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct lock l = {.kind = LOCK_KIND_FLOCK,
                     .type = (op & LOCK_UN)   ? LOCK_TYPE_NONE
                             : (op & LOCK_SH) ? LOCK_TYPE_SHARED
                                              : LOCK_TYPE_EXCLUSIVE,
                     .owner = fi->lock_owner,
                     .end = UINT64_MAX,
                     .pid = (uint32_t)fuse_req_ctx(req)->pid};

    (void)ino;
    if (op_local_lock(m, req, h, &l, (op & LOCK_NB) == 0) || refused(m, req, h)) {
        return;
    }
    if (l.type != LOCK_TYPE_NONE) {
        h->locked = true;
        h->flocked = true;
        h->flock_owner = l.owner;
    } else if (lock_is_unknown(h->inode, l.kind, l.owner)) {
        op_refuse(req, 0);
        return;
    }
    lock_ask(m, req, h->inode, &l, (op & LOCK_NB) == 0);
}

static void remember(struct handle *h, uint64_t owner)
{
    for (size_t n = 0; n < h->posix_owners.count; n++) {
        if (h->posix_owners.ids[n] == owner) {
            return;
        }
    }
    inode_ids_add(&h->posix_owners, owner);
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
              int sleep)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct lock l = range_of(fi, lock);

    (void)ino;
    if (op_local_lock(m, req, h, &l, sleep != 0) || refused(m, req, h)) {
        return;
    }
    if (l.type == LOCK_TYPE_NONE && lock_is_unknown(h->inode, l.kind, l.owner)) {
        op_refuse(req, 0);
        return;
    }
    if (l.type != LOCK_TYPE_NONE) {
        h->locked = true;
        remember(h, l.owner);
    }
    lock_ask(m, req, h->inode, &l, sleep != 0);
}

/* --- F_GETLK --------------------------------------------------------------------------------- */

static void on_test(struct call *c, const struct reply *r)
{
    const struct lock_entry *e = &r->u.lock_test.entry;
    struct flock found = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    if (r->u.lock_test.found) {
        found.l_type = e->lock.type == LOCK_TYPE_SHARED ? F_RDLCK : F_WRLCK;
        found.l_start = (off_t)e->lock.start;
        found.l_len = e->lock.end == UINT64_MAX ? 0 : (off_t)(e->lock.end - e->lock.start + 1);
        found.l_pid = e->session == c->m->session ? (pid_t)e->lock.pid : 0; /* elsewhere: unknown */
    }
    fuse_reply_lock(c->req, &found);
    call_end(c);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct lock l = range_of(fi, lock);

    (void)ino;
    if (op_local_getlk(req, h, &l) || refused(m, req, h)) {
        return;
    }
    call_submit(
        call_new(m, req, h->inode, fi),
        &(struct request){.op = OP_LOCK_TEST, .u.lock_test = {.id = h->inode->id, .lock = l}},
        on_test);
}
