/* What the directory holds, at start: the newest snapshot that verifies and the entries after it.
 *
 * Happy path: the snapshot is good, the segments behind it follow one another, each entry chains on
 * the one before, and the last segment ends in zeros. Appending goes on there.
 *
 * Failure modes, docs/DISK_FORMAT.md has the table: a torn last batch is cut, which costs nothing
 * on disk because the next append begins a new segment. Anything else that breaks the sequence
 * makes the log faulty: entries end before it, and the highest index of which there is a trace is
 * reported, and kept in the header of the next segment until the log has reached it again. A bad
 * snapshot gives way to the one before. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "store_int.h"

struct recover {
    struct store *s;
    struct store_recovered *rec;
    size_t entry_cap;
    uint64_t first_sequence; /* segments below are void */
    uint64_t spare_sequence; /* of a file found prepared; 0: none */
    struct store_pos base, last;
    bool has_bad_snapshot; /* newer than base */
    bool base_differs;     /* the log has another entry where the snapshot was taken */
    bool is_faulty;
    bool end_unknown;         /* the log may have gone on behind all that can be read */
    struct store_pos claimed; /* no chain; epoch 0: not known */
    bool can_append;          /* behind the last entry, in the last segment */
    enum segment_end end;     /* of the last segment that was read */
    uint64_t end_offset;
};

static void recover_note(struct recover *r, uint64_t sequence, uint64_t offset, const char *reason)
{
    char name[FILE_NAME_SIZE];

    segment_name(name, sequence);
    store_note(r->s, "%s: at %llu: %s", name, (unsigned long long)offset, reason);
}

static void recover_fault(struct recover *r, uint64_t sequence, uint64_t offset, const char *reason)
{
    recover_note(r, sequence, offset, reason);
    r->is_faulty = true;
}

static void recover_claim(struct recover *r, uint64_t epoch, uint64_t index)
{
    if (index > r->claimed.index || (index == r->claimed.index && epoch > r->claimed.epoch)) {
        r->claimed = (struct store_pos){.epoch = epoch, .index = index};
    }
}

/* --- snapshots ------------------------------------------------------------------------------- */

static int recover_snapshot(struct recover *r, const struct file_list *files)
{
    for (size_t i = files->snapshot_count; i-- > 0;) {
        struct snap_header h;
        char name[FILE_NAME_SIZE];
        int rc = snap_read(&r->s->conf.vfs, files->snapshots[i], &h, NULL, NULL);

        file_name(name, "snap-", files->snapshots[i], "");
        if (rc != 0) {
            store_note(r->s, "%s: %s", name, err_text(rc));
        }
        if (rc == ERR_CORRUPT) {
            bool has_header = snap_header_read(&r->s->conf.vfs, files->snapshots[i], &h);

            r->has_bad_snapshot = true;
            recover_claim(r, has_header ? h.pos.epoch : 0, files->snapshots[i]);
            continue;
        }
        if (rc != 0) {
            return rc;
        }
        if (!hash128_equal(h.cluster, r->s->conf.cluster)) {
            store_note(r->s, "%s: belongs to another ensemble", name);
            return ERR_FOREIGN;
        }
        r->base = h.pos;
        r->first_sequence = h.first_sequence;
        r->rec->restored = h.is_restored;
        r->rec->has_snapshot = true;
        r->rec->snapshot = h.pos;
        return 0;
    }
    return 0;
}

/* --- segments -------------------------------------------------------------------------------- */

static int recover_headers(struct recover *r, const struct file_list *files)
{
    struct store *s = r->s;

    s->segments = mem_alloc((files->segment_count + 1) * sizeof(*s->segments));
    s->spare_sequence = 1;
    for (size_t i = 0; i < files->segment_count; i++) {
        bool is_last = i + 1 == files->segment_count;
        bool is_spare;
        struct segment g;
        int rc = segment_read_header(s, files->segments[i], &g, &is_spare);

        if (rc != 0) {
            return rc;
        }
        s->spare_sequence = g.sequence + 1;
        if (is_spare && is_last) {
            s->spare_sequence = g.sequence;
            r->spare_sequence = g.sequence;
        } else {
            s->segments[s->segment_count++] = g;
        }
    }
    if (s->spare_sequence < r->first_sequence) {
        s->spare_sequence = r->first_sequence;
    }
    return 0;
}

static void recover_visit(void *ctx, const struct store_entry *e, const uint8_t *bytes, size_t size)
{
    struct recover *r = ctx;
    struct store_recovered *rec = r->rec;

    if (e->index == r->base.index) {
        r->base_differs = e->epoch != r->base.epoch || !hash128_equal(e->chain, r->base.chain);
    }
    if (e->index <= r->base.index || r->base_differs) {
        return;
    }
    if (rec->entry_count == r->entry_cap) {
        r->entry_cap = r->entry_cap ? 2 * r->entry_cap : 256;
        rec->entries = mem_realloc(rec->entries, r->entry_cap * sizeof(*rec->entries));
    }
    rec->entries[rec->entry_count] = *e;
    if (size > 0) {
        rec->entries[rec->entry_count].body = blob_new(bytes, size);
    }
    rec->entry_count++;
}

