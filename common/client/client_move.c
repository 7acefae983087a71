/* Leaving a member that is cut off. It says so by ERR_NO_QUORUM, to a write, to a barrier, or to
 * the probe that is sent when a write has no answer for a while: the session goes on at the next
 * server of the list. What was refused certainly had no effect and is sent again there, within its
 * deadline; so is what has no answer, which the ensemble recognises.
 *
 * Servers are counted from the first that refuses: those that refuse too, and those that cannot be
 * attached to. When each has been tried, the next refusal is the answer.
 *
 * Failure modes: no server has a quorum -> each was tried once, the refusal is the answer, and the
 * session stays where it is for a while that doubles, so that reads go on being answered and nobody
 * is stormed; servers that stand still, accept a connection and say nothing -> on the way round
 * each is given MOVE_HELLO_TIMEOUT_MS only; one server in the list -> its refusal is the answer. */
#include "client_int.h"

#include "err.h"

static bool may_move(struct client *c)
{
    uint64_t now = client_now();
    uint64_t wait_ms;

    if (c->server_count < 2 || c->closing || now < c->move_after_ms) {
        return false;
    }
    if (c->tried + 1 < c->server_count) {
        return true;
    }
    wait_ms = (uint64_t)MOVE_WAIT_MS_MIN << c->move_laps;
    if (wait_ms < MOVE_WAIT_MS_MAX) {
        c->move_laps++;
    }
    c->move_after_ms = now + wait_ms / 2 + prng_below(&c->prng, wait_ms / 2 + 1);
    c->tried = 0;
    return false;
}

static void on_leave(uv_timer_t *timer)
{
    conn_drop(timer->data);
}

/* Not at once: of what has come together with the refusal, other refusals for instance, each is the
 * last word on a request. */
static bool move_on(struct client *c)
{
    if (c->leaving) {
        return true;
    }
    if (!may_move(c)) {
        return false;
    }
    c->leaving = true;
    uv_timer_start(&c->conn_timer, on_leave, 0, 0);
    return true;
}

void move_on_gone(struct client *c)
{
    if (c->leaving || (c->tried > 0 && !c->was_attached)) {
        c->tried++;
    }
}

/* Once round, not for ever: the only one with a quorum may be slow. */
uint32_t move_hello_timeout_ms(const struct client *c)
{
    bool under_way = c->tried > 0 && c->tried < c->server_count;

    return under_way ? MOVE_HELLO_TIMEOUT_MS : HELLO_TIMEOUT_MS;
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
        c->tried = 0;
        c->move_laps = 0;
        c->move_after_ms = 0;
    }
    if (r->err != ERR_NO_QUORUM || p->end_err != 0 || !move_on(c)) {
        return false;
    }
    p->refused = true;
    p->sends--; /* of this copy it is known that it has no effect */
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
        move_on(c);
    }
}
