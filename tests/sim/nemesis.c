#include <string.h>

#include "sim.h"

/* When which fault strikes. Faults come at random times, one of those that the seed drew; what has
 * a duration ends with a HEAL event of the same storm. A new storm forgets the old one's. */

enum { PLACE_PARTITION = 100, PLACE_CLIENTS, PLACE_LINK, PLACE_RESTART };

static struct sim_member *any_member(struct world *w)
{
    return &w->members[1 + sim_below(w, w->mix.member_count)];
}

static void heal_later(struct world *w, uint64_t us, uint32_t what, uint32_t place)
{
    world_post(w, w->now_us + us, EV_HEAL, what, place, w->storm);
}

/* --- processes and machines ------------------------------------------------------------------ */

static void crash(struct world *w, bool power)
{
    struct sim_member *m = any_member(w);

    if (power && sim_chance(w, 8)) {
        w->counts.outages++;
        for (uint32_t id = 1; id <= w->mix.member_count; id++) {
            member_crash(&w->members[id], true);
        }
        return;
    }
    if (m->node == NULL) {
        return;
    }
    switch (sim_below(w, m->paused ? 1 : 4)) {
    case 0:
        member_crash(m, power);
        break;
    case 1:
        m->die_in = (uint32_t)sim_between(w, 1, 30);
        m->die_power = power;
        break;
    default:
        m->die_in_batch = true;
        m->die_power = power;
        break;
    }
}

static void clock_changes(struct world *w)
{
    struct sim_member *m = any_member(w);

    if (sim_chance(w, 50)) {
        w->counts.wall_jumps++;
        m->wall_offset_ns +=
            (int64_t)sim_spread(w, 1000000, 7200000000000) * (sim_chance(w, 50) ? 1 : -1);
        return;
    }
    w->counts.drifts++;
    member_draw_drift(m);
}

/* --- network --------------------------------------------------------------------------------- */

static void cut_between(struct world *w, struct sim_partition *p, uint32_t from, uint32_t to)
{
    if (from != to && !p->cut[from][to]) {
        p->cut[from][to] = 1;
        net_cut(w, from, to);
    }
}

static void partition_draw(struct world *w, struct sim_partition *p)
{
    uint32_t n = w->mix.member_count;
    uint32_t kind = (uint32_t)sim_below(w, 4);
    uint32_t a = 1 + (uint32_t)sim_below(w, n);
    bool side[SIM_MEMBERS_MAX + 1] = {0};

    for (uint32_t id = 1; id <= n; id++) {
        side[id] = kind == 0 ? sim_chance(w, 50) : id == a; /* two groups, or one member alone */
    }
    w->counts.part_symmetric += kind == 0 || kind == 1;
    w->counts.part_one_way += kind == 2;
    w->counts.part_partial += kind == 3;
    for (uint32_t from = 1; from <= n; from++) {
        for (uint32_t to = 1; to <= n; to++) {
            bool cut = side[from] != side[to];

            if (kind == 2) {
                cut = cut && (side[from] == (a % 2 == 0)); /* it hears, or is heard */
            } else if (kind == 3) {
                cut = sim_chance(w, 30); /* any direction of any pair */
            }
            if (cut) {
                cut_between(w, p, from, to);
            }
        }
    }
}

/* --- aimed at the leader: what rests on its lease, and on the promise of its voters ----------- */

static uint32_t leader_now(const struct world *w)
{
    uint32_t leader = 0;
    uint64_t epoch = 0;

    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        const struct sim_member *m = &w->members[id];

        if (member_up(m) && m->view.role == ZAB_LEADER && m->view.epoch >= epoch) {
            leader = id;
            epoch = m->view.epoch;
        }
    }
    return leader;
}

static void restart_at_once(struct world *w, uint32_t id)
{
    struct sim_member *m = &w->members[id];

    if (member_up(m)) {
        m->held = true; /* not by itself, a while later */
        member_crash(m, false);
        m->held = false;
        member_start_at(m, w->now_us + sim_between(w, 1, 5) * SIM_MS);
    }
}

/* The leader's lease ends late, by true time, and the promise of its voters early. */
static void clocks_apart(struct world *w, uint32_t leader)
{
    int32_t max = (int32_t)w->mix.drift_ppm_max;

    w->counts.drifts++;
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        member_set_drift(&w->members[id], id == leader ? -max : max);
    }
}

/* The leader is cut off from all, or from so many that one more vote elects another one; then one
 * of those who hear it is restarted again and again. */
static void partition_leader(struct world *w, struct sim_partition *p, uint32_t leader)
{
    uint32_t n = w->mix.member_count;
    uint32_t first = any_member(w)->id;
    uint32_t left = sim_chance(w, 50) ? n - 1 : sim_quorum(w) - 1;

    w->counts.part_symmetric += left == n - 1;
    w->counts.part_partial += left < n - 1;
    if (w->mix.faults[SIM_CLOCK] && sim_chance(w, 50)) {
        clocks_apart(w, leader);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = 1 + (first + i - 1) % n;

        if (id != leader && left > 0) {
            left--;
            cut_between(w, p, leader, id);
            cut_between(w, p, id, leader);
        } else if (id != leader && w->mix.faults[SIM_KILL]) {
            for (int k = 1; k <= 12; k++) {
                uint64_t apart_us = w->mix.election_min_ms * (uint64_t)SIM_MS / 2;

                heal_later(w, (uint64_t)k * apart_us + sim_below(w, apart_us), PLACE_RESTART, id);
            }
            return;
        }
    }
}

