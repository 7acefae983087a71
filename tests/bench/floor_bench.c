/* floor_bench [-n COUNT] [-w WARM] DIRECTORY
 *
 * What this machine takes for the parts that a write or a read cannot do without, one line each
 * (bench.h): with these as the unit, figures of different machines can be compared.
 *   fdatasync   pwrite of 4 KiB into a file of zeros in DIRECTORY, where the members keep their
 *               logs, then fdatasync
 *   dsync       the same pwrite with O_DSYNC
 *   tcp         128 bytes there and back over loopback TCP, between two processes
 *   unix        the same over a unix socket
 *   fuse        one empty request: stat of a file whose attributes may not be kept, answered at
 *               once by a file system in another process */
#define FUSE_USE_VERSION 35
#include <arpa/inet.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "mem.h"

enum { BLOCK_SIZE = 4096, FILE_BLOCKS = 1024, MESSAGE_SIZE = 128, PATH_SIZE = 4096 };

struct floor {
    const struct bench_options *options;
    int fd; /* of the file, the socket, or opened on the mount */
    char block[BLOCK_SIZE];
};

static void measure(const char *what, struct floor *f, void (*step)(struct floor *f, uint64_t n))
{
    const struct bench_options *o = f->options;
    uint64_t *samples_ns = mem_zalloc(o->count * sizeof(*samples_ns));
    uint64_t begun_ns;

    for (uint64_t n = 0; n < o->warm_count; n++) {
        step(f, n);
    }
    begun_ns = bench_now_ns();
    for (uint64_t n = 0; n < o->count; n++) {
        uint64_t step_ns = bench_now_ns();

        step(f, o->warm_count + n);
        samples_ns[n] = bench_now_ns() - step_ns;
    }
    bench_print(what, 1, samples_ns, o->count,
                (double)o->count * 1e9 / (double)(bench_now_ns() - begun_ns));
    mem_free(samples_ns);
}

/* Runs `serve` in another process. */
static pid_t start(void (*serve)(int fd), int fd, int other_fd)
{
    pid_t pid = fork();

    if (pid < 0) {
        bench_die_errno("fork");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(other_fd);
        serve(fd);
        _exit(0);
    }
    return pid;
}

/* --- disk ------------------------------------------------------------------------------------- */

static void write_block(struct floor *f, uint64_t n)
{
    f->block[n % BLOCK_SIZE]++;
    if (pwrite(f->fd, f->block, BLOCK_SIZE, (off_t)(n % FILE_BLOCKS * BLOCK_SIZE)) != BLOCK_SIZE) {
        bench_die_errno("pwrite");
    }
}

static void sync_step(struct floor *f, uint64_t n)
{
    write_block(f, n);
    if (fdatasync(f->fd) != 0) {
        bench_die_errno("fdatasync");
    }
}

/* As a log's segment: all of it written with zeros before. */
static void open_blocks(struct floor *f, int flags)
{
    char path[PATH_SIZE];

    if (snprintf(path, sizeof(path), "%s/bench-floor-%llu", f->options->targets[0],
                 (unsigned long long)f->options->run) >= PATH_SIZE) {
        bench_die("%s: too long", f->options->targets[0]);
    }
    f->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
    if (f->fd < 0 || unlink(path) != 0) {
        bench_die_errno(path);
    }
    memset(f->block, 0, sizeof(f->block));
    for (uint64_t n = 0; n < FILE_BLOCKS; n++) {
        if (pwrite(f->fd, f->block, BLOCK_SIZE, (off_t)(n * BLOCK_SIZE)) != BLOCK_SIZE) {
            bench_die_errno(path);
        }
    }
    if (fsync(f->fd) != 0) {
        bench_die_errno(path);
    }
}

