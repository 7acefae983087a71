#include "client_int.h"

#include <inttypes.h>
#include <string.h>

#include "err.h"

/* What clients were told, held against the committed entries. The rules, by the names that a
 * verdict gives them:
 *
 *   reply          nothing is answered that was not asked, or that cannot be decoded
 *   ledger         no index is told that the ledger does not have
 *   lost-write     what was acknowledged is in the ledger, as it was sent
 *   refused-write  what was certainly not applied is not in the ledger
 *   write-reply    the answer is that of the model, at the first entry that carries the request
 *   order          an entry is above every index that was told before it was asked for
 *   session-order  answers of one session never go back, over all members it moves to
 *   barrier        after a barrier, what was told to anybody before it began is visible
 *   read           the answer is what the model has at its index
 *   session        HELLO finds the session there is; EXPIRED is said of one that ended
 *   expiry         no session is ended sooner than its timeout after it was opened, or after the
 *                  leader that ended it was elected
 *   event-order, event-content, event-gap, event-group: see client_events.c
 *
 * An entry is placed in time by what is certain: it was proposed after its request was first sent,
 * and committed before anybody was told of its index. */

enum { EXPIRY_PERCENT = 90 }; /* of the timeout; the rest is for members' clocks */

static bool same(const struct blob *a, const void *bytes, size_t size)
{
    return a != NULL && a->size == size && memcmp(a->data, bytes, size) == 0;
}

/* --- writes ---------------------------------------------------------------------------------- */

static bool session_dead_at(const struct clients *cs, uint64_t session, uint64_t index)
{
    const struct model_session *s = model_session(cs->model, session);

    return s != NULL && s->dead <= index;
}

static const char *judge_write(struct clients *cs, const struct record *r)
{
    struct model_result *result = model_result(cs->model, r->session, r->xid);
    const char *wrong = NULL;

    if (r->err == ERR_EXPIRED) {
        return session_dead_at(cs, r->session, r->index)
                   ? NULL
                   : client_verdict(cs, r, "session", "EXPIRED, but the session lives");
    }
    cs->counts.writes_checked++;
    if (result == NULL || result->reply == NULL) {
        return client_verdict(cs, r, "lost-write",
                              "answered, but no entry up to %" PRIu64 " carries it with effect",
                              model_index(cs->model));
    }
    if (!same(result->request, r->request->data, r->request->size)) {
        return client_verdict(cs, r, "lost-write", "entry %" PRIu64 " is not what was sent",
                              result->index);
    }
    if (!same(result->reply, r->bytes->data, r->bytes->size)) {
        wrong = client_differs(cs, r, "write-reply", result->reply->data, result->reply->size);
    } else if (result->index <= r->floor) {
        wrong = client_verdict(cs, r, "order",
                               "its entry %" PRIu64 " is not above %" PRIu64
                               ", which was told before it was asked for",
                               result->index, r->floor);
    }
    return wrong;
}

/* A write without an answer: in the ledger or not, but not before it was asked for. Done when it
 * cannot take effect any more. */
static const char *judge_loose(struct clients *cs, const struct record *r, bool *ret_done)
{
    struct model_result *result = model_result(cs->model, r->session, r->xid);
    const struct model_session *s = model_session(cs->model, r->session);

    *ret_done = result != NULL || s == NULL || s->dead != MODEL_ALIVE || s->xid_floor > r->xid;
    if (result == NULL) {
        return NULL;
    }
    if (r->never) {
        return client_verdict(cs, r, "refused-write",
                              "refused as certainly not applied, but "
                              "entry %" PRIu64 " has it",
                              result->index);
    }
    if (result->index <= r->floor) {
        return client_verdict(cs, r, "order",
                              "its entry %" PRIu64 " is not above %" PRIu64
                              ", which was told before it was asked for",
                              result->index, r->floor);
    }
    if (!same(result->request, r->request->data, r->request->size)) {
        return client_verdict(cs, r, "lost-write", "entry %" PRIu64 " is not what was sent",
                              result->index);
    }
    return NULL;
}

