#include "model_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "wire.h"

/* Nodes, versions and places. What an entry did can be taken back, because all that it made is of
 * its index: so a transaction is carried out step by step, and undone if a step is refused. An
 * entry of the log that cannot be decoded is reported: members refuse such requests before they are
 * logged. */

void *model_grow(void *array, uint64_t count, uint64_t *cap, size_t size)
{
    if (count < *cap) {
        return array;
    }
    *cap = *cap != 0 ? 2 * *cap : 16;
    return mem_realloc(array, *cap * size);
}

/* --- making ---------------------------------------------------------------------------------- */

static uint32_t place_key(uint8_t key[8 + NAME_SIZE_MAX], uint64_t dir, struct name name)
{
    bytes_set_u64(key, dir);
    if (name.size > 0) {
        memcpy(key + 8, name.bytes, name.size);
    }
    return 8 + name.size;
}

struct model_place *model_place_find(const struct model *m, uint64_t dir, struct name name)
{
    uint8_t key[8 + NAME_SIZE_MAX];
    struct model_place *p;

    if (name.size == 0 || name.size > NAME_SIZE_MAX) {
        return NULL;
    }
    HASH_FIND(hh, m->places, key, place_key(key, dir, name), p);
    return p;
}

static void life_begin(struct model *m, struct model_node *n, struct model_node *dir,
                       struct name name, uint64_t cookie)
{
    struct model_life *l = mem_zalloc(sizeof(*l));
    struct model_place *p = model_place_find(m, dir->id, name);
    uint64_t cap = dir->child_cap;

    *l = (struct model_life){.node = n,
                             .dir = dir->id,
                             .name = {mem_dup(name.bytes, name.size), name.size},
                             .cookie = cookie,
                             .from = m->index,
                             .to = MODEL_ALIVE,
                             .before = n->life};
    n->life = l;
    if (name.size == 0) {
        return; /* the root */
    }
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p) + 8 + name.size);
        p->key_size = place_key(p->key, dir->id, name);
        HASH_ADD(hh, m->places, key, p->key_size, p);
    }
    l->older = p->newest;
    p->newest = l;
    if (!model_text_is(name, ".data")) {
        dir->children =
            model_grow(dir->children, dir->child_count, &cap, sizeof(struct model_life *));
        dir->child_cap = (uint32_t)cap;
        dir->children[dir->child_count++] = l;
    }
}

static void touch(struct model *m, struct model_node *n)
{
    m->touched =
        model_grow(m->touched, m->touched_count, &m->touched_cap, sizeof(struct model_node *));
    m->touched[m->touched_count++] = n;
}

struct model_node *model_node_add(struct model *m, struct model_node *dir, enum node_type type,
                                  struct name name)
{
    struct model_node *n = mem_zalloc(sizeof(*n));
    struct attr *a;

    n->id = dir != NULL ? m->id_next++ : TREE_ROOT_ID;
    n->type = type;
    n->born = m->index;
    n->dead = MODEL_ALIVE;
    HASH_ADD(hh, m->nodes, id, sizeof(n->id), n);
    n->version_cap = 1;
    n->version_count = 1;
    n->versions = mem_zalloc(sizeof(*n->versions));
    n->versions[0].from = m->index;
    a = &n->versions[0].attr;
    a->id = n->id;
    a->parent = dir != NULL ? dir->id : n->id;
    a->type = type;
    a->nlink = type == NODE_DIR ? 2 : 1;
    a->version = 1;
    a->czxid = a->mzxid = a->pzxid = m->index;
    life_begin(m, n, dir != NULL ? dir : n, name,
               dir != NULL ? model_version_now(dir)->create_count : 0);
    touch(m, n);
    return n;
}

void model_node_end(struct model *m, struct model_node *n)
{
    n->dead = m->index;
    n->life->to = m->index;
    touch(m, n);
}

void model_node_move(struct model *m, struct model_node *n, struct model_node *dir,
                     struct name name)
{
    uint64_t cookie = ++model_version_make(m, dir)->create_count;

    model_version_make(m, n)->attr.parent = dir->id;
    n->life->to = m->index;
    life_begin(m, n, dir, name, cookie);
}

struct model_version *model_version_now(const struct model_node *n)
{
    return &n->versions[n->version_count - 1];
}

struct model_version *model_version_make(struct model *m, struct model_node *n)
{
    struct model_version *last = model_version_now(n);
    uint64_t cap = n->version_cap;

    if (last->from == m->index) {
        return last;
    }
    n->versions = model_grow(n->versions, n->version_count, &cap, sizeof(*n->versions));
    n->version_cap = (uint32_t)cap;
    last = model_version_now(n);
    n->versions[n->version_count] = *last;
    n->versions[n->version_count].from = m->index;
    blob_ref(last->value);
    if (last->xattrs != NULL) {
        last->xattrs->refs++;
    }
    if (last->locks != NULL) {
        last->locks->refs++;
    }
    touch(m, n);
    return &n->versions[n->version_count++];
}

