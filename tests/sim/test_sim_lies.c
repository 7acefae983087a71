#include <criterion/criterion.h>
#include <string.h>

#include "clientnet.h"
#include "err.h"

/* One lie, or one entry of the ledger that is not what members applied, and the judge says so. */

static struct world world;

static bool is_ok(const struct message *m, enum op op)
{
    return m->kind == MESSAGE_REPLY && m->u.reply.op == op && m->u.reply.err == 0;
}

static bool is_event(const struct message *m)
{
    return m->kind == MESSAGE_EVENT;
}

/* What is told instead of what was said, and the rule that must find it; `when` holds of the frame
 * that is to be changed. */
#define LIES(X)                                                                                    \
    X(a_byte_of_a_value, "read", is_ok(m, OP_READ) && r->u.read.value != NULL,                     \
      r->u.read.value->data[0] ^= 1)                                                               \
    X(an_older_version, "read", is_ok(m, OP_READ) && r->u.read.attr.version > 1,                   \
      r->u.read.attr.version--)                                                                    \
    X(an_older_state, "", is_ok(m, OP_GETATTR) && w->seen[client] > 9, r->index = 9)               \
    X(an_index_to_come, "ledger", is_ok(m, OP_SYNC), r->index = w->ledger.count + 1000)            \
    X(a_barrier_that_waits_for_nothing, "barrier",                                                 \
      is_ok(m, OP_SYNC) && r->xid == w->sync_xid[client] &&                                        \
          w->seen[client] < w->sync_told[client],                                                  \
      r->index = w->seen[client])                                                                  \
    X(a_hidden_node, "", is_ok(m, OP_LOOKUP), r->err = ERR_NOENT)                                  \
    X(a_node_that_is_gone, "read",                                                                 \
      m->kind == MESSAGE_REPLY && r->op == OP_READ && r->err == ERR_NOENT, r->err = ERR_ISDIR)     \
    X(a_list_cut_short, "read", is_ok(m, OP_READDIR) && r->u.readdir.count > 1,                    \
      (r->u.readdir.count--, r->u.readdir.end = true))                                             \
    X(a_list_with_a_hole, "read", is_ok(m, OP_READDIR) && r->u.readdir.count > 1,                  \
      r->u.readdir.entries[0] = r->u.readdir.entries[1])                                           \
    X(applied_twice, "write-reply", is_ok(m, OP_APPEND), r->u.attr.version++)                      \
    X(another_winner, "write-reply", is_ok(m, OP_CREATE), r->err = ERR_EXISTS)                     \
    X(another_node, "write-reply", is_ok(m, OP_REMOVE), r->u.remove.id++)                          \
    X(another_number, "write-reply", is_ok(m, OP_CREATE) && r->u.create.name.bytes[0] == 'x',      \
      ((char *)(uintptr_t)r->u.create.name.bytes)[5] ^= 1)                                         \
    X(another_place_in_the_log, "", is_ok(m, OP_REMOVE), r->index--)                               \
    X(expired_but_alive, "session", is_ok(m, OP_SET), r->err = ERR_EXPIRED)                        \
    X(another_session, "session", is_ok(m, OP_HELLO), r->u.hello.session++)                        \
    X(another_event, "event-content", is_event(m), m->u.event.attr.mode ^= 1)                      \
    X(an_event_out_of_order, "event-", is_event(m) && m->u.event.index > 20, m->u.event.index = 9) \
    X(a_lock_that_is_anothers, "write-reply", is_ok(m, OP_LOCK) && !r->u.lock.granted,             \
      r->u.lock.granted = true)                                                                    \
    X(an_older_fence, "write-reply", is_ok(m, OP_LOCK) && r->u.lock.granted, r->u.lock.fence--)    \
    X(a_grant_of_another, "event-content", is_event(m) && m->u.event.kind == CHANGE_GRANT,         \
      m->u.event.xid++)                                                                            \
    X(a_lock_not_shown, "locks", is_ok(m, OP_LOCKS) && r->u.locks.count > 0, r->u.locks.count--)   \
    X(another_outcome, "write-reply", is_ok(m, OP_TXN) && r->u.txn.count > 0,                      \
      r->u.txn.list[0].version++)                                                                  \
    X(a_transaction_refused, "write-reply", is_ok(m, OP_TXN) && r->u.txn.count > 0,                \
      (r->u.txn.count = 0, r->u.txn.failed = 1, r->u.txn.err = ERR_VERSION))                       \
    X(another_one_gone, "write-reply", is_ok(m, OP_RENAME), r->u.rename.gone++)                    \
    X(a_move_from_elsewhere, "event-content", is_event(m) && m->u.event.kind == CHANGE_MOVE,       \
      m->u.event.from_dir++)                                                                       \
    X(another_fence_shown, "read", is_ok(m, OP_XATTRS), r->u.xattrs.fence++)                       \
    X(more_used, "read", is_ok(m, OP_STATFS), r->u.statfs.bytes++)                                 \
    X(a_permanent_ephemeral, "", is_ok(m, OP_CREATE) && r->u.create.attr.life != LIFE_PERMANENT,   \
      r->u.create.attr.life = LIFE_PERMANENT)                                                      \
    X(a_log_cut_short, "log", is_ok(m, OP_LOG) && r->u.log.count > 0 && r->u.log.end,              \
      r->u.log.count--)                                                                            \
    X(a_reply_to_nothing, "reply", is_ok(m, OP_READ), r->xid += 1000)

