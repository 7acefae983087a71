/* One file of the log: header, then batches.
 *
 * Happy path: the next file is prepared while the current one fills (allocated, all zero, no
 * header: the spare). Writing its header makes it the end of the log; that is one sector, so it
 * happens or does not. A batch is one write and one sync.
 *
 * The header says after which entry the segment goes on. Whatever older segments hold behind that
 * entry is dead from then on. So cutting the log, after a leader's TRUNC or behind a torn batch, is
 * the same one-sector step as going on to the next file, and nothing on disk is ever written twice
 * but the zeros that precede a batch.
 *
 * Failure modes: a full disk shows when the spare is prepared, before anything else is written. Any
 * failed write or sync is final. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

enum {
    SEGMENT_VERSION = 2,
    SEGMENT_AT_MAGIC = 0,
    SEGMENT_AT_VERSION = 8,
    SEGMENT_AT_MEMBER = 12,
    SEGMENT_AT_CLUSTER = 16,
    SEGMENT_AT_INCARNATION = 32,
    SEGMENT_AT_SEQUENCE = 48,
    SEGMENT_AT_SIZE = 56,
    SEGMENT_AT_INDEX = 64,
    SEGMENT_AT_EPOCH = 72,
    SEGMENT_AT_CHAIN = 80,
    SEGMENT_AT_CLAIMED = 96,
    SEGMENT_AT_CLAIMED_EPOCH = 104,

    BATCH_MAGIC = 0x5441425a, /* "ZBAT" */
};

static const char segment_magic[8] = {'Z', 'A', 'B', 'L', 'O', 'G', '\n', 0};

_Static_assert((int)LOG_BATCH_SIZE_MAX >= (int)ENTRY_SIZE_MAX + 1024, "any entry fits a batch");
_Static_assert((int)STORE_SEGMENT_SIZE_MIN >= 2 * BLOCK_SIZE, "a header and a batch");

void segment_name(char *ret, uint64_t sequence)
{
    file_name(ret, "log-", sequence, "");
}

/* Sectors of one segment cannot pass for those of another, nor of another directory's. */
uint64_t segment_seed(const struct store *s, uint64_t sequence)
{
    uint8_t at[40];

    bytes_set_u64(at, s->conf.cluster.lo);
    bytes_set_u64(at + 8, s->conf.cluster.hi);
    bytes_set_u64(at + 16, s->incarnation.lo);
    bytes_set_u64(at + 24, s->incarnation.hi);
    bytes_set_u64(at + 32, sequence);
    return hash64(at, sizeof(at), 0);
}

void batch_header_encode(const struct batch_header *h, uint8_t *to)
{
    bytes_set_u32(to, BATCH_MAGIC);
    bytes_set_u32(to + 4, h->entry_count);
    bytes_set_u64(to + 8, h->size);
    bytes_set_u64(to + 16, h->first_index);
}

bool batch_header_decode(const uint8_t *from, struct batch_header *ret)
{
    struct batch_header h = {
        .entry_count = bytes_get_u32(from + 4),
        .size = bytes_get_u64(from + 8),
        .first_index = bytes_get_u64(from + 16),
    };

    if (bytes_get_u32(from) != BATCH_MAGIC || h.size > LOG_BATCH_SIZE_MAX || h.entry_count == 0 ||
        h.first_index == 0 ||
        h.size < BATCH_HEADER_SIZE + (uint64_t)h.entry_count * ENTRY_HEADER_SIZE) {
        return false;
    }
    *ret = h;
    return true;
}

/* --- header ---------------------------------------------------------------------------------- */

static void segment_header_encode(const struct store *s, const struct segment *g, uint8_t *sector)
{
    memset(sector, 0, SECTOR_SIZE);
    memcpy(sector + SEGMENT_AT_MAGIC, segment_magic, sizeof(segment_magic));
    bytes_set_u32(sector + SEGMENT_AT_VERSION, SEGMENT_VERSION);
    bytes_set_u32(sector + SEGMENT_AT_MEMBER, s->conf.member);
    bytes_set_u64(sector + SEGMENT_AT_CLUSTER, s->conf.cluster.lo);
    bytes_set_u64(sector + SEGMENT_AT_CLUSTER + 8, s->conf.cluster.hi);
    bytes_set_u64(sector + SEGMENT_AT_INCARNATION, s->incarnation.lo);
    bytes_set_u64(sector + SEGMENT_AT_INCARNATION + 8, s->incarnation.hi);
    bytes_set_u64(sector + SEGMENT_AT_SEQUENCE, g->sequence);
    bytes_set_u64(sector + SEGMENT_AT_SIZE, g->size);
    bytes_set_u64(sector + SEGMENT_AT_INDEX, g->before.index);
    bytes_set_u64(sector + SEGMENT_AT_EPOCH, g->before.epoch);
    bytes_set_u64(sector + SEGMENT_AT_CHAIN, g->before.chain.lo);
    bytes_set_u64(sector + SEGMENT_AT_CHAIN + 8, g->before.chain.hi);
    bytes_set_u64(sector + SEGMENT_AT_CLAIMED, g->claimed.index);
    bytes_set_u64(sector + SEGMENT_AT_CLAIMED_EPOCH, g->claimed.epoch);
    sector_seal(sector, 0, 0);
}

