/* Snapshots: one file each, `snap-` and the index of the last entry inside.
 *
 * Happy path: header, blocks of 64 KiB each with its checksum, a footer with the total and a hash
 * over all checksums. Written under a temporary name, synced, read back from the disk and verified,
 * and only then renamed; so a file with the final name was whole once, and damage is damage.
 *
 * Failure modes: anything that goes wrong before the rename removes the temporary file; after a
 * crash the next start does. A peer's snapshot comes in pieces: snap_peer.c. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

enum {
    SNAP_VERSION = 2,
    SNAP_AT_MAGIC = 0,
    SNAP_AT_VERSION = 8,
    SNAP_AT_CLUSTER = 16,
    SNAP_AT_INDEX = 32,
    SNAP_AT_EPOCH = 40,
    SNAP_AT_CHAIN = 48,
    SNAP_AT_FIRST_SEQUENCE = 64,
    SNAP_AT_RESTORED = 72,

    PIECE_AT_CHECK = 0,
    PIECE_AT_SIZE = 8,
    PIECE_AT_KIND = 12,
    PIECE_DATA = 1,
    PIECE_FOOTER = 2,
    FOOTER_SIZE = 32,
};

_Static_assert((int)STORE_SNAPSHOT_BUFFER_SIZE >= (int)SNAP_PIECE_SIZE, "a block fits the buffer");

static const char snap_magic[8] = {'Z', 'A', 'B', 'S', 'N', 'A', 'P', '\n'};

static void snap_header_encode(const struct snap_header *h, uint8_t *sector)
{
    memset(sector, 0, SECTOR_SIZE);
    memcpy(sector + SNAP_AT_MAGIC, snap_magic, sizeof(snap_magic));
    bytes_set_u32(sector + SNAP_AT_VERSION, SNAP_VERSION);
    bytes_set_u64(sector + SNAP_AT_CLUSTER, h->cluster.lo);
    bytes_set_u64(sector + SNAP_AT_CLUSTER + 8, h->cluster.hi);
    bytes_set_u64(sector + SNAP_AT_INDEX, h->pos.index);
    bytes_set_u64(sector + SNAP_AT_EPOCH, h->pos.epoch);
    bytes_set_u64(sector + SNAP_AT_CHAIN, h->pos.chain.lo);
    bytes_set_u64(sector + SNAP_AT_CHAIN + 8, h->pos.chain.hi);
    bytes_set_u64(sector + SNAP_AT_FIRST_SEQUENCE, h->first_sequence);
    bytes_set_u32(sector + SNAP_AT_RESTORED, h->is_restored);
    sector_seal(sector, 0, 0);
}

/* Whether it is the header of a snapshot, of any version. */
static bool snap_header_is(const uint8_t *sector)
{
    uint32_t batch;

    return sector_judge(sector, 0, &batch) == SECTOR_VALID &&
           memcmp(sector + SNAP_AT_MAGIC, snap_magic, sizeof(snap_magic)) == 0;
}

static bool snap_header_decode(const uint8_t *sector, struct snap_header *ret)
{
    if (!snap_header_is(sector) || bytes_get_u32(sector + SNAP_AT_VERSION) != SNAP_VERSION) {
        return false;
    }
    ret->cluster.lo = bytes_get_u64(sector + SNAP_AT_CLUSTER);
    ret->cluster.hi = bytes_get_u64(sector + SNAP_AT_CLUSTER + 8);
    ret->pos.index = bytes_get_u64(sector + SNAP_AT_INDEX);
    ret->pos.epoch = bytes_get_u64(sector + SNAP_AT_EPOCH);
    ret->pos.chain.lo = bytes_get_u64(sector + SNAP_AT_CHAIN);
    ret->pos.chain.hi = bytes_get_u64(sector + SNAP_AT_CHAIN + 8);
    ret->first_sequence = bytes_get_u64(sector + SNAP_AT_FIRST_SEQUENCE);
    ret->is_restored = bytes_get_u32(sector + SNAP_AT_RESTORED) != 0;
    return true;
}

/* --- pieces: blocks and footer ---------------------------------------------------------------- */

