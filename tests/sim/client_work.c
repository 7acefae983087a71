#include "client_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

/* What a client asks for next: mostly about few names in few directories, so that clients meet; and
 * what is remembered of the answers, for all clients together. Numbered names are removed again
 * sooner or later, so that the tree stays small. */

/* --- choosing -------------------------------------------------------------------------------- */

static const struct known *any_known(struct clients *cs, struct client *c)
{
    return &cs->known[client_roll(c, cs->known_count)];
}

uint64_t client_any_dir(struct clients *cs, struct client *c)
{
    for (int i = 0; i < 8 && client_roll(c, 3) != 0; i++) {
        const struct known *k = any_known(cs, c);

        if (k->type == NODE_DIR) {
            return k->id;
        }
    }
    return client_roll(c, 50) == 0 ? any_known(cs, c)->id : TREE_ROOT_ID;
}

static const struct known *any_file(struct clients *cs, struct client *c)
{
    const struct known *k = any_known(cs, c);

    for (int i = 0; i < 8 && k->type != NODE_FILE; i++) {
        k = any_known(cs, c);
    }
    return k;
}

uint64_t client_any_id(struct clients *cs, struct client *c)
{
    if (client_roll(c, 100) == 0) {
        return 1 + client_roll(c, 1000000);
    }
    return any_known(cs, c)->id;
}

/* A name that others use, too: files n*, directories d*, links l*. */
struct name client_any_name(struct clients *cs, struct client *c, enum node_type type,
                            char text[CLIENT_NAME_MAX])
{
    static const char *const bad[] = {"", ".", "..", ".zabfs", "a/b"};
    uint32_t names = cs->conf.names > 0 ? cs->conf.names : 1;
    int size;

    if (client_roll(c, 80) == 0 && client_has(cs, CLIENTS_EPHEMERALS)) {
        size = snprintf(text, CLIENT_NAME_MAX, ".data");
    } else if (client_roll(c, 200) == 0) {
        size = snprintf(text, CLIENT_NAME_MAX, "%s", bad[client_roll(c, 5)]);
    } else if (client_roll(c, 300) == 0) {
        size = 250 + (int)client_roll(c, 10);
        memset(text, 'y', (size_t)size);
    } else if (type == NODE_DIR) {
        size = snprintf(text, CLIENT_NAME_MAX, "d%u", client_roll(c, 1 + names / 4));
    } else {
        size = snprintf(text, CLIENT_NAME_MAX, "%c%u", type == NODE_FILE ? 'n' : 'l',
                        client_roll(c, names));
    }
    return (struct name){text, (uint32_t)size};
}

enum node_type client_any_type(struct client *c)
{
    uint32_t kind = client_roll(c, 10);

    return kind < 7 ? NODE_FILE : kind < 9 ? NODE_DIR : NODE_SYMLINK;
}

/* Bytes that nobody else writes, mostly few. Owned by the caller. */
struct blob *client_value(struct clients *cs, struct client *c)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "c%u.%" PRIu64 ";", c->number, ++c->values);
    uint32_t total = client_roll(c, 40);
    struct blob *b;

    if (cs->conf.value_size_max > 0 && client_roll(c, 50) == 0) {
        total = client_roll(c, cs->conf.value_size_max);
    }
    if (total < (uint32_t)size) {
        total = (uint32_t)size;
    }
    b = blob_new_uninit(total);
    memset(b->data, 'v', total);
    memcpy(b->data, text, (size_t)size);
    return b;
}

/* --- asking ---------------------------------------------------------------------------------- */