/* The log is broken before segment `from`: how far do the segments from there on reach? */
static int recover_claims(struct recover *r, size_t from)
{
    struct store *s = r->s;

    for (size_t i = from; i < s->segment_count; i++) {
        uint64_t limit = log_limit(s, i);
        struct segment_scan scan;
        int rc;

        if (s->segments[i].sequence < r->first_sequence ||
            (s->segments[i].readable && s->segments[i].before.index >= limit)) {
            continue;
        }
        rc = segment_scan(s, &s->segments[i], limit, NULL, NULL, &scan);
        if (rc != 0) {
            return rc;
        }
        if (scan.end != SEGMENT_DAMAGED) {
            scan.claimed = scan.last;
        }
        recover_claim(r, scan.claimed.epoch, scan.claimed.index);
        r->end_unknown = r->end_unknown || (i + 1 == s->segment_count && scan.claimed.epoch == 0);
    }
    return 0;
}

/* Why segment i cannot follow what was read so far; NULL: it can. */
static const char *segment_misfit(const struct recover *r, size_t i)
{
    const struct segment *g = &r->s->segments[i];

    if (!g->readable) {
        return "the header is damaged";
    }
    if (g->before.index > r->last.index) {
        return "entries before this file are missing";
    }
    if (g->before.index == r->last.index &&
        (g->before.epoch != r->last.epoch || !hash128_equal(g->before.chain, r->last.chain))) {
        return "the file does not chain on what is before";
    }
    return NULL;
}

/* Reads the segments from `start` on; *ret_stop is the one where the log breaks, or their count. */
static int recover_walk(struct recover *r, size_t start, size_t *ret_stop)
{
    struct store *s = r->s;
    size_t i;

    for (i = start; i < s->segment_count; i++) {
        const struct segment *g = &s->segments[i];
        uint64_t limit = log_limit(s, i);
        struct segment_scan scan;
        const char *misfit;
        int rc;

        /* Later segments replaced all of it, and perhaps it is from before the snapshot too. */
        if (limit <= r->last.index || (g->readable && g->before.index >= limit)) {
            continue;
        }
        misfit = segment_misfit(r, i);
        if (misfit != NULL) {
            recover_fault(r, g->sequence, 0, misfit);
            break;
        }
        rc = segment_scan(s, g, limit, recover_visit, r, &scan);
        if (rc != 0) {
            return rc;
        }
        r->last = scan.last;
        r->end = scan.end;
        r->end_offset = scan.offset;
        if (scan.end == SEGMENT_DAMAGED || (scan.end != SEGMENT_REACHED && limit != UINT64_MAX)) {
            recover_fault(r, g->sequence, scan.offset,
                          scan.reason != NULL ? scan.reason : "the file ends too early");
            break;
        }
        if (scan.end == SEGMENT_TORN) {
            recover_note(r, g->sequence, scan.offset, scan.reason);
        }
    }
    *ret_stop = i;
    return 0;
}

