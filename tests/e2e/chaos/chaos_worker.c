/* One sequential user of a mount: makes random calls on few names, so that it conflicts with the
 * others, and writes down what each call said, for a checker to judge.
 *
 * Usage: chaos_worker ROOT OUT PROC MOUNT MODE SEED PAUSE_US
 *
 * OUT gets one line for each call that returned, its fields separated by tabs:
 *     PROC MOUNT MODE KIND CALL_NS RET_NS ERRNO PATH RESULT
 * Before a call OUT.open gets the same line with "-" for RET_NS and ERRNO; after the call's own
 * line is in OUT it is made empty. So a worker that is killed leaves the call it was in. Each file
 * is written by one write(2), which a kill does not cut.
 *
 *     kind    path   call                                                result
 *     write   v/..   open(O_TRUNC), write one token, close               the token
 *             d/..   the same with O_CREAT
 *     append  v/..   open(O_APPEND), write one token, close              the token
 *     read    v d x  open, read to the end, close                        the value
 *     excl    x d    open(O_CREAT | O_EXCL), close                       st_ino
 *     number  q/j-#  open(O_CREAT | O_EXCL), close                       the name it got
 *     delete  x d q  unlink                                              -
 *     list    x d q  opendir, readdir to the end                         names, by commas
 *     sync    -      fsync of .zabfs/sync, the barrier                   -
 *
 * The files in v/ are made before and never deleted; those in d/ are deleted, so a write there is
 * up to two changes: the file is created empty, then gets its value. A token is `PROC.NUMBER;`, so
 * each is written once. ERRNO is that of the call that failed first; what was called after it is
 * not told. Ends well on SIGTERM, between two calls. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "prng.h"

enum {
    RESULT_SIZE = 64 << 10,
    PATH_SIZE = 4096,
    LISTED_MAX = 64, /* numbered names that a listing showed, to delete some of them */
    FILES = 3,       /* in each of v, d and x */
    LISTED_NAME_SIZE = 32,
};

struct worker {
    const char *root, *proc, *mount, *mode;
    int out, open;
    struct prng prng;
    uint64_t tokens;
    unsigned pause_us;

    char path[64]; /* of the call, below root */
    char result[RESULT_SIZE];
    size_t result_size;
    uint64_t ret_ns; /* of the call, if another one followed that is not part of it; else 0 */
    char listed[LISTED_MAX][LISTED_NAME_SIZE];
    size_t listed_count;
};

static volatile sig_atomic_t ending;

