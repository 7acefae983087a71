/* A data directory as a member may find it at start: log and snapshots in any state.
 *
 * Input: a byte of flags, then a script that writes the directory (fuzz_log_script.h). What the
 * store recovers must be contiguous behind the snapshot with a right chain; a second start must
 * find the same; and what is appended then must be found behind it, without a claim forgotten. Flag
 * 1: the disk is full after the first start; flag 2: the log is cut by one entry before the append.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "fuzz_log_script.h"
#include "inspect.h"
#include "mem.h"
#include "sector.h"

/* --- the identity ----------------------------------------------------------------------------- */

/* A member that has voted once: without any log its start is refused. */
static void put_meta(const struct store_conf *conf, const char *name)
{
    const struct vfs *v = &conf->vfs;
    uint8_t sector[SECTOR_SIZE] = "ZABMETA\n";
    int fd = v->open(v->ctx, name, O_RDWR | O_CREAT, 0600);

    bytes_set_u32(sector + 8, 2);
    bytes_set_u32(sector + 12, conf->member);
    bytes_set_u64(sector + 16, conf->cluster.lo);
    bytes_set_u64(sector + 24, conf->cluster.hi);
    bytes_set_u64(sector + 32, conf->incarnation.lo);
    bytes_set_u64(sector + 40, conf->incarnation.hi);
    bytes_set_u64(sector + 48, 2);
    bytes_set_u64(sector + 56, 1);
    bytes_set_u32(sector + 64, 1);
    sector_seal(sector, 0, 0);
    CHECK(fd >= 0);
    CHECK(file_write(v, fd, sector, sizeof(sector), 0) == 0);
    v->close(v->ctx, fd);
}

/* --- what must hold --------------------------------------------------------------------------- */

static struct store_pos pos_of(const struct store_recovered *rec, size_t entry_count)
{
    const struct store_entry *e;

    if (entry_count == 0) {
        return rec->snapshot;
    }
    e = &rec->entries[entry_count - 1];
    return (struct store_pos){e->epoch, e->index, e->chain};
}

static struct hash128 chain_of(const struct store_pos *before, const struct store_entry *e)
{
    return hash_chain(before->chain, e->epoch, e->index, e->type,
                      e->body != NULL ? e->body->data : NULL, e->body != NULL ? e->body->size : 0);
}

static void check_recovered(const struct store_recovered *rec)
{
    struct store_pos at = rec->snapshot;

    CHECK(rec->has_snapshot || (at.index == 0 && at.epoch == 0));
    for (size_t i = 0; i < rec->entry_count; i++) {
        const struct store_entry *e = &rec->entries[i];

        CHECK(e->index == at.index + 1);
        CHECK(e->epoch >= at.epoch);
        CHECK(hash128_equal(e->chain, chain_of(&at, e)));
        at = (struct store_pos){e->epoch, e->index, e->chain};
    }
    CHECK(rec->claimed_index >= at.index);
    CHECK(rec->faulty == (rec->claimed_index > at.index));
    CHECK(!rec->faulty || rec->note[0] != '\0' || !rec->torn_tail);
    CHECK(!(rec->faulty && rec->torn_tail));
}

static void check_same_entries(const struct store_recovered *a, const struct store_recovered *b,
                               size_t count)
{
    CHECK(a->entry_count >= count);
    CHECK(b->entry_count >= count);
    for (size_t i = 0; i < count; i++) {
        CHECK(a->entries[i].index == b->entries[i].index);
        CHECK(hash128_equal(a->entries[i].chain, b->entries[i].chain));
    }
}

static void check_same(const struct store_recovered *a, const struct store_recovered *b)
{
    CHECK(a->entry_count == b->entry_count);
    check_same_entries(a, b, a->entry_count);
    CHECK(a->has_snapshot == b->has_snapshot);
    CHECK(a->snapshot.index == b->snapshot.index);
    CHECK(hash128_equal(a->snapshot.chain, b->snapshot.chain));
    CHECK(a->faulty == b->faulty);
    CHECK(a->torn_tail == b->torn_tail);
    CHECK(a->claimed_index == b->claimed_index);
}

/* --- going on --------------------------------------------------------------------------------- */

static int append_one(struct store *s, const struct store_pos *before)
{
    struct store_entry e = {.epoch = before->epoch, .index = before->index + 1, .type = 1};
    struct store_op op = {.type = STORE_OP_APPEND, .u.append = {&e, 1}};
    struct store_batch batch = {&op, 1};

    e.chain = chain_of(before, &e);
    return store_run(s, &batch, NULL);
}

static int truncate_to(struct store *s, uint64_t index)
{
    struct store_op op = {.type = STORE_OP_TRUNCATE, .u.index = index};
    struct store_batch batch = {&op, 1};

    return store_run(s, &batch, NULL);
}

/* Cuts or not, appends, and starts again. Takes over the store. */
static void check_going_on(const struct store_conf *conf, struct store *s,
                           const struct store_recovered *rec, bool is_cut)
{
    struct store_recovered after;
    size_t kept = rec->entry_count;
    struct store_pos last;

    is_cut = is_cut && kept > 0;
    if (is_cut) {
        kept--;
        CHECK(truncate_to(s, rec->entries[kept].index - 1) == 0);
    }
    last = pos_of(rec, kept);
    CHECK(append_one(s, &last) == 0);
    store_close(s);
    CHECK(store_open(conf, &s, &after, NULL) == 0);
    check_recovered(&after);
    check_same_entries(rec, &after, kept);
    CHECK(after.entry_count == kept + 1);
    if (is_cut) {
        CHECK(!after.faulty); /* a leader had it cut: nothing is missed any more */
    } else {
        CHECK(after.claimed_index >= rec->claimed_index);
        CHECK(after.faulty == (rec->claimed_index > last.index + 1));
    }
    store_recovered_done(&after);
    store_close(s);
}

