/* Reading one segment back, and the judgement on what ends it: docs/DISK_FORMAT.md, "What ends a
 * log".
 *
 * Happy path: batches follow one another, each on the next free block, each entry chaining on the
 * one before; behind the last one there are only zeros.
 *
 * Failure modes: the first batch that is not whole, or does not chain, ends the segment. It counts
 * as torn only if nothing behind the last good batch is there but zeros and valid sectors of that
 * one batch, some of them missing. Everything else is damage. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "err.h"
#include "limits.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

struct scanner {
    const uint8_t *bytes; /* of the whole file */
    uint64_t size;
    uint64_t seed;
    uint64_t limit;
    segment_visit_fn visit;
    void *ctx;
    struct segment_scan *out;
    uint8_t *payload; /* of the current batch */
};

static enum sector_state judge(const struct scanner *c, uint64_t offset, uint32_t *ret_batch)
{
    return sector_judge(c->bytes + offset, c->seed + offset / SECTOR_SIZE, ret_batch);
}

/* The header of a batch that starts at offset, as far as its own sector can tell. */
static bool batch_header_at(const struct scanner *c, uint64_t offset, struct batch_header *ret)
{
    uint32_t batch;

    return offset + BLOCK_SIZE <= c->size && judge(c, offset, &batch) == SECTOR_VALID &&
           batch == offset / BLOCK_SIZE && batch_header_decode(c->bytes + offset, ret);
}

/* True if all sectors of the batch are there; then its payload is gathered. */
static bool batch_load(struct scanner *c, uint64_t offset, struct batch_header *ret)
{
    struct batch_header h;
    uint64_t sectors;

    if (!batch_header_at(c, offset, &h) || sector_blocks_size(h.size) > c->size - offset) {
        return false;
    }
    sectors = sector_count(h.size);
    c->payload = mem_realloc(c->payload, sectors * SECTOR_PAYLOAD_SIZE);
    for (uint64_t i = 0; i < sectors; i++) {
        uint64_t at = offset + i * SECTOR_SIZE;
        uint32_t batch;

        if (judge(c, at, &batch) != SECTOR_VALID || batch != offset / BLOCK_SIZE) {
            return false;
        }
        memcpy(c->payload + i * SECTOR_PAYLOAD_SIZE, c->bytes + at, SECTOR_PAYLOAD_SIZE);
    }
    *ret = h;
    return true;
}

/* One entry from the payload, checked against the entry before it. */
static bool entry_decode(struct cursor *c, const struct store_pos *before, struct store_entry *ret,
                         const uint8_t **ret_bytes, size_t *ret_size)
{
    struct store_entry e = {.index = before->index + 1};
    const uint8_t *header, *bytes;
    struct hash128 chain;
    uint32_t size;

    if (!cur_bytes(c, ENTRY_HEADER_SIZE, &header)) {
        return false;
    }
    size = bytes_get_u32(header);
    e.type = header[4];
    e.epoch = bytes_get_u64(header + 8);
    e.chain = (struct hash128){bytes_get_u64(header + 16), bytes_get_u64(header + 24)};
    if (size > ENTRY_SIZE_MAX || e.epoch < before->epoch || !cur_bytes(c, size, &bytes)) {
        return false;
    }
    chain = hash_chain(before->chain, e.epoch, e.index, e.type, bytes, size);
    if (!hash128_equal(chain, e.chain)) {
        return false;
    }
    *ret = e;
    *ret_bytes = bytes;
    *ret_size = size;
    return true;
}

/* False at a break of the chain. */
static bool batch_visit(struct scanner *c, const struct batch_header *h)
{
    struct cursor cur = cur_make(c->payload + BATCH_HEADER_SIZE, h->size - BATCH_HEADER_SIZE);
    struct store_pos *last = &c->out->last;

    if (h->first_index != last->index + 1) {
        return false;
    }
    for (uint32_t i = 0; i < h->entry_count && last->index < c->limit; i++) {
        const uint8_t *bytes;
        struct store_entry e;
        size_t size;

        if (!entry_decode(&cur, last, &e, &bytes, &size)) {
            return false;
        }
        *last = (struct store_pos){e.epoch, e.index, e.chain};
        if (c->visit != NULL) {
            c->visit(c->ctx, &e, bytes, size);
        }
    }
    return true;
}

/* Of what is there behind the last good batch, `batch_offset`. */
static void tail_judge(struct scanner *c, uint64_t batch_offset)
{
    struct segment_scan *out = c->out;
    struct batch_header h;
    bool is_empty = true;
    uint64_t end = c->size; /* of the batch, once its header is known */
    uint32_t batch;

    if (batch_offset >= c->size) {
        out->end = SEGMENT_CLEAN;
        return;
    }
    if (judge(c, batch_offset, &batch) == SECTOR_VALID) {
        if (!batch_header_at(c, batch_offset, &h) || h.first_index != out->last.index + 1 ||
            sector_blocks_size(h.size) > c->size - batch_offset) {
            out->reason = "a batch that does not follow the one before";
            return;
        }
        end = batch_offset + sector_count(h.size) * SECTOR_SIZE;
    }
    for (uint64_t at = batch_offset; at < c->size; at += SECTOR_SIZE) {
        switch (judge(c, at, &batch)) {
        case SECTOR_ZERO:
            break;
        case SECTOR_BAD:
            out->reason = "a sector neither empty nor valid";
            return;
        case SECTOR_VALID:
            if (batch != batch_offset / BLOCK_SIZE || at >= end) {
                out->reason = "valid data behind a hole";
                return;
            }
            is_empty = false;
            break;
        }
    }
    if (!is_empty) {
        out->reason = "the last batch is incomplete";
    }
    out->end = is_empty ? SEGMENT_CLEAN : SEGMENT_TORN;
}

