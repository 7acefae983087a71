#include "client_int.h"

#include <string.h>

/* The events of one client, held against the model: each change of the directories it asked about
 * comes once, in order, before any answer that shows it, and as it was. */

void interest_set_clear(struct interest_set *s)
{
    s->count = 0;
}

void interest_set_add(struct interest_set *s, uint64_t dir, uint64_t since)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            return;
        }
    }
    if (s->count == s->cap) {
        s->cap = 2 * s->cap + 16;
        s->dirs = mem_realloc(s->dirs, s->cap * sizeof(*s->dirs));
        s->since = mem_realloc(s->since, s->cap * sizeof(*s->since));
    }
    s->dirs[s->count] = dir;
    s->since[s->count++] = since;
}

void interest_set_drop(struct interest_set *s, uint64_t dir)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            s->count--;
            s->dirs[i] = s->dirs[s->count];
            s->since[i] = s->since[s->count];
            return;
        }
    }
}

void interest_set_done(struct interest_set *s)
{
    mem_free(s->dirs);
    mem_free(s->since);
    *s = (struct interest_set){0};
}

static bool covers(const struct interest_set *s, uint64_t dir, uint64_t index)
{
    for (uint64_t i = 0; i < s->count; i++) {
        if (s->dirs[i] == dir) {
            return index > s->since[i];
        }
    }
    return false;
}

uint64_t client_events_missing(const struct clients *cs, const struct client *c, uint64_t index)
{
    for (uint64_t i = c->judged_heard + 1; i <= index; i++) {
        const struct model_change *change = model_change(cs->model, i);

        if (change != NULL && change->dir != 0 && covers(&c->interest, change->dir, i)) {
            return i;
        }
    }
    return 0;
}

const char *client_event_judge(struct clients *cs, struct client *c, const struct record *r)
{
    const struct model_change *change;
    uint64_t missing;

    if (r->index <= c->judged_heard) {
        return client_verdict(cs, r, "event-order",
                              "an event of index %llu, after all up to %llu had been told",
                              (unsigned long long)r->index, (unsigned long long)c->judged_heard);
    }
    change = model_change(cs->model, r->index);
    if (change == NULL || change->dir == 0) {
        return client_verdict(cs, r, "event-content", "entry %llu changed nothing",
                              (unsigned long long)r->index);
    }
    if (change->event->size != r->bytes->size ||
        memcmp(change->event->data, r->bytes->data, r->bytes->size) != 0) {
        return client_verdict(cs, r, "event-content", "the event is not what entry %llu changed",
                              (unsigned long long)r->index);
    }
    missing = client_events_missing(cs, c, r->index - 1);
    if (missing != 0) {
        return client_verdict(cs, r, "event-gap",
                              "the change of index %llu, in a directory of interest, was not told",
                              (unsigned long long)missing);
    }
    c->judged_heard = r->index;
    return NULL;
}
