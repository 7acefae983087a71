/* The works of zk_bench that keep many operations unanswered on one connection. The main thread
 * submits the first ones; each answer comes in the client's completion thread, which submits what
 * follows. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#include "mem.h"
#include "zk.h"

enum { DIR_NODES = 1000, ASYNC_NODES = 100 };

struct async {
    pthread_mutex_t lock; /* for all but the session */
    struct bench_pump pump;
    struct bench_client client;
    struct zk_session session;
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

    zk_require(rc, a->client.options->work);
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
    zk_require(rc, "parent");
}

static void async_path(char *ret, const struct async *a, uint64_t n)
{
    (void)snprintf(ret, ZK_PATH_SIZE, "%.200s/n%llu", a->session.path,
                   (unsigned long long)(n % ASYNC_NODES));
}

static void submit_set(struct async *a, uint64_t n)
{
    char path[ZK_PATH_SIZE];

    async_path(path, a, n);
    bench_value_fill(a->client.value, a->client.options->size, n);
    zk_require(zoo_aset(a->session.zh, path, a->client.value, (int)a->client.options->size, -1,
                        on_set, &a->ops[n]),
               path);
}

/* Requests of a session are done in their order: a parent is there before its nodes. */
static void submit_create(struct async *a, uint64_t n)
{
    char path[ZK_PATH_SIZE];

    if (n % DIR_NODES == 0) {
        (void)snprintf(path, sizeof(path), "%.200s/d%llu", a->session.path,
                       (unsigned long long)(n / DIR_NODES));
        zk_require(zoo_acreate(a->session.zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0,
                               on_parent_created, NULL),
                   path);
    }
    (void)snprintf(path, sizeof(path), "%.200s/d%llu/f%llu", a->session.path,
                   (unsigned long long)(n / DIR_NODES), (unsigned long long)n);
    bench_value_fill(a->client.value, a->client.options->size, n);
    zk_require(zoo_acreate(a->session.zh, path, a->client.value, (int)a->client.options->size,
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
    zk_connect(&a->session, o->targets[0]);
    zk_path(a->session.path, what, &a->client, 0);
    zk_require(zoo_create(a->session.zh, a->session.path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
               a->session.path);
}

static void async_run(struct async *a)
{
    uint64_t before = 0;

    (void)pthread_mutex_lock(&a->lock);
    pump(a);
    (void)pthread_mutex_unlock(&a->lock);
    while (!zk_is_told(&a->session)) {
        if (a->pump.done == before) {
            bench_die("no answer in %d s", ZK_WAIT_S);
        }
        before = a->pump.done;
    }
    bench_pump_print(&a->pump);
}

static void async_close(struct async *a)
{
    zk_close(&a->session);
    (void)pthread_mutex_destroy(&a->lock);
    mem_free(a->ops);
    mem_free(a->client.value);
    mem_free(a->client.seen);
}

/* Each node has the value that was sent last. */
void zk_run_async(struct bench_options *o)
{
    struct async a = {.submit = submit_set};
    uint64_t total;
    char path[ZK_PATH_SIZE];

    async_open(&a, o, "async");
    for (uint64_t n = 0; n < ASYNC_NODES; n++) {
        async_path(path, &a, n);
        zk_make(&a.client, &a.session, path);
    }
    async_run(&a);
    total = a.pump.total;
    for (uint64_t n = total < ASYNC_NODES ? 0 : total - ASYNC_NODES; n < total; n++) {
        int size;

        async_path(path, &a, n);
        size = zk_get(&a.client, &a.session, path, NULL);
        bench_value_check(&a.client, a.client.seen, (size_t)size, n);
    }
    for (uint64_t n = 0; n < ASYNC_NODES; n++) {
        async_path(path, &a, n);
        zk_require(zoo_delete(a.session.zh, path, -1), path);
    }
    zk_require(zoo_delete(a.session.zh, a.session.path, -1), a.session.path);
    async_close(&a);
}

/* What it makes stays. */
void zk_run_load(struct bench_options *o)
{
    struct async a = {.submit = submit_create};

    o->warm_count = 0;
    async_open(&a, o, "load");
    async_run(&a);
    async_close(&a);
}
