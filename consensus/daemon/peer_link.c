#include "member.h"

#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "check.h"
#include "err.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

/* Streams between members, one a pair; the member with the lower id dials.
 *
 * Happy path: connect, both sides send IDENT (ensemble, sender, addressee, incarnation), each
 * checks the other's, the link is up. Whoever is not a member of this ensemble, or takes us for
 * somebody else, is closed with a log line. A second stream of the same peer replaces the first: it
 * is newer, and the peer has given up the old one. A link that is down is dialled again after
 * RETRY_MS_MIN, doubling to RETRY_MS_MAX. */

enum {
    CONNECT_MS = 1000,
    IDENT_MS = 5000,
    RETRY_MS_MIN = 50,
    RETRY_MS_MAX = 1000,
    GUESTS_MAX = 64, /* accepted streams that did not say who they are */
};

struct peer_stream { /* a stream, from accept or connect until its last callback */
    struct member *member;
    struct peer_link *link; /* NULL: accepted, and silent so far */
    struct stream *stream;
    bool dialled;
    char peer[80];
    struct peer_stream *prev, *next; /* of the member's */
};

struct peer_link {
    struct member *member;
    const struct conf_member *conf;
    struct peer_stream *up;      /* identified on both sides, or NULL */
    struct peer_stream *dialing; /* under way, or NULL */
    uv_timer_t retry;
    uint64_t retry_ms;
};

static const struct stream_conf stream_conf = {
    .frame_size_max = PEER_FRAME_SIZE_MAX,
    .send_queue_max = PEER_QUEUE_SIZE_MAX,
    .first_frame_ms = IDENT_MS,
};

static void dial(struct peer_link *l);

static void send_ident(struct peer_stream *s, uint32_t to)
{
    struct member *m = s->member;
    struct peer_msg ident = {
        .type = PEER_IDENT,
        .u.ident = {.version = PEER_PROTOCOL_VERSION,
                    .cluster = m->cluster,
                    .incarnation = m->incarnation,
                    .from = m->conf.id,
                    .to = to},
    };
    struct buf bytes = {0};

    wire_peer_encode(&bytes, &ident);
    stream_send(s->stream, bytes.data, bytes.size);
    buf_done(&bytes);
}

static struct peer_link *link_of(struct member *m, uint32_t peer)
{
    for (uint32_t i = 0; i < m->link_count; i++) {
        if (m->links[i]->conf->id == peer) {
            return m->links[i];
        }
    }
    return NULL;
}

static void on_retry(uv_timer_t *timer)
{
    dial(timer->data);
}

static void retry_later(struct peer_link *l)
{
    if (l->conf->id < l->member->conf.id || l->member->stopping) {
        return; /* the other side dials */
    }
    uv_timer_start(&l->retry, on_retry, l->retry_ms, 0);
    l->retry_ms = l->retry_ms * 2 < RETRY_MS_MAX ? l->retry_ms * 2 : RETRY_MS_MAX;
}

static void link_down(struct peer_link *l)
{
    struct node_time now = member_now();

    l->up = NULL;
    LOG_INFO("peer", "ev=down peer=%u", l->conf->id);
    if (!l->member->stopping) {
        node_peer_down(l->member->node, l->conf->id, &now);
        member_flush(l->member);
    }
}

/* Both sides know each other: the stream is the link from now on. */
static void link_up(struct peer_link *l, struct peer_stream *s)
{
    struct node_time now;

    if (l->up != NULL) {
        struct peer_stream *old = l->up;

        link_down(l);
        stream_close(old->stream);
    }
    if (l->dialing == s) {
        l->dialing = NULL;
    }
    l->up = s;
    l->retry_ms = RETRY_MS_MIN;
    LOG_INFO("peer", "ev=up peer=%u stream=%s", l->conf->id, s->peer);
    now = member_now(); /* not before link_down() took its own: the node's time never falls */
    node_peer_up(l->member->node, l->conf->id, &now);
}

static const char *ident_problem(struct member *m, const struct peer_stream *s,
                                 const struct peer_msg *msg)
{
    if (msg->type != PEER_IDENT) {
        return "did not say who it is";
    }
    if (msg->u.ident.version != PEER_PROTOCOL_VERSION) {
        return "speaks another version of the peer protocol";
    }
    if (!hash128_equal(msg->u.ident.cluster, m->cluster)) {
        return "belongs to another ensemble";
    }
    if (msg->u.ident.to != m->conf.id) {
        return "takes this member for another";
    }
    if (link_of(m, msg->u.ident.from) == NULL) {
        return "is not a member of this ensemble";
    }
    if (s->link != NULL && s->link->conf->id != msg->u.ident.from) {
        return "is another member than its address says";
    }
    return NULL;
}

static void on_ident(struct peer_stream *s, const uint8_t *bytes, size_t size)
{
    struct member *m = s->member;
    const char *problem = "did not say who it is";
    struct peer_msg msg;

    if (wire_peer_decode(bytes, size, &msg) == 0) {
        problem = ident_problem(m, s, &msg);
        peer_msg_done(&msg);
    }
    if (problem != NULL) {
        LOG_WARN("peer", "ev=refused stream=%s reason=\"%s\"", s->peer, problem);
        stream_close(s->stream);
        return;
    }
    if (!s->dialled) {
        s->link = link_of(m, msg.u.ident.from);
        m->guest_count--;
        send_ident(s, msg.u.ident.from);
    }
    link_up(s->link, s);
}