static void on_sigterm(int number)
{
    (void)number;
    ending = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const char *full(const struct worker *w, char *ret)
{
    if (snprintf(ret, PATH_SIZE, "%s/%s", w->root, w->path) >= PATH_SIZE) {
        die("a path that is too long");
    }
    return ret;
}

/* --- calls: each returns 0 or the errno of what failed first --------------------------------- */

static void set_result(struct worker *w, const char *text, size_t size)
{
    if (size > sizeof(w->result)) {
        size = sizeof(w->result);
    }
    memcpy(w->result, text, size);
    w->result_size = size;
}

static int put_token(struct worker *w, int flags)
{
    char path[PATH_SIZE];
    char token[64];
    int size = snprintf(token, sizeof(token), "%s.%" PRIu64 ";", w->proc, w->tokens);
    int fd = open(full(w, path), O_WRONLY | flags, 0644);
    int err = 0;

    if (fd < 0) {
        return errno;
    }
    if (write(fd, token, (size_t)size) != size) {
        err = errno;
    }
    if (close(fd) != 0 && err == 0) {
        err = errno;
    }
    return err;
}

static int do_write(struct worker *w)
{
    return put_token(w, O_TRUNC | (w->path[0] == 'd' ? O_CREAT : 0));
}

static int do_append(struct worker *w)
{
    return put_token(w, O_APPEND);
}

static int do_read(struct worker *w)
{
    char path[PATH_SIZE];
    int fd = open(full(w, path), O_RDONLY);
    size_t used = 0;
    ssize_t n;
    int err = 0;

    if (fd < 0) {
        return errno;
    }
    do {
        n = read(fd, w->result + used, sizeof(w->result) - used);
        used += n > 0 ? (size_t)n : 0;
    } while (n > 0 && used < sizeof(w->result));
    err = n < 0 ? errno : 0;
    w->result_size = err == 0 ? used : 0;
    close(fd);
    return err;
}

/* The number is that of the file made, whatever happens to it next. */
static int do_excl(struct worker *w)
{
    char path[PATH_SIZE];
    int fd = open(full(w, path), O_CREAT | O_EXCL | O_WRONLY, 0644);
    struct stat st;

    if (fd < 0) {
        return errno;
    }
    w->ret_ns = now_ns();
    set_result(w, "-", 1);
    if (fstat(fd, &st) == 0) {
        w->result_size =
            (size_t)snprintf(w->result, sizeof(w->result), "%ju", (uintmax_t)st.st_ino);
    }
    close(fd);
    return 0;
}

static int do_number(struct worker *w)
{
    char path[PATH_SIZE];
    int fd = open(full(w, path), O_CREAT | O_EXCL | O_WRONLY, 0644);
    ssize_t n;

    if (fd < 0) {
        return errno;
    }
    w->ret_ns = now_ns();
    n = fgetxattr(fd, "user.zabfs.name", w->result, sizeof(w->result));
    w->result_size = n > 0 ? (size_t)n : 0;
    if (n <= 0) {
        set_result(w, "-", 1);
    }
    close(fd);
    return 0;
}

static int do_delete(struct worker *w)
{
    char path[PATH_SIZE];

    set_result(w, "-", 1);
    return unlink(full(w, path)) == 0 ? 0 : errno;
}

static void add_listed(struct worker *w, const char *name)
{
    size_t size = strlen(name);

    if (w->result_size + size + 1 < sizeof(w->result)) {
        w->result[w->result_size] = ',';
        w->result_size += w->result_size > 0;
        memcpy(w->result + w->result_size, name, size);
        w->result_size += size;
    }
    if (w->path[0] == 'q' && w->listed_count < LISTED_MAX && size < LISTED_NAME_SIZE) {
        memcpy(w->listed[w->listed_count++], name, size + 1);
    }
}

static int do_list(struct worker *w)
{
    char path[PATH_SIZE];
    DIR *d = opendir(full(w, path));
    struct dirent *entry;
    int err;

    if (d == NULL) {
        return errno;
    }
    if (w->path[0] == 'q') {
        w->listed_count = 0;
    }
    while ((void)(errno = 0), (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] != '.') {
            add_listed(w, entry->d_name);
        }
    }
    err = errno;
    closedir(d);
    return err;
}

static int do_sync(struct worker *w)
{
    char path[PATH_SIZE];
    int fd, err;

    snprintf(path, sizeof(path), "%s/.zabfs/sync", w->root);
    set_result(w, "-", 1);
    fd = open(path, O_RDONLY);
    if (fd < 0) {
        return errno;
    }
    err = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return err;
}

/* --- history --------------------------------------------------------------------------------- */

struct kind {
    const char *name;
    const char *dirs; /* where it makes sense */
    unsigned weight;
    int (*run)(struct worker *w);
};

