#include "node_int.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Changes on their way to clients. Those of one log entry are a group: a session that is subscribed
 * to a directory of one of them is told all of them, one behind the other. Each is encoded once,
 * sent to whom it concerns, and kept for a while in the window, for sessions that resume here and
 * for whoever asks what happened to a name. */

/* --- the window of recent changes ------------------------------------------------------------ */

void node_window_init(struct node_window *w, uint64_t floor)
{
    *w = (struct node_window){
        .ring = mem_zalloc(EVENT_WINDOW_ENTRIES * sizeof(*w->ring)),
        .floor = floor,
    };
}

static const struct node_change *window_at(const struct node_window *w, uint32_t i)
{
    return &w->ring[(w->head + i) % EVENT_WINDOW_ENTRIES];
}

void node_window_done(struct node_window *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        blob_unref(window_at(w, i)->bytes);
    }
    mem_free(w->ring);
    *w = (struct node_window){0};
}

static void window_drop_oldest_group(struct node_window *w)
{
    w->floor = w->ring[w->head].index;
    while (w->count > 0 && w->ring[w->head].index == w->floor) {
        struct node_change *oldest = &w->ring[w->head];

        w->size -= oldest->bytes->size;
        blob_unref(oldest->bytes);
        w->head = (w->head + 1) % EVENT_WINDOW_ENTRIES;
        w->count--;
    }
}

static uint64_t place_hash(uint64_t dir, struct name name)
{
    return hash64(name.bytes, name.size, dir);
}

/* A group that has no room even in an empty window drops itself: nothing is kept of it. */
static void window_push(struct node_window *w, const struct event *e, struct blob *bytes)
{
    bool is_move = e->kind == CHANGE_MOVE;

    while (w->count == EVENT_WINDOW_ENTRIES ||
           (w->count > 0 && w->size + bytes->size > EVENT_WINDOW_SIZE_MAX)) {
        window_drop_oldest_group(w);
    }
    if (e->index == w->floor) {
        return;
    }
    w->ring[(w->head + w->count) % EVENT_WINDOW_ENTRIES] = (struct node_change){
        .index = e->index,
        .dir = e->dir,
        .from_dir = is_move ? e->from_dir : e->dir,
        .place = place_hash(e->dir, e->name),
        .from_place = is_move ? place_hash(e->from_dir, e->from_name) : 0,
        .bytes = blob_ref(bytes),
    };
    w->count++;
    w->size += bytes->size;
}

/* The first change behind `index`: changes are in the order of their indexes. */
static uint32_t window_after(const struct node_window *w, uint64_t index)
{
    uint32_t low = 0;
    uint32_t high = w->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (window_at(w, mid)->index <= index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* --- telling those that are subscribed ------------------------------------------------------- */

static void tell_conn(struct node *n, struct node_conn *conn, const struct blob *bytes)
{
    n->io.send_client(n->io.ctx, conn->id, bytes->data, bytes->size);
}

static void repeated_grow(struct node_attached *a)
{
    a->repeated_cap = a->repeated_cap > 0 ? 2 * a->repeated_cap : 16;
    a->repeated = mem_realloc(a->repeated, a->repeated_cap * sizeof(*a->repeated));
}

/* Notes a group that the session was told, and that another request of it may concern as well. */
static void repeated_add(struct node_attached *a, uint64_t index)
{
    if (a->repeated_count == a->repeated_cap) {
        repeated_grow(a);
    }
    a->repeated[a->repeated_count++] = index;
}

/* What the window has forgotten is never repeated. Makes much room, or none, so that it is not
 * called each time. */
static void repeated_forget(struct node_attached *a, uint64_t floor)
{
    size_t old = 0;

    while (old < a->repeated_count && a->repeated[old] <= floor) {
        old++;
    }
    if (old > a->repeated_count / 2) {
        a->repeated_count -= old;
        memmove(a->repeated, a->repeated + old, a->repeated_count * sizeof(*a->repeated));
    } else {
        repeated_grow(a);
    }
}

/* The same of a group that is told as it happens, to a session that has resumed: more of its
 * requests may come. */
static void repeated_add_now(struct node *n, struct node_attached *a, uint64_t index)
{
    if (a->repeated_from == 0) {
        return;
    }
    if (a->repeated_count == a->repeated_cap) {
        repeated_forget(a, n->window.floor);
    }
    repeated_add(a, index);
}

/* Notes that the session is to be told of the group that is published now; once is enough. */
static void tell_add(struct node *n, struct node_attached *a)
{
    if (a->told_group == n->publish.group) {
        return;
    }
    a->told_group = n->publish.group;
    if (n->publish.spans) {
        repeated_add_now(n, a, n->publish.index);
    }
    if (n->publish.told_count == n->publish.told_cap) {
        n->publish.told_cap = n->publish.told_cap > 0 ? 2 * n->publish.told_cap : 16;
        n->publish.told =
            mem_realloc(n->publish.told, n->publish.told_cap * sizeof(*n->publish.told));
    }
    n->publish.told[n->publish.told_count++] = a->conn;
}

static void tell_session(void *ctx, uint64_t session)
{
    struct node *n = ctx;
    struct node_attached *a = node_attached_find(n, session);

    CHECK(a != NULL); /* interest ends when a session detaches */
    tell_add(n, a);
}

static void interest_of_removed_ends(struct node *n, const struct event *changes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (changes[i].kind == CHANGE_REMOVE && changes[i].attr.type == NODE_DIR) {
            interest_drop_dir(n->interest, changes[i].attr.id);
        }
    }
}

/* Whether a group concerns more than one directory. */
static bool group_spans(const struct event *changes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (changes[i].dir != changes[0].dir ||
            (changes[i].kind == CHANGE_MOVE && changes[i].from_dir != changes[i].dir)) {
            return true;
        }
    }
    return false;
}

