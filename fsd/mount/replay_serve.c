#include "replay_serve.h"

#include <errno.h>
#include <string.h>

#include "call.h"
#include "replay_int.h"

/* Above the ids of nodes, below those of local files (local.h). */
#define STAND_IN_ID_MIN (UINT64_C(1) << 61)

/* The directory and job that the request belongs to; NULL if it is not a helper's. */
static struct replay_dir *dir_of(struct mount *m, fuse_req_t req)
{
    const struct helper *h = helper_by_pid(m->replay, fuse_req_ctx(req)->pid);

    return h != NULL ? h->dir : NULL;
}

static bool is_job_name(const struct replay_job *j, fuse_ino_t parent, const char *name)
{
    return j->node != j->dir->inode && parent == j->dir->id && strcmp(name, j->name) == 0;
}

static bool is_target_name(const struct replay_job *j, fuse_ino_t parent, const char *name)
{
    return j->to_dir != NULL && parent == j->to_dir->id && strcmp(name, j->to_name) == 0;
}

/* Not where the job leaves it: another change, whose job is yet to come, has taken it on. */
static bool has_moved_on(const struct replay_job *j, const struct inode *i)
{
    if (j->kind == REPLAY_MOVE && i == j->node) {
        return i->parent != j->to_dir || strcmp(i->name, j->to_name) != 0;
    }
    return (i == j->other || (j->kind == REPLAY_CREATE && i == j->node)) &&
           (i->parent != j->dir->inode || strcmp(i->name, j->name) != 0);
}

/* The kernel has a directory in one place only, and no look can take it to another one while any
 * rename in the mount is under way: ESTALE. So a directory that is somewhere else already, where
 * others may look at it or rename it, is not brought back to a place that it has left. Something
 * that stands for it makes the journey, under an id of its own that nobody is given but a helper.
 */
static void reply_stand_in(fuse_req_t req, const struct replay_job *j, const struct inode *i)
{
    struct fuse_entry_param e = {
        .ino = STAND_IN_ID_MIN + 2 * j->number + (i == j->other ? 1 : 0),
        .generation = 1,
        .attr_timeout = CACHE_TIMEOUT_S,
    };

    attr_to_stat(&i->attr, &e.attr);
    e.attr.st_ino = i->id;
    (void)fuse_reply_entry(req, &e); /* what the kernel has of it counts for nothing */
}

/* The job's name may be one that the node has had. */
static void reply_entry(struct mount *m, fuse_req_t req, const struct replay_job *j,
                        struct inode *i, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e;

    if (inode_is_dir(i) && has_moved_on(j, i)) {
        reply_stand_in(req, j, i);
        return;
    }
    inode_entry(m, i, &e);
    e.attr.st_nlink = i->attr.nlink; /* of a node that is gone: as it was */
    if (i->parent == NULL || i->parent->id != parent || strcmp(i->name, name) != 0 ||
        (inode_is_dir(i) && !i->shown)) { /* inode.h, rule 6 */
        e.entry_timeout = 0;
    }
    if (e.entry_timeout > 0) {
        inode_show(&m->inodes, i); /* others take it from the kernel, and do not ask */
    }
    if (fuse_reply_entry(req, &e) != 0) {
        inode_kernel_forget(&m->inodes, i, 1);
    }
}

/* A directory on the way to one of the job. */
static struct inode *find_on_way(struct inode *dir, fuse_ino_t parent, const char *name)
{
    for (struct inode *i = dir; i != NULL && i->parent != NULL; i = i->parent) {
        if (i->parent->id == parent && strcmp(i->name, name) == 0) {
            return i;
        }
    }
    return NULL;
}

/* What is under the name at this moment of the job; NULL: nothing. */
static struct inode *find(const struct replay_job *j, fuse_ino_t parent, const char *name)
{
    struct inode *i;

    if (is_target_name(j, parent, name)) {
        return j->answered ? j->node : j->other;
    }
    if (is_job_name(j, parent, name)) {
        switch (j->kind) {
        case REPLAY_CREATE:
            return j->answered ? j->node : NULL;
        case REPLAY_REMOVE:
            return j->answered ? NULL : j->node;
        case REPLAY_MOVE:
            return j->answered ? j->other : j->node;
        default:
            return j->node;
        }
    }
    i = find_on_way(j->dir->inode, parent, name);
    return i != NULL ? i : find_on_way(j->to_dir, parent, name);
}

bool replay_serve_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct replay_dir *d = dir_of(m, req);
    struct inode *i;

    if (d == NULL) {
        return false;
    }
    d->jobs->name_asked |= is_job_name(d->jobs, parent, name);
    d->jobs->to_asked |= is_target_name(d->jobs, parent, name);
    i = find(d->jobs, parent, name);
    if (i != NULL) {
        reply_entry(m, req, d->jobs, i, parent, name);
    } else {
        op_refuse(req, ENOENT);
    }
    return true;
}

