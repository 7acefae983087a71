#include "tree_int.h"

#include <string.h>
#include <utlist.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Sessions, and the replies that make a retry harmless.
 *
 * A session's reply to (xid) stays in a slot until a later request says, by its xid_floor, that the
 * client awaits nothing below. A retry with that xid, through whichever member and leader, meets
 * the slot. Below the floor it is refused, never applied: its slot is gone, and with it the
 * knowledge whether it was applied before. */

uint32_t slot_outcome_count(const struct slot *r)
{
    return r->reply.op == OP_TXN && r->reply.err == 0 ? r->reply.u.txn.count : 0;
}

/* A copy of the outcomes with their names behind them, in one piece. */
static struct txn_outcome *outcomes_copy(const struct txn_outcome *list, uint32_t count)
{
    struct txn_outcome *copy;
    size_t size = 0;
    char *text;

    for (uint32_t i = 0; i < count; i++) {
        size += list[i].name.size;
    }
    copy = mem_alloc(count * sizeof(*copy) + size);
    text = (char *)(copy + count);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = list[i];
        copy[i].name.bytes = text;
        if (list[i].name.size > 0) {
            memcpy(text, list[i].name.bytes, list[i].name.size);
            text += list[i].name.size;
        }
    }
    return copy;
}

static void slot_free(struct session *s, struct slot *r)
{
    DL_DELETE(s->slots, r);
    s->info.slot_count--;
    if (slot_outcome_count(r) > 0) {
        mem_free(r->reply.u.txn.list);
    }
    mem_free(r);
}

static void session_free(struct session *s)
{
    while (s->slots != NULL) {
        slot_free(s, s->slots);
    }
    slab_free(s);
}

struct session *session_get(const struct tree *t, uint64_t id)
{
    return series_get(&t->sessions, id);
}

struct session *session_find(const struct tree *t, const struct session_key *key)
{
    struct table_link *l = table_chain(&t->by_key, hash64(key->bytes, sizeof(key->bytes), 0));

    for (; l != NULL; l = table_next(&t->by_key, l)) {
        struct session *s = TABLE_ITEM(l, struct session, by_key);

        if (memcmp(s->info.key.bytes, key->bytes, sizeof(key->bytes)) == 0) {
            return s;
        }
    }
    return NULL;
}

struct session *session_add(struct tree *t, const struct tree_session *info)
{
    struct session *s = slab_zalloc(&t->slab, sizeof(*s));

    s->info = *info;
    s->info.slot_count = 0;
    series_append(&t->sessions, s->info.id, s);
    table_add(&t->by_key, &s->by_key);
    digest_add_session(t, s);
    return s;
}

void session_end(struct tree *t, struct session *s)
{
    struct slot *r;

    DL_FOREACH (s->slots, r) {
        digest_drop_slot(t, s, r);
    }
    digest_drop_session(t, s);
    series_remove(&t->sessions, s->info.id);
    table_remove(&t->by_key, &s->by_key);
    session_free(s);
}

void sessions_free(struct tree *t)
{
    for (size_t i = 0; i < t->sessions.count; i++) {
        if (series_item(&t->sessions, i) != NULL) {
            session_free(series_item(&t->sessions, i));
        }
    }
    series_done(&t->sessions);
}

int session_open(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;
    struct name label = r->u.session_open.label;
    struct session *s = session_find(t, &r->u.session_open.key);

    if (s == NULL) {
        struct tree_session info = {
            .id = txn->index,
            .key = r->u.session_open.key,
            .timeout_ms = r->u.session_open.timeout_ms,
        };

        if (label.size > CLIENT_LABEL_SIZE_MAX) {
            return ERR_INVAL;
        }
        if (t->sessions.live >= SESSIONS_MAX) {
            return ERR_OVERLOAD;
        }
        if (info.timeout_ms < SESSION_TIMEOUT_MS_MIN) {
            info.timeout_ms = SESSION_TIMEOUT_MS_MIN;
        }
        if (info.timeout_ms > SESSION_TIMEOUT_MS_MAX) {
            info.timeout_ms = SESSION_TIMEOUT_MS_MAX;
        }
        if (label.size > 0) {
            memcpy(info.label, label.bytes, label.size);
        }
        s = session_add(t, &info);
    } else {
        ret->duplicate = true;
    }
    ret->session = s->info.id;
    ret->reply.u.hello.session = s->info.id;
    ret->reply.u.hello.timeout_ms = s->info.timeout_ms;
    ret->reply.u.hello.value_size_max = txn->value_size_max;
    return 0;
}

void session_floor_raise(struct tree *t, struct session *s, uint64_t floor)
{
    if (floor <= s->info.xid_floor) {
        return;
    }
    while (s->slots != NULL && s->slots->reply.xid < floor) {
        digest_drop_slot(t, s, s->slots);
        slot_free(s, s->slots);
    }
    digest_drop_session(t, s);
    s->info.xid_floor = floor;
    digest_add_session(t, s);
}

/* The slot with the highest xid not above this one; NULL: all are above. Nearly every request is
 * the session's newest, so the search begins at that end. */
static struct slot *slot_at_or_below(const struct session *s, uint64_t xid)
{
    struct slot *r = s->slots != NULL ? s->slots->prev : NULL; /* utlist: head->prev is the tail */

    while (r != NULL && r->reply.xid > xid) {
        r = r == s->slots ? NULL : r->prev;
    }
    return r;
}

const struct slot *session_slot(const struct session *s, uint64_t xid)
{
    const struct slot *r = slot_at_or_below(s, xid);

    return r != NULL && r->reply.xid == xid ? r : NULL;
}

void session_slot_add(struct tree *t, struct session *s, const struct reply *reply)
{
    bool named = reply->op == OP_CREATE && reply->err == 0;
    uint32_t name_size = named ? reply->u.create.name.size : 0;
    struct slot *before = slot_at_or_below(s, reply->xid);
    struct slot *r = mem_alloc(sizeof(*r) + name_size);

    CHECK(before == NULL || before->reply.xid < reply->xid);
    r->reply = *reply;
    if (named) {
        memcpy(r->name, reply->u.create.name.bytes, name_size);
        r->reply.u.create.name.bytes = r->name;
    }
    if (slot_outcome_count(r) > 0) {
        r->reply.u.txn.list = outcomes_copy(reply->u.txn.list, reply->u.txn.count);
    }
    if (before != NULL) {
        DL_APPEND_ELEM(s->slots, before, r);
    } else {
        DL_PREPEND(s->slots, r);
    }
    s->info.slot_count++;
    digest_add_slot(t, s, r);
}

/* --- what others may ask --- */

static bool session_copy(const struct session *s, struct tree_session *ret)
{
    if (s == NULL) {
        return false;
    }
    *ret = s->info;
    return true;
}

uint64_t tree_session_count(const struct tree *t)
{
    return t->sessions.live;
}

bool tree_session_find(const struct tree *t, const struct session_key *key,
                       struct tree_session *ret)
{
    return session_copy(session_find(t, key), ret);
}

bool tree_session_get(const struct tree *t, uint64_t id, struct tree_session *ret)
{
    return session_copy(session_get(t, id), ret);
}

bool tree_session_next(const struct tree *t, uint64_t after, struct tree_session *ret)
{
    return session_copy(series_next(&t->sessions, after), ret);
}
