/* Members that answer, refuse, fall silent, hang up, forget the session and talk nonsense at
 * random, and an owner that submits, cancels and closes at random. Whatever happens, each request
 * ends exactly once, with a code its case allows, and nothing is leaked. A write that ends with "no
 * quorum" was refused by every member that got it, each time. A failure prints its seed. */
#include "test_client_fixture.h"

#include "prng.h"

enum { REQUESTS = 400, STEPS = 600 };

struct chaos {
    struct fixture f;
    uv_timer_t pace; /* a step takes about so long as a deadline's smallest unit */
    struct prng prng;
    struct outcome outcomes[REQUESTS];
    uint64_t xids[REQUESTS];
    bool is_write[REQUESTS];
    int submitted;
    bool refused[SERVERS][NOTES_MAX];
};

static bool is_allowed(int err)
{
    return err == 0 || err == ERR_TIMEOUT || err == ERR_NO_QUORUM || err == ERR_INTR ||
           err == ERR_EXPIRED || err == ERR_CLOSED || err == ERR_NOENT;
}

/* The first request of the stream of now; frames of an older one are not noted any more. */
static int first_note(const struct server *sv)
{
    int note = sv->count;

    while (note > 0 && sv->notes[note - 1].op != OP_HELLO) {
        note--;
    }
    return note;
}

/* Answers an old request, perhaps of another stream, perhaps ended; refuses only what has come on
 * this one. */
static void member_answers(struct chaos *c, struct server *sv)
{
    int note = (int)prng_below(&c->prng, (uint64_t)sv->count);

    if (sv->notes[note].op == OP_HELLO) {
        return;
    }
    if (prng_below(&c->prng, 2) == 0) {
        reply_to(sv, note, ERR_NOENT, 1);
    } else if (!sv->answer && note >= first_note(sv)) {
        c->refused[sv - c->f.servers][note] = true;
        reply_to(sv, note, ERR_NO_QUORUM, 1);
    }
}

/* A refusal is the member's word that this copy has no effect, and never will. */
static void check_refused(const struct chaos *c, int request)
{
    for (int k = 0; k < SERVERS; k++) {
        for (int note = 0; note < c->f.servers[k].count; note++) {
            cr_assert(c->f.servers[k].notes[note].xid != c->xids[request] || c->refused[k][note],
                      "xid %lu was not refused", c->xids[request]);
        }
    }
}

static void member_acts(struct chaos *c, struct server *sv)
{
    static const int hello_errs[] = {0, 0, 0, 0, ERR_EXPIRED, ERR_EXPIRED, ERR_NO_QUORUM, NOT_YET};

    if (sv->s == NULL) {
        return;
    }
    switch (prng_below(&c->prng, 40)) {
    case 0:
        stream_close(sv->s);
        break;
    case 1:
        stream_send(sv->s, "\xc1?", 2);
        break;
    case 2:
        sv->hello_err = hello_errs[prng_below(&c->prng, 8)];
        break;
    case 3:
        send_event(sv, prng_below(&c->prng, 100));
        break;
    case 4:
        sv->answer = !sv->answer;
        break;
    case 5:
    case 6:
    case 7:
        if (sv->count > 0) {
            member_answers(c, sv);
        }
        break;
    case 8:
        sv->quorum = !sv->quorum;
        break;
    default:
        break;
    }
}

static void owner_acts(struct chaos *c)
{
    static const enum op ops[] = {OP_SET, OP_GETATTR, OP_LOOKUP, OP_CREATE, OP_SYNC};
    int i = c->submitted;

    if (i < REQUESTS && prng_below(&c->prng, 4) == 0) {
        enum op op = ops[prng_below(&c->prng, 5)];

        c->xids[i] = submit(&c->f, op, 1 + (uint32_t)prng_below(&c->prng, 200), &c->outcomes[i]);
        c->is_write[i] = op_is_write(op);
        c->submitted++;
    }
    if (i > 0 && prng_below(&c->prng, 20) == 0) {
        client_cancel(c->f.client, c->xids[prng_below(&c->prng, (uint64_t)i)]);
    }
}

static void on_pace(uv_timer_t *timer)
{
    (void)timer; /* it only wakes the loop */
}

static void chaos_run(uint64_t seed)
{
    struct chaos *c = mem_zalloc(sizeof(*c));
    struct fixture *f = &c->f;

    c->prng.state = seed;
    setup(f, seed % 2 == 0);
    start_client(f);
    uv_timer_init(&f->loop, &c->pace);
    uv_timer_start(&c->pace, on_pace, 1, 1);
    for (int step = 0; step < STEPS; step++) {
        owner_acts(c);
        member_acts(c, &f->servers[prng_below(&c->prng, SERVERS)]);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&c->pace, NULL);
    client_close(f->client, (uint32_t)prng_below(&c->prng, 20), on_closed, f);
    RUN_UNTIL(f, f->client_closed);
    cr_assert_eq(ended, c->submitted, "seed %lu", seed);
    for (int i = 0; i < c->submitted; i++) {
        cr_assert(is_allowed(c->outcomes[i].err), "seed %lu: %d", seed, c->outcomes[i].err);
        if (c->is_write[i] && c->outcomes[i].err == ERR_NO_QUORUM) {
            check_refused(c, i);
        }
    }
    teardown(f);
    mem_free(c);
}

Test(client_chaos, each_request_ends_exactly_once)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        chaos_run(seed);
    }
}
