#include "zabnet.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"

enum { START_MS = 1000, LINE_SIZE = 256 };

struct net *net_new(uint32_t count, uint64_t seed)
{
    struct net *net = mem_zalloc(sizeof(*net));

    CHECK(count >= 1 && count <= NET_MEMBERS_MAX);
    zab_conf_default(&net->conf);
    net->conf.heartbeat_ms = 50;
    net->conf.election_min_ms = 300;
    net->conf.election_max_ms = 600;
    net->conf.lease_ms = 200;
    net->conf.seed = seed;
    net->conf.member_count = count;
    net->count = count;
    net->now_ms = START_MS;
    net->prng.state = seed;
    net->delay_ms = 1;
    net->disk_ms = 1;
    for (uint32_t i = 0; i < count; i++) {
        net->conf.members[i] = i + 1;
        net->members[i].id = i + 1;
        net->members[i].drift = 10;
    }
    return net;
}

struct net_member *net_member(struct net *net, uint32_t id)
{
    CHECK(id >= 1 && id <= net->count);
    return &net->members[id - 1];
}

struct zab_view net_view(struct net *net, uint32_t id)
{
    struct zab_view view;

    CHECK(net_member(net, id)->zab != NULL);
    zab_view(net_member(net, id)->zab, &view);
    return view;
}

static uint64_t clock_ms(const struct net *net, const struct net_member *m)
{
    return net->now_ms * (990 + m->drift) / 1000;
}

/* --- effects --------------------------------------------------------------------------------- */

static void packet_add(struct net *net, const struct net_packet *packet)
{
    uint64_t jitter = net->jitter_ms > 0 ? prng_below(&net->prng, net->jitter_ms + 1) : 0;

    if (net->packet_count == net->packet_cap) {
        net->packet_cap = net->packet_cap == 0 ? 64 : net->packet_cap * 2;
        net->packets = mem_realloc(net->packets, net->packet_cap * sizeof(*net->packets));
    }
    struct net_packet *p = &net->packets[net->packet_count++];
    const struct zab_msg *msg = &packet->msg;

    *p = *packet;
    p->at_ms = net->now_ms + net->delay_ms + jitter;
    p->msg.entries = msg->entry_count > 0
                         ? mem_dup(msg->entries, msg->entry_count * sizeof(*msg->entries))
                         : NULL;
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        blob_ref(p->msg.entries[i].body);
    }
}

static bool is_lost(struct net *net, const struct net_packet *packet)
{
    const struct zab_msg *m = &packet->msg;

    if (net->cut[m->from][m->to] || prng_below(&net->prng, 100) < net->drop_percent) {
        return true;
    }
    if (packet->is_snap) {
        bool lose = net->snaps_to_lose > 0;

        net->snaps_to_lose -= lose;
        return lose;
    }
    return net->drop != NULL && net->drop(net, m);
}

static void packet_send(struct net *net, const struct net_packet *packet)
{
    if (is_lost(net, packet)) {
        net->dropped++;
        if (packet->is_snap) {
            struct net_packet lost = *packet; /* its sender is told */

            lost.is_lost = true;
            packet_add(net, &lost);
        }
        return;
    }
    net->sent[packet->msg.type] += !packet->is_snap;
    packet_add(net, packet);
    if (prng_below(&net->prng, 100) < net->dup_percent) {
        packet_add(net, packet);
    }
}

static void held_release(struct net *net, struct net_member *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->held_count; i++) {
        struct zab_effect *fx = &m->held[i];

        if (fx->after_seq <= m->seq_durable) {
            net_check_send(m, fx);
            packet_send(net, &(struct net_packet){.msg = fx->u.msg});
            zab_msg_done(&fx->u.msg);
        } else {
            m->held[kept++] = *fx;
        }
    }
    m->held_count = kept;
}

static void do_send(struct net *net, struct net_member *m, struct zab_effect *fx)
{
    net_check_send(m, fx);
    if (fx->after_seq <= m->seq_durable) {
        packet_send(net, &(struct net_packet){.msg = fx->u.msg});
        return;
    }
    m->held = mem_realloc(m->held, (m->held_count + 1) * sizeof(*m->held));
    m->held[m->held_count++] = *fx;
    fx->u.msg.entries = NULL; /* moved */
    fx->u.msg.entry_count = 0;
}

static void do_append(struct net *net, struct net_member *m, struct zab_effect *fx)
{
    struct net_job *job = net_job_add(net, m, NET_JOB_APPEND, fx->seq);

    job->entries = fx->u.append.entries;
    job->entry_count = fx->u.append.count;
    fx->u.append.entries = NULL; /* moved */
    fx->u.append.count = 0;
}

