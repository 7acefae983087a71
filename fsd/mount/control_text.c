/* The files of .zabfs whose text is made up when they are opened: of what this mount knows, and of
 * what its member says of itself. A member that does not answer in time leaves its part out. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control_int.h"
#include "err.h"
#include "json_text.h"
#include "limits.h"
#include "mem.h"
#include "probe.h"

static void ask_member(struct call *c, call_done_fn done)
{
    call_submit(c, &(struct request){.op = OP_STATUS, .deadline_ms = CONTROL_STATUS_WAIT_MS}, done);
}

/* A field of what the member says, as text; "" if there is none. */
static const char *field_text(const struct reply *r, const char *key, char *ret, size_t cap)
{
    size_t size = strlen(key);

    ret[0] = '\0';
    for (uint32_t n = 0; r->err == 0 && n < r->u.status.count; n++) {
        const struct status_field *f = &r->u.status.fields[n];

        if (f->key.size == size && memcmp(f->key.bytes, key, size) == 0 && f->value.size < cap) {
            memcpy(ret, f->value.bytes, f->value.size);
            ret[f->value.size] = '\0';
        }
    }
    return ret;
}

static void get_client(const struct mount *m, struct client_info *ret)
{
    *ret = (struct client_info){0};
    if (m->client != NULL) {
        client_info(m->client, ret);
    }
}

static void open_buf(struct call *c, struct buf *b)
{
    control_open_text(c, b->data, b->size);
    buf_done(b);
}

/* --- status ---------------------------------------------------------------------------------- */

static void put_client(struct buf *b, const struct mount *m)
{
    struct client_info info;

    get_client(m, &info);
    control_put_line(b, "state=%s", m->attached ? "attached" : "connecting");
    control_put_line(b, "session=%" PRIu64, info.session);
    control_put_line(b, "member=%" PRIu32, info.member);
    control_put_line(b, "server=%s", info.server);
    control_put_line(b, "index=%" PRIu64, info.index_seen);
    control_put_line(b, "in_flight=%" PRIu32, info.in_flight);
    control_put_line(b, "idle_ms=%" PRIu64, info.idle_ms);
    control_put_line(b, "reconnects=%" PRIu64, info.reconnects);
    control_put_line(b, "sessions_lost=%" PRIu64, info.sessions_lost);
    control_put_line(b, "value_size_max=%" PRIu32, m->value_size_max);
}

static void put_mount(struct buf *b, const struct mount *m)
{
    struct replay_info replay;

    replay_info(m->replay, &replay);
    control_put_line(b, "inodes=%zu", inodes_count(&m->inodes));
    control_put_line(b, "cached_bytes=%zu", m->values.size);
    control_put_line(b, "notifies_queued=%zu", notify_queued(m->notify));
    control_put_line(b, "invalidations_queued=%zu", notify_queued(m->notify));
    control_put_line(b, "replays=%" PRIu64, replay.done);
    control_put_line(b, "replays_failed=%" PRIu64, replay.failed);
    control_put_line(b, "replays_merged=%" PRIu64, replay.merged);
    control_put_line(b, "replays_queued=%zu", replay.queued);
    control_put_line(b, "overflows=%" PRIu64, replay.overflows);
    control_put_line(b, "helper_restarts=%" PRIu64, replay.restarts);
}

/* What the member says of itself, under names of its own. */
static void put_member(struct buf *b, const struct reply *r)
{
    control_put_line(b, "member_answers=%s", r->err == 0 ? "yes" : "no");
    for (uint32_t n = 0; r->err == 0 && n < r->u.status.count; n++) {
        const struct status_field *f = &r->u.status.fields[n];

        control_put_line(b, "member_%.*s=%.*s", (int)f->key.size, f->key.bytes, (int)f->value.size,
                         f->value.bytes);
    }
}

static void on_status(struct call *c, const struct reply *r)
{
    struct buf b = {0};

    put_client(&b, c->m);
    put_mount(&b, c->m);
    put_member(&b, r);
    open_buf(c, &b);
}

void control_open_status(struct call *c, struct control_node *n)
{
    (void)n;
    ask_member(c, on_status);
}

