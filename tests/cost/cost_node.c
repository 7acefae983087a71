/* cost_node write|read COUNT
 *
 * Drives one member's node, an ensemble of its own, through COUNT requests of one client: a write
 * sets 1 KiB in one of 100 files, a read takes one back. Everything from the request's frame to the
 * reply's is in serve(), so that `valgrind --tool=callgrind --toggle-collect=serve` counts the
 * instructions of node, broadcast and tree, and nothing of this program or its start. The disk is
 * durable at once and the clock stands still: each run does the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "codec.h"
#include "mem.h"
#include "node.h"

enum { FILES = 100, VALUE_SIZE = 1024, CONN = 1 };

struct cost {
    struct node *node;
    const struct store_batch *batch; /* handed to the disk */
    struct node_time now;
    struct blob *value;
    uint64_t xid;
    uint64_t ids[FILES];
    struct buf frame; /* of the last request */
    struct buf reply; /* of the last reply */
};

/* --- the member's world ---------------------------------------------------------------------- */

static void send_client(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct cost *c = ctx;

    CHECK(conn == CONN);
    c->reply.size = 0;
    buf_put(&c->reply, bytes, size);
}

static void store(void *ctx, const struct store_batch *batch)
{
    struct cost *c = ctx;

    CHECK(c->batch == NULL);
    c->batch = batch;
}

static void close_client(void *ctx, uint64_t conn, const char *reason)
{
    (void)ctx;
    (void)conn;
    (void)fprintf(stderr, "cost_node: closed: %s\n", reason);
    exit(1);
}

static void log_text(void *ctx, enum log_level level, const char *mod, const char *text)
{
    (void)ctx;
    (void)level;
    (void)mod;
    (void)text;
}

static void stop(void *ctx, const char *reason)
{
    close_client(ctx, CONN, reason);
}

static void turn_end(struct cost *c)
{
    node_flush(c->node, &c->now);
    while (c->batch != NULL) {
        c->batch = NULL;
        node_stored(c->node, &c->now);
        node_flush(c->node, &c->now);
    }
}

/* What is measured. Not inlined: its name is how callgrind finds it. */
__attribute__((noinline)) void serve(struct cost *c);
void serve(struct cost *c)
{
    CHECK(node_client_frame(c->node, CONN, c->frame.data, c->frame.size, &c->now) == 0);
    turn_end(c);
}

/* --- the client ------------------------------------------------------------------------------ */

static void request_encode(struct cost *c, struct request *r)
{
    r->xid = ++c->xid;
    r->xid_floor = r->xid;
    r->deadline_ms = 60000;
    c->frame.size = 0;
    c->reply.size = 0;
    codec_encode_request(&c->frame, r);
}

/* Its reply, which the caller releases. */
static struct message reply_decode(const struct cost *c)
{
    struct message m;

    CHECK(codec_decode(c->reply.data, c->reply.size, &m) == 0);
    CHECK(m.kind == MESSAGE_REPLY && m.u.reply.xid == c->xid && m.u.reply.err == 0);
    return m;
}

static void start(struct cost *c)
{
    struct node_io io = {
        .ctx = c,
        .send_client = send_client,
        .close_client = close_client,
        .store = store,
        .log = log_text,
        .stop = stop,
    };
    struct node_conf conf = {
        .value_size_max = VALUE_SIZE_DEFAULT,
        .snapshot_entries = UINT64_MAX,
        .request_deadline_ms_max = 60000,
        .history_changes = 16384,
        .history_bytes = 32 << 20,
    };
    struct zab_boot boot = {.fresh = true};
    struct zab_view view = {0};

    zab_conf_default(&conf.zab);
    conf.zab.self = 1;
    conf.zab.member_count = 1;
    conf.zab.members[0] = 1;
    conf.zab.seed = 1;
    c->node = node_new(&conf, &io, &boot, tree_new(), &c->now);
    for (int i = 0; i < 1000 && !view.serving; i++) {
        c->now.mono_ms += 10;
        node_tick(c->node, &c->now);
        turn_end(c);
        node_view(c->node, &view);
    }
    CHECK(view.serving);
}

static void attach(struct cost *c)
{
    struct request hello = {
        .op = OP_HELLO,
        .u.hello = {.version = CLIENT_PROTOCOL_VERSION, .key = {.bytes = {1}}, .timeout_ms = 60000},
    };
    struct message m;

    node_client_open(c->node, CONN);
    request_encode(c, &hello);
    serve(c);
    m = reply_decode(c);
    codec_message_done(&m);
}

static void make_files(struct cost *c)
{
    char name[16];

    for (size_t i = 0; i < FILES; i++) {
        struct request r = {.op = OP_CREATE};
        struct message m;

        (void)snprintf(name, sizeof(name), "f%zu", i);
        r.u.create.dir = TREE_ROOT_ID;
        r.u.create.name = (struct name){name, (uint32_t)strlen(name)};
        r.u.create.type = NODE_FILE;
        r.u.create.mode = 0644;
        r.u.create.value = c->value;
        request_encode(c, &r);
        serve(c);
        m = reply_decode(c);
        c->ids[i] = m.u.reply.u.create.attr.id;
        codec_message_done(&m);
    }
}

static void run(struct cost *c, bool is_write, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct request r = {.op = is_write ? OP_SET : OP_READ};
        struct message m;

        if (is_write) {
            r.u.set.id = c->ids[i % FILES];
            r.u.set.if_version = VERSION_ANY;
            r.u.set.value = c->value;
        } else {
            r.u.read.id = c->ids[i % FILES];
        }
        request_encode(c, &r);
        serve(c);
        m = reply_decode(c);
        codec_message_done(&m);
    }
}

int main(int argc, char **argv)
{
    static uint8_t bytes[VALUE_SIZE];
    struct cost c = {.now = {.mono_ms = 1000, .wall_ns = 1000000000}};

    if (argc != 3 || (strcmp(argv[1], "write") != 0 && strcmp(argv[1], "read") != 0)) {
        (void)fprintf(stderr, "usage: cost_node write|read COUNT\n");
        return 2;
    }
    c.value = blob_new(bytes, sizeof(bytes));
    start(&c);
    attach(&c);
    make_files(&c);
    run(&c, strcmp(argv[1], "write") == 0, strtoull(argv[2], NULL, 10));
    node_free(c.node);
    blob_unref(c.value);
    buf_done(&c.frame);
    buf_done(&c.reply);
    return 0;
}
