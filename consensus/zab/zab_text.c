#include "zab_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* One line per event and effect. Golden traces compare these literally and debug logs show them, so
 * the form is an interface. A position is epoch.index; chains are left out. */

struct text {
    char *at;
    size_t left; /* with room for the NUL */
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int size = vsnprintf(t->at, t->left, fmt, args);
    va_end(args);
    size_t used = size < 0 ? 0 : (size_t)size;

    used = used < t->left ? used : t->left - 1;
    t->at += used;
    t->left -= used;
}

static void put_u64(struct text *t, const char *name, uint64_t value)
{
    put(t, " %s=%" PRIu64, name, value);
}

static void put_pos(struct text *t, const char *name, const struct zab_pos *pos)
{
    put(t, " %s=%" PRIu64 ".%" PRIu64, name, pos->epoch, pos->index);
}

static void put_entries(struct text *t, const struct zab_entry *entries, uint32_t count)
{
    if (count == 0) {
        put(t, " entries=none");
        return;
    }
    struct zab_pos first = zab_entry_pos(&entries[0]);
    struct zab_pos last = zab_entry_pos(&entries[count - 1]);

    put_pos(t, "entries", &first);
    if (count > 1) {
        put(t, "..%" PRIu64 ".%" PRIu64, last.epoch, last.index);
    }
}

const char *zab_role_text(enum zab_role role)
{
    switch (role) {
    case ZAB_FOLLOWER:
        return "follower";
    case ZAB_PRECANDIDATE:
        return "precandidate";
    case ZAB_CANDIDATE:
        return "candidate";
    case ZAB_LEADER:
        return "leader";
    }
    return "?";
}

static const char *msg_type_text(enum zab_msg_type type)
{
    static const char names[][16] = {
        [ZAB_PREVOTE] = "prevote",     [ZAB_PREVOTE_R] = "prevote_r",
        [ZAB_VOTE] = "vote",           [ZAB_VOTE_R] = "vote_r",
        [ZAB_HELLO] = "hello",         [ZAB_TRUNC] = "trunc",
        [ZAB_PROPOSE] = "propose",     [ZAB_ACK] = "ack",
        [ZAB_HEARTBEAT] = "heartbeat", [ZAB_HEARTBEAT_R] = "heartbeat_r",
        [ZAB_READ] = "read",           [ZAB_READ_R] = "read_r",
    };

    return type >= ZAB_PREVOTE && type <= ZAB_MSG_TYPE_MAX ? names[type] : "?";
}

static void put_ack(struct text *t, const struct zab_msg *m)
{
    put_u64(t, "round", m->round);
    put_u64(t, "sync", m->sync);
    put_u64(t, "received", m->received);
    put_u64(t, "durable", m->durable);
}

static void put_msg_fields(struct text *t, const struct zab_msg *m)
{
    switch (m->type) {
    case ZAB_PREVOTE:
    case ZAB_VOTE:
        put_pos(t, "last", &m->last);
        put(t, "%s", m->fresh != 0 ? " forming" : "");
        put(t, "%s", m->unformed && m->last.index > 0 ? " restored" : "");
        break;
    case ZAB_PREVOTE_R:
    case ZAB_VOTE_R:
        put(t, " granted=%s", m->granted ? "yes" : "no");
        put_u64(t, "promised", m->promised);
        put(t, "%s", m->fresh != 0 ? " fresh" : "");
        break;
    case ZAB_HELLO:
        put_u64(t, "sync", m->sync);
        put_pos(t, "at", &m->last);
        put_u64(t, "last", m->received);
        put_u64(t, "commit", m->commit);
        put(t, "%s", m->faulty ? " faulty" : "");
        break;
    case ZAB_TRUNC:
        put_u64(t, "sync", m->sync);
        put_pos(t, "to", &m->last);
        break;
    case ZAB_PROPOSE:
        put_u64(t, "sync", m->sync);
        put_pos(t, "prev", &m->last);
        put_entries(t, m->entries, m->entry_count);
        put_u64(t, "commit", m->commit);
        break;
    case ZAB_ACK:
    case ZAB_HEARTBEAT_R:
        put_ack(t, m);
        break;
    case ZAB_HEARTBEAT:
        put_u64(t, "round", m->round);
        put_u64(t, "commit", m->commit);
        put_u64(t, "sync", m->sync);
        put_pos(t, "sent", &m->last);
        put(t, "%s", m->lease ? " lease" : "");
        if (m->digest_index != 0) {
            put(t, " digest=%" PRIu64 ":%016" PRIx64, m->digest_index, m->digest);
        }
        break;
    case ZAB_READ:
        put_u64(t, "read", m->read);
        put(t, "%s", m->quorum ? " quorum" : "");
        break;
    case ZAB_READ_R:
        put_u64(t, "read", m->read);
        put_u64(t, "commit", m->commit);
        break;
    }
}

