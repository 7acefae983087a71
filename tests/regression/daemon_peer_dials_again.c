#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hash.h"
#include "member.h"
#include "wire.h"

/* A member could end with a failed check when a peer came back over a new stream before the old one
 * was known to be dead.
 *
 * The member read its clock, took the old link down, for which it read its clock again, and then
 * told the replica of the new link with the first time: a millisecond that had passed meanwhile was
 * taken back, and the broadcast checks that its time never falls. Found by the chaos test. */

enum { DIALS = 3000, STREAMS = 16 };

static char dir[] = "/tmp/zabfs-regression-XXXXXX";
static struct conf conf = {
    .id = 2,
    .member_count = 2,
    .members = {{.id = 1, .host = "127.0.0.1", .peer_port = 1, .client_port = 1},
                {.id = 2, .host = "127.0.0.1"}},
    .heartbeat_ms = 100,
    .election_min_ms = 500,
    .election_max_ms = 1000,
    .snapshot_entries = 100000,
    .snapshots_kept = 2,
    .segment_size = STORE_SEGMENT_SIZE_MIN,
    .value_size_max = VALUE_SIZE_DEFAULT,
};

static pid_t start_member(void)
{
    uint16_t port = (uint16_t)(30001 + getpid() % 5000 * 2);
    pid_t pid;

    conf.members[1].peer_port = port;
    conf.members[1].client_port = (uint16_t)(port + 1);
    snprintf(conf.data, sizeof(conf.data), "%s", dir);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        log_set_level(LOG_ERROR);
        _exit(member_run(&conf));
    }
    return pid;
}

static void remove_dir(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while ((e = readdir(d)) != NULL) {
        unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    rmdir(dir);
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(conf.members[1].peer_port)};

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    for (int i = 0; i < 100; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
            return fd;
        }
        close(fd);
        usleep(50000);
    }
    cr_assert_fail("the member cannot be reached");
    return -1;
}

/* Says that it is member 1, and waits for the answer, behind which the link is up. */
static void introduce(int fd)
{
    struct peer_msg ident = {
        .type = PEER_IDENT,
        .u.ident = {
            .version = PEER_PROTOCOL_VERSION, .cluster = conf_cluster(&conf), .from = 1, .to = 2}};
    struct buf payload = {0};
    struct buf frame = {0};
    char answer[8];

    wire_peer_encode(&payload, &ident);
    buf_put_u32(&frame, (uint32_t)payload.size);
    buf_put_u32(&frame, (uint32_t)hash64(payload.data, payload.size, 0));
    buf_put(&frame, payload.data, payload.size);
    cr_assert_eq(write(fd, frame.data, frame.size), (ssize_t)frame.size);
    cr_assert_eq(recv(fd, answer, sizeof(answer), MSG_WAITALL), (ssize_t)sizeof(answer),
                 "the member is gone");
    buf_done(&payload);
    buf_done(&frame);
}

Test(regression, a_peer_that_dials_again_and_again)
{
    int fds[STREAMS] = {0};
    int status;
    pid_t pid;

    cr_assert_not_null(mkdtemp(dir));
    pid = start_member();
    for (int i = 0; i < DIALS; i++) {
        if (fds[i % STREAMS] != 0) {
            close(fds[i % STREAMS]);
        }
        fds[i % STREAMS] = dial();
        introduce(fds[i % STREAMS]);
    }
    kill(pid, SIGTERM);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    remove_dir();
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %#x", status);
}
