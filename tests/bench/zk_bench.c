/* zk_bench WORK [-c CLIENTS] [-n COUNT] [-w WARM] [-s SIZE] [-f IN_FLIGHT] [-t SECONDS] [-o FILE]
 *          HOST:PORT[,HOST:PORT...]...
 *
 * The works of fs_bench.c over ZooKeeper's own C client (the one with threads), as its users would
 * write them; the clients take the server lists in turn. Each has a session of its own, which is
 * connected before anything is counted.
 *   write    zoo_set of a node of its own        create   ZOO_SEQUENCE under a parent of its own
 *   read     zoo_get of it                       stat     zoo_exists of it
 *   lock     the usual recipe: an ephemeral sequential node; who is not first watches the one
 *            before; counts hand-overs
 *   event    from before zoo_set to the watcher's call in a process connected to the next server
 *            list, which then looks at the value and watches again
 *   outage   zoo_set again and again for SECONDS, whatever fails in between
 *   async    zoo_aset on one connection, IN_FLIGHT of them always unanswered
 *   load     COUNT nodes, 1000 under a parent, in the same way; none of them uncounted */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include "bench.h"
#include "mem.h"

enum {
    SESSION_TIMEOUT_MS = 10000,
    WAIT_S = 60,
    PATH_SIZE = 256,
    DIR_NODES = 1000,
    ASYNC_NODES = 100,
};

struct session {
    zhandle_t *zh;
    sem_t told;       /* connected, or a watcher was called */
    uint64_t told_ns; /* when */
    char path[PATH_SIZE];
    uint64_t last; /* number of the node made last, +1 */
    pid_t watcher;
    int seen; /* end of a pipe that brings the watcher's times */
};

static void require(int rc, const char *what)
{
    if (rc != ZOK) {
        bench_die("%s: %s", what, zerror(rc));
    }
}

/* --- sessions --------------------------------------------------------------------------------- */

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    (void)zh;
    (void)path;
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE) {
        (void)sem_post(&((struct session *)ctx)->told);
    }
}

static void on_told(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    struct session *s = ctx;

    (void)zh;
    (void)state;
    (void)path;
    if (type != ZOO_SESSION_EVENT) {
        s->told_ns = bench_now_ns();
        (void)sem_post(&s->told);
    }
}

