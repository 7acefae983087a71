/* Creating and removing. Each is one request of the ensemble; its event comes before its reply and
 * finds the call still waiting, which is how event.c knows the change as our own. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "blob.h"
#include "call.h"
#include "control.h"
#include "ephemeral.h"
#include "err.h"
#include "name.h"
#include "op_local.h"
#include "replay_serve.h"

/* A session that ended leaves open whether the change was made: unlike for an open file, ESTALE
 * would be wrong here, because the kernel repeats a call that failed so. */
static void refuse(struct call *c, int err)
{
    call_reply_err(c, err == ERR_EXPIRED ? ERR_TIMEOUT : err);
}

/* --- CREATE, MKNOD, MKDIR, SYMLINK ----------------------------------------------------------- */

static struct inode *learn_created(struct call *c, const struct reply *r)
{
    return inode_learn(&c->m->inodes, c->inode, r->u.create.name, &r->u.create.attr, r->index);
}

/* Made when nobody waited for it any more. */
static void undo(struct call *c, const struct reply *r)
{
    if (r->err == 0 && r->u.create.attr.life != LIFE_PERMANENT) {
        ephemeral_remove(c->m, r->u.create.attr.id);
    }
    call_end(c);
}

static void on_made(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct inode *i;

    if (c->req == NULL) {
        undo(c, r);
        return;
    }
    if (r->err != 0) {
        refuse(c, r->err);
        return;
    }
    i = learn_created(c, r);
    if (i->attr.type == NODE_SYMLINK) {
        value_cache_put(&m->values, i, c->data, i->attr.version);
    }
    call_reply_entry(c, i);
    inode_unpin(&m->inodes, i);
}

static void on_created(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct handle *h;
    struct inode *i;

    if (c->req == NULL) {
        undo(c, r);
        return;
    }
    if (r->err == ERR_EXISTS && (c->fi.flags & O_EXCL) == 0) {
        /* Someone else made it since the kernel looked. ESTALE has the kernel look again and open
         * it like any file, with its permissions checked. */
        call_reply_errno(c, ESTALE);
        return;
    }
    if (r->err != 0) {
        refuse(c, r->err);
        return;
    }
    i = learn_created(c, r);
    i->opener = fuse_req_ctx(c->req)->pid;
    h = handle_new(m, HANDLE_FILE, i);
    if ((c->fi.flags & O_ACCMODE) != O_RDONLY) {
        handle_make_writable(h);
    }
    h->user = i->opener;
    h->append = (c->fi.flags & O_APPEND) != 0;
    h->blind = true;
    h->version = r->u.create.attr.version;
    h->ephemeral = r->u.create.attr.life == LIFE_OPEN ? r->u.create.attr.id : 0;
    c->fi.direct_io = 1;
    c->fi.noflush = !h->writable;
    call_reply_create(c, i, h);
    inode_unpin(&m->inodes, i);
}

struct create { /* what the kinds of creation differ in */
    enum node_type type;
    mode_t mode;
    const char *target; /* of a symlink */
    struct fuse_file_info *fi;
};

/* A directory with the set-group-ID bit passes its group on, and to directories the bit. */
static void inherit_group(const struct inode *dir, struct create *what, gid_t *gid)
{
    if (dir->attr.mode & S_ISGID) {
        *gid = dir->attr.gid;
        if (what->type == NODE_DIR) {
            what->mode |= S_ISGID;
        }
    }
}

static enum node_life life_of(const struct create *what, const struct name_template *t)
{
    return !t->ephemeral ? LIFE_PERMANENT : what->fi != NULL ? LIFE_OPEN : LIFE_SESSION;
}

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, struct create what)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *dir = inode_find(&m->inodes, parent);
    struct name_template t = name_template_parse(name, strlen(name));
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    gid_t gid = ctx->gid;
    struct request r = {.op = OP_CREATE};
    struct call *c;

    if (control_has(parent)) {
        op_refuse(req, control_refusal(m, parent));
        return;
    }
    if (what.type != NODE_DIR &&
        op_local_make(m, req, parent, name, what.mode, what.target, what.fi)) {
        return;
    }
    if (m->options->read_only) {
        op_refuse(req, EROFS);
        return;
    }
    if (dir == NULL || (t.ephemeral && what.type != NODE_FILE)) {
        op_refuse(req, dir == NULL ? ESTALE : EPERM);
        return;
    }
    inherit_group(dir, &what, &gid);
    c = call_new(m, req, dir, what.fi);
    c->handle = NULL;
    call_set_name(c, name);
    if (what.target != NULL) {
        c->data = blob_new(what.target, strlen(what.target));
    }
    r.u.create.dir = dir->id;
    r.u.create.name = (struct name){c->name, (uint32_t)t.size};
    r.u.create.type = what.type;
    r.u.create.mode = what.mode & 07777;
    r.u.create.uid = ctx->uid;
    r.u.create.gid = gid;
    r.u.create.flags = t.sequential ? CREATE_SEQUENTIAL : 0;
    r.u.create.life = life_of(&what, &t);
    r.u.create.value = c->data;
    (t.ephemeral ? ephemeral_submit : call_submit)(c, &r, what.fi != NULL ? on_created : on_made);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
    create(req, parent, name, (struct create){.type = NODE_FILE, .mode = mode, .fi = fi});
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    (void)rdev;
    if (replay_serve_make(fuse_req_userdata(req), req, parent, name)) {
        return;
    }
    if (!S_ISREG(mode)) {
        op_refuse(req, EPERM);
        return;
    }
    create(req, parent, name, (struct create){.type = NODE_FILE, .mode = mode});
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (!replay_serve_make(fuse_req_userdata(req), req, parent, name)) {
        create(req, parent, name, (struct create){.type = NODE_DIR, .mode = mode});
    }
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    if (!replay_serve_make(fuse_req_userdata(req), req, parent, name)) {
        create(req, parent, name,
               (struct create){.type = NODE_SYMLINK, .mode = 0777, .target = target});
    }
}

/* --- UNLINK, RMDIR --------------------------------------------------------------------------- */

static void on_removed(struct call *c, const struct reply *r)
{
    struct inode *i;

    if (r->err != 0) {
        refuse(c, r->err);
        return;
    }
    i = inode_find(&c->m->inodes, r->u.remove.id);
    if (i != NULL) {
        inode_remove(i);
        i->removed_here = true;
    }
    call_reply_errno(c, 0);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, uint32_t flags)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *dir = inode_find(&m->inodes, parent);
    struct call *c;

    if (replay_serve_remove(m, req, parent, name) ||
        (flags & REMOVE_DIR ? op_local_rmdir : op_local_unlink)(m, req, parent, name)) {
        return;
    }
    if (dir == NULL || control_has(parent) || (parent == TREE_ROOT_ID && control_is_name(name))) {
        op_refuse(req, dir == NULL && !control_has(parent) ? ESTALE : control_refusal(m, parent));
        return;
    }
    if (m->options->read_only) {
        op_refuse(req, EROFS);
        return;
    }
    c = call_new(m, req, dir, NULL);
    call_set_name(c, name);
    call_submit(
        c,
        &(struct request){.op = OP_REMOVE,
                          .u.remove = {.dir = parent, .name = call_name(c), .flags = flags}},
        on_removed);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, REMOVE_DIR);
}
