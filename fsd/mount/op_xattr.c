/* Extended attributes. Those under "user.zabfs." show what the ensemble knows of a node, and two of
 * them are settings of a directory; the other "user." ones are stored. Everything else is answered
 * here: the kernel asks for security.capability at each write.
 *
 * Numbers that are among a node's attributes are shown from the table while they are known to be
 * the newest; the rest is asked of the member. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "blob.h"
#include "bytes.h"
#include "call.h"
#include "control.h"
#include "err.h"

#define OURS "user.zabfs."

/* What is shown under OURS. */
enum shown {
    SHOWN_NAME,
    SHOWN_NUMBER, /* the uint64_t at `offset` of the attributes */
    SHOWN_LIFE,   /* of an ephemeral; a directory's rule is among what is stored */
    SHOWN_FENCE,
    SHOWN_USAGE,
    SHOWN_STORED,
};

static const struct entry {
    const char *name;
    enum shown shown;
    size_t offset;
} entries[] = {
    {OURS "name", SHOWN_NAME, 0},
    {OURS "fence", SHOWN_FENCE, 0},
    {OURS "czxid", SHOWN_NUMBER, offsetof(struct attr, czxid)},
    {OURS "mzxid", SHOWN_NUMBER, offsetof(struct attr, mzxid)},
    {OURS "pzxid", SHOWN_NUMBER, offsetof(struct attr, pzxid)},
    {OURS "version", SHOWN_NUMBER, offsetof(struct attr, version)},
    {OURS "cversion", SHOWN_NUMBER, offsetof(struct attr, cversion)},
    {OURS "aversion", SHOWN_NUMBER, offsetof(struct attr, aversion)},
    {OURS "owner", SHOWN_NUMBER, offsetof(struct attr, owner)},
    {OURS "usage", SHOWN_USAGE, 0},
    {OURS "ephemeral", SHOWN_LIFE, 0},
};
enum { ENTRY_COUNT = sizeof(entries) / sizeof(entries[0]) };

static const struct entry *entry_find(const char *name)
{
    for (int n = 0; n < ENTRY_COUNT; n++) {
        if (strcmp(entries[n].name, name) == 0) {
            return &entries[n];
        }
    }
    return NULL;
}

static bool is_user(const char *name)
{
    return strncmp(name, "user.", 5) == 0;
}

static bool is_setting(const char *name)
{
    return strcmp(name, OURS "quota") == 0 || strcmp(name, OURS "ephemeral") == 0;
}

/* --- answers --------------------------------------------------------------------------------- */

static void reply_sized(struct call *c, const void *bytes, size_t size)
{
    if (c->size == 0) {
        fuse_reply_xattr(c->req, size);
    } else if (size > c->size) {
        fuse_reply_err(c->req, ERANGE);
    } else {
        fuse_reply_buf(c->req, bytes, size);
    }
    call_end(c);
}

__attribute__((format(printf, 2, 3))) static void reply_text(struct call *c, const char *fmt, ...)
{
    char text[64];
    va_list args;
    int size;

    va_start(args, fmt);
    size = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    reply_sized(c, text, (size_t)size);
}

static void reply_number(struct call *c, const struct attr *a, size_t offset)
{
    uint64_t number;

    memcpy(&number, (const char *)a + offset, sizeof(number));
    reply_text(c, "%" PRIu64, number);
}

static const struct xattr *stored_find(const struct reply *r, const char *name)
{
    size_t size = strlen(name);

    for (uint32_t n = 0; n < r->u.xattrs.count; n++) {
        const struct xattr *x = &r->u.xattrs.list[n];

        if (x->name.size == size && memcmp(x->name.bytes, name, size) == 0) {
            return x;
        }
    }
    return NULL;
}

static void reply_stored(struct call *c, const struct reply *r)
{
    const struct xattr *x = stored_find(r, c->name);

    if (x == NULL) {
        call_reply_errno(c, ENODATA);
    } else {
        reply_sized(c, x->value != NULL ? x->value->data : NULL,
                    x->value != NULL ? x->value->size : 0);
    }
}

/* --- GETXATTR -------------------------------------------------------------------------------- */

static void on_value(struct call *c, const struct reply *r)
{
    const struct entry *e = entry_find(c->name);

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    inode_update(c->inode, &r->u.xattrs.attr, r->index);
    switch (e != NULL ? e->shown : SHOWN_STORED) {
    case SHOWN_NUMBER:
        reply_number(c, &r->u.xattrs.attr, e->offset);
        break;
    case SHOWN_FENCE:
        reply_text(c, "%" PRIu64, r->u.xattrs.fence);
        break;
    case SHOWN_USAGE:
        reply_text(c, "%" PRIu64 " %" PRIu64, r->u.xattrs.bytes, r->u.xattrs.nodes);
        break;
    default:
        reply_stored(c, r);
        break;
    }
}

