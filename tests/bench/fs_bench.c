/* fs_bench WORK [-c CLIENTS] [-n COUNT] [-w WARM] [-s SIZE] [-t SECONDS] [-o FILE] MOUNT...
 *
 * What programs pay on mounts; the clients are spread over them in turn. Output and options as in
 * bench.h, the same works over ZooKeeper's client in zk_bench.c.
 *   write    open(O_TRUNC) + write + close of a file of its own
 *   read     open + read + close of a file of its own, with nothing written meanwhile
 *   create   open("job-#", O_CREAT|O_EXCL) + write + close in a directory of its own; with -s 0
 *            nothing is written; all numbers and values are looked at afterwards
 *   stat     stat of a file of its own
 *   lock     flock(LOCK_EX), then LOCK_UN, of one file by all; counts hand-overs
 *   event    a file's write on MOUNT1, from before its open to the return of the read that brings
 *            its IN_CLOSE_WRITE to a watcher of its directory on MOUNT2, another process
 *   outage   writes a file again and again for SECONDS, whatever fails in between */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "mem.h"

enum { EVENT_WAIT_MS = 30000, PATH_SIZE = 4096, NAME_SIZE = 256 };

struct file {
    char path[PATH_SIZE];
    ino_t ino;
    int fd;
};

/* What the watcher says to the writer: that it is ready, then of each write when it was told. */
struct watcher {
    char dir[PATH_SIZE]; /* on the writer's mount */
    char path[PATH_SIZE];
    pid_t pid;
    int seen; /* end of a pipe that brings times */
};

static void make_path(char *ret, const char *mount, const char *what, const struct bench_client *c,
                      size_t number)
{
    if (snprintf(ret, PATH_SIZE, "%s/bench-%s-%llu-%zu", mount, what,
                 (unsigned long long)c->options->run, number) >= PATH_SIZE) {
        bench_die("%s: too long", mount);
    }
}

/* Returns when this mount shows everything that was committed before. */
static void wait_for_barrier(const char *mount)
{
    char path[PATH_SIZE];
    int fd;

    if (snprintf(path, sizeof(path), "%s/.zabfs/sync", mount) >= PATH_SIZE) {
        bench_die("%s: too long", mount);
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || close(fd) != 0) {
        bench_die_errno(path);
    }
}

static bool put(struct bench_client *c, const char *path, int flags, uint64_t n)
{
    size_t size = c->options->size;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
    bool written;

    if (fd < 0) {
        return false;
    }
    bench_value_fill(c->value, size, n);
    written = size == 0 || write(fd, c->value, size) == (ssize_t)size;
    return close(fd) == 0 && written;
}

static void must_put(struct bench_client *c, const char *path, int flags, uint64_t n)
{
    if (!put(c, path, flags, n)) {
        bench_die_errno(path);
    }
}

/* Into c->seen. Returns the size; more than there should be is one byte more. */
static size_t get(struct bench_client *c, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size;

    if (fd < 0) {
        bench_die_errno(path);
    }
    size = read(fd, c->seen, c->options->size + 1);
    if (size < 0 || close(fd) != 0) {
        bench_die_errno(path);
    }
    return (size_t)size;
}

static void file_open(struct bench_client *c)
{
    struct file *f = mem_zalloc(sizeof(*f));
    struct stat st;

    c->state = f;
    make_path(f->path, c->target, "file", c, c->number);
    must_put(c, f->path, O_TRUNC, 0);
    wait_for_barrier(c->target);
    if (stat(f->path, &st) != 0) {
        bench_die_errno(f->path);
    }
    f->ino = st.st_ino;
    bench_value_fill(c->value, c->options->size, 0);
}

static void file_close(struct bench_client *c)
{
    struct file *f = c->state;

    if (unlink(f->path) != 0) {
        bench_die_errno(f->path);
    }
    mem_free(f);
}

/* --- write, read, stat ------------------------------------------------------------------------ */

static void write_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;

    must_put(c, f->path, O_TRUNC, n);
}

static void write_close(struct bench_client *c)
{
    const struct file *f = c->state;
    size_t size = get(c, f->path);

    bench_value_check(c, c->seen, size, c->options->warm_count + c->options->count - 1);
    file_close(c);
}

static void read_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;
    size_t size = get(c, f->path);

    (void)n;
    if (size != c->options->size || memcmp(c->seen, c->value, size) != 0) {
        bench_die("%s: not the value that was written", f->path);
    }
}

