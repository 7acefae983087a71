/* RENAME. One request of the ensemble; its changes come before its reply and move the node in the
 * table (event_move.c).
 *
 * A file that is renamed onto another has become that one: the target keeps its id and takes the
 * content. The kernel has meanwhile put the inode of the source under the new name. So that name is
 * dropped from its cache, and what it still asks of the source, by descriptors that are open or by
 * the name that it has not dropped yet, is meant for the target (inode.h, `became`).
 *
 * Failures: as for other changes of names; a name under .zabfs (EACCES), or one that only a
 * creation can have (EINVAL). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "control.h"
#include "err.h"
#include "lock.h"
#include "mem.h"
#include "name.h"
#include "op_local.h"
#include "replay_serve.h"

static struct name to_name(const struct call *c)
{
    return (struct name){c->to_name, (uint32_t)strlen(c->to_name)};
}

static void merge(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct inode *from = inode_find(&m->inodes, r->u.rename.gone);
    struct inode *to = inode_learn(&m->inodes, c->to_dir, to_name(c), &r->u.rename.attr, r->index);

    if (from != NULL && from->became == NULL) {
        inode_pin(from);
        if (!from->removed) {
            inode_remove(from);
            from->removed_here = true;
        }
        inode_become(from, to);
        handle_repoint(m, from, to, r->u.rename.attr.version);
        lock_on_remove(m, from);
        inode_unpin(&m->inodes, from);
    }
    notify_entry(m->notify, c->to_dir->id, c->to_name, strlen(c->to_name));
    inode_unpin(&m->inodes, to);
}

/* The changes have told all of this already, unless the subscription to a directory was on its way.
 */
static void move(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct inode *gone = inode_find(&m->inodes, r->u.rename.gone);
    struct inode *moved = inode_find(&m->inodes, r->u.rename.attr.id);

    if (gone != NULL && !gone->removed) {
        inode_remove(gone);
        gone->removed_here = true;
    }
    if (moved != NULL) {
        inode_unpin(&m->inodes,
                    inode_learn(&m->inodes, c->to_dir, to_name(c), &r->u.rename.attr, r->index));
    }
}

static void on_renamed(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err == ERR_EXPIRED ? ERR_TIMEOUT : r->err);
        return;
    }
    if (r->u.rename.merged) {
        merge(c, r);
    } else {
        move(c, r);
    }
    call_reply_errno(c, 0);
}

static bool is_template(const char *name, size_t size)
{
    return name[size - 1] == '#' || name[size - 1] == '@';
}

static int check(struct mount *m, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
                 const char *to_name, unsigned flags)
{
    size_t size = strlen(to_name);

    if (control_has(parent) || control_has(to_parent) ||
        (parent == TREE_ROOT_ID && control_is_name(name)) ||
        (to_parent == TREE_ROOT_ID && control_is_name(to_name))) {
        return control_refusal(m, control_has(parent) ? parent : to_parent);
    }
    if (m->options->read_only) {
        return EROFS;
    }
    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
        (is_template(to_name, size) && !local_matches(&m->locals, to_name))) {
        return EINVAL;
    }
    return size > NAME_SIZE_MAX ? ENAMETOOLONG : 0;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
               const char *to_name, unsigned flags)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *dir = inode_find(&m->inodes, parent);
    struct inode *to_dir = inode_find(&m->inodes, to_parent);
    int err_no = check(m, parent, name, to_parent, to_name, flags);
    struct call *c;

    if (replay_serve_rename(m, req, parent, name, to_parent, to_name)) {
        return;
    }
    if (err_no != 0 || dir == NULL || to_dir == NULL) {
        op_refuse(req, err_no != 0 ? err_no : ESTALE);
        return;
    }
    if (op_local_rename(m, req, parent, name, to_parent, to_name, flags)) {
        return;
    }
    c = call_new(m, req, dir, NULL);
    c->to_dir = to_dir;
    inode_pin(to_dir);
    call_set_name(c, name);
    c->to_name = mem_strdup(to_name);
    call_submit(c,
                &(struct request){
                    .op = OP_RENAME,
                    .u.rename = {.dir = parent,
                                 .name = call_name(c),
                                 .to_dir = to_parent,
                                 .to_name = {c->to_name, (uint32_t)strlen(c->to_name)},
                                 .flags = (flags & RENAME_NOREPLACE ? RENAME_FLAG_NOREPLACE : 0U) |
                                          (flags & RENAME_EXCHANGE ? RENAME_FLAG_EXCHANGE : 0U)}},
                on_renamed);
}
