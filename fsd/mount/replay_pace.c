/* Files that change faster than it is worth repeating.
 *
 * A run is what waits in a directory when its first job is taken. When few changes waited on the
 * mount then, the next run begins at once. When many did, and nothing but values waits, the
 * directory rests nine times as long as all of them may take: meanwhile changes of a file gather in
 * one job, and repeating takes a tenth of the time at most. Whatever is not a change of a value
 * ends the rest. */
#include <utlist.h>

#include "replay_int.h"

enum {
    REST_FACTOR = 9,
    REST_NS_MAX = 50000000,
    NS_PER_MS = 1000000,
};

void pace_take(const struct replay *r, struct replay_dir *d)
{
    if (d->run_last == 0) {
        d->run_last = d->jobs->prev->number;
        d->run_size = d->count;
        d->run_backlog = r->queued;
        d->run_began_ns = uv_hrtime();
    }
}

static void set_timer(struct replay *r);

static void on_rested(uv_timer_t *t)
{
    struct replay *r = t->data;
    uint64_t now_ns = uv_hrtime();
    struct replay_dir *d, *next;

    DL_FOREACH_SAFE(r->resting, d, next)
    {
        if (d->rest_until_ns <= now_ns) {
            pace_wake(r, d);
        }
    }
    helpers_dispatch(r);
    set_timer(r);
}

static void set_timer(struct replay *r)
{
    uint64_t now_ns = uv_hrtime();
    uint64_t first_ns = UINT64_MAX;
    const struct replay_dir *d;

    DL_FOREACH (r->resting, d) {
        if (d->rest_until_ns < first_ns) {
            first_ns = d->rest_until_ns;
        }
    }
    if (first_ns == UINT64_MAX) {
        uv_timer_stop(&r->rest_timer);
    } else {
        uv_timer_start(&r->rest_timer, on_rested,
                       first_ns > now_ns ? (first_ns - now_ns) / NS_PER_MS + 1 : 0, 0);
    }
}

bool pace_rest(struct replay *r, struct replay_dir *d, uint64_t done)
{
    uint64_t now_ns, rest_ns;

    if (d->run_last == 0 || done < d->run_last) {
        return false;
    }
    d->run_last = 0;
    if (d->run_backlog < REPLAY_MERGE_COUNT || d->other_count > 0 || r->ending) {
        return false;
    }
    now_ns = uv_hrtime();
    rest_ns = REST_FACTOR * (now_ns - d->run_began_ns) * d->run_backlog / d->run_size;
    d->rest_until_ns = now_ns + (rest_ns < REST_NS_MAX ? rest_ns : REST_NS_MAX);
    DL_APPEND(r->resting, d);
    set_timer(r);
    return true;
}

void pace_wake(struct replay *r, struct replay_dir *d)
{
    if (d->rest_until_ns == 0) {
        return;
    }
    d->rest_until_ns = 0;
    DL_DELETE(r->resting, d);
    queue_go_on(r, d);
}