/* The segment that holds the entry after the snapshot: the last one that begins no later. */
static bool recover_start(const struct recover *r, size_t *ret)
{
    const struct store *s = r->s;

    for (size_t i = s->segment_count; i-- > 0;) {
        const struct segment *g = &s->segments[i];

        if (g->sequence < r->first_sequence) {
            break;
        }
        if (g->readable && g->before.index <= r->base.index) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Segments that the snapshot does not void; without any the log has not begun, or is lost. */
static bool recover_has_log(const struct recover *r)
{
    const struct store *s = r->s;

    return s->segment_count > 0 && s->segments[s->segment_count - 1].sequence >= r->first_sequence;
}

/* The one file there is must then be the first of its log, unless the very first start ended before
 * it made one. A member that lost its log altogether cannot say what it acknowledged. */
static int recover_empty(const struct recover *r)
{
    uint64_t first = r->rec->has_snapshot ? r->first_sequence : 1;

    if (!r->rec->has_snapshot && r->claimed.index > 0) {
        return ERR_CORRUPT; /* of a snapshot that was all it held; it is in the note */
    }
    if ((r->spare_sequence != 0 && r->spare_sequence == first) || r->s->meta.sequence == 1) {
        return 0;
    }
    store_note(r->s, "log: all segments are missing");
    return ERR_CORRUPT;
}

/* The segments are read: is what they hold all there must be? */
static void recover_judge_end(struct recover *r, size_t start)
{
    const struct store *s = r->s;
    uint64_t last_sequence = s->segments[s->segment_count - 1].sequence;

    if (r->base_differs) {
        recover_fault(r, s->segments[start].sequence, 0, "the log differs from the snapshot");
        recover_claim(r, 0, r->last.index);
        r->end_unknown = true;
        r->last = r->base;
    } else if (r->last.index < r->base.index) {
        if (!r->is_faulty) {
            r->end_unknown = true;
            recover_fault(r, last_sequence, r->end_offset, "the log ends before the snapshot");
        }
        r->last = r->base;
    } else if (!r->is_faulty && r->spare_sequence > last_sequence + 1) {
        recover_fault(r, last_sequence + 1, 0, "the file is missing");
        recover_claim(r, 0, r->last.index + 1);
        r->end_unknown = true;
    } else {
        r->can_append = !r->is_faulty && r->end == SEGMENT_CLEAN;
    }
}

static int recover_log(struct recover *r)
{
    struct store *s = r->s;
    size_t start, stop;
    int rc = 0;

    if (!recover_has_log(r)) {
        return recover_empty(r);
    }
    if (!recover_start(r, &start)) {
        recover_fault(r, s->segments[0].sequence, 0,
                      "the log between the snapshot and this file is missing");
        return recover_claims(r, 0);
    }
    /* The walk begins where that segment does; what lies before it is not looked at. */
    r->last =
        s->segments[start].before.index == r->base.index ? r->base : s->segments[start].before;
    rc = recover_walk(r, start, &stop);
    if (rc == 0 && r->is_faulty) {
        rc = recover_claims(r, stop);
    }
    if (rc != 0) {
        return rc;
    }
    recover_judge_end(r, start);
    for (size_t i = s->segment_count; i-- > 0;) {
        if (s->segments[i].readable) {
            recover_claim(r, s->segments[i].claimed.epoch, s->segments[i].claimed.index);
            break;
        }
    }
    return rc;
}

/* --- all of it ------------------------------------------------------------------------------- */

/* Goes on at the clean end of the last segment. The sync makes durable what a process that died
 * before its own sync may have left there: from here on it counts as ours. */
static int recover_active(struct store *s, uint64_t offset)
{
    const struct vfs *v = &s->conf.vfs;
    char name[FILE_NAME_SIZE];
    int rc;

    segment_name(name, s->segments[s->segment_count - 1].sequence);
    rc = v->open(v->ctx, name, O_RDWR, 0);
    if (rc < 0) {
        return store_fail(s, ERR_IO, name, "open", rc);
    }
    segment_activate(s, rc);
    s->active_offset = offset;
    s->zeroed_to = offset;
    rc = BUG(X13_LEFTOVERS_NOT_SYNCED) ? 0 : v->sync(v->ctx, s->active_fd);
    return rc == 0 ? 0 : store_fail(s, ERR_IO, name, "sync", rc);
}

int recover_read(struct store *s, const struct file_list *files, struct store_recovered *rec,
                 struct recover_end *ret_end)
{
    struct recover r = {.s = s, .rec = rec, .end = SEGMENT_DAMAGED};
    int rc = recover_snapshot(&r, files);

    if (rc == 0) {
        rc = recover_headers(&r, files);
    }
    r.last = r.base;
    if (rc == 0) {
        rc = recover_log(&r);
    }
    if (rc != 0) {
        return rc;
    }
    /* Damage that left no trace of an index may have hidden one entry as well as many. */
    recover_claim(&r, r.is_faulty ? 0 : r.last.epoch, r.last.index + (r.is_faulty ? 1 : 0));
    if (r.claimed.index > r.last.index) {
        r.is_faulty = true;
    }
    if (r.end_unknown) {
        r.claimed.epoch = 0;
    }
    if (r.is_faulty && r.claimed.epoch == 0 && s->meta.promised_epoch == 0 && r.last.epoch == 0) {
        /* A peer's snapshot came before the first promise, and is all there was. */
        store_note(s, "log: damaged, and nothing says of which epoch it was");
        return ERR_CORRUPT;
    }
    s->base = r.base;
    s->last = r.last;
    s->claimed = r.claimed;
    rec->restored = rec->restored && s->segment_count == 0;
    rec->is_new =
        s->meta.sequence == 1 && s->segment_count == 0 && (!rec->has_snapshot || rec->restored);
    rec->incarnation = s->incarnation;
    rec->promised_epoch = s->meta.promised_epoch;
    rec->voted_for = s->meta.voted_for;
    rec->torn_tail = r.end == SEGMENT_TORN && !r.is_faulty;
    rec->faulty = r.is_faulty;
    rec->claimed_index = r.claimed.index;
    rec->claimed_epoch = r.is_faulty ? r.claimed.epoch : r.last.epoch;
    memcpy(rec->note, s->note, sizeof(rec->note));
    *ret_end = (struct recover_end){
        .can_append = r.can_append,
        .has_bad_snapshot = r.has_bad_snapshot && !r.is_faulty,
        .offset = r.end_offset,
        .first_sequence = r.first_sequence,
    };
    return 0;
}

int recover_run(struct store *s, const struct file_list *files, struct store_recovered *rec)
{
    struct recover_end end;
    int rc = recover_read(s, files, rec, &end);

    if (rc == 0 && end.can_append) {
        rc = recover_active(s, end.offset);
    }
    if (rc == 0 && end.has_bad_snapshot) {
        rc = snap_remove_above(s, s->base.index);
    }
    return rc == 0 ? log_drop_before(s, end.first_sequence) : rc;
}