static void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct peer_stream *s = ctx;
    struct node_time now = member_now();

    if (s->link == NULL || s->link->dialing == s) {
        on_ident(s, bytes, size);
        return;
    }
    if (s->link->up != s) {
        return; /* replaced by a newer stream */
    }
    if (node_peer_frame(s->member->node, s->link->conf->id, bytes, size, &now) != 0) {
        LOG_WARN("peer", "ev=malformed peer=%u stream=%s", s->link->conf->id, s->peer);
        stream_close(s->stream);
    }
}

static struct peer_stream *peer_stream_new(struct member *m)
{
    struct peer_stream *s = mem_zalloc(sizeof(*s));

    s->member = m;
    DL_APPEND(m->peer_streams, s);
    return s;
}

static void peer_stream_free(struct peer_stream *s)
{
    DL_DELETE(s->member->peer_streams, s);
    mem_free(s);
}

static void on_close(void *ctx, int err)
{
    struct peer_stream *s = ctx;
    struct peer_link *l = s->link;

    if (err == ERR_MALFORMED || err == ERR_TIMEOUT || err == ERR_OVERLOAD) {
        LOG_WARN("peer", "ev=closed stream=%s err=\"%s\"", s->peer, err_text(err));
    }
    if (l == NULL) {
        s->member->guest_count--;
    } else if (l->up == s) {
        link_down(l);
        retry_later(l);
    } else if (l->dialing == s) {
        l->dialing = NULL;
        retry_later(l);
    }
    peer_stream_free(s);
}

static const struct stream_ops ops = {.on_frame = on_frame, .on_close = on_close};

void peer_link_accept(void *member, struct stream *stream, const char *peer_text)
{
    struct member *m = member;
    struct peer_stream *s;

    if (m->stopping || m->guest_count >= GUESTS_MAX) {
        LOG_WARN("peer", "ev=refused stream=%s reason=\"too many unidentified\"", peer_text);
        stream_close(stream);
        return;
    }
    s = peer_stream_new(m);
    s->stream = stream;
    snprintf(s->peer, sizeof(s->peer), "%s", peer_text);
    m->guest_count++;
    stream_accept_start(stream, &stream_conf, &ops, s);
}

static void on_connect(void *ctx, int err)
{
    struct peer_stream *s = ctx;

    if (err == 0) {
        send_ident(s, s->link->conf->id);
        return;
    }
    LOG_DBG("peer", "ev=connect_failed peer=%u err=\"%s\"", s->link->conf->id, err_text(err));
    s->link->dialing = NULL;
    retry_later(s->link);
    peer_stream_free(s);
}

static void dial(struct peer_link *l)
{
    struct peer_stream *s;
    struct net_addr addr = {.port = l->conf->peer_port};

    if (l->up != NULL || l->dialing != NULL || l->member->stopping) {
        return;
    }
    s = peer_stream_new(l->member);
    s->link = l;
    s->dialled = true;
    snprintf(addr.host, sizeof(addr.host), "%s", l->conf->host);
    net_addr_text(&addr, s->peer, sizeof(s->peer));
    l->dialing = s;
    stream_connect(&l->member->loop, &addr, &stream_conf, &ops, CONNECT_MS, on_connect, s,
                   &s->stream);
}

void peer_links_start(struct member *m)
{
    for (uint32_t i = 0; i < m->conf.member_count; i++) {
        struct peer_link *l;

        if (m->conf.members[i].id == m->conf.id) {
            continue;
        }
        l = mem_zalloc(sizeof(*l));
        l->member = m;
        l->conf = &m->conf.members[i];
        l->retry_ms = RETRY_MS_MIN;
        uv_timer_init(&m->loop, &l->retry);
        l->retry.data = l;
        m->links[m->link_count++] = l;
        if (l->conf->id > m->conf.id) {
            dial(l);
        }
    }
}

void peer_links_stop(struct member *m)
{
    struct peer_stream *s;

    DL_FOREACH (m->peer_streams, s) {
        stream_close(s->stream);
    }
    for (uint32_t i = 0; i < m->link_count; i++) {
        uv_close((uv_handle_t *)&m->links[i]->retry, NULL);
    }
}

/* Not before: a look-up of a name that is under way ends when it likes, and its callback needs the
 * link. */
void peer_links_free(struct member *m)
{
    for (uint32_t i = 0; i < m->link_count; i++) {
        mem_free(m->links[i]);
    }
    m->link_count = 0;
}

size_t peer_link_queued(struct member *m, uint32_t peer)
{
    struct peer_link *l = link_of(m, peer);

    return l != NULL && l->up != NULL ? stream_queued(l->up->stream) : 0;
}

void peer_link_send(struct member *m, uint32_t peer, const void *bytes, size_t size)
{
    struct peer_link *l = link_of(m, peer);

    if (l != NULL && l->up != NULL) {
        stream_send(l->up->stream, bytes, size);
    }
}

void peer_links_flush(struct member *m)
{
    for (uint32_t i = 0; i < m->link_count; i++) {
        if (m->links[i]->up != NULL) {
            stream_flush(m->links[i]->up->stream);
        }
    }
}