static void ask_create(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_CREATE};
    char text[CLIENT_NAME_MAX];
    enum node_type type = client_any_type(c);
    struct blob *value = NULL;

    r.u.create.dir = client_any_dir(cs, c);
    r.u.create.type = type;
    r.u.create.mode = 0600 + client_roll(c, 0200);
    r.u.create.uid = client_roll(c, 3);
    r.u.create.gid = client_roll(c, 3);
    r.u.create.name = client_any_name(cs, c, type, text);
    if (client_roll(c, 3) == 0 && cs->extra_count < EXTRAS_MAX / 2) {
        r.u.create.flags = CREATE_SEQUENTIAL;
        r.u.create.name = (struct name){"x-", 2};
    }
    if (type == NODE_DIR && client_roll(c, 10) != 0) {
        r.u.create.dir = TREE_ROOT_ID; /* few below others: the tree stays flat */
    }
    if (client_roll(c, type == NODE_DIR ? 30 : 4) == 0) {
        value = type == NODE_FILE ? NULL : client_value(cs, c); /* a directory may have none */
    } else if (type != NODE_DIR) {
        value = client_value(cs, c);
    }
    r.u.create.value = value;
    client_ask(cs, c, &r, now_us);
    blob_unref(value);
}

static void ask_remove(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_REMOVE};
    char text[CLIENT_NAME_MAX];
    enum node_type type = client_any_type(c);

    r.u.remove.dir = client_any_dir(cs, c);
    r.u.remove.name = client_any_name(cs, c, type, text);
    r.u.remove.flags = (type == NODE_DIR) != (client_roll(c, 20) == 0) ? REMOVE_DIR : 0;
    if (cs->extra_count > 0 && client_roll(c, 3) != 0) {
        struct extra *e = &cs->extras[client_roll(c, cs->extra_count)];

        r.u.remove.dir = e->dir;
        memcpy(text, e->name, e->size);
        r.u.remove.name = (struct name){text, e->size};
        r.u.remove.flags = e->is_dir ? REMOVE_DIR : 0;
        *e = cs->extras[--cs->extra_count];
    }
    client_ask(cs, c, &r, now_us);
}

static void ask_set(struct clients *cs, struct client *c, bool append, uint64_t now_us)
{
    const struct known *k = any_file(cs, c);
    struct request r = {.op = append ? OP_APPEND : OP_SET};
    struct blob *value = client_value(cs, c);

    if (append && k->size <= cs->conf.value_size_max) {
        r.u.append.id = k->id;
        r.u.append.value = value;
    } else {
        r.op = OP_SET;
        r.u.set.id = k->id;
        r.u.set.if_version = client_roll(c, 2) == 0 ? k->version : VERSION_ANY;
        r.u.set.value = value;
    }
    client_ask(cs, c, &r, now_us);
    blob_unref(value);
}

static void ask_setattr(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_SETATTR};

    r.u.setattr.id = client_any_id(cs, c);
    r.u.setattr.mask = client_roll(c, SETATTR_ALL + 1);
    if (r.u.setattr.mask & SETATTR_MODE) {
        r.u.setattr.mode = client_roll(c, 010000);
    }
    if (r.u.setattr.mask & SETATTR_UID) {
        r.u.setattr.uid = client_roll(c, 3);
    }
    if (r.u.setattr.mask & SETATTR_GID) {
        r.u.setattr.gid = client_roll(c, 3);
    }
    if (r.u.setattr.mask & SETATTR_SIZE) {
        r.u.setattr.size = client_roll(c, cs->conf.value_size_max + 1);
    }
    if (r.u.setattr.mask & SETATTR_ATIME) {
        r.u.setattr.atime_ns = client_roll(c, 1000);
    }
    if (r.u.setattr.mask & SETATTR_MTIME) {
        r.u.setattr.mtime_ns = client_roll(c, 1000);
    }
    client_ask(cs, c, &r, now_us);
}

static void ask_read(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_READ};
    char text[CLIENT_NAME_MAX];
    uint32_t kind = client_roll(c, 10);
    uint64_t need = c->sync_need;
    uint64_t at = need == 0 ? client_past(cs, c) : 0;

    c->sync_need = 0;
    if (need == 0 && client_read_more(cs, c, &r, text)) {
        client_ask(cs, c, &r, now_us);
        return;
    }
    if (kind < 4) {
        r.u.read.id = any_file(cs, c)->id;
        r.u.read.at = at;
    } else if (kind < 7) {
        r.op = OP_LOOKUP;
        r.u.lookup.dir = client_any_dir(cs, c);
        r.u.lookup.name = client_any_name(cs, c, client_any_type(c), text);
        r.u.lookup.at = at;
    } else if (kind < 9) {
        r.op = OP_GETATTR;
        r.u.getattr.id = client_any_id(cs, c);
        r.u.getattr.at = at;
    } else {
        r.op = OP_READDIR;
        r.u.readdir.dir = client_any_dir(cs, c);
        r.u.readdir.after = client_roll(c, 3) == 0 ? client_roll(c, 30) : 0;
        r.u.readdir.size_max = client_roll(c, 4000);
        r.u.readdir.at = at;
    }
    client_ask(cs, c, &r, now_us)->need = need;
}

