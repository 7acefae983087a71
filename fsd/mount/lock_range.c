#include "lock_range.h"

#include "mem.h"

static void put(struct lock_ranges *r, uint64_t start, uint64_t end, enum lock_type type)
{
    r->pieces[r->count++] = (struct lock_piece){.start = start, .end = end, .type = type};
}

void lock_ranges_set(struct lock_ranges *r, uint64_t start, uint64_t end, enum lock_type type)
{
    struct lock_ranges to = {.pieces = mem_alloc((r->count + 2) * sizeof(*r->pieces))};
    size_t n = 0;

    for (; n < r->count && r->pieces[n].start < start; n++) {
        const struct lock_piece *p = &r->pieces[n];

        put(&to, p->start, p->end < start ? p->end : start - 1, p->type);
        if (p->end > end) { /* it lies in the midst of this one */
            break;
        }
    }
    if (type != LOCK_TYPE_NONE) {
        put(&to, start, end, type);
    }
    for (; n < r->count; n++) {
        const struct lock_piece *p = &r->pieces[n];

        if (p->end > end) {
            put(&to, p->start > end ? p->start : end + 1, p->end, p->type);
        }
    }
    lock_ranges_done(r);
    *r = to;
    if (r->count == 0) {
        lock_ranges_done(r);
    }
}

struct lock_piece lock_ranges_at(const struct lock_ranges *r, uint64_t start, uint64_t end)
{
    for (size_t n = 0; n < r->count; n++) {
        const struct lock_piece *p = &r->pieces[n];

        if (p->start <= start && start <= p->end) {
            return (struct lock_piece){start, p->end < end ? p->end : end, p->type};
        }
        if (p->start > start) {
            return (struct lock_piece){start, p->start <= end ? p->start - 1 : end, LOCK_TYPE_NONE};
        }
    }
    return (struct lock_piece){start, end, LOCK_TYPE_NONE};
}

void lock_ranges_done(struct lock_ranges *r)
{
    mem_free(r->pieces);
    *r = (struct lock_ranges){0};
}
