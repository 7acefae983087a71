#include "replay_int.h"

#include <string.h>
#include <utlist.h>

#include "check.h"
#include "mem.h"

static struct replay_dir *dir_find(const struct replay *r, uint64_t id)
{
    struct replay_dir *d;

    HASH_FIND(hh, r->dirs, &id, sizeof(id), d);
    return d;
}

static struct replay_dir *dir_get(struct replay *r, struct inode *dir)
{
    struct replay_dir *d = dir_find(r, dir->id);

    if (d == NULL) {
        d = mem_zalloc(sizeof(*d));
        d->id = dir->id;
        d->inode = dir;
        inode_pin(dir);
        HASH_ADD(hh, r->dirs, id, sizeof(d->id), d);
        DL_APPEND(r->ready, d);
    }
    return d;
}

static void dir_free(struct replay *r, struct replay_dir *d)
{
    CHECK(d->jobs == NULL);
    CHECK(d->helper == NULL);
    HASH_DELETE(hh, r->dirs, d);
    inode_unpin(r->conf.inodes, d->inode);
    mem_free(d);
}

void queue_job_drop(struct replay *r, struct replay_dir *d, struct replay_job *j)
{
    DL_DELETE(d->jobs, j);
    d->count--;
    r->queued--;
    inode_unpin(r->conf.inodes, j->node);
    mem_free(j);
}

void queue_release(struct replay *r, struct replay_dir *d, bool done)
{
    d->helper = NULL;
    if (done) {
        queue_job_drop(r, d, d->jobs);
    }
    if (d->jobs == NULL) {
        dir_free(r, d);
    } else {
        DL_APPEND(r->ready, d);
    }
}

static void push(struct replay *r, struct replay_dir *d, enum replay_kind kind, struct inode *node)
{
    struct replay_job *j = mem_zalloc(sizeof(*j));

    j->kind = kind;
    j->node = node;
    inode_pin(node);
    DL_APPEND(d->jobs, j);
    d->count++;
    r->queued++;
}

/* All but the one at work. */
static void drop_waiting(struct replay *r, struct replay_dir *d)
{
    struct replay_job *j, *next;

    DL_FOREACH_SAFE(d->jobs, j, next)
    {
        if (d->helper == NULL || j != d->jobs) {
            queue_job_drop(r, d, j);
        }
    }
}

void replay_overflow(struct replay *r, struct inode *dir)
{
    struct replay_dir *d;

    if (r->ending) {
        return;
    }
    d = dir_get(r, dir);
    drop_waiting(r, d);
    push(r, d, REPLAY_TOUCH, dir);
    r->info.overflows++;
    helpers_dispatch(r);
}

void replay_add(struct replay *r, enum replay_kind kind, struct inode *dir, struct inode *node)
{
    struct replay_dir *d;

    if (r->ending) {
        return;
    }
    d = dir_get(r, dir);
    if (d->count >= REPLAY_DIR_JOBS_MAX || r->queued >= REPLAY_JOBS_MAX) {
        replay_overflow(r, dir);
        return;
    }
    push(r, d, kind, node);
    helpers_dispatch(r);
}

void queue_clear(struct replay *r)
{
    struct replay_dir *d, *next;

    HASH_ITER (hh, r->dirs, d, next) {
        drop_waiting(r, d);
        if (d->helper == NULL) {
            DL_DELETE(r->ready, d);
            dir_free(r, d);
        }
    }
}

bool replay_is_busy(const struct replay *r, const struct inode *dir)
{
    return dir != NULL && dir_find(r, dir->id) != NULL;
}

bool replay_has_name(const struct replay *r, const struct inode *dir, struct name name)
{
    const struct replay_dir *d = dir_find(r, dir->id);
    const struct replay_job *j;

    if (d == NULL) {
        return false;
    }
    DL_FOREACH (d->jobs, j) {
        if (j->node->name_size == name.size && memcmp(j->node->name, name.bytes, name.size) == 0) {
            return true;
        }
    }
    return false;
}

void replay_info(const struct replay *r, struct replay_info *ret)
{
    *ret = r->info;
    ret->queued = r->queued;
}
