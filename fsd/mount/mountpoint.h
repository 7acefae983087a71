#ifndef ZABFS_MOUNTPOINT_H
#define ZABFS_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The place where the mount goes. */

/* Checks that `path` is a directory that no zabfs is mounted on, and writes its absolute path. What
 * a daemon that died left there is unmounted first.
 * Errors: ERR_INVAL, with one line about it in why. */
int mountpoint_prepare(const char *path, char *ret_path, size_t cap, char *why, size_t why_size);

/* The device number of the newest mount at an absolute path. Errors: ERR_NOENT. */
int mountpoint_dev(const char *path, dev_t *ret);

/* One line of /proc/self/mountinfo; mountpoint_line() fills it. */
struct mountpoint_entry {
    unsigned dev_major, dev_minor;
    char path[4096];
    char type[64];
};
/* False for a line that is not understood. */
bool mountpoint_line(const char *line, struct mountpoint_entry *ret);

#endif