/* --- reads ----------------------------------------------------------------------------------- */

/* A member forgets the past sooner or later, and so does the model. */
static bool past_unknown(const struct clients *cs, const struct record *r)
{
    return r->past != 0 && (r->err == ERR_COMPACTED || r->past < model_floor(cs->model));
}

static const char *judge_read(struct clients *cs, const struct record *r)
{
    const char *wrong = NULL;
    struct message got, asked;

    cs->counts.reads_checked++;
    if (r->index < r->need) {
        return client_verdict(cs, r, "barrier", "asked behind a barrier, so not below %" PRIu64,
                              r->need);
    }
    if (r->op == OP_SYNC) {
        return r->err == 0 && r->index < r->floor
                   ? client_verdict(cs, r, "barrier",
                                    "not below %" PRIu64 ", which was told before it was asked for",
                                    r->floor)
                   : NULL;
    }
    if (r->op == OP_INTEREST && r->err == ERR_COMPACTED) {
        return NULL;
    }
    CHECK(codec_decode(r->bytes->data, r->bytes->size, &got) == 0);
    CHECK(codec_decode(r->request->data, r->request->size, &asked) == 0);
    cs->scratch.size = 0;
    if (r->op == OP_LOG || r->op == OP_EVENTS) {
        wrong = r->op == OP_LOG ? client_log_judge(cs, r, &asked.u.request, &got.u.reply) : NULL;
        codec_message_done(&got);
        codec_message_done(&asked);
        return wrong;
    }
    if (r->op == OP_LOCKS || r->op == OP_LOCK_TEST) {
        wrong = model_locks_wrong(cs->model, r->session, &asked.u.request, &got.u.reply);
        codec_message_done(&got);
        codec_message_done(&asked);
        return wrong != NULL ? client_verdict(cs, r, "locks", "%s", wrong) : NULL;
    }
    if (r->past != 0 && r->err == 0 && r->index != r->past) {
        wrong = client_verdict(cs, r, "read", "asked for as of %" PRIu64, r->past);
    }
    if (wrong != NULL || past_unknown(cs, r)) {
        codec_message_done(&got);
        codec_message_done(&asked);
        return wrong;
    }
    model_read(cs->model, r->index, &asked.u.request, &got.u.reply, &cs->scratch);
    if (!same(r->bytes, cs->scratch.data, cs->scratch.size)) {
        wrong = client_differs(cs, r, "read", cs->scratch.data, cs->scratch.size);
    }
    codec_message_done(&got);
    codec_message_done(&asked);
    return wrong;
}

/* --- order and events of a session ----------------------------------------------------------- */

/* A member that is behind does not know a directory that another has told of, and there is nothing
 * to hear of it. */
static bool was_directory(const struct clients *cs, uint64_t id, uint64_t index)
{
    const struct model_node *n = model_node(cs->model, id);

    return n != NULL && n->type == NODE_DIR && n->born <= index;
}

static void follow_interest(const struct clients *cs, struct client *c, const struct record *r,
                            bool since_index)
{
    struct message m;

    CHECK(codec_decode(r->request->data, r->request->size, &m) == 0);
    for (uint32_t i = 0; i < m.u.request.u.interest.count; i++) {
        uint64_t dir = m.u.request.u.interest.ids[i];

        if (r->op == OP_FORGET) {
            interest_set_drop(&c->interest, dir);
        } else if (!since_index || was_directory(cs, dir, r->index)) {
            interest_set_add(&c->interest, dir, since_index ? r->index : r->heard);
        }
    }
    codec_message_done(&m);
}

/* A write's answer may be an old one, given again, and a read may ask for the past: then it tells
 * nothing of the present. */
static bool is_old(const struct clients *cs, const struct record *r)
{
    const struct model_result *result;

    if (client_is_local(r->err)) {
        return false;
    }
    if (!op_is_write(r->op)) {
        return r->err == 0 && r->past != 0; /* of the index that was asked for */
    }
    result = model_result(cs->model, r->session, r->xid);
    return r->sends > 1 || (result != NULL && result->entries > 1);
}

