#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec.h"
#include "frame.h"
#include "hash.h"
#include "member.h"

/* A client that asked for many large values at once was cut off, again and again.
 *
 * A member answered all requests that it had read before the client could take the first answer.
 * Together they were above the bound of the send queue, which is there for clients that take
 * nothing, and the stream was closed. The client came back and sent its requests again, and was cut
 * off again: a hundred programs that read files of 1 MiB over one mount could not go on. */

enum { READS = 100, VALUE_SIZE = 1 << 20 };

static char dir[] = "/tmp/zabfs-regression-XXXXXX";
static uint16_t port; /* for clients; for peers the one before */

static pid_t start_member(void)
{
    struct conf conf = {
        .id = 1,
        .member_count = 1,
        .members = {{.id = 1, .host = "127.0.0.1"}},
        .heartbeat_ms = 100,
        .election_min_ms = 500,
        .election_max_ms = 1000,
        .snapshot_entries = 100000,
        .snapshots_kept = 2,
        .segment_size = STORE_SEGMENT_SIZE_DEFAULT,
        .value_size_max = VALUE_SIZE_DEFAULT,
    };
    pid_t pid;

    port = (uint16_t)(20001 + getpid() % 5000 * 2);
    conf.members[0].peer_port = port - 1;
    conf.members[0].client_port = port;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        log_set_level(LOG_ERROR);
        snprintf(conf.data, sizeof(conf.data), "%s", dir);
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
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    for (int i = 0; i < 100; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
            return fd;
        }
        close(fd);
        usleep(50000);
    }
    cr_assert_fail("nobody listens");
    return -1;
}

static void put(struct buf *b, const struct request *r)
{
    struct buf payload = {0};

    codec_encode_request(&payload, r);
    frame_put(b, payload.data, payload.size);
    buf_done(&payload);
}

static void send_all(int fd, struct buf *b)
{
    size_t at = 0;

    while (at < b->size) {
        ssize_t put = send(fd, b->data + at, b->size - at, MSG_NOSIGNAL);

        cr_assert_gt(put, 0);
        at += (size_t)put;
    }
    b->size = 0;
}

static void get(int fd, void *to, size_t size)
{
    ssize_t got = recv(fd, to, size, MSG_WAITALL);

    cr_assert_eq(size, got, "the stream was closed");
}

/* The next reply; events are passed over. Its value is thrown away. */
static void get_reply(int fd, struct reply *ret)
{
    struct message m = {0};
    struct buf b = {0};
    uint32_t head[2];

    do {
        get(fd, head, sizeof(head));
        b.size = 0;
        buf_reserve(&b, head[0]);
        get(fd, b.data, head[0]);
        cr_assert_eq(0, codec_decode(b.data, head[0], &m));
        *ret = m.u.reply;
        codec_message_done(&m);
    } while (m.kind != MESSAGE_REPLY);
    buf_done(&b);
}

Test(regression, client_may_ask_for_more_than_the_send_queue_holds, .timeout = 60)
{
    struct request r = {.op = OP_HELLO, .xid = 1, .deadline_ms = 5000};
    struct buf out = {0};
    struct reply reply;
    pid_t pid;
    int fd, status;

    cr_assert(mkdtemp(dir) != NULL);
    pid = start_member();
    fd = dial();
    r.u.hello.version = CLIENT_PROTOCOL_VERSION;
    r.u.hello.timeout_ms = 10000;
    put(&out, &r);
    send_all(fd, &out);
    get_reply(fd, &reply);
    cr_assert_eq(0, reply.err);

    r = (struct request){.op = OP_CREATE, .xid = 2, .deadline_ms = 5000};
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = (struct name){"a", 1};
    r.u.create.type = NODE_FILE;
    r.u.create.value = blob_new_uninit(VALUE_SIZE);
    memset(r.u.create.value->data, 'x', VALUE_SIZE);
    put(&out, &r);
    blob_unref(r.u.create.value);
    send_all(fd, &out);
    get_reply(fd, &reply);
    cr_assert_eq(0, reply.err);

    r = (struct request){.op = OP_READ, .deadline_ms = 5000, .u.read.id = reply.u.create.attr.id};
    for (uint32_t i = 0; i < READS; i++) {
        r.xid = 3 + i;
        put(&out, &r);
    }
    send_all(fd, &out);
    usleep(300000);
    for (uint32_t i = 0; i < READS; i++) {
        get_reply(fd, &reply);
        cr_assert_eq(3 + i, reply.xid);
        cr_assert_eq(0, reply.err);
    }
    close(fd);
    buf_done(&out);
    kill(pid, SIGTERM);
    cr_assert_eq(pid, waitpid(pid, &status, 0));
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    remove_dir();
}
