/* A session over ZooKeeper's C client, and what all works do with nodes. */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

#include "zk.h"

enum { SESSION_TIMEOUT_MS = 10000 };

void zk_require(int rc, const char *what)
{
    if (rc != ZOK) {
        bench_die("%s: %s", what, zerror(rc));
    }
}

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    (void)zh;
    (void)path;
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE) {
        (void)sem_post(&((struct zk_session *)ctx)->told);
    }
}

void zk_on_told(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    struct zk_session *s = ctx;

    (void)zh;
    (void)state;
    (void)path;
    if (type != ZOO_SESSION_EVENT) {
        s->told_ns = bench_now_ns();
        (void)sem_post(&s->told);
    }
}

bool zk_is_told(struct zk_session *s)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ZK_WAIT_S;
    while (sem_timedwait(&s->told, &until) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

void zk_await(struct zk_session *s, const char *what)
{
    if (!zk_is_told(s)) {
        bench_die("%s: nothing in %d s", what, ZK_WAIT_S);
    }
}

void zk_connect(struct zk_session *s, const char *servers)
{
    zoo_set_debug_level((ZooLogLevel)0);
    if (sem_init(&s->told, 0, 0) != 0) {
        bench_die_errno("semaphore");
    }
    s->zh = zookeeper_init(servers, on_session, SESSION_TIMEOUT_MS, NULL, s, 0);
    if (s->zh == NULL) {
        bench_die_errno(servers);
    }
    zk_await(s, servers);
}

void zk_close(struct zk_session *s)
{
    zk_require(zookeeper_close(s->zh), "close");
    (void)sem_destroy(&s->told);
}

void zk_path(char *ret, const char *what, const struct bench_client *c, size_t number)
{
    (void)snprintf(ret, ZK_PATH_SIZE, "/bench-%s-%llu-%zu", what,
                   (unsigned long long)c->options->run, number);
}

void zk_make(struct bench_client *c, struct zk_session *s, const char *path)
{
    bench_value_fill(c->value, c->options->size, 0);
    zk_require(
        zoo_create(s->zh, path, c->value, (int)c->options->size, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
        path);
}

int zk_get(struct bench_client *c, struct zk_session *s, const char *path, watcher_fn watcher)
{
    int size = (int)c->options->size + 1;
    struct Stat stat;
    int rc = zoo_wget(s->zh, path, watcher, s, c->seen, &size, &stat);

    if (rc == ZNONODE) {
        return -1;
    }
    zk_require(rc, path);
    return size < 0 ? 0 : size; /* -1 stands for no value */
}