/* Who only looked must have seen what the start found. */
static void check_inspection(const struct inspection *in, int rc, const struct store_recovered *rec)
{
    CHECK(in->open_err == rc);
    CHECK((in->health == INSPECT_REFUSED) == (rc != 0));
    if (rc == 0) {
        check_same(&in->would, rec);
        CHECK((in->health == INSPECT_FAULTY) == rec->faulty);
        CHECK(in->health != INSPECT_SOUND || !rec->torn_tail);
    }
}

static void check_directory(const struct store_conf *conf, struct memfs *fs, uint8_t flags)
{
    struct store_recovered rec = {0}, again;
    struct inspection in;
    struct store *s;
    char note[NOTE_SIZE] = "";
    int rc;

    CHECK(inspect_run(&conf->vfs, &in, note) == 0);
    rc = store_open(conf, &s, &rec, note);
    check_inspection(&in, rc, &rec);
    inspect_done(&in);
    if (rc != 0) {
        CHECK(rc == ERR_CORRUPT || rc == ERR_FOREIGN || rc == ERR_FORMAT);
        CHECK(note[0] != '\0');
        CHECK(store_open(conf, &s, &rec, note) == rc);
        return;
    }
    store_close(s);
    check_recovered(&rec);
    if (flags & 1) {
        memfs_set_space(fs, memfs_used(fs));
    }
    CHECK(store_open(conf, &s, &again, NULL) == 0);
    check_same(&rec, &again);
    if (flags & 1) {
        store_close(s);
    } else {
        check_going_on(conf, s, &again, flags & 2);
    }
    store_recovered_done(&again);
    store_recovered_done(&rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct cursor script = cur_make(bytes, size);
    struct memfs *fs = memfs_new();
    struct store_conf conf = {
        .cluster = {0x1111, 0x2222},
        .member = 3,
        .incarnation = {0x3333, 0x4444},
        .segment_size = STORE_SEGMENT_SIZE_MIN,
        .snapshots_kept = 2,
    };
    uint8_t flags = 0;

    memfs_vfs(fs, &conf.vfs);
    put_meta(&conf, "meta-0");
    put_meta(&conf, "meta-1");
    (void)cur_u8(&script, &flags);
    script_run(&script, &conf, fs);
    check_directory(&conf, fs, flags);
    memfs_free(fs);
    return 0;
}

/* --- examples --------------------------------------------------------------------------------- */

static void seed_header(struct buf *b, uint8_t sequence, uint8_t before, uint8_t epoch)
{
    const uint8_t step[] = {
        SCRIPT_HEADER, (uint8_t)(sequence - 1), SCRIPT_BLOCKS - 1, before, epoch, 0, 0};

    buf_put(b, step, sizeof(step));
}

static void seed_batch(struct buf *b, uint8_t sequence, uint8_t block, uint8_t first, uint8_t epoch)
{
    const uint8_t step[] = {SCRIPT_BATCH, (uint8_t)(sequence - 1), block, first, 1};

    buf_put(b, step, sizeof(step));
    for (int i = 0; i < 2; i++) {
        const uint8_t entry[] = {epoch, 1, 3, 'a', 'b', 'c'};

        buf_put(b, entry, sizeof(entry));
    }
}

static void seed_log(struct buf *b)
{
    seed_header(b, 1, 0, 0);
    seed_batch(b, 1, 1, 1, 1);
    seed_batch(b, 1, 2, 3, 1);
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const struct {
        uint8_t size, step[8];
    } tails[] = {
        {4, {SCRIPT_WIPE, 0, 16, 1}},           /* torn: the last batch is gone */
        {4, {SCRIPT_WIPE, 0, 8, 1}},            /* a hole before a valid batch */
        {7, {SCRIPT_WRITE, 0, 17, 1, 0, 1, 9}}, /* a bad sector behind the last batch */
        {7, {SCRIPT_SEAL, 0, 16, 8, 0, 1, 200}},
        {3, {SCRIPT_CUT, 0, 2}},
        {3, {SCRIPT_SPOIL, 0, 1}},
        {6, {SCRIPT_SNAPSHOT, 2, 1, 0, 9, 0}},
        {6, {SCRIPT_SNAPSHOT, 3, 1, 0, 9, 1}},
        {6, {SCRIPT_SNAPSHOT, 9, 2, 2, 9, 0}},
    };
    enum { TAILS = sizeof(tails) / sizeof(tails[0]), FIRST_TAIL = 3 };

    i %= 4 * (FIRST_TAIL + TAILS);
    buf_put_u8(b, (uint8_t)(i % 4));
    i /= 4;
    if (i == 0) {
        return;
    }
    seed_log(b);
    if (i == 1) { /* cut to 2, and on in the next file, which is full of it */
        seed_header(b, 2, 2, 1);
        seed_batch(b, 2, 1, 3, 2);
    } else if (i >= FIRST_TAIL) {
        buf_put(b, tails[i - FIRST_TAIL].step, tails[i - FIRST_TAIL].size);
    }
}
