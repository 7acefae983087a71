#include "tree_int.h"

#include <string.h>

#include "bytes.h"
#include "err.h"
#include "name.h"

/* The byte form of the state's parts. All integers are little-endian. A record is
 *     kind u8, size of the body u16, body
 * and the bodies are
 *     HEAD     magic 8 bytes, index, time, next node id
 *     NODE     type u8, name (u8 size, bytes), id, parent, cookie, version, aversion, czxid, mzxid,
 *              atime, mtime, ctime, uid u32, gid u32, mode u16,
 *              of a directory: create count, cversion, pzxid; marks u8 (see there), and what they
 *              say follows: life u8 and owner, fence, number of extended attributes u16; size of
 *              the value u32
 *     XATTR    name (u8 size, bytes), size of the value u32
 *     LOCK     kind u8, type u8, waiting u8, session, owner, start, end, pid u32, index
 *     SESSION  id, key 16 bytes, timeout u32, xid floor, label (u8 size, bytes)
 *     SLOT     op u8, name (u8 size, bytes; of a create, else empty), xid, index, err u32; without
 *              an error, of REMOVE: id, of CREATE SET APPEND SETATTR SETXATTR RENAME: the
 *              attributes, of RENAME also merged u8 and the id that is gone, of LOCK: granted u8
 *              and fence, of TXN: err u32, failed step u32, number of outcomes u32
 *     OUTCOME  xid, number of the step u32, id, version, name (u8 size, bytes)
 *     END      nodes, bytes of values, sessions, digest
 *
 * where a number without a type is u64. The bytes of a node's value follow its record, then its
 * extended attributes, each with its value behind it, then its locks; the outcomes of a transaction
 * follow the slot of its reply. What can be counted (children, links, what is below a directory) or
 * follows from the rest (settings of a directory) is not stored. */

static const uint8_t MAGIC[8] = {'z', 'a', 'b', 't', 'r', 'e', 'e', '2'};

/* What few nodes have. */
enum {
    MARK_EPHEMERAL = 1 << 0,
    MARK_BY_RULE = 1 << 1, /* beside the one above: a rule of its directory made it so */
    MARK_FENCE = 1 << 2,
    MARK_XATTRS = 1 << 3,
    MARK_ALL = (1 << 4) - 1,
};

/* --- writing --- */

static void put_u8(uint8_t **at, uint8_t v)
{
    *(*at)++ = v;
}

static void put_u16(uint8_t **at, uint16_t v)
{
    put_u8(at, (uint8_t)v);
    put_u8(at, (uint8_t)(v >> 8));
}

static void put_u32(uint8_t **at, uint32_t v)
{
    bytes_set_u32(*at, v);
    *at += 4;
}

static void put_u64(uint8_t **at, uint64_t v)
{
    bytes_set_u64(*at, v);
    *at += 8;
}

static void put_i64(uint8_t **at, int64_t v)
{
    put_u64(at, (uint64_t)v);
}

static void put_bytes(uint8_t **at, const void *bytes, size_t size)
{
    if (size > 0) {
        memcpy(*at, bytes, size);
        *at += size;
    }
}

static void put_text(uint8_t **at, const char *bytes, size_t size)
{
    put_u8(at, (uint8_t)size);
    put_bytes(at, bytes, size);
}

/* `end` is behind the body that was written to `to` + RECORD_HEAD_SIZE. */
static size_t record_close(uint8_t *to, enum record_kind kind, const uint8_t *end)
{
    size_t size = (size_t)(end - to) - RECORD_HEAD_SIZE;

    to[0] = (uint8_t)kind;
    to[1] = (uint8_t)size;
    to[2] = (uint8_t)(size >> 8);
    return size + RECORD_HEAD_SIZE;
}

size_t record_put_head(const struct tree *t, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_bytes(&at, MAGIC, sizeof(MAGIC));
    put_u64(&at, t->index);
    put_i64(&at, t->time_ns);
    put_u64(&at, t->node_id_next);
    return record_close(to, RECORD_HEAD, at);
}

static void put_extra(uint8_t **at, const struct tree_extra *x)
{
    bool ephemeral = x->life != LIFE_PERMANENT;

    put_u8(at, (uint8_t)((ephemeral ? MARK_EPHEMERAL : 0) | (x->by_rule ? MARK_BY_RULE : 0) |
                         (x->fence != 0 ? MARK_FENCE : 0) | (x->xattrs != NULL ? MARK_XATTRS : 0)));
    if (ephemeral) {
        put_u8(at, x->life);
        put_u64(at, x->owner);
    }
    if (x->fence != 0) {
        put_u64(at, x->fence);
    }
    if (x->xattrs != NULL) {
        put_u16(at, (uint16_t)x->xattrs->count);
    }
}