static void do_commit(struct net *net, struct net_member *m, uint64_t index)
{
    struct zab_pos pos;

    for (; m->applied < index; m->applied++) {
        CHECK(zab_entry_at(m->zab, m->applied + 1) != NULL);
        CHECK(zab_pos_at(m->zab, m->applied + 1, &pos));
        CHECK(m->applied + 1 <= m->disk.base.index + m->disk.entry_count);
        net_check_commit(net, &pos);
    }
}

static void do_read(struct net_member *m, const struct zab_effect *fx)
{
    struct net_read *r = &m->reads[fx->u.read.id];

    CHECK(r->state == NET_READ_WAITS);
    if (fx->type == ZAB_FX_READ_READY) {
        CHECK(fx->u.read.index >= r->floor);
        r->state = NET_READ_READY;
        r->index = fx->u.read.index;
    } else {
        r->state = NET_READ_FAILED;
    }
}

static void do_snap_send(struct net *net, struct net_member *m, const struct zab_effect *fx)
{
    struct net_packet p = {.is_snap = true};

    CHECK(zab_pos_at(m->zab, m->applied, &p.snap_pos));
    p.msg.type = ZAB_PROPOSE;
    p.msg.from = m->id;
    p.msg.to = fx->u.snap.peer;
    p.msg.epoch = fx->u.snap.epoch;
    p.msg.sync = fx->u.snap.sync;
    packet_send(net, &p);
}

static void carry_out(struct net *net, struct net_member *m, struct zab_effect *fx)
{
    struct net_job *job = NULL;

    switch (fx->type) {
    case ZAB_FX_SAVE_VOTE:
        job = net_job_add(net, m, NET_JOB_VOTE, fx->seq);
        job->promised_epoch = fx->u.vote.promised_epoch;
        job->voted_for = fx->u.vote.voted_for;
        break;
    case ZAB_FX_APPEND:
        do_append(net, m, fx);
        break;
    case ZAB_FX_TRUNCATE:
        net_job_add(net, m, NET_JOB_TRUNCATE, fx->seq)->index = fx->u.index;
        CHECK(fx->u.index >= m->applied);
        m->truncates++;
        break;
    case ZAB_FX_SEND:
        do_send(net, m, fx);
        break;
    case ZAB_FX_COMMIT:
        do_commit(net, m, fx->u.index);
        break;
    case ZAB_FX_ROLE:
        if (fx->u.role.role == ZAB_LEADER) {
            net_check_leader(net, m, fx->u.role.epoch);
        }
        break;
    case ZAB_FX_READ_READY:
    case ZAB_FX_READ_FAILED:
        do_read(m, fx);
        break;
    case ZAB_FX_SNAP_SEND:
        do_snap_send(net, m, fx);
        break;
    case ZAB_FX_DIGEST:
        m->digests++;
        break;
    }
}

static void trace_step(struct net *net, const struct net_member *m, const struct zab_event *ev)
{
    char text[LINE_SIZE];
    char line[LINE_SIZE + 32];

    if (!net->tracing || m->out.count == 0) {
        return;
    }
    zab_event_text(ev, text, sizeof(text));
    int size = snprintf(line, sizeof(line), "%llu m%u %s\n",
                        (unsigned long long)(net->now_ms - START_MS), m->id, text);
    buf_put(&net->trace, line, (size_t)size);
    for (size_t i = 0; i < m->out.count; i++) {
        zab_effect_text(&m->out.effects[i], text, sizeof(text));
        size = snprintf(line, sizeof(line), "    %s\n", text);
        buf_put(&net->trace, line, (size_t)size);
    }
}

static void step(struct net *net, struct net_member *m, const struct zab_event *ev)
{
    uint64_t applied = m->applied;

    zab_step(m->zab, ev, clock_ms(net, m), &m->out);
    zab_audit(m->zab);
    trace_step(net, m, ev);
    for (size_t i = 0; i < m->out.count; i++) {
        carry_out(net, m, &m->out.effects[i]);
    }
    zab_out_clear(&m->out);
    m->dirty = m->dirty || ev->type != ZAB_EV_FLUSH;
    if (m->applied > applied) {
        struct zab_event done = {.type = ZAB_EV_APPLIED, .u.index = m->applied};

        zab_step(m->zab, &done, clock_ms(net, m), &m->out);
        CHECK(m->out.count == 0);
        zab_audit(m->zab);
    }
}

