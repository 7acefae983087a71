/* Leaving a member that is cut off. It says so by ERR_NO_QUORUM, to a write, to a barrier, or to
 * the probe that is sent when a write has no answer for a while: then all others of the list are
 * asked at once whether they have a quorum (client_scout.c), and the session goes on at the first
 * that says so. What was refused is held until then: it certainly had no effect and is sent again
 * there, within its deadline; so is what has no answer, which the ensemble recognises.
 *
 * Failure modes: no server says that it has a quorum, within SCOUT_TIMEOUT_MS -> the refusal is the
 * answer; the session stayed where it is all the time, so that reads go on being answered. One says
 * so and then refuses -> the next is sought, at most once for each server. In both cases the next
 * refusals are the answer at once for a while that doubles, so that nobody is stormed. One server
 * in the list -> its refusal is the answer. */
#include "client_int.h"

#include "err.h"

static void stay_a_while(struct client *c)
{
    uint64_t wait_ms = (uint64_t)MOVE_WAIT_MS_MIN << c->move_laps;

    if (wait_ms < MOVE_WAIT_MS_MAX) {
        c->move_laps++;
    }
    c->move_after_ms = client_now() + wait_ms / 2 + prng_below(&c->prng, wait_ms / 2 + 1);
    c->moves = 0;
}

/* True: what is refused now is held. */
static bool seek(struct client *c)
{
    if (c->scouts_asked > 0) {
        return true;
    }
    if (c->server_count < 2 || c->closing || client_now() < c->move_after_ms) {
        return false;
    }
    if (c->moves + 1 >= c->server_count) {
        stay_a_while(c);
        return false;
    }
    scout_ask(c);
    return true;
}

void move_found(struct client *c, uint32_t server)
{
    c->moves++;
    c->server_at = server;
    c->same_server = true;
    conn_drop(c);
}

void move_found_none(struct client *c)
{
    struct pending *p, *next;

    stay_a_while(c);
    HASH_ITER (hh, c->table.by_xid, p, next) {
        if (p->held) {
            client_fail(c, p, client_end_err(p));
        }
    }
}

static bool asks_quorum(enum op op)
{
    return op_is_write(op) || op == OP_SYNC;
}

bool move_on_reply(struct client *c, struct pending *p, const struct reply *r)
{
    if (!asks_quorum(p->r.op)) {
        return false;
    }
    if (r->err == 0) {
        c->moves = 0;
        c->move_laps = 0;
        c->move_after_ms = 0;
    }
    if (r->err != ERR_NO_QUORUM || p->end_err != 0 || !seek(c)) {
        return false;
    }
    if (!p->held) {
        p->held = true;
        p->refused = true;
        p->sends--; /* of this copy it is known that it has no effect */
    }
    return true;
}

/* A member that is cut off does not answer a write that it passed on before. */
bool move_probe_is_due(struct client *c, uint64_t now, uint64_t wait_ms)
{
    const struct pending *oldest = c->table.writes.sent > 0 ? c->table.unanswered : NULL;
    uint64_t xid = oldest != NULL ? oldest->r.xid : 0;

    if (xid != c->probed_write || xid == 0) {
        c->probed_write = xid;
        c->probe_after_ms = now + wait_ms;
        return false;
    }
    if (now < c->probe_after_ms || c->server_count < 2) {
        return false;
    }
    c->probe_after_ms = now + wait_ms;
    return true;
}

void move_on_probe(struct client *c, const struct reply *r)
{
    if (r->err == ERR_NO_QUORUM) {
        seek(c);
    }
}
