/* What is under .zabfs, and who answers for it. The files are a table; `at` is the directory of the
 * past; `events` and the nodes of the past are made when they are looked up. */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blob.h"
#include "check.h"
#include "control_int.h"
#include "limits.h"
#include "mem.h"

static const struct control_file file_status = {
    .name = "status", .mode = 0444, .open = control_open_status};
static const struct control_file file_members = {
    .name = "members", .mode = 0444, .open = control_open_members};
static const struct control_file file_leader = {
    .name = "leader", .mode = 0444, .open = control_open_leader};
static const struct control_file file_session = {
    .name = "session", .mode = 0444, .open = control_open_session};
static const struct control_file file_metrics = {
    .name = "metrics", .mode = 0444, .open = control_open_metrics};

static void open_empty(struct call *c, struct control_node *n)
{
    (void)n;
    control_open_text(c, NULL, 0);
}

static const struct control_file file_sync = {.name = "sync", .mode = 0444, .open = open_empty};

/* Listed in this order; ids follow those of the two directories. `events` stands for a name that
 * gives another node each time. */
static const struct control_file *const files[] = {
    &file_status,  &file_sync,    &file_members,   &file_leader,
    &file_session, &file_metrics, &control_events, &control_txn,
};
enum {
    FILE_COUNT = sizeof(files) / sizeof(files[0]),
    FILE_ID_FIRST = 2, /* behind the directories */
};
#define DIR_NAME    ".zabfs"
#define PAST_NAME   "at"
#define NODE_ID_MIN (CONTROL_ID_MIN + (UINT64_C(1) << 32)) /* made on the way */

static const struct control_file *file_of(fuse_ino_t ino)
{
    uint64_t at = ino - CONTROL_ID_MIN - FILE_ID_FIRST;

    return at < FILE_COUNT ? files[at] : NULL;
}

bool control_is_name(const char *name)
{
    return strcmp(name, DIR_NAME) == 0;
}

/* --- nodes that come and go ------------------------------------------------------------------ */

struct control_node *control_node_find(struct mount *m, uint64_t id)
{
    struct control_node *n;

    HASH_FIND(hh, m->control.nodes, &id, sizeof(id), n);
    return n;
}

struct control_node *control_node_new(struct mount *m)
{
    struct control_node *n = mem_zalloc(sizeof(*n));

    n->id = NODE_ID_MIN + m->control.node_count++;
    HASH_ADD(hh, m->control.nodes, id, sizeof(n->id), n);
    return n;
}

struct control_node *control_node_past(struct mount *m, uint64_t index, const struct attr *attr,
                                       uint64_t parent)
{
    struct control_node key = {.past = {.index = index, .id = attr->id}};
    struct control_node *n;

    HASH_FIND(hh_past, m->control.past, &key.past, sizeof(key.past), n);
    if (n == NULL) {
        n = control_node_new(m);
        n->past = key.past;
        n->attr = *attr;
        n->parent = parent;
        HASH_ADD(hh_past, m->control.past, past, sizeof(n->past), n);
    }
    return n;
}

static void settle(struct mount *m, struct control_node *n)
{
    if (n->refs > 0 || n->pins > 0) {
        return;
    }
    HASH_DELETE(hh, m->control.nodes, n);
    if (n->file == NULL) {
        HASH_DELETE(hh_past, m->control.past, n);
    }
    mem_free(n);
}

void control_node_pin(struct control_node *n)
{
    n->pins++;
}

void control_node_unpin(struct mount *m, struct control_node *n)
{
    CHECK(n->pins > 0);
    n->pins--;
    settle(m, n);
}

void control_forget(struct mount *m, fuse_ino_t ino, uint64_t count)
{
    struct control_node *n = control_node_find(m, ino);

    if (n != NULL) {
        CHECK(n->refs >= count);
        n->refs -= count;
        settle(m, n);
    }
}

void control_done(struct mount *m)
{
    struct control_node *n, *next;

    HASH_ITER (hh, m->control.nodes, n, next) {
        n->refs = n->pins = 0;
        settle(m, n);
    }
}

void control_reply_node(struct mount *m, fuse_req_t req, struct control_node *n,
                        const struct stat *st, double timeout)
{
    struct fuse_entry_param e = {.ino = n->id,
                                 .generation = 1,
                                 .attr = *st,
                                 .entry_timeout = timeout,
                                 .attr_timeout = timeout};

    n->refs++;
    if (fuse_reply_entry(req, &e) != 0) {
        control_forget(m, n->id, 1);
    }
}

/* --- names and attributes -------------------------------------------------------------------- */

static void stat_of(uint64_t id, mode_t mode, bool owned, struct stat *ret)
{
    *ret = (struct stat){.st_ino = id,
                         .st_mode = mode,
                         .st_nlink = S_ISDIR(mode) ? 2 : 1,
                         .st_uid = owned ? getuid() : 0,
                         .st_gid = owned ? getgid() : 0,
                         .st_blksize = 4096};
    clock_gettime(CLOCK_REALTIME, &ret->st_mtim);
    ret->st_atim = ret->st_ctim = ret->st_mtim;
}

