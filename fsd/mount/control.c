#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blob.h"
#include "bytes.h"
#include "call.h"
#include "err.h"
#include "mem.h"

/* All of it is made up on the spot; the text of `status` when it is opened. */
static const struct control_node {
    uint64_t id;
    const char *name;
    mode_t mode;
} nodes[] = {
    {CONTROL_ID_MIN, ".zabfs", S_IFDIR | 0555},
    {CONTROL_ID_MIN + 1, "status", S_IFREG | 0444},
    {CONTROL_ID_MIN + 2, "sync", S_IFREG | 0444},
};
enum { NODE_COUNT = sizeof(nodes) / sizeof(nodes[0]), CONTROL_DIR = 0, CONTROL_STATUS = 1 };

static const struct control_node *node_of(fuse_ino_t ino)
{
    return ino - CONTROL_ID_MIN < NODE_COUNT ? &nodes[ino - CONTROL_ID_MIN] : NULL;
}

static void node_stat(const struct control_node *n, struct stat *ret)
{
    *ret = (struct stat){.st_ino = n->id,
                         .st_mode = n->mode,
                         .st_nlink = S_ISDIR(n->mode) ? 2 : 1,
                         .st_blksize = 4096};
    clock_gettime(CLOCK_REALTIME, &ret->st_mtim);
    ret->st_atim = ret->st_ctim = ret->st_mtim;
}

bool control_is_name(const char *name)
{
    return strcmp(name, nodes[CONTROL_DIR].name) == 0;
}

static const struct control_node *find(fuse_ino_t parent, const char *name)
{
    if (parent == TREE_ROOT_ID) {
        return &nodes[CONTROL_DIR];
    }
    for (int n = CONTROL_DIR + 1; n < NODE_COUNT; n++) {
        if (parent == CONTROL_ID_MIN && strcmp(name, nodes[n].name) == 0) {
            return &nodes[n];
        }
    }
    return NULL;
}

bool control_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct control_node *n;
    struct fuse_entry_param e = {.generation = 1, .entry_timeout = CACHE_TIMEOUT_S};

    (void)m;
    if (!control_has(parent) && !(parent == TREE_ROOT_ID && control_is_name(name))) {
        return false;
    }
    n = find(parent, name);
    if (n == NULL) {
        op_refuse(req, ENOENT);
        return true;
    }
    e.ino = n->id;
    node_stat(n, &e.attr);
    fuse_reply_entry(req, &e);
    return true;
}

void control_getattr(fuse_req_t req, fuse_ino_t ino)
{
    const struct control_node *n = node_of(ino);
    struct stat st;

    if (n == NULL) {
        op_refuse(req, ENOENT);
        return;
    }
    node_stat(n, &st);
    fuse_reply_attr(req, &st, 0);
}

void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
    char bytes[1024];
    size_t cap = size < sizeof(bytes) ? size : sizeof(bytes);
    size_t used = 0;

    (void)ino;
    for (off_t n = offset; n < NODE_COUNT + 1; n++) {
        const struct control_node *node = n < 2 ? &nodes[CONTROL_DIR] : &nodes[n - 1];
        const char *name = n == 0 ? "." : n == 1 ? ".." : node->name;
        struct fuse_entry_param e = {0}; /* no ino: gives no reference */
        size_t one;

        node_stat(node, &e.attr);
        one = plus ? fuse_add_direntry_plus(req, bytes + used, cap - used, name, &e, n + 1)
                   : fuse_add_direntry(req, bytes + used, cap - used, name, &e.attr, n + 1);
        if (one > cap - used) {
            break;
        }
        used += one;
    }
    fuse_reply_buf(req, bytes, used);
}

/* --- status ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void put_line(struct buf *b, const char *fmt, ...)
{
    char line[512];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    buf_put(b, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    buf_put(b, "\n", 1);
}

static void put_client(struct buf *b, const struct mount *m)
{
    struct client_info info = {0};

    if (m->client != NULL) {
        client_info(m->client, &info);
    }
    put_line(b, "state=%s", m->attached ? "attached" : "connecting");
    put_line(b, "session=%" PRIu64, info.session);
    put_line(b, "member=%" PRIu32, info.member);
    put_line(b, "server=%s", info.server);
    put_line(b, "index=%" PRIu64, info.index_seen);
    put_line(b, "in_flight=%" PRIu32, info.in_flight);
    put_line(b, "idle_ms=%" PRIu64, info.idle_ms);
    put_line(b, "reconnects=%" PRIu64, info.reconnects);
    put_line(b, "sessions_lost=%" PRIu64, info.sessions_lost);
    put_line(b, "value_size_max=%" PRIu32, m->value_size_max);
}

static void put_mount(struct buf *b, const struct mount *m)
{
    struct replay_info replay;

    replay_info(m->replay, &replay);
    put_line(b, "inodes=%zu", inodes_count(&m->inodes));
    put_line(b, "cached_bytes=%zu", m->values.size);
    put_line(b, "invalidations_queued=%zu", notify_queued(m->notify));
    put_line(b, "replays=%" PRIu64, replay.done);
    put_line(b, "replays_failed=%" PRIu64, replay.failed);
    put_line(b, "replays_queued=%zu", replay.queued);
    put_line(b, "overflows=%" PRIu64, replay.overflows);
    put_line(b, "helper_restarts=%" PRIu64, replay.restarts);
}

/* What the member says of itself, under names of its own. */
static void put_member(struct buf *b, const struct reply *r)
{
    put_line(b, "member_answers=%s", r->err == 0 ? "yes" : "no");
    for (uint32_t n = 0; r->err == 0 && n < r->u.status.count; n++) {
        const struct status_field *f = &r->u.status.fields[n];

        put_line(b, "member_%.*s=%.*s", (int)f->key.size, f->key.bytes, (int)f->value.size,
                 f->value.bytes);
    }
}

static void open_text(struct call *c, const void *bytes, size_t size)
{
    struct handle *h = handle_new(c->m, HANDLE_CONTROL, NULL);

    h->snapshot = size > 0 ? blob_new(bytes, size) : NULL;
    c->fi.direct_io = 1;
    c->fi.noflush = 1;
    call_reply_open(c, h);
}

static void on_status(struct call *c, const struct reply *r)
{
    struct buf b = {0};

    put_client(&b, c->m);
    put_mount(&b, c->m);
    put_member(&b, r);
    open_text(c, b.data, b.size);
    buf_done(&b);
}

void control_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct call *c;

    if ((fi->flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY) {
        op_refuse(req, EACCES);
        return;
    }
    fi->fh = 0;
    c = call_new(m, req, NULL, fi);
    if (ino == nodes[CONTROL_STATUS].id) {
        call_submit(c, &(struct request){.op = OP_STATUS, .deadline_ms = CONTROL_STATUS_WAIT_MS},
                    on_status);
    } else {
        open_text(c, NULL, 0);
    }
}
