/* What clients may say to a member, in any order: a whole replica (an ensemble of one, with a disk
 * that is always fast) and three streams.
 *
 * Input: a row of steps, each one byte that names it and the bytes it takes:
 *   RAW      stream, size (2 bytes), a frame of that many bytes
 *   ASK      stream, op, then its fields in few bytes: small ids, short names, so that they meet
 *   TICK     time passes, up to 16 s: sessions expire
 *   CLOSE    stream
 *   TURN     end of a turn of the loop: the log is written, answers come
 * Nothing that a client says may stop the replica or break its state, and what it answers must be
 * readable. At the end its state must be sound and go through an image unchanged. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "codec.h"
#include "err.h"
#include "mem.h"
#include "node.h"

enum { STREAMS = 3, TICK_MS = 64, STEPS_MAX = 512, TXN_MAX = 4 };

enum step { STEP_RAW, STEP_ASK, STEP_TICK, STEP_CLOSE, STEP_TURN, STEPS };

struct world {
    struct node *node;
    struct node_time now;
    const struct store_batch *batch;
    bool snapshotting;
    uint64_t conns[STREAMS]; /* 0: closed */
    uint64_t conn_next;
    uint64_t xid_next;
};

/* --- the replica's surroundings --------------------------------------------------------------- */

static void send_peer(void *ctx, uint32_t peer, const void *bytes, size_t size)
{
    (void)ctx, (void)peer, (void)bytes, (void)size;
    CHECK(false); /* there is none */
}

static size_t peer_queued(void *ctx, uint32_t peer)
{
    (void)ctx, (void)peer;
    return 0;
}

static uint64_t *conn_find(struct world *w, uint64_t conn)
{
    for (int i = 0; i < STREAMS; i++) {
        if (w->conns[i] == conn) {
            return &w->conns[i];
        }
    }
    return NULL;
}

static void send_client(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct message m;

    CHECK(conn_find(ctx, conn) != NULL);
    CHECK(codec_decode(bytes, size, &m) == 0);
    CHECK(m.kind != MESSAGE_REQUEST);
    codec_message_done(&m);
}

static void close_client(void *ctx, uint64_t conn, const char *reason)
{
    uint64_t *at = conn_find(ctx, conn);

    (void)reason;
    CHECK(at != NULL);
    *at = 0;
}

static void store(void *ctx, const struct store_batch *batch)
{
    struct world *w = ctx;

    CHECK(w->batch == NULL);
    w->batch = batch;
}

static void snapshot(void *ctx, const struct tree *tree, const struct store_pos *pos)
{
    struct world *w = ctx;

    CHECK(tree_index(tree) == pos->index);
    w->snapshotting = true;
}

static void log_text(void *ctx, enum log_level level, const char *mod, const char *text)
{
    (void)ctx, (void)level, (void)mod, (void)text;
}

static void stop(void *ctx, const char *reason)
{
    (void)ctx, (void)reason;
    CHECK(false);
}

static void turn(struct world *w)
{
    node_flush(w->node, &w->now);
    while (w->batch != NULL) {
        w->batch = NULL;
        node_stored(w->node, &w->now);
        node_flush(w->node, &w->now);
    }
    if (w->snapshotting) {
        w->snapshotting = false;
        node_snapshot_done(w->node, true, &w->now);
        turn(w);
    }
}

static void tick(struct world *w, uint64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ns += (int64_t)ms * 1000000;
    if (node_deadline(w->node) <= w->now.mono_ms) {
        node_tick(w->node, &w->now);
    }
    turn(w);
}

static void world_start(struct world *w)
{
    struct node_io io = {
        .ctx = w,
        .send_peer = send_peer,
        .peer_queued = peer_queued,
        .send_client = send_client,
        .close_client = close_client,
        .store = store,
        .snapshot = snapshot,
        .log = log_text,
        .stop = stop,
    };
    struct node_conf conf = {
        .value_size_max = 1000,
        .snapshot_entries = 20,
        .history_changes = 30,
        .history_bytes = 4000,
        .request_deadline_ms_max = 60000,
    };
    struct zab_boot boot = {.fresh = true};
    struct zab_view view = {0};

    zab_conf_default(&conf.zab);
    conf.zab.self = conf.zab.members[0] = 1;
    conf.zab.member_count = 1;
    conf.zab.seed = 1;
    *w = (struct world){.now = {1000, 1700000000000000000}, .conn_next = 1};
    w->node = node_new(&conf, &io, &boot, tree_new(), &w->now);
    for (int i = 0; i < 100 && !view.serving; i++) {
        tick(w, 500);
        node_view(w->node, &view);
    }
    CHECK(view.serving);
}