void net_event(struct net *net, uint32_t id, const struct zab_event *ev)
{
    step(net, net_member(net, id), ev);
}

/* --- one millisecond ------------------------------------------------------------------------- */

static void snap_arrive(struct net *net, const struct net_packet *p)
{
    struct net_member *from = net_member(net, p->msg.from);
    struct net_member *to = net_member(net, p->msg.to);
    uint64_t seq;

    if (!p->is_lost && to->zab != NULL &&
        zab_snap_accept(to->zab, p->msg.from, p->msg.epoch, p->msg.sync, &p->snap_pos, &seq)) {
        zab_audit(to->zab);
        net_job_add(net, to, NET_JOB_INSTALL, seq)->pos = p->snap_pos;
    }
    if (from->zab != NULL) {
        struct zab_event ev = {.type = ZAB_EV_SNAP_SENT};

        ev.u.snap_sent.peer = to->id;
        ev.u.snap_sent.granted = !p->is_lost;
        step(net, from, &ev);
    }
}

static void packet_arrive(struct net *net, struct net_packet *p)
{
    struct net_member *to = net_member(net, p->msg.to);

    p->is_lost = p->is_lost || net->cut[p->msg.from][p->msg.to];
    net->dropped += p->is_lost;
    if (p->is_snap) {
        snap_arrive(net, p);
    } else if (!p->is_lost && to->zab != NULL) {
        step(net, to, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &p->msg});
    }
    zab_msg_done(&p->msg);
}

static void packets_deliver(struct net *net)
{
    size_t count = net->packet_count; /* what is sent meanwhile arrives later */
    struct net_packet *now = mem_dup(net->packets, count * sizeof(*now));
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (now[i].at_ms > net->now_ms) {
            net->packets[kept++] = now[i];
        }
    }
    net->packet_count = kept;
    for (size_t i = 0; i < count; i++) {
        if (now[i].at_ms <= net->now_ms) {
            packet_arrive(net, &now[i]);
        }
    }
    mem_free(now);
}

static void installed(struct net *net, struct net_member *m, const struct net_job *job)
{
    struct zab_event ev = {.type = ZAB_EV_SNAP_LOADED};

    CHECK(job->pos.index <= net->committed);
    CHECK(hash128_equal(net->history[job->pos.index].chain, job->pos.chain));
    ev.u.snap.pos = job->pos;
    ev.u.snap.seq = job->seq;
    m->applied = job->pos.index;
    m->snaps_loaded++;
    step(net, m, &ev);
}

static void jobs_complete(struct net *net, struct net_member *m)
{
    while (m->zab != NULL && m->job_count > 0 && m->jobs[0].at_ms <= net->now_ms &&
           !m->disk_stuck) {
        struct net_job job = m->jobs[0];

        net_disk_run(&m->disk, &job);
        m->seq_durable = job.seq;
        net_jobs_drop_first(m, 1);
        step(net, m, &(struct zab_event){.type = ZAB_EV_DURABLE, .u.seq = job.seq});
        held_release(net, m);
        if (job.type == NET_JOB_INSTALL) {
            installed(net, m, &job);
        }
    }
}

static void millisecond(struct net *net)
{
    net->now_ms++;
    packets_deliver(net);
    for (uint32_t i = 0; i < net->count; i++) {
        struct net_member *m = &net->members[i];

        jobs_complete(net, m);
        if (m->zab != NULL && zab_deadline(m->zab) <= clock_ms(net, m)) {
            step(net, m, &(struct zab_event){.type = ZAB_EV_TICK});
            CHECK(zab_deadline(m->zab) > clock_ms(net, m) || net->count == 1);
        }
        if (m->zab != NULL && m->dirty) {
            m->dirty = false;
            step(net, m, &(struct zab_event){.type = ZAB_EV_FLUSH});
        }
    }
}

void net_run(struct net *net, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        millisecond(net);
    }
}

uint32_t net_leader(struct net *net)
{
    uint32_t leader = 0;
    uint64_t epoch = 0;

    for (uint32_t id = 1; id <= net->count; id++) {
        if (net_member(net, id)->zab != NULL && net_view(net, id).serving &&
            net_view(net, id).epoch > epoch) {
            leader = id;
            epoch = net_view(net, id).epoch;
        }
    }
    return leader;
}

uint32_t net_run_leader(struct net *net)
{
    for (int ms = 0; ms < 60000 && net_leader(net) == 0; ms++) {
        millisecond(net);
    }
    CHECK(net_leader(net) != 0);
    return net_leader(net);
}