struct model_session *model_session_add(struct model *m, const struct session_key *key)
{
    struct model_session *s = mem_zalloc(sizeof(*s));
    struct model_keyed *k;

    s->id = m->index;
    s->key = *key;
    s->dead = MODEL_ALIVE;
    HASH_ADD(hh, m->by_id, id, sizeof(s->id), s);
    HASH_FIND(hh, m->by_key, key, sizeof(*key), k);
    if (k == NULL) {
        k = mem_zalloc(sizeof(*k));
        k->key = *key;
        HASH_ADD(hh, m->by_key, key, sizeof(k->key), k);
    }
    s->older = k->newest;
    k->newest = s;
    return s;
}

struct model *model_new(void)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct model_node *root;

    m->id_next = TREE_ROOT_ID + 1;
    m->changes_from = 1;
    root = model_node_add(m, NULL, NODE_DIR, (struct name){0});
    root->versions[0].attr.mode = 0755;
    m->touched_count = 0;
    return m;
}

/* --- freeing --------------------------------------------------------------------------------- */

void model_xattrs_unref(struct model_xattrs *x)
{
    if (x == NULL || --x->refs > 0) {
        return;
    }
    for (uint32_t i = 0; i < x->count; i++) {
        mem_free((void *)(uintptr_t)x->list[i].name.bytes);
        blob_unref(x->list[i].value);
    }
    mem_free(x);
}

void model_locks_unref(struct model_locks *l)
{
    if (l != NULL && --l->refs == 0) {
        mem_free(l);
    }
}

void model_version_done(struct model_version *v)
{
    blob_unref(v->value);
    model_xattrs_unref(v->xattrs);
    model_locks_unref(v->locks);
}

void model_life_free(struct model_life *l)
{
    mem_free((void *)(uintptr_t)l->name.bytes);
    mem_free(l);
}

void model_node_free(struct model_node *n)
{
    for (uint32_t i = 0; i < n->version_count; i++) {
        model_version_done(&n->versions[i]);
    }
    while (n->life != NULL) {
        struct model_life *l = n->life;

        n->life = l->before;
        model_life_free(l);
    }
    mem_free(n->versions);
    mem_free(n->children);
    mem_free(n);
}

void model_change_done(struct model_change *c)
{
    for (uint32_t i = 0; i < c->event_count; i++) {
        blob_unref(c->events[i].bytes);
    }
    mem_free(c->events);
    mem_free(c->grants);
}

void model_result_free(struct model *m, struct model_result *r)
{
    HASH_DEL(m->results, r);
    blob_unref(r->reply);
    blob_unref(r->request);
    mem_free(r);
}

static void tables_free(struct model *m)
{
    struct model_session *s, *s_next;
    struct model_keyed *k, *k_next;
    struct model_place *p, *p_next;

    HASH_ITER (hh, m->by_key, k, k_next) {
        HASH_DEL(m->by_key, k);
        mem_free(k);
    }
    HASH_ITER (hh, m->by_id, s, s_next) {
        HASH_DEL(m->by_id, s);
        mem_free(s);
    }
    HASH_ITER (hh, m->places, p, p_next) {
        HASH_DEL(m->places, p);
        mem_free(p);
    }
}

void model_free(struct model *m)
{
    struct model_result *r, *r_next;
    struct model_node *n, *n_next;

    if (m == NULL) {
        return;
    }
    HASH_ITER (hh, m->results, r, r_next) {
        model_result_free(m, r);
    }
    HASH_ITER (hh, m->nodes, n, n_next) {
        HASH_DEL(m->nodes, n);
        model_node_free(n);
    }
    tables_free(m);
    for (uint64_t i = 0; i < m->change_count; i++) {
        model_change_done(&m->changes[i]);
    }
    mem_free(m->changes);
    mem_free(m->touched);
    mem_free(m->epochs);
    mem_free(m->expired);
    buf_done(&m->scratch);
    mem_free(m);
}

/* --- finding --------------------------------------------------------------------------------- */

uint64_t model_floor(const struct model *m)
{
    return m->floor;
}

uint64_t model_index(const struct model *m)
{
    return m->index;
}

const struct model_node *model_node(const struct model *m, uint64_t id)
{
    struct model_node *n;

    HASH_FIND(hh, m->nodes, &id, sizeof(id), n);
    return n;
}

struct model_node *model_node_get(const struct model *m, uint64_t id)
{
    struct model_node *n;