static const char *judge_all(struct clients *cs, struct client *c, const struct record *r)
{
    const char *wrong;
    struct message asked, got;

    CHECK(codec_decode(r->request->data, r->request->size, &asked) == 0);
    CHECK(codec_decode(r->bytes->data, r->bytes->size, &got) == 0);
    wrong = client_all_answered(cs, c, r, asked.u.request.u.events.index_from,
                                got.u.reply.u.events.index_from);
    if (wrong == NULL && client_events_missing(cs, c, r->index) != 0) {
        wrong = client_verdict(cs, r, "event-gap", "answered before all was told");
    }
    c->judged_heard = r->index > c->judged_heard ? r->index : c->judged_heard;
    codec_message_done(&asked);
    codec_message_done(&got);
    return wrong;
}

static const char *judge_session(struct clients *cs, struct client *c, const struct record *r)
{
    bool old = is_old(cs, r);
    uint64_t missing;

    if (!old && r->index < c->judged_seen) {
        return client_verdict(cs, r, "session-order", "its session had seen %" PRIu64,
                              c->judged_seen);
    }
    if (r->index > c->judged_seen) {
        c->judged_seen = r->index;
    }
    if (r->op == OP_INTEREST && r->err == ERR_COMPACTED) { /* a gap, and said so */
        c->judged_heard = r->index > c->judged_heard ? r->index : c->judged_heard;
        interest_set_clear(&c->interest);
        follow_interest(cs, c, r, true);
        return NULL;
    }
    if (c->group_index != 0) {
        return client_verdict(cs, r, "event-group", "answered amid the changes of entry %" PRIu64,
                              c->group_index);
    }
    if (client_grants_missing(cs, c, r->index) != 0) {
        return client_verdict(cs, r, "event-gap", "answered before a grant was told");
    }
    if (c->all == ALL_ASKED || c->all_open) {
        return r->op == OP_EVENTS ? judge_all(cs, c, r) : NULL;
    }
    /* What the end of a session brings is shown to others only. */
    missing = client_events_missing(
        cs, c, r->op == OP_SESSION_CLOSE && r->err == 0 ? r->index - 1 : r->index);
    if (missing != 0) {
        return client_verdict(cs, r, "event-gap",
                              "answered before the change of index %" PRIu64
                              ", in a directory of interest, was told",
                              missing);
    }
    if (r->index > c->judged_heard) {
        c->judged_heard = r->index;
    }
    if (r->op == OP_INTEREST || r->op == OP_FORGET) {
        follow_interest(cs, c, r, true);
    }
    for (int i = 0; i < 2 && !old; i++) {
        if (r->dirs[i] != 0) {
            interest_set_add(&c->interest, r->dirs[i], r->index);
        }
    }
    return NULL;
}

static const char *judge_reply(struct clients *cs, struct client *c, const struct record *r)
{
    const char *wrong;

    if (r->index > model_index(cs->model)) {
        return client_verdict(cs, r, "ledger", "the ledger ends at %" PRIu64,
                              model_index(cs->model));
    }
    wrong = judge_session(cs, c, r);
    if (wrong != NULL || client_is_local(r->err)) {
        return wrong;
    }
    return op_is_write(r->op) ? judge_write(cs, r) : judge_read(cs, r);
}

static const char *judge_opened(struct clients *cs, const struct record *r)
{
    const struct model_session *s = model_session(cs->model, r->session);
    const char *wrong = NULL;
    struct message m;

    if (s == NULL || s->id > r->index || s->dead <= r->index ||
        memcmp(s->key.bytes, r->key.bytes, sizeof(s->key.bytes)) != 0) {
        return client_verdict(cs, r, "session", "HELLO found a session that is not there");
    }
    if (s->id <= r->floor) {
        return client_verdict(cs, r, "order",
                              "opened by an entry not above %" PRIu64
                              ", which was told before it was asked for",
                              r->floor);
    }
    CHECK(codec_decode(r->bytes->data, r->bytes->size, &m) == 0);
    if (m.u.reply.u.hello.timeout_ms != s->timeout_ms || m.u.reply.u.hello.member != r->need) {
        wrong = client_verdict(cs, r, "session",
                               "HELLO of member %" PRIu64 " with timeout %u, "
                               "got member %u, timeout %u",
                               r->need, s->timeout_ms, m.u.reply.u.hello.member,
                               m.u.reply.u.hello.timeout_ms);
    }
    codec_message_done(&m);
    return wrong;
}

