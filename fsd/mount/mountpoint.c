#include "mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"

/* --- what is mounted ------------------------------------------------------------------------- */

/* Blanks and the like are written as three octal digits; no path holds \000, which would end it. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; to++) {
        if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' &&
            at[3] >= '0' && at[3] <= '7' && strncmp(at, "\\000", 4) != 0) {
            *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            *to = *at++;
        }
    }
    *to = '\0';
}

bool mountpoint_line(const char *line, struct mountpoint_entry *ret)
{
    struct mountpoint_entry e;
    const char *type;

    if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &e.dev_major, &e.dev_minor, e.path) != 3) {
        return false;
    }
    type = strstr(line, " - "); /* a blank within a field is escaped */
    if (type == NULL || sscanf(type, " - %63s", e.type) != 1) {
        return false;
    }
    unescape(e.path);
    *ret = e;
    return true;
}

/* The last one at a path is the one that is seen. */
static bool find_mount(const char *path, struct mountpoint_entry *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t cap = 0;
    bool found = false;

    if (f == NULL) {
        return false;
    }
    while (getline(&line, &cap, f) >= 0) {
        struct mountpoint_entry e;

        if (mountpoint_line(line, &e) && strcmp(e.path, path) == 0) {
            *ret = e;
            found = true;
        }
    }
    free(line);
    fclose(f);
    return found;
}

int mountpoint_dev(const char *path, dev_t *ret)
{
    struct mountpoint_entry e;

    if (!find_mount(path, &e)) {
        return ERR_NOENT;
    }
    *ret = makedev(e.dev_major, e.dev_minor);
    return 0;
}

/* --- making it ready ------------------------------------------------------------------------- */

/* Users who are not root unmount with a helper of libfuse. */
static void unmount_as_user(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0) {
        waitpid(pid, NULL, 0);
    }
}

static int stat_live(const char *path, struct stat *ret)
{
    enum { STACKED_MAX = 16 };

    for (int n = 0; n < STACKED_MAX; n++) {
        struct statvfs unused;

        /* The attributes of a dead mount's root may be cached; statvfs() asks whoever serves it. */
        if (stat(path, ret) == 0 && (statvfs(path, &unused) == 0 || errno != ENOTCONN)) {
            return 0;
        }
        if (errno != ENOTCONN) {
            return errno;
        }
        if (umount2(path, MNT_DETACH) != 0 && errno == EPERM) {
            unmount_as_user(path);
        }
    }
    return ENOTCONN;
}

int mountpoint_prepare(const char *path, char *ret_path, size_t cap, char *why, size_t why_size)
{
    struct mountpoint_entry e;
    struct stat st;
    int err_no = stat_live(path, &st);
    char *real;

    if (err_no == 0 && !S_ISDIR(st.st_mode)) {
        err_no = ENOTDIR;
    }
    real = err_no == 0 ? realpath(path, NULL) : NULL;
    if (real == NULL || strlen(real) >= cap) {
        snprintf(why, why_size, "mount point %.200s: %s", path,
                 strerror(err_no != 0 ? err_no : ENAMETOOLONG));
        free(real);
        return ERR_INVAL;
    }
    if (find_mount(real, &e) && strcmp(e.type, "fuse.zabfs") == 0) {
        snprintf(why, why_size, "mount point %.200s: busy, zabfs is mounted there", path);
        free(real);
        return ERR_INVAL;
    }
    memcpy(ret_path, real, strlen(real) + 1);
    free(real);
    return 0;
}