static const struct kind kinds[] = {
    {"write", "vvd", 5, do_write}, {"append", "v", 4, do_append},
    {"read", "vvvdx", 8, do_read}, {"excl", "xxd", 5, do_excl},
    {"number", "q", 2, do_number}, {"delete", "xxdqqqq", 7, do_delete},
    {"list", "xdq", 2, do_list},   {"sync", "-", 1, do_sync},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const char *errno_text(int err)
{
    return err == 0 ? "0" : strerrorname_np(err);
}

static void put_line(const struct worker *w, int fd, const struct kind *k, uint64_t call_ns,
                     const char *rest)
{
    static char line[RESULT_SIZE + 512];
    int n = snprintf(line, sizeof(line), "%s\t%s\t%s\t%s\t%" PRIu64 "\t%s\t%s\t%.*s\n", w->proc,
                     w->mount, w->mode, k->name, call_ns, rest, w->path, (int)w->result_size,
                     w->result);

    if (n < 0 || (size_t)n >= sizeof(line) || write(fd, line, (size_t)n) != n) {
        die("history");
    }
}

static void say_open(const struct worker *w, const struct kind *k, uint64_t call_ns)
{
    if (lseek(w->open, 0, SEEK_SET) != 0) {
        die("history");
    }
    put_line(w, w->open, k, call_ns, "-\t-");
}

static void run_one(struct worker *w, const struct kind *k)
{
    bool has_token = k->run == do_write || k->run == do_append;
    uint64_t call_ns;
    char rest[64];
    int err;

    set_result(w, "-", 1);
    if (has_token) {
        w->tokens++;
        w->result_size =
            (size_t)snprintf(w->result, sizeof(w->result), "%s.%" PRIu64 ";", w->proc, w->tokens);
    }
    call_ns = now_ns();
    say_open(w, k, call_ns);
    if (!has_token) {
        w->result_size = 0;
    }
    w->ret_ns = 0;
    err = k->run(w);
    snprintf(rest, sizeof(rest), "%" PRIu64 "\t%s", w->ret_ns != 0 ? w->ret_ns : now_ns(),
             errno_text(err));
    if (err != 0 && !has_token) {
        set_result(w, "-", 1);
    }
    put_line(w, w->out, k, call_ns, rest);
    if (ftruncate(w->open, 0) != 0) {
        die("history");
    }
}

/* --- what to call ---------------------------------------------------------------------------- */

static const struct kind *pick_kind(struct worker *w)
{
    unsigned sum = 0;
    unsigned at;

    for (int n = 0; n < KINDS; n++) {
        sum += kinds[n].weight;
    }
    at = (unsigned)prng_below(&w->prng, sum);
    for (int n = 0;; n++) {
        if (at < kinds[n].weight) {
            return &kinds[n];
        }
        at -= kinds[n].weight;
    }
}

static void pick_path(struct worker *w, const struct kind *k)
{
    char dir = k->dirs[prng_below(&w->prng, strlen(k->dirs))];
    unsigned file = (unsigned)prng_below(&w->prng, FILES);

    if (k->run == do_sync) {
        snprintf(w->path, sizeof(w->path), "-");
    } else if (k->run == do_list) {
        snprintf(w->path, sizeof(w->path), "%c", dir);
    } else if (k->run == do_number) {
        snprintf(w->path, sizeof(w->path), "q/j-#");
    } else if (dir == 'q' && w->listed_count > 0) {
        size_t at = (size_t)prng_below(&w->prng, w->listed_count);

        snprintf(w->path, sizeof(w->path), "q/%s", w->listed[at]);
        memmove(w->listed[at], w->listed[--w->listed_count], LISTED_NAME_SIZE);
    } else if (dir == 'q') {
        snprintf(w->path, sizeof(w->path), "q/none");
    } else {
        snprintf(w->path, sizeof(w->path), "%c/%c%u", dir, dir, file);
    }
}

static void pause_some(struct worker *w)
{
    uint64_t us = prng_below(&w->prng, 2 * (uint64_t)w->pause_us + 1);
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

    nanosleep(&t, NULL);
}

int main(int argc, char **argv)
{
    static struct worker w;
    char path[PATH_SIZE];

    if (argc != 8) {
        fprintf(stderr, "usage: chaos_worker ROOT OUT PROC MOUNT MODE SEED PAUSE_US\n");
        return 2;
    }
    w = (struct worker){.root = argv[1], .proc = argv[3], .mount = argv[4], .mode = argv[5]};
    w.prng.state = strtoull(argv[6], NULL, 10);
    w.pause_us = (unsigned)strtoul(argv[7], NULL, 10);
    snprintf(path, sizeof(path), "%s.open", argv[2]);
    w.out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    w.open = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w.out < 0 || w.open < 0) {
        die(argv[2]);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTERM, on_sigterm);
    while (!ending) {
        const struct kind *k = pick_kind(&w);

        pick_path(&w, k);
        run_one(&w, k);
        pause_some(&w);
    }
    return 0;
}