static void stat_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;
    struct stat st;

    (void)n;
    if (stat(f->path, &st) != 0) {
        bench_die_errno(f->path);
    }
    if (st.st_ino != f->ino || st.st_size != (off_t)c->options->size) {
        bench_die("%s: not the file that was written", f->path);
    }
}

/* --- create ----------------------------------------------------------------------------------- */

static void create_open(struct bench_client *c)
{
    struct file *f = mem_zalloc(sizeof(*f));

    c->state = f;
    make_path(f->path, c->target, "dir", c, c->number);
    if (mkdir(f->path, 0755) != 0) {
        bench_die_errno(f->path);
    }
}

static void create_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;
    char path[PATH_SIZE + 8];

    (void)snprintf(path, sizeof(path), "%s/job-#", f->path);
    must_put(c, path, O_EXCL, n);
}

/* The n-th create of a directory has the number n: each is there, with its value, and no other. */
static void create_close(struct bench_client *c)
{
    struct file *f = c->state;
    uint64_t count = c->options->warm_count + c->options->count;
    char path[PATH_SIZE + 32];
    uint64_t entries = 0;
    DIR *dir = opendir(f->path);

    if (dir == NULL) {
        bench_die_errno(f->path);
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        entries += e->d_name[0] != '.';
    }
    (void)closedir(dir);
    if (entries != count) {
        bench_die("%s: %llu entries instead of %llu", f->path, (unsigned long long)entries,
                  (unsigned long long)count);
    }
    for (uint64_t n = 0; n < count; n++) {
        size_t size;

        (void)snprintf(path, sizeof(path), "%s/job-%010llu", f->path, (unsigned long long)n);
        size = get(c, path);
        bench_value_check(c, c->seen, size, n);
        if (unlink(path) != 0) {
            bench_die_errno(path);
        }
    }
    if (rmdir(f->path) != 0) {
        bench_die_errno(f->path);
    }
    mem_free(f);
}

/* --- lock ------------------------------------------------------------------------------------- */

static void lock_open(struct bench_client *c)
{
    struct file *f = mem_zalloc(sizeof(*f));

    c->state = f;
    make_path(f->path, c->target, "lock", c, 0);
    f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        bench_die_errno(f->path);
    }
}

static void lock_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;

    (void)n;
    if (flock(f->fd, LOCK_EX) != 0) {
        bench_die_errno(f->path);
    }
    bench_lock_enter(c);
    bench_lock_leave(c);
    if (flock(f->fd, LOCK_UN) != 0) {
        bench_die_errno(f->path);
    }
}

static void lock_close(struct bench_client *c)
{
    struct file *f = c->state;

    if (close(f->fd) != 0) {
        bench_die_errno(f->path);
    }
    mem_free(f);
}

static void lock_clean(struct bench_client *c)
{
    char path[PATH_SIZE];

    make_path(path, c->target, "lock", c, 0);
    if (unlink(path) != 0) {
        bench_die_errno(path);
    }
}

/* --- event ------------------------------------------------------------------------------------ */

/* True if the buffer holds what is waited for. */
static bool has_close_write(const char *buffer, size_t size)
{
    bool found = false;

    for (size_t at = 0; at < size;) {
        struct inotify_event e;

        memcpy(&e, buffer + at, sizeof(e));
        if ((e.mask & IN_CLOSE_WRITE) == 0 || strcmp(buffer + at + sizeof(e), "file") != 0 ||
            found) {
            bench_die("the watcher was told of mask %x instead of one write", e.mask);
        }
        found = true;
        at += sizeof(e) + e.len;
    }
    return found;
}

/* The watcher's process: after each event the value that can be read must be the one written, so
 * that no event is taken for another. */
static void watch(struct bench_client *c, const char *dir, int seen)
{
    char buffer[16 * (sizeof(struct inotify_event) + NAME_SIZE)];
    char path[PATH_SIZE + 8];
    uint64_t now_ns = 0;
    int fd = inotify_init1(IN_CLOEXEC);

    (void)snprintf(path, sizeof(path), "%s/file", dir);
    if (fd < 0 || inotify_add_watch(fd, dir, IN_CLOSE_WRITE) < 0) {
        bench_die_errno(dir);
    }
    for (uint64_t n = 0; write(seen, &now_ns, sizeof(now_ns)) == (ssize_t)sizeof(now_ns); n++) {
        ssize_t size = read(fd, buffer, sizeof(buffer));

        now_ns = bench_now_ns();
        if (size < 0 || !has_close_write(buffer, (size_t)size)) {
            bench_die_errno("inotify");
        }
        size = (ssize_t)get(c, path);
        bench_value_check(c, c->seen, (size_t)size, n);
    }
    _exit(1);
}

