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
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "zk.h"

static void node_open(struct bench_client *c)
{
    struct zk_session *s = mem_zalloc(sizeof(*s));

    c->state = s;
    zk_connect(s, c->target);
    zk_path(s->path, "node", c, c->number);
    zk_make(c, s, s->path);
}

static void node_close(struct bench_client *c)
{
    struct zk_session *s = c->state;

    zk_require(zoo_delete(s->zh, s->path, -1), s->path);
    zk_close(s);
    mem_free(s);
}

/* --- write, read, stat ------------------------------------------------------------------------ */

static int set(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;

    bench_value_fill(c->value, c->options->size, n);
    return zoo_set(s->zh, s->path, c->value, (int)c->options->size, -1);
}

static void write_step(struct bench_client *c, uint64_t n)
{
    zk_require(set(c, n), "zoo_set");
}

static void write_close(struct bench_client *c)
{
    struct zk_session *s = c->state;
    int size = zk_get(c, s, s->path, NULL);

    bench_value_check(c, c->seen, (size_t)size, c->options->warm_count + c->options->count - 1);
    node_close(c);
}

static void read_step(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;
    int size = zk_get(c, s, s->path, NULL);

    (void)n;
    if (size != (int)c->options->size || memcmp(c->seen, c->value, (size_t)size) != 0) {
        bench_die("%s: not the value that was written", s->path);
    }
}

static void stat_step(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;
    struct Stat stat;

    (void)n;
    zk_require(zoo_exists(s->zh, s->path, 0, &stat), s->path);
    if (stat.dataLength != (int)c->options->size) {
        bench_die("%s: not the node that was written", s->path);
    }
}

/* --- create ----------------------------------------------------------------------------------- */

static void create_step(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;
    char path[ZK_PATH_SIZE + 8];
    char made[ZK_PATH_SIZE + 32];
    char want[ZK_PATH_SIZE + 32];

    (void)snprintf(path, sizeof(path), "%s/job-", s->path);
    bench_value_fill(c->value, c->options->size, n);
    zk_require(zoo_create(s->zh, path, c->value, (int)c->options->size, &ZOO_OPEN_ACL_UNSAFE,
                          ZOO_SEQUENCE, made, sizeof(made)),
               path);
    (void)snprintf(want, sizeof(want), "%s%010llu", path, (unsigned long long)n);
    if (strcmp(made, want) != 0) {
        bench_die("%s was made instead of %s", made, want);
    }
}

static void create_close(struct bench_client *c)
{
    struct zk_session *s = c->state;
    char path[ZK_PATH_SIZE + 32];

    for (uint64_t n = 0; n < c->options->warm_count + c->options->count; n++) {
        int size;

        (void)snprintf(path, sizeof(path), "%s/job-%010llu", s->path, (unsigned long long)n);
        size = zk_get(c, s, path, NULL);
        bench_value_check(c, c->seen, (size_t)size, n);
        zk_require(zoo_delete(s->zh, path, -1), path);
    }
    node_close(c);
}

/* --- lock ------------------------------------------------------------------------------------- */

static void lock_open(struct bench_client *c)
{
    struct zk_session *s = mem_zalloc(sizeof(*s));
    int rc;

    c->state = s;
    zk_connect(s, c->target);
    zk_path(s->path, "lock", c, 0);
    rc = zoo_create(s->zh, s->path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zk_require(rc == ZNODEEXISTS ? ZOK : rc, s->path);
}

/* The child that is next before `name` in the order of their numbers; "" if it is the first. */
static void find_before(struct zk_session *s, const char *name, char *ret)
{
    struct String_vector children;
    bool found = false;

    zk_require(zoo_get_children(s->zh, s->path, 0, &children), s->path);
    ret[0] = '\0';
    for (int i = 0; i < children.count; i++) {
        const char *child = children.data[i];

        found = found || strcmp(child, name) == 0;
        if (strcmp(child, name) < 0 && strcmp(child, ret) > 0) {
            (void)snprintf(ret, ZK_PATH_SIZE, "%s", child);
        }
    }
    if (!found) {
        bench_die("%s has lost its place %s", s->path, name);
    }
    (void)deallocate_String_vector(&children);
}

static void lock_step(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;
    char path[ZK_PATH_SIZE + 8];
    char mine[ZK_PATH_SIZE + 32];
    char before[ZK_PATH_SIZE];
    char watched[2 * ZK_PATH_SIZE + 2];

    (void)n;
    (void)snprintf(path, sizeof(path), "%s/lock-", s->path);
    zk_require(zoo_create(s->zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE,
                          mine, sizeof(mine)),
               path);
    for (;;) {
        find_before(s, strrchr(mine, '/') + 1, before);
        if (before[0] == '\0') {
            break;
        }
        (void)snprintf(watched, sizeof(watched), "%s/%s", s->path, before);
        if (zk_get(c, s, watched, zk_on_told) >= 0) {
            zk_await(s, watched);
        }
    }
    bench_lock_enter(c);
    bench_lock_leave(c);
    zk_require(zoo_delete(s->zh, mine, -1), mine);
}

static void lock_close(struct bench_client *c)
{
    zk_close(c->state);
    mem_free(c->state);
}

static void lock_clean(struct bench_client *c)
{
    struct zk_session s = {0};

    zk_connect(&s, c->target);
    zk_path(s.path, "lock", c, 0);
    zk_require(zoo_delete(s.zh, s.path, -1), s.path);
    zk_close(&s);
}

/* --- event ------------------------------------------------------------------------------------ */

/* The watcher's process: what it reads when it watches again must be the value written last, so
 * that no event is taken for another. */
static void watch(struct bench_client *c, const char *servers, const char *path, int seen)
{
    struct zk_session s = {0};
    int size;

    zk_connect(&s, servers);
    size = zk_get(c, &s, path, zk_on_told);
    while (size < 0) { /* not here yet */
        (void)poll(NULL, 0, 1);
        size = zk_get(c, &s, path, zk_on_told);
    }
    for (uint64_t n = 0; write(seen, &s.told_ns, sizeof(s.told_ns)) == sizeof(s.told_ns); n++) {
        zk_await(&s, path);
        size = zk_get(c, &s, path, zk_on_told);
        bench_value_check(c, c->seen, (size_t)size, n);
    }
    _exit(1);
}

static uint64_t await_watcher(const struct zk_session *s)
{
    struct pollfd p = {.fd = s->seen, .events = POLLIN};
    uint64_t ns;

    if (poll(&p, 1, ZK_WAIT_S * 1000) != 1) {
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
    char path[ZK_PATH_SIZE];
    struct zk_session *s;
    int seen[2];
    pid_t pid;

    zk_path(path, "node", c, c->number);
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
    struct zk_session *s = c->state;

    (void)kill(s->watcher, SIGKILL);
    (void)waitpid(s->watcher, NULL, 0);
    node_close(c);
}

/* --- outage ----------------------------------------------------------------------------------- */

static bool outage_step(struct bench_client *c, uint64_t n)
{
    struct zk_session *s = c->state;

    if (is_unrecoverable(s->zh) != 0) { /* the session has expired */
        zk_close(s);
        zk_connect(s, c->target);
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
    {"async", zk_run_async},
    {"load", zk_run_load},
};

int main(int argc, char **argv)
{
    struct bench_options o;

    if (!bench_parse(argc, argv, true, &o)) {
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
