/* Changes in commit order. For each: the table shows it at once, to everybody; the kernel is told
 * to drop what it cached; and if it was not this mount's kernel that made the change, and the
 * kernel holds the node, or has shown the directory to somebody, so that someone may be watching,
 * it is queued to be repeated.
 *
 * A change is our own while the call that asked for it waits: its event comes before its reply on
 * the same stream. If the caller was interrupted or timed out, the kernel does not know that it
 * succeeded, and the change is treated as another's.
 *
 * The changes of one log entry are a group: they have one index, and come one after the other. */
#include <string.h>

#include "ephemeral.h"
#include "event_int.h"
#include "lock.h"
#include "poll_wait.h"

/* The kernel is told after our own changes, too: it marks the directory itself, but may then take
 * in attributes that we gave to another caller before. */
void event_mark_dir(struct mount *m, struct inode *dir)
{
    if (dir == NULL) {
        return;
    }
    dir->attr_fresh = false;
    inode_stat_drop(m, dir, false);
}

void event_repeat(struct change *ch, enum replay_kind kind, struct inode *dir, struct name name)
{
    const struct event *e = ch->e;
    struct inode *node = ch->node;

    if (node != NULL) {
        inode_pin(node);
    } else {
        node = inode_hear(&ch->m->inodes, dir, name, &e->attr, e->index);
    }
    if (e->kind == CHANGE_REMOVE) {
        inode_remove(node);
    }
    if (e->kind != CHANGE_REMOVE && e->has_value) {
        value_cache_put(&ch->m->values, node, e->value, e->attr.version);
    }
    replay_add(ch->m->replay, kind, (struct replay_place){dir, name}, node);
    inode_unpin(&ch->m->inodes, node);
}

static void repeat(struct change *ch, enum replay_kind kind)
{
    event_repeat(ch, kind, ch->dir, ch->e->name);
}

/* A name with a change in the queue is not settled: what happens to it here meanwhile is repeated
 * behind that, so that watchers end with what is true. */
static bool is_unsettled(const struct change *ch)
{
    return replay_has_name(ch->m->replay, ch->dir, ch->e->name);
}

static bool is_name(struct name name, const char *text)
{
    return text != NULL && strlen(text) == name.size && memcmp(text, name.bytes, name.size) == 0;
}

static void on_create(struct change *ch)
{
    const struct event *e = ch->e;
    struct inode *other = inode_child(ch->dir, e->name.bytes, e->name.size);
    /* The kernel knows of it by this name, unless that was a template. */
    bool own =
        ch->own != NULL && (is_name(e->name, ch->own->name) || is_name(e->name, ch->own->to_name));

    if (other != NULL && other != ch->node) {
        inode_detach(other); /* it went while nobody told us */
    }
    inode_gain_child(ch->dir, &e->attr, e->name, e->index);
    inode_stat_drop(ch->m, ch->dir, false);
    if (inode_is_watchable(ch->dir) && (!own || is_unsettled(ch))) {
        repeat(ch, REPLAY_CREATE);
    }
    if (ch->unheld && e->attr.life == LIFE_OPEN) {
        ephemeral_remove(ch->m, e->attr.id); /* no open file will do it */
    }
}

static void on_remove(struct change *ch)
{
    event_mark_dir(ch->m, ch->dir);
    if (ch->node != NULL) {
        if (ch->own == NULL && ch->node->kernel_refs > 0) {
            notify_entry(ch->m->notify, ch->dir->id, ch->e->name.bytes, ch->e->name.size);
        }
        inode_remove(ch->node);
        ch->node->removed_here = ch->own != NULL;
        poll_on_change(ch->m, ch->node);
        if (ch->node->lock_owners != NULL) {
            lock_on_remove(ch->m, ch->node);
        }
    }
    if (ch->e->attr.type == NODE_DIR) {
        local_drop_dir(&ch->m->locals, ch->e->attr.id);
    }
    if ((inode_is_watchable(ch->dir) || inode_is_watchable(ch->node)) &&
        (ch->own == NULL || is_unsettled(ch))) {
        repeat(ch, REPLAY_REMOVE);
    }
}

/* A file renamed over another brings more than a value. */
static bool has_same_rest(const struct attr *a, const struct attr *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           a->atime_ns == b->atime_ns && a->nlink == b->nlink;
}

/* After a write of its own the kernel has dropped size and times by itself, and until the commit is
 * known it is given none that it may keep (inode_stat()). Of all other changes it is told, our own
 * included. */
static void on_update(struct change *ch, bool value)
{
    struct inode *node = ch->node;
    const struct event *e = ch->e;
    bool held = inode_is_watchable(ch->dir);

    if (node != NULL) {
        bool same = value && has_same_rest(&node->attr, &e->attr);

        inode_update(node, &e->attr, e->index);
        if (value) {
            poll_on_change(ch->m, node);
        }
        if (value && e->has_value) {
            value_cache_put(&ch->m->values, node, e->value, e->attr.version);
        }
        held |= node->kernel_refs > 0;
        if (ch->own == NULL || !ch->own->kernel_knows) {
            inode_stat_drop(ch->m, node, same);
        }
    }
    if (held && ch->own == NULL) {
        repeat(ch, value ? REPLAY_SET : REPLAY_SETATTR);
    }
}