/* Errors: ERR_FOREIGN, ERR_FORMAT */
static int segment_header_decode(struct store *s, const uint8_t *sector, const char *name,
                                 struct segment *ret)
{
    uint32_t batch;
    uint64_t size;

    if (sector_judge(sector, 0, &batch) != SECTOR_VALID ||
        memcmp(sector + SEGMENT_AT_MAGIC, segment_magic, sizeof(segment_magic)) != 0) {
        return 0;
    }
    if (bytes_get_u32(sector + SEGMENT_AT_VERSION) != SEGMENT_VERSION) {
        store_note(s, "%s: has format %u, and this program knows format %u only", name,
                   bytes_get_u32(sector + SEGMENT_AT_VERSION), SEGMENT_VERSION);
        return ERR_FORMAT;
    }
    if (bytes_get_u32(sector + SEGMENT_AT_MEMBER) != s->conf.member ||
        bytes_get_u64(sector + SEGMENT_AT_CLUSTER) != s->conf.cluster.lo ||
        bytes_get_u64(sector + SEGMENT_AT_CLUSTER + 8) != s->conf.cluster.hi ||
        bytes_get_u64(sector + SEGMENT_AT_INCARNATION) != s->incarnation.lo ||
        bytes_get_u64(sector + SEGMENT_AT_INCARNATION + 8) != s->incarnation.hi) {
        store_note(s, "%s: belongs to another ensemble, member or incarnation", name);
        return ERR_FOREIGN;
    }
    size = bytes_get_u64(sector + SEGMENT_AT_SIZE);
    if (bytes_get_u64(sector + SEGMENT_AT_SEQUENCE) != ret->sequence ||
        size > LOG_SEGMENT_SIZE_MAX || size < BLOCK_SIZE) {
        return 0;
    }
    ret->size = size;
    ret->before.index = bytes_get_u64(sector + SEGMENT_AT_INDEX);
    ret->before.epoch = bytes_get_u64(sector + SEGMENT_AT_EPOCH);
    ret->before.chain.lo = bytes_get_u64(sector + SEGMENT_AT_CHAIN);
    ret->before.chain.hi = bytes_get_u64(sector + SEGMENT_AT_CHAIN + 8);
    ret->claimed.index = bytes_get_u64(sector + SEGMENT_AT_CLAIMED);
    ret->claimed.epoch = bytes_get_u64(sector + SEGMENT_AT_CLAIMED_EPOCH);
    ret->readable = true;
    return 0;
}

int segment_read_header(struct store *s, uint64_t sequence, struct segment *ret, bool *ret_is_spare)
{
    static const uint8_t zeros[2 * BLOCK_SIZE];
    const struct vfs *v = &s->conf.vfs;
    struct segment g = {.sequence = sequence};
    uint8_t start[2 * BLOCK_SIZE] = {0}; /* header, and where the first batch would be */
    char name[FILE_NAME_SIZE];
    ssize_t n;
    int fd, rc;

    segment_name(name, sequence);
    fd = v->open(v->ctx, name, O_RDWR, 0);
    if (fd < 0) {
        return store_fail(s, ERR_IO, name, "open", fd);
    }
    n = v->size(v->ctx, fd, &g.size);
    if (n == 0) {
        n = file_read(v, fd, start, sizeof(start), 0);
    }
    v->close(v->ctx, fd);
    if (n < 0 && n != -EIO) {
        return store_fail(s, ERR_IO, name, "read", (int)n);
    }
    g.size = g.size < LOG_SEGMENT_SIZE_MAX ? g.size : LOG_SEGMENT_SIZE_MAX;
    g.size_found = g.size;
    rc = segment_header_decode(s, start, name, &g);
    if (rc == 0) {
        *ret = g;
        *ret_is_spare = n >= 0 && memcmp(start, zeros, sizeof(start)) == 0;
    }
    return rc;
}