/* Epoch of the last entry of the batch that is loaded; 0: it is not a batch after all. */
static uint64_t batch_last_epoch(const struct scanner *c, const struct batch_header *h)
{
    struct cursor cur = cur_make(c->payload + BATCH_HEADER_SIZE, h->size - BATCH_HEADER_SIZE);
    const uint8_t *header = NULL, *body;

    for (uint32_t i = 0; i < h->entry_count; i++) {
        if (!cur_bytes(&cur, ENTRY_HEADER_SIZE, &header) ||
            !cur_bytes(&cur, bytes_get_u32(header), &body)) {
            return 0;
        }
    }
    return header != NULL ? bytes_get_u64(header + 8) : 0;
}

static bool is_empty_from(const struct scanner *c, uint64_t from)
{
    uint32_t batch;

    for (uint64_t at = from; at < c->size; at += SECTOR_SIZE) {
        if (judge(c, at, &batch) != SECTOR_ZERO) {
            return false;
        }
    }
    return true;
}

/* Damage: the headers of batches behind tell how far the log had come. Where it ended is known if
 * the last of these batches is whole, nothing is behind it, and no part of the file is missing. */
static void tail_claim(struct scanner *c, uint64_t from, uint64_t size_wanted)
{
    struct store_pos claimed = {.index = c->out->last.index + 1};
    uint64_t end = 0; /* of the last batch, if that is whole */

    for (uint64_t at = from; at + BLOCK_SIZE <= c->size; at += BLOCK_SIZE) {
        struct batch_header h;

        if (!batch_header_at(c, at, &h) || h.first_index - 1 + h.entry_count < claimed.index) {
            continue;
        }
        claimed.index = h.first_index - 1 + h.entry_count;
        end = 0;
        if (batch_load(c, at, &h)) {
            claimed.epoch = batch_last_epoch(c, &h);
            end = at + sector_blocks_size(h.size);
        }
    }
    if (end == 0 || c->size < size_wanted || !is_empty_from(c, end)) {
        claimed.epoch = 0;
    }
    if (claimed.index > c->limit) {
        claimed = (struct store_pos){.index = c->limit};
    }
    c->out->claimed = claimed;
}

static void scan_batches(struct scanner *c, uint64_t size_wanted)
{
    struct segment_scan *out = c->out;
    uint64_t offset = BLOCK_SIZE;
    struct batch_header h;

    while (out->last.index < c->limit) {
        out->offset = offset;
        if (offset >= c->size || !batch_load(c, offset, &h)) {
            break;
        }
        if (!batch_visit(c, &h)) {
            out->reason = "the chain of entries is broken";
            break;
        }
        offset += sector_blocks_size(h.size);
    }
    if (out->last.index >= c->limit) {
        out->end = SEGMENT_REACHED;
        out->offset = offset;
        return;
    }
    out->end = SEGMENT_DAMAGED;
    if (out->reason == NULL && c->size < size_wanted) {
        out->reason = "the file is shorter than it was";
    } else if (out->reason == NULL) {
        tail_judge(c, offset);
    }
    if (out->end == SEGMENT_DAMAGED && BUG(B11_CUT_AT_DAMAGE)) {
        out->end = SEGMENT_TORN;
    } else if (out->end == SEGMENT_DAMAGED) {
        tail_claim(c, offset, size_wanted);
    }
}

/* The file's bytes, as many as there are. A block that the disk cannot read comes as 0xff, which no
 * valid sector is: one bad place shall not keep the rest from being read. */
static ssize_t read_what_can_be(const struct vfs *v, int fd, uint8_t *to, uint64_t size)
{
    uint64_t done = 0;
    ssize_t n = file_read(v, fd, to, size, 0);

    if (n != -EIO) {
        return n;
    }
    while (done < size) {
        size_t block = size - done < BLOCK_SIZE ? size - done : BLOCK_SIZE;

        n = file_read(v, fd, to + done, block, done);
        if (n == -EIO) {
            memset(to + done, 0xff, block);
            n = (ssize_t)block;
        }
        if (n <= 0) {
            return n < 0 ? n : (ssize_t)done;
        }
        done += (uint64_t)n;
    }
    return (ssize_t)done;
}

int segment_scan(struct store *s, const struct segment *g, uint64_t limit, segment_visit_fn visit,
                 void *ctx, struct segment_scan *ret)
{
    const struct vfs *v = &s->conf.vfs;
    struct segment_scan out = {.last = g->before};
    struct scanner c = {
        .seed = segment_seed(s, g->sequence),
        .limit = limit,
        .visit = visit,
        .ctx = ctx,
        .out = &out,
    };
    uint64_t size = g->size < g->size_found ? g->size : g->size_found;
    char name[FILE_NAME_SIZE];
    uint8_t *bytes;
    ssize_t n;
    int fd;

    segment_name(name, g->sequence);
    fd = v->open(v->ctx, name, O_RDWR, 0);
    if (fd < 0) {
        return store_fail(s, ERR_IO, name, "open", fd);
    }
    bytes = mem_alloc(size);
    n = read_what_can_be(v, fd, bytes, size);
    v->close(v->ctx, fd);
    if (n < 0) {
        mem_free(bytes);
        return store_fail(s, ERR_IO, name, "read", (int)n);
    }
    c.bytes = bytes;
    c.size = (uint64_t)n / BLOCK_SIZE * BLOCK_SIZE;
    scan_batches(&c, g->size);
    mem_free(c.payload);
    mem_free(bytes);
    *ret = out;
    return 0;
}