static uint64_t await_watcher(const struct watcher *w)
{
    struct pollfd p = {.fd = w->seen, .events = POLLIN};
    uint64_t ns;

    if (poll(&p, 1, EVENT_WAIT_MS) != 1) {
        bench_die("%s: no event of a write", w->path);
    }
    if (read(w->seen, &ns, sizeof(ns)) != (ssize_t)sizeof(ns)) {
        bench_die("%s: the watcher has ended", w->path);
    }
    return ns;
}

static void event_open(struct bench_client *c)
{
    struct watcher *w = mem_zalloc(sizeof(*w));
    const char *other = c->options->targets[(c->number + 1) % c->options->target_count];
    char dir[PATH_SIZE];
    int seen[2];

    c->state = w;
    make_path(w->dir, c->target, "dir", c, c->number);
    make_path(dir, other, "dir", c, c->number);
    if (mkdir(w->dir, 0755) != 0) {
        bench_die_errno(w->dir);
    }
    if (snprintf(w->path, sizeof(w->path), "%s/file", w->dir) >= PATH_SIZE) {
        bench_die("%s: too long", w->dir);
    }
    must_put(c, w->path, O_TRUNC, 0);
    wait_for_barrier(other);
    if (pipe(seen) != 0) {
        bench_die_errno("pipe");
    }
    w->pid = fork();
    if (w->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(seen[0]);
        watch(c, dir, seen[1]);
    }
    (void)close(seen[1]);
    w->seen = seen[0];
    (void)await_watcher(w);
}

static void event_step(struct bench_client *c, uint64_t n)
{
    const struct watcher *w = c->state;

    must_put(c, w->path, O_TRUNC, n);
    c->ended_ns = await_watcher(w);
}

static void event_close(struct bench_client *c)
{
    struct watcher *w = c->state;

    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, NULL, 0);
    if (unlink(w->path) != 0 || rmdir(w->dir) != 0) {
        bench_die_errno(w->path);
    }
    mem_free(w);
}

/* --- outage ----------------------------------------------------------------------------------- */

static bool outage_step(struct bench_client *c, uint64_t n)
{
    const struct file *f = c->state;

    return put(c, f->path, O_TRUNC, n);
}

/* Nothing is made before: the first write, which creates the file, may fail as all others. */
static void run_outage(const struct bench_options *o)
{
    struct file f = {.fd = -1};
    struct bench_client c = {.options = o, .target = o->targets[0], .state = &f};

    make_path(f.path, c.target, "file", &c, 0);
    c.value = mem_zalloc(o->size);
    bench_run_outage(&c, outage_step);
    if (unlink(f.path) != 0 && errno != ENOENT) {
        bench_die_errno(f.path);
    }
    mem_free(c.value);
}

static const struct bench_work works[] = {
    {"write", file_open, write_step, write_close, NULL, false},
    {"read", file_open, read_step, file_close, NULL, false},
    {"create", create_open, create_step, create_close, NULL, false},
    {"stat", file_open, stat_step, file_close, NULL, false},
    {"lock", lock_open, lock_step, lock_close, lock_clean, true},
    {"event", event_open, event_step, event_close, NULL, false},
};

int main(int argc, char **argv)
{
    struct bench_options o;

    if (!bench_parse(argc, argv, true, &o)) {
        (void)fprintf(stderr, "usage: fs_bench write|read|create|stat|lock|event|outage "
                              "[-c CLIENTS] [-n COUNT] [-w WARM] [-s SIZE] [-t SECONDS] [-o FILE] "
                              "MOUNT...\n");
        return 2;
    }
    if (strcmp(o.work, "outage") == 0) {
        run_outage(&o);
        return 0;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (strcmp(o.work, works[i].name) == 0) {
            bench_run(&o, &works[i]);
            return 0;
        }
    }
    bench_die("no such work: %s", o.work);
}
