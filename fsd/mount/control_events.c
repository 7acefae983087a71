/* .zabfs/events: every change as a line of JSON, see event_text.h. Each lookup of the name makes a
 * stream of its own, so that each reader has one that begins when it is opened (or after the INDEX
 * of events?from=INDEX) and whose size is what that reader may read.
 *
 * Happy path: while a stream is open, this mount is subscribed to all changes. The lines of a
 * change are staged, a marker goes behind the invalidations that the change has ordered, and when
 * it comes back they are appended to the stream: so a line is never there before what it tells of.
 * READ waits for a line, unless O_NONBLOCK is set; it gives whole lines where they fit.
 *
 * A stream is addressed by offsets, as a file is, because programs seek in it: a shell reads more
 * than a line and seeks back, tail(1) looks for the last lines. It keeps what fits a ring.
 *
 * Failures, each of which leaves a line that says which changes are missing:
 * - The member no longer knows changes so far back as asked for, at the start or after a reconnect.
 * - A reader is slower than the ring: its next read begins with that line, and the offsets behind
 * it are moved for this reader alone.
 *
 * The answer to the subscription comes behind the changes that it repeats. What comes before the
 * answer is therefore kept, to have that line in front of it; and it begins anew with the first
 * repeated change, because changes that were told meanwhile on behalf of another stream are
 * repeated too. */
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "check.h"
#include "control_int.h"
#include "err.h"
#include "event_text.h"
#include "log.h"
#include "mem.h"
#include "poll_wait.h"

enum { RING_SIZE_MAX = 4 << 20 };

struct line {
    struct line *next;
    uint64_t index;
    uint64_t at; /* offset in the stream */
    uint32_t size;
    char bytes[];
};

struct lines {
    struct line *first, *last;
};

struct event_stream {
    struct mount *m;
    struct control_node *node;
    uint64_t last; /* changes up to this one are in it, or are known to be missing */
    bool starting; /* the subscription is not answered */
    struct subscription *subscription; /* whose answer it waits for */
    struct lines collected;            /* ... until then */
    struct lines group;                /* of an index that is not complete */
    struct lines staged;               /* complete, not marked */
    struct lines marked;               /* behind the marker that is under way */
    struct line **ring;                /* what can be read: cap is a power of two */
    size_t ring_head, ring_count, ring_cap;
    uint64_t begin, end;  /* offsets of what is in the ring */
    uint64_t dropped;     /* index of the last change that the ring has lost */
    struct call *waiting; /* readers */
    struct reader *readers;
    struct event_stream *prev, *next; /* in mount.control.streams */
};

struct subscription {            /* a request under way */
    struct event_stream *stream; /* NULL: nobody waits for its answer */
};

/* One open file. Its offsets are those of the stream, but for changes that it missed. */
struct reader {
    struct event_stream *stream;
    struct handle *handle;
    uint64_t at;                /* in the stream, behind what was read last */
    uint64_t missed_from;       /* index of the first change that went unread; 0: none */
    char gap[128];              /* line that says so, the last one */
    size_t gap_size;            /* 0: there was none */
    uint64_t gap_at;            /* its offset, for the reader */
    uint64_t before, behind;    /* what to add to offsets of the reader, modulo 2^64 */
    struct reader *prev, *next; /* in stream->readers */
};

/* --- lines ----------------------------------------------------------------------------------- */

static void lines_add(struct lines *l, uint64_t index, const struct buf *text)
{
    struct line *n = mem_alloc(sizeof(*n) + text->size + 1);

    *n = (struct line){.index = index, .size = (uint32_t)text->size + 1};
    memcpy(n->bytes, text->data, text->size);
    n->bytes[text->size] = '\n';
    if (l->last != NULL) {
        l->last->next = n;
    } else {
        l->first = n;
    }
    l->last = n;
}

