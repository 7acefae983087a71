#include "pending.h"

#include <utlist.h>

#include "check.h"
#include "hash.h"
#include "mem.h"

enum { REQUEST_SIZE_OVERHEAD = 64 }; /* what stands before a request's own fields, at most about */

static void pending_free(struct pending *p)
{
    codec_request_done(&p->r);
    mem_free(p->text);
    mem_free(p);
}

/* --- deadlines: a binary heap ----------------------------------------------------------------- */

static void heap_place(struct pending_table *t, size_t at, struct pending *p)
{
    t->heap[at] = p;
    p->heap_at = at;
}

static void heap_rise(struct pending_table *t, struct pending *p)
{
    size_t at = p->heap_at;

    while (at > 0 && t->heap[(at - 1) / 2]->deadline_ms > p->deadline_ms) {
        heap_place(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(t, at, p);
}

static void heap_sink(struct pending_table *t, struct pending *p)
{
    size_t at = p->heap_at;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < t->heap_size &&
            t->heap[child + 1]->deadline_ms < t->heap[child]->deadline_ms) {
            child++;
        }
        if (child >= t->heap_size || t->heap[child]->deadline_ms >= p->deadline_ms) {
            break;
        }
        heap_place(t, at, t->heap[child]);
        at = child;
    }
    heap_place(t, at, p);
}

static void heap_add(struct pending_table *t, struct pending *p)
{
    if (t->heap_size == t->heap_cap) {
        t->heap_cap = t->heap_cap > 0 ? 2 * t->heap_cap : 16;
        t->heap = mem_realloc(t->heap, t->heap_cap * sizeof(*t->heap));
    }
    heap_place(t, t->heap_size++, p);
    heap_rise(t, p);
}

static void heap_remove(struct pending_table *t, struct pending *p)
{
    struct pending *last = t->heap[--t->heap_size];

    if (last != p) {
        heap_place(t, p->heap_at, last);
        heap_rise(t, last);
        heap_sink(t, last);
    }
}

struct pending *pending_earliest(const struct pending_table *t)
{
    return t->heap_size > 0 ? t->heap[0] : NULL;
}

/* --- sending ---------------------------------------------------------------------------------- */

static struct pending_class *class_of(struct pending_table *t, const struct pending *p)
{
    return op_is_write(p->r.op) ? &t->writes : &t->reads;
}

static void unsent_add(struct pending_table *t, struct pending *p)
{
    struct pending_class *class = class_of(t, p);

    DL_APPEND(class->unsent, p);
    p->unsent = true;
}

static void unsent_remove(struct pending_table *t, struct pending *p)
{
    struct pending_class *class = class_of(t, p);

    DL_DELETE(class->unsent, p);
    p->unsent = false;
}

static void sent_remove(struct pending_table *t, struct pending *p)
{
    class_of(t, p)->sent--;
    t->sent_size -= p->size;
    p->sent = false;
}

bool pending_may_send(const struct pending_table *t, const struct pending *p)
{
    if (t->sent_size > 0 && t->sent_size + p->size > PENDING_SENT_SIZE_MAX) {
        return false;
    }
    if (op_is_write(p->r.op)) {
        return p->write_seq - t->unanswered->write_seq < PENDING_WRITES_MAX;
    }
    return t->reads.sent < PENDING_READS_MAX;
}

struct pending *pending_next_unsent(const struct pending_table *t)
{
    struct pending *r = t->reads.unsent;
    struct pending *w = t->writes.unsent;

    r = r != NULL && pending_may_send(t, r) ? r : NULL;
    w = w != NULL && pending_may_send(t, w) ? w : NULL;
    if (r == NULL || w == NULL) {
        return r != NULL ? r : w;
    }
    return r->r.xid < w->r.xid ? r : w;
}

void pending_mark_sent(struct pending_table *t, struct pending *p)
{
    CHECK(p->unsent);
    unsent_remove(t, p);
    class_of(t, p)->sent++;
    t->sent_size += p->size;
    p->sent = true;
    p->sends++;
}

void pending_mark_all_unsent(struct pending_table *t)
{
    t->reads.unsent = NULL;
    t->writes.unsent = NULL;
    for (struct pending *p = t->by_xid; p != NULL; p = p->hh.next) {
        if (p->sent) {
            sent_remove(t, p);
            p->held = false;
            p->unsent = p->end_err == 0;
        }
        if (p->unsent) {
            unsent_add(t, p);
        }
    }
    CHECK(t->sent_size == 0);
}

uint64_t pending_xid_floor(const struct pending_table *t)
{
    return t->unanswered != NULL ? t->unanswered->r.xid : t->xid_next;
}

/* --- life ------------------------------------------------------------------------------------- */

void pending_init(struct pending_table *t)
{
    *t = (struct pending_table){.xid_next = 1, .write_seq_next = 1};
}

void pending_done(struct pending_table *t)
{
    CHECK(t->by_xid == NULL);
    CHECK(t->heap_size == 0);
    mem_free(t->heap);
}

struct pending *pending_add(struct pending_table *t, const struct request *r, uint64_t deadline_ms,
                            client_done_fn done, void *arg)
{
    struct pending *p = mem_zalloc(sizeof(*p));

    CHECK(r->op != OP_HELLO && r->op != OP_SESSION_OPEN); /* made by conn_start() and by members */
    CHECK(codec_request_check(r, &p->size) == 0);
    p->size += REQUEST_SIZE_OVERHEAD;
    codec_request_copy(r, &p->r, &p->text);
    p->r.xid = t->xid_next++;
    p->deadline_ms = deadline_ms;
    p->done = done;
    p->arg = arg;
    HASH_ADD(hh, t->by_xid, r.xid, sizeof(p->r.xid), p);
    heap_add(t, p);
    unsent_add(t, p);
    if (op_is_write(r->op)) {
        p->write_seq = t->write_seq_next++;
        DL_APPEND2(t->unanswered, p, write_prev, write_next);
    }
    return p;
}

struct pending *pending_find(const struct pending_table *t, uint64_t xid)
{
    struct pending *p;

    HASH_FIND(hh, t->by_xid, &xid, sizeof(xid), p);
    return p;
}

void pending_remove(struct pending_table *t, struct pending *p)
{
    HASH_DELETE(hh, t->by_xid, p);
    heap_remove(t, p);
    if (p->unsent) {
        unsent_remove(t, p);
    }
    if (p->sent) {
        sent_remove(t, p);
    }
    if (op_is_write(p->r.op)) {
        DL_DELETE2(t->unanswered, p, write_prev, write_next);
    }
    pending_free(p);
}

uint32_t pending_count(const struct pending_table *t)
{
    return HASH_COUNT(t->by_xid);
}

void pending_give_up(struct pending_table *t, struct pending *p, int err)
{
    if (p->unsent) {
        unsent_remove(t, p);
    }
    p->end_err = err;
    p->deadline_ms = 0;
    heap_rise(t, p);
}