static uint64_t election_us(struct world *w)
{
    return sim_spread(w, w->mix.election_min_ms, 4 * (uint64_t)w->mix.election_max_ms) * SIM_MS;
}

static void pause_somebody(struct world *w)
{
    uint32_t leader = leader_now(w);

    if (leader != 0 && sim_chance(w, 50)) {
        member_pause(&w->members[leader], election_us(w));
    } else {
        member_pause(any_member(w), sim_spread(w, SIM_SECOND / 10, 30 * SIM_SECOND));
    }
}

static void partition(struct world *w)
{
    uint32_t leader = leader_now(w);
    uint32_t i = 0;

    if (sim_chance(w, 25)) {
        struct sim_member *m = any_member(w);

        w->counts.part_clients++;
        w->client_cuts[m->id]++;
        streams_cut(w, m->id);
        heal_later(w, sim_spread(w, SIM_SECOND / 10, 30 * SIM_SECOND), PLACE_CLIENTS, m->id);
        return;
    }
    while (i < SIM_PARTITIONS_MAX && w->partitions[i].active) {
        i++;
    }
    if (i == SIM_PARTITIONS_MAX || w->mix.member_count == 1) {
        return;
    }
    w->partitions[i] = (struct sim_partition){.active = true};
    if (leader != 0 && sim_chance(w, 40)) {
        partition_leader(w, &w->partitions[i], leader);
        heal_later(w, 2 * election_us(w), PLACE_PARTITION, i);
        return;
    }
    partition_draw(w, &w->partitions[i]);
    heal_later(w, sim_spread(w, SIM_SECOND / 10, 60 * SIM_SECOND), PLACE_PARTITION, i);
}

static void partition_heal(struct world *w, struct sim_partition *p)
{
    for (uint32_t from = 1; from <= w->mix.member_count; from++) {
        for (uint32_t to = 1; to <= w->mix.member_count; to++) {
            if (p->cut[from][to]) {
                net_uncut(w, from, to);
            }
        }
    }
    *p = (struct sim_partition){0};
}

static void link_trouble(struct world *w, bool slow)
{
    uint32_t a = any_member(w)->id;
    uint32_t b = any_member(w)->id;

    if (a == b) {
        return;
    }
    if (!slow) {
        net_break(w, a, b);
        return;
    }
    w->counts.delays++;
    w->dirs[a][b].slow_us = sim_spread(w, 10 * SIM_MS, 2 * SIM_SECOND);
    heal_later(w, sim_spread(w, SIM_SECOND / 10, 20 * SIM_SECOND), PLACE_LINK, a * 16 + b);
}

/* --- disks ----------------------------------------------------------------------------------- */

static void io_error(struct world *w)
{
    struct sim_member *m = any_member(w);

    if (m->node != NULL) {
        memfs_fail_at(m->fs, (enum memfs_call)sim_below(w, MEMFS_CALL_COUNT),
                      sim_between(w, 1, 20));
    }
}

static void disk_full(struct world *w)
{
    struct sim_member *m = any_member(w);

    w->counts.full++;
    memfs_set_space(m->fs, memfs_used(m->fs) + sim_below(w, 2 * w->mix.segment_size));
    heal_later(w, sim_spread(w, SIM_SECOND / 10, 20 * SIM_SECOND), SIM_FULL, m->id);
}

static void disk_slow(struct world *w)
{
    struct sim_member *m = any_member(w);

    w->counts.slow_disks++;
    m->slow_disk_us = sim_spread(w, SIM_MS, 2 * SIM_SECOND);
    heal_later(w, sim_spread(w, SIM_SECOND / 10, 30 * SIM_SECOND), SIM_SLOW, m->id);
}

/* Damage shows at the next start, which is not far. */
static void damage(struct world *w, enum sim_fault fault)
{
    struct sim_member *m = any_member(w);
    bool done;

    if (!damage_allowed(w, m) || !damage_sound(m)) {
        return;
    }
    if (fault == SIM_EMPTY) {
        if (damage_may_replace(w, m)) {
            member_crash(m, true);
            if (damage_may_replace(w, m)) {
                member_replace_disk(m);
            }
        }
        return;
    }
    done = fault == SIM_ROT ? damage_rot(m) : damage_lose(m, fault == SIM_MISDIRECT);
    w->counts.rots += done && fault == SIM_ROT;
    w->counts.lost_writes += done && fault == SIM_LOST;
    w->counts.misdirects += done && fault == SIM_MISDIRECT;
    if (done && m->node != NULL) {
        m->die_in = (uint32_t)sim_between(w, 1, 200);
        m->die_power = sim_chance(w, 30);
    }
}

/* --- the storm ------------------------------------------------------------------------------- */

