#include "zabnet.h"

#include "check.h"

/* The net's own record of the ensemble, and what every member is held to. */

void net_check_commit(struct net *net, const struct zab_pos *pos)
{
    struct zab_pos *known = &net->history[pos->index];

    CHECK(pos->index < NET_INDEX_MAX);
    if (pos->index > net->committed) {
        CHECK(pos->index == net->committed + 1);
        *known = *pos;
        net->committed = pos->index;
    }
    CHECK(known->epoch == pos->epoch); /* agreement */
    CHECK(hash128_equal(known->chain, pos->chain));
}

void net_check_leader(struct net *net, struct net_member *m, uint64_t epoch)
{
    struct zab_pos pos;

    CHECK(epoch < NET_EPOCH_MAX);
    CHECK(net->leader_of[epoch] == 0 || net->leader_of[epoch] == m->id);
    net->leader_of[epoch] = m->id;
    for (uint64_t i = 1; i <= net->committed; i++) {
        if (net->history[i].epoch >= epoch || !zab_pos_at(m->zab, i, &pos)) {
            CHECK(net->history[i].epoch >= epoch || i < m->applied); /* left the window */
            continue;
        }
        CHECK(hash128_equal(net->history[i].chain, pos.chain));
    }
}

/* What PROTOCOL.md says must be on disk before a message leaves, judged by the disk itself. */
void net_check_send(const struct net_member *m, const struct zab_effect *fx)
{
    const struct zab_msg *msg = &fx->u.msg;
    bool refusal = msg->type == ZAB_VOTE_R && !msg->granted;
    bool promises = msg->type != ZAB_PREVOTE && msg->type != ZAB_PREVOTE_R &&
                    !(msg->type == ZAB_HELLO && msg->faulty && net_disk_fresh(&m->disk));
    uint64_t promised = m->disk.promised_epoch;

    if (fx->after_seq > m->seq_durable) {
        return;
    }
    promised = promised > m->disk.base.epoch ? promised : m->disk.base.epoch;
    CHECK(!promises || refusal || msg->epoch <= promised);
    CHECK(msg->type != ZAB_VOTE_R || !msg->granted || msg->epoch < m->disk.promised_epoch ||
          m->disk.voted_for == msg->to);
    CHECK(msg->type != ZAB_ACK || msg->durable <= m->disk.base.index + m->disk.entry_count);
}