size_t record_put_node(const struct tree_node *n, uint8_t *to)
{
    const struct tree_facts f = tnode_facts(n);
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u8(&at, n->type);
    put_text(&at, tnode_name(n), n->name_size);
    put_u64(&at, n->id);
    put_u64(&at, n->parent->id);
    put_u64(&at, f.cookie);
    put_u64(&at, f.version);
    put_u64(&at, tnode_aversion(n));
    put_u64(&at, f.czxid);
    put_u64(&at, f.mzxid);
    put_i64(&at, f.atime_ns);
    put_i64(&at, f.mtime_ns);
    put_i64(&at, f.ctime_ns);
    put_u32(&at, f.uid);
    put_u32(&at, f.gid);
    put_u16(&at, n->mode);
    if (tnode_is_dir(n)) {
        put_u64(&at, n->dir->create_count);
        put_u64(&at, n->dir->cversion);
        put_u64(&at, n->dir->pzxid);
    }
    if (tnode_extra(n) != NULL) {
        put_extra(&at, tnode_extra(n));
    } else {
        put_u8(&at, 0);
    }
    put_u32(&at, tnode_value_size(n));
    return record_close(to, RECORD_NODE, at);
}

size_t record_put_xattr(const struct xattr *a, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_text(&at, a->name.bytes, a->name.size);
    put_u32(&at, a->value != NULL ? a->value->size : 0);
    return record_close(to, RECORD_XATTR, at);
}

size_t record_put_lock(const struct lock_entry *e, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u8(&at, (uint8_t)e->lock.kind);
    put_u8(&at, (uint8_t)e->lock.type);
    put_u8(&at, e->waiting ? 1 : 0);
    put_u64(&at, e->session);
    put_u64(&at, e->lock.owner);
    put_u64(&at, e->lock.start);
    put_u64(&at, e->lock.end);
    put_u32(&at, e->lock.pid);
    put_u64(&at, e->index);
    return record_close(to, RECORD_LOCK, at);
}

size_t record_put_session(const struct session *s, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u64(&at, s->info.id);
    put_bytes(&at, s->info.key.bytes, sizeof(s->info.key.bytes));
    put_u32(&at, s->info.timeout_ms);
    put_u64(&at, s->info.xid_floor);
    put_text(&at, s->info.label, strlen(s->info.label));
    return record_close(to, RECORD_SESSION, at);
}

static void put_attr(uint8_t **at, const struct attr *a)
{
    put_u64(at, a->id);
    put_u64(at, a->parent);
    put_u8(at, (uint8_t)a->type);
    put_u8(at, (uint8_t)a->life);
    put_u64(at, a->owner);
    put_u32(at, a->mode);
    put_u32(at, a->uid);
    put_u32(at, a->gid);
    put_u64(at, a->size);
    put_u32(at, a->nlink);
    put_u64(at, a->version);
    put_u64(at, a->cversion);
    put_u64(at, a->aversion);
    put_u64(at, a->czxid);
    put_u64(at, a->mzxid);
    put_u64(at, a->pzxid);
    put_i64(at, a->atime_ns);
    put_i64(at, a->mtime_ns);
    put_i64(at, a->ctime_ns);
}

size_t record_put_slot(const struct slot *slot, uint8_t *to)
{
    const struct reply *r = &slot->reply;
    bool created = r->op == OP_CREATE && r->err == 0;
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u8(&at, (uint8_t)r->op);
    put_text(&at, slot->name, created ? r->u.create.name.size : 0);
    put_u64(&at, r->xid);
    put_u64(&at, r->index);
    put_u32(&at, (uint32_t)r->err);
    if (created) {
        put_attr(&at, &r->u.create.attr);
    } else if (r->err == 0 && r->op == OP_REMOVE) {
        put_u64(&at, r->u.remove.id);
    } else if (r->err == 0 && r->op == OP_RENAME) {
        put_attr(&at, &r->u.rename.attr);
        put_u8(&at, r->u.rename.merged ? 1 : 0);
        put_u64(&at, r->u.rename.gone);
    } else if (r->err == 0 && r->op == OP_TXN) {
        put_u32(&at, (uint32_t)r->u.txn.err);
        put_u32(&at, r->u.txn.failed);
        put_u32(&at, r->u.txn.count);
    } else if (r->err == 0 && r->op == OP_LOCK) {
        put_u8(&at, r->u.lock.granted ? 1 : 0);
        put_u64(&at, r->u.lock.fence);
    } else if (r->err == 0) {
        put_attr(&at, &r->u.attr);
    }
    return record_close(to, RECORD_SLOT, at);
}