static bool is_dir(fuse_ino_t ino)
{
    return ino == CONTROL_ID_MIN || ino == CONTROL_PAST_DIR;
}

/* False: no such node. */
static bool node_stat(struct mount *m, fuse_ino_t ino, struct stat *ret)
{
    const struct control_file *f = file_of(ino);
    const struct control_node *n = control_node_find(m, ino);

    if (is_dir(ino)) {
        stat_of(ino, S_IFDIR | 0555, false, ret);
    } else if (f != NULL) {
        stat_of(ino, S_IFREG | f->mode, f->owned, ret);
    } else if (n != NULL && n->file != NULL) { /* a stream: all of them are one file to stat(2) */
        stat_of(CONTROL_ID_MIN + FILE_ID_FIRST + FILE_COUNT, S_IFREG | n->file->mode, false, ret);
        ret->st_size = (off_t)events_size(n);
    } else if (n != NULL) {
        past_stat(n, ret);
    }
    return is_dir(ino) || f != NULL || n != NULL;
}

static void reply_fixed(struct mount *m, fuse_req_t req, uint64_t id)
{
    struct fuse_entry_param e = {
        .ino = id, .generation = 1, .entry_timeout = CACHE_TIMEOUT_S, .attr_timeout = 0};

    CHECK(node_stat(m, id, &e.attr));
    fuse_reply_entry(req, &e);
}

/* "events" or "events?from=INDEX". */
static bool parse_events(const char *name, struct control_node *ret)
{
    static const char from[] = "?from=";
    char *end;

    if (strncmp(name, control_events.name, strlen(control_events.name)) != 0) {
        return false;
    }
    name += strlen(control_events.name);
    if (*name == '\0') {
        return true;
    }
    if (strncmp(name, from, strlen(from)) != 0) {
        return false;
    }
    name += strlen(from);
    errno = 0;
    ret->from = strtoull(name, &end, 10);
    ret->from_start = ret->from == 0;
    return *name >= '0' && *name <= '9' && *end == '\0' && errno == 0;
}

static void lookup_file(struct mount *m, fuse_req_t req, const char *name)
{
    struct control_node asked = {0};
    struct stat st;

    if (strcmp(name, PAST_NAME) == 0) {
        reply_fixed(m, req, CONTROL_PAST_DIR);
        return;
    }
    if (parse_events(name, &asked)) {
        struct control_node *n = control_node_new(m);

        n->file = &control_events;
        n->from = asked.from;
        n->from_start = asked.from_start;
        CHECK(node_stat(m, n->id, &st));
        control_reply_node(m, req, n, &st, 0);
        return;
    }
    for (int n = 0; n < FILE_COUNT; n++) {
        if (strcmp(name, files[n]->name) == 0) {
            reply_fixed(m, req, CONTROL_ID_MIN + FILE_ID_FIRST + (uint64_t)n);
            return;
        }
    }
    op_refuse(req, ENOENT);
}

bool control_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!control_has(parent) && !(parent == TREE_ROOT_ID && control_is_name(name))) {
        return false;
    }
    if (parent == TREE_ROOT_ID) {
        reply_fixed(m, req, CONTROL_ID_MIN);
    } else if (parent == CONTROL_ID_MIN) {
        lookup_file(m, req, name);
    } else {
        past_lookup(m, req, parent, name);
    }
    return true;
}

void control_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    const struct control_node *n = control_node_find(m, ino);
    struct stat st;

    if (node_stat(m, ino, &st)) {
        fuse_reply_attr(req, &st, n != NULL && n->file == NULL ? CACHE_TIMEOUT_S : 0);
    } else {
        op_refuse(req, ESTALE);
    }
}

static bool is_past(struct mount *m, fuse_ino_t ino)
{
    const struct control_node *n = control_node_find(m, ino);

    return ino == CONTROL_PAST_DIR || (n != NULL && n->file == NULL);
}

int control_refusal(struct mount *m, fuse_ino_t ino)
{
    return is_past(m, ino) ? EROFS : EACCES;
}

/* A size is what `>` sets where the file is not opened with O_TRUNC; it means nothing here. */
void control_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, int set)
{
    const struct control_file *f = file_of(ino);

    if (f != NULL && f->write != NULL &&
        (set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) == 0) {
        control_getattr(m, req, ino);
    } else {
        op_refuse(req, control_refusal(m, ino));
    }
}

void control_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
    struct control_node *n = control_node_find(m, ino);

    if (n == NULL || n->attr.type != NODE_SYMLINK) {
        op_refuse(req, EINVAL);
    } else {
        past_readlink(call_new(m, req, NULL, NULL), n);
    }
}

/* --- listing --------------------------------------------------------------------------------- */

static size_t put_entry(fuse_req_t req, char *at, size_t left, const char *name, struct stat *st,
                        off_t next, bool plus)
{
    struct fuse_entry_param e = {.attr = *st}; /* no ino: gives no reference */

    return plus ? fuse_add_direntry_plus(req, at, left, name, &e, next)
                : fuse_add_direntry(req, at, left, name, st, next);
}