    HASH_FIND(hh, m->nodes, &id, sizeof(id), n);
    return n != NULL && n->dead == MODEL_ALIVE ? n : NULL;
}

const struct model_version *model_version_at(const struct model_node *n, uint64_t index)
{
    uint32_t low = 0, high = n->version_count;

    if (index < n->born || index >= n->dead) {
        return NULL;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (n->versions[middle].from <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return n->versions[low].from <= index ? &n->versions[low] : NULL;
}

const struct model_life *model_life_at(const struct model_node *n, uint64_t index)
{
    const struct model_life *l = n->life;

    while (l != NULL && l->from > index) {
        l = l->before;
    }
    return l != NULL && index < l->to ? l : NULL;
}

struct model_node *model_dir_of(const struct model *m, const struct model_node *n)
{
    return model_node_get(m, n->life->dir);
}

const struct model_life *model_place(const struct model *m, uint64_t dir, struct name name)
{
    const struct model_place *p = model_place_find(m, dir, name);

    return p != NULL ? p->newest : NULL;
}

const struct model_node *model_child_at(const struct model *m, uint64_t dir, struct name name,
                                        uint64_t index)
{
    const struct model_life *l = model_place(m, dir, name);

    while (l != NULL && l->from > index) {
        l = l->older;
    }
    return l != NULL && index < l->to ? l->node : NULL;
}

struct model_node *model_child_get(const struct model *m, uint64_t dir, struct name name)
{
    const struct model_place *p = model_place_find(m, dir, name);

    return p != NULL && p->newest->to == MODEL_ALIVE ? p->newest->node : NULL;
}

const struct model_session *model_session(const struct model *m, uint64_t id)
{
    struct model_session *s;

    HASH_FIND(hh, m->by_id, &id, sizeof(id), s);
    return s;
}

const struct model_session *model_session_by_key(const struct model *m,
                                                 const struct session_key *key)
{
    struct model_keyed *k;

    HASH_FIND(hh, m->by_key, key, sizeof(*key), k);
    return k != NULL ? k->newest : NULL;
}

const struct model_session *model_expired(const struct model *m, uint64_t at)
{
    return at < m->expired_count ? m->expired[at] : NULL;
}

struct model_result *model_result(const struct model *m, uint64_t session, uint64_t xid)
{
    struct model_result_key key = {session, xid};
    struct model_result *r;

    HASH_FIND(hh, m->results, &key, sizeof(key), r);
    return r;
}

void model_result_forget(struct model_result *r)
{
    blob_unref(r->reply);
    blob_unref(r->request);
    r->reply = NULL;
    r->request = NULL;
}

const struct model_change *model_change(const struct model *m, uint64_t index)
{
    if (index < m->changes_from || index - m->changes_from >= m->change_count) {
        return NULL;
    }
    return &m->changes[index - m->changes_from];
}

uint64_t model_epoch_index(const struct model *m, uint64_t index)
{
    uint64_t found = 0;

    for (uint64_t i = m->epoch_count; i > 0 && found == 0; i--) {
        found = m->epochs[i - 1] <= index ? m->epochs[i - 1] : 0;
    }
    return found;
}

/* --- the ledger ------------------------------------------------------------------------------ */

static void change_note(struct model *m, uint64_t index)
{
    m->changes = model_grow(m->changes, m->change_count, &m->change_cap, sizeof(*m->changes));
    CHECK(index == m->changes_from + m->change_count);
    m->changes[m->change_count++] = (struct model_change){0};
}

static const char *advance_data(struct model *m, const struct ledger_entry *e)
{
    enum { STAMP_SIZE = 20 };
    struct txn txn;
    struct blob *request;

    if (e->body == NULL || wire_txn_decode(e->body->data, e->body->size, &txn) != 0) {
        snprintf(m->text, sizeof(m->text), "entry %" PRIu64 " cannot be decoded", m->index + 1);
        return m->text;
    }
    txn.index = m->index + 1;
    request = blob_new(e->body->data + STAMP_SIZE, e->body->size - STAMP_SIZE);
    model_apply(m, &txn, request);
    blob_unref(request);
    codec_request_done(&txn.request);
    return NULL;
}

const char *model_advance(struct model *m, const struct ledger *ledger)
{
    const char *wrong = NULL;

    while (wrong == NULL && m->index < ledger->count) {
        const struct ledger_entry *e = ledger_at(ledger, m->index + 1);

        if (e->type == ZAB_ENTRY_EPOCH) {
            change_note(m, ++m->index);
            m->epochs = model_grow(m->epochs, m->epoch_count, &m->epoch_cap, sizeof(*m->epochs));
            m->epochs[m->epoch_count++] = m->index;
        } else {
            wrong = advance_data(m, e);
        }
    }
    return wrong;
}