#define X(name, rule, when, what)                                                                  \
    static bool lie_##name(struct world *w, struct message *m, uint32_t client)                    \
    {                                                                                              \
        struct reply *r = &m->u.reply;                                                             \
                                                                                                   \
        (void)w;                                                                                   \
        (void)client;                                                                              \
        (void)r;                                                                                   \
        if (!(when)) {                                                                             \
            return false;                                                                          \
        }                                                                                          \
        (void)(what);                                                                              \
        return true;                                                                               \
    }
LIES(X)
#undef X

static const struct {
    const char *name, *rule;
    world_lie tell;
} lies[] = {
#define X(name, rule, when, what) {#name, "rule=" rule, lie_##name},
    LIES(X)
#undef X
};

/* The root was shown to nearly everybody, so that its changes are of interest. */
static bool lose_event(struct world *w, struct message *m, uint32_t client)
{
    (void)w;
    (void)client;
    return is_event(m) && m->u.event.dir == TREE_ROOT_ID;
}

static bool lose_grant(struct world *w, struct message *m, uint32_t client)
{
    (void)w;
    (void)client;
    return is_event(m) && m->u.event.kind == CHANGE_GRANT;
}

static bool lose_part(struct world *w, struct message *m, uint32_t client)
{
    (void)w;
    (void)client;
    return is_event(m) && m->u.event.more;
}

static void expect_found(uint64_t seed, world_lie lie, bool drops, const char *name,
                         const char *rule)
{
    const char *wrong;

    world_start(&world, seed, lie);
    world.lie_drops = drops;
    for (int i = 0; i < 1800 || (world.lies == 0 && i < 9000); i++) {
        world_turn(&world);
    }
    for (int i = 0; i < 400; i++) { /* whoever was told asks for more */
        world_turn(&world);
    }
    wrong = clients_judge(world.clients, &world.ledger);
    cr_assert_eq(1, world.lies, "%s was not told", name);
    cr_assert_neq(NULL, wrong, "%s was believed, seed %d", name, (int)seed);
    cr_assert_eq(0, strncmp(wrong, rule, strlen(rule)), "%s: %s", name, wrong);
    world_end(&world);
}

Test(sim_lies, each_is_found_out)
{
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            expect_found(seed, lies[i].tell, false, lies[i].name, lies[i].rule);
        }
    }
}

Test(sim_lies, a_lost_event_is_missed)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        expect_found(seed, lose_event, true, "a lost event", "rule=event-");
    }
}

Test(sim_lies, a_lost_grant_is_missed)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        expect_found(seed, lose_grant, true, "a lost grant", "rule=event-gap");
    }
}

Test(sim_lies, a_torn_group_is_missed)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        expect_found(seed, lose_part, true, "a part of a group", "rule=event-");
    }
}

/* --- a ledger that is not what members applied ----------------------------------------------- */

/* The first entry from `from` on that carries such a request. */
static uint64_t entry_with(const struct world *w, enum op op, uint64_t from)
{
    for (uint64_t i = from; i <= w->ledger.count; i++) {
        const struct ledger_entry *e = ledger_at(&w->ledger, i);
        struct txn txn;
        enum op found;

        if (e->body == NULL || wire_txn_decode(e->body->data, e->body->size, &txn) != 0) {
            continue;
        }
        found = txn.request.op;
        codec_request_done(&txn.request);
        if (found == op) {
            return i;
        }
    }
    cr_assert_fail("no such entry");
    return 0;
}

static void entry_lose(struct world *w)
{
    uint64_t i = entry_with(w, OP_CREATE, w->ledger.count / 2);

    w->ledger.entries[i - 1].type = ZAB_ENTRY_EPOCH;
}

static void entry_swap(struct world *w)
{
    uint64_t i = entry_with(w, OP_CREATE, w->ledger.count / 2);
    uint64_t k = entry_with(w, OP_CREATE, i + 40);
    struct ledger_entry e = w->ledger.entries[i - 1];

    w->ledger.entries[i - 1] = w->ledger.entries[k - 1];
    w->ledger.entries[k - 1] = e;
}

static void entry_change(struct world *w)
{
    uint64_t i = entry_with(w, OP_SET, w->ledger.count / 2);
    struct blob *old = w->ledger.entries[i - 1].body;
    struct blob *body = blob_new(old->data, old->size);

    body->data[body->size - 1] ^= 1;
    w->ledger.entries[i - 1].body = body;
    blob_unref(old);
}

Test(sim_lies, another_ledger_is_found_out)
{
    static void (*const spoil[])(struct world *) = {entry_lose, entry_swap, entry_change};

    for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            world_start(&world, seed, NULL);
            for (int k = 0; k < 1800; k++) {
                world_turn(&world);
            }
            spoil[i](&world);
            cr_assert_neq(NULL, clients_judge(world.clients, &world.ledger), "believed: %d",
                          (int)i);
            world_end(&world);
        }
    }
}

/* The leader ends the newest session at once. */
static void session_end_early(struct world *w)
{
    struct request r = {.op = OP_SESSION_CLOSE};
    struct tree_session s = {0};
    struct node *leader = w->net.nodes[net_leader(&w->net)];

    while (tree_session_next(node_tree(leader), s.id, &s)) {
        r.u.session_close.session = s.id;
    }
    cr_assert_neq(0, r.u.session_close.session);
    leader->now = w->net.now;
    node_propose_own(leader, &r);
}

Test(sim_lies, a_session_ended_early_is_found_out)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const char *wrong;

        world_start(&world, seed, NULL);
        for (int i = 0; i < 1300; i++) {
            if (i == 300) {
                session_end_early(&world);
            }
            world_turn(&world);
        }
        wrong = clients_judge(world.clients, &world.ledger);
        cr_assert_neq(NULL, wrong);
        cr_assert_neq(NULL, strstr(wrong, "rule=expiry "), "%s", wrong);
        world_end(&world);
    }
}