static void measure_disk(struct floor *f)
{
    open_blocks(f, 0);
    measure("fdatasync", f, sync_step);
    (void)close(f->fd);
    open_blocks(f, O_DSYNC);
    measure("dsync", f, write_block);
    (void)close(f->fd);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void echo(int fd)
{
    char message[MESSAGE_SIZE];

    while (recv(fd, message, sizeof(message), MSG_WAITALL) == MESSAGE_SIZE &&
           send(fd, message, sizeof(message), 0) == MESSAGE_SIZE) {
    }
}

static void echo_step(struct floor *f, uint64_t n)
{
    (void)n;
    if (send(f->fd, f->block, MESSAGE_SIZE, 0) != MESSAGE_SIZE ||
        recv(f->fd, f->block, MESSAGE_SIZE, MSG_WAITALL) != MESSAGE_SIZE) {
        bench_die_errno("socket");
    }
}

static void connect_tcp(int ret[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(addr);
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    ret[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&addr, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&addr, &size) != 0 ||
        connect(ret[0], (struct sockaddr *)&addr, size) != 0) {
        bench_die_errno("loopback");
    }
    ret[1] = accept(listener, NULL, NULL);
    (void)close(listener);
    for (int i = 0; i < 2; i++) {
        if (setsockopt(ret[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
            bench_die_errno("loopback");
        }
    }
}

static void measure_echo(const char *what, struct floor *f, const int pair[2])
{
    pid_t pid = start(echo, pair[1], pair[0]);

    (void)close(pair[1]);
    f->fd = pair[0];
    measure(what, f, echo_step);
    (void)close(f->fd);
    (void)waitpid(pid, NULL, 0);
}

static void measure_sockets(struct floor *f)
{
    int pair[2];

    connect_tcp(pair);
    measure_echo("tcp", f, pair);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        bench_die_errno("unix socket");
    }
    measure_echo("unix", f, pair);
}

/* --- FUSE ------------------------------------------------------------------------------------- */

/* Only the root directory is there. */
static void root_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st = {.st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2};

    (void)fi;
    (void)fuse_reply_attr(req, &st, 0); /* kept for no time: each stat is a request */
}

static const struct fuse_lowlevel_ops root_ops = {.getattr = root_getattr};

static char mountpoint[] = "/tmp/bench-floor-XXXXXX";

/* `ready` is closed when it is mounted. Ends when it is unmounted. */
static void serve_root(int ready)
{
    char program[] = "floor_bench";
    char *argv[] = {program, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *session = fuse_session_new(&args, &root_ops, sizeof(root_ops), NULL);

    if (session == NULL || fuse_session_mount(session, mountpoint) != 0) {
        bench_die("cannot mount a file system at %s", mountpoint);
    }
    if (write(ready, "r", 1) != 1) {
        bench_die_errno("pipe");
    }
    (void)fuse_session_loop(session);
    fuse_session_destroy(session);
    fuse_opt_free_args(&args);
}

static void stat_step(struct floor *f, uint64_t n)
{
    struct stat st;

    (void)n;
    if (fstat(f->fd, &st) != 0) {
        bench_die_errno(mountpoint);
    }
}

static void unmount(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        (void)execlp("fusermount3", "fusermount3", "-u", mountpoint, (char *)NULL);
        _exit(1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        bench_die("cannot unmount %s", mountpoint);
    }
}

static void measure_fuse(struct floor *f)
{
    int ready[2];
    char byte;
    pid_t pid;

    if (mkdtemp(mountpoint) == NULL || pipe(ready) != 0) {
        bench_die_errno(mountpoint);
    }
    pid = start(serve_root, ready[1], ready[0]);
    (void)close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) {
        (void)rmdir(mountpoint);
        bench_die("no file system at %s", mountpoint);
    }
    (void)close(ready[0]);
    f->fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0) {
        bench_die_errno(mountpoint);
    }
    measure("fuse", f, stat_step);
    (void)close(f->fd);
    unmount();
    (void)waitpid(pid, NULL, 0);
    (void)rmdir(mountpoint);
}

int main(int argc, char **argv)
{
    struct bench_options o;
    struct floor f = {.options = &o};

    if (!bench_parse(argc, argv, false, &o)) {
        (void)fprintf(stderr, "usage: floor_bench [-n COUNT] [-w WARM] DIRECTORY\n");
        return 2;
    }
    measure_disk(&f);
    measure_sockets(&f);
    measure_fuse(&f);
    return 0;
}
