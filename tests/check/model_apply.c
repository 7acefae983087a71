#include "model_int.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "err.h"

/* One entry of the log: exactly once for a session, what it leads to, and what is told of it. */

/* --- what it leads to ------------------------------------------------------------------------ */

struct name model_text(struct model_effect *e, struct name text)
{
    char *copy = mem_dup(text.bytes, text.size);

    e->texts = model_grow(e->texts, e->text_count, &e->text_cap, sizeof(char *));
    e->texts[e->text_count++] = copy;
    return (struct name){copy, text.size};
}

struct name model_path(struct model *m, struct model_effect *e, uint64_t dir, uint64_t index)
{
    char text[PATH_SIZE_MAX];
    uint32_t at = PATH_SIZE_MAX;

    while (dir != TREE_ROOT_ID) {
        const struct model_life *l = model_life_at(model_node(m, dir), index);

        if (at < l->name.size + 1) {
            return (struct name){0};
        }
        at -= l->name.size;
        memcpy(text + at, l->name.bytes, l->name.size);
        text[--at] = '/';
        dir = l->dir;
    }
    return model_text(e, (struct name){text + at, PATH_SIZE_MAX - at});
}

struct event *model_changed(struct model *m, struct model_effect *e, const struct model_node *n,
                            enum change_kind kind)
{
    const struct model_version *v = model_version_now(n);
    struct event *event;

    e->events = model_grow(e->events, e->event_count, &e->event_cap, sizeof(*e->events));
    event = &e->events[e->event_count++];
    *event = (struct event){
        .index = m->index,
        .dir = n->life->dir,
        .name = model_text(e, n->life->name),
        .kind = kind,
        .dir_path = model_path(m, e, n->life->dir, m->index),
        .session = e->txn->session,
        .xid = e->txn->request.xid,
        .attr = v->attr,
    };
    if ((kind == CHANGE_CREATE || kind == CHANGE_SET) && n->type == NODE_FILE &&
        model_size(v->value) <= EVENT_VALUE_SIZE_MAX) {
        event->has_value = true;
        event->value = v->value != NULL ? blob_ref(v->value) : NULL;
    }
    return event;
}

/* Moves events and grants to the change of this index. */
static void note_change(struct model *m, struct model_effect *e)
{
    struct model_change *c = &m->changes[m->change_count - 1];

    c->grants = e->grants;
    c->grant_count = (uint32_t)e->grant_count;
    c->event_count = (uint32_t)e->event_count;
    c->events = e->event_count > 0 ? mem_zalloc(e->event_count * sizeof(*c->events)) : NULL;
    for (uint64_t i = 0; i < e->event_count; i++) {
        struct event *event = &e->events[i];

        event->more = i + 1 < e->event_count;
        m->scratch.size = 0;
        codec_encode_event(&m->scratch, event);
        c->events[i] = (struct model_event){event->dir, event->from_dir,
                                            blob_new(m->scratch.data, m->scratch.size)};
        blob_unref(event->value);
    }
}

static void effect_done(struct model_effect *e)
{
    for (uint64_t i = 0; i < e->text_count; i++) {
        mem_free(e->texts[i]);
    }
    mem_free(e->texts);
    mem_free(e->events);
    mem_free(e->outcomes);
}

/* --- sessions -------------------------------------------------------------------------------- */

static struct model_session *session_alive(const struct model *m, uint64_t id)
{
    struct model_session *s;

    HASH_FIND(hh, m->by_id, &id, sizeof(id), s);
    return s != NULL && s->dead == MODEL_ALIVE ? s : NULL;
}

static void session_open(struct model *m, const struct txn *txn)
{
    const struct request *r = &txn->request;
    const struct model_session *known = model_session_by_key(m, &r->u.session_open.key);
    uint32_t timeout_ms = r->u.session_open.timeout_ms;
    struct model_session *s;

    if ((known != NULL && known->dead == MODEL_ALIVE) ||
        r->u.session_open.label.size > CLIENT_LABEL_SIZE_MAX) {
        return;
    }
    if (timeout_ms < SESSION_TIMEOUT_MS_MIN) {
        timeout_ms = SESSION_TIMEOUT_MS_MIN;
    }
    if (timeout_ms > SESSION_TIMEOUT_MS_MAX) {
        timeout_ms = SESSION_TIMEOUT_MS_MAX;
    }
    s = model_session_add(m, &r->u.session_open.key);
    s->timeout_ms = timeout_ms;
    s->label_size = r->u.session_open.label.size;
    memcpy(s->label, r->u.session_open.label.bytes, s->label_size);
}

static int compare_nodes(const void *a, const void *b)
{
    uint64_t x = (*(struct model_node *const *)a)->id;
    uint64_t y = (*(struct model_node *const *)b)->id;

    return x < y ? -1 : x > y;
}