static void value_now(struct call *c)
{
    const struct inode *i = c->inode;
    const struct entry *e = entry_find(c->name);

    if (e != NULL && e->shown == SHOWN_NUMBER && i->attr_fresh && i->attr.id != 0) {
        reply_number(c, &i->attr, e->offset);
    } else if (e != NULL && e->shown == SHOWN_USAGE && i->attr.type != NODE_DIR) {
        call_reply_errno(c, ENODATA);
    } else if (e != NULL && e->shown == SHOWN_LIFE && i->attr.life != LIFE_PERMANENT) {
        reply_text(c, "%s", i->attr.life == LIFE_OPEN ? "open" : "session");
    } else {
        call_submit(c, &(struct request){.op = OP_XATTRS, .u.xattrs.id = i->id}, on_value);
    }
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t cap)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = control_has(ino) ? NULL : inode_of(m, ino);
    struct call *c;

    if (strncmp(name, "system.posix_acl_", 17) == 0) {
        op_refuse(req, EOPNOTSUPP);
        return;
    }
    if (i == NULL || !is_user(name)) {
        op_refuse(req, ENODATA);
        return;
    }
    c = call_new(m, req, i, NULL);
    c->size = cap;
    call_set_name(c, name);
    if (strcmp(name, OURS "name") != 0) {
        linear_begin(c, value_now);
    } else if (i->name_size == 0) {
        call_reply_errno(c, ENODATA); /* the root */
    } else {
        reply_sized(c, i->name, i->name_size);
    }
}

/* --- LISTXATTR ------------------------------------------------------------------------------- */

/* What is only shown is not listed: cp -a, mv and rsync -X copy all that is, and cannot set it. */

static void on_names(struct call *c, const struct reply *r)
{
    struct buf names = {0};

    if (r->err != 0) {
        call_reply_err(c, r->err);
        return;
    }
    inode_update(c->inode, &r->u.xattrs.attr, r->index);
    for (uint32_t n = 0; n < r->u.xattrs.count; n++) {
        buf_put(&names, r->u.xattrs.list[n].name.bytes, r->u.xattrs.list[n].name.size);
        buf_put(&names, "", 1);
    }
    reply_sized(c, names.data, names.size);
    buf_done(&names);
}

static void names_now(struct call *c)
{
    call_submit(c, &(struct request){.op = OP_XATTRS, .u.xattrs.id = c->inode->id}, on_names);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t cap)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = control_has(ino) ? NULL : inode_of(m, ino);
    struct call *c = call_new(m, req, i, NULL);

    c->size = cap;
    if (i == NULL) {
        reply_sized(c, NULL, 0);
    } else {
        linear_begin(c, names_now);
    }
}

/* --- SETXATTR, REMOVEXATTR ------------------------------------------------------------------- */

static void on_set(struct call *c, const struct reply *r)
{
    if (r->err == 0) {
        inode_update(c->inode, &r->u.attr, r->index);
    }
    call_reply_err(c, r->err);
}

static void set(fuse_req_t req, fuse_ino_t ino, const char *name, struct blob *value,
                uint32_t flags)
{
    struct mount *m = fuse_req_userdata(req);
    struct inode *i = control_has(ino) ? NULL : inode_of(m, ino);
    struct call *c;

    if (!is_user(name)) {
        op_refuse(req, EOPNOTSUPP);
    } else if (control_has(ino) || (strncmp(name, OURS, strlen(OURS)) == 0 && !is_setting(name))) {
        op_refuse(req, EPERM);
    } else if (i == NULL) {
        op_refuse(req, local_has(ino) ? EOPNOTSUPP : ESTALE);
    } else if (m->options->read_only) {
        op_refuse(req, EROFS);
    } else {
        c = call_new(m, req, i, NULL);
        c->data = blob_ref(value);
        call_set_name(c, name);
        call_submit(
            c,
            &(struct request){
                .op = OP_SETXATTR,
                .u.setxattr = {.id = i->id, .name = call_name(c), .value = value, .flags = flags}},
            on_set);
    }
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
    struct blob *blob = size > 0 ? blob_new(value, size) : NULL;

    set(req, ino, name, blob,
        (flags & XATTR_CREATE ? SETXATTR_CREATE : 0U) |
            (flags & XATTR_REPLACE ? SETXATTR_REPLACE : 0U));
    blob_unref(blob);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    set(req, ino, name, NULL, SETXATTR_REMOVE);
}
