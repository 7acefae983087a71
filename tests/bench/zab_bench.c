/* zab_bench WORK [-n COUNT] [-w WARM] [-s SIZE] [-f IN_FLIGHT] SERVERS
 *
 * What one connection can do without a mount, over the client library; SERVERS as of zabctl. Output
 * and options as in bench.h.
 *   async   sets of 100 files, IN_FLIGHT of them always unanswered; the values are looked at
 *           afterwards
 *   load    COUNT files, 1000 to a directory, in the same way; none of them uncounted; they stay
 *   write   sets of one file, one after the other
 *   read    reads of it, one after the other */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "bench.h"
#include "blob.h"
#include "client.h"
#include "err.h"
#include "mem.h"

enum { DIR_FILES = 1000, ASYNC_FILES = 100, DEADLINE_MS = 60000, CLOSE_WAIT_MS = 1000 };

struct zab {
    uv_loop_t loop;
    struct client *client;
    struct bench_client bench;
    struct bench_pump pump;
    uint64_t dir;              /* all is below it */
    uint64_t *ids;             /* of files that are set, or of directories that are filled */
    uint64_t id_count, id_got; /* wanted, known */
    void (*submit)(struct zab *z, uint64_t n);
};

static void require(const struct reply *r, const char *what)
{
    if (r->err != 0) {
        bench_die("%s: %s", what, err_text(r->err));
    }
}

/* --- making ----------------------------------------------------------------------------------- */

static struct blob *new_value(struct zab *z, uint64_t n)
{
    struct blob *b = blob_new_uninit(z->bench.options->size);

    bench_value_fill((char *)b->data, b->size, n);
    return b;
}

static void submit_create(struct zab *z, uint64_t dir, enum node_type type, uint64_t n,
                          client_done_fn done)
{
    struct request r = {.op = OP_CREATE};
    char name[32];

    (void)snprintf(name, sizeof(name), "%c%" PRIu64, type == NODE_DIR ? 'd' : 'f', n);
    r.u.create.dir = dir;
    r.u.create.type = type;
    r.u.create.name = (struct name){name, (uint32_t)strlen(name)};
    r.u.create.mode = type == NODE_DIR ? 0755 : 0644;
    r.u.create.value = type == NODE_DIR ? NULL : new_value(z, n);
    (void)client_submit(z->client, &r, done, (void *)(uintptr_t)n);
    blob_unref(r.u.create.value);
}

static void on_id(void *ctx, void *arg, const struct reply *r)
{
    struct zab *z = ctx;

    require(r, "create");
    z->ids[(uintptr_t)arg] = r->u.create.attr.id;
    if (++z->id_got == z->id_count) {
        uv_stop(&z->loop);
    }
}

/* `count` directories or files below z->dir; their ids into z->ids. */
static void make_all(struct zab *z, enum node_type type, uint64_t count)
{
    z->ids = mem_zalloc(count * sizeof(*z->ids));
    z->id_count = count;
    for (uint64_t n = 0; n < count; n++) {
        submit_create(z, z->dir, type, n, on_id);
    }
    (void)uv_run(&z->loop, UV_RUN_DEFAULT);
}

static void make_dir(struct zab *z)
{
    struct request r = {.op = OP_CREATE};
    struct reply reply;
    char name[64];

    (void)snprintf(name, sizeof(name), "bench-%s-%" PRIu64, z->bench.options->work,
                   z->bench.options->run);
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.type = NODE_DIR;
    r.u.create.name = (struct name){name, (uint32_t)strlen(name)};
    r.u.create.mode = 0755;
    if (client_call(z->client, &r, &reply) != 0) {
        bench_die("%s: %s", name, err_text(reply.err));
    }
    z->dir = reply.u.create.attr.id;
    codec_reply_done(&reply);
}

/* --- pumping ---------------------------------------------------------------------------------- */

static void pump(struct zab *z)
{
    uint64_t n;

    while (bench_pump_next(&z->pump, &n)) {
        z->submit(z, n);
    }
}

static void on_answer(void *ctx, void *arg, const struct reply *r)
{
    struct zab *z = ctx;

    require(r, z->bench.options->work);
    if (bench_pump_done(&z->pump, (uintptr_t)arg)) {
        uv_stop(&z->loop);
    }
    pump(z);
}

static void submit_set(struct zab *z, uint64_t n)
{
    struct request r = {.op = OP_SET};

    r.u.set.id = z->ids[n % z->id_count];
    r.u.set.if_version = VERSION_ANY;
    r.u.set.value = new_value(z, n);
    (void)client_submit(z->client, &r, on_answer, (void *)(uintptr_t)n);
    blob_unref(r.u.set.value);
}

static void submit_file(struct zab *z, uint64_t n)
{
    submit_create(z, z->ids[n / DIR_FILES], NODE_FILE, n, on_answer);
}

