/* Locks on files that only this mount has: nobody else can want them, so they are kept here. First
 * come, first served, but for those that are in nobody's way. */
#include <errno.h>
#include <fcntl.h>
#include <utlist.h>

#include "local.h"
#include "lock_range.h"
#include "mem.h"
#include "op_local.h"

struct local_lock { /* what one owner holds; in local_file.locks, freed when that is nothing */
    enum lock_kind kind;
    uint64_t owner;
    uint32_t pid;
    struct lock_ranges ranges;
    struct local_lock *next;
};

/* The first piece of others that is in the way; false: none. */
static bool find_conflict(const struct local_file *f, const struct lock *l,
                          struct lock_piece *ret_piece, uint32_t *ret_pid)
{
    const struct local_lock *k;

    LL_FOREACH (f->locks, k) {
        if (k->kind != l->kind || k->owner == l->owner) {
            continue;
        }
        for (size_t n = 0; n < k->ranges.count; n++) {
            const struct lock_piece *p = &k->ranges.pieces[n];

            if (p->start <= l->end && l->start <= p->end &&
                (p->type == LOCK_TYPE_EXCLUSIVE || l->type == LOCK_TYPE_EXCLUSIVE)) {
                *ret_piece = *p;
                *ret_pid = k->pid;
                return true;
            }
        }
    }
    return false;
}

static void set(struct local_file *f, const struct lock *l)
{
    struct local_lock *k;

    LL_FOREACH (f->locks, k) {
        if (k->kind == l->kind && k->owner == l->owner) {
            break;
        }
    }
    if (k == NULL && l->type == LOCK_TYPE_NONE) {
        return;
    }
    if (k == NULL) {
        k = mem_zalloc(sizeof(*k));
        k->kind = l->kind;
        k->owner = l->owner;
        LL_PREPEND(f->locks, k);
    }
    k->pid = l->pid;
    lock_ranges_set(&k->ranges, l->start, l->end, l->type);
    if (k->ranges.count == 0) {
        LL_DELETE(f->locks, k);
        mem_free(k);
    }
}

/* Those that wait and can go on do so; what one held before may have been in another's way. */
static void wake(struct local_file *f)
{
    struct call *c = f->lock_waiters;

    while (c != NULL) {
        struct lock_piece piece;
        uint32_t pid;

        if (find_conflict(f, &c->lock, &piece, &pid)) {
            c = c->next;
        } else {
            call_resume(c);
            c = f->lock_waiters;
        }
    }
}

static void take(struct call *c)
{
    set(c->local, &c->lock);
    call_reply_errno(c, 0);
}

bool op_local_lock(struct mount *m, fuse_req_t req, const struct handle *h, const struct lock *l,
                   bool wait)
{
    struct local_file *f = h != NULL && h->kind == HANDLE_LOCAL ? h->local : NULL;
    struct lock_piece piece;
    uint32_t pid;
    struct call *c;

    if (f == NULL) {
        return false;
    }
    if (l->type == LOCK_TYPE_NONE || !find_conflict(f, l, &piece, &pid)) {
        set(f, l);
        op_refuse(req, 0);
        wake(f);
    } else if (!wait) {
        op_refuse(req, EAGAIN);
    } else {
        c = call_new(m, req, NULL, NULL);
        c->local = f;
        local_pin(f);
        c->lock = *l;
        call_join(c, &f->lock_waiters, take);
    }
    return true;
}

bool op_local_getlk(fuse_req_t req, const struct handle *h, const struct lock *l)
{
    struct flock found = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    struct lock_piece piece;
    uint32_t pid;

    if (h == NULL || h->kind != HANDLE_LOCAL) {
        return false;
    }
    if (find_conflict(h->local, l, &piece, &pid)) {
        found.l_type = piece.type == LOCK_TYPE_SHARED ? F_RDLCK : F_WRLCK;
        found.l_start = (off_t)piece.start;
        found.l_len = piece.end == UINT64_MAX ? 0 : (off_t)(piece.end - piece.start + 1);
        found.l_pid = (pid_t)pid;
    }
    fuse_reply_lock(req, &found);
    return true;
}

void op_local_give_all(struct local_file *f, enum lock_kind kind, uint64_t owner)
{
    if (f->locks == NULL) {
        return;
    }
    set(f, &(struct lock){.kind = kind, .owner = owner, .end = UINT64_MAX});
    wake(f);
}

void op_local_locks_done(struct local_file *f)
{
    struct local_lock *k, *next;

    LL_FOREACH_SAFE(f->locks, k, next)
    {
        lock_ranges_done(&k->ranges);
        mem_free(k);
    }
    f->locks = NULL;
}
