/* The helper process: repeats one change after the other on the mount, with ordinary system calls,
 * and blocks as they do. It holds neither the FUSE descriptor, so that it cannot keep the mount
 * alive, nor an open file on the mount between orders, so that it does not keep it busy. It ends
 * when its order pipe does. */
#include "replay_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "msg.h"
#include "times.h"

enum { MOVE_TRIES_MAX = 8 };

struct place {
    const char *mountpoint;
    unsigned dev_major, dev_minor;
};

/* The mount may be gone or covered by another: a change must never be repeated elsewhere. */
static int open_mount(const struct place *p)
{
    struct statx st;
    int fd = open(p->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0 ||
        st.stx_dev_major != p->dev_major || st.stx_dev_minor != p->dev_minor) {
        close(fd);
        errno = ENOTCONN;
        return -1;
    }
    return fd;
}

static int repeat_create(int dir, const char *name, const struct replay_order *o)
{
    switch ((enum node_type)o->type) {
    case NODE_DIR:
        return mkdirat(dir, name, 0700);
    case NODE_SYMLINK:
        return symlinkat("target", dir, name); /* the mount knows the real one */
    case NODE_FILE:
        return mknodat(dir, name, S_IFREG | 0600, 0);
    }
    errno = EINVAL;
    return -1;
}

static int repeat_set(int dir, const char *name, const struct replay_order *o)
{
    int fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    int result;

    if (fd < 0 && errno == ETXTBSY) { /* someone runs it: at least IN_MODIFY can be had */
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, to_timespec(o->mtime_ns)};

        return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
    }
    if (fd < 0) {
        return -1;
    }
    /* The mount takes no notice of the byte. A write costs one request; cutting the file would have
     * the kernel ask for its capabilities first. */
    if (o->size > 0) {
        result = pwrite(fd, "", 1, (off_t)o->size - 1) == 1 ? 0 : -1;
    } else {
        result = ftruncate(fd, 0);
    }
    close(fd);
    return result;
}

static int repeat_setattr(int dir, const char *name, const struct replay_order *o)
{
    struct timespec times[2] = {to_timespec(o->atime_ns), to_timespec(o->mtime_ns)};

    return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

static int repeat_at(int dir, const char *name, const struct replay_order *o)
{
    switch ((enum replay_kind)o->kind) {
    case REPLAY_CREATE:
        return repeat_create(dir, name, o);
    case REPLAY_SET:
        return repeat_set(dir, name, o);
    case REPLAY_SETATTR:
    case REPLAY_TOUCH:
        return repeat_setattr(dir, name, o);
    case REPLAY_REMOVE:
        return unlinkat(dir, name, o->type == NODE_DIR ? AT_REMOVEDIR : 0);
    case REPLAY_MOVE:
    case REPLAY_ARRIVE:
        break;
    }
    errno = EINVAL;
    return -1;
}

/* Opens the directory of the path's last name, which a symbolic link on the way cannot lead astray:
 * what the mount sent are directories. May return `root` itself. */
static int open_dir_of(int root, char *path, const char **ret_name)
{
    char *name = strrchr(path, '/');

    if (name == NULL) {
        *ret_name = path;
        return root;
    }
    *name = '\0';
    *ret_name = name + 1;
    return openat(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void close_dir_of(int root, int dir)
{
    if (dir != root && dir >= 0) {
        close(dir);
    }
}

/* Takes a directory that the kernel knows under its new name away from there, which rename() itself
 * cannot do with the locks it holds. At first by looking at the new name: the mount says that it is
 * not there yet, and the kernel forgets it. One that somebody has open cannot be forgotten. It goes
 * back to the old name, by a look at that; the last resort, because until it is renamed others who
 * rename it get the same error. */
static void make_way(int from, const char *name, int to, const char *to_name, int tries)
{
    struct timespec pause = {.tv_nsec = 1000000L << tries};
    struct stat st;

    (void)fstatat(to, to_name, &st, AT_SYMLINK_NOFOLLOW);
    if (tries > 0) {
        (void)nanosleep(&pause, NULL); /* another rename may be in the way */
        (void)fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW);
    }
}

static int repeat_move(int from, const char *name, int to, const char *to_name,
                       const struct replay_order *o)
{
    unsigned flags = o->exchange ? RENAME_EXCHANGE : 0;
    int result = renameat2(from, name, to, to_name, flags);

    for (int n = 0; n < MOVE_TRIES_MAX && result != 0 && errno == ESTALE; n++) {
        make_way(from, name, to, to_name, n);
        result = renameat2(from, name, to, to_name, flags);
    }
    return result;
}

/* Returns 0 or an errno. */
static int move(int root, const struct replay_order *o, int from, const char *name, char *to_path)
{
    const char *to_name;
    int to = open_dir_of(root, to_path, &to_name);
    int err_no = 0;

    if (to < 0 || repeat_move(from, name, to, to_name, o) != 0) {
        err_no = errno;
    }
    close_dir_of(root, to);
    return err_no;
}

static int carry_out(const struct place *p, const struct replay_order *o, char *path, char *to_path)
{
    int root = open_mount(p);
    const char *name;
    int err_no = 0;
    int dir;

    if (root < 0) {
        return errno;
    }
    dir = open_dir_of(root, path, &name);
    if (dir >= 0 && o->kind == REPLAY_MOVE) {
        err_no = move(root, o, dir, name, to_path);
    } else if (dir < 0 || repeat_at(dir, name, o) != 0) {
        err_no = errno;
    }
    close_dir_of(root, dir);
    close(root);
    return err_no;
}

struct order {
    struct replay_order head;
    char paths[2 * PATH_MAX];
};

static bool is_whole(const struct order *o, size_t size)
{
    return size >= sizeof(o->head) && size - sizeof(o->head) >= o->head.path_size + o->head.to_size;
}

/* There is never more than one order. False: there will be none. */
static bool order_read(struct order *ret)
{
    size_t size = 0;

    while (!is_whole(ret, size)) {
        ssize_t n = read(0, (char *)ret + size, sizeof(*ret) - size);

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        size += n > 0 ? (size_t)n : 0;
        if (size >= sizeof(ret->head) &&
            (ret->head.path_size >= PATH_MAX || ret->head.to_size >= PATH_MAX)) {
            return false;
        }
    }
    return true;
}

static void path_take(char *ret, const char *bytes, uint32_t size)
{
    memcpy(ret, bytes, size);
    ret[size] = '\0';
}

int replay_helper_main(int argc, char **argv)
{
    struct place place;
    struct order order;
    char path[PATH_MAX], to_path[PATH_MAX];

    if (argc != 4 || sscanf(argv[3], "%u:%u", &place.dev_major, &place.dev_minor) != 2) {
        return 2;
    }
    place.mountpoint = argv[2];
    signal(SIGINT, SIG_IGN); /* the mount ends first, and the helper with it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    while (order_read(&order)) {
        int32_t answer;

        path_take(path, order.paths, order.head.path_size);
        path_take(to_path, order.paths + order.head.path_size, order.head.to_size);
        answer = carry_out(&place, &order.head, path, to_path);
        if (write(0, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
            return 1;
        }
    }
    return 0;
}