static void on_read(void *ctx, void *arg, const struct reply *r)
{
    struct zab *z = ctx;
    const struct blob *value;

    require(r, "read");
    value = r->u.read.value;
    bench_value_check(&z->bench, value == NULL ? "" : (const char *)value->data,
                      value == NULL ? 0 : value->size, 0);
    on_answer(ctx, arg, r);
}

static void submit_read(struct zab *z, uint64_t n)
{
    struct request r = {.op = OP_READ};

    r.u.read.id = z->ids[0];
    (void)client_submit(z->client, &r, on_read, (void *)(uintptr_t)n);
}

static void run_pump(struct zab *z, void (*submit)(struct zab *z, uint64_t n))
{
    z->submit = submit;
    pump(z);
    (void)uv_run(&z->loop, UV_RUN_DEFAULT);
    bench_pump_print(&z->pump);
}

/* --- works ------------------------------------------------------------------------------------ */

/* Each file has the value that was sent last. */
static void check_and_remove(struct zab *z)
{
    uint64_t total = z->pump.total;

    for (uint64_t n = total < z->id_count ? 0 : total - z->id_count; n < total; n++) {
        struct request r = {.op = OP_READ, .u.read.id = z->ids[n % z->id_count]};
        struct reply reply;

        if (client_call(z->client, &r, &reply) != 0 || reply.u.read.value == NULL) {
            bench_die("file %" PRIu64 " cannot be read", n % z->id_count);
        }
        bench_value_check(&z->bench, (const char *)reply.u.read.value->data,
                          reply.u.read.value->size, n);
        codec_reply_done(&reply);
    }
}

static void remove_all(struct zab *z)
{
    for (uint64_t n = 0; n <= z->id_count; n++) {
        struct request r = {.op = OP_REMOVE, .u.remove.id = n < z->id_count ? z->ids[n] : z->dir};
        struct reply reply;

        if (n == z->id_count) {
            r.u.remove.flags = REMOVE_DIR;
        }
        if (client_call(z->client, &r, &reply) != 0) {
            bench_die("cannot remove: %s", err_text(reply.err));
        }
        codec_reply_done(&reply);
    }
}

static void run_async(struct zab *z, struct bench_options *o)
{
    bench_pump_open(&z->pump, o);
    make_all(z, NODE_FILE, ASYNC_FILES);
    run_pump(z, submit_set);
    check_and_remove(z);
    remove_all(z);
}

static void run_load(struct zab *z, struct bench_options *o)
{
    o->warm_count = 0;
    bench_pump_open(&z->pump, o);
    make_all(z, NODE_DIR, (o->count + DIR_FILES - 1) / DIR_FILES);
    run_pump(z, submit_file);
}

static void run_write(struct zab *z, struct bench_options *o)
{
    o->in_flight = 1;
    bench_pump_open(&z->pump, o);
    make_all(z, NODE_FILE, 1);
    run_pump(z, submit_set);
    check_and_remove(z);
    remove_all(z);
}

static void run_read(struct zab *z, struct bench_options *o)
{
    o->in_flight = 1;
    bench_pump_open(&z->pump, o);
    make_all(z, NODE_FILE, 1);
    run_pump(z, submit_read);
    remove_all(z);
}

static const struct {
    const char *name;
    void (*run)(struct zab *z, struct bench_options *o);
} works[] = {
    {"async", run_async},
    {"load", run_load},
    {"write", run_write},
    {"read", run_read},
};

static void run(struct bench_options *o, void (*work)(struct zab *z, struct bench_options *o))
{
    struct client_conf conf = {
        .servers = o->targets[0], .label = "bench", .deadline_ms = DEADLINE_MS};
    struct zab z = {.bench = {.options = o, .target = o->targets[0]}};

    z.bench.value = mem_zalloc(o->size);
    if (uv_loop_init(&z.loop) != 0 || client_new(&z.loop, &conf, NULL, &z, &z.client) != 0) {
        bench_die("%s: no list of servers", o->targets[0]);
    }
    make_dir(&z);
    work(&z, o);
    client_close(z.client, CLOSE_WAIT_MS, NULL, NULL);
    (void)uv_run(&z.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&z.loop);
    mem_free(z.ids);
    mem_free(z.bench.value);
}

int main(int argc, char **argv)
{
    struct bench_options o;

    if (!bench_parse(argc, argv, true, &o)) {
        (void)fprintf(stderr, "usage: zab_bench async|load|write|read [-n COUNT] [-w WARM] "
                              "[-s SIZE] [-f IN_FLIGHT] SERVERS\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (strcmp(o.work, works[i].name) == 0) {
            run(&o, works[i].run);
            return 0;
        }
    }
    bench_die("no such work: %s", o.work);
}