bool event_is_news(struct mount *m, struct inode *dir, const struct event *e)
{
    if (dir == NULL || e->index < dir->event_index ||
        (e->index == dir->event_index && dir->event_group != m->event_group)) {
        return false; /* nobody here cares, or it was repeated to us after a reconnect */
    }
    dir->event_index = e->index;
    dir->event_group = m->event_group;
    return true;
}

static void change_in_dir(struct change *ch)
{
    const struct event *e = ch->e;

    ch->dir = inode_find(&ch->m->inodes, e->dir);
    if (!event_is_news(ch->m, ch->dir, e)) {
        return;
    }
    ch->node = inode_find(&ch->m->inodes, e->attr.id);
    switch (e->kind) {
    case CHANGE_CREATE:
        on_create(ch);
        break;
    case CHANGE_SET:
        on_update(ch, true);
        break;
    case CHANGE_SETATTR:
        on_update(ch, false);
        break;
    case CHANGE_REMOVE:
        on_remove(ch);
        break;
    case CHANGE_MOVE:
    case CHANGE_GRANT:
        break;
    }
}

void event_handle(struct mount *m, const struct event *e)
{
    struct change ch = {.m = m, .e = e};
    struct call *c;

    if (e->kind == CHANGE_GRANT) {
        lock_on_grant(m, e);
        return;
    }
    c = e->session == m->session ? call_find(m, e->xid) : NULL;
    if (c != NULL && !c->abandoned && !c->foreign) {
        c->told = true;
        ch.own = c;
    }
    ch.unheld = e->session == m->session && (c == NULL || (c->abandoned && !c->outlives));
    if (e->kind == CHANGE_MOVE) {
        event_move(&ch);
    } else {
        event_move_settle(m);
        change_in_dir(&ch);
    }
    if (!e->more) {
        m->event_group++;
    }
    interest_update(m);
}

/* --- when events are missing ----------------------------------------------------------------- */

static void drop_cached(struct mount *m, struct inode *i)
{
    if (i->kernel_refs == 0 || i->removed) {
        return;
    }
    notify_inode(m->notify, i->id);
    if (i->linked) {
        notify_entry(m->notify, i->parent->id, i->name, i->name_size);
    }
}

void event_missed(struct mount *m, const uint64_t *dirs, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        struct inode *dir = inode_find(&m->inodes, dirs[n]);
        struct inode *i, *next;

        if (dir == NULL || dir->removed) {
            continue;
        }
        dir->attr_fresh = false;
        HASH_ITER (hh_name, dir->children, i, next) {
            i->attr_fresh = false;
            drop_cached(m, i);
        }
        if (dir->kernel_refs > 0) {
            notify_inode(m->notify, dir->id);
            replay_overflow(m->replay, dir);
        }
    }
    poll_on_missed(m);
}

/* What was to end with our session has ended. Should a rename have made one permanent meanwhile,
 * whoever looks finds it again. */
static void repeat_ended(struct mount *m)
{
    struct inode_ids ended = {0};
    struct inode *i, *next;

    HASH_ITER (hh, m->inodes.by_id, i, next) {
        if (i->linked && i->attr.life != LIFE_PERMANENT && i->attr.owner == m->session &&
            i->parent->kernel_refs > 0) {
            inode_ids_add(&ended, i->id);
        }
    }
    for (size_t n = 0; n < ended.count; n++) {
        i = inode_find(&m->inodes, ended.ids[n]);
        if (i != NULL) {
            struct name name = {i->name, (uint32_t)i->name_size};

            replay_add(m->replay, REPLAY_REMOVE, (struct replay_place){i->parent, name}, i);
        }
    }
    inode_ids_done(&ended);
}

void event_forget_all(struct mount *m)
{
    struct inode_ids dirs = {0};
    struct inode *i, *next;

    HASH_ITER (hh, m->inodes.by_id, i, next) {
        value_cache_drop(&m->values, i);
        if (i->removed) {
            continue;
        }
        inode_distrust(i);
        drop_cached(m, i);
        if (inode_is_dir(i) && i->kernel_refs > 0) {
            inode_ids_add(&dirs, i->id);
        }
    }
    for (size_t n = 0; n < dirs.count; n++) { /* this lets go of nodes, so not while iterating */
        i = inode_find(&m->inodes, dirs.ids[n]);
        if (i != NULL) {
            replay_overflow(m->replay, i);
        }
    }
    inode_ids_done(&dirs);
    repeat_ended(m);
    poll_on_missed(m);
}
