/* Listing. A listing is a stream of pages from the member; the offset of an entry is its cookie,
 * which stays with it for its life, so a listing may go on anywhere and shows every entry that is
 * there for the whole of it exactly once. A page that does not fit the caller's buffer is kept with
 * the open directory, until a change in the directory makes it old. */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "control.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "op_local.h"

enum { COOKIE_FIRST = 2 }; /* offsets 1 and 2 are those after "." and "..", cookies follow */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = inode_find(&m->inodes, ino);
    struct handle *h;

    if (control_has(ino)) {
        control_opendir(m, req, ino, fi);
        return;
    }
    if (i == NULL) {
        op_refuse(req, ESTALE);
        return;
    }
    h = handle_new(m, HANDLE_DIR, i);
    fi->fh = (uintptr_t)h;
    if (fuse_reply_open(req, fi) != 0) {
        handle_free(m, h);
    }
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);

    (void)ino;
    handle_free(m, handle_of(fi));
    fuse_reply_err(req, 0);
    interest_update(m);
}

/* --- filling the caller's buffer ------------------------------------------------------------- */

struct listing {
    struct call *c;
    char *bytes;
    size_t used, cap;
    struct inode_ids given; /* each counted once for the kernel */
};

static bool put(struct listing *l, const char *name, const struct fuse_entry_param *e, off_t next)
{
    bool plus = l->c->flags != 0;
    size_t left = l->cap - l->used;
    size_t size =
        plus ? fuse_add_direntry_plus(l->c->req, l->bytes + l->used, left, name, e, next)
             : fuse_add_direntry(l->c->req, l->bytes + l->used, left, name, &e->attr, next);

    if (size > left) {
        return false;
    }
    l->used += size;
    return true;
}

static bool put_dots(struct listing *l, uint64_t *offset)
{
    const struct inode *dir = l->c->inode;
    const struct inode *up = dir->parent != NULL ? dir->parent : dir;
    struct fuse_entry_param e = {.attr = {.st_mode = S_IFDIR}}; /* no ino: gives no reference */

    for (; *offset < COOKIE_FIRST; ++*offset) {
        e.attr.st_ino = *offset == 0 ? dir->id : up->id;
        if (!put(l, *offset == 0 ? "." : "..", &e, (off_t)*offset + 1)) {
            return false;
        }
    }
    return true;
}

static bool put_entry(struct listing *l, const struct dirent_plus *d, uint64_t index)
{
    struct mount *m = l->c->m;
    struct fuse_entry_param e = {0};
    char name[NAME_SIZE_MAX + 1];
    struct inode *i;
    bool fit;

    memcpy(name, d->name.bytes, d->name.size);
    name[d->name.size] = '\0';
    if (local_child(&m->locals, l->c->inode->id, name) != NULL) {
        return true; /* hidden by a file that only this mount has */
    }
    i = inode_find(&m->inodes, d->attr.id);
    if (i != NULL && i->ending) {
        return true;
    }
    if (l->c->flags == 0) {
        attr_to_stat(&d->attr, &e.attr);
        return put(l, name, &e, (off_t)d->cookie + COOKIE_FIRST);
    }
    i = inode_learn(&m->inodes, l->c->inode, d->name, &d->attr, index);
    inode_entry(m, i, &e);
    inode_show(&m->inodes, i);
    fit = put(l, name, &e, (off_t)d->cookie + COOKIE_FIRST);
    if (fit) {
        inode_ids_add(&l->given, i->id);
    } else {
        inode_kernel_forget(&m->inodes, i, 1);
    }
    inode_unpin(&m->inodes, i);
    return fit;
}

/* Files that only this mount has come behind all others, at offsets that are their ids. */
static void put_locals(struct listing *l, uint64_t offset)
{
    const struct inode *dir = l->c->inode;
    struct mount *m = l->c->m;
    struct local_file *f;

    while ((f = local_next(&m->locals, dir->id, offset)) != NULL) {
        struct fuse_entry_param e;

        op_local_entry(f, &e);
        if (!put(l, f->place.name, &e, (off_t)f->id)) {
            local_kernel_forget(&m->locals, f, 1);
            return;
        }
        if (l->c->flags != 0) {
            inode_ids_add(&l->given, f->id);
        } else {
            local_kernel_forget(&m->locals, f, 1); /* a plain listing gives no references */
        }
        offset = f->id;
    }
}