/* The name at a place of a listing; NULL at its end. */
static const char *listed(uint64_t dir, off_t at, uint64_t *ret_id)
{
    *ret_id = dir;
    if (at < 2) {
        return at == 0 ? "." : "..";
    }
    if (dir == CONTROL_ID_MIN && at == 2) {
        *ret_id = CONTROL_PAST_DIR;
        return PAST_NAME;
    }
    if (dir == CONTROL_ID_MIN && at - 3 < FILE_COUNT) {
        *ret_id = CONTROL_ID_MIN + FILE_ID_FIRST + (uint64_t)at - 3;
        return files[at - 3]->name;
    }
    return NULL;
}

static void list(struct mount *m, fuse_req_t req, uint64_t dir, size_t size, off_t offset,
                 bool plus)
{
    char bytes[4096];
    size_t cap = size < sizeof(bytes) ? size : sizeof(bytes);
    size_t used = 0;
    const char *name;
    uint64_t id;

    for (off_t at = offset; (name = listed(dir, at, &id)) != NULL; at++) {
        struct stat st;
        size_t one;

        CHECK(node_stat(m, id, &st));
        one = put_entry(req, bytes + used, cap - used, name, &st, at + 1, plus);
        if (one > cap - used) {
            break;
        }
        used += one;
    }
    fuse_reply_buf(req, bytes, used);
}

void control_opendir(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct control_node *n = control_node_find(m, ino);
    struct handle *h;

    if (n != NULL) {
        fi->fh = 0;
        past_opendir(call_new(m, req, NULL, fi), n);
        return;
    }
    h = handle_new(m, HANDLE_CONTROL, NULL);
    h->control_dir = ino;
    fi->fh = (uintptr_t)h;
    if (fuse_reply_open(req, fi) != 0) {
        handle_free(m, h);
    }
}

void control_readdir(struct mount *m, fuse_req_t req, size_t size, off_t offset,
                     struct fuse_file_info *fi, bool plus)
{
    struct handle *h = handle_of(fi);
    struct call *c;

    if (h->control_node == NULL) {
        list(m, req, h->control_dir, size, offset, plus);
        return;
    }
    c = call_new(m, req, NULL, fi);
    c->offset = (uint64_t)offset;
    c->size = size;
    c->flags = plus;
    past_readdir(c);
}

/* --- open files ------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) void control_put_line(struct buf *b, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    buf_put(b, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    buf_put(b, "\n", 1);
}

void control_open_text(struct call *c, const void *bytes, size_t size)
{
    struct handle *h = handle_new(c->m, HANDLE_CONTROL, NULL);

    h->snapshot = size > 0 ? blob_new(bytes, size) : NULL;
    c->fi.direct_io = 1;
    c->fi.noflush = 1;
    call_reply_open(c, h);
}

void control_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct control_file *f = file_of(ino);
    struct control_node *n = control_node_find(m, ino);
    bool reads = (fi->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
    struct call *c;

    if (n != NULL && n->file != NULL) {
        f = n->file;
    }
    if (f == NULL && n == NULL) {
        op_refuse(req, ESTALE);
        return;
    }
    if (!reads && (f == NULL || f->write == NULL)) {
        op_refuse(req, control_refusal(m, ino));
        return;
    }
    fi->fh = 0;
    c = call_new(m, req, NULL, fi);
    if (f == NULL) {
        past_open(c, n);
        return;
    }
    f->open(c, n);
}

void control_read(struct call *c)
{
    const struct control_file *f = c->handle->control;
    const uint8_t *bytes;
    size_t size;

    if (f != NULL && f->read != NULL) {
        f->read(c);
        return;
    }
    handle_content(c->handle, &bytes, &size);
    if (c->offset >= size) {
        call_reply_bytes(c, NULL, 0);
    } else {
        size -= c->offset;
        call_reply_bytes(c, bytes + c->offset, size < c->size ? size : c->size);
    }
}

void control_write(struct call *c, const char *bytes)
{
    const struct control_file *f = c->handle->control;

    if (f != NULL && f->write != NULL) {
        f->write(c, bytes);
    } else {
        call_reply_errno(c, EBADF);
    }
}

void control_flush(struct call *c)
{
    const struct control_file *f = c->handle->control;

    if (f != NULL && f->flush != NULL) {
        f->flush(c);
    } else {
        call_reply_errno(c, 0);
    }
}

void control_fsync(struct call *c)
{
    const struct control_file *f = c->handle->control;

    if (f != NULL && f->fsync != NULL) {
        f->fsync(c);
    } else {
        barrier_begin(c);
    }
}

void control_release(struct mount *m, struct handle *h)
{
    if (h->control != NULL && h->control->release != NULL) {
        h->control->release(m, h);
    }
    if (h->control_node != NULL) {
        control_node_unpin(m, h->control_node);
        h->control_node = NULL;
    }
}

unsigned control_poll(const struct handle *h)
{
    return h->control != NULL && h->control->poll != NULL ? h->control->poll(h) : POLLIN | POLLOUT;
}