static void lines_move(struct lines *from, struct lines *to)
{
    if (from->first == NULL) {
        return;
    }
    if (to->last != NULL) {
        to->last->next = from->first;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    *from = (struct lines){0};
}

static void lines_clear(struct lines *l)
{
    struct line *n, *next;

    for (n = l->first; n != NULL; n = next) {
        next = n->next;
        mem_free(n);
    }
    *l = (struct lines){0};
}

/* --- the ring -------------------------------------------------------------------------------- */

static struct line *ring_at(const struct event_stream *s, size_t n)
{
    return s->ring[(s->ring_head + n) & (s->ring_cap - 1)];
}

static void ring_grow(struct event_stream *s)
{
    size_t cap = s->ring_cap != 0 ? 2 * s->ring_cap : 64;
    struct line **to = mem_alloc(cap * sizeof(struct line *));

    for (size_t n = 0; n < s->ring_count; n++) {
        to[n] = ring_at(s, n);
    }
    mem_free(s->ring);
    s->ring = to;
    s->ring_head = 0;
    s->ring_cap = cap;
}

static void ring_drop(struct event_stream *s)
{
    struct line *n = ring_at(s, 0);
    struct reader *r;

    s->ring_head++;
    s->ring_count--;
    s->begin = n->at + n->size;
    s->dropped = n->index;
    DL_FOREACH (s->readers, r) {
        if (r->at < s->begin && r->missed_from == 0) {
            r->missed_from = n->index;
        }
    }
    mem_free(n);
}

static void ring_push(struct event_stream *s, struct line *n)
{
    if (s->ring_count == s->ring_cap) {
        ring_grow(s);
    }
    n->at = s->end;
    n->next = NULL;
    s->end += n->size;
    s->ring[(s->ring_head + s->ring_count++) & (s->ring_cap - 1)] = n;
    while (s->end - s->begin > RING_SIZE_MAX && s->ring_count > 1) {
        ring_drop(s);
    }
}

/* The number of the line that this offset is in; it is in the ring. */
static size_t ring_find(const struct event_stream *s, uint64_t offset)
{
    size_t low = 0, high = s->ring_count;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (ring_at(s, mid)->at <= offset) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

/* --- reading --------------------------------------------------------------------------------- */

/* What was there between what the reader saw last and the ring's begin, at its offset `at`. */
static void reader_miss(struct reader *r, uint64_t at)
{
    struct event_stream *s = r->stream;
    struct buf b = {0};

    event_gap_json(r->missed_from != 0 ? r->missed_from : s->dropped, s->dropped, &b);
    buf_put_u8(&b, '\n');
    CHECK(b.size <= sizeof(r->gap));
    memcpy(r->gap, b.data, b.size);
    if (r->gap_size > 0) {
        r->before = r->behind;
    }
    r->gap_size = b.size;
    r->gap_at = at;
    r->behind = s->begin - (at + b.size);
    r->missed_from = 0;
    r->at = s->begin;
    buf_done(&b);
}

/* The offset in the stream; false: the reader's offset is in the line about what is missing. */
static bool reader_map(struct reader *r, uint64_t offset, uint64_t *ret)
{
    bool is_behind = r->gap_size > 0 && offset >= r->gap_at + r->gap_size;

    if (r->gap_size > 0 && !is_behind && offset >= r->gap_at) {
        return false;
    }
    *ret = offset + (is_behind ? r->behind : r->before);
    if (*ret < r->stream->begin && r->stream->ring_count > 0) {
        reader_miss(r, offset);
        return false;
    }
    return true;
}

/* From the offset on: whole lines, or the part of one that fits. */
static void serve_lines(struct call *c, struct reader *r, uint64_t offset)
{
    struct event_stream *s = r->stream;
    char *bytes = mem_alloc(c->size);
    size_t used = 0;

    for (size_t n = ring_find(s, offset); n < s->ring_count; n++) {
        const struct line *l = ring_at(s, n);
        size_t skip = (size_t)(offset + used - l->at);
        size_t size = l->size - skip;

        if (used > 0 && size > c->size - used) {
            break;
        }
        size = size < c->size - used ? size : c->size - used;
        memcpy(bytes + used, l->bytes + skip, size);
        used += size;
    }
    r->at = offset + used;
    call_reply_bytes(c, bytes, used);
    mem_free(bytes);
}

/* tail(1) takes a file that has a size for one that ends, and asks for the size when it waits for
 * more: it must see the end. */
static bool is_tail(fuse_req_t req)
{
    char path[64], name[8] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)fuse_req_ctx(req)->pid);
    f = fopen(path, "re");
    if (f != NULL) {
        if (fgets(name, sizeof(name), f) == NULL) {
            name[0] = '\0';
        }
        fclose(f);
    }
    return strcmp(name, "tail\n") == 0;
}

