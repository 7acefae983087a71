#include "client_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Requests that use what a file system has beyond values and names: lives, moves, attributes,
 * locks, transactions, the past. Each only if the run has that feature, so that swarms differ. */

bool client_has(const struct clients *cs, enum clients_feature feature)
{
    return (cs->conf.features & (1u << feature)) != 0;
}

/* --- ephemerals ------------------------------------------------------------------------------ */

void client_own(struct client *c, const struct reply *r)
{
    const struct attr *a = &r->u.create.attr;
    struct client_own *own = &c->own[c->own_count];

    if (a->life != LIFE_PERMANENT && a->owner == c->session && c->own_count < CLIENT_OWN_MAX &&
        r->u.create.name.size <= sizeof(own->name)) {
        *own = (struct client_own){.id = a->id, .dir = a->parent, .size = r->u.create.name.size};
        memcpy(own->name, r->u.create.name.bytes, own->size);
        c->own_count++;
    }
}

/* What a mount does when the open file that made it is closed: wherever it is, or where it was. */
static void ask_close(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_REMOVE};
    struct client_own *own = &c->own[client_roll(c, c->own_count)];
    struct client_own closed = *own;

    *own = c->own[--c->own_count];
    r.u.remove.id = closed.id;
    if (client_roll(c, 2) == 0) {
        r.u.remove.dir = closed.dir;
        r.u.remove.name = (struct name){closed.name, closed.size};
    }
    client_ask(cs, c, &r, now_us);
}

void client_ask_ephemeral(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_CREATE};
    char text[CLIENT_NAME_MAX];
    struct blob *value = client_value(cs, c);

    if (c->own_count > CLIENT_OWN_MAX / 2 || (c->own_count > 0 && client_roll(c, 2) == 0)) {
        blob_unref(value);
        ask_close(cs, c, now_us);
        return;
    }
    r.u.create.dir = client_any_dir(cs, c);
    r.u.create.type = client_roll(c, 40) == 0 ? NODE_DIR : NODE_FILE;
    r.u.create.life = client_roll(c, 2) == 0 ? LIFE_SESSION : LIFE_OPEN;
    r.u.create.mode = 0644;
    r.u.create.name = client_any_name(cs, c, NODE_FILE, text);
    if (client_roll(c, 2) == 0) {
        r.u.create.flags = CREATE_SEQUENTIAL;
        r.u.create.name = (struct name){"x-", 2};
    }
    r.u.create.value = value;
    client_ask(cs, c, &r, now_us);
    blob_unref(value);
}

/* --- rename ---------------------------------------------------------------------------------- */

void client_ask_rename(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_RENAME};
    char from[CLIENT_NAME_MAX], to[CLIENT_NAME_MAX];
    enum node_type type = client_any_type(c);
    uint32_t kind = client_roll(c, 10);

    r.u.rename.dir = client_any_dir(cs, c);
    r.u.rename.name = client_any_name(cs, c, type, from);
    r.u.rename.to_dir = client_roll(c, 2) == 0 ? r.u.rename.dir : client_any_dir(cs, c);
    r.u.rename.to_name =
        client_any_name(cs, c, client_roll(c, 8) == 0 ? client_any_type(c) : type, to);
    if (cs->extra_count > 0 && client_roll(c, 3) == 0) { /* publish what has a numbered name */
        struct extra *e = &cs->extras[client_roll(c, cs->extra_count)];

        r.u.rename.dir = e->dir;
        memcpy(from, e->name, e->size);
        r.u.rename.name = (struct name){from, e->size};
        *e = cs->extras[--cs->extra_count];
    }
    r.u.rename.flags = kind == 0 ? RENAME_FLAG_NOREPLACE : kind <= 2 ? RENAME_FLAG_EXCHANGE : 0;
    client_ask(cs, c, &r, now_us);
}

/* --- extended attributes --------------------------------------------------------------------- */

static void ask_setting(struct clients *cs, struct client *c, struct request *r)
{
    static const char *const rules[] = {"open", "session", "never"};
    static const char *const quotas[] = {"2K 30",   "200 -", "- 12",   "1M 9", "8K 20",
                                         "1G 1000", "-K 1",  "10 10 ", "5",    "3K -"};
    bool quota = client_roll(c, 3) != 0;
    const char *name = quota ? "user.zabfs.quota" : "user.zabfs.ephemeral";
    const char *value = quota ? quotas[client_roll(c, 10)] : rules[client_roll(c, 3)];

    r->u.setxattr.id = client_any_dir(cs, c);
    r->u.setxattr.name = (struct name){name, (uint32_t)strlen(name)};
    if (client_roll(c, 2) == 0 || (r->u.setxattr.id == TREE_ROOT_ID && client_roll(c, 4) != 0)) {
        r->u.setxattr.flags = SETXATTR_REMOVE; /* so that most of the time there is none */
    } else {
        r->u.setxattr.value = blob_new(value, strlen(value));
    }
}