static void strike(struct world *w, enum sim_fault fault)
{
    sim_note(w, "fault %d", fault);
    switch (fault) {
    case SIM_KILL:
        crash(w, false);
        break;
    case SIM_POWER:
        crash(w, true);
        break;
    case SIM_PAUSE:
        pause_somebody(w);
        break;
    case SIM_PARTITION:
        partition(w);
        break;
    case SIM_LINK:
        link_trouble(w, false);
        break;
    case SIM_DELAY:
        link_trouble(w, true);
        break;
    case SIM_CLOCK:
        clock_changes(w);
        break;
    case SIM_SLOW:
        disk_slow(w);
        break;
    case SIM_EIO:
        io_error(w);
        break;
    case SIM_FULL:
        disk_full(w);
        break;
    case SIM_ROT:
    case SIM_LOST:
    case SIM_MISDIRECT:
    case SIM_EMPTY:
        damage(w, fault);
        break;
    case SIM_LOSS: /* these are there all the time */
    case SIM_DUP:
    case SIM_REORDER:
    case SIM_FAULT_COUNT:
        break;
    }
}

static void next_fault(struct world *w)
{
    uint64_t us = (uint64_t)w->mix.gap_ms * SIM_MS;

    world_post(w, w->now_us + sim_between(w, us / 4, us * 7 / 4), EV_FAULT, 0, 0, w->storm);
}

void nemesis_strike(struct world *w)
{
    enum sim_fault fault = (enum sim_fault)sim_below(w, SIM_FAULT_COUNT);

    for (int tries = 0; tries < 40 && !w->mix.faults[fault]; tries++) {
        fault = (enum sim_fault)sim_below(w, SIM_FAULT_COUNT);
    }
    if (w->mix.faults[fault]) {
        strike(w, fault);
    }
    next_fault(w);
}

void nemesis_start(struct world *w)
{
    w->storm++;
    w->lossy = w->mix.faults[SIM_LOSS] || w->mix.faults[SIM_DUP] || w->mix.faults[SIM_REORDER];
    next_fault(w);
}

void nemesis_heal(struct world *w, const struct sim_event *ev)
{
    if (ev->x != w->storm) {
        return;
    }
    switch (ev->a) {
    case PLACE_PARTITION:
        partition_heal(w, &w->partitions[ev->b]);
        break;
    case PLACE_CLIENTS:
        w->client_cuts[ev->b]--;
        break;
    case PLACE_RESTART:
        restart_at_once(w, ev->b);
        break;
    case PLACE_LINK:
        w->dirs[ev->b / 16][ev->b % 16].slow_us = 0;
        break;
    case SIM_FULL:
        memfs_set_space(w->members[ev->b].fs, UINT64_MAX);
        break;
    default:
        w->members[ev->b].slow_disk_us = 0;
        break;
    }
}

/* --- calm ------------------------------------------------------------------------------------ */

void nemesis_calm_network(struct world *w)
{
    w->storm++;
    w->lossy = false;
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++) {
        if (w->partitions[i].active) {
            partition_heal(w, &w->partitions[i]);
        }
    }
    for (uint32_t a = 1; a <= w->mix.member_count; a++) {
        w->client_cuts[a] = 0;
        for (uint32_t b = 1; b <= w->mix.member_count; b++) {
            w->dirs[a][b].slow_us = 0;
        }
    }
}

void nemesis_calm(struct world *w, uint32_t id)
{
    struct sim_member *m = &w->members[id];

    memfs_set_space(m->fs, UINT64_MAX);
    for (int call = 0; call < MEMFS_CALL_COUNT; call++) {
        memfs_fail_at(m->fs, (enum memfs_call)call, 0);
    }
    m->slow_disk_us = 0;
    m->die_in = 0;
    m->die_in_batch = false;
    m->held = false;
    member_resume(m);
    if (m->damaged && !m->damage_seen) {
        member_crash(m, false); /* it is to find out now */
    }
    if (m->node == NULL) {
        member_start_at(m, w->now_us + sim_spread(w, SIM_MS, SIM_SECOND));
    }
}

/* What the others suffer while the core serves: they may be down, stand still, or be cut off from
 * everybody in one or both directions. (One that reaches a part of the core may go on leading, and
 * then nobody leads the other part.) */
void nemesis_trouble(struct world *w, uint32_t id)
{
    struct sim_member *m = &w->members[id];
    uint32_t kind = (uint32_t)sim_below(w, 5);
    struct sim_partition *p = &w->partitions[0];
    uint32_t way;

    nemesis_calm(w, id);
    if (kind == 0) {
        m->held = true;
        member_crash(m, sim_chance(w, 50));
        return;
    }
    if (kind == 1 && m->node != NULL) {
        member_pause(m, UINT32_MAX);
        return;
    }
    if (kind == 4) {
        return;
    }
    p->active = true;
    way = (uint32_t)sim_below(w, 3);
    for (uint32_t peer = 1; peer <= w->mix.member_count; peer++) {
        if (way != 0) {
            cut_between(w, p, id, peer);
        }
        if (way != 1) {
            cut_between(w, p, peer, id);
        }
    }
    w->client_cuts[id]++;
    streams_cut(w, id);
}