static void put_msg(struct text *t, const struct zab_msg *m)
{
    put(t, "%" PRIu32 ">%" PRIu32 " %s epoch=%" PRIu64, m->from, m->to, msg_type_text(m->type),
        m->epoch);
    put_msg_fields(t, m);
}

void zab_event_text(const struct zab_event *ev, char *ret, size_t cap)
{
    struct text t = {ret, cap};

    CHECK(cap > 0);
    switch (ev->type) {
    case ZAB_EV_TICK:
        put(&t, "tick");
        break;
    case ZAB_EV_MSG:
        put_msg(&t, ev->u.msg);
        break;
    case ZAB_EV_LINK_UP:
    case ZAB_EV_LINK_DOWN:
        put(&t, "link_%s", ev->type == ZAB_EV_LINK_UP ? "up" : "down");
        put_u64(&t, "peer", ev->u.peer);
        break;
    case ZAB_EV_PROPOSE:
        put(&t, "propose");
        put_u64(&t, "size", ev->u.body != NULL ? ev->u.body->size : 0);
        break;
    case ZAB_EV_FLUSH:
        put(&t, "flush");
        break;
    case ZAB_EV_DURABLE:
        put(&t, "durable");
        put_u64(&t, "seq", ev->u.seq);
        break;
    case ZAB_EV_APPLIED:
        put(&t, "applied");
        put_u64(&t, "index", ev->u.index);
        break;
    case ZAB_EV_SNAPSHOT:
        put(&t, "snapshot");
        put_u64(&t, "index", ev->u.index);
        break;
    case ZAB_EV_READ:
        put(&t, "read");
        put_u64(&t, "id", ev->u.read.id);
        put(&t, "%s", ev->u.read.quorum ? " quorum" : "");
        break;
    case ZAB_EV_SNAP_LOADED:
        put(&t, "snap_loaded");
        put_pos(&t, "pos", &ev->u.snap.pos);
        put_u64(&t, "seq", ev->u.snap.seq);
        break;
    case ZAB_EV_SNAP_FAILED:
        put(&t, "snap_failed");
        break;
    case ZAB_EV_SNAP_SENT:
        put(&t, "snap_sent");
        put_u64(&t, "peer", ev->u.snap_sent.peer);
        put(&t, " granted=%s", ev->u.snap_sent.granted ? "yes" : "no");
        break;
    case ZAB_EV_DIGEST:
        put(&t, "digest=%" PRIu64 ":%016" PRIx64, ev->u.digest.index, ev->u.digest.digest);
        break;
    case ZAB_EV_STORAGE:
        put(&t, "storage full=%s", ev->u.full ? "yes" : "no");
        break;
    }
}

void zab_effect_text(const struct zab_effect *fx, char *ret, size_t cap)
{
    struct text t = {ret, cap};

    CHECK(cap > 0);
    switch (fx->type) {
    case ZAB_FX_SAVE_VOTE:
        put(&t, "save_vote seq=%" PRIu64, fx->seq);
        put_u64(&t, "promised", fx->u.vote.promised_epoch);
        put_u64(&t, "voted_for", fx->u.vote.voted_for);
        break;
    case ZAB_FX_APPEND:
        put(&t, "append seq=%" PRIu64, fx->seq);
        put_entries(&t, fx->u.append.entries, fx->u.append.count);
        break;
    case ZAB_FX_TRUNCATE:
        put(&t, "truncate seq=%" PRIu64, fx->seq);
        put_u64(&t, "after", fx->u.index);
        break;
    case ZAB_FX_SEND:
        put(&t, "send ");
        put_msg(&t, &fx->u.msg);
        if (fx->after_seq != 0) {
            put_u64(&t, "after_seq", fx->after_seq);
        }
        break;
    case ZAB_FX_COMMIT:
        put(&t, "commit");
        put_u64(&t, "index", fx->u.index);
        break;
    case ZAB_FX_ROLE:
        put(&t, "role %s", zab_role_text(fx->u.role.role));
        put_u64(&t, "epoch", fx->u.role.epoch);
        put_u64(&t, "leader", fx->u.role.leader);
        put(&t, "%s", fx->u.role.serving ? " serving" : "");
        break;
    case ZAB_FX_READ_READY:
        put(&t, "read_ready");
        put_u64(&t, "id", fx->u.read.id);
        put_u64(&t, "index", fx->u.read.index);
        break;
    case ZAB_FX_READ_FAILED:
        put(&t, "read_failed");
        put_u64(&t, "id", fx->u.read.id);
        break;
    case ZAB_FX_SNAP_SEND:
        put(&t, "snap_send");
        put_u64(&t, "peer", fx->u.snap.peer);
        put_u64(&t, "epoch", fx->u.snap.epoch);
        put_u64(&t, "sync", fx->u.snap.sync);
        break;
    case ZAB_FX_DIGEST:
        put(&t, "digest=%" PRIu64 ":%016" PRIx64, fx->u.digest.index, fx->u.digest.digest);
        break;
    }
}
