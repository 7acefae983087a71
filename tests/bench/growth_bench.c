/* growth_bench write [-n COUNT] FILE...
 * growth_bench ls DIRECTORY
 * growth_bench event [-n COUNT] [-d DIRECTORIES] WRITER_MOUNT WATCHER_MOUNT...
 *
 * What growth.py runs on mounts; each prints one line of JSON, times in microseconds.
 *   write   open(O_TRUNC) + write of 100 bytes + close, of the files given, in turn
 *   ls      opendir + readdir to the end: time to the first entry, longest time between two
 *           entries, time for all
 *   event   a process on each WATCHER_MOUNT watches DIRECTORIES directories (growth-0, ..., made
 *           here if they are missing); a file in one of them is written on WRITER_MOUNT, and the
 *           time from before its open() to IN_CLOSE_WRITE is taken at each watcher; the next
 *           write comes when all have seen it. `all`: to the last of the watchers */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum {
    VALUE_SIZE = 100,
    WATCHERS_MAX = 64,
    EVENT_DEADLINE_S = 60, /* a watcher that hears nothing for so long ends, and all with it */
    QUIET_MS = 500,        /* without an event: what went before has all been reported */
    STRIDE = 7919,         /* a prime: the directories are not written in the order of watching */
};

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *what, uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof(*ns), compare);
    printf(", \"%smedian_us\": %.1f, \"%sp99_us\": %.1f", what, (double)ns[count / 2] / 1000, what,
           (double)ns[count * 99 / 100] / 1000);
}

static uint64_t *times_new(size_t count)
{
    size_t size = count * sizeof(uint64_t);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        bench_die_errno("memory");
    }
    return memory; /* lives as long as the process */
}

static void write_once(const char *path, size_t round)
{
    char value[VALUE_SIZE];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    memset(value, 'a' + (int)(round % 26), sizeof(value));
    if (fd < 0 || write(fd, value, sizeof(value)) != (ssize_t)sizeof(value) || close(fd) != 0) {
        bench_die_errno(path);
    }
}

static int run_write(char **files, size_t file_count, size_t count)
{
    uint64_t *ns = times_new(count);

    for (size_t i = 0; i < count; i++) {
        uint64_t start = bench_now_ns();

        write_once(files[i % file_count], i);
        ns[i] = bench_now_ns() - start;
    }
    printf("{\"work\": \"write\", \"files\": %zu, \"count\": %zu", file_count, count);
    print_times("", ns, count);
    printf("}\n");
    return 0;
}

static int run_ls(const char *path)
{
    uint64_t start = bench_now_ns();
    DIR *dir = opendir(path);
    uint64_t first = 0, longest = 0, last = start;
    size_t entries = 0;

    if (dir == NULL) {
        bench_die_errno(path);
    }
    errno = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        uint64_t now = bench_now_ns();

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (entries++ == 0) {
            first = now - start;
        } else if (now - last > longest) {
            longest = now - last;
        }
        last = now;
    }
    if (errno != 0) {
        bench_die_errno(path);
    }
    uint64_t all = bench_now_ns() - start;

    closedir(dir);
    printf("{\"work\": \"ls\", \"entries\": %zu, \"first_us\": %.1f, \"longest_us\": %.1f, "
           "\"all_us\": %.1f}\n",
           entries, (double)first / 1000, (double)longest / 1000, (double)all / 1000);
    return 0;
}

/* --- event ------------------------------------------------------------------------------------ */

struct shared {
    _Atomic uint64_t begun_ns; /* of the write that is under way */
    uint64_t *delays_ns;       /* write by write, one of each watcher */
};

static void directory_path(char *ret, const char *mount, size_t number)
{
    if (snprintf(ret, PATH_MAX, "%s/growth-%zu", mount, number) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        bench_die_errno(mount);
    }
}

static void file_path(char *ret, const char *mount, size_t number)
{
    if (snprintf(ret, PATH_MAX, "%s/growth-%zu/file", mount, number) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        bench_die_errno(mount);
    }
}

/* Returns when a file was closed after writing. */
static void wait_for_event(int fd)
{
    _Alignas(struct inotify_event) char buffer[1 << 16];

    for (;;) {
        ssize_t got;

        alarm(EVENT_DEADLINE_S);
        got = read(fd, buffer, sizeof(buffer));
        if (got <= 0) {
            bench_die_errno("inotify");
        }
        for (char *at = buffer; at < buffer + got;) {
            const struct inotify_event *e = (const void *)at;

            if ((e->mask & IN_Q_OVERFLOW) != 0) {
                errno = EOVERFLOW;
                bench_die_errno("inotify");
            }
            if ((e->mask & IN_CLOSE_WRITE) != 0) {
                return;
            }
            at += sizeof(*e) + e->len;
        }
    }
}

