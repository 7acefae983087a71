#include "client_int.h"

#include <string.h>

#include "err.h"

/* The events of one client, held against the model: each change of the directories it asked about
 * comes once, in order, before any answer that shows it, and as it was. */

void interest_set_clear(struct interest_set *s)
{
    s->count = 0;
}

void interest_set_add(struct interest_set *s, uint64_t dir, uint64_t since)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            return;
        }
    }
    if (s->count == s->cap) {
        s->cap = 2 * s->cap + 16;
        s->dirs = mem_realloc(s->dirs, s->cap * sizeof(*s->dirs));
        s->since = mem_realloc(s->since, s->cap * sizeof(*s->since));
    }
    s->dirs[s->count] = dir;
    s->since[s->count++] = since;
}

void interest_set_drop(struct interest_set *s, uint64_t dir)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            s->count--;
            s->dirs[i] = s->dirs[s->count];
            s->since[i] = s->since[s->count];
            return;
        }
    }
}

void interest_set_done(struct interest_set *s)
{
    mem_free(s->dirs);
    mem_free(s->since);
    *s = (struct interest_set){0};
}

static bool covers(const struct interest_set *s, uint64_t dir, uint64_t index)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            return index > s->since[i];
        }
    }
    return false;
}

static bool concerns(const struct client *c, const struct model_change *change, uint64_t index)
{
    if (change == NULL || change->event_count == 0) {
        return false;
    }
    if (c->all == ALL_ON && index > c->all_since) {
        return true;
    }
    for (uint32_t i = 0; i < change->event_count; i++) {
        const struct model_event *e = &change->events[i];

        if (covers(&c->interest, e->dir, index) ||
            (e->from_dir != 0 && covers(&c->interest, e->from_dir, index))) {
            return true;
        }
    }
    return false;
}

uint64_t client_events_missing(const struct clients *cs, const struct client *c, uint64_t index)
{
    for (uint64_t i = c->judged_heard + 1; i <= index; i++) {
        if (concerns(c, model_change(cs->model, i), i)) {
            return i;
        }
    }
    return 0;
}

/* --- grants ---------------------------------------------------------------------------------- */

static bool is_told(const struct client *c, const struct model_grant *g, uint64_t index)
{
    for (uint32_t i = 0; i < c->told_count; i++) {
        const struct told_grant *t = &c->told[i];

        if (t->index == index && t->grant.node == g->node && t->grant.owner == g->owner &&
            t->grant.kind == g->kind) {
            return true;
        }
    }
    return false;
}

uint64_t client_grants_missing(const struct clients *cs, struct client *c, uint64_t index)
{
    for (uint64_t i = c->granted_upto + 1; i <= index; i++) {
        const struct model_change *change = model_change(cs->model, i);

        for (uint32_t k = 0; change != NULL && k < change->grant_count; k++) {
            if (change->grants[k].session == c->judged_session &&
                !is_told(c, &change->grants[k], i)) {
                return i;
            }
        }
    }
    if (index > c->granted_upto) {
        c->granted_upto = index;
        c->told_count = 0;
    }
    return 0;
}

static const char *judge_grant(struct clients *cs, struct client *c, const struct record *r,
                               const struct event *e)
{
    const struct model_change *change = model_change(cs->model, r->index);
    struct model_grant g = {e->session, e->attr.id, e->xid, (enum lock_kind)e->lock_kind};
    bool found = false;

    if (r->index <= c->granted_upto || is_told(c, &g, r->index)) {
        return client_verdict(cs, r, "event-order", "a grant told twice or late");
    }
    for (uint32_t k = 0; change != NULL && k < change->grant_count; k++) {
        const struct model_grant *want = &change->grants[k];

        found = found || (want->session == g.session && want->node == g.node &&
                          want->owner == g.owner && want->kind == g.kind);
    }
    if (!found || g.session != c->judged_session) {
        return client_verdict(cs, r, "event-content", "a grant that nobody was given");
    }
    if (client_grants_missing(cs, c, r->index - 1) != 0) {
        return client_verdict(cs, r, "event-gap", "an earlier grant was not told");
    }
    if (c->told_count < TOLD_MAX) {
        c->told[c->told_count++] = (struct told_grant){r->index, g};
    }
    return NULL;
}

/* --- changes --------------------------------------------------------------------------------- */

/* The next change of the entry whose changes are being told. */
static const char *judge_part(struct clients *cs, struct client *c, const struct record *r)
{
    const struct model_change *change = model_change(cs->model, r->index);
    const struct model_event *e = &change->events[c->group_next];

    if (e->bytes->size != r->bytes->size ||
        memcmp(e->bytes->data, r->bytes->data, r->bytes->size) != 0) {
        return client_verdict(cs, r, "event-content", "the event is not what entry %llu changed",
                              (unsigned long long)r->index);
    }
    if (++c->group_next == change->event_count) {
        c->group_index = 0;
        c->judged_heard = r->index;
    }
    return NULL;
}

