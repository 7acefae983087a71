#ifndef ZABFS_TEST_NET_FIXTURE_H
#define ZABFS_TEST_NET_FIXTURE_H

/* Streams over real loopback and unix sockets, both ends in one loop: a server end that echoes, or
 * does as the test says, and a client end, or a raw descriptor where broken bytes are wanted. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "err.h"
#include "frame.h"
#include "mem.h"
#include "stream.h"

enum { NOT_YET = 1 }; /* no error code is positive */

struct end {
    struct stream *s;
    bool echo;
    bool close_in_frame;
    bool close_in_connect;
    bool pause_in_frame;
    size_t frames;
    struct buf last; /* payload */
    int connected;
    int closed;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t guard;
    struct listener *listener;
    struct stream_conf server_conf;
    struct end server;
    struct end client;
    size_t accepts;
    bool drop_accepted;
    char peer[300];
    char dir[32];
    struct net_addr addr;
};

static inline void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct end *e = ctx;

    cr_assert_eq(e->closed, NOT_YET);
    e->frames++;
    e->last.size = 0;
    buf_put(&e->last, bytes, size);
    if (e->echo) {
        stream_send(e->s, bytes, size);
    }
    if (e->pause_in_frame) {
        stream_pause(e->s, true);
    }
    if (e->close_in_frame) {
        stream_close(e->s);
    }
}

static inline void on_close(void *ctx, int err)
{
    struct end *e = ctx;

    cr_assert_eq(e->closed, NOT_YET);
    e->closed = err;
    e->s = NULL;
}

static const struct stream_ops end_ops = {on_frame, on_close};

static inline void on_connect(void *ctx, int err)
{
    struct end *e = ctx;

    cr_assert_eq(e->connected, NOT_YET);
    e->connected = err;
    if (err != 0) {
        e->s = NULL;
    } else if (e->close_in_connect) {
        stream_close(e->s);
    }
}

static inline void on_accept(void *ctx, struct stream *s, const char *peer_text)
{
    struct fixture *f = ctx;

    f->accepts++;
    strcpy(f->peer, peer_text);
    if (f->drop_accepted) {
        stream_close(s);
        return;
    }
    f->server.s = s;
    stream_accept_start(s, &f->server_conf, &end_ops, &f->server);
}

static inline void on_guard(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("nothing happened for 20 s");
}

static const struct stream_conf conf_default = {.frame_size_max = 16 << 20,
                                                .send_queue_max = 64 << 20};

static inline void setup(struct fixture *f, const char *address)
{
    *f = (struct fixture){.server_conf = conf_default};
    f->server.closed = f->client.closed = f->client.connected = NOT_YET;
    f->server.echo = true;
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->guard);
    uv_timer_start(&f->guard, on_guard, 20 * 1000, 0);
    strcpy(f->dir, "/tmp/zabfs-net-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    if (strcmp(address, "unix") == 0) {
        f->addr.is_unix = true;
        snprintf(f->addr.path, sizeof(f->addr.path), "%s/s", f->dir);
    } else {
        cr_assert_eq(net_addr_parse(address, &f->addr), 0);
    }
    cr_assert_eq(listener_open(&f->loop, &f->addr, 0600, on_accept, f, &f->listener), 0);
    if (!f->addr.is_unix) {
        f->addr.port = listener_port(f->listener);
    }
}

#define RUN_UNTIL(f, cond)                                                                         \
    while (!(cond)) {                                                                              \
        uv_run(&(f)->loop, UV_RUN_ONCE);                                                           \
    }

static inline void client_connect(struct fixture *f, const struct stream_conf *conf)
{
    stream_connect(&f->loop, &f->addr, conf, &end_ops, 10 * 1000, on_connect, &f->client,
                   &f->client.s);
}

static inline void connect_both(struct fixture *f, const struct stream_conf *conf)
{
    client_connect(f, conf);
    RUN_UNTIL(f, f->client.connected != NOT_YET && f->server.s != NULL);
    cr_assert_eq(f->client.connected, 0);
}

static inline void teardown(struct fixture *f)
{
    if (f->listener != NULL) {
        listener_close(f->listener);
    }
    if (f->client.s != NULL) {
        stream_close(f->client.s);
    }
    if (f->server.s != NULL) {
        stream_close(f->server.s);
    }
    uv_close((uv_handle_t *)&f->guard, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&f->loop), 0);
    buf_done(&f->client.last);
    buf_done(&f->server.last);
    cr_assert_eq(rmdir(f->dir), 0);
}

/* A blocking descriptor connected to the fixture's listener. */
static inline int raw_connect(struct fixture *f)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(f->addr.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

#endif