/* --- session --------------------------------------------------------------------------------- */

void control_open_session(struct call *c, struct control_node *n)
{
    struct mount *m = c->m;
    uint32_t timeout_ms = m->options->session_timeout_ms;
    char since[JSON_TIME_SIZE] = "";
    struct client_info info;
    struct buf b = {0};

    (void)n;
    get_client(m, &info);
    if (m->session != 0) {
        json_time(m->session_since_ns, since);
    }
    control_put_line(&b, "id=%" PRIu64, m->session);
    control_put_line(&b, "timeout_ms=%" PRIu32,
                     timeout_ms != 0 ? timeout_ms : (uint32_t)SESSION_TIMEOUT_MS_DEFAULT);
    control_put_line(&b, "since=%s", since);
    control_put_line(&b, "attached=%s", m->attached ? "yes" : "no");
    control_put_line(&b, "lost=%" PRIu64, info.sessions_lost);
    open_buf(c, &b);
}

/* --- leader ---------------------------------------------------------------------------------- */

struct peer { /* "ID ADDRESS heard|silent|unknown" of a status */
    unsigned id;
    char address[272];
    char heard[16];
};

static bool get_peer(const struct reply *r, uint32_t number, struct peer *ret)
{
    char key[32], text[512];

    snprintf(key, sizeof(key), "peer_%" PRIu32, number);
    return sscanf(field_text(r, key, text, sizeof(text)), "%u %271s %15s", &ret->id, ret->address,
                  ret->heard) == 3;
}

/* The member that leads, as the one that answers believes; 0: none known. */
static unsigned leader_of(const struct reply *r, struct peer *ret)
{
    char text[32];
    unsigned leader = 0;

    if (sscanf(field_text(r, "leader", text, sizeof(text)), "%u", &leader) != 1) {
        return 0;
    }
    for (uint32_t n = 1; n <= MEMBERS_MAX; n++) {
        if (get_peer(r, n, ret) && ret->id == leader) {
            return leader;
        }
    }
    return 0;
}

static void on_leader(struct call *c, const struct reply *r)
{
    struct buf b = {0};
    struct peer p;

    if (leader_of(r, &p) != 0) {
        control_put_line(&b, "%u %s", p.id, p.address);
    }
    open_buf(c, &b);
}

/* One line, ID ADDRESS; none if no leader is known. */
void control_open_leader(struct call *c, struct control_node *n)
{
    (void)n;
    ask_member(c, on_leader);
}

/* --- members --------------------------------------------------------------------------------- */

struct question { /* to the leader: whom it hears only it knows */
    uv_work_t work;
    struct call *call;
    char address[272];
    struct buf text; /* what our own member knows, if the leader does not answer */
    int err;
    struct probe_status status;
};

/* ID ROLE ADDRESS HEARD, a member a line. */
static void put_peers(struct buf *b, const struct reply *r)
{
    struct peer p, l;
    unsigned leader = leader_of(r, &l);

    for (uint32_t n = 1; n <= MEMBERS_MAX; n++) {
        if (get_peer(r, n, &p)) {
            const char *role = strcmp(p.heard, "heard") == 0 ? "follower" : "unknown";

            control_put_line(b, "%u %s %s %s", p.id, p.id == leader ? "leader" : role, p.address,
                             p.heard);
        }
    }
}

static void ask_leader(uv_work_t *work)
{
    struct question *q = work->data;

    q->err = probe_status_get(q->address, CONTROL_STATUS_WAIT_MS, &q->status);
}

static void on_leader_asked(uv_work_t *work, int status)
{
    struct question *q = work->data;

    if (status == 0 && q->err == 0) {
        q->text.size = 0;
        put_peers(&q->text, &q->status.reply);
        probe_status_done(&q->status);
    }
    open_buf(q->call, &q->text);
    mem_free(q);
}