static void on_refreshed(struct call *c, const struct reply *r)
{
    c->inode->attr_asked = false;
    if (r->err == 0) {
        inode_update(c->inode, &r->u.attr, r->index);
    }
    call_end(c);
}

/* A directory on the way to a file whose value has changed, and will again: the kernel asks for its
 * permissions until it is given some that it may keep. */
static void refresh(struct mount *m, const struct replay_dir *d, struct inode *i)
{
    if (!inode_is_dir(i) || i->attr_fresh || i->attr_asked || i->removed || d->name_count > 0 ||
        m->client == NULL || m->options->linearizable) {
        return;
    }
    i->attr_asked = true;
    call_submit(call_new(m, NULL, i, NULL),
                &(struct request){.op = OP_GETATTR, .u.getattr.id = i->id}, on_refreshed);
}

/* While a name comes or goes the kernel keeps nothing of the node. Of a file whose value changes it
 * keeps all, and drops by itself what the write that follows may have changed: then it has the
 * permissions for the next time. */
static void reply_attr(struct mount *m, const struct replay_dir *d, fuse_req_t req, fuse_ino_t ino)
{
    struct inode *i = inode_find(&m->inodes, ino);
    struct stat st;

    if (i == NULL) {
        op_refuse(req, ESTALE);
        return;
    }
    if (!i->removed && (d->jobs->kind == REPLAY_SET || (i != d->jobs->node && inode_is_dir(i)))) {
        double timeout = inode_stat(m, i, &st);

        fuse_reply_attr(req, &st, timeout);
        refresh(m, d, i);
        return;
    }
    attr_to_stat(&i->attr, &st);
    st.st_ino = i->id;
    fuse_reply_attr(req, &st, 0);
}

bool replay_serve_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    const struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    reply_attr(m, d, req, ino);
    return true;
}

bool replay_serve_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    d->jobs->answered = true;
    reply_attr(m, d, req, ino);
    return true;
}

bool replay_serve_make(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    if (d->jobs->kind != REPLAY_CREATE || !is_job_name(d->jobs, parent, name)) {
        op_refuse(req, EPERM);
        return true;
    }
    d->jobs->answered = true;
    reply_entry(m, req, d->jobs, d->jobs->node, parent, name);
    return true;
}

bool replay_serve_remove(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    if (d->jobs->kind != REPLAY_REMOVE || !is_job_name(d->jobs, parent, name)) {
        op_refuse(req, EPERM);
        return true;
    }
    d->jobs->answered = true;
    op_refuse(req, 0);
    return true;
}

/* A name that the kernel still has from before the change, and was allowed to keep, would be moved
 * as it is, and shown to others at its new place without a question, even when yet another change
 * has made something else of that place. After ESTALE the kernel itself tries once more, and asks
 * for all names: then it keeps none. */
static bool is_to_ask(struct replay_job *j)
{
    if ((j->name_asked && j->to_asked) || j->sent_back) {
        return false;
    }
    j->sent_back = true;
    return true;
}

bool replay_serve_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                         fuse_ino_t to_parent, const char *to_name)
{
    struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    if (d->jobs->kind != REPLAY_MOVE || !is_job_name(d->jobs, parent, name) ||
        !is_target_name(d->jobs, to_parent, to_name)) {
        op_refuse(req, EPERM);
        return true;
    }
    if (is_to_ask(d->jobs)) {
        op_refuse(req, ESTALE);
        return true;
    }
    d->jobs->answered = true;
    op_refuse(req, 0);
    return true;
}

bool replay_serve_open(struct mount *m, fuse_req_t req, struct fuse_file_info *fi)
{
    struct handle *h;

    if (dir_of(m, req) == NULL) {
        return false;
    }
    h = handle_new(m, HANDLE_REPLAY, NULL);
    fi->fh = (uintptr_t)h;
    fi->direct_io = 1;
    fi->noflush = 1;
    if (fuse_reply_open(req, fi) != 0) {
        handle_free(m, h);
    }
    return true;
}

/* The write that makes the event; what the file holds is known already. */
bool replay_serve_write(struct mount *m, fuse_req_t req, size_t size)
{
    struct replay_dir *d = dir_of(m, req);

    if (d == NULL) {
        return false;
    }
    d->jobs->answered = true;
    if (d->jobs->node->attr_kept == KEPT_ALL) {
        d->jobs->node->attr_kept = KEPT_WRITTEN;
    }
    fuse_reply_write(req, size);
    return true;
}
