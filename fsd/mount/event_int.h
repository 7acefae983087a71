#ifndef ZABFS_EVENT_INT_H
#define ZABFS_EVENT_INT_H

#include "call.h"

struct change { /* an event and what it means here */
    struct mount *m;
    const struct event *e;
    struct inode *dir;
    struct inode *node; /* NULL if not in the table */
    const struct call *own;
    bool unheld; /* our session's, but whoever asked for it was told that it failed */
};

/* event.c */
/* True if the directory, which may be NULL, is in the table and was not told of this change before.
 */
bool event_is_news(struct mount *m, struct inode *dir, const struct event *e);
void event_mark_dir(struct mount *m, struct inode *dir);
/* Queues the change to be repeated in `dir`, where the node is, or was, under `name`. */
void event_repeat(struct change *ch, enum replay_kind kind, struct inode *dir, struct name name);

/* event_move.c: CHANGE_MOVE; ch->dir and ch->node are not set. */
void event_move(struct change *ch);
/* The next change is not the other half of an exchange: what was kept back is queued. */
void event_move_settle(struct mount *m);

#endif