static void on_members(struct call *c, const struct reply *r)
{
    struct buf text = {0};
    struct question *q;
    char role[32];
    struct peer leader;

    put_peers(&text, r);
    if (strcmp(field_text(r, "role", role, sizeof(role)), "leader") == 0 ||
        leader_of(r, &leader) == 0 || c->req == NULL) {
        open_buf(c, &text);
        return;
    }
    q = mem_zalloc(sizeof(*q));
    q->call = c;
    q->text = text;
    q->work.data = q;
    memcpy(q->address, leader.address, sizeof(leader.address));
    uv_queue_work(c->m->loop, &q->work, ask_leader, on_leader_asked);
}

void control_open_members(struct call *c, struct control_node *n)
{
    (void)n;
    ask_member(c, on_members);
}

/* --- metrics --------------------------------------------------------------------------------- */

struct metric {
    const char *name, *type, *help;
};

static void put_head(struct buf *b, const struct metric *x)
{
    control_put_line(b, "# HELP zabfs_%s %s", x->name, x->help);
    control_put_line(b, "# TYPE zabfs_%s %s", x->name, x->type);
}

static void put_metric(struct buf *b, const char *name, const char *type, uint64_t value,
                       const char *help)
{
    put_head(b, &(struct metric){name, type, help});
    control_put_line(b, "zabfs_%s %" PRIu64, name, value);
}

static const char *op_name(enum op op)
{
    static const char *const names[] = {
        [OP_LOOKUP] = "lookup",     [OP_GETATTR] = "getattr",
        [OP_READ] = "read",         [OP_READDIR] = "readdir",
        [OP_STATFS] = "statfs",     [OP_STATUS] = "status",
        [OP_SYNC] = "sync",         [OP_XATTRS] = "xattrs",
        [OP_LOG] = "log",           [OP_LOCK_TEST] = "lock_test",
        [OP_CREATE] = "create",     [OP_SET] = "set",
        [OP_APPEND] = "append",     [OP_SETATTR] = "setattr",
        [OP_REMOVE] = "remove",     [OP_RENAME] = "rename",
        [OP_SETXATTR] = "setxattr", [OP_LOCK] = "lock",
        [OP_TXN] = "txn",
    };

    return (size_t)op < sizeof(names) / sizeof(names[0]) ? names[op] : NULL;
}

static void put_requests(struct buf *b, const struct mount *m)
{
    put_head(b, &(struct metric){"request_seconds", "summary",
                                 "Time that requests to the ensemble took, by kind."});
    for (int op = 0; op < MOUNT_OPS_MAX; op++) {
        const struct op_stat *s = &m->op_stats[op];

        if (op_name((enum op)op) != NULL) {
            control_put_line(b, "zabfs_request_seconds_sum{op=\"%s\"} %" PRIu64 ".%09" PRIu64,
                             op_name((enum op)op), s->ns / 1000000000, s->ns % 1000000000);
            control_put_line(b, "zabfs_request_seconds_count{op=\"%s\"} %" PRIu64,
                             op_name((enum op)op), s->count);
        }
    }
    put_head(b, &(struct metric){"request_errors_total", "counter",
                                 "Requests to the ensemble that ended with an error, by kind."});
    for (int op = 0; op < MOUNT_OPS_MAX; op++) {
        if (op_name((enum op)op) != NULL) {
            control_put_line(b, "zabfs_request_errors_total{op=\"%s\"} %" PRIu64,
                             op_name((enum op)op), m->op_stats[op].failed);
        }
    }
}

