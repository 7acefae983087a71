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

/* Names are counted, so that a change made here need not look through the queue. */

static struct replay_name *name_find(const struct replay_dir *d, struct name name)
{
    struct replay_name *n;

    HASH_FIND(hh, d->names, name.bytes, name.size, n);
    return n;
}

static void name_use(struct replay_dir *d, struct name name)
{
    struct replay_name *n = name_find(d, name);

    if (n == NULL) {
        n = mem_zalloc(sizeof(*n) + name.size + 1);
        memcpy(n->text, name.bytes, name.size);
        HASH_ADD_KEYPTR(hh, d->names, n->text, name.size, n);
    }
    n->uses++;
}

static void name_drop(struct replay_dir *d, const char *text)
{
    struct replay_name *n = name_find(d, (struct name){text, (uint32_t)strlen(text)});

    if (--n->uses == 0) {
        HASH_DELETE(hh, d->names, n);
        mem_free(n);
    }
}

static char *text_of(struct name name)
{
    char *text = mem_zalloc(name.size + 1);

    memcpy(text, name.bytes, name.size);
    return text;
}

static void dir_free(struct replay *r, struct replay_dir *d)
{
    CHECK(d->jobs == NULL);
    CHECK(d->helper == NULL);
    CHECK(d->names == NULL);
    HASH_DELETE(hh, r->dirs, d);
    inode_unpin(r->conf.inodes, d->inode);
    mem_free(d);
}

static bool is_of_name(const struct replay_job *j)
{
    return j->kind != REPLAY_SET && j->kind != REPLAY_SETATTR && j->kind != REPLAY_TOUCH;
}

static void job_free(struct replay *r, struct replay_job *j)
{
    DL_DELETE(j->dir->jobs, j);
    name_drop(j->dir, j->name);
    if (j->to_dir == j->dir->inode) {
        name_drop(j->dir, j->to_name);
    }
    j->dir->count--;
    j->dir->name_count -= is_of_name(j);
    j->dir->other_count -= j->kind != REPLAY_SET;
    if (j->node->replay_set == j) {
        j->node->replay_set = NULL;
    }
    r->queued--;
    inode_unpin(r->conf.inodes, j->node);
    if (j->to_dir != NULL) {
        inode_unpin(r->conf.inodes, j->to_dir);
    }
    if (j->other != NULL) {
        inode_unpin(r->conf.inodes, j->other);
    }
    mem_free(j->name);
    mem_free(j->to_name);
    mem_free(j);
}

static struct replay_dir *dir_of_twin(const struct replay_dir *d)
{
    return d->jobs->twin != NULL ? d->jobs->twin->dir : NULL;
}

/* The end of a directory is told after all that happened in it: then nothing leads there any more.
 */
static bool is_ready(const struct replay *r, const struct replay_job *j)
{
    if (j->kind == REPLAY_REMOVE) {
        return !replay_is_busy(r, j->node);
    }
    return j->twin == NULL || (j->kind == REPLAY_MOVE && j->twin == j->twin->dir->jobs);
}

struct replay_dir *queue_first_ready(const struct replay *r)
{
    struct replay_dir *d;

    DL_FOREACH (r->ready, d) {
        if (is_ready(r, d->jobs)) {
            return d;
        }
    }
    return NULL;
}

void queue_take(struct replay *r, struct replay_dir *d, struct helper *h)
{
    struct replay_dir *other = dir_of_twin(d);
    struct inode *node = d->jobs->node;

    DL_DELETE(r->ready, d);
    pace_take(r, d);
    d->helper = h;
    if (node->replay_set == d->jobs) {
        node->replay_set = NULL; /* what changes from now on is told once more */
    }
    if (other != NULL) {
        DL_DELETE(r->ready, other);
        other->helper = h;
    }
}

void queue_go_on(struct replay *r, struct replay_dir *d)
{
    if (d->jobs == NULL) {
        dir_free(r, d);
    } else {
        DL_APPEND(r->ready, d);
    }
}

static void helper_left(struct replay *r, struct replay_dir *d, uint64_t done)
{
    d->helper = NULL;
    if (!pace_rest(r, d, done)) {
        queue_go_on(r, d);
    }
}

void queue_release(struct replay *r, struct replay_dir *d, bool done)
{
    struct replay_dir *other = dir_of_twin(d);
    uint64_t number = 0;
    uint64_t other_number = 0;

    if (done) {
        if (other != NULL) {
            other_number = d->jobs->twin->number;
            job_free(r, d->jobs->twin);
        }
        number = d->jobs->number;
        job_free(r, d->jobs);
    }
    helper_left(r, d, number);
    if (other != NULL) {
        helper_left(r, other, other_number);
    }
}

static struct replay_job *push(struct replay *r, struct replay_dir *d, enum replay_kind kind,
                               struct name name, struct inode *node)
{
    struct replay_job *j = mem_zalloc(sizeof(*j));