void client_ask_xattr(struct clients *cs, struct client *c, uint64_t now_us)
{
    static const char *const names[] = {
        "user.a",   "user.bb",   "user.ccc", "user.a",           "user.bb",
        "user.ccc", "trusted.a", "user.",    "user.zabfs.fence", "user.zabfs.quota"};
    static const uint32_t flags[] = {0, 0, 0, SETXATTR_CREATE, SETXATTR_REPLACE, SETXATTR_REMOVE};
    struct request r = {.op = OP_SETXATTR};

    if (client_roll(c, 3) == 0) {
        ask_setting(cs, c, &r);
    } else {
        const char *name = names[client_roll(c, client_roll(c, 8) == 0 ? 10 : 6)];

        r.u.setxattr.id = client_any_id(cs, c);
        r.u.setxattr.name = (struct name){name, (uint32_t)strlen(name)};
        r.u.setxattr.flags = flags[client_roll(c, 6)];
        if (!(r.u.setxattr.flags & SETXATTR_REMOVE)) {
            r.u.setxattr.value = client_roll(c, 3) == 0 ? blob_new("same", 4) : client_value(cs, c);
        }
    }
    client_ask(cs, c, &r, now_us);
    blob_unref(r.u.setxattr.value);
}

/* --- transactions ---------------------------------------------------------------------------- */

enum { STEPS_MAX = 5, PATH_MAX_HERE = 2 * CLIENT_NAME_MAX };

static struct name any_path(struct clients *cs, struct client *c, enum node_type type,
                            bool sequential, char text[PATH_MAX_HERE])
{
    char name[CLIENT_NAME_MAX];
    struct name last = client_any_name(cs, c, type, name);
    uint32_t names = cs->conf.names > 0 ? cs->conf.names : 1;
    int size = 0;

    if (client_roll(c, 3) == 0) {
        size = snprintf(text, PATH_MAX_HERE, "/d%u", client_roll(c, 1 + names / 4));
    }
    if (sequential) {
        last = (struct name){"x-#", 3};
    }
    text[size++] = '/';
    memcpy(text + size, last.bytes, last.size);
    if (client_roll(c, 100) == 0) {
        return (struct name){text + 1, (uint32_t)size + last.size - 1}; /* not absolute */
    }
    return (struct name){text, (uint32_t)size + last.size};
}

static void any_step(struct clients *cs, struct client *c, struct txn_step *s,
                     char text[PATH_MAX_HERE])
{
    static const enum txn_step_kind kinds[] = {
        TXN_CHECK, TXN_ABSENT, TXN_CREATE, TXN_CREATE, TXN_MKDIR,  TXN_SYMLINK, TXN_SET,
        TXN_SET,   TXN_APPEND, TXN_APPEND, TXN_DELETE, TXN_DELETE, TXN_RENAME,  TXN_RENAME};
    enum node_type type = client_any_type(c);
    bool sequential = false;

    s->kind = kinds[client_roll(c, 14)];
    if (s->kind == TXN_CREATE || s->kind == TXN_MKDIR || s->kind == TXN_SYMLINK) {
        type = s->kind == TXN_CREATE ? NODE_FILE : s->kind == TXN_MKDIR ? NODE_DIR : NODE_SYMLINK;
        sequential = client_roll(c, 2) == 0;
    } else if (s->kind == TXN_SET || s->kind == TXN_APPEND) {
        type = NODE_FILE;
    }
    s->path = any_path(cs, c, type, sequential, text);
    if ((s->kind == TXN_CHECK || s->kind == TXN_SET || s->kind == TXN_DELETE) &&
        client_roll(c, 4) == 0) {
        s->version = 1 + client_roll(c, 4);
    }
    if (s->kind == TXN_RENAME) {
        char to[PATH_MAX_HERE];
        struct name path = any_path(cs, c, type, false, to);

        s->value = blob_new(path.bytes, path.size);
    } else if (s->kind == TXN_CREATE || s->kind == TXN_SYMLINK || s->kind == TXN_SET ||
               s->kind == TXN_APPEND) {
        s->value = client_value(cs, c);
    }
}

void client_ask_txn(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_TXN};
    struct txn_step steps[STEPS_MAX] = {{0}};
    char texts[STEPS_MAX][PATH_MAX_HERE];

    r.u.txn.uid = client_roll(c, 3);
    r.u.txn.gid = client_roll(c, 3);
    r.u.txn.count = 1 + client_roll(c, STEPS_MAX);
    r.u.txn.steps = steps;
    for (uint32_t i = 0; i < r.u.txn.count; i++) {
        any_step(cs, c, &steps[i], texts[i]);
    }
    client_ask(cs, c, &r, now_us);
    for (uint32_t i = 0; i < r.u.txn.count; i++) {
        blob_unref(steps[i].value);
    }
}