static struct hash128 hash_next(struct hash128 all, uint64_t check)
{
    uint8_t at[24];

    bytes_set_u64(at, all.lo);
    bytes_set_u64(at + 8, all.hi);
    bytes_set_u64(at + 16, check);
    return hash128(at, sizeof(at));
}

static uint64_t piece_check(const uint8_t *piece, size_t size, uint64_t index, uint64_t number)
{
    return hash64(piece + PIECE_AT_SIZE, SNAP_PIECE_HEADER_SIZE - PIECE_AT_SIZE + size,
                  index + number);
}

static int piece_write(struct snap_file *f, uint32_t kind, size_t size)
{
    uint64_t check;
    int rc;

    bytes_set_u32(f->piece + PIECE_AT_SIZE, (uint32_t)size);
    bytes_set_u32(f->piece + PIECE_AT_KIND, kind);
    check = piece_check(f->piece, size, f->index, f->number);
    bytes_set_u64(f->piece + PIECE_AT_CHECK, check);
    rc = file_write(f->vfs, f->fd, f->piece, SNAP_PIECE_HEADER_SIZE + size, f->offset);
    f->offset += SNAP_PIECE_HEADER_SIZE + size;
    f->number++;
    f->all = hash_next(f->all, check);
    return rc;
}

static void footer_encode(const struct snap_file *f, uint8_t *to)
{
    bytes_set_u64(to, f->total);
    bytes_set_u64(to + 8, f->number);
    bytes_set_u64(to + 16, f->all.lo);
    bytes_set_u64(to + 24, f->all.hi);
}

/* What the disk cannot read is damage like any other; that it cannot be asked is not. */
static int read_failure(ssize_t n)
{
    return n == -EIO ? ERR_CORRUPT : ERR_IO;
}

/* Reads and checks the next piece. Errors: ERR_CORRUPT, ERR_IO */
static int piece_read(struct snap_file *f, uint32_t *ret_kind, size_t *ret_size)
{
    ssize_t n = file_read(f->vfs, f->fd, f->piece, SNAP_PIECE_SIZE, f->offset);
    uint64_t check;
    size_t size;

    if (n < 0) {
        return read_failure(n);
    }
    if (n < SNAP_PIECE_HEADER_SIZE) {
        return ERR_CORRUPT;
    }
    check = bytes_get_u64(f->piece + PIECE_AT_CHECK);
    size = bytes_get_u32(f->piece + PIECE_AT_SIZE);
    if (size > (size_t)n - SNAP_PIECE_HEADER_SIZE ||
        check != piece_check(f->piece, size, f->index, f->number)) {
        return ERR_CORRUPT;
    }
    *ret_kind = bytes_get_u32(f->piece + PIECE_AT_KIND);
    *ret_size = size;
    f->offset += SNAP_PIECE_HEADER_SIZE + size;
    return 0;
}

/* --- whole files ------------------------------------------------------------------------------ */

int snap_file_put(struct snap_file *f, size_t size)
{
    f->total += size;
    return piece_write(f, PIECE_DATA, size);
}

static int header_write(struct snap_file *f, const struct snap_header *h)
{
    uint8_t sector[SECTOR_SIZE];

    snap_header_encode(h, sector);
    return file_write(f->vfs, f->fd, sector, sizeof(sector), 0);
}

int snap_file_end(struct snap_file *f, const struct snap_header *h)
{
    int rc;

    footer_encode(f, f->piece + SNAP_PIECE_HEADER_SIZE);
    rc = piece_write(f, PIECE_FOOTER, FOOTER_SIZE);
    if (rc == 0) {
        rc = header_write(f, h);
    }
    return rc == 0 && !BUG(B10_SNAPSHOT_NOT_SYNCED) ? f->vfs->sync(f->vfs->ctx, f->fd) : rc;
}

int snap_file_set_header(struct snap_file *f, const struct snap_header *h)
{
    uint8_t sector[SECTOR_SIZE];
    struct snap_header found;

    if (header_write(f, h) != 0 || f->vfs->sync(f->vfs->ctx, f->fd) != 0 ||
        file_read(f->vfs, f->fd, sector, sizeof(sector), 0) != SECTOR_SIZE ||
        !snap_header_decode(sector, &found) || found.first_sequence != h->first_sequence) {
        return ERR_IO;
    }
    return 0;
}