static void events_read(struct call *c)
{
    struct reader *r = c->handle->control_state;
    struct event_stream *s = r->stream;
    uint64_t offset = 0;
    size_t size;

    if (!reader_map(r, c->offset, &offset)) {
        offset = c->offset - r->gap_at;
        size = r->gap_size - (size_t)offset;
        call_reply_bytes(c, r->gap + offset, size < c->size ? size : c->size);
    } else if (c->size == 0) {
        call_reply_bytes(c, NULL, 0);
    } else if (offset < s->end) {
        serve_lines(c, r, offset);
    } else if (c->m->client == NULL || offset > s->end || is_tail(c->req)) {
        call_reply_bytes(c, NULL, 0);
    } else if (c->fi.flags & O_NONBLOCK) {
        call_reply_errno(c, EAGAIN);
    } else {
        call_join(c, &s->waiting, events_read);
    }
}

uint64_t events_size(const struct control_node *n)
{
    return n->stream != NULL ? n->stream->end : 0;
}

static unsigned events_poll(const struct handle *h)
{
    const struct reader *r = h->control_state;

    return r->at < r->stream->end ? POLLIN : 0;
}

/* --- publishing ------------------------------------------------------------------------------ */

static void publish(struct event_stream *s)
{
    struct line *n = s->marked.first, *next;
    struct reader *r;

    s->marked = (struct lines){0};
    if (n == NULL) {
        return;
    }
    for (; n != NULL; n = next) {
        next = n->next;
        ring_push(s, n);
    }
    while (s->waiting != NULL) { /* there is something for each of them */
        call_resume(s->waiting);
    }
    DL_FOREACH (s->readers, r) {
        poll_wake(s->m, r->handle);
    }
}

static void mark(struct mount *m);

static void on_marked(struct call *c)
{
    struct mount *m = c->m;
    struct event_stream *s;

    m->control.marker = false;
    DL_FOREACH (m->control.streams, s) {
        publish(s);
    }
    call_end(c);
    mark(m);
}

/* What is staged can be read when the kernel has dropped what it cached of before. */
static void mark(struct mount *m)
{
    struct event_stream *s;
    bool any = false;

    if (m->control.marker || m->client == NULL) {
        return;
    }
    DL_FOREACH (m->control.streams, s) {
        any |= s->staged.first != NULL;
        lines_move(&s->staged, &s->marked);
    }
    if (any) {
        m->control.marker = true;
        call_after_notifies(call_new(m, NULL, NULL, NULL), on_marked);
    }
}

/* --- subscribing ----------------------------------------------------------------------------- */

static void subscribe(struct event_stream *s);

static void add_gap(struct event_stream *s, uint64_t first, uint64_t last)
{
    struct buf b = {0};

    event_gap_json(first, last, &b);
    lines_add(&s->staged, last, &b);
    buf_done(&b);
}

static void on_subscribed(void *ctx, void *arg, const struct reply *r)
{
    struct mount *m = ctx;
    struct subscription *sub = arg;
    struct event_stream *s = sub->stream;

    mem_free(sub);
    if (s == NULL) {
        return; /* closed meanwhile, or asked for again */
    }
    s->subscription = NULL;
    if (r->err != 0) {
        LOG_WARN("mount", "ev=events_refused err=%d", r->err);
        if (r->err == ERR_TIMEOUT && m->attached) {
            subscribe(s);
        }
        return; /* else it is asked for when a member is attached to again */
    }
    if (s->last != 0 && r->u.events.index_from > s->last) {
        add_gap(s, s->last + 1, r->u.events.index_from);
    }
    lines_move(&s->collected, &s->staged);
    s->last = s->last > r->index ? s->last : r->index;
    s->starting = false;
    mark(m);
}

