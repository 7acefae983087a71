/* Blocking helpers for command-line programs, which have nothing else to do while they wait. */
#include <string.h>

#include "client.h"
#include "client_int.h"

#include "check.h"
#include "err.h"

struct call {
    struct client *c;
    struct reply *ret;
    bool done;
};

/* A reply borrows names from its frame, which is gone after this callback: keeps a copy of the
 * frame, and what is decoded from that. */
static void on_call_done(void *ctx, void *arg, const struct reply *r)
{
    struct call *call = arg;
    struct client *c = call->c;
    struct message m;
    int rc;

    (void)ctx;
    call->done = true;
    if (r->err != 0) {
        *call->ret = (struct reply){.op = r->op, .xid = r->xid, .err = r->err, .index = r->index};
        return;
    }
    CHECK(c->frame != NULL); /* success comes from a member only */
    c->call_frame.size = 0;
    buf_put(&c->call_frame, c->frame, c->frame_size);
    rc = codec_decode(c->call_frame.data, c->call_frame.size, &m);
    CHECK(rc == 0); /* it was decoded before */
    *call->ret = m.u.reply;
}

int client_call(struct client *c, const struct request *r, struct reply *ret)
{
    struct call call = {.c = c, .ret = ret};

    client_submit(c, r, on_call_done, &call);
    while (!call.done) {
        uv_run(c->loop, UV_RUN_ONCE);
    }
    return ret->err;
}

/* The next name of a path, "/" skipped; false at its end. */
static bool path_next(const char **path, struct name *ret)
{
    const char *at = *path + strspn(*path, "/");
    size_t size = strcspn(at, "/");

    if (size == 0) {
        return false;
    }
    *path = at + size;
    *ret = (struct name){at, (uint32_t)size};
    return true;
}

static int call_for_attr(struct client *c, const struct request *r, struct attr *ret)
{
    struct reply reply;
    int err = client_call(c, r, &reply);

    if (err == 0) {
        *ret = reply.u.attr;
        codec_reply_done(&reply);
    }
    return err;
}

/* From the root over the names of `path` that begin before `end`. */
static int walk(struct client *c, const char *path, const char *end, uint64_t at, struct attr *ret)
{
    struct request root = {.op = OP_GETATTR, .u.getattr = {TREE_ROOT_ID, at}};
    struct attr attr;
    struct name name;
    int err;

    if (path[0] != '/') {
        return ERR_INVAL;
    }
    err = call_for_attr(c, &root, &attr);
    while (err == 0 && path_next(&path, &name) && name.bytes < end) {
        struct request lookup = {.op = OP_LOOKUP, .u.lookup = {attr.id, name, at}};

        err = attr.type == NODE_DIR ? call_for_attr(c, &lookup, &attr) : ERR_NOTDIR;
    }
    if (err == 0) {
        *ret = attr;
    }
    return err;
}

int client_walk(struct client *c, const char *path, struct attr *ret)
{
    return client_walk_at(c, path, 0, ret);
}

int client_walk_at(struct client *c, const char *path, uint64_t at, struct attr *ret)
{
    const char *end = path + strlen(path);
    struct attr attr;
    int err = walk(c, path, end, at, &attr);

    if (err == 0 && end[-1] == '/' && attr.type != NODE_DIR) {
        err = ERR_NOTDIR;
    }
    if (err == 0) {
        *ret = attr;
    }
    return err;
}

int client_walk_parent(struct client *c, const char *path, struct attr *ret_dir,
                       struct name *ret_name)
{
    const char *at = path;
    struct name name = {0};
    struct attr dir;
    int err;

    while (path_next(&at, &name)) {
    }
    if (name.size == 0) {
        return ERR_INVAL; /* the root is in no directory */
    }
    err = walk(c, path, name.bytes, 0, &dir);
    if (err == 0 && dir.type != NODE_DIR) {
        err = ERR_NOTDIR;
    }
    if (err == 0) {
        *ret_dir = dir;
        *ret_name = name;
    }
    return err;
}