void node_publish(struct node *n, const struct event *changes, uint32_t count)
{
    struct node_attached *a;

    if (count == 0) {
        return;
    }
    n->publish.group++;
    n->publish.told_count = 0;
    n->publish.index = changes[0].index;
    n->publish.spans = group_spans(changes, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct event *e = &changes[i];

        interest_each(n->interest, e->dir, tell_session, n);
        if (e->kind == CHANGE_MOVE && e->from_dir != e->dir && !BUG(X27_MOVE_HEARD_BY_ONE)) {
            interest_each(n->interest, e->from_dir, tell_session, n);
        }
    }
    DL_FOREACH2 (n->publish.all, a, all_next) {
        tell_add(n, a);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct blob *bytes;

        n->scratch.size = 0;
        codec_encode_event(&n->scratch, &changes[i]);
        bytes = blob_new(n->scratch.data, n->scratch.size);
        window_push(&n->window, &changes[i], bytes);
        if (BUG(X28_GROUP_TORN) && i > 0) {
            n->publish.group++;
            n->publish.told_count = 0;
            interest_each(n->interest, changes[i].dir, tell_session, n);
        }
        for (uint32_t k = 0; k < n->publish.told_count; k++) {
            tell_conn(n, n->publish.told[k], bytes);
        }
        blob_unref(bytes);
    }
    interest_of_removed_ends(n, changes, count);
}

/* --- telling again what was missed ----------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static bool is_in(const uint64_t *sorted, size_t count, uint64_t id)
{
    return count > 0 && bsearch(&id, sorted, count, sizeof(*sorted), compare_ids) != NULL;
}

/* Where the group that begins at `from` ends. Whether a change of it is in one of the directories,
 * and whether one is in another. */
static uint32_t group_look(const struct node_window *w, uint32_t from, const uint64_t *sorted,
                           size_t count, bool *ret_concerns, bool *ret_others)
{
    uint64_t index = window_at(w, from)->index;
    uint32_t end = from;

    *ret_concerns = false;
    *ret_others = false;
    for (; end < w->count && window_at(w, end)->index == index; end++) {
        const struct node_change *c = window_at(w, end);
        bool is_to = is_in(sorted, count, c->dir);
        bool is_from = c->from_dir == c->dir ? is_to : is_in(sorted, count, c->from_dir);

        *ret_concerns = *ret_concerns || is_to || is_from;
        *ret_others = *ret_others || !is_to || !is_from;
    }
    return end;
}

static void tell_range(struct node *n, struct node_conn *conn, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++) {
        tell_conn(n, conn, window_at(&n->window, i)->bytes);
    }
}

/* A client with many directories names them in several requests, with the same index: a group that
 * concerns several of those comes with the first of them only. */
int node_window_repeat(struct node *n, struct node_conn *conn, uint64_t index, const uint64_t *dirs,
                       size_t count)
{
    const struct node_window *w = &n->window;
    struct node_attached *a = node_attached_find(n, conn->session);
    size_t repeated_before;
    uint64_t *sorted;
    uint32_t i, next, end;

    if (index < w->floor && !BUG(B25_EVENTS_LOST)) {
        return ERR_COMPACTED;
    }
    if (index != a->repeated_from) {
        a->repeated_from = index;
        a->repeated_count = 0;
    }
    repeated_before = a->repeated_count;
    /* A session that hears of everything was told all behind where that began. */
    end = a->hears_all ? window_after(w, a->hears_all_from) : w->count;
    sorted = mem_dup(dirs, count * sizeof(*dirs));
    qsort(sorted, count, sizeof(*sorted), compare_ids);
    for (i = window_after(w, index); i < end; i = next) {
        bool concerns, others;

        next = group_look(w, i, sorted, count, &concerns, &others);
        if (!concerns || is_in(a->repeated, repeated_before, window_at(w, i)->index)) {
            continue;
        }
        tell_range(n, conn, i, next);
        if (others) {
            repeated_add(a, window_at(w, i)->index);
        }
    }
    if (a->repeated_count > 0) {
        qsort(a->repeated, a->repeated_count, sizeof(*a->repeated), compare_ids);
    }
    mem_free(sorted);
    return 0;
}

