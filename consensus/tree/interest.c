#include "interest.h"

#include <utlist.h>

#include "hash.h"
#include "mem.h"
#include "table.h"

/* A subscription is in the list of its session and in that of its directory, both in the order of
 * subscription, and in a table by the pair. */

struct group { /* what one session, or one directory, is part of; gone when empty */
    struct table_link by_id;
    uint64_t id;
    struct subscription *head;
};

struct subscription {
    struct table_link by_pair;
    struct group *session;
    struct group *dir;
    struct subscription *session_prev, *session_next;
    struct subscription *dir_prev, *dir_next;
};

struct interest {
    struct slab slab; /* of what is in the tables */
    struct table pairs;
    struct table sessions;
    struct table dirs;
};

static uint64_t hash_pair(uint64_t session, uint64_t dir)
{
    return hash64(&dir, sizeof(dir), session);
}

static uint64_t hash_by_pair(const struct table_link *link)
{
    const struct subscription *s = TABLE_ITEM(link, struct subscription, by_pair);

    return hash_pair(s->session->id, s->dir->id);
}

static uint64_t hash_by_id(const struct table_link *link)
{
    return TABLE_ITEM(link, struct group, by_id)->id;
}

struct interest *interest_new(void)
{
    struct interest *in = mem_zalloc(sizeof(*in));

    TABLE_INIT(&in->pairs, &in->slab, struct subscription, by_pair, hash_by_pair);
    TABLE_INIT(&in->sessions, &in->slab, struct group, by_id, hash_by_id);
    TABLE_INIT(&in->dirs, &in->slab, struct group, by_id, hash_by_id);
    return in;
}

static void groups_free(struct table *t)
{
    struct table_link *link;
    size_t pos = 0;

    while ((link = table_take(t, &pos)) != NULL) {
        slab_free(TABLE_ITEM(link, struct group, by_id));
    }
    table_done(t);
}

void interest_free(struct interest *in)
{
    struct table_link *link;
    size_t pos = 0;

    if (in == NULL) {
        return;
    }
    while ((link = table_take(&in->pairs, &pos)) != NULL) {
        slab_free(TABLE_ITEM(link, struct subscription, by_pair));
    }
    table_done(&in->pairs);
    groups_free(&in->sessions);
    groups_free(&in->dirs);
    slab_done(&in->slab);
    mem_free(in);
}

static struct group *group_find(const struct table *t, uint64_t id)
{
    for (struct table_link *l = table_chain(t, id); l != NULL; l = table_next(t, l)) {
        struct group *g = TABLE_ITEM(l, struct group, by_id);

        if (g->id == id) {
            return g;
        }
    }
    return NULL;
}

static struct group *group_need(struct interest *in, struct table *t, uint64_t id)
{
    struct group *g = group_find(t, id);

    if (g == NULL) {
        g = slab_zalloc(&in->slab, sizeof(*g));
        g->id = id;
        table_add(t, &g->by_id);
    }
    return g;
}

static void group_leave(struct table *t, struct group *g)
{
    if (g->head == NULL) {
        table_remove(t, &g->by_id);
        slab_free(g);
    }
}

static struct subscription *subscription_find(const struct interest *in, uint64_t session,
                                              uint64_t dir)
{
    struct table_link *l = table_chain(&in->pairs, hash_pair(session, dir));

    for (; l != NULL; l = table_next(&in->pairs, l)) {
        struct subscription *s = TABLE_ITEM(l, struct subscription, by_pair);

        if (s->session->id == session && s->dir->id == dir) {
            return s;
        }
    }
    return NULL;
}

static void subscription_end(struct interest *in, struct subscription *s)
{
    table_remove(&in->pairs, &s->by_pair);
    DL_DELETE2(s->session->head, s, session_prev, session_next);
    DL_DELETE2(s->dir->head, s, dir_prev, dir_next);
    group_leave(&in->sessions, s->session);
    group_leave(&in->dirs, s->dir);
    slab_free(s);
}

void interest_add(struct interest *in, uint64_t session, uint64_t dir)
{
    struct subscription *s;

    if (interest_has(in, session, dir)) {
        return;
    }
    s = slab_zalloc(&in->slab, sizeof(*s));
    s->session = group_need(in, &in->sessions, session);
    s->dir = group_need(in, &in->dirs, dir);
    DL_APPEND2(s->session->head, s, session_prev, session_next);
    DL_APPEND2(s->dir->head, s, dir_prev, dir_next);
    table_add(&in->pairs, &s->by_pair);
}

void interest_remove(struct interest *in, uint64_t session, uint64_t dir)
{
    struct subscription *s = subscription_find(in, session, dir);

    if (s != NULL) {
        subscription_end(in, s);
    }
}

void interest_drop(struct interest *in, uint64_t session)
{
    struct group *g = group_find(&in->sessions, session);
    struct subscription *s = g != NULL ? g->head : NULL;

    while (s != NULL) { /* the group goes with its last subscription */
        struct subscription *next = s->session_next;

        subscription_end(in, s);
        s = next;
    }
}

void interest_drop_dir(struct interest *in, uint64_t dir)
{
    struct group *g = group_find(&in->dirs, dir);
    struct subscription *s = g != NULL ? g->head : NULL;

    while (s != NULL) {
        struct subscription *next = s->dir_next;

        subscription_end(in, s);
        s = next;
    }
}

bool interest_has(const struct interest *in, uint64_t session, uint64_t dir)
{
    return subscription_find(in, session, dir) != NULL;
}

size_t interest_count(const struct interest *in)
{
    return in->pairs.count;
}

void interest_each(const struct interest *in, uint64_t dir, interest_fn fn, void *ctx)
{
    const struct group *g = group_find(&in->dirs, dir);

    for (const struct subscription *s = g != NULL ? g->head : NULL; s != NULL; s = s->dir_next) {
        fn(ctx, s->session->id);
    }
}