/* --- the spare and the active segment --------------------------------------------------------- */

static int segment_spare_create(struct store *s, uint64_t size)
{
    const struct vfs *v = &s->conf.vfs;
    char name[FILE_NAME_SIZE];
    int fd, rc;

    segment_name(name, s->spare_sequence);
    fd = v->open(v->ctx, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        return store_fail(s, fd == -ENOSPC ? ERR_NOSPACE : ERR_IO, name, "create", fd);
    }
    rc = v->allocate(v->ctx, fd, size);
    if (rc == -ENOSPC) {
        /* Gives back what it got. The empty file stays: a directory without any is a lost log. */
        v->close(v->ctx, fd);
        fd = v->open(v->ctx, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0) {
            return store_fail(s, fd == -ENOSPC ? ERR_NOSPACE : ERR_IO, name, "empty", fd);
        }
        v->close(v->ctx, fd);
        return store_fail(s, ERR_NOSPACE, name, "allocate", rc);
    }
    if (rc == 0) {
        rc = v->sync_dir(v->ctx);
    }
    if (rc != 0) {
        v->close(v->ctx, fd);
        return store_fail(s, ERR_IO, name, "allocate", rc);
    }
    s->spare_fd = fd;
    s->spare_size = size;
    return 0;
}

int segment_prepare(struct store *s, uint64_t size)
{
    const struct vfs *v = &s->conf.vfs;
    char name[FILE_NAME_SIZE];
    int rc;

    size = (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    if (size < s->conf.segment_size) {
        size = s->conf.segment_size;
    }
    CHECK(size <= LOG_SEGMENT_SIZE_MAX);
    if (s->spare_fd < 0) {
        return segment_spare_create(s, size);
    }
    if (s->spare_size >= size) {
        return 0;
    }
    segment_name(name, s->spare_sequence);
    rc = v->allocate(v->ctx, s->spare_fd, size);
    if (rc != 0) {
        return store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, name, "allocate", rc);
    }
    s->spare_size = size;
    return 0;
}

void segment_activate(struct store *s, int fd)
{
    const struct vfs *v = &s->conf.vfs;

    s->active_fd = fd;
    if (v->direct != NULL) {
        v->direct(v->ctx, fd);
    }
}

int segment_begin(struct store *s, const struct store_pos *before, const struct store_pos *claimed)
{
    const struct vfs *v = &s->conf.vfs;
    struct segment g = {
        .sequence = s->spare_sequence,
        .readable = true,
        .size = s->spare_size,
        .size_found = s->spare_size,
        .before = *before,
        .claimed = *claimed,
    };
    uint8_t sector[SECTOR_SIZE];
    char name[FILE_NAME_SIZE];
    int rc;

    CHECK(s->spare_fd >= 0);
    segment_name(name, g.sequence);
    segment_header_encode(s, &g, sector);
    rc = file_write(v, s->spare_fd, sector, sizeof(sector), 0);
    if (rc == 0) {
        s->syncs++;
        rc = v->sync(v->ctx, s->spare_fd);
    }
    if (rc != 0) {
        return store_fail(s, ERR_IO, name, "begin", rc);
    }
    s->segments = mem_realloc(s->segments, (s->segment_count + 1) * sizeof(*s->segments));
    s->segments[s->segment_count++] = g;
    if (s->active_fd >= 0) {
        v->close(v->ctx, s->active_fd);
    }
    segment_activate(s, s->spare_fd);
    s->active_offset = BLOCK_SIZE;
    s->zeroed_to = BLOCK_SIZE;
    s->last = *before;
    s->claimed = *claimed;
    s->spare_fd = -1;
    s->spare_sequence++;
    return 0;
}

/* --- batches --------------------------------------------------------------------------------- */

/* Puts payload bytes into consecutive sectors. */
struct packer {
    uint8_t *sectors;
    uint64_t used; /* bytes of payload */
};

static void pack(struct packer *p, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;

    while (size > 0) {
        uint64_t in_sector = p->used % SECTOR_PAYLOAD_SIZE;
        uint8_t *to = p->sectors + p->used / SECTOR_PAYLOAD_SIZE * SECTOR_SIZE + in_sector;
        size_t n = SECTOR_PAYLOAD_SIZE - in_sector;

        n = n < size ? n : size;
        memcpy(to, from, n);
        from += n;
        size -= n;
        p->used += n;
    }
}

