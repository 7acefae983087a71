#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "sim.h"

/* A run is a few rounds, each of
 *   STORM   any faults; what must never happen does not
 *   CORE    the faults stop for a quorum, while the others may stay down, cut off or stand still:
 *           it must serve every client and agree on one state within SIM_PROMISE_US
 * and after the last one
 *   ALL     everything is healed: all members must agree
 *   END     all processes are killed, and every disk is read once more. */

enum { LOOK_MS = 50 };

static void next_look(struct world *w)
{
    world_post(w, w->now_us + LOOK_MS * SIM_MS, EV_PHASE, 0, 0, 0);
}

static void enter(struct world *w, enum sim_phase phase, uint64_t us)
{
    w->phase = phase;
    w->target = 0;
    w->phase_until_us = w->now_us + us;
    sim_note(w, "phase=%u round=%u", (unsigned)phase, w->round);
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        if (w->in_core[id]) {
            sim_note(w, "in the core: %u", id);
        }
    }
}

static void enter_storm(struct world *w)
{
    uint64_t us = (w->end_us * 4 / 5) / w->mix.rounds;

    memset(w->in_core, 0, sizeof(w->in_core));
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        nemesis_calm(w, id);
    }
    nemesis_calm_network(w);
    enter(w, PHASE_STORM, sim_between(w, us / 2, us));
    nemesis_start(w);
    world_post(w, w->phase_until_us, EV_PHASE, 0, 0, 0);
}

/* The quorum that has to do without the rest: sound members, or, while too few have anything of a
 * leader's, all. */
static void draw_core(struct world *w)
{
    uint32_t n = w->mix.member_count;
    uint32_t sound[SIM_MEMBERS_MAX];
    uint32_t count = 0, size;

    memset(w->in_core, 0, sizeof(w->in_core));
    for (uint32_t id = 1; id <= n; id++) {
        if (damage_sound(&w->members[id])) {
            sound[count++] = id;
        }
    }
    if (count < sim_quorum(w)) {
        memset(w->in_core, true, sizeof(w->in_core));
        return;
    }
    size = (uint32_t)sim_between(w, sim_quorum(w), count);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t k = i + (uint32_t)sim_below(w, count - i);
        uint32_t id = sound[k];

        sound[k] = sound[i];
        sound[i] = id;
        w->in_core[id] = true;
    }
}

static void enter_core(struct world *w)
{
    nemesis_calm_network(w);
    draw_core(w);
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        if (w->in_core[id]) {
            nemesis_calm(w, id);
        } else {
            nemesis_trouble(w, id);
        }
    }
    enter(w, PHASE_CORE, SIM_PROMISE_US);
    clients_probe(w->clients, w->now_us);
    next_look(w);
}

static void enter_all(struct world *w)
{
    nemesis_calm_network(w);
    memset(w->in_core, true, sizeof(w->in_core));
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        nemesis_calm(w, id);
    }
    clients_quiesce(w->clients, w->now_us);
    enter(w, PHASE_ALL, 2 * SIM_PROMISE_US);
    next_look(w);
}

/* --- what the core must reach ---------------------------------------------------------------- */

static bool is_served(const struct world *w)
{
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        if (member_up(&w->members[id]) && w->members[id].view.serving) {
            return true;
        }
    }
    return false;
}

/* Why the core is not in one state; NULL: it is. While clients work the state moves on, so the core
 * has to reach what was committed when they had been served; that states are the same at the same
 * index is checked all the time. */
static const char *core_differs(const struct world *w)
{
    if (!is_served(w)) {
        return "no leader serves";
    }
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        const struct sim_member *m = &w->members[id];

        if (w->in_core[id] && m->node == NULL) {
            return "a member is down";
        }
        if (w->in_core[id] && m->view.applied < w->target) {
            return "a member is behind";
        }
    }
    return NULL;
}

void phases_judge(struct world *w)
{
    const char *text;

    if (w->failure[0] != '\0') {
        return;
    }
    w->counts.judgements++;
    text = clients_judge(w->clients, &w->ledger);
    if (text != NULL) {
        sim_fail(w, "clients: %s", text);
    }
}

/* --- the last look at the disks -------------------------------------------------------------- */

static void reopen(struct world *w, struct sim_member *m)
{
    struct store_recovered rec;
    struct store *store;
    char note[256] = "";
    int err;

    m->held = true;
    member_crash(m, false);
    err = store_open(&m->store_conf, &store, &rec, note);
    if (err != 0) {
        sim_fail(w, "member %u: the disk of a healed member does not open: %s", m->id, note);
        return;
    }
    disk_recovered(w, m, &rec);
    if (rec.faulty) {
        sim_fail(w, "member %u: the disk of a healed member is faulty: %s", m->id, rec.note);
    }
    for (size_t i = 0; i < rec.entry_count; i++) {
        const struct store_entry *e = &rec.entries[i];

        if (e->index <= w->ledger.count && !inv_in_ledger(w, e->index, &e->chain)) {
            sim_fail(w, "member %u: entry %" PRIu64 " on disk is not the one committed", m->id,
                     e->index);
            break;
        }
    }
    store_recovered_done(&rec);
    store_close(store);
    memfs_kill(m->fs);
}

/* Entries that were committed after everybody had been found alike are on a quorum of the disks. */
static void enter_end(struct world *w)
{
    uint64_t target = w->target;
    uint32_t complete = 0;

    enter(w, PHASE_END, 0);
    for (uint32_t id = 1; id <= w->mix.member_count && w->failure[0] == '\0'; id++) {
        reopen(w, &w->members[id]);
    }
    for (uint32_t id = 1; id <= w->mix.member_count && w->failure[0] == '\0'; id++) {
        complete += w->members[id].disk.last >= w->ledger.count;
        if (w->members[id].disk.last < target) {
            sim_fail(w, "member %u ends with %" PRIu64 " of %" PRIu64 " committed entries", id,
                     w->members[id].disk.last, target);
        }
    }
    if (complete < sim_quorum(w)) {
        sim_fail(w, "%u members end with all %" PRIu64 " committed entries", complete,
                 w->ledger.count);
    }
    w->done = true;
}

/* --- steps ----------------------------------------------------------------------------------- */

static void look(struct world *w)
{
    bool all = w->phase == PHASE_ALL;
    bool answered = all ? clients_idle(w->clients) : clients_probed(w->clients);
    const char *differs;

    if (answered && w->target == 0) {
        w->target = w->ledger.count;
    }
    differs = core_differs(w);

    if (answered && differs == NULL) {
        w->counts.services++;
        phases_judge(w);
        if (all) {
            enter_end(w);
        } else if (++w->round < w->mix.rounds) {
            enter_storm(w);
        } else {
            enter_all(w);
        }
        return;
    }
    if (w->now_us >= w->phase_until_us) {
        sim_fail(w, "%s: %s, %s", all ? "after everything was healed" : "a quorum without faults",
                 differs != NULL ? differs : "one state",
                 answered ? "clients were served" : "clients were not served");
    }
    next_look(w);
}

void phases_step(struct world *w)
{
    if (w->phase == PHASE_STORM) {
        enter_core(w);
    } else {
        look(w);
    }
}

void phases_start(struct world *w)
{
    clients_start(w->clients, w->now_us);
    enter_storm(w);
}
