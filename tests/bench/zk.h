#ifndef ZABFS_ZK_H
#define ZABFS_ZK_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <zookeeper/zookeeper.h>

#include "bench.h"

/* What the parts of zk_bench share: a session over ZooKeeper's C client. All of it ends the program
 * where something fails, but where it says otherwise. */

enum { ZK_WAIT_S = 60, ZK_PATH_SIZE = 256 };

struct zk_session {
    zhandle_t *zh;
    sem_t told;       /* connected, or a watcher was called */
    uint64_t told_ns; /* when */
    char path[ZK_PATH_SIZE];
    pid_t watcher;
    int seen; /* end of a pipe that brings the watcher's times */
};

void zk_require(int rc, const char *what);

/* Returns when the session is there. Only the callers' own processes have threads: a process forks
 * before it connects. */
void zk_connect(struct zk_session *s, const char *servers);
void zk_close(struct zk_session *s);

/* Waits for s->told. */
bool zk_is_told(struct zk_session *s); /* false after ZK_WAIT_S */
void zk_await(struct zk_session *s, const char *what);
/* The watcher that tells. */
void zk_on_told(zhandle_t *zh, int type, int state, const char *path, void *ctx);

/* A path that no other run uses. */
void zk_path(char *ret, const char *what, const struct bench_client *c, size_t number);
/* Makes the node, with the value 0. */
void zk_make(struct bench_client *c, struct zk_session *s, const char *path);
/* Into c->seen. Returns the size; -1: no such node. */
int zk_get(struct bench_client *c, struct zk_session *s, const char *path, watcher_fn watcher);

/* zk_async.c */
void zk_run_async(struct bench_options *o);
void zk_run_load(struct bench_options *o);

#endif