static void take_back(struct mount *m, const struct inode_ids *given)
{
    for (size_t n = 0; n < given->count; n++) {
        if (!op_local_forget(m, given->ids[n], 1)) {
            inode_kernel_forget(&m->inodes, inode_find(&m->inodes, given->ids[n]), 1);
        }
    }
}

/* False: there is no room for all of them. */
static bool put_entries(struct listing *l, uint64_t offset)
{
    const struct dir_page *p = &l->c->handle->page;

    for (uint32_t n = 0; n < p->count; n++) {
        if (p->entries[n].cookie + COOKIE_FIRST > offset &&
            !put_entry(l, &p->entries[n], p->index)) {
            return false;
        }
    }
    return true;
}

static void list_now(struct call *c);

/* All of the page is hidden. An answer with nothing in it would end the listing. */
static void list_behind_page(struct call *c)
{
    const struct dir_page *p = &c->handle->page;

    c->offset = p->entries[p->count - 1].cookie + COOKIE_FIRST;
    list_now(c);
}

/* Answers from the page that the handle keeps. */
static void answer(struct call *c)
{
    struct dir_page *p = &c->handle->page;
    struct listing l = {.c = c, .bytes = mem_alloc(c->size), .cap = c->size};
    uint64_t offset = c->offset;
    bool fit = put_dots(&l, &offset) && put_entries(&l, offset);

    if (fit && p->end) {
        put_locals(&l, offset);
    } else if (fit && l.used == 0 && p->count > 0) {
        mem_free(l.bytes);
        list_behind_page(c);
        return;
    }
    if (fuse_reply_buf(c->req, l.bytes, l.used) != 0) {
        take_back(c->m, &l.given);
    }
    inode_ids_done(&l.given);
    mem_free(l.bytes);
    call_end(c);
}

/* --- pages ----------------------------------------------------------------------------------- */

static void keep_page(struct dir_page *p, const struct reply *r, uint64_t after)
{
    size_t names_size = 0;
    char *at;

    dir_page_done(p);
    for (uint32_t n = 0; n < r->u.readdir.count; n++) {
        names_size += r->u.readdir.entries[n].name.size;
    }
    *p = (struct dir_page){
        .index = r->index, .after = after, .end = r->u.readdir.end, .count = r->u.readdir.count};
    if (p->count == 0) {
        return;
    }
    p->entries = mem_dup(r->u.readdir.entries, p->count * sizeof(*p->entries));
    p->names = at = mem_alloc(names_size);
    for (uint32_t n = 0; n < p->count; n++) {
        struct name *name = &p->entries[n].name;

        memcpy(at, name->bytes, name->size);
        name->bytes = at;
        at += name->size;
    }
}

static uint64_t after_of(uint64_t offset)
{
    return offset > COOKIE_FIRST ? offset - COOKIE_FIRST : 0;
}

static bool page_serves(const struct call *c)
{
    const struct dir_page *p = &c->handle->page;
    uint64_t after = after_of(c->offset);

    if (c->offset == 0 || p->index == 0 || p->index < c->inode->event_index || after < p->after) {
        return false; /* a listing from the start is always a new one */
    }
    return p->end || (p->count > 0 && p->entries[p->count - 1].cookie > after);
}

static void on_page(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    keep_page(&c->handle->page, r, after_of(c->offset));
    answer(c);
}

/* The first page is no larger than what the caller takes at once: it need not wait for more. */
static void list_now(struct call *c)
{
    bool small = c->offset == 0 && c->size < READDIR_SIZE_MAX;

    call_submit(
        c,
        &(struct request){.op = OP_READDIR,
                          .u.readdir = {.dir = c->inode->id,
                                        .after = after_of(c->offset),
                                        .size_max = small ? (uint32_t)c->size : READDIR_SIZE_MAX}},
        on_page);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *fi, bool plus)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);
    struct call *c;

    (void)ino;
    if (h->kind == HANDLE_CONTROL) {
        control_readdir(m, req, size, offset, fi, plus);
        return;
    }
    if (handle_is_expired(m, h)) {
        op_refuse(req, ESTALE);
        return;
    }
    c = call_new(m, req, h->inode, fi);
    c->offset = (uint64_t)offset;
    c->size = size;
    c->flags = plus;
    if (page_serves(c)) {
        answer(c);
    } else if (c->offset == 0) {
        linear_begin(c, list_now);
    } else {
        list_now(c); /* goes on where it is: never in an older state */
    }
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi)
{
    list(req, ino, size, offset, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    list(req, ino, size, offset, fi, true);
}
