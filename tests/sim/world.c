#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "sim.h"

/* The event heap and the run loop. Everything that happens is an event at a time; the hash over
 * all of them, in order, is the run's trace. */

enum { SAME_TIME_MAX = 200000, HEAP_ARITY = 4 };

/* --- chance ---------------------------------------------------------------------------------- */

uint64_t sim_below(struct world *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}

uint64_t sim_between(struct world *w, uint64_t from, uint64_t to)
{
    return from + prng_below(&w->prng, to - from + 1);
}

uint64_t sim_spread(struct world *w, uint64_t from, uint64_t to)
{
    uint64_t top = from;

    while (top < to && sim_below(w, 3) != 0) {
        top *= 2;
    }
    top = top < to ? top : to;
    return sim_between(w, top / 2 > from ? top / 2 : from, top);
}

bool sim_chance(struct world *w, uint32_t percent)
{
    return sim_below(w, 100) < percent;
}

uint32_t sim_quorum(const struct world *w)
{
    return w->mix.member_count / 2 + 1;
}

void sim_fail(struct world *w, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    if (w->failure[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(w->failure, sizeof(w->failure),
             "at %" PRIu64 ".%06" PRIu64 " s, event %" PRIu64 ": %s", w->now_us / SIM_SECOND,
             w->now_us % SIM_SECOND, w->steps, text);
}

void sim_note(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->print) {
        return;
    }
    printf("%10" PRIu64 ".%06" PRIu64 " ", w->now_us / SIM_SECOND, w->now_us % SIM_SECOND);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

/* --- heap ------------------------------------------------------------------------------------ */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

struct sim_event *world_post(struct world *w, uint64_t at_us, enum sim_event_kind kind, uint32_t a,
                             uint32_t b, uint64_t x)
{
    struct sim_event ev = {
        .at_us = at_us > w->now_us ? at_us : w->now_us,
        .order = w->order++,
        .kind = kind,
        .a = a,
        .b = b,
        .x = x,
    };
    size_t at = w->heap_count++;

    if (at == w->heap_cap) {
        w->heap_cap = w->heap_cap > 0 ? 2 * w->heap_cap : 256;
        w->heap = mem_realloc(w->heap, w->heap_cap * sizeof(*w->heap));
    }
    while (at > 0 && before(&ev, &w->heap[(at - 1) / HEAP_ARITY])) {
        w->heap[at] = w->heap[(at - 1) / HEAP_ARITY];
        at = (at - 1) / HEAP_ARITY;
    }
    w->heap[at] = ev;
    return &w->heap[at];
}

static size_t least_child(const struct world *w, size_t at)
{
    size_t first = HEAP_ARITY * at + 1;
    size_t end = first + HEAP_ARITY < w->heap_count ? first + HEAP_ARITY : w->heap_count;
    size_t least = first;

    for (size_t i = first + 1; i < end; i++) {
        least = before(&w->heap[i], &w->heap[least]) ? i : least;
    }
    return least;
}

static struct sim_event take(struct world *w)
{
    struct sim_event first = w->heap[0];
    struct sim_event last = w->heap[--w->heap_count];
    size_t at = 0;

    while (HEAP_ARITY * at + 1 < w->heap_count) {
        size_t child = least_child(w, at);

        if (!before(&w->heap[child], &last)) {
            break;
        }
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

void world_event_done(struct sim_event *ev)
{
    blob_unref(ev->bytes);
    ev->bytes = NULL;
}

/* --- the loop -------------------------------------------------------------------------------- */

static void trace(struct world *w, const struct sim_event *ev)
{
    uint64_t line[] = {
        ev->at_us, ev->kind, ev->a,
        ev->b,     ev->x,    ev->bytes != NULL ? hash64(ev->bytes->data, ev->bytes->size, 0) : 0};

    w->trace = hash64(line, sizeof(line), w->trace);
    if (w->print) {
        printf("%10" PRIu64 ".%06" PRIu64 " %-10s a=%u b=%u x=%" PRIu64 " bytes=%u %016" PRIx64
               "\n",
               ev->at_us / SIM_SECOND, ev->at_us % SIM_SECOND, sim_event_name(ev->kind), ev->a,
               ev->b, ev->x, ev->bytes != NULL ? ev->bytes->size : 0, w->trace);
    }
}

static void dispatch(struct world *w, struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_START:
    case EV_RESUME:
    case EV_TIMER:
    case EV_FLUSH:
    case EV_DISK:
    case EV_SPARE:
    case EV_SNAPSHOT:
    case EV_LINK_UP:
    case EV_LINK_DOWN:
    case EV_FRAME:
    case EV_CL_OPEN:
    case EV_CL_REQUEST:
    case EV_CL_GONE:
        member_on_event(&w->members[ev->a], ev);
        break;
    case EV_DIAL:
        net_dial(w, ev->a, ev->b);
        break;
    case EV_CL_ANSWER:
    case EV_CL_CLOSED:
    case EV_CL_WAKE:
        streams_on_event(w, ev);
        break;
    case EV_FAULT:
        if (ev->x == w->storm) {
            nemesis_strike(w);
        }
        break;
    case EV_HEAL:
        nemesis_heal(w, ev);
        break;
    case EV_PHASE:
        phases_step(w);
        break;
    }
}

void world_run(struct world *w)
{
    while (!w->done && w->failure[0] == '\0' && w->heap_count > 0 && w->steps < w->steps_max) {
        struct sim_event ev = take(w);

        w->same_time = ev.at_us == w->now_us ? w->same_time + 1 : 0;
        if (w->same_time > SAME_TIME_MAX) {
            sim_fail(w, "time stands still: %s of %u again and again", sim_event_name(ev.kind),
                     ev.a);
        }
        w->now_us = ev.at_us;
        w->steps++;
        trace(w, &ev);
        dispatch(w, &ev);
        world_event_done(&ev);
    }
    phases_judge(w);
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        member_count_disk(&w->members[id]);
    }
    w->counts.seeds = 1;
    w->counts.events = w->steps;
    w->counts.simulated_us = w->now_us;
}

struct world *world_new(uint64_t seed, const struct sim_mix *mix, uint64_t us, uint64_t steps_max,
                        bool print)
{
    struct world *w = mem_zalloc(sizeof(*w));

    w->seed = seed;
    w->mix = *mix;
    w->prng.state = seed ^ 0x51ed270b76ac3f15u;
    w->end_us = us;
    w->steps_max = steps_max;
    w->print = print;
    for (uint32_t id = 1; id <= mix->member_count; id++) {
        member_init(w, id);
    }
    streams_init(w);
    phases_start(w);
    return w;
}

void world_free(struct world *w)
{
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        member_done(&w->members[id]);
    }
    streams_done(w);
    net_done(w);
    for (size_t i = 0; i < w->heap_count; i++) {
        world_event_done(&w->heap[i]);
    }
    ledger_done(&w->ledger);
    mem_free(w->heap);
    mem_free(w->digests);
    mem_free(w->leader_of);
    mem_free(w->commits);
    mem_free(w);
}