static void ask_sync(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_SYNC};

    r.u.sync.quorum = client_roll(c, 2) == 0;
    client_ask(cs, c, &r, now_us);
}

/* What nothing else may be under way with. */
static void ask_alone(struct clients *cs, struct client *c, uint64_t now_us)
{
    uint32_t kind = client_roll(c, 10);
    struct request r = {.op = OP_FORGET};

    if (kind == 0) {
        r.op = OP_SESSION_CLOSE;
    } else if (kind < 5) { /* stay away, at times for so long that the session expires */
        uint64_t away_ms = client_roll(c, cs->conf.session_timeout_ms) * (kind < 3 ? 5 : 1) / 2;

        client_leave(cs, c, now_us, 1000 * away_ms);
        return;
    } else if (c->dir_count > 0) {
        uint32_t at = client_roll(c, c->dir_count);
        uint64_t dir = c->dirs[at];

        c->dirs[at] = c->dirs[--c->dir_count];
        r.u.interest.count = 1;
        r.u.interest.ids = &dir;
        client_ask(cs, c, &r, now_us);
        c->exclusive = true;
        return;
    } else {
        return;
    }
    client_ask(cs, c, &r, now_us);
    c->exclusive = true;
}

static void ask_interest(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_INTEREST};
    uint64_t dirs[2] = {client_any_dir(cs, c), TREE_ROOT_ID};

    r.u.interest.count = 2;
    r.u.interest.ids = dirs;
    client_ask(cs, c, &r, now_us);
}

/* One of the features that the run has; false: the one that was drawn it has not. */
static bool ask_feature(struct clients *cs, struct client *c, uint64_t now_us)
{
    static void (*const asks[])(struct clients *, struct client *, uint64_t) = {
        [CLIENTS_EPHEMERALS] = client_ask_ephemeral,
        [CLIENTS_RENAMES] = client_ask_rename,
        [CLIENTS_XATTRS] = client_ask_xattr,
        [CLIENTS_LOCKS] = client_ask_lock,
        [CLIENTS_TXNS] = client_ask_txn,
    };
    uint32_t feature = client_roll(c, CLIENTS_TXNS + 1);

    if (!client_has(cs, (enum clients_feature)feature)) {
        return false;
    }
    asks[feature](cs, c, now_us);
    return true;
}

void client_work(struct clients *cs, struct client *c, uint64_t now_us)
{
    uint32_t kind = client_roll(c, 1000);

    if (!c->attached || c->exclusive || c->op_count >= cs->conf.inflight_max) {
        return;
    }
    if (c->draining) { /* nothing new until all is answered */
        if (c->op_count == 0) {
            c->draining = false;
            ask_alone(cs, c, now_us);
        }
        return;
    }
    if (c->sync_need == 0 && client_roll(c, 3) == 0 && ask_feature(cs, c, now_us)) {
        return;
    }
    if (c->sync_need != 0 || kind < 380) {
        ask_read(cs, c, now_us);
    } else if (kind < 450) {
        ask_sync(cs, c, now_us);
    } else if (kind < 590) {
        ask_create(cs, c, now_us);
    } else if (kind < 730) {
        ask_remove(cs, c, now_us);
    } else if (kind < 840) {
        ask_set(cs, c, false, now_us);
    } else if (kind < 920) {
        ask_set(cs, c, true, now_us);
    } else if (kind < 980) {
        ask_setattr(cs, c, now_us);
    } else if (kind < 985) {
        ask_interest(cs, c, now_us);
    } else {
        c->draining = c->op_count > 0 && client_roll(c, 3) == 0;
        if (c->op_count == 0) {
            ask_alone(cs, c, now_us);
        }
    }
}

