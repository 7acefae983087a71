#ifndef ZABFS_TEST_WIRE_SAMPLES_H
#define ZABFS_TEST_WIRE_SAMPLES_H

#include <string.h>

#include "mem.h"
#include "wire.h"

/* Messages that the tests of the peer protocol and the fuzz target start from: one of each kind,
 * the greatest values, no two fields alike. A sample owns what a decoded message owns. */

enum { SAMPLE_PEER_COUNT = 5 + ZAB_MSG_TYPE_MAX };

static const struct zab_pos sample_pos = {UINT64_MAX, UINT64_MAX - 1, {UINT64_MAX - 2, 3}};

static inline void sample_zab(enum zab_msg_type type, struct zab_msg *z)
{
    *z = (struct zab_msg){
        .type = type,
        .from = UINT32_MAX,
        .to = UINT32_MAX - 1,
        .epoch = UINT64_MAX,
        .promised = UINT64_MAX - 1,
        .last = sample_pos,
        .commit = UINT64_MAX - 2,
        .sync = UINT64_MAX - 3,
        .received = UINT64_MAX - 4,
        .durable = UINT64_MAX - 5,
        .round = UINT64_MAX - 6,
        .read = UINT64_MAX - 7,
        .digest_index = UINT64_MAX - 8,
        .digest = UINT64_MAX - 9,
        .fresh = UINT64_MAX - 10,
        .granted = type % 3 == 0,
        .quorum = type % 3 == 1,
        .faulty = type % 3 == 2,
        .unformed = type % 2 == 0,
        .lease = type % 2 == 1,
    };
    if (type == ZAB_PROPOSE) {
        z->entry_count = 3;
        z->entries = mem_zalloc(3 * sizeof(*z->entries));
        z->entries[0] = (struct zab_entry){1, 2, ZAB_ENTRY_EPOCH, {3, 4}, NULL};
        z->entries[1] = (struct zab_entry){5, 6, ZAB_ENTRY_DATA, {7, 8}, blob_new("body", 4)};
        z->entries[2] =
            (struct zab_entry){9, UINT64_MAX, ZAB_ENTRY_DATA, {10, 11}, blob_new("\0", 1)};
    }
}

static inline void sample_peer(unsigned i, struct peer_msg *m)
{
    static const uint64_t sessions[] = {1, UINT64_MAX, 0};

    memset(m, 0, sizeof(*m));
    switch (i) {
    case 0:
        m->type = PEER_IDENT;
        m->u.ident.version = UINT32_MAX;
        m->u.ident.cluster = (struct hash128){UINT64_MAX, 1};
        m->u.ident.incarnation = (struct hash128){2, UINT64_MAX};
        m->u.ident.from = UINT32_MAX - 1;
        m->u.ident.to = UINT32_MAX - 2;
        return;
    case 1:
        m->type = PEER_FORWARD;
        m->u.forward.session = UINT64_MAX;
        m->u.forward.bytes = (const uint8_t *)"request";
        m->u.forward.size = 7;
        return;
    case 2:
        m->type = PEER_TOUCH;
        m->u.touch.count = 3;
        m->u.touch.sessions = mem_dup(sessions, sizeof(sessions));
        return;
    case 3:
        m->type = PEER_SNAP;
        m->u.snap.epoch = UINT64_MAX;
        m->u.snap.sync = UINT64_MAX - 1;
        m->u.snap.pos = sample_pos;
        m->u.snap.total = UINT64_MAX - 2;
        m->u.snap.offset = UINT64_MAX - 7;
        m->u.snap.bytes = (const uint8_t *)"image";
        m->u.snap.size = 5;
        return;
    case SAMPLE_PEER_COUNT - 1:
        m->type = PEER_SNAP_R;
        m->u.snap_r.epoch = UINT64_MAX;
        m->u.snap_r.sync = UINT64_MAX - 1;
        m->u.snap_r.stored = UINT64_MAX - 2;
        return;
    default:
        m->type = PEER_ZAB;
        sample_zab((enum zab_msg_type)(i - 3), &m->u.zab);
        return;
    }
}

#endif