size_t record_put_outcome(const struct txn_outcome *o, uint64_t xid, uint32_t step, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u64(&at, xid);
    put_u32(&at, step);
    put_u64(&at, o->id);
    put_u64(&at, o->version);
    put_text(&at, o->name.bytes, o->name.size);
    return record_close(to, RECORD_OUTCOME, at);
}

size_t record_put_end(const struct tree *t, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_SIZE;

    put_u64(&at, tree_node_count(t));
    put_u64(&at, t->value_bytes);
    put_u64(&at, tree_session_count(t));
    put_u64(&at, tree_digest(t));
    return record_close(to, RECORD_END, at);
}

/* --- reading --- */

static bool get_i64(struct cursor *c, int64_t *ret)
{
    uint64_t v;

    if (!cur_u64(c, &v)) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

static bool get_bool(struct cursor *c, bool *ret)
{
    uint8_t v;

    if (!cur_u8(c, &v) || v > 1) {
        return false;
    }
    *ret = v == 1;
    return true;
}

static bool get_text(struct cursor *c, struct name *ret) /* borrowed */
{
    const uint8_t *bytes;
    uint8_t size;

    if (!cur_u8(c, &size) || !cur_bytes(c, size, &bytes)) {
        return false;
    }
    *ret = (struct name){(const char *)bytes, size};
    return true;
}

static bool type_is_known(uint8_t type)
{
    return type >= NODE_FILE && type <= NODE_SYMLINK;
}

bool record_get_head(const uint8_t *body, size_t size, struct tree *t)
{
    struct cursor c = cur_make(body, size);
    const uint8_t *magic;

    return cur_bytes(&c, sizeof(MAGIC), &magic) && memcmp(magic, MAGIC, sizeof(MAGIC)) == 0 &&
           cur_u64(&c, &t->index) && get_i64(&c, &t->time_ns) && cur_u64(&c, &t->node_id_next) &&
           cur_left(&c) == 0 && t->node_id_next > TREE_ROOT_ID;
}

/* Marks and what they say; what is not there is no mark. */
static bool get_extra(struct cursor *c, enum node_type type, struct name name, struct tree_extra *x,
                      uint32_t *ret_xattr_count)
{
    uint16_t count = 0;
    uint8_t marks;

    if (!cur_u8(c, &marks) || marks > MARK_ALL ||
        (marks & (MARK_BY_RULE | MARK_EPHEMERAL)) == MARK_BY_RULE) {
        return false;
    }
    *ret_xattr_count = 0;
    if (marks == 0) {
        return true;
    }
    x->by_rule = (marks & MARK_BY_RULE) != 0;
    if ((marks & MARK_EPHEMERAL) != 0 &&
        (!cur_u8(c, &x->life) || x->life < LIFE_SESSION || x->life > LIFE_OPEN ||
         !cur_u64(c, &x->owner) || x->owner == 0)) {
        return false;
    }
    if ((marks & MARK_FENCE) != 0 && (!cur_u64(c, &x->fence) || x->fence == 0)) {
        return false;
    }
    if ((marks & MARK_XATTRS) != 0 && (!cur_u16(c, &count) || count == 0 || count > XATTRS_MAX)) {
        return false;
    }
    *ret_xattr_count = count;
    return life_check(name, type, (enum node_life)x->life) == 0 &&
           (x->fence == 0 || type == NODE_FILE);
}

/* What a record says of a node, before there is one. */
struct node_said {
    enum node_type type;
    struct name name;
    uint64_t id;
    uint16_t mode;
    struct tree_facts facts;
    struct tree_extra extra;                /* aversion, life and fence */
    uint64_t create_count, cversion, pzxid; /* of a directory */
};

/* Everything behind the name. */
static bool get_node_rest(struct cursor *c, struct node_said *n, struct record_node_links *ret)
{
    struct tree_facts *f = &n->facts;
    bool good = cur_u64(c, &n->id) && cur_u64(c, &ret->parent) && cur_u64(c, &f->cookie) &&
                cur_u64(c, &f->version) && cur_u64(c, &n->extra.aversion) &&
                cur_u64(c, &f->czxid) && cur_u64(c, &f->mzxid) && get_i64(c, &f->atime_ns) &&
                get_i64(c, &f->mtime_ns) && get_i64(c, &f->ctime_ns) && cur_u32(c, &f->uid) &&
                cur_u32(c, &f->gid) && cur_u16(c, &n->mode);

    if (good && n->type == NODE_DIR) {
        good = cur_u64(c, &n->create_count) && cur_u64(c, &n->cversion) && cur_u64(c, &n->pzxid);
    }
    return good && get_extra(c, n->type, n->name, &n->extra, &ret->xattr_count) &&
           cur_u32(c, &ret->value_size) && cur_left(c) == 0 && f->version > 0 && n->mode <= 07777;
}

static bool value_size_fits(enum node_type type, uint32_t size)
{
    switch (type) {
    case NODE_FILE:
        return size <= VALUE_SIZE_MAX;
    case NODE_SYMLINK:
        return size > 0 && size <= SYMLINK_SIZE_MAX;
    default:
        return size == 0;
    }
}

static struct tree_node *node_make(struct slab *slab, const struct node_said *said,
                                   struct record_node_links *links)
{
    const struct tree_extra *e = &said->extra;
    uint32_t packed_size = links->value_size <= VALUE_PACKED_SIZE_MAX ? links->value_size : 0;
    struct tree_node *n =
        tnode_new_full(slab, said->type, said->name, &said->facts, packed_size, &links->value_to);

    if (packed_size == 0) {
        links->value_to = NULL;
    }
    n->id = said->id;
    n->mode = said->mode;
    if (said->type == NODE_DIR) {
        n->dir->create_count = said->create_count;
        n->dir->cversion = said->cversion;
        n->dir->pzxid = said->pzxid;
    }
    if (e->aversion != 0 || e->life != LIFE_PERMANENT || e->fence != 0) {
        struct tree_extra *x = tnode_extra_need(n);

        x->aversion = e->aversion;
        x->owner = e->owner;
        x->life = e->life;
        x->by_rule = e->by_rule;
        x->fence = e->fence;
    }
    return n;
}

struct tree_node *record_get_node(struct slab *slab, const uint8_t *body, size_t size,
                                  struct record_node_links *ret)
{
    struct cursor c = cur_make(body, size);
    struct node_said n = {0};
    uint8_t type;

    if (!cur_u8(&c, &type) || !type_is_known(type) || !get_text(&c, &n.name)) {
        return NULL;
    }
    n.type = (enum node_type)type;
    if (!get_node_rest(&c, &n, ret) || !value_size_fits(n.type, ret->value_size) ||
        (n.id != TREE_ROOT_ID && name_check(n.name.bytes, n.name.size) != 0)) {
        return NULL;
    }
    return node_make(slab, &n, ret);
}

bool record_get_xattr(const uint8_t *body, size_t size, struct name *ret, uint32_t *ret_value_size)
{
    struct cursor c = cur_make(body, size);

    return get_text(&c, ret) && cur_u32(&c, ret_value_size) && cur_left(&c) == 0 &&
           *ret_value_size <= XATTRS_SIZE_MAX;
}

bool record_get_lock(const uint8_t *body, size_t size, struct lock_entry *ret)
{
    struct cursor c = cur_make(body, size);
    struct lock_entry e = {0};
    uint8_t kind, type;

    if (!cur_u8(&c, &kind) || !cur_u8(&c, &type) || !get_bool(&c, &e.waiting) ||
        !cur_u64(&c, &e.session) || !cur_u64(&c, &e.lock.owner) || !cur_u64(&c, &e.lock.start) ||
        !cur_u64(&c, &e.lock.end) || !cur_u32(&c, &e.lock.pid) || !cur_u64(&c, &e.index) ||
        cur_left(&c) != 0) {
        return false;
    }
    e.lock.kind = (enum lock_kind)kind;
    e.lock.type = (enum lock_type)type;
    *ret = e;
    return true;
}

bool record_get_session(const uint8_t *body, size_t size, struct tree_session *ret)
{
    struct cursor c = cur_make(body, size);
    struct tree_session s = {0};
    const uint8_t *key;
    struct name label;

    if (!cur_u64(&c, &s.id) || !cur_bytes(&c, sizeof(s.key.bytes), &key) ||
        !cur_u32(&c, &s.timeout_ms) || !cur_u64(&c, &s.xid_floor) || !get_text(&c, &label) ||
        cur_left(&c) != 0) {
        return false;
    }
    if (s.timeout_ms < SESSION_TIMEOUT_MS_MIN || s.timeout_ms > SESSION_TIMEOUT_MS_MAX ||
        label.size > CLIENT_LABEL_SIZE_MAX || memchr(label.bytes, '\0', label.size) != NULL) {
        return false;
    }
    memcpy(s.key.bytes, key, sizeof(s.key.bytes));
    memcpy(s.label, label.bytes, label.size);
    *ret = s;
    return true;
}

static bool get_attr(struct cursor *c, struct attr *ret)
{
    uint8_t type, life;

    if (!cur_u64(c, &ret->id) || !cur_u64(c, &ret->parent) || !cur_u8(c, &type) ||
        !type_is_known(type) || !cur_u8(c, &life) || life > LIFE_OPEN) {
        return false;
    }
    ret->type = (enum node_type)type;
    ret->life = (enum node_life)life;
    return cur_u64(c, &ret->owner) && cur_u32(c, &ret->mode) && cur_u32(c, &ret->uid) &&
           cur_u32(c, &ret->gid) && cur_u64(c, &ret->size) && cur_u32(c, &ret->nlink) &&
           cur_u64(c, &ret->version) && cur_u64(c, &ret->cversion) && cur_u64(c, &ret->aversion) &&
           cur_u64(c, &ret->czxid) && cur_u64(c, &ret->mzxid) && cur_u64(c, &ret->pzxid) &&
           get_i64(c, &ret->atime_ns) && get_i64(c, &ret->mtime_ns) && get_i64(c, &ret->ctime_ns);
}

/* Its outcomes come in records of their own. */
static bool get_txn(struct cursor *c, struct reply *r)
{
    uint32_t err;

    if (!cur_u32(c, &err) || !cur_u32(c, &r->u.txn.failed) || !cur_u32(c, &r->u.txn.count)) {
        return false;
    }
    r->u.txn.err = (int)err;
    if (!err_is_known(r->u.txn.err) || r->u.txn.failed > TXN_STEPS_MAX ||
        r->u.txn.count > TXN_STEPS_MAX) {
        return false;
    }
    return r->u.txn.err == 0 ? r->u.txn.failed == 0 : r->u.txn.failed > 0 && r->u.txn.count == 0;
}

/* What a reply without an error carries beside op, xid and index. */
static bool get_reply_rest(struct cursor *c, struct name name, struct reply *r)
{
    switch (r->op) {
    case OP_CREATE:
        r->u.create.name = name;
        return name_check(name.bytes, name.size) == 0 && get_attr(c, &r->u.create.attr);
    case OP_REMOVE:
        return name.size == 0 && cur_u64(c, &r->u.remove.id);
    case OP_TXN:
        return name.size == 0 && get_txn(c, r);
    case OP_LOCK:
        return name.size == 0 && get_bool(c, &r->u.lock.granted) && cur_u64(c, &r->u.lock.fence);
    case OP_RENAME:
        return name.size == 0 && get_attr(c, &r->u.rename.attr) &&
               get_bool(c, &r->u.rename.merged) && cur_u64(c, &r->u.rename.gone);
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        return name.size == 0 && get_attr(c, &r->u.attr);
    default:
        return false;
    }
}

bool record_get_slot(const uint8_t *body, size_t size, struct reply *ret)
{
    struct cursor c = cur_make(body, size);
    struct reply r = {0};
    struct name name;
    uint32_t err;
    uint8_t op;

    if (!cur_u8(&c, &op) || !get_text(&c, &name) || !cur_u64(&c, &r.xid) ||
        !cur_u64(&c, &r.index) || !cur_u32(&c, &err)) {
        return false;
    }
    r.op = (enum op)op;
    r.err = (int)err;
    if (!op_is_write(r.op) || !err_is_known(r.err)) {
        return false;
    }
    if (r.err == 0 ? !get_reply_rest(&c, name, &r) : name.size != 0) {
        return false;
    }
    if (cur_left(&c) != 0) {
        return false;
    }
    *ret = r;
    return true;
}

bool record_get_outcome(const uint8_t *body, size_t size, uint64_t xid, uint32_t step,
                        struct txn_outcome *ret)
{
    struct cursor c = cur_make(body, size);
    uint64_t got_xid;
    uint32_t got_step;

    return cur_u64(&c, &got_xid) && cur_u32(&c, &got_step) && cur_u64(&c, &ret->id) &&
           cur_u64(&c, &ret->version) && get_text(&c, &ret->name) && cur_left(&c) == 0 &&
           got_xid == xid && got_step == step;
}

bool record_get_end(const uint8_t *body, size_t size, struct record_end *ret)
{
    struct cursor c = cur_make(body, size);

    return cur_u64(&c, &ret->nodes) && cur_u64(&c, &ret->value_bytes) &&
           cur_u64(&c, &ret->sessions) && cur_u64(&c, &ret->digest) && cur_left(&c) == 0;
}