static int snap_write_image(struct snap_file *f, const struct snap_header *h,
                            store_produce_fn produce, void *ctx)
{
    size_t cap = SNAP_PIECE_SIZE - SNAP_PIECE_HEADER_SIZE;
    bool is_end = false;
    int rc = 0;

    while (rc == 0 && !is_end) {
        size_t size = 0;

        while (size < cap && !is_end) {
            size_t n = produce(ctx, f->piece + SNAP_PIECE_HEADER_SIZE + size, cap - size);

            if (n == STORE_PRODUCE_FAILED) {
                return -ECANCELED;
            }
            size += n;
            is_end = n == 0;
        }
        if (size > 0) {
            rc = snap_file_put(f, size);
        }
    }
    return rc == 0 ? snap_file_end(f, h) : rc;
}

/* All of a file: header, every piece, footer, and nothing behind it. */
static int snap_read_pieces(struct snap_file *f, struct snap_header *ret_header,
                            store_consume_fn consume, void *ctx)
{
    struct snap_header h;
    uint8_t footer[FOOTER_SIZE];
    uint64_t file_size;
    ssize_t n = file_read(f->vfs, f->fd, f->piece, SECTOR_SIZE, 0);

    if (n < 0) {
        return read_failure(n);
    }
    if (n == SECTOR_SIZE && snap_header_is(f->piece) &&
        bytes_get_u32(f->piece + SNAP_AT_VERSION) != SNAP_VERSION) {
        return ERR_FORMAT;
    }
    if (n != SECTOR_SIZE || !snap_header_decode(f->piece, &h) ||
        (!f->any_index && h.pos.index != f->index)) {
        return ERR_CORRUPT;
    }
    f->index = h.pos.index;
    f->offset = SECTOR_SIZE;
    if (f->vfs->size(f->vfs->ctx, f->fd, &file_size) != 0) {
        return ERR_IO;
    }
    for (;;) {
        uint32_t kind;
        size_t size;
        int rc = piece_read(f, &kind, &size);

        if (rc != 0) {
            return rc;
        }
        if (kind == PIECE_FOOTER) {
            footer_encode(f, footer);
            if (size != FOOTER_SIZE || f->offset != file_size ||
                memcmp(footer, f->piece + SNAP_PIECE_HEADER_SIZE, FOOTER_SIZE) != 0) {
                return ERR_CORRUPT;
            }
            break;
        }
        if (kind != PIECE_DATA || size == 0) {
            return ERR_CORRUPT;
        }
        f->number++;
        f->total += size;
        f->all = hash_next(f->all, bytes_get_u64(f->piece + PIECE_AT_CHECK));
        rc = consume != NULL ? consume(ctx, f->piece + SNAP_PIECE_HEADER_SIZE, size) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    if (ret_header != NULL) {
        *ret_header = h;
    }
    return 0;
}

int snap_file_read(struct snap_file *f, const char *name, struct snap_header *ret_header,
                   store_consume_fn consume, void *ctx)
{
    int rc;

    f->fd = f->vfs->open(f->vfs->ctx, name, O_RDWR, 0);
    if (f->fd < 0) {
        return ERR_IO;
    }
    rc = snap_read_pieces(f, ret_header, consume, ctx);
    f->vfs->close(f->vfs->ctx, f->fd);
    return rc;
}

int snap_read(const struct vfs *v, uint64_t index, struct snap_header *ret_header,
              store_consume_fn consume, void *ctx)
{
    struct snap_file f = {.vfs = v, .index = index, .piece = mem_alloc(SNAP_PIECE_SIZE)};
    char name[FILE_NAME_SIZE];
    int rc;

    file_name(name, "snap-", index, "");
    rc = snap_file_read(&f, name, ret_header, consume, ctx);
    mem_free(f.piece);
    return rc;
}

int snap_examine(const struct vfs *v, uint64_t index, struct snap_header *ret_header,
                 uint64_t *ret_offset)
{
    struct snap_file f = {.vfs = v, .index = index, .piece = mem_alloc(SNAP_PIECE_SIZE)};
    char name[FILE_NAME_SIZE];
    int rc;

    file_name(name, "snap-", index, "");
    rc = snap_file_read(&f, name, ret_header, NULL, NULL);
    mem_free(f.piece);
    *ret_offset = f.offset;
    return rc;
}

/* A whole file, verified from the disk; or none. */
static int snap_write_file(const struct vfs *v, const struct snap_header *h, const char *name,
                           store_produce_fn produce, void *ctx, uint8_t *buffer)
{
    struct snap_file f = {.vfs = v, .index = h->pos.index, .piece = buffer, .offset = SECTOR_SIZE};
    struct snap_file back = {.vfs = v, .index = h->pos.index, .piece = buffer};
    int rc;

    f.fd = v->open(v->ctx, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (f.fd < 0) {
        return f.fd == -ENOSPC ? ERR_NOSPACE : ERR_IO;
    }
    rc = snap_write_image(&f, h, produce, ctx);
    v->close(v->ctx, f.fd);
    if (rc != 0) {
        rc = rc == -ENOSPC ? ERR_NOSPACE : rc == -ECANCELED ? ERR_INTR : ERR_IO;
    } else {
        rc = snap_file_read(&back, name, NULL, NULL, NULL) == 0 ? 0 : ERR_IO;
    }
    if (rc != 0) {
        v->unlink(v->ctx, name);
    }
    return rc;
}

int snap_write(const struct vfs *v, const struct snap_header *h, store_produce_fn produce,
               void *ctx, uint8_t *buffer)
{
    char temporary[FILE_NAME_SIZE], name[FILE_NAME_SIZE];
    int rc;

    file_name(name, "snap-", h->pos.index, "");
    file_name(temporary, "snap-", h->pos.index, ".tmp");
    rc = snap_write_file(v, h, temporary, produce, ctx, buffer);
    if (rc != 0) {
        return rc;
    }
    if (v->rename(v->ctx, temporary, name) != 0 || v->sync_dir(v->ctx) != 0) {
        return ERR_IO;
    }
    return 0;
}

int store_snapshot_write(const struct vfs *vfs, struct hash128 cluster, const struct store_pos *pos,
                         store_produce_fn produce, void *ctx, uint8_t *buffer)
{
    struct snap_header h = {.cluster = cluster, .pos = *pos};

    return snap_write(vfs, &h, produce, ctx, buffer);
}

void store_snapshot_drop(const struct vfs *vfs, uint64_t index)
{
    char temporary[FILE_NAME_SIZE];

    file_name(temporary, "snap-", index, ".tmp");
    (void)vfs->unlink(vfs->ctx, temporary); /* not there: nothing was left */
}

int store_image_write(const struct vfs *vfs, const char *name, struct hash128 cluster,
                      const struct store_pos *pos, store_produce_fn produce, void *ctx)
{
    struct snap_header h = {.cluster = cluster, .pos = *pos};
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    int rc = snap_write_file(vfs, &h, name, produce, ctx, buffer);

    mem_free(buffer);
    return rc;
}

int store_image_read(const struct vfs *vfs, const char *name, struct store_image *ret,
                     store_consume_fn consume, void *ctx, uint64_t *ret_offset)
{
    struct snap_file f = {.vfs = vfs, .any_index = true, .piece = mem_alloc(SNAP_PIECE_SIZE)};
    struct snap_header h;
    int rc = snap_file_read(&f, name, &h, consume, ctx);

    mem_free(f.piece);
    if (ret_offset != NULL) {
        *ret_offset = f.offset;
    }
    if (rc == 0) {
        *ret = (struct store_image){.cluster = h.cluster, .pos = h.pos, .size = f.total};
    }
    return rc;
}

/* --- which to keep ---------------------------------------------------------------------------- */

/* Header and footer only: the blocks were verified when the file was written, and are again when it
 * is read at start. Reading them here would hold up the log. */
static bool snap_looks_whole(const struct vfs *v, uint64_t index)
{
    uint8_t sector[SECTOR_SIZE], end[SNAP_PIECE_HEADER_SIZE + FOOTER_SIZE];
    char name[FILE_NAME_SIZE];
    struct snap_header h;
    uint64_t size;
    bool is_whole = false;
    int fd;

    file_name(name, "snap-", index, "");
    fd = v->open(v->ctx, name, O_RDWR, 0);
    if (fd < 0) {
        return false;
    }
    if (v->size(v->ctx, fd, &size) == 0 && size >= SECTOR_SIZE + sizeof(end) &&
        file_read(v, fd, sector, sizeof(sector), 0) == SECTOR_SIZE &&
        file_read(v, fd, end, sizeof(end), size - sizeof(end)) == (ssize_t)sizeof(end)) {
        uint64_t number = bytes_get_u64(end + SNAP_PIECE_HEADER_SIZE + 8);

        is_whole =
            snap_header_decode(sector, &h) && h.pos.index == index &&
            bytes_get_u64(end + PIECE_AT_CHECK) == piece_check(end, FOOTER_SIZE, index, number);
    }
    v->close(v->ctx, fd);
    return is_whole;
}

bool snap_header_read(const struct vfs *v, uint64_t index, struct snap_header *ret)
{
    uint8_t sector[SECTOR_SIZE];
    char name[FILE_NAME_SIZE];
    struct snap_header h;
    bool is_valid;
    int fd;

    file_name(name, "snap-", index, "");
    fd = v->open(v->ctx, name, O_RDWR, 0);
    if (fd < 0) {
        return false;
    }
    is_valid = file_read(v, fd, sector, sizeof(sector), 0) == SECTOR_SIZE &&
               snap_header_decode(sector, &h) && h.pos.index == index;
    v->close(v->ctx, fd);
    if (is_valid) {
        *ret = h;
    }
    return is_valid;
}

static int snap_remove(struct store *s, uint64_t index)
{
    char name[FILE_NAME_SIZE];
    int rc;

    file_name(name, "snap-", index, "");
    rc = s->conf.vfs.unlink(s->conf.vfs.ctx, name);
    if (rc != 0) {
        return store_fail(s, ERR_IO, name, "remove", rc);
    }
    rc = s->conf.vfs.sync_dir(s->conf.vfs.ctx);
    return rc == 0 ? 0 : store_fail(s, ERR_IO, "directory", "sync", rc);
}

int snap_purge(struct store *s, uint64_t *ret_floor_index)
{
    struct file_list files;
    uint64_t floor_index = 0;
    uint32_t kept = 0;
    int rc = file_list(&s->conf.vfs, &files);

    if (rc != 0) {
        return store_fail(s, ERR_IO, "directory", "list", rc);
    }
    for (size_t i = files.snapshot_count; rc == 0 && i-- > 0;) {
        uint64_t index = files.snapshots[i];

        if (kept == s->conf.snapshots_kept) {
            rc = snap_remove(s, index);
        } else if (snap_looks_whole(&s->conf.vfs, index)) {
            kept++;
            floor_index = index;
        } /* else it stays: the read may have failed only now, and the log may rest on it */
    }
    file_list_done(&files);
    if (rc == 0) {
        *ret_floor_index = kept == s->conf.snapshots_kept ? floor_index : 0;
    }
    return rc;
}

static int snap_remove_range(struct store *s, uint64_t first, uint64_t last)
{
    struct file_list files;
    int rc = file_list(&s->conf.vfs, &files);

    if (rc != 0) {
        return store_fail(s, ERR_IO, "directory", "list", rc);
    }
    for (size_t i = files.snapshot_count; rc == 0 && i-- > 0;) {
        if (files.snapshots[i] >= first && files.snapshots[i] <= last) {
            rc = snap_remove(s, files.snapshots[i]);
        }
    }
    file_list_done(&files);
    return rc;
}

int snap_remove_above(struct store *s, uint64_t index)
{
    return snap_remove_range(s, index + 1, UINT64_MAX);
}

int snap_remove_below(struct store *s, uint64_t index)
{
    return index == 0 ? 0 : snap_remove_range(s, 0, index - 1);
}
