#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "zabnet.h"

/* Four scenarios, step by step, compared literally with tests/trace/NAME.trace: time and member,
 * the event, and below it what the member did. ZAB_TRACE_REWRITE=1 writes the files anew; the
 * difference is then read and judged by a person. */

static void trace_path(const char *name, char *ret, size_t cap)
{
    const char *slash = strrchr(__FILE__, '/');

    cr_assert_not_null(slash);
    snprintf(ret, cap, "%.*s/../trace/%s.trace", (int)(slash - __FILE__), __FILE__, name);
}

static void expect_trace(struct net *net, const char *name)
{
    char path[1024];
    struct buf want = {0};
    char piece[4096];
    bool rewrite = getenv("ZAB_TRACE_REWRITE") != NULL;

    trace_path(name, path, sizeof(path));
    FILE *f = fopen(path, rewrite ? "w" : "r");

    cr_assert_not_null(f, "%s", path);
    if (rewrite) {
        fwrite(net->trace.data, 1, net->trace.size, f);
        fclose(f);
        return;
    }
    for (size_t size = 0; (size = fread(piece, 1, sizeof(piece), f)) > 0;) {
        buf_put(&want, piece, size);
    }
    fclose(f);
    bool same = want.size == net->trace.size && memcmp(want.data, net->trace.data, want.size) == 0;

    buf_done(&want);
    cr_assert(same, "%s differs: run with ZAB_TRACE_REWRITE=1 and look at the difference", path);
}

static void trace_begin(struct net *net, const char *story)
{
    buf_put(&net->trace, story, strlen(story));
    net->tracing = true;
}

Test(zab_trace, election)
{
    struct net *net = net_new(3, 1);

    trace_begin(net,
                "# Three empty members start. One asks for assent, then for votes, and leads; its\n"
                "# first entry, EPOCH(1), brings the followers in and is committed.\n");
    net_start(net);
    net_run_leader(net);
    net_run(net, 5);
    expect_trace(net, "election");
    net_free(net);
}

Test(zab_trace, deposed_leader)
{
    struct net *net = net_new(3, 1);

    net_start(net);
    uint32_t first = net_run_leader(net);

    net_run(net, 10);
    net_isolate(net, first, true);
    net_propose(net, first, "nobody else hears of this");
    net_run(net, 400);
    uint32_t second = net_run_leader(net);

    net_propose(net, second, "committed");
    net_run(net, 10);
    trace_begin(
        net, "# A leader was cut off with an entry that nobody else has. The others have elected\n"
             "# another. The old one returns, becomes its follower, cuts and catches up.\n");
    net_isolate(net, first, false);
    cr_assert(net_run_applied(net, 3, 1000));
    expect_trace(net, "deposed_leader");
    net_free(net);
}

static void disk_fill(struct net *net, uint32_t id, const char *epochs)
{
    struct net_disk *d = &net_member(net, id)->disk;

    d->entries = mem_zalloc(strlen(epochs) * sizeof(*d->entries));
    for (; epochs[d->entry_count] != '\0'; d->entry_count++) {
        size_t i = d->entry_count;
        struct zab_entry *e = &d->entries[i];

        e->epoch = (uint64_t)(epochs[i] - '0');
        e->index = i + 1;
        e->type = ZAB_ENTRY_EPOCH;
        e->chain = hash_chain(i > 0 ? e[-1].chain : d->base.chain, e->epoch, e->index,
                              (uint8_t)e->type, NULL, 0);
        d->promised_epoch = e->epoch;
    }
}

Test(zab_trace, diverged_follower)
{
    struct net *net = net_new(3, 1);

    disk_fill(net, 1, "111224666");
    disk_fill(net, 2, "111133333");
    disk_fill(net, 3, "111224666");
    trace_begin(net,
                "# Member 2 holds entries of epochs 1 and 3 where the others have 2, 4 and 6. The\n"
                "# leader steps back to 2.5, the follower to 1.4, the leader to 1.3: common.\n");
    net_start(net);
    net_run_leader(net);
    cr_assert(net_run_applied(net, 10, 1000));
    expect_trace(net, "diverged_follower");
    net_free(net);
}

static bool drop_acks(struct net *net, const struct zab_msg *m)
{
    return m->type == ZAB_ACK && net->dropped < 2;
}

Test(zab_trace, lost_ack)
{
    struct net *net = net_new(3, 1);

    net_start(net);
    uint32_t leader = net_run_leader(net);

    net_run(net, 10);
    net->drop = drop_acks;
    trace_begin(net,
                "# Both acknowledgements of an entry are lost; the answers to the next round of\n"
                "# heartbeats say the same, and the entry is committed.\n");
    net_propose(net, leader, "x");
    cr_assert(net_run_applied(net, 2, 1000));
    expect_trace(net, "lost_ack");
    net_free(net);
}