static void watch(const char *mount, size_t directories, size_t count, struct shared *s,
                  size_t watchers, size_t number, int ready)
{
    int fd = inotify_init1(IN_CLOEXEC);
    char path[PATH_MAX];

    for (size_t i = 0; i < directories; i++) {
        directory_path(path, mount, i);
        if (inotify_add_watch(fd, path, IN_CLOSE_WRITE) < 0) {
            bench_die_errno(path);
        }
    }
    struct pollfd readable = {.fd = fd, .events = POLLIN};

    while (poll(&readable, 1, QUIET_MS) > 0) { /* from the making of the directories */
        wait_for_event(fd);
    }
    for (size_t i = 0; i <= count; i++) { /* first the word that it watches */
        if (i > 0) {
            wait_for_event(fd);
            s->delays_ns[(i - 1) * watchers + number] = bench_now_ns() - s->begun_ns;
        }
        if (write(ready, "r", 1) != 1) {
            bench_die_errno("pipe");
        }
    }
    exit(0);
}

static void wait_for_all(int ready, size_t watchers)
{
    char bytes[WATCHERS_MAX];

    for (size_t seen = 0; seen < watchers;) {
        ssize_t got = read(ready, bytes, watchers - seen);

        if (got <= 0) {
            bench_die("a watcher ended");
        }
        seen += (size_t)got;
    }
}

static void make_directories(const char *mount, size_t directories)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < directories; i++) {
        directory_path(path, mount, i);
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            bench_die_errno(path);
        }
        file_path(path, mount, i);
        write_once(path, 0);
    }
}

static void print_events(uint64_t *delays, size_t count, size_t watchers, size_t directories)
{
    uint64_t *last = times_new(count);

    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; n < watchers; n++) {
            uint64_t delay = delays[i * watchers + n];

            last[i] = delay > last[i] ? delay : last[i];
        }
    }
    printf("{\"work\": \"event\", \"directories\": %zu, \"watchers\": %zu, \"count\": %zu",
           directories, watchers, count);
    print_times("", delays, count * watchers);
    print_times("all_", last, count);
    printf("}\n");
}

static int run_event(char **mounts, size_t watchers, size_t count, size_t directories)
{
    struct shared *s = (void *)times_new(sizeof(*s));
    int ready[2];
    char path[PATH_MAX];
    int status, failed = 0;

    s->delays_ns = times_new(count * watchers);
    make_directories(mounts[0], directories);
    if (pipe(ready) != 0) {
        bench_die_errno("pipe");
    }
    for (size_t n = 0; n < watchers; n++) {
        if (fork() == 0) {
            close(ready[0]);
            watch(mounts[n + 1], directories, count, s, watchers, n, ready[1]);
        }
    }
    close(ready[1]);
    wait_for_all(ready[0], watchers);
    for (size_t i = 0; i < count; i++) {
        file_path(path, mounts[0], i * STRIDE % directories);
        s->begun_ns = bench_now_ns();
        write_once(path, i);
        wait_for_all(ready[0], watchers);
    }
    while (wait(&status) > 0) {
        failed += status != 0;
    }
    if (failed == 0) {
        print_events(s->delays_ns, count, watchers, directories);
    }
    return failed != 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: growth_bench write [-n COUNT] FILE...\n"
                    "       growth_bench ls DIRECTORY\n"
                    "       growth_bench event [-n COUNT] [-d DIRECTORIES] WRITER_MOUNT "
                    "WATCHER_MOUNT...\n");
    return 2;
}

int main(int argc, char **argv)
{
    size_t count = 1000;
    size_t directories = 1;
    int letter;

    while ((letter = getopt(argc, argv, "n:d:")) != -1) {
        switch (letter) {
        case 'n':
            count = strtoul(optarg, NULL, 10);
            break;
        case 'd':
            directories = strtoul(optarg, NULL, 10);
            break;
        default:
            return usage();
        }
    }
    char **words = argv + optind;
    int left = argc - optind;

    if (left < 2 || count == 0 || directories == 0) {
        return usage();
    }
    if (strcmp(words[0], "write") == 0) {
        return run_write(words + 1, (size_t)left - 1, count);
    }
    if (strcmp(words[0], "ls") == 0 && left == 2) {
        return run_ls(words[1]);
    }
    if (strcmp(words[0], "event") == 0 && left >= 3 && left - 2 <= WATCHERS_MAX) {
        return run_event(words + 1, (size_t)left - 2, count, directories);
    }
    return usage();
}