/* --- what clients say ------------------------------------------------------------------------- */

static void say(struct world *w, unsigned stream, const uint8_t *bytes, size_t size)
{
    uint64_t *conn = &w->conns[stream % STREAMS];
    int rc;

    if (*conn == 0) {
        *conn = w->conn_next++;
        node_client_open(w->node, *conn);
    }
    rc = node_client_frame(w->node, *conn, bytes, size, &w->now);
    if (rc != 0) {
        CHECK(rc == ERR_MALFORMED);
        node_client_closed(w->node, *conn);
        *conn = 0;
    }
}

static unsigned take(struct cursor *in)
{
    uint8_t v = 0;

    (void)cur_u8(in, &v);
    return v;
}

/* Two letters, a blank, or what must not be in a name. */
static struct name take_name(struct cursor *in)
{
    static const char names[] = "abcd.. /x";
    unsigned v = take(in);

    return (struct name){names + v % 8, v / 8 % 3};
}

static struct blob *take_value(struct cursor *in)
{
    size_t size = 8 * (size_t)take(in); /* up to 2040 bytes: some are too long */
    struct blob *b = blob_new_uninit(size);

    memset(b->data, 'v', size);
    return b;
}

static struct lock take_lock(struct cursor *in)
{
    unsigned v = take(in), range = take(in);
    struct lock l = {.kind = (enum lock_kind)(v % 3),
                     .type = (enum lock_type)(v / 3 % 3),
                     .owner = v / 9 % 4,
                     .start = range % 16,
                     .end = range / 16};

    if (range % 4 == 0) {
        l.start = 0;
        l.end = UINT64_MAX;
    }
    return l;
}

static void ask_setxattr(struct cursor *in, struct request *r)
{
    static const char *const names[] = {
        "user.a", "user.b", "user.zabfs.quota", "user.zabfs.ephemeral", "user.zabfs.name", "x"};
    static const char *const values[] = {"1K 5", "- 9", "session", "open", ""};
    const char *name, *value;

    r->u.setxattr.id = take(in);
    name = names[take(in) % 6];
    value = values[take(in) % 5];
    r->u.setxattr.name = (struct name){name, (uint32_t)strlen(name)};
    r->u.setxattr.value = blob_new(value, strlen(value));
    r->u.setxattr.flags = take(in) % (SETXATTR_ALL + 1);
}

/* Steps in few bytes: the paths are one or two letters deep. */
static void ask_txn(struct cursor *in, struct request *r, struct txn_step *steps)
{
    static const char *const paths[] = {"/a", "/b", "/a/b", "/b/a", "/c#", "/", "/a/", "x"};

    r->u.txn.count = take(in) % (TXN_MAX + 1);
    r->u.txn.steps = steps;
    for (uint32_t i = 0; i < r->u.txn.count; i++) {
        const char *path = paths[take(in) % 8];
        unsigned v = take(in);

        steps[i].kind = (enum txn_step_kind)(TXN_CHECK + v % TXN_RENAME);
        steps[i].version = v / 16 % 4;
        steps[i].path = (struct name){path, (uint32_t)strlen(path)};
        path = paths[v % 8];
        steps[i].value = v < 200 ? blob_new(path, strlen(path)) : NULL;
    }
}

