#include "tree_int.h"

#include <string.h>

#include "err.h"
#include "mem.h"

/* Extended attributes: names in "user." with a value, a few per node at most, in an array sorted by
 * name. Two of them are settings of a directory, which tree_dir has a parsed copy of: what is said
 * by user.zabfs.ephemeral and user.zabfs.quota is what is stored, and the copy follows from it.
 *
 * Refusals come before the first change, as in tree_apply.c. */

static const char NAMESPACE[] = "user.";
static const char RESERVED[] = "user.zabfs.";

enum setting { SETTING_NONE, SETTING_RULE, SETTING_QUOTA };

const struct tree_settings settings_none = {
    .rule = LIFE_PERMANENT,
    .quota_nodes = QUOTA_NONE,
    .quota_bytes = QUOTA_NONE,
};

static bool name_begins(struct name name, const char *text)
{
    return name.size >= strlen(text) && memcmp(name.bytes, text, strlen(text)) == 0;
}

static bool text_is(const void *bytes, uint32_t size, const char *text)
{
    return size == strlen(text) && memcmp(bytes, text, size) == 0;
}

static enum setting setting_of(struct name name)
{
    if (text_is(name.bytes, name.size, "user.zabfs.ephemeral")) {
        return SETTING_RULE;
    }
    return text_is(name.bytes, name.size, "user.zabfs.quota") ? SETTING_QUOTA : SETTING_NONE;
}

