#include <stdio.h>

#include "sim.h"

/* What a seed draws (Groce et al., "Swarm testing", ISSTA 2012): a run that leaves some faults out
 * reaches states that a run with all of them does not. */

static uint64_t pick(struct prng *p, const uint64_t *from, size_t count)
{
    return from[prng_below(p, count)];
}

#define PICK(p, ...)                                                                               \
    pick((p), (const uint64_t[]){__VA_ARGS__},                                                     \
         sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static uint32_t draw_members(struct prng *p)
{
    static const uint32_t counts[] = {1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6, 7, 7};

    return counts[prng_below(p, sizeof(counts) / sizeof(counts[0]))];
}

static void draw_faults(struct prng *p, const bool *allowed, struct sim_mix *ret)
{
    uint64_t percent = PICK(p, 15, 30, 50, 70, 100);
    bool single = prng_below(p, 4) == 0; /* else the network keeps order and loses nothing */

    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        ret->faults[i] = prng_below(p, 100) < percent && allowed[i];
    }
    ret->faults[SIM_LOSS] = ret->faults[SIM_LOSS] && single;
    ret->faults[SIM_DUP] = ret->faults[SIM_DUP] && single;
    ret->faults[SIM_REORDER] = ret->faults[SIM_REORDER] && single;
    ret->loss_ppm = ret->faults[SIM_LOSS] ? (uint32_t)PICK(p, 1000, 10000, 100000, 300000) : 0;
    ret->dup_ppm = ret->faults[SIM_DUP] ? (uint32_t)PICK(p, 1000, 10000, 200000) : 0;
    ret->reorder_ppm = ret->faults[SIM_REORDER] ? (uint32_t)PICK(p, 1000, 10000, 200000) : 0;
    ret->gap_ms = (uint32_t)PICK(p, 200, 500, 1000, 2000, 5000, 10000);
    ret->down_ms_max = (uint32_t)PICK(p, 100, 2000, 10000, 30000);
    ret->drift_ppm_max = ret->faults[SIM_CLOCK] ? (uint32_t)ZAB_CLOCK_DRIFT_PERCENT * 10000 : 200;
}

static void draw_protocol(struct prng *p, struct sim_mix *ret)
{
    ret->election_min_ms = (uint32_t)PICK(p, 200, 500, 1000, 1000);
    ret->election_max_ms = ret->election_min_ms * 2;
    ret->heartbeat_ms = ret->election_min_ms / (uint32_t)PICK(p, 4, 10, 10);
    ret->lease_ms = prng_below(p, 2) ? 2 * ret->heartbeat_ms : ret->election_min_ms;
    ret->window_entries_max = (uint32_t)PICK(p, 1, 4, 16, 64, 1000, 65536);
    ret->window_size_max = PICK(p, 4096, 64 << 20, 64 << 20);
    ret->inflight_max = (uint32_t)PICK(p, 1, 2, 8, 32, ZAB_INFLIGHT_MAX);
    ret->snapshot_entries = PICK(p, 5, 20, 50, 200, 1000, 1000000);
    ret->history_changes = (uint32_t)PICK(p, 0, 10, 300, 65536);
    ret->history_bytes = PICK(p, 2000, 1 << 20);
    ret->segment_size =
        (uint32_t)PICK(p, STORE_SEGMENT_SIZE_MIN, STORE_SEGMENT_SIZE_MIN, 256 << 10);
}

static void draw_speed(struct prng *p, struct sim_mix *ret)
{
    /* Without faults an answer must be there well before an election's time. */
    uint32_t fast_us = ret->election_min_ms * SIM_MS / 50;

    ret->turn_us = (uint32_t)PICK(p, 0, 0, 20, 200, 2000);
    ret->delay_us = (uint32_t)PICK(p, 50, 200, 1000, fast_us);
    ret->delay_spread_us = (uint32_t)PICK(p, 20, 500, fast_us);
    ret->bytes_per_ms = (uint32_t)PICK(p, 1000, 10000, 1000000);
    ret->disk_us = (uint32_t)PICK(p, 100, 1000, fast_us);
    ret->disk_spread_us = (uint32_t)PICK(p, 100, 2000, 2 * fast_us);
}

static void draw_clients(struct prng *p, uint64_t seed, struct sim_mix *ret)
{
    ret->clients = (struct clients_conf){
        .seed = seed,
        .count = 1 + (uint32_t)prng_below(p, 5),
        .member_count = ret->member_count,
        .think_us = (uint32_t)PICK(p, 20000, 100000, 300000, 1000000),
        .inflight_max = (uint32_t)PICK(p, 1, 2, 8),
        .value_size_max = (uint32_t)PICK(p, 16, 200, 3000, 3000),
        .names = (uint32_t)PICK(p, 2, 8, 40),
        .session_timeout_ms = (uint32_t)PICK(p, 1000, 3000, 10000),
    };
    ret->clients.features = (uint32_t)prng_next(p) & CLIENTS_FEATURES_ALL;
    for (uint32_t i = 0; i < ret->member_count; i++) {
        ret->clients.members[i] = i + 1;
    }
}

void swarm_draw(uint64_t seed, const bool *allowed, struct sim_mix *ret)
{
    struct prng p = {seed * 0x9e3779b97f4a7c15u + 12345};

    *ret = (struct sim_mix){0};
    ret->member_count = draw_members(&p);
    draw_faults(&p, allowed, ret);
    draw_protocol(&p, ret);
    draw_speed(&p, ret);
    draw_clients(&p, seed, ret);
    ret->rounds = 1 + (uint32_t)prng_below(&p, 3);
    ret->apply_entries_max = (uint32_t)PICK(&p, 1, 7, 0, 0);
    ret->gather_entries = (uint32_t)PICK(&p, 1, 2, 4);
    ret->gather_ms = (uint32_t)PICK(&p, 0, 2, 2, 20);
}

void swarm_print(const struct sim_mix *mix)
{
    static const char *const names[] = {
#define X(name, text) text,
        SIM_FAULTS(X)
#undef X
    };

    printf("members=%u heartbeat_ms=%u election_ms=%u..%u lease_ms=%u window=%u inflight=%u "
           "gather=%u/%ums snapshot=%llu "
           "segment=%u turn_us=%u delay_us=%u+%u disk_us=%u+%u gap_ms=%u down_ms=%u clients=%u "
           "think_us=%u features=%x rounds=%u faults=",
           mix->member_count, mix->heartbeat_ms, mix->election_min_ms, mix->election_max_ms,
           mix->lease_ms, mix->window_entries_max, mix->inflight_max, mix->gather_entries,
           mix->gather_ms, (unsigned long long)mix->snapshot_entries, mix->segment_size,
           mix->turn_us, mix->delay_us, mix->delay_spread_us, mix->disk_us, mix->disk_spread_us,
           mix->gap_ms, mix->down_ms_max, mix->clients.count, mix->clients.think_us,
           mix->clients.features, mix->rounds);
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if (mix->faults[i]) {
            printf("%s,", names[i]);
        }
    }
    printf("\n");
}