static bool all_applied(struct net *net, uint64_t index)
{
    for (uint32_t i = 0; i < net->count; i++) {
        if (net->members[i].zab != NULL && net->members[i].applied < index) {
            return false;
        }
    }
    return true;
}

bool net_run_applied(struct net *net, uint64_t index, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && !all_applied(net, index); i++) {
        millisecond(net);
    }
    return all_applied(net, index);
}

bool net_converged(struct net *net)
{
    uint32_t leader = net_leader(net);

    if (leader == 0) {
        return false;
    }
    struct zab_view of_leader = net_view(net, leader);

    for (uint32_t id = 1; id <= net->count; id++) {
        if (net_member(net, id)->zab == NULL || net_view(net, id).epoch != of_leader.epoch ||
            net_member(net, id)->applied != of_leader.last.index) {
            return false;
        }
    }
    return true;
}

/* --- what tests do --------------------------------------------------------------------------- */

void net_start(struct net *net)
{
    for (uint32_t id = 1; id <= net->count; id++) {
        net_restart(net, id);
    }
}

void net_restart(struct net *net, uint32_t id)
{
    struct net_member *m = net_member(net, id);
    struct zab_conf conf = net->conf;
    struct zab_boot boot = {
        .promised_epoch = m->disk.promised_epoch,
        .voted_for = m->disk.voted_for,
        .base = m->disk.base,
        .entries = m->disk.entries,
        .entry_count = m->disk.entry_count,
        .faulty = m->disk.faulty,
        .claimed = m->disk.claimed,
        .fresh = net_disk_fresh(&m->disk),
        .restored = m->disk.restored && m->disk.entry_count == 0,
    };

    CHECK(m->zab == NULL);
    conf.self = id;
    conf.seed = net->conf.seed * 1000 + id + 10 * net->restarts++;
    m->zab = zab_new(&conf, &boot, clock_ms(net, m));
    m->applied = m->disk.base.index;
    m->seq_durable = 0;
    m->dirty = false;
    zab_audit(m->zab);
}

void net_crash(struct net *net, uint32_t id)
{
    struct net_member *m = net_member(net, id);

    CHECK(m->zab != NULL);
    zab_free(m->zab);
    m->zab = NULL;
    net_jobs_drop_first(m, m->job_count);
    for (size_t i = 0; i < m->held_count; i++) {
        zab_msg_done(&m->held[i].u.msg);
    }
    m->held_count = 0;
    memset(m->reads, 0, sizeof(m->reads));
}

void net_snapshot(struct net *net, uint32_t id)
{
    struct net_member *m = net_member(net, id);

    net_disk_snapshot(&m->disk, m->applied);
    step(net, m, &(struct zab_event){.type = ZAB_EV_SNAPSHOT, .u.index = m->applied});
}

uint64_t net_propose(struct net *net, uint32_t id, const char *text)
{
    struct blob *body = blob_new(text, strlen(text));

    step(net, net_member(net, id), &(struct zab_event){.type = ZAB_EV_PROPOSE, .u.body = body});
    blob_unref(body);
    return net_view(net, id).last.index;
}

void net_read(struct net *net, uint32_t id, uint64_t read, bool quorum)
{
    struct net_member *m = net_member(net, id);
    struct zab_event ev = {.type = ZAB_EV_READ};

    CHECK(read < NET_READS_MAX);
    m->reads[read] = (struct net_read){.state = NET_READ_WAITS, .floor = net->committed};
    ev.u.read.id = read;
    ev.u.read.quorum = quorum;
    step(net, m, &ev);
}

void net_cut(struct net *net, uint32_t a, uint32_t b, bool cut)
{
    net->cut[a][b] = cut;
    net->cut[b][a] = cut;
}

void net_isolate(struct net *net, uint32_t id, bool cut)
{
    for (uint32_t other = 1; other <= net->count; other++) {
        if (other != id) {
            net_cut(net, id, other, cut);
        }
    }
}

void net_free(struct net *net)
{
    for (uint32_t id = 1; id <= net->count; id++) {
        struct net_member *m = net_member(net, id);

        if (m->zab != NULL) {
            net_crash(net, id);
        }
        net_entries_free(m->disk.entries, m->disk.entry_count);
        mem_free(m->jobs);
        mem_free(m->held);
        zab_out_done(&m->out);
    }
    for (size_t i = 0; i < net->packet_count; i++) {
        zab_msg_done(&net->packets[i].msg);
    }
    mem_free(net->packets);
    buf_done(&net->trace);
    mem_free(net);
}
