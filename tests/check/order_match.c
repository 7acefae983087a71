#include "order_int.h"

#include <stdlib.h>

/* Calls and entries that only time can bring together: each entry goes to the call, of those that
 * can be it, whose time ends first. No other choice leaves fewer without a partner. */

static int compare_points(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int compare_spans(const void *a, const void *b)
{
    const struct order_span *x = a;
    const struct order_span *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

struct heap { /* of spans, the one that ends first on top */
    struct order_span **at;
    uint64_t count;
};

static void heap_push(struct heap *h, struct order_span *s)
{
    uint64_t i = h->count++;

    while (i > 0 && h->at[(i - 1) / 2]->to > s->to) {
        h->at[i] = h->at[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->at[i] = s;
}

static struct order_span *heap_pop(struct heap *h)
{
    struct order_span *top = h->at[0];
    struct order_span *last = h->at[--h->count];
    uint64_t i = 0;

    for (;;) {
        uint64_t child = 2 * i + 1;

        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && h->at[child + 1]->to < h->at[child]->to) {
            child++;
        }
        if (h->at[child]->to >= last->to) {
            break;
        }
        h->at[i] = h->at[child];
        i = child;
    }
    if (h->count > 0) {
        h->at[i] = last;
    }
    return top;
}

/* Returns the first point without a span; *ret_left is a span without a point. */
static uint64_t match(const uint64_t *points, uint64_t point_count, struct order_span *spans,
                      uint64_t span_count, bool needed_only, const struct order_span **ret_left)
{
    struct heap h = {.at = mem_alloc((span_count + 1) * sizeof(struct order_span *))};
    uint64_t alone = UINT64_MAX;
    uint64_t next = 0;

    *ret_left = NULL;
    for (uint64_t i = 0; i <= point_count; i++) {
        uint64_t point = i < point_count ? points[i] : UINT64_MAX;

        for (; next < span_count && spans[next].from < point; next++) {
            if (spans[next].needed || !needed_only) {
                heap_push(&h, &spans[next]);
            }
        }
        while (h.count > 0 && h.at[0]->to < point) {
            *ret_left = heap_pop(&h);
        }
        if (h.count > 0) {
            heap_pop(&h);
        } else if (alone == UINT64_MAX) {
            alone = point;
        }
    }
    mem_free(h.at);
    return alone;
}

uint64_t order_match(uint64_t *points, uint64_t point_count, struct order_span *spans,
                     uint64_t span_count, const struct order_span **ret_left)
{
    const struct order_span *optional;

    qsort(points, point_count, sizeof(*points), compare_points);
    if (span_count > 0) {
        qsort(spans, span_count, sizeof(*spans), compare_spans);
    }
    match(points, point_count, spans, span_count, true, ret_left);
    return match(points, point_count, spans, span_count, false, &optional);
}
