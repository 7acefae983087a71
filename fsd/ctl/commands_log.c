/* log: the recent changes of whatever had a name. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "err.h"
#include "event_text.h"
#include "json_text.h"

static void print_change(const struct ctl_args *args, const struct event *e)
{
    struct buf text = {0};
    char time[JSON_TIME_SIZE];

    if (ctl_wants_json(args)) {
        event_json(e, &text);
        printf("%.*s\n", (int)text.size, (const char *)text.data);
    } else {
        event_line(e, &text);
        json_time(e->attr.ctime_ns, time);
        printf("%s %.*s version=%" PRIu64 " size=%" PRIu64 " session=%" PRIu64 "\n",
               e->kind == CHANGE_REMOVE ? "-" : time, (int)text.size, (const char *)text.data,
               e->attr.version, e->attr.size, e->session);
    }
    buf_done(&text);
}

/* What the member has forgotten is said before what it knows, once. */
static void print_floor(const struct ctl_args *args, uint64_t floor)
{
    struct buf text = {0};

    if (ctl_wants_json(args)) {
        event_gap_json(1, floor, &text);
        printf("%.*s\n", (int)text.size, (const char *)text.data);
        buf_done(&text);
    } else {
        printf("# changes up to index %" PRIu64 " are no longer kept\n", floor);
    }
}

int ctl_run_log(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct request request = {.op = OP_LOG, .u.log.after = args->from};
    struct attr dir = {0};
    bool first = true;
    bool end = false;
    int err = client_walk_parent(s->client, words[0], &dir, &request.u.log.name);

    request.u.log.dir = dir.id;
    while (err == 0 && !end) {
        struct reply reply;

        err = client_call(s->client, &request, &reply);
        if (err != 0) {
            break;
        }
        if (first && reply.u.log.floor > request.u.log.after) {
            print_floor(args, reply.u.log.floor);
        }
        first = false;
        end = reply.u.log.end || reply.u.log.count == 0;
        for (uint32_t i = 0; i < reply.u.log.count; i++) {
            print_change(args, &reply.u.log.list[i]);
            request.u.log.after = reply.u.log.list[i].index;
        }
        codec_reply_done(&reply);
    }
    return err == 0 ? CTL_OK : ctl_fail(words[0], err);
}