    j->kind = kind;
    j->number = ++r->number_last;
    j->dir = d;
    j->node = node;
    inode_pin(node);
    j->name = text_of(name);
    name_use(d, name);
    DL_APPEND(d->jobs, j);
    d->count++;
    d->name_count += is_of_name(j);
    r->queued++;
    if (kind == REPLAY_SET) {
        node->replay_set = j;
    } else {
        d->other_count++;
        d->other_last = j->number;
        pace_wake(r, d);
    }
    return j;
}

/* Its other half was dropped: all that can be said is that something happened. */
static void job_widow(struct replay *r, struct replay_job *j)
{
    j->twin = NULL;
    j->kind = REPLAY_TOUCH;
    j->dir->name_count--;
    name_drop(j->dir, j->name);
    j->name[0] = '\0'; /* of the directory itself */
    name_use(j->dir, (struct name){"", 0});
    inode_unpin(r->conf.inodes, j->node);
    j->node = j->dir->inode;
    inode_pin(j->node);
}

/* All but the one at work. */
static void drop_waiting(struct replay *r, struct replay_dir *d)
{
    struct replay_job *j, *next;

    DL_FOREACH_SAFE(d->jobs, j, next)
    {
        if (d->helper == NULL || j != d->jobs) {
            if (j->twin != NULL) {
                job_widow(r, j->twin);
            }
            job_free(r, j);
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
    push(r, d, REPLAY_TOUCH, (struct name){"", 0}, dir);
    r->info.overflows++;
    helpers_dispatch(r);
}

/* With a backlog, a job that waits tells of this change, too: who hears of it finds the newest
 * value. What changed in the directory in between is not passed over. */
static bool merges(struct replay *r, const struct replay_place *at, const struct inode *node)
{
    const struct replay_job *j = node->replay_set;

    if (j == NULL || j->dir->inode != at->dir || r->queued < REPLAY_MERGE_COUNT ||
        j->number < j->dir->other_last) {
        return false;
    }
    r->info.merged++;
    return true;
}

static bool is_full(const struct replay *r, const struct inode *dir)
{
    const struct replay_dir *d = dir_find(r, dir->id);

    return r->queued >= REPLAY_JOBS_MAX || (d != NULL && d->count >= REPLAY_DIR_JOBS_MAX);
}

void replay_add(struct replay *r, enum replay_kind kind, struct replay_place at, struct inode *node)
{
    if (r->ending) {
        return;
    }
    if (kind == REPLAY_SET && merges(r, &at, node)) {
        return;
    }
    if (is_full(r, at.dir)) {
        replay_overflow(r, at.dir);
        return;
    }
    push(r, dir_get(r, at.dir), kind, at.name, node);
    helpers_dispatch(r);
}

void replay_move(struct replay *r, struct replay_place from, struct replay_place to,
                 struct inode *node, struct inode *other)
{
    struct replay_dir *source, *target;
    struct replay_job *j;

    if (r->ending) {
        return;
    }
    if (is_full(r, from.dir) || is_full(r, to.dir)) {
        replay_overflow(r, from.dir);
        replay_overflow(r, to.dir);
        return;
    }
    source = dir_get(r, from.dir);
    target = dir_get(r, to.dir);
    j = push(r, source, REPLAY_MOVE, from.name, node);
    j->to_dir = to.dir;
    inode_pin(to.dir);
    j->to_name = text_of(to.name);
    if (target == source) {
        name_use(source, to.name);
    }
    j->other = other;
    if (other != NULL) {
        inode_pin(other);
    }
    if (target != source) {
        j->twin = push(r, target, REPLAY_ARRIVE, to.name, node);
        j->twin->twin = j;
    }
    helpers_dispatch(r);
}

void queue_clear(struct replay *r)
{
    struct replay_dir *d, *next;

    HASH_ITER (hh, r->dirs, d, next) {
        drop_waiting(r, d);
        if (d->rest_until_ns != 0) {
            DL_DELETE(r->resting, d);
            dir_free(r, d);
        } else if (d->helper == NULL) {
            DL_DELETE(r->ready, d);
            dir_free(r, d);
        }
    }
}

bool replay_is_busy(const struct replay *r, const struct inode *dir)
{
    const struct replay_dir *d = dir != NULL ? dir_find(r, dir->id) : NULL;

    return d != NULL && d->jobs != NULL;
}

bool replay_renames(const struct replay *r, const struct inode *dir)
{
    const struct replay_dir *d = dir != NULL ? dir_find(r, dir->id) : NULL;

    return d != NULL && d->name_count > 0;
}

bool replay_has_name(const struct replay *r, const struct inode *dir, struct name name)
{
    const struct replay_dir *d = dir_find(r, dir->id);

    return d != NULL && name_find(d, name) != NULL;
}

void replay_info(const struct replay *r, struct replay_info *ret)
{
    *ret = r->info;
    ret->queued = r->queued;
}