static void put_own_metrics(struct buf *b, const struct mount *m)
{
    struct replay_info replay;
    struct client_info info;

    get_client(m, &info);
    replay_info(m->replay, &replay);
    put_metric(b, "attached", "gauge", m->attached, "1 while a member serves this mount.");
    put_metric(b, "index", "gauge", info.index_seen, "Highest index this mount has seen.");
    put_metric(b, "in_flight", "gauge", info.in_flight, "Requests without an answer.");
    put_metric(b, "reconnects_total", "counter", info.reconnects, "Times a member was left.");
    put_metric(b, "sessions_lost_total", "counter", info.sessions_lost, "Sessions that expired.");
    put_metric(b, "inodes", "gauge", inodes_count(&m->inodes), "Nodes this mount knows.");
    put_metric(b, "cached_bytes", "gauge", m->values.size, "Bytes of values in the cache.");
    put_metric(b, "cache_hits_total", "counter", m->values.hits, "Values found in the cache.");
    put_metric(b, "cache_misses_total", "counter", m->values.misses, "Values not found there.");
    put_metric(b, "notifies_queued", "gauge", notify_queued(m->notify),
               "Invalidations that wait for the kernel.");
    put_metric(b, "replays_total", "counter", replay.done, "Changes repeated for watchers.");
    put_metric(b, "replays_failed_total", "counter", replay.failed, "Repetitions that failed.");
    put_metric(b, "replays_merged_total", "counter", replay.merged,
               "Changes of a value told together with an earlier one.");
    put_metric(b, "replays_queued", "gauge", replay.queued, "Changes not repeated yet.");
    put_metric(b, "overflows_total", "counter", replay.overflows,
               "Directories whose changes were too many to repeat.");
    put_metric(b, "helper_restarts_total", "counter", replay.restarts, "Helpers that were lost.");
    put_metric(b, "lock_questions_total", "counter", m->locks.asked, "Requests about locks.");
    put_metric(b, "locks_granted_total", "counter", m->locks.granted, "Locks that were had.");
}

/* Numbers of the member's status, under their names there. */
static void put_member_metrics(struct buf *b, const struct reply *r)
{
    static const struct {
        const char *field;
        struct metric metric;
    } list[] = {
        {"epoch", {"member_epoch", "gauge", "Epoch that the member is in."}},
        {"leader", {"member_leader", "gauge", "Member that leads; 0: none known."}},
        {"last", {"member_last_index", "gauge", "Last entry of its log."}},
        {"durable", {"member_durable_index", "gauge", "Last entry of its log on disk."}},
        {"commit", {"member_commit_index", "gauge", "Last entry that is committed."}},
        {"applied", {"member_applied_index", "gauge", "Last entry that is applied."}},
        {"snapshot", {"member_snapshot_index", "gauge", "Index of its newest snapshot."}},
        {"nodes", {"member_nodes", "gauge", "Nodes of the tree."}},
        {"value_bytes", {"member_value_bytes", "gauge", "Bytes of all values."}},
        {"sessions", {"member_sessions", "gauge", "Sessions of the ensemble."}},
        {"attached", {"member_attached_sessions", "gauge", "Sessions served by the member."}},
        {"connections", {"member_connections", "gauge", "Streams of clients."}},
        {"pending", {"member_pending_requests", "gauge", "Writes that are not applied yet."}},
        {"subscriptions", {"member_subscriptions", "gauge", "Directories it tells sessions of."}},
        {"event_window_from",
         {"member_event_window_from", "gauge", "Changes behind this index are known."}},
        {"history_from", {"member_history_from", "gauge", "States from this index on are known."}},
        {"uptime_ms", {"member_uptime_milliseconds", "counter", "Since the member started."}},
    };
    char text[64];
    uint64_t commit = 0, applied = 0;

    for (size_t n = 0; r->err == 0 && n < sizeof(list) / sizeof(list[0]); n++) {
        if (field_text(r, list[n].field, text, sizeof(text))[0] != '\0') {
            put_head(b, &list[n].metric);
            control_put_line(b, "zabfs_%s %s", list[n].metric.name, text);
        }
    }
    if (sscanf(field_text(r, "commit", text, sizeof(text)), "%" SCNu64, &commit) == 1 &&
        sscanf(field_text(r, "applied", text, sizeof(text)), "%" SCNu64, &applied) == 1) {
        put_metric(b, "member_lag", "gauge", commit > applied ? commit - applied : 0,
                   "Entries that are committed and not applied.");
    }
    put_metric(b, "member_up", "gauge", r->err == 0, "1 if the member has answered.");
}

static void on_metrics(struct call *c, const struct reply *r)
{
    struct buf b = {0};

    put_own_metrics(&b, c->m);
    put_requests(&b, c->m);
    put_member_metrics(&b, r);
    open_buf(c, &b);
}

void control_open_metrics(struct call *c, struct control_node *n)
{
    (void)n;
    ask_member(c, on_metrics);
}