/* Ephemerals go in the order of their ids, then locks. */
static void session_clear(struct model *m, struct model_effect *e, uint64_t session)
{
    uint64_t count = HASH_COUNT(m->nodes);
    struct model_node **all = mem_alloc(count * sizeof(struct model_node *));
    struct model_node *n, *next;
    uint64_t i = 0;

    HASH_ITER (hh, m->nodes, n, next) {
        all[i++] = n;
    }
    qsort(all, count, sizeof(struct model_node *), compare_nodes);
    for (i = 0; i < count; i++) {
        if (all[i]->dead == MODEL_ALIVE && model_version_now(all[i])->attr.owner == session) {
            model_remove_node(m, e, all[i]);
        }
    }
    for (i = 0; i < count; i++) {
        if (all[i]->dead == MODEL_ALIVE && model_version_now(all[i])->locks != NULL) {
            model_locks_end(m, e, all[i], session);
        }
    }
    mem_free(all);
}

static int session_close(struct model *m, struct model_effect *e)
{
    const struct txn *txn = e->txn;
    uint64_t named = txn->request.u.session_close.session;
    struct model_session *s = session_alive(m, named != 0 ? named : txn->session);

    if (txn->session != 0 && named != 0 && named != txn->session) {
        return ERR_PERM;
    }
    if (s == NULL) {
        return ERR_EXPIRED;
    }
    s->dead = m->index;
    session_clear(m, e, s->id);
    if (txn->session == 0) {
        s->expired = true;
        m->expired = model_grow(m->expired, m->expired_count, &m->expired_cap,
                                sizeof(struct model_session *));
        m->expired[m->expired_count++] = s;
    }
    return 0;
}

/* --- all ------------------------------------------------------------------------------------- */

static int apply_op(struct model *m, struct model_effect *e)
{
    switch (e->txn->request.op) {
    case OP_CREATE:
        return model_op_create(m, e);
    case OP_SET:
        return model_op_set(m, e);
    case OP_APPEND:
        return model_op_append(m, e);
    case OP_SETATTR:
        return model_op_setattr(m, e);
    case OP_REMOVE:
        return model_op_remove(m, e);
    case OP_RENAME:
        return model_op_rename(m, e);
    case OP_SETXATTR:
        return model_op_setxattr(m, e);
    case OP_LOCK:
        return model_op_lock(m, e);
    case OP_TXN:
        return model_op_txn(m, e);
    case OP_SESSION_CLOSE:
        return session_close(m, e);
    default:
        return ERR_UNSUPPORTED;
    }
}

static void note_result(struct model *m, const struct model_effect *e, struct blob *request)
{
    struct model_result *r = mem_zalloc(sizeof(*r));

    r->key = (struct model_result_key){e->txn->session, e->txn->request.xid};
    r->index = m->index;
    r->entries = 1;
    r->err = e->reply.err;
    m->scratch.size = 0;
    codec_encode_reply(&m->scratch, &e->reply);
    r->reply = blob_new(m->scratch.data, m->scratch.size);
    r->request = blob_ref(request);
    HASH_ADD(hh, m->results, key, sizeof(r->key), r);
}

static void apply_of_session(struct model *m, struct model_effect *e, struct blob *request)
{
    const struct txn *txn = e->txn;
    struct model_session *s = session_alive(m, txn->session);
    struct model_result *before;

    if (s == NULL) {
        return; /* the answer is EXPIRED, and there is no effect */
    }
    if (txn->request.xid_floor > s->xid_floor) {
        s->xid_floor = txn->request.xid_floor;
    }
    if (txn->request.xid < s->xid_floor) {
        return; /* ABANDONED */
    }
    before = model_result(m, txn->session, txn->request.xid);
    if (before != NULL) {
        before->entries++;
        return;
    }
    e->reply.err = apply_op(m, e);
    note_result(m, e, request);
}

void model_apply(struct model *m, const struct txn *txn, struct blob *request)
{
    struct model_effect e = {.txn = txn};

    CHECK(txn->index == m->index + 1);
    m->index++;
    m->touched_count = 0;
    m->changes = model_grow(m->changes, m->change_count, &m->change_cap, sizeof(*m->changes));
    m->changes[m->change_count++] = (struct model_change){0};
    if (txn->time_ns > m->time_ns) {
        m->time_ns = txn->time_ns;
    }
    e.reply.op = txn->request.op;
    e.reply.xid = txn->request.xid;
    e.reply.index = m->index;
    if (txn->request.op == OP_SESSION_OPEN) {
        session_open(m, txn);
    } else if (txn->request.op == OP_SESSION_CLOSE && txn->session == 0) {
        session_close(m, &e);
    } else {
        apply_of_session(m, &e, request);
    }
    note_change(m, &e);
    effect_done(&e);
}