static const char *judge_change(struct clients *cs, struct client *c, const struct record *r)
{
    const struct model_change *change;
    uint64_t missing = 0;

    if (r->index <= c->judged_heard) {
        return client_verdict(cs, r, "event-order",
                              "an event of index %llu, after all up to %llu had been told",
                              (unsigned long long)r->index, (unsigned long long)c->judged_heard);
    }
    change = model_change(cs->model, r->index);
    if (change == NULL || change->event_count == 0) {
        return client_verdict(cs, r, "event-content", "entry %llu changed nothing",
                              (unsigned long long)r->index);
    }
    if (c->all == ALL_ASKED && c->all_first == 0) {
        c->all_first = r->index; /* the answer tells whether there was one before */
        c->all_since = r->index - 1;
        c->all = ALL_ON;
        c->all_open = true;
    } else {
        missing = client_events_missing(cs, c, r->index - 1);
    }
    if (missing != 0) {
        return client_verdict(cs, r, "event-gap",
                              "the change of index %llu, in a directory of interest, was not told",
                              (unsigned long long)missing);
    }
    c->group_index = r->index;
    c->group_next = 0;
    return judge_part(cs, c, r);
}

const char *client_event_judge(struct clients *cs, struct client *c, const struct record *r)
{
    const char *wrong;
    struct message m;

    CHECK(codec_decode(r->bytes->data, r->bytes->size, &m) == 0);
    if (c->group_index != 0 && c->group_index != r->index) {
        wrong = client_verdict(cs, r, "event-group", "not all that entry %llu changed was told",
                               (unsigned long long)c->group_index);
    } else if (m.u.event.kind == CHANGE_GRANT) {
        wrong = judge_grant(cs, c, r, &m.u.event);
    } else if (c->group_index != 0) {
        wrong = judge_part(cs, c, r);
    } else {
        wrong = judge_change(cs, c, r);
    }
    codec_message_done(&m);
    return wrong;
}

/* --- everything ------------------------------------------------------------------------------ */

void client_all_asked(struct client *c)
{
    c->all = ALL_ASKED;
    c->all_first = 0;
    c->all_open = false;
}

/* All changes behind `from`, which the answer names, were to be told before it. */
const char *client_all_answered(struct clients *cs, struct client *c, const struct record *r,
                                uint64_t asked, uint64_t from)
{
    uint64_t upto = c->all_first != 0 ? c->all_first - 1 : r->index;

    if (from < asked || from > r->index) {
        return client_verdict(cs, r, "event-gap", "changes behind %llu asked for, behind %llu had",
                              (unsigned long long)asked, (unsigned long long)from);
    }
    for (uint64_t i = from + 1; i <= upto; i++) {
        const struct model_change *change = model_change(cs->model, i);

        if (change != NULL && change->event_count > 0) {
            return client_verdict(cs, r, "event-gap", "the change of index %llu was not told",
                                  (unsigned long long)i);
        }
    }
    if (c->all_first == 0) {
        c->all_since = from;
        c->judged_heard = r->index > c->judged_heard ? r->index : c->judged_heard;
    }
    c->all = ALL_ON;
    c->all_open = false;
    return NULL;
}

/* --- the log of a name ----------------------------------------------------------------------- */

static bool same_name(struct name a, struct name b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

static bool is_of(const struct event *e, const struct request *q)
{
    return (e->dir == q->u.log.dir && same_name(e->name, q->u.log.name)) ||
           (e->kind == CHANGE_MOVE && e->from_dir == q->u.log.dir &&
            same_name(e->from_name, q->u.log.name));
}

/* The changes of one entry, beginning with the one shown as number `at`; returns how many there
 * are, or UINT32_MAX if another is shown. */
static uint32_t log_group(struct clients *cs, const struct model_change *change,
                          const struct request *q, const struct reply *got, uint32_t at)
{
    struct buf shown = {0};
    uint32_t found = 0;

    for (uint32_t i = 0; i < change->event_count && found != UINT32_MAX; i++) {
        const struct model_event *made = &change->events[i];
        struct message m;

        if (made->dir != q->u.log.dir && made->from_dir != q->u.log.dir) {
            continue;
        }
        CHECK(codec_decode(made->bytes->data, made->bytes->size, &m) == 0);
        if (is_of(&m.u.event, q)) {
            struct event e = m.u.event;
            struct event s = at + found < got->u.log.count ? got->u.log.list[at + found] : e;

            e.has_value = e.more = s.more = false;
            e.value = NULL;
            cs->scratch.size = shown.size = 0;
            codec_encode_event(&cs->scratch, &e);
            codec_encode_event(&shown, &s);
            found = at + found < got->u.log.count && shown.size == cs->scratch.size &&
                            memcmp(shown.data, cs->scratch.data, shown.size) == 0
                        ? found + 1
                        : UINT32_MAX;
        }
        codec_message_done(&m);
    }
    buf_done(&shown);
    return found;
}

const char *client_log_judge(struct clients *cs, const struct record *r, const struct request *q,
                             const struct reply *got)
{
    uint64_t from = q->u.log.after > got->u.log.floor ? q->u.log.after : got->u.log.floor;
    uint32_t at = 0;

    if (r->err != 0) {
        return NULL;
    }
    if (from < model_floor(cs->model)) { /* what is older is not known here */
        from = model_floor(cs->model);
        while (at < got->u.log.count && got->u.log.list[at].index <= from) {
            at++;
        }
    }
    for (uint64_t i = from + 1; i <= r->index && (got->u.log.end || at < got->u.log.count); i++) {
        const struct model_change *change = model_change(cs->model, i);
        uint32_t found = change != NULL ? log_group(cs, change, q, got, at) : 0;

        if (found == UINT32_MAX) {
            return client_verdict(cs, r, "log", "not what entry %llu did to the name",
                                  (unsigned long long)i);
        }
        at += found;
    }
    if (at != got->u.log.count) {
        return client_verdict(cs, r, "log", "%u changes are shown, and %u were made",
                              got->u.log.count, at);
    }
    return NULL;
}