static const char *judge_hello(struct clients *cs, struct client *c, const struct record *r)
{
    if (r->index > model_index(cs->model)) {
        return client_verdict(cs, r, "ledger", "the ledger ends at %" PRIu64,
                              model_index(cs->model));
    }
    if (r->err == ERR_EXPIRED) {
        return session_dead_at(cs, r->session, r->index)
                   ? NULL
                   : client_verdict(cs, r, "session", "EXPIRED, but the session lives");
    }
    if (r->err != 0) {
        return client_is_local(r->err) ? NULL
                                       : client_verdict(cs, r, "session", "no answer to HELLO");
    }
    if (r->index < c->judged_seen) {
        return client_verdict(cs, r, "session-order", "resumed, having seen %" PRIu64,
                              c->judged_seen);
    }
    c->judged_seen = r->index;
    c->judged_session = r->session;
    interest_set_clear(&c->interest);
    c->judged_heard = r->heard != 0 ? r->heard : r->index;
    c->granted_upto = r->index;
    c->told_count = 0;
    c->group_index = 0;
    c->all = ALL_OFF;
    c->all_open = false;
    if (r->asks_all) {
        client_all_asked(c);
    } else if (r->heard != 0) {
        follow_interest(cs, c, r, false);
    }
    return judge_opened(cs, r);
}

/* --- time ------------------------------------------------------------------------------------ */

static void asked_at(struct clients *cs, uint64_t index, uint64_t asked_us)
{
    if (index >= cs->asked_count && index <= model_index(cs->model)) {
        uint64_t count = model_index(cs->model) + 1;

        if (count > cs->asked_cap) {
            cs->asked_cap = 2 * count;
            cs->asked_us = mem_realloc(cs->asked_us, cs->asked_cap * sizeof(*cs->asked_us));
        }
        memset(cs->asked_us + cs->asked_count, 0,
               (count - cs->asked_count) * sizeof(*cs->asked_us));
        cs->asked_count = count;
    }
    if (index < cs->asked_count && cs->asked_us[index] < asked_us) {
        cs->asked_us[index] = asked_us;
    }
}

/* When the entries were asked for at the earliest: no entry was before one below it. */
static void place_in_time(struct clients *cs)
{
    uint64_t from = cs->asked_count;

    asked_at(cs, model_index(cs->model), 0);
    for (uint64_t i = 0; i < cs->record_count; i++) {
        const struct record *r = &cs->records[i];
        const struct model_result *result = NULL;

        if (r->kind == RECORD_HELLO && r->err == 0 && !r->resume) {
            asked_at(cs, r->session, r->asked_us);
        } else if (r->kind == RECORD_LOOSE || (r->kind == RECORD_REPLY && op_is_write(r->op))) {
            result = model_result(cs->model, r->session, r->xid);
        }
        if (result != NULL) {
            asked_at(cs, result->index, r->asked_us);
        }
    }
    for (uint64_t i = from > 0 ? from : 1; i < cs->asked_count; i++) {
        if (cs->asked_us[i] < cs->asked_us[i - 1]) {
            cs->asked_us[i] = cs->asked_us[i - 1];
        }
    }
}