static void ask_write(struct cursor *in, struct request *r)
{
    switch (r->op) {
    case OP_CREATE:
        r->u.create.dir = take(in);
        r->u.create.name = take_name(in);
        r->u.create.type = (enum node_type)(1 + take(in) % 3);
        r->u.create.flags = take(in) % 8;
        r->u.create.life = (enum node_life)(r->u.create.flags / 2 % 3);
        r->u.create.flags %= CREATE_ALL + 1;
        r->u.create.value = r->u.create.type == NODE_DIR ? NULL : take_value(in);
        break;
    case OP_SET:
        r->u.set.id = take(in);
        r->u.set.if_version = take(in);
        r->u.set.value = take_value(in);
        break;
    case OP_APPEND:
        r->u.append.id = take(in);
        r->u.append.value = take_value(in);
        break;
    case OP_SETATTR:
        r->u.setattr.id = take(in);
        r->u.setattr.mask = take(in) % (SETATTR_ALL + 1);
        r->u.setattr.size = 8 * take(in);
        r->u.setattr.mode = take(in);
        break;
    case OP_REMOVE:
        r->u.remove.dir = take(in);
        r->u.remove.name = take_name(in);
        r->u.remove.flags = take(in) % (REMOVE_ALL + 1);
        r->u.remove.id = r->u.remove.dir % 16 == 0 ? take(in) : 0;
        break;
    case OP_RENAME:
        r->u.rename.dir = take(in);
        r->u.rename.name = take_name(in);
        r->u.rename.to_dir = take(in);
        r->u.rename.to_name = take_name(in);
        r->u.rename.flags = take(in) % (RENAME_FLAG_ALL + 1);
        break;
    case OP_SETXATTR:
        ask_setxattr(in, r);
        break;
    case OP_LOCK:
        r->u.lock.id = take(in);
        r->u.lock.lock = take_lock(in);
        r->u.lock.wait = take(in) % 2;
        break;
    case OP_SESSION_OPEN:
        r->u.session_open.key.bytes[0] = (uint8_t)take(in);
        r->u.session_open.timeout_ms = 1000 * take(in);
        break;
    default:
        r->u.session_close.session = take(in) % 4;
        break;
    }
}

static void ask_read(struct cursor *in, struct request *r, uint64_t *ids)
{
    switch (r->op) {
    case OP_HELLO:
        r->u.hello.version = CLIENT_PROTOCOL_VERSION + (take(in) == 255);
        r->u.hello.key.bytes[0] = (uint8_t)(take(in) % 4);
        r->u.hello.resume = take(in) % 2;
        r->u.hello.index_seen = take(in) % 16;
        r->u.hello.timeout_ms = 1000 * take(in);
        break;
    case OP_LOOKUP:
        r->u.lookup.dir = take(in);
        r->u.lookup.name = take_name(in);
        break;
    case OP_READDIR:
        r->u.readdir.dir = take(in);
        r->u.readdir.after = take(in);
        r->u.readdir.size_max = 1 + 8 * take(in);
        r->u.readdir.at = r->u.readdir.dir > 128 ? take(in) : 0;
        break;
    case OP_XATTRS:
    case OP_STATFS:
        r->u.xattrs.id = r->u.statfs.id = take(in);
        break;
    case OP_EVENTS:
        r->u.events.on = take(in) % 4 != 0;
        r->u.events.index_from = take(in);
        break;
    case OP_LOG:
        r->u.log.dir = take(in);
        r->u.log.name = take_name(in);
        r->u.log.after = take(in);
        break;
    case OP_LOCK_TEST:
        r->u.lock_test.id = take(in);
        r->u.lock_test.lock = take_lock(in);
        break;
    case OP_LOCKS:
        r->u.locks.id = take(in) % 8;
        r->u.locks.after = take(in) % 8;
        break;
    case OP_INTEREST:
    case OP_FORGET:
        r->u.interest.index_from = take(in) % 16;
        r->u.interest.count = 1;
        ids[0] = take(in);
        r->u.interest.ids = ids;
        break;
    case OP_SYNC:
        r->u.sync.quorum = take(in) % 2;
        break;
    case OP_BACKUP:
        r->u.backup.offset = 16 * take(in);
        r->u.backup.size_max = 1 + 16 * take(in);
        break;
    default: /* GETATTR and READ, or no field at all */
        r->u.getattr.id = take(in);
        break;
    }
}