/* False if nothing was told in WAIT_S. */
static bool is_told(struct session *s)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    while (sem_timedwait(&s->told, &until) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void await(struct session *s, const char *what)
{
    if (!is_told(s)) {
        bench_die("%s: nothing in %d s", what, WAIT_S);
    }
}

static void session_connect(struct session *s, const char *servers)
{
    zoo_set_debug_level((ZooLogLevel)0);
    if (sem_init(&s->told, 0, 0) != 0) {
        bench_die_errno("semaphore");
    }
    s->zh = zookeeper_init(servers, on_session, SESSION_TIMEOUT_MS, NULL, s, 0);
    if (s->zh == NULL) {
        bench_die_errno(servers);
    }
    await(s, servers);
}

static void session_close(struct session *s)
{
    require(zookeeper_close(s->zh), "close");
    (void)sem_destroy(&s->told);
}

static void make_path(char *ret, const char *what, const struct bench_client *c, size_t number)
{
    (void)snprintf(ret, PATH_SIZE, "/bench-%s-%llu-%zu", what, (unsigned long long)c->options->run,
                   number);
}

static void make_node(struct bench_client *c, struct session *s, const char *path)
{
    bench_value_fill(c->value, c->options->size, 0);
    require(
        zoo_create(s->zh, path, c->value, (int)c->options->size, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
        path);
}

/* Into c->seen; -1: no such node. */
static int get(struct bench_client *c, struct session *s, const char *path, watcher_fn watcher)
{
    int size = (int)c->options->size + 1;
    struct Stat stat;
    int rc = zoo_wget(s->zh, path, watcher, s, c->seen, &size, &stat);

    if (rc == ZNONODE) {
        return -1;
    }
    require(rc, path);
    return size < 0 ? 0 : size; /* -1 stands for no value */
}

static void node_open(struct bench_client *c)
{
    struct session *s = mem_zalloc(sizeof(*s));

    c->state = s;
    session_connect(s, c->target);
    make_path(s->path, "node", c, c->number);
    make_node(c, s, s->path);
}

static void node_close(struct bench_client *c)
{
    struct session *s = c->state;

    require(zoo_delete(s->zh, s->path, -1), s->path);
    session_close(s);
    mem_free(s);
}

/* --- write, read, stat ------------------------------------------------------------------------ */

static int set(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;

    bench_value_fill(c->value, c->options->size, n);
    return zoo_set(s->zh, s->path, c->value, (int)c->options->size, -1);
}

static void write_step(struct bench_client *c, uint64_t n)
{
    require(set(c, n), "zoo_set");
}

static void write_close(struct bench_client *c)
{
    struct session *s = c->state;
    int size = get(c, s, s->path, NULL);

    bench_value_check(c, c->seen, (size_t)size, c->options->warm_count + c->options->count - 1);
    node_close(c);
}

static void read_step(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;
    int size = get(c, s, s->path, NULL);

    (void)n;
    if (size != (int)c->options->size || memcmp(c->seen, c->value, (size_t)size) != 0) {
        bench_die("%s: not the value that was written", s->path);
    }
}

static void stat_step(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;
    struct Stat stat;

    (void)n;
    require(zoo_exists(s->zh, s->path, 0, &stat), s->path);
    if (stat.dataLength != (int)c->options->size) {
        bench_die("%s: not the node that was written", s->path);
    }
}

/* --- create ----------------------------------------------------------------------------------- */

static void create_step(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;
    char path[PATH_SIZE + 8];
    char made[PATH_SIZE + 32];
    char want[PATH_SIZE + 32];

    (void)snprintf(path, sizeof(path), "%s/job-", s->path);
    bench_value_fill(c->value, c->options->size, n);
    require(zoo_create(s->zh, path, c->value, (int)c->options->size, &ZOO_OPEN_ACL_UNSAFE,
                       ZOO_SEQUENCE, made, sizeof(made)),
            path);
    (void)snprintf(want, sizeof(want), "%s%010llu", path, (unsigned long long)n);
    if (strcmp(made, want) != 0) {
        bench_die("%s was made instead of %s", made, want);
    }
}

static void create_close(struct bench_client *c)
{
    struct session *s = c->state;
    char path[PATH_SIZE + 32];

    for (uint64_t n = 0; n < c->options->warm_count + c->options->count; n++) {
        int size;

        (void)snprintf(path, sizeof(path), "%s/job-%010llu", s->path, (unsigned long long)n);
        size = get(c, s, path, NULL);
        bench_value_check(c, c->seen, (size_t)size, n);
        require(zoo_delete(s->zh, path, -1), path);
    }
    node_close(c);
}

/* --- lock ------------------------------------------------------------------------------------- */

static void lock_open(struct bench_client *c)
{
    struct session *s = mem_zalloc(sizeof(*s));
    int rc;

    c->state = s;
    session_connect(s, c->target);
    make_path(s->path, "lock", c, 0);
    rc = zoo_create(s->zh, s->path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    require(rc == ZNODEEXISTS ? ZOK : rc, s->path);
}

/* The child that is next before `name` in the order of their numbers; "" if it is the first. */
static void find_before(struct session *s, const char *name, char *ret)
{
    struct String_vector children;
    bool found = false;

    require(zoo_get_children(s->zh, s->path, 0, &children), s->path);
    ret[0] = '\0';
    for (int i = 0; i < children.count; i++) {
        const char *child = children.data[i];

        found = found || strcmp(child, name) == 0;
        if (strcmp(child, name) < 0 && strcmp(child, ret) > 0) {
            (void)snprintf(ret, PATH_SIZE, "%s", child);
        }
    }
    if (!found) {
        bench_die("%s has lost its place %s", s->path, name);
    }
    (void)deallocate_String_vector(&children);
}

static void lock_step(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;
    char path[PATH_SIZE + 8];
    char mine[PATH_SIZE + 32];
    char before[PATH_SIZE];
    char watched[2 * PATH_SIZE + 2];

    (void)n;
    (void)snprintf(path, sizeof(path), "%s/lock-", s->path);
    require(zoo_create(s->zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, mine,
                       sizeof(mine)),
            path);
    for (;;) {
        find_before(s, strrchr(mine, '/') + 1, before);
        if (before[0] == '\0') {
            break;
        }
        (void)snprintf(watched, sizeof(watched), "%s/%s", s->path, before);
        if (get(c, s, watched, on_told) >= 0) {
            await(s, watched);
        }
    }
    bench_lock_enter(c);
    bench_lock_leave(c);
    require(zoo_delete(s->zh, mine, -1), mine);
}

static void lock_close(struct bench_client *c)
{
    session_close(c->state);
    mem_free(c->state);
}

static void lock_clean(struct bench_client *c)
{
    struct session s = {0};

    session_connect(&s, c->target);
    make_path(s.path, "lock", c, 0);
    require(zoo_delete(s.zh, s.path, -1), s.path);
    session_close(&s);
}

/* --- event ------------------------------------------------------------------------------------ */

/* The watcher's process: what it reads when it watches again must be the value written last, so
 * that no event is taken for another. */
static void watch(struct bench_client *c, const char *servers, const char *path, int seen)
{
    struct session s = {0};
    int size;

    session_connect(&s, servers);
    size = get(c, &s, path, on_told);
    while (size < 0) { /* not here yet */
        (void)poll(NULL, 0, 1);
        size = get(c, &s, path, on_told);
    }
    for (uint64_t n = 0; write(seen, &s.told_ns, sizeof(s.told_ns)) == sizeof(s.told_ns); n++) {
        await(&s, path);
        size = get(c, &s, path, on_told);
        bench_value_check(c, c->seen, (size_t)size, n);
    }
    _exit(1);
}

static uint64_t await_watcher(const struct session *s)
{
    struct pollfd p = {.fd = s->seen, .events = POLLIN};
    uint64_t ns;

    if (poll(&p, 1, WAIT_S * 1000) != 1) {
        bench_die("%s: no event of a write", s->path);
    }
    if (read(s->seen, &ns, sizeof(ns)) != (ssize_t)sizeof(ns)) {
        bench_die("%s: the watcher has ended", s->path);
    }
    return ns;
}

/* The watcher is made before this process has threads. */
static void event_open(struct bench_client *c)
{
    const char *other = c->options->targets[(c->number + 1) % c->options->target_count];
    char path[PATH_SIZE];
    struct session *s;
    int seen[2];
    pid_t pid;

    make_path(path, "node", c, c->number);
    if (pipe(seen) != 0) {
        bench_die_errno("pipe");
    }
    pid = fork();
    if (pid < 0) {
        bench_die_errno("fork");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(seen[0]);
        watch(c, other, path, seen[1]);
    }
    (void)close(seen[1]);
    node_open(c);
    s = c->state;
    s->watcher = pid;
    s->seen = seen[0];
    (void)await_watcher(s);
}

static void event_step(struct bench_client *c, uint64_t n)
{
    write_step(c, n);
    c->ended_ns = await_watcher(c->state);
}

static void event_close(struct bench_client *c)
{
    struct session *s = c->state;

    (void)kill(s->watcher, SIGKILL);
    (void)waitpid(s->watcher, NULL, 0);
    node_close(c);
}

/* --- outage ----------------------------------------------------------------------------------- */

static bool outage_step(struct bench_client *c, uint64_t n)
{
    struct session *s = c->state;

    if (is_unrecoverable(s->zh) != 0) { /* the session has expired */
        session_close(s);
        session_connect(s, c->target);
    }
    return set(c, n) == ZOK;
}

static void run_outage(struct bench_options *o)
{
    struct bench_client c = {.options = o, .target = o->targets[0]};

    c.value = mem_zalloc(o->size);
    node_open(&c);
    bench_run_outage(&c, outage_step);
    node_close(&c);
    mem_free(c.value);
}

/* --- many unanswered operations on one connection --------------------------------------------- */

/* `lock` guards all but the session: answers come in the client's completion thread, which submits
 * what follows. */
struct async {
    pthread_mutex_t lock;
    struct bench_pump pump;
    struct bench_client client;
    struct session session;
    struct async_op *ops; /* what the completion of each gets */
    void (*submit)(struct async *a, uint64_t n);
};

struct async_op {
    struct async *async;
    uint64_t n;
};

static void pump(struct async *a)
{
    uint64_t n;

    while (bench_pump_next(&a->pump, &n)) {
        a->ops[n] = (struct async_op){a, n};
        a->submit(a, n);
    }
}

static void on_answer(int rc, const struct async_op *op)
{
    struct async *a = op->async;

    require(rc, a->client.options->work);
    (void)pthread_mutex_lock(&a->lock);
    if (bench_pump_done(&a->pump, op->n)) {
        (void)sem_post(&a->session.told);
    }
    pump(a);
    (void)pthread_mutex_unlock(&a->lock);
}

static void on_set(int rc, const struct Stat *stat, const void *data)
{
    (void)stat;
    on_answer(rc, data);
}

static void on_created(int rc, const char *path, const void *data)
{
    (void)path;
    on_answer(rc, data);
}

static void on_parent_created(int rc, const char *path, const void *data)
{
    (void)path;
    (void)data;
    require(rc, "parent");
}

static void async_path(char *ret, const struct async *a, uint64_t n)
{
    (void)snprintf(ret, PATH_SIZE, "%.200s/n%llu", a->session.path,
                   (unsigned long long)(n % ASYNC_NODES));
}

static void submit_set(struct async *a, uint64_t n)
{
    char path[PATH_SIZE];

    async_path(path, a, n);
    bench_value_fill(a->client.value, a->client.options->size, n);
    require(zoo_aset(a->session.zh, path, a->client.value, (int)a->client.options->size, -1, on_set,
                     &a->ops[n]),
            path);
}

/* Requests of a session are done in their order: a parent is there before its nodes. */
static void submit_create(struct async *a, uint64_t n)
{
    char path[PATH_SIZE];

    if (n % DIR_NODES == 0) {
        (void)snprintf(path, sizeof(path), "%.200s/d%llu", a->session.path,
                       (unsigned long long)(n / DIR_NODES));
        require(zoo_acreate(a->session.zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, on_parent_created,
                            NULL),
                path);
    }
    (void)snprintf(path, sizeof(path), "%.200s/d%llu/f%llu", a->session.path,
                   (unsigned long long)(n / DIR_NODES), (unsigned long long)n);
    bench_value_fill(a->client.value, a->client.options->size, n);
    require(zoo_acreate(a->session.zh, path, a->client.value, (int)a->client.options->size,
                        &ZOO_OPEN_ACL_UNSAFE, 0, on_created, &a->ops[n]),
            path);
}

static void async_open(struct async *a, const struct bench_options *o, const char *what)
{
    a->client = (struct bench_client){.options = o, .target = o->targets[0]};
    a->client.value = mem_zalloc(o->size);
    a->client.seen = mem_zalloc(o->size + 1);
    bench_pump_open(&a->pump, o);
    a->ops = mem_zalloc(a->pump.total * sizeof(*a->ops));
    (void)pthread_mutex_init(&a->lock, NULL);
    session_connect(&a->session, o->targets[0]);
    make_path(a->session.path, what, &a->client, 0);
    require(zoo_create(a->session.zh, a->session.path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
            a->session.path);
}

static void async_run(struct async *a)
{
    uint64_t before = 0;

    (void)pthread_mutex_lock(&a->lock);
    pump(a);
    (void)pthread_mutex_unlock(&a->lock);
    while (!is_told(&a->session)) {
        if (a->pump.done == before) {
            bench_die("no answer in %d s", WAIT_S);
        }
        before = a->pump.done;
    }
    bench_pump_print(&a->pump);
}

static void async_close(struct async *a)
{
    session_close(&a->session);
    (void)pthread_mutex_destroy(&a->lock);
    mem_free(a->ops);
    mem_free(a->client.value);
    mem_free(a->client.seen);
}

/* Each node has the value that was sent last. */
static void run_async(struct bench_options *o)
{
    struct async a = {.submit = submit_set};
    uint64_t total;
    char path[PATH_SIZE];

    async_open(&a, o, "async");
    for (uint64_t n = 0; n < ASYNC_NODES; n++) {
        async_path(path, &a, n);
        make_node(&a.client, &a.session, path);
    }
    async_run(&a);
    total = a.pump.total;
    for (uint64_t n = total < ASYNC_NODES ? 0 : total - ASYNC_NODES; n < total; n++) {
        int size;

        async_path(path, &a, n);
        size = get(&a.client, &a.session, path, NULL);
        bench_value_check(&a.client, a.client.seen, (size_t)size, n);
    }
    for (uint64_t n = 0; n < ASYNC_NODES; n++) {
        async_path(path, &a, n);
        require(zoo_delete(a.session.zh, path, -1), path);
    }
    require(zoo_delete(a.session.zh, a.session.path, -1), a.session.path);
    async_close(&a);
}

/* What it makes stays. */
static void run_load(struct bench_options *o)
{
    struct async a = {.submit = submit_create};

    o->warm_count = 0;
    async_open(&a, o, "load");
    async_run(&a);
    async_close(&a);
}

static const struct bench_work works[] = {
    {"write", node_open, write_step, write_close, NULL, false},
    {"read", node_open, read_step, node_close, NULL, false},
    {"create", node_open, create_step, create_close, NULL, false},
    {"stat", node_open, stat_step, node_close, NULL, false},
    {"lock", lock_open, lock_step, lock_close, lock_clean, true},
    {"event", event_open, event_step, event_close, NULL, false},
};

static const struct {
    const char *name;
    void (*run)(struct bench_options *o);
} single_works[] = {
    {"outage", run_outage},
    {"async", run_async},
    {"load", run_load},
};

int main(int argc, char **argv)
{
    struct bench_options o;

    if (!bench_parse(argc, argv, &o)) {
        (void)fprintf(stderr, "usage: zk_bench write|read|create|stat|lock|event|outage|async|load "
                              "[-c CLIENTS] [-n COUNT] [-w WARM] [-s SIZE] [-f IN_FLIGHT] "
                              "[-t SECONDS] [-o FILE] HOST:PORT[,HOST:PORT...]...\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (strcmp(o.work, works[i].name) == 0) {
            bench_run(&o, &works[i]);
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof(single_works) / sizeof(single_works[0]); i++) {
        if (strcmp(o.work, single_works[i].name) == 0) {
            single_works[i].run(&o);
            return 0;
        }
    }
    bench_die("no such work: %s", o.work);
}