static void hear_no_more(struct node *n, struct node_attached *a)
{
    if (a->hears_all) {
        a->hears_all = false;
        DL_DELETE2(n->publish.all, a, all_prev, all_next);
    }
}

void node_events_all(struct node *n, struct node_conn *conn, const struct request *q,
                     struct reply *r)
{
    struct node_attached *a = node_attached_find(n, conn->session);
    uint64_t from = q->u.events.index_from;

    if (!q->u.events.on) {
        hear_no_more(n, a);
        return;
    }
    if (from == 0 || from > tree_index(n->tree)) {
        from = tree_index(n->tree);
    } else if (from < n->window.floor) {
        from = n->window.floor;
    }
    if (!a->hears_all) {
        a->hears_all = true;
        a->hears_all_from = from;
        DL_APPEND2(n->publish.all, a, all_prev, all_next);
    } else if (from < a->hears_all_from) {
        a->hears_all_from = from;
    }
    tell_range(n, conn, window_after(&n->window, from) + (BUG(X30_RESUMES_LATE) ? 1 : 0),
               n->window.count);
    r->u.events.index_from = from;
}

void node_events_attached_done(struct node *n, struct node_attached *a)
{
    hear_no_more(n, a);
    mem_free(a->repeated);
}

void node_events_done(struct node *n)
{
    mem_free(n->publish.told);
}

/* --- what happened to a name ----------------------------------------------------------------- */

static bool names_equal(struct name a, struct name b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

/* Decodes the change if it is one of (dir, name). What the event borrows is in the window. */
static bool change_of(const struct node_change *c, uint64_t place, uint64_t dir, struct name name,
                      struct event *ret)
{
    struct message m;
    struct event *e = &m.u.event;
    int err;

    if (c->place != place && c->from_place != place) {
        return false;
    }
    err = codec_decode(c->bytes->data, c->bytes->size, &m);
    CHECK(err == 0); /* it was encoded here */
    codec_event_done(e);
    e->has_value = false;
    *ret = *e;
    return (e->dir == dir && names_equal(e->name, name)) ||
           (e->kind == CHANGE_MOVE && e->from_dir == dir && names_equal(e->from_name, name));
}

struct page {
    struct event *list;
    uint32_t count;
};

/* Adds the changes of the name in the group that begins at `from`; of one that changed it more
 * often than a page has room, the last ones. Returns where the next group begins, or `from` if the
 * page has no room for this one. */
static uint32_t page_group(const struct node_window *w, uint32_t from, const struct request *q,
                           struct page *p)
{
    uint64_t place = place_hash(q->u.log.dir, q->u.log.name);
    uint64_t index = window_at(w, from)->index;
    uint32_t first = p->count;
    uint32_t i = from;
    struct event e;

    for (; i < w->count && window_at(w, i)->index == index; i++) {
        if (!change_of(window_at(w, i), place, q->u.log.dir, q->u.log.name, &e)) {
            continue;
        }
        if (p->count == LOG_EVENTS_MAX && first > 0) {
            p->count = first;
            return from;
        }
        if (p->count == LOG_EVENTS_MAX) {
            memmove(p->list, p->list + 1, --p->count * sizeof(*p->list));
        }
        p->list[p->count++] = e;
    }
    for (uint32_t k = first; k < p->count; k++) {
        p->list[k].more = k + 1 < p->count;
    }
    return i;
}

void node_events_log(struct node *n, struct node_conn *conn, const struct request *q)
{
    const struct node_window *w = &n->window;
    struct page p = {.list = mem_alloc(LOG_EVENTS_MAX * sizeof(*p.list))};
    struct reply r = {.op = OP_LOG, .xid = q->xid};
    uint32_t i = window_after(w, q->u.log.after);

    for (uint32_t next; i < w->count; i = next) {
        next = page_group(w, i, q, &p);
        if (next == i) {
            break;
        }
    }
    r.u.log.end = i == w->count;
    r.u.log.floor = w->floor;
    r.u.log.count = p.count;
    r.u.log.list = p.list;
    node_reply(n, conn, &r);
    mem_free(p.list);
}
