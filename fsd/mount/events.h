#ifndef ZABFS_MOUNT_EVENTS_H
#define ZABFS_MOUNT_EVENTS_H

#include "mount_int.h"

/* .zabfs/events, see control_events.c. */
void events_add(struct mount *m, const struct event *e); /* behind event_handle() */
void events_on_attach(struct mount *m);
void events_end(struct mount *m); /* no more will come */

#endif