static size_t entry_body_size(const struct store_entry *e)
{
    return e->body != NULL ? e->body->size : 0;
}

uint64_t segment_payload_size(const struct store_entry *e)
{
    return ENTRY_HEADER_SIZE + (uint64_t)entry_body_size(e);
}

static void pack_entry(struct packer *p, const struct store_entry *e)
{
    uint8_t header[ENTRY_HEADER_SIZE] = {0};

    bytes_set_u32(header, (uint32_t)entry_body_size(e));
    header[4] = e->type;
    bytes_set_u64(header + 8, e->epoch);
    bytes_set_u64(header + 16, e->chain.lo);
    bytes_set_u64(header + 24, e->chain.hi);
    pack(p, header, sizeof(header));
    if (e->body != NULL) {
        pack(p, e->body->data, e->body->size);
    }
}

static void batch_pack(struct store *s, const struct store_entry *const *entries, size_t count,
                       uint64_t payload_size, uint64_t blocks_size)
{
    struct batch_header h = {(uint32_t)count, payload_size, entries[0]->index};
    const struct segment *g = &s->segments[s->segment_count - 1];
    uint64_t seed = segment_seed(s, g->sequence) + s->active_offset / SECTOR_SIZE;
    uint32_t batch = (uint32_t)(s->active_offset / BLOCK_SIZE);
    uint8_t header[BATCH_HEADER_SIZE];
    struct packer p = {0};

    if (s->sectors_cap < blocks_size) {
        mem_free(s->sectors);
        s->sectors = mem_alloc_aligned(BLOCK_SIZE, blocks_size);
        s->sectors_cap = blocks_size;
    }
    p.sectors = s->sectors;
    memset(s->sectors, 0, blocks_size);
    batch_header_encode(&h, header);
    pack(&p, header, sizeof(header));
    for (size_t i = 0; i < count; i++) {
        pack_entry(&p, entries[i]);
    }
    CHECK(p.used == payload_size);
    for (uint64_t i = 0; i < sector_count(payload_size); i++) {
        sector_seal(s->sectors + i * SECTOR_SIZE, batch, seed + i);
    }
}

/* File systems record the first write to an allocated block in their journal, which makes a sync
 * dearer by half. Writing zeros a piece ahead takes that cost once per piece; they change nothing
 * that recovery sees, and the batch's own sync covers them. */
static int segment_zero_ahead(struct store *s, uint64_t batch_end)
{
    static _Alignas(BLOCK_SIZE) const uint8_t zeros[256 << 10];
    const struct segment *g = &s->segments[s->segment_count - 1];
    uint64_t end = batch_end + LOG_ZERO_AHEAD_SIZE;

    if (s->zeroed_to >= batch_end) {
        return 0;
    }
    end = end < g->size ? end : g->size;
    while (s->zeroed_to < end) {
        uint64_t size = end - s->zeroed_to;
        int rc;

        size = size < sizeof(zeros) ? size : sizeof(zeros);
        rc = file_write(&s->conf.vfs, s->active_fd, zeros, size, s->zeroed_to);
        if (rc != 0) {
            return rc;
        }
        s->zeroed_to += size;
    }
    return 0;
}

int segment_append(struct store *s, const struct store_entry *const *entries, size_t count,
                   uint64_t payload_size)
{
    const struct segment *g = &s->segments[s->segment_count - 1];
    uint64_t size = sector_blocks_size(payload_size);
    char name[FILE_NAME_SIZE];
    int rc;

    CHECK(s->active_fd >= 0);
    CHECK(s->active_offset + size <= g->size);
    batch_pack(s, entries, count, payload_size, size);
    rc = segment_zero_ahead(s, s->active_offset + size);
    if (rc == 0) {
        rc = file_write(&s->conf.vfs, s->active_fd, s->sectors, size, s->active_offset);
    }
    if (rc == 0) {
        s->syncs++;
        rc = s->conf.vfs.sync(s->conf.vfs.ctx, s->active_fd);
        if (rc != 0 && BUG(B12_SYNC_RETRIED)) {
            rc = s->conf.vfs.sync(s->conf.vfs.ctx, s->active_fd);
        }
    }
    if (rc != 0) {
        segment_name(name, g->sequence);
        return store_fail(s, ERR_IO, name, "append", rc);
    }
    s->active_offset += size;
    s->last.epoch = entries[count - 1]->epoch;
    s->last.index = entries[count - 1]->index;
    s->last.chain = entries[count - 1]->chain;
    return 0;
}