/* When somebody was first told of this index or a higher one; UINT64_MAX: not yet. */
static uint64_t told_us(const struct clients *cs, uint64_t index)
{
    uint64_t low = 0, high = cs->sighting_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (cs->sightings[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cs->sighting_count ? cs->sightings[low].at_us : UINT64_MAX;
}

static const char *judge_expiries(struct clients *cs)
{
    const struct model_session *s;

    for (; (s = model_expired(cs->model, cs->expired_at)) != NULL; cs->expired_at++) {
        uint64_t epoch = model_epoch_index(cs->model, s->dead);
        uint64_t from = epoch > s->id ? epoch : s->id;
        uint64_t told = told_us(cs, s->dead);
        struct record r = {.session = s->id, .index = s->dead, .op = OP_SESSION_CLOSE};

        if (told == UINT64_MAX) {
            return NULL; /* judged when its time is known */
        }
        r.asked_us = cs->asked_us[from];
        r.at_us = told;
        if (told - r.asked_us < (uint64_t)s->timeout_ms * 10 * EXPIRY_PERCENT) {
            return client_verdict(cs, &r, "expiry",
                                  "ended %" PRIu64 " us after entry %" PRIu64
                                  " at the latest; its timeout is %u ms",
                                  told - r.asked_us, from, s->timeout_ms);
        }
    }
    return NULL;
}

/* --- all ------------------------------------------------------------------------------------- */

static const char *judge_record(struct clients *cs, struct record *r, bool *ret_done)
{
    struct client *c = &cs->all[r->client];

    *ret_done = true;
    switch (r->kind) {
    case RECORD_REPLY:
        return judge_reply(cs, c, r);
    case RECORD_HELLO:
        return judge_hello(cs, c, r);
    case RECORD_EVENT:
        if (r->index > c->judged_seen) {
            c->judged_seen = r->index;
        }
        return client_event_judge(cs, c, r);
    case RECORD_LOOSE:
        return judge_loose(cs, r, ret_done);
    default:
        return client_verdict(cs, r, "reply", "%s", r->wrong);
    }
}

/* What is only needed for answers that can no longer come is let go. */
static void forget(struct clients *cs)
{
    uint64_t index = UINT64_MAX;
    uint64_t gone = 0;

    for (uint32_t i = 0; i < cs->conf.count; i++) {
        const struct client *c = &cs->all[i];
        uint64_t needed = c->seen < c->heard ? c->seen : c->heard;

        needed = needed < c->judged_heard ? needed : c->judged_heard;
        index = needed < index ? needed : index;
    }
    if (index >= model_floor(cs->model) + 256) {
        model_prune(cs->model, index);
    }
    /* Expiries up to here are judged, or wait for a first sighting that is yet to come. */
    while (gone < cs->sighting_count && cs->sightings[gone].index <= model_index(cs->model)) {
        gone++;
    }
    cs->sighting_count -= gone;
    memmove(cs->sightings, cs->sightings + gone, cs->sighting_count * sizeof(*cs->sightings));
}

/* The model keeps what an answered request led to only as long as it may be judged. */
static void result_done(struct clients *cs, const struct record *r)
{
    struct model_result *result;

    if (r->kind == RECORD_LOOSE || (r->kind == RECORD_REPLY && op_is_write(r->op) &&
                                    !client_is_local(r->err) && r->err != ERR_EXPIRED)) {
        result = model_result(cs->model, r->session, r->xid);
        if (result != NULL) {
            model_result_forget(result);
        }
    }
}

const char *clients_judge(struct clients *cs, const struct ledger *ledger)
{
    const char *wrong = model_advance(cs->model, ledger);
    uint64_t kept = 0;

    place_in_time(cs);
    for (uint64_t i = 0; i < cs->record_count && wrong == NULL; i++) {
        struct record *r = &cs->records[i];
        bool done;

        wrong = judge_record(cs, r, &done);
        if (wrong == NULL && done) {
            result_done(cs, r);
            client_record_done(r);
        } else if (wrong == NULL) {
            struct record open = *r;

            r->request = NULL;
            cs->records[kept++] = open;
        }
    }
    if (wrong != NULL) {
        return wrong;
    }
    cs->record_count = kept;
    wrong = judge_expiries(cs);
    if (wrong == NULL) {
        forget(cs);
    }
    return wrong;
}