static void unsubscribe(struct event_stream *s)
{
    if (s->subscription != NULL) {
        s->subscription->stream = NULL;
        s->subscription = NULL;
    }
    lines_clear(&s->collected);
    lines_clear(&s->group);
}

static void subscribe(struct event_stream *s)
{
    struct mount *m = s->m;

    unsubscribe(s);
    s->starting = true;
    s->subscription = mem_alloc(sizeof(*s->subscription));
    s->subscription->stream = s;
    client_submit(
        m->client,
        &(struct request){.op = OP_EVENTS, .u.events = {.on = true, .index_from = s->last}},
        on_subscribed, s->subscription);
}

static struct lines *place_of(struct event_stream *s, const struct event *e)
{
    if (e->index <= s->last) {
        return NULL; /* repeated for another stream, or not asked for */
    }
    if (s->starting && s->group.first == NULL && s->collected.last != NULL &&
        e->index <= s->collected.last->index) {
        lines_clear(&s->collected); /* it is repeated from here on */
    }
    return &s->group;
}

void events_add(struct mount *m, const struct event *e)
{
    struct event_stream *s;
    struct buf b = {0};

    if (m->control.streams == NULL || e->kind == CHANGE_GRANT) {
        return;
    }
    event_json(e, &b);
    DL_FOREACH (m->control.streams, s) {
        struct lines *to = place_of(s, e);

        if (to == NULL) {
            continue;
        }
        lines_add(to, e->index, &b);
        if (e->more) {
            continue;
        }
        lines_move(to, s->starting ? &s->collected : &s->staged);
        if (!s->starting) {
            s->last = e->index;
        }
    }
    buf_done(&b);
    mark(m);
}

void events_on_attach(struct mount *m)
{
    struct event_stream *s;

    DL_FOREACH (m->control.streams, s) {
        subscribe(s);
    }
}

void events_end(struct mount *m)
{
    struct event_stream *s;

    DL_FOREACH (m->control.streams, s) {
        unsubscribe(s);
        while (s->waiting != NULL) {
            call_resume(s->waiting); /* that is the end of the file */
        }
    }
}

/* --- OPEN, RELEASE --------------------------------------------------------------------------- */

static struct event_stream *stream_new(struct mount *m, struct control_node *n)
{
    struct event_stream *s = mem_zalloc(sizeof(*s));

    s->m = m;
    s->node = n;
    s->last = n->from_start ? 1 : n->from; /* the first entry changes nothing */
    s->starting = true;
    n->stream = s;
    DL_APPEND(m->control.streams, s);
    if (m->attached) {
        subscribe(s);
    }
    return s;
}

static void stream_free(struct event_stream *s)
{
    struct mount *m = s->m;

    unsubscribe(s);
    lines_clear(&s->staged);
    lines_clear(&s->marked);
    for (size_t n = 0; n < s->ring_count; n++) {
        mem_free(ring_at(s, n));
    }
    mem_free(s->ring);
    s->node->stream = NULL;
    DL_DELETE(m->control.streams, s);
    mem_free(s);
    if (m->control.streams == NULL && m->attached) {
        client_submit(m->client, &(struct request){.op = OP_EVENTS}, NULL, NULL);
    }
}

static void events_open(struct call *c, struct control_node *n)
{
    struct handle *h = handle_new(c->m, HANDLE_CONTROL, NULL);
    struct reader *r = mem_zalloc(sizeof(*r));

    r->stream = n->stream != NULL ? n->stream : stream_new(c->m, n);
    r->handle = h;
    DL_APPEND(r->stream->readers, r);
    control_node_pin(n);
    h->control = &control_events;
    h->control_node = n;
    h->control_state = r;
    c->fi.direct_io = 1;
    c->fi.noflush = 1;
    call_reply_open(c, h);
}

static void events_release(struct mount *m, struct handle *h)
{
    struct reader *r = h->control_state;

    (void)m;
    DL_DELETE(r->stream->readers, r);
    if (r->stream->readers == NULL) {
        stream_free(r->stream);
    }
    mem_free(r);
}

const struct control_file control_events = {
    .name = "events",
    .mode = 0444,
    .open = events_open,
    .read = events_read,
    .release = events_release,
    .poll = events_poll,
};