static void ask(struct world *w, struct cursor *in)
{
    static const enum op ops[] = {
        OP_HELLO,  OP_LOOKUP,       OP_GETATTR,       OP_READ,   OP_READDIR,   OP_STATFS,
        OP_STATUS, OP_SYNC,         OP_PING,          OP_BACKUP, OP_FORGET,    OP_CREATE,
        OP_SET,    OP_APPEND,       OP_INTEREST,      OP_REMOVE, OP_SETATTR,   OP_CREATE,
        OP_CREATE, OP_SESSION_OPEN, OP_SESSION_CLOSE, OP_RENAME, OP_SETXATTR,  OP_LOCK,
        OP_TXN,    OP_XATTRS,       OP_EVENTS,        OP_LOG,    OP_LOCK_TEST, OP_LOCKS,
    };
    struct txn_step steps[TXN_MAX] = {{0}};
    unsigned stream = take(in), v = take(in);
    struct request r = {.op = ops[v % (sizeof(ops) / sizeof(ops[0]))]};
    struct buf frame = {0};
    uint64_t ids[1];

    r.xid = v < 224 ? ++w->xid_next : w->xid_next - v % 4; /* an old number: a repetition */
    r.xid_floor = v < 64 ? r.xid : 0;
    r.deadline_ms = 1000;
    if (r.op == OP_TXN) {
        ask_txn(in, &r, steps);
    } else if (op_is_write(r.op)) {
        ask_write(in, &r);
    } else {
        ask_read(in, &r, ids);
    }
    codec_encode_request(&frame, &r);
    say(w, stream, frame.data, frame.size);
    for (uint32_t i = 0; i < TXN_MAX; i++) {
        blob_unref(steps[i].value);
    }
    if (r.op == OP_CREATE || r.op == OP_SET || r.op == OP_APPEND || r.op == OP_SETXATTR) {
        codec_request_done(&r);
    }
    buf_done(&frame);
}

static void raw(struct world *w, struct cursor *in)
{
    unsigned stream = take(in);
    size_t size = take(in) | take(in) << 8;
    const uint8_t *bytes;

    size = size < cur_left(in) ? size : cur_left(in);
    CHECK(cur_bytes(in, size, &bytes));
    say(w, stream, bytes, size);
}

static void close_stream(struct world *w, unsigned stream)
{
    uint64_t *conn = &w->conns[stream % STREAMS];

    if (*conn != 0) {
        node_client_closed(w->node, *conn);
        *conn = 0;
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void check_state(const struct tree *t)
{
    struct tree_loader *l = tree_loader_new();
    struct tree *loaded = NULL;
    struct tree_image it;
    uint8_t piece[4096];
    size_t size;

    CHECK(tree_audit(t) == tree_digest(t));
    tree_image_begin(&it, t);
    while ((size = tree_image_read(&it, piece, sizeof(piece))) > 0) {
        CHECK(tree_loader_feed(l, piece, size) == 0);
    }
    CHECK(tree_loader_finish(l, &loaded) == 0);
    CHECK(tree_digest(loaded) == tree_digest(t));
    tree_free(loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct cursor in = cur_make(bytes, size);
    struct world w;

    world_start(&w);
    for (int i = 0; i < STEPS_MAX && cur_left(&in) > 0; i++) {
        switch ((enum step)(take(&in) % STEPS)) {
        case STEP_RAW:
            raw(&w, &in);
            break;
        case STEP_ASK:
            ask(&w, &in);
            break;
        case STEP_TICK:
            tick(&w, TICK_MS * (uint64_t)take(&in));
            break;
        case STEP_CLOSE:
            close_stream(&w, take(&in));
            break;
        case STEP_TURN:
        case STEPS:
            turn(&w);
            break;
        }
    }
    turn(&w);
    node_audit(w.node);
    check_state(node_tree(w.node));
    node_free(w.node);
    return 0;
}

/* A session, and after it an op, with all its fields the same small number. */
void fuzz_seed(unsigned i, struct buf *b)
{
    enum { OPS = 30, FIELDS = 6 };
    static const uint8_t hello[] = {STEP_ASK, 0, 0, 0, 1, 0, 0, 10, STEP_TURN};

    buf_put(b, hello, sizeof(hello));
    for (uint8_t op = 0; op < 2; op++) {
        buf_put_u8(b, STEP_ASK);
        buf_put_u8(b, 0);
        buf_put_u8(b, (uint8_t)(op == 0 ? 11 : i % OPS)); /* first a CREATE */
        for (int k = 0; k < FIELDS; k++) {
            buf_put_u8(b, 1);
        }
        buf_put_u8(b, STEP_TURN);
    }
    buf_put_u8(b, i / OPS % 2 ? STEP_TICK : STEP_CLOSE);
    buf_put_u8(b, i / OPS % 2 ? 255 : 0);
}
