/* Happy path: a beat asks for a barrier, each answer moves the doubt to half of the timeout behind
 * its question; the command ends, and its code is ours.
 *
 * Failure modes: no answer in time, the session expired, the node removed -> lose(): SIGTERM, then
 * SIGKILL to the child and what is left of its group. */
#include "hold.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void end(struct hold *h, int code)
{
    h->ended = true;
    h->code = code;
}

static void on_kill_timer(uv_timer_t *timer)
{
    struct hold *h = timer->data;

    run_signal(&h->run, SIGKILL);
}

/* From now on, at most until `kill_ms`. */
static void lose(struct hold *h, const char *why, uint64_t kill_ms)
{
    uint64_t now = now_ms();

    if (h->lost != NULL) {
        return;
    }
    h->lost = why;
    if (!h->running || h->ended) {
        return;
    }
    if (h->run.child == 0) {
        end(h, CTL_LOST);
        return;
    }
    h->run.kill_rest = true;
    run_signal(&h->run, SIGTERM);
    run_signal(&h->run, SIGCONT); /* if it was stopped, it has to run to hear of that */
    uv_update_time(&h->session->loop);
    uv_timer_start(&h->kill_timer, on_kill_timer, kill_ms > now ? kill_ms - now : 0, 0);
}

/* What is already somebody else's, perhaps. */
static void lose_now(struct hold *h, const char *why)
{
    enum { MOMENT_MS = 500 };

    lose(h, why, now_ms() + MOMENT_MS);
}

static void on_child_exit(void *ctx, int code)
{
    struct hold *h = ctx;

    end(h, h->lost != NULL ? CTL_LOST : code);
}

static void on_signal(void *ctx, int number)
{
    struct hold *h = ctx;

    if (h->run.child != 0) {
        run_signal(&h->run, number);
    } else if (number != SIGUSR1 && number != SIGUSR2) {
        h->signal = number;
        end(h, CTL_OK);
    }
}

/* --- is it still ours? ------------------------------------------------------------------------ */

static void on_doubt(uv_timer_t *timer)
{
    struct hold *h = timer->data;

    lose(h, "no word from the ensemble, the session may expire",
         h->sure_ms + h->session->timeout_ms / 4 * 3);
}

static void doubt_start(struct hold *h)
{
    uint64_t now = now_ms();
    uint64_t until_ms = h->sure_ms + h->session->timeout_ms / 2;

    uv_update_time(&h->session->loop);
    uv_timer_start(&h->doubt, on_doubt, until_ms > now ? until_ms - now : 0, 0);
}

static void on_answer(void *ctx, void *arg, const struct reply *r)
{
    struct hold *h = arg;

    (void)ctx;
    h->asking = false;
    if (r->err == 0 && h->running && !h->ended) {
        h->sure_ms = h->asked_ms;
        doubt_start(h);
    }
}

static void on_beat(uv_timer_t *timer)
{
    struct hold *h = timer->data;
    struct request sync = {.op = OP_SYNC, .deadline_ms = h->session->timeout_ms / 4};

    if (!h->asking) {
        h->asking = true;
        h->asked_ms = now_ms();
        client_submit(h->session->client, &sync, on_answer, h);
    }
}

void hold_on_event(struct hold *h, const struct event *e)
{
    if (h->node != 0 && e->kind == CHANGE_REMOVE && e->attr.id == h->node) {
        lose_now(h, "the file was removed");
    }
}

static void on_looked(void *ctx, void *arg, const struct reply *r)
{
    struct hold *h = arg;

    (void)ctx;
    if (r->err == ERR_NOENT) {
        lose_now(h, "the file was removed");
    }
}

/* Interest ends with the stream; looking at the node declares it again, and tells what was missed.
 */
void hold_on_attach(struct hold *h, bool fresh)
{
    struct request look = {.op = OP_GETATTR, .u.getattr.id = h->node};

    if (h->node == 0) {
        return;
    }
    if (fresh) {
        lose_now(h, "the session has expired");
        return;
    }
    client_submit(h->session->client, &look, on_looked, h);
}

/* --- life ------------------------------------------------------------------------------------- */

void hold_init(struct hold *h, struct ctl_session *s)
{
    *h = (struct hold){.session = s};
    h->run.ctx = h;
    h->run.on_signal = on_signal;
    h->run.on_exit = on_child_exit;
    run_init(&h->run, &s->loop);
    uv_timer_init(&s->loop, &h->beat);
    uv_timer_init(&s->loop, &h->doubt);
    uv_timer_init(&s->loop, &h->kill_timer);
    h->beat.data = h;
    h->doubt.data = h;
    h->kill_timer.data = h;
}

void hold_done(struct hold *h)
{
    run_close(&h->run);
    uv_close((uv_handle_t *)&h->beat, NULL);
    uv_close((uv_handle_t *)&h->doubt, NULL);
    uv_close((uv_handle_t *)&h->kill_timer, NULL);
}

int hold_confirm(struct hold *h)
{
    struct request sync = {.op = OP_SYNC, .deadline_ms = h->session->timeout_ms / 2};
    struct reply reply;
    uint64_t asked_ms = now_ms();
    int err = client_call(h->session->client, &sync, &reply);

    if (err == 0) {
        h->sure_ms = asked_ms;
        codec_reply_done(&reply);
    }
    return err;
}

int hold_run(struct hold *h, const char *subject, char **command, char *const *variables)
{
    uint32_t beat_ms = h->session->timeout_ms / 8;

    h->running = true;
    if (h->lost == NULL && h->signal == 0 && command != NULL) {
        int err_no = run_start(&h->run, command, variables);

        if (err_no != 0) {
            return ctl_fail_errno(command[0], err_no);
        }
    }
    h->ended = h->lost != NULL || h->signal != 0;
    h->code = h->lost != NULL ? CTL_LOST : CTL_OK;
    uv_update_time(&h->session->loop);
    uv_timer_start(&h->beat, on_beat, beat_ms, beat_ms);
    doubt_start(h);
    while (!h->ended) {
        uv_run(&h->session->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&h->beat);
    uv_timer_stop(&h->doubt);
    uv_timer_stop(&h->kill_timer);
    if (h->lost != NULL) {
        fprintf(stderr, "zabctl: %s: lost: %s\n", subject, h->lost);
    }
    return h->code;
}
