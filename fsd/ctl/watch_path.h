#ifndef ZABFS_CTL_WATCH_PATH_H
#define ZABFS_CTL_WATCH_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "msg.h"

/* Which changes are about a path that is being watched: of the node that has it, of the children of
 * a directory that has it, with `recursive` of all below. A move counts when either end of it does,
 * and when what is moved is a directory above the path: then what is at the path changes as well.
 * It is names that are watched, so a path need not exist yet. */
struct watch_path {
    const char *bytes; /* "/a/b" without a slash at its end; empty for the root */
    size_t size;
    bool recursive;
};

/* Cuts slashes off the end, borrows the rest. False: not absolute, or has empty names inside. */
bool watch_path_make(const char *path, bool recursive, struct watch_path *ret);
bool watch_path_takes(const struct watch_path *p, const struct event *e);

#endif
