/* .zabfs/at/INDEX: the tree as it was at an index, read-only. Each node of it is a node of this
 * mount, (index, id), which the kernel may keep for ever: the past does not change.
 *
 * Failures: an index that the member does not know any more, or not yet, and what is no number:
 * ENOENT. What was looked up before and has fallen out of the member's memory since: ESTALE. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "control_int.h"
#include "err.h"
#include "limits.h"
#include "mem.h"

enum { COOKIE_FIRST = 2 }; /* offsets 1 and 2 are those after "." and "..", cookies follow */

void past_stat(const struct control_node *n, struct stat *ret)
{
    attr_to_stat(&n->attr, ret);
    ret->st_ino = n->id; /* other versions of the node have other contents */
}

/* --- LOOKUP ---------------------------------------------------------------------------------- */

/* The call's offset is the index, its size the parent. */
static void on_found(struct call *c, const struct reply *r)
{
    struct mount *m = c->m;
    struct control_node *n;
    struct stat st;

    if (r->err != 0) {
        bool is_root = c->size == CONTROL_PAST_DIR;

        call_reply_errno(c, is_root && (r->err == ERR_COMPACTED || r->err == ERR_INVAL)
                                ? ENOENT
                                : err_to_errno(r->err));
        return;
    }
    n = control_node_past(m, c->offset, &r->u.attr, c->size);
    past_stat(n, &st);
    control_reply_node(m, c->req, n, &st, CACHE_TIMEOUT_S);
    call_end(c);
}

/* 0: not an index. */
static uint64_t parse_index(const char *name)
{
    char *end;
    uint64_t index;

    errno = 0;
    index = strtoull(name, &end, 10);
    return name[0] >= '1' && name[0] <= '9' && *end == '\0' && errno == 0 ? index : 0;
}

void past_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct control_node *dir = control_node_find(m, parent);
    uint64_t index = parent == CONTROL_PAST_DIR ? parse_index(name)
                     : dir != NULL              ? dir->past.index
                                                : 0;
    struct call *c;

    if (index == 0) {
        op_refuse(req, parent == CONTROL_PAST_DIR ? ENOENT : ESTALE);
        return;
    }
    c = call_new(m, req, NULL, NULL);
    c->offset = index;
    c->size = parent;
    call_set_name(c, name);
    if (parent == CONTROL_PAST_DIR) {
        call_submit(
            c, &(struct request){.op = OP_GETATTR, .u.getattr = {.id = TREE_ROOT_ID, .at = index}},
            on_found);
    } else if (strlen(name) > NAME_SIZE_MAX) {
        call_reply_errno(c, ENAMETOOLONG);
    } else {
        call_submit(
            c,
            &(struct request){.op = OP_LOOKUP,
                              .u.lookup = {.dir = dir->past.id, .name = call_name(c), .at = index}},
            on_found);
    }
}

/* --- OPEN, READLINK: the call's state is the node, pinned --------------------------------------
 */

static void read_value(struct call *c, struct control_node *n,
                       void (*done)(struct call *c, const struct reply *r))
{
    control_node_pin(n);
    c->state = n;
    call_submit(c,
                &(struct request){.op = OP_READ, .u.read = {.id = n->past.id, .at = n->past.index}},
                done);
}

static void on_value(struct call *c, const struct reply *r)
{
    struct control_node *n = c->state;
    struct handle *h;

    if (r->err != 0) {
        control_node_unpin(c->m, n);
        call_reply_err(c, r->err);
        return;
    }
    h = handle_new(c->m, HANDLE_CONTROL, NULL);
    h->control_node = n;
    h->snapshot = blob_ref(r->u.read.value);
    c->fi.noflush = 1;
    c->fi.keep_cache = 1;
    call_reply_open(c, h);
}

void past_open(struct call *c, struct control_node *n)
{
    read_value(c, n, on_value);
}

static void on_link(struct call *c, const struct reply *r)
{
    const struct blob *target = r->err == 0 ? r->u.read.value : NULL;
    char *text;

    control_node_unpin(c->m, c->state);
    if (target == NULL) {
        call_reply_err(c, r->err != 0 ? r->err : ERR_IO);
        return;
    }
    text = mem_zalloc(target->size + 1);
    memcpy(text, target->data, target->size);
    fuse_reply_readlink(c->req, text);
    mem_free(text);
    call_end(c);
}

void past_readlink(struct call *c, struct control_node *n)
{
    read_value(c, n, on_link);
}

/* --- listing --------------------------------------------------------------------------------- */

void past_opendir(struct call *c, struct control_node *n)
{
    struct handle *h;

    if (n->attr.type != NODE_DIR) {
        call_reply_errno(c, ENOTDIR);
        return;
    }
    h = handle_new(c->m, HANDLE_CONTROL, NULL);
    control_node_pin(n);
    h->control_node = n;
    c->fi.cache_readdir = 1;
    c->fi.keep_cache = 1;
    call_reply_open(c, h);
}

struct listing {
    struct call *c;
    char *bytes;
    size_t used, cap;
};

static bool put(struct listing *l, const char *name, const struct stat *st, off_t next)
{
    struct fuse_entry_param e = {.attr = *st}; /* no ino: gives no reference */
    size_t left = l->cap - l->used;
    size_t size = l->c->flags != 0
                      ? fuse_add_direntry_plus(l->c->req, l->bytes + l->used, left, name, &e, next)
                      : fuse_add_direntry(l->c->req, l->bytes + l->used, left, name, st, next);

    if (size > left) {
        return false;
    }
    l->used += size;
    return true;
}

static bool put_dots(struct listing *l, uint64_t offset)
{
    const struct control_node *n = l->c->handle->control_node;
    struct stat st = {.st_mode = S_IFDIR};

    for (; offset < COOKIE_FIRST; offset++) {
        st.st_ino = offset == 0 ? n->id : n->parent;
        if (!put(l, offset == 0 ? "." : "..", &st, (off_t)offset + 1)) {
            return false;
        }
    }
    return true;
}

static void on_page(struct call *c, const struct reply *r)
{
    struct listing l = {.c = c, .cap = c->size};
    char name[NAME_SIZE_MAX + 1];
    struct stat st;

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    l.bytes = mem_alloc(c->size);
    if (put_dots(&l, c->offset)) {
        for (uint32_t n = 0; n < r->u.readdir.count; n++) {
            const struct dirent_plus *d = &r->u.readdir.entries[n];

            memcpy(name, d->name.bytes, d->name.size);
            name[d->name.size] = '\0';
            attr_to_stat(&d->attr, &st);
            if (!put(&l, name, &st, (off_t)d->cookie + COOKIE_FIRST)) {
                break;
            }
        }
    }
    call_reply_bytes(c, l.bytes, l.used);
    mem_free(l.bytes);
}

void past_readdir(struct call *c)
{
    const struct control_node *n = c->handle->control_node;

    call_submit(c,
                &(struct request){
                    .op = OP_READDIR,
                    .u.readdir = {.dir = n->past.id,
                                  .after = c->offset > COOKIE_FIRST ? c->offset - COOKIE_FIRST : 0,
                                  .size_max = c->size < READDIR_SIZE_MAX ? (uint32_t)c->size
                                                                         : READDIR_SIZE_MAX,
                                  .at = n->past.index}},
                on_page);
}