/* Whether a node of this kind may have an attribute of this name. */
static int name_allowed(const struct tree_node *n, struct name name)
{
    if (name.size > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    if (!name_begins(name, NAMESPACE) || name.size == strlen(NAMESPACE)) {
        return ERR_UNSUPPORTED;
    }
    if (memchr(name.bytes, '\0', name.size) != NULL) {
        return ERR_INVAL;
    }
    if (name_begins(name, RESERVED) && (setting_of(name) == SETTING_NONE || !tnode_is_dir(n))) {
        return ERR_PERM;
    }
    return 0;
}

/* --- settings --- */

static int rule_parse(const struct blob *value, uint8_t *ret)
{
    if (value != NULL && text_is(value->data, value->size, "open")) {
        *ret = LIFE_OPEN;
        return 0;
    }
    if (value != NULL && text_is(value->data, value->size, "session")) {
        *ret = LIFE_SESSION;
        return 0;
    }
    return ERR_INVAL;
}

/* Takes over what an attribute says. Errors: ERR_INVAL. */
static int settings_set(struct tree_settings *ret, struct name name, const struct blob *value)
{
    switch (setting_of(name)) {
    case SETTING_NONE:
        return 0;
    case SETTING_RULE:
        return rule_parse(value, &ret->rule);
    case SETTING_QUOTA:
        return quota_parse(value, &ret->quota_bytes, &ret->quota_nodes);
    }
    return 0;
}

static void settings_clear(struct tree_settings *s, struct name name)
{
    switch (setting_of(name)) {
    case SETTING_NONE:
        return;
    case SETTING_RULE:
        s->rule = settings_none.rule;
        return;
    case SETTING_QUOTA:
        s->quota_bytes = settings_none.quota_bytes;
        s->quota_nodes = settings_none.quota_nodes;
        return;
    }
}

/* --- the array --- */

static uint32_t value_size(const struct blob *value)
{
    return value != NULL ? value->size : 0;
}

static int name_compare(struct name a, struct name b)
{
    uint32_t least = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.bytes, b.bytes, least);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Place of the first attribute that is not before `name`; whether that is the one. */
static uint32_t place_of(const struct tree_xattrs *x, struct name name, bool *ret_found)
{
    uint32_t low = 0;
    uint32_t high = x != NULL ? x->count : 0;

    *ret_found = false;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = name_compare(x->list[mid].name, name);

        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static uint64_t xattr_hash(const struct xattr *a)
{
    uint8_t record[RECORD_SIZE_MAX];

    return hash64(record, record_put_xattr(a, record), value_hash(a->value));
}

/* Puts a new attribute at its place; takes over one reference of the value. */
static void xattr_insert(struct tree_node *n, uint32_t at, struct name name, struct blob *value)
{
    struct tree_extra *extra = tnode_extra_need(n);
    struct tree_xattrs *x = extra->xattrs;
    uint32_t count = x != NULL ? x->count : 0;
    struct xattr *a;

    if (x == NULL) {
        x = mem_zalloc(sizeof(*x) + sizeof(*a));
    } else {
        x = mem_realloc(x, sizeof(*x) + (count + 1) * sizeof(*a));
    }
    extra->xattrs = x;
    a = &x->list[at];
    memmove(a + 1, a, (count - at) * sizeof(*a));
    a->name = (struct name){mem_dup(name.bytes, name.size), name.size};
    a->value = value;
    x->count = count + 1;
    x->size += name.size + value_size(value);
    x->hash += xattr_hash(a);
}

static void xattr_done(struct xattr *a)
{
    mem_free((void *)(uintptr_t)a->name.bytes);
    blob_unref(a->value);
}

static void xattr_delete(struct tree_node *n, uint32_t at)
{
    struct tree_xattrs *x = tnode_extra(n)->xattrs;
    struct xattr *a = &x->list[at];

    x->size -= a->name.size + value_size(a->value);
    x->hash -= xattr_hash(a);
    xattr_done(a);
    x->count--;
    memmove(a, a + 1, (x->count - at) * sizeof(*a));
    if (x->count == 0) {
        mem_free(x);
        tnode_extra(n)->xattrs = NULL;
    }
}

void xattrs_free(struct tree_xattrs *x)
{
    for (uint32_t i = 0; x != NULL && i < x->count; i++) {
        xattr_done(&x->list[i]);
    }
    mem_free(x);
}

uint32_t xattrs_size(const struct tree_node *n)
{
    return tnode_extra(n) != NULL && tnode_extra(n)->xattrs != NULL ? tnode_extra(n)->xattrs->size
                                                                    : 0;
}

uint32_t xattrs_count(const struct tree_node *n)
{
    return tnode_extra(n) != NULL && tnode_extra(n)->xattrs != NULL ? tnode_extra(n)->xattrs->count
                                                                    : 0;
}

uint64_t xattrs_hash(const struct tree_node *n)
{
    return tnode_extra(n) != NULL && tnode_extra(n)->xattrs != NULL ? tnode_extra(n)->xattrs->hash
                                                                    : 0;
}

bool xattr_load(struct tree_node *n, struct name name, struct blob *value)
{
    struct blob *kept = value_size(value) > 0 ? value : NULL;
    uint32_t at = xattrs_count(n);
    bool rises = at == 0 || name_compare(tnode_extra(n)->xattrs->list[at - 1].name, name) < 0;
    struct tree_settings none;

    if (name_allowed(n, name) != 0 || !rises || at >= XATTRS_MAX ||
        xattrs_size(n) + name.size + value_size(value) > XATTRS_SIZE_MAX ||
        settings_set(tnode_is_dir(n) ? &n->dir->settings : &none, name, value) != 0) {
        return false;
    }
    xattr_insert(n, at, name, blob_ref(kept));
    return true;
}

void xattrs_move(struct tree *t, struct tree_node *to, struct tree_node *from)
{
    struct tree_xattrs *had = tnode_extra_need(to)->xattrs;
    uint64_t more = (uint64_t)xattrs_size(from) - xattrs_size(to);

    journal_xattrs(t, to, from);
    usage_add(to->parent, 0, more);
    tnode_extra(to)->xattrs = tnode_extra_need(from)->xattrs;
    tnode_extra(from)->xattrs = had;
}

/* --- the operation --- */

static bool same_value(const struct blob *a, const struct blob *b)
{
    uint32_t size = value_size(a);

    return size == value_size(b) && (size == 0 || memcmp(a->data, b->data, size) == 0);
}

/* What a request is about, and what it makes of it. */
struct xattr_op {
    struct tree_node *n;
    struct name name;
    struct blob *value; /* NULL: empty */
    uint32_t at;        /* of the attribute, or where it belongs */
    bool found;
    uint32_t size_before;          /* bytes that it takes now; 0: it is not there */
    uint32_t size;                 /* bytes that it will take */
    struct tree_settings settings; /* of a directory, afterwards */
};

static int setxattr_find(const struct tree *t, const struct request *r, struct xattr_op *ret)
{
    struct tree_node *n = tnode_get(t, r->u.setxattr.id);
    struct xattr_op op = {.n = n, .name = r->u.setxattr.name, .settings = settings_none};
    int err = n != NULL ? name_allowed(n, op.name) : ERR_NOENT;

    if (err != 0) {
        return err;
    }
    op.at = place_of(tnode_extra(n) != NULL ? tnode_extra(n)->xattrs : NULL, op.name, &op.found);
    if (op.found) {
        op.size_before = op.name.size + value_size(tnode_extra(n)->xattrs->list[op.at].value);
    }
    if (tnode_is_dir(n)) {
        op.settings = n->dir->settings;
    }
    if (r->u.setxattr.flags & SETXATTR_REMOVE) {
        settings_clear(&op.settings, op.name);
    } else {
        op.value = value_size(r->u.setxattr.value) > 0 ? r->u.setxattr.value : NULL;
        op.size = op.name.size + value_size(op.value);
        err = settings_set(&op.settings, op.name, op.value);
    }
    if (err == 0) {
        *ret = op;
    }
    return err;
}

static int setxattr_check(const struct tree *t, const struct xattr_op *op, uint32_t flags)
{
    const struct tree_node *n = op->n;

    if (tnode_is_dir(n) &&
        (n->dir->bytes > op->settings.quota_bytes || n->dir->nodes > op->settings.quota_nodes)) {
        return ERR_QUOTA;
    }
    if (op->found && (flags & SETXATTR_CREATE) != 0) {
        return ERR_EXISTS;
    }
    if (!op->found && (flags & (SETXATTR_REPLACE | SETXATTR_REMOVE)) != 0) {
        return ERR_NODATA;
    }
    if (flags & SETXATTR_REMOVE) {
        return 0;
    }
    if (xattrs_size(n) - op->size_before + op->size > XATTRS_SIZE_MAX ||
        (!op->found && xattrs_count(n) >= XATTRS_MAX)) {
        return ERR_NOSPACE;
    }
    return n != t->root && op->size > op->size_before
               ? quota_check(t, n->parent, NULL, 0, op->size - op->size_before)
               : 0;
}

static void setxattr_carry_out(struct tree *t, const struct xattr_op *op)
{
    struct tree_node *n = op->n;
    struct tree_facts f = tnode_facts(n);

    digest_drop_node(t, n);
    if (op->found) {
        xattr_delete(n, op->at);
    }
    if (op->size > 0) {
        xattr_insert(n, op->at, op->name, blob_ref(op->value));
    }
    if (tnode_is_dir(n)) {
        t->quota_count -= quota_is_set(n);
        n->dir->settings = op->settings;
        t->quota_count += quota_is_set(n);
    }
    if (n != t->root) {
        usage_add(n->parent, 0, (uint64_t)op->size - op->size_before);
    }
    tnode_aversion_set(n, tnode_aversion(n) + 1);
    f.ctime_ns = t->time_ns;
    tnode_facts_set(n, &f);
    digest_add_node(t, n);
}

int apply_setxattr(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    struct xattr_op op;
    int err = setxattr_find(t, &txn->request, &op);
    bool same;

    if (err == 0) {
        err = setxattr_check(t, &op, txn->request.u.setxattr.flags);
    }
    if (err != 0) {
        return err;
    }
    same = op.found && op.size > 0 &&
           same_value(tnode_extra(op.n)->xattrs->list[op.at].value, op.value);
    if (!same) {
        setxattr_carry_out(t, &op);
        results_change(t, txn, op.n, CHANGE_SETATTR);
    }
    tree_node_attr(op.n, &ret->reply.u.attr);
    return 0;
}

void tree_node_xattrs(const struct tree_node *n, struct reply *ret)
{
    uint32_t count = xattrs_count(n);
    uint64_t fence = tnode_extra(n) != NULL ? tnode_extra(n)->fence : 0;
    uint64_t czxid = tnode_facts(n).czxid;

    tree_node_attr(n, &ret->u.xattrs.attr);
    ret->u.xattrs.fence = fence > czxid ? fence : czxid;
    ret->u.xattrs.nodes = tnode_is_dir(n) ? n->dir->nodes : 0;
    ret->u.xattrs.bytes = tnode_is_dir(n) ? n->dir->bytes : 0;
    ret->u.xattrs.count = count;
    ret->u.xattrs.list =
        count > 0 ? mem_dup(tnode_extra(n)->xattrs->list, count * sizeof(struct xattr)) : NULL;
}

bool xattrs_are_sound(const struct tree_node *n)
{
    struct tree_settings said = settings_none;
    uint32_t size = 0;
    uint64_t hash = 0;

    for (uint32_t i = 0; i < xattrs_count(n); i++) {
        const struct xattr *a = &tnode_extra(n)->xattrs->list[i];

        if (name_allowed(n, a->name) != 0 || (i > 0 && name_compare(a[-1].name, a->name) >= 0) ||
            settings_set(&said, a->name, a->value) != 0) {
            return false;
        }
        size += a->name.size + value_size(a->value);
        hash += xattr_hash(a);
    }
    return size == xattrs_size(n) && hash == xattrs_hash(n) && size <= XATTRS_SIZE_MAX &&
           xattrs_count(n) <= XATTRS_MAX &&
           (!tnode_is_dir(n) || (said.rule == n->dir->settings.rule &&
                                 said.quota_bytes == n->dir->settings.quota_bytes &&
                                 said.quota_nodes == n->dir->settings.quota_nodes));
}
