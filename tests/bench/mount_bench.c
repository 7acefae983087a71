/* mount_bench MOUNT1 [MOUNT2 ...] [-n COUNT] [-d DIRECTORY]
 *
 * What an application pays on a mount, beside the floor under it, measured in the same run:
 *   write        open(O_TRUNC) + write of 100 bytes + close, one process, on MOUNT1
 *   read         open + read + close of such a file
 *   write by 32  the same writes by 32 processes spread over all mounts, each to a file of its own
 *   fdatasync    append 4 KiB and fdatasync, in DIRECTORY (where the members keep their logs)
 *   round trip   100 bytes there and back over loopback TCP, between two processes
 * One line each: median and 99th percentile in microseconds, or operations per second. */
#include <fcntl.h>
#include <getopt.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    VALUE_SIZE = 100,
    PROCESSES = 32,
    BLOCK_SIZE = 4096,
    PATH_SIZE = 4096,
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *what, uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof(*ns), compare);
    printf("%-28s median %7.0f us   p99 %7.0f us   (%zu times)\n", what,
           (double)ns[count / 2] / 1000, (double)ns[count * 99 / 100] / 1000, count);
    fflush(stdout);
}

static void write_once(const char *path, char fill)
{
    char value[VALUE_SIZE];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    memset(value, fill, sizeof(value));
    if (fd < 0 || write(fd, value, sizeof(value)) != (ssize_t)sizeof(value) || close(fd) != 0) {
        die(path);
    }
}

static void read_once(const char *path)
{
    char value[VALUE_SIZE + 1];
    int fd = open(path, O_RDONLY);

    if (fd < 0 || read(fd, value, sizeof(value)) != VALUE_SIZE) {
        die(path);
    }
    close(fd);
}

static void measure_mount(const char *mount, uint64_t *ns, size_t count)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/bench-file", mount);
    write_once(path, 'a');
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();

        write_once(path, (char)('a' + i % 26));
        ns[i] = now_ns() - start;
    }
    print_times("open+write+close, 100 bytes", ns, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();

        read_once(path);
        ns[i] = now_ns() - start;
    }
    print_times("open+read+close, 100 bytes", ns, count);
    unlink(path);
}

/* All start together: each has its file before the pipe is closed. */
static void measure_parallel(char **mounts, int mount_count, size_t count)
{
    int ready[2], go[2];
    char byte = 0;

    if (pipe(ready) != 0 || pipe(go) != 0) {
        die("pipe");
    }
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0) {
            continue;
        }
        char path[PATH_SIZE];

        snprintf(path, sizeof(path), "%s/bench-file-%d", mounts[i % mount_count], i);
        close(go[1]);
        write_once(path, 'a');
        if (write(ready[1], "r", 1) != 1 || read(go[0], &byte, 1) != 0) {
            die("pipe");
        }
        for (size_t n = 0; n < count; n++) {
            write_once(path, (char)('a' + n % 26));
        }
        exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        if (read(ready[0], &byte, 1) != 1) {
            die("pipe");
        }
    }
    uint64_t start = now_ns();
    int status;
    int failed = 0;

    close(go[1]);
    while (wait(&status) > 0) {
        failed += status != 0;
    }
    double seconds = (double)(now_ns() - start) / 1e9;

    for (int i = 0; i < PROCESSES; i++) {
        char path[PATH_SIZE];

        snprintf(path, sizeof(path), "%s/bench-file-%d", mounts[i % mount_count], i);
        unlink(path);
    }
    printf("%-28s %.0f operations/s  (%d processes over %d mounts%s)\n",
           "open+write+close, 100 bytes", (double)count * PROCESSES / seconds, PROCESSES,
           mount_count, failed != 0 ? ", SOME FAILED" : "");
    fflush(stdout);
}

static void measure_fdatasync(const char *directory, uint64_t *ns, size_t count)
{
    char path[PATH_SIZE];
    char block[BLOCK_SIZE] = {0};

    snprintf(path, sizeof(path), "%s/bench-sync-%d", directory, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

    if (fd < 0 || posix_fallocate(fd, 0, (off_t)(count * BLOCK_SIZE)) != 0) {
        die(path);
    }
    unlink(path);
    for (size_t i = 0; i < count; i++) { /* as the log: written once with zeros */
        if (pwrite(fd, block, sizeof(block), (off_t)(i * BLOCK_SIZE)) != BLOCK_SIZE) {
            die(path);
        }
    }
    if (fsync(fd) != 0) {
        die(path);
    }
    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();

        if (pwrite(fd, block, sizeof(block), (off_t)(i * BLOCK_SIZE)) != BLOCK_SIZE ||
            fdatasync(fd) != 0) {
            die(path);
        }
        ns[i] = now_ns() - start;
    }
    close(fd);
    print_times("floor: write + fdatasync", ns, count);
}

static int connect_pair(int *ret_child)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(addr);
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&addr, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&addr, &size) != 0 ||
        connect(fd, (struct sockaddr *)&addr, size) != 0) {
        die("loopback");
    }
    *ret_child = accept(listener, NULL, NULL);
    close(listener);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(*ret_child, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void measure_round_trip(uint64_t *ns, size_t count)
{
    char value[VALUE_SIZE] = {0};
    int child;
    int fd = connect_pair(&child);
    pid_t pid = fork();

    if (pid == 0) {
        close(fd);
        while (recv(child, value, sizeof(value), MSG_WAITALL) == VALUE_SIZE) {
            if (send(child, value, sizeof(value), 0) != VALUE_SIZE) {
                break;
            }
        }
        exit(0);
    }
    close(child);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();

        if (send(fd, value, sizeof(value), 0) != VALUE_SIZE ||
            recv(fd, value, sizeof(value), MSG_WAITALL) != VALUE_SIZE) {
            die("loopback");
        }
        ns[i] = now_ns() - start;
    }
    close(fd);
    waitpid(pid, NULL, 0);
    print_times("floor: loopback round trip", ns, count);
}

int main(int argc, char **argv)
{
    size_t count = 2000;
    const char *directory = ".";
    int letter;

    while ((letter = getopt(argc, argv, "n:d:")) != -1) {
        switch (letter) {
        case 'n':
            count = strtoul(optarg, NULL, 10);
            break;
        case 'd':
            directory = optarg;
            break;
        default:
            return 2;
        }
    }
    if (optind == argc || count == 0) {
        fprintf(stderr, "usage: %s MOUNT1 [MOUNT2 ...] [-n COUNT] [-d DIRECTORY]\n", argv[0]);
        return 2;
    }
    uint64_t *ns = calloc(count, sizeof(*ns));

    if (ns == NULL) {
        die("memory");
    }
    measure_fdatasync(directory, ns, count);
    measure_round_trip(ns, count);
    measure_mount(argv[optind], ns, count);
    measure_parallel(argv + optind, argc - optind, count / 8 + 1);
    free(ns);
    return 0;
}