void client_probe_work(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_SETATTR};
    bool write = c->probe_write;
    bool sync = c->probe_sync;

    for (uint32_t i = 0; i < c->op_count; i++) {
        if (c->ops[i].probe) {
            write = write && !op_is_write(c->ops[i].op);
            sync = sync && c->ops[i].op != OP_SYNC;
        }
    }
    if (!c->attached || c->exclusive) {
        return;
    }
    if (write && c->op_count < CLIENT_OPS_MAX - 2) {
        r.u.setattr.id = TREE_ROOT_ID;
        r.u.setattr.mask = SETATTR_MTIME_NOW;
        client_ask(cs, c, &r, now_us)->probe = true;
    }
    if (sync && c->op_count < CLIENT_OPS_MAX - 2) {
        r = (struct request){.op = OP_SYNC};
        r.u.sync.quorum = true;
        client_ask(cs, c, &r, now_us)->probe = true;
    }
}

/* --- learning -------------------------------------------------------------------------------- */

static void know(struct clients *cs, const struct attr *a)
{
    struct known k = {a->id, a->parent, a->version, a->type, a->size};

    for (uint32_t i = 0; i < cs->known_count; i++) {
        if (cs->known[i].id == a->id) {
            if (cs->known[i].version <= a->version) {
                cs->known[i] = k;
            }
            return;
        }
    }
    if (cs->known_count < KNOWN_MAX) {
        cs->known[cs->known_count++] = k;
        return;
    }
    cs->known[cs->known_at] = k;
    cs->known_at = cs->known_at + 1 < KNOWN_MAX ? cs->known_at + 1 : 1; /* the root stays */
}

static void remember_extra(struct clients *cs, uint64_t dir, struct name name, enum node_type type)
{
    struct extra *e = &cs->extras[cs->extra_count];

    if (cs->extra_count == EXTRAS_MAX || name.size > sizeof(e->name) || name.size < 3 ||
        memcmp(name.bytes, "x-", 2) != 0) {
        return;
    }
    e->dir = dir;
    e->is_dir = type == NODE_DIR;
    e->size = name.size;
    memcpy(e->name, name.bytes, name.size);
    cs->extra_count++;
}

static void unknow(struct clients *cs, uint64_t id)
{
    for (uint32_t i = 1; i < cs->known_count; i++) {
        if (cs->known[i].id == id) {
            cs->known[i] = cs->known[--cs->known_count];
            cs->known_at = 1;
            return;
        }
    }
}

void client_learn(struct clients *cs, struct client *c, const struct client_op *o,
                  const struct reply *r)
{
    if (o->op == OP_LOCK && r->err == 0) {
        cs->lock_file = o->node;
    } else if (o->op == OP_LOCK && o->node == cs->lock_file && r->err == ERR_NOENT) {
        cs->lock_file = 0;
    }
    if (r->err == ERR_NOENT && o->node != 0 && client_roll(c, 4) != 0) {
        unknow(cs, o->node);
    }
    if (r->err != 0) {
        return;
    }
    switch (r->op) {
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        know(cs, &r->u.attr);
        break;
    case OP_RENAME:
        know(cs, &r->u.rename.attr);
        break;
    case OP_READ:
        know(cs, &r->u.read.attr);
        break;
    case OP_CREATE:
        know(cs, &r->u.create.attr);
        client_own(c, r);
        remember_extra(cs, r->u.create.attr.parent, r->u.create.name, r->u.create.attr.type);
        break;
    case OP_REMOVE:
        if (client_roll(c, 4) != 0) { /* sometimes ask about it all the same */
            unknow(cs, r->u.remove.id);
        }
        break;
    case OP_READDIR:
        if (r->u.readdir.count > 0 && cs->extra_count < EXTRAS_MAX / 4) {
            const struct dirent_plus *e = &r->u.readdir.entries[client_roll(c, r->u.readdir.count)];

            remember_extra(cs, e->attr.parent, e->name, e->attr.type);
        }
        break;
    default:
        break;
    }
}
