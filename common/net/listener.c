/* Listening. Happy path: the listening socket is polled, each connection accepted becomes a stream
 * and is handed to the owner.
 *
 * Failure modes: accept fails for want of descriptors or memory -> polling stops and a timer starts
 * it again, since the connection that waits would wake the loop at once and for ever (the reason
 * for an accept of our own). A unix socket's file left by a dead process -> replaced, under a lock
 * on its directory, so that of two processes that start together one fails. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "stream.h"
#include "stream_int.h"

#include "check.h"
#include "mem.h"

enum {
    LISTEN_BACKLOG = 1024,
    ACCEPTS_PER_TURN = 64,
    ACCEPT_RETRY_MS = 100,
};

struct listener {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t retry;
    unsigned pending; /* handles not yet closed */
    bool closing;
    int fd;
    bool is_tcp;
    uint16_t port;
    char path[108]; /* of a unix socket, and which file it was when we made it */
    dev_t dev;
    ino_t ino;
    listener_accept_fn on_accept;
    void *ctx;
};

/* --- accepting -------------------------------------------------------------------------------- */

static void peer_text(const struct listener *l, int fd, char *ret, size_t cap)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof(addr);
    struct net_addr peer = {0};
    struct ucred cred;
    socklen_t cred_size = sizeof(cred);

    snprintf(ret, cap, "unknown");
    if (!l->is_tcp) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_size) == 0) {
            snprintf(ret, cap, "unix:uid=%u,pid=%d", (unsigned)cred.uid, (int)cred.pid);
        }
    } else if (getpeername(fd, (struct sockaddr *)&addr, &size) == 0) {
        uv_ip_name((struct sockaddr *)&addr, peer.host, sizeof(peer.host));
        peer.port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                                     : ((struct sockaddr_in *)&addr)->sin_port);
        net_addr_text(&peer, ret, cap);
    }
}

static void accept_one(struct listener *l, int fd)
{
    struct stream *s = stream_new(l->loop, STREAM_ACCEPTED, l->is_tcp);
    char text[300];
    int rc = l->is_tcp ? uv_tcp_open(&s->h.tcp, fd) : uv_pipe_open(&s->h.pipe, fd);

    if (rc != 0) {
        close(fd);
        stream_close(s);
        return;
    }
    peer_text(l, fd, text, sizeof(text));
    l->on_accept(l->ctx, s, text);
    CHECK(s->state != STREAM_ACCEPTED); /* the owner started or closed it */
}

static void on_retry(uv_timer_t *timer);

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && !l->closing; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            accept_one(l, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            uv_poll_stop(&l->poll);
            uv_timer_start(&l->retry, on_retry, ACCEPT_RETRY_MS, 0);
            return;
        }
        /* Any other error is that one connection's (accept(2), "Error handling"). */
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct listener *l = timer->data;

    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* --- the socket ------------------------------------------------------------------------------- */

/* 0 when `path` is free now: nothing was there, or a socket that nobody listens on, now removed. */
static int unix_path_free(const struct sockaddr_un *addr)
{
    struct stat st;
    int fd;
    int rc;

    if (lstat(addr->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EADDRINUSE;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
    close(fd);
    if (rc != ECONNREFUSED) {
        return -EADDRINUSE;
    }
    return unlink(addr->sun_path) == 0 ? 0 : -errno;
}

/* Binds and listens. Before listen() nobody can connect, so the mode is right from the start. */
static int unix_bind(struct listener *l, const struct sockaddr_un *addr, int mode)
{
    struct stat st;
    int rc = unix_path_free(addr);

    if (rc != 0) {
        return rc;
    }
    if (bind(l->fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0) {
        return -errno;
    }
    if (chmod(addr->sun_path, (mode_t)mode) != 0 || stat(addr->sun_path, &st) != 0 ||
        listen(l->fd, LISTEN_BACKLOG) != 0) {
        rc = -errno;
        unlink(addr->sun_path);
        return rc;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    memcpy(l->path, addr->sun_path, sizeof(l->path));
    return 0;
}

static int unix_open(struct listener *l, const char *path, int mode)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char copy[sizeof(addr.sun_path)];
    int dir;
    int rc;

    _Static_assert(sizeof(addr.sun_path) == sizeof(l->path), "any parsed path fits");
    memcpy(addr.sun_path, path, strlen(path) + 1);
    memcpy(copy, path, strlen(path) + 1);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        return -errno;
    }
    dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || flock(dir, LOCK_EX) != 0) {
        rc = -errno;
    } else {
        rc = unix_bind(l, &addr, mode);
    }
    if (dir >= 0) {
        close(dir);
    }
    return rc;
}

static int tcp_bind(struct listener *l, const struct addrinfo *ai)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    int on = 1;

    l->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(l->fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(l->fd, LISTEN_BACKLOG) != 0 ||
        getsockname(l->fd, (struct sockaddr *)&bound, &size) != 0) {
        return -errno;
    }
    l->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

static int tcp_open(struct listener *l, const struct net_addr *addr)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *list;
    char port[8];
    int rc;

    snprintf(port, sizeof(port), "%u", addr->port);
    if (getaddrinfo(addr->host, port, &hints, &list) != 0) {
        return -EADDRNOTAVAIL;
    }
    rc = tcp_bind(l, list);
    freeaddrinfo(list);
    return rc;
}

/* A path that another process has taken over meanwhile is left alone. */
static void socket_release(struct listener *l)
{
    struct stat st;

    if (l->path[0] != '\0' && lstat(l->path, &st) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino) {
        unlink(l->path);
    }
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    if (--l->pending == 0) {
        mem_free(l);
    }
}

int listener_open(uv_loop_t *loop, const struct net_addr *addr, int mode,
                  listener_accept_fn on_accept, void *ctx, struct listener **ret)
{
    struct listener *l = mem_zalloc(sizeof(*l));
    int rc;

    l->loop = loop;
    l->fd = -1;
    l->is_tcp = !addr->is_unix;
    l->on_accept = on_accept;
    l->ctx = ctx;
    rc = addr->is_unix ? unix_open(l, addr->path, mode) : tcp_open(l, addr);
    if (rc == 0) {
        rc = uv_poll_init(loop, &l->poll, l->fd);
    }
    if (rc != 0) {
        socket_release(l);
        mem_free(l);
        return rc;
    }
    uv_timer_init(loop, &l->retry);
    l->poll.data = l;
    l->retry.data = l;
    l->pending = 2;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *ret = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

void listener_close(struct listener *l)
{
    CHECK(!l->closing);
    l->closing = true;
    uv_close((uv_handle_t *)&l->poll,
             on_handle_closed); /* the descriptor may be closed from here */
    uv_close((uv_handle_t *)&l->retry, on_handle_closed);
    socket_release(l);
}
