/* A node that got another place: CHANGE_MOVE.
 *
 * Happy path: the kernel holds both directories; the table moves the node at once, the kernel drops
 * the old name, and the change is repeated as one rename(), so that watchers get both halves with
 * one cookie. An exchange is two changes of one group and one rename(): the first is kept back
 * until the second has come.
 *
 * If nobody can be watching one of the directories, the other is told of a node that came or went.
 * If the new directory is not in the table, the node is tied to an anchor (inode.h, rule 5), so
 * that open files of it go on hearing of changes. */
#include <string.h>

#include "event_int.h"
#include "mem.h"

struct move_kept { /* in mount.move_kept: a move to be repeated, and perhaps half of an exchange */
    struct inode *node, *from, *to; /* held */
    char *from_name, *to_name;
};

static char *text_of(struct name name)
{
    char *text = mem_zalloc(name.size + 1);

    memcpy(text, name.bytes, name.size);
    return text;
}

static struct name name_of(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

static bool is_text(struct name name, const char *text)
{
    return strlen(text) == name.size && memcmp(text, name.bytes, name.size) == 0;
}

/* --- repeating ------------------------------------------------------------------------------- */

static void kept_queue(struct mount *m, struct inode *other)
{
    struct move_kept *k = m->move_kept;

    m->move_kept = NULL;
    replay_move(m->replay, (struct replay_place){k->from, name_of(k->from_name)},
                (struct replay_place){k->to, name_of(k->to_name)}, k->node, other);
    inode_unpin(&m->inodes, k->node);
    inode_unpin(&m->inodes, k->from);
    inode_unpin(&m->inodes, k->to);
    mem_free(k->from_name);
    mem_free(k->to_name);
    mem_free(k);
}

void event_move_settle(struct mount *m)
{
    if (m->move_kept != NULL) {
        kept_queue(m, NULL);
    }
}

static void keep(const struct change *ch, struct inode *from, struct inode *to)
{
    const struct event *e = ch->e;
    struct move_kept *k = mem_zalloc(sizeof(*k));

    *k = (struct move_kept){.node = ch->node,
                            .from = from,
                            .to = to,
                            .from_name = text_of(e->from_name),
                            .to_name = text_of(e->name)};
    inode_pin(k->node);
    inode_pin(k->from);
    inode_pin(k->to);
    ch->m->move_kept = k;
    if (!e->more) {
        event_move_settle(ch->m);
    }
}

/* The other half of the exchange that is kept back. */
static bool is_way_back(const struct move_kept *k, const struct event *e)
{
    return k != NULL && k->from->id == e->dir && k->to->id == e->from_dir &&
           is_text(e->name, k->from_name) && is_text(e->from_name, k->to_name);
}

/* The kernel may hold the node and have forgotten the directory: a watch keeps the one alone. */
static bool is_left_watched(const struct inode *from, const struct inode *node)
{
    return from != NULL && (inode_is_watchable(from) || inode_is_watchable(node));
}

static void repeat(struct change *ch, struct inode *from, struct inode *to)
{
    struct mount *m = ch->m;
    char path[PATH_MAX];

    if (is_way_back(m->move_kept, ch->e)) {
        kept_queue(m, ch->node);
        return;
    }
    event_move_settle(m);
    /* Whoever watches the node itself must not take it for deleted. */
    if (is_left_watched(from, ch->node) && to != NULL &&
        (inode_is_watchable(to) ||
         (ch->node->kernel_refs > 0 && inode_path(to, path, sizeof(path))))) {
        keep(ch, from, to);
    } else if (is_left_watched(from, ch->node)) {
        event_repeat(ch, REPLAY_REMOVE, from, ch->e->from_name);
    } else if (inode_is_watchable(to)) {
        event_repeat(ch, REPLAY_CREATE, to, ch->e->name);
    }
}

static bool is_unsettled(const struct mount *m, const struct inode *dir, struct name name)
{
    return dir != NULL && replay_has_name(m->replay, dir, name);
}

/* --- the table ------------------------------------------------------------------------------- */

/* The kernel drops what it has under a name that is another node's now, or nobody's. */
static void drop_name(struct mount *m, struct inode *dir, struct name name)
{
    const struct inode *i = dir != NULL ? inode_child(dir, name.bytes, name.size) : NULL;

    if (i != NULL && i->kernel_refs > 0) {
        notify_entry(m->notify, dir->id, name.bytes, name.size);
    }
}

/* Puts the node where it is now, into the table if it is not there; ch->node is pinned then. */
static void place(struct change *ch, struct inode *from, struct inode *to)
{
    struct mount *m = ch->m;
    const struct event *e = ch->e;
    struct inode *dir = to;

    if (ch->node == NULL) {
        ch->node = inode_learn(&m->inodes, to != NULL ? to : from,
                               to != NULL ? e->name : e->from_name, &e->attr, e->index);
        if (to == NULL) {
            inode_detach(ch->node);
        }
        return;
    }
    inode_pin(ch->node);
    if (dir == NULL) {
        dir = inode_anchor(&m->inodes, e->dir, e->index);
        dir->event_group = m->event_group;
    } else {
        inode_pin(dir);
    }
    inode_place(&m->inodes, ch->node, dir, e->name, e->index);
    inode_update(ch->node, &e->attr, e->index);
    inode_unpin(&m->inodes, dir);
    inode_stat_drop(m, ch->node, false);
}

void event_move(struct change *ch)
{
    struct mount *m = ch->m;
    const struct event *e = ch->e;
    struct inode *from = inode_find(&m->inodes, e->from_dir);
    struct inode *to = inode_find(&m->inodes, e->dir);
    bool from_news = event_is_news(m, from, e);
    bool to_news = from == to ? from_news : event_is_news(m, to, e);
    bool tell;

    if (!from_news && !to_news) {
        return;
    }
    from = from_news ? from : NULL;
    if (ch->own == NULL) {
        drop_name(m, from, e->from_name);
        drop_name(m, to, e->name);
    }
    event_mark_dir(m, from);
    event_mark_dir(m, to);
    ch->node = inode_find(&m->inodes, e->attr.id);
    tell = (is_left_watched(from, ch->node) || inode_is_watchable(to)) &&
           (ch->own == NULL || is_unsettled(m, from, e->from_name) || is_unsettled(m, to, e->name));
    if (ch->node == NULL && !tell) {
        return;
    }
    if (from != NULL) {
        inode_pin(from); /* the node may be all that holds it */
    }
    place(ch, from, to);
    if (tell) {
        repeat(ch, from, to_news ? to : NULL);
    }
    inode_unpin(&m->inodes, ch->node);
    if (from != NULL) {
        inode_unpin(&m->inodes, from);
    }
}