/* --- locks ----------------------------------------------------------------------------------- */

/* Few files, so that clients meet. */
static uint64_t lock_file(struct clients *cs, struct client *c)
{
    uint32_t skip = client_roll(c, 3);

    if (cs->lock_file != 0 && client_roll(c, 4) != 0) {
        return cs->lock_file;
    }
    for (uint32_t i = 1; i < cs->known_count; i++) {
        const struct known *k = &cs->known[i];

        if (k->type == NODE_FILE && skip-- == 0) {
            return client_roll(c, 20) != 0 ? k->id : client_any_id(cs, c);
        }
    }
    return client_any_id(cs, c);
}

static void any_lock(struct client *c, struct lock *l)
{
    l->kind = client_roll(c, 2) == 0 ? LOCK_KIND_FLOCK : LOCK_KIND_POSIX;
    l->type = client_roll(c, 3) == 0 ? LOCK_TYPE_SHARED : LOCK_TYPE_EXCLUSIVE;
    l->owner = 1 + client_roll(c, 2);
    l->pid = 100 + c->number;
    l->end = UINT64_MAX;
    if (l->kind == LOCK_KIND_POSIX && client_roll(c, 2) == 0) {
        l->start = client_roll(c, 8);
        l->end = l->start + client_roll(c, 8);
    }
    if (client_roll(c, 200) == 0) {
        l->start = 20; /* wrong for flock, and behind the end of some ranges */
    }
}

/* What it asked for is given back some day, held or not, or asked for again. */
void client_ask_lock(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_LOCK};
    struct client_lock *l = &c->locks[client_roll(c, CLIENT_LOCKS_MAX)];

    if (l->node == 0) {
        l->node = lock_file(cs, c);
        any_lock(c, &l->lock);
        r.u.lock.lock = l->lock;
    } else {
        r.u.lock.lock = l->lock;
        r.u.lock.lock.type = client_roll(c, 4) != 0 ? LOCK_TYPE_NONE : l->lock.type;
    }
    r.u.lock.id = l->node;
    r.u.lock.wait = client_roll(c, 4) != 0;
    if (r.u.lock.lock.type == LOCK_TYPE_NONE) {
        *l = (struct client_lock){0};
    }
    client_ask(cs, c, &r, now_us);
}

/* --- reads ----------------------------------------------------------------------------------- */

static void read_attributes(struct clients *cs, struct client *c, struct request *r)
{
    if (client_roll(c, 3) != 0) {
        r->op = OP_XATTRS;
        r->u.xattrs.id = client_any_id(cs, c);
    } else {
        r->op = OP_STATFS;
        r->u.statfs.id = client_roll(c, 4) == 0 ? 0 : client_any_id(cs, c);
    }
}

static void read_locks(struct clients *cs, struct client *c, struct request *r)
{
    if (client_roll(c, 2) == 0) {
        r->op = OP_LOCK_TEST;
        r->u.lock_test.id = lock_file(cs, c);
        any_lock(c, &r->u.lock_test.lock);
    } else {
        r->op = OP_LOCKS;
        r->u.locks.id = client_roll(c, 2) == 0 ? 0 : lock_file(cs, c);
        r->u.locks.after = client_roll(c, 3) == 0 ? client_any_id(cs, c) : 0;
    }
}

static void read_log(struct clients *cs, struct client *c, struct request *r,
                     char text[CLIENT_NAME_MAX])
{
    r->op = OP_LOG;
    r->u.log.dir = client_any_dir(cs, c);
    r->u.log.name = client_any_name(cs, c, client_any_type(c), text);
    r->u.log.after = client_roll(c, 2) == 0 ? client_roll(c, (uint32_t)c->seen + 1) : 0;
}

bool client_read_more(struct clients *cs, struct client *c, struct request *r,
                      char text[CLIENT_NAME_MAX])
{
    uint32_t kind = client_roll(c, 20);

    if (kind == 0 && client_has(cs, CLIENTS_LOCKS)) {
        read_locks(cs, c, r);
    } else if (kind == 1 && client_has(cs, CLIENTS_XATTRS)) {
        read_attributes(cs, c, r);
    } else if (kind == 2 && client_has(cs, CLIENTS_EVENTS)) {
        read_log(cs, c, r, text);
    } else {
        return false;
    }
    return true;
}

/* An index to read as of: mostly a recent one, at times one that is yet to come. */
uint64_t client_past(struct clients *cs, struct client *c)
{
    uint64_t back = client_roll(c, client_roll(c, 2) == 0 ? 10 : 200);

    if (!client_has(cs, CLIENTS_PAST) || client_roll(c, 6) != 0) {
        return 0;
    }
    if (client_roll(c, 20) == 0) {
        return c->seen + 1 + client_roll(c, 100);
    }
    return c->seen > back ? c->seen - back : 0;
}
