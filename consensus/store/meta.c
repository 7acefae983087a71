/* Identity and vote, in two files that hold the same.
 *
 * Happy path: a vote is written over meta-0 and synced, then over meta-1 and synced, and only then
 * acknowledged. Each is one 512-byte sector with a sequence number and a checksum; the newest valid
 * one wins.
 *
 * Failure modes: a crash between the two leaves an older copy in meta-1, and recovery takes either
 * the old or the new vote, which is right for one that nobody was told about. Damage to one file
 * loses nothing that was acknowledged. Recovery makes both alike again. With both unreadable the
 * member cannot know whom it voted for and must not start. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "sector.h"
#include "store_int.h"

enum {
    META_VERSION = 2,
    META_AT_MAGIC = 0,
    META_AT_VERSION = 8,
    META_AT_MEMBER = 12,
    META_AT_CLUSTER = 16,
    META_AT_INCARNATION = 32,
    META_AT_SEQUENCE = 48,
    META_AT_PROMISED = 56,
    META_AT_VOTED = 64,
};

static const char meta_magic[8] = {'Z', 'A', 'B', 'M', 'E', 'T', 'A', '\n'};
static const char *const meta_names[2] = {"meta-0", "meta-1"};
static const char *const meta_temporary_names[2] = {"meta-0.tmp", "meta-1.tmp"};

static void hash128_encode(struct hash128 h, uint8_t *to)
{
    bytes_set_u64(to, h.lo);
    bytes_set_u64(to + 8, h.hi);
}

static struct hash128 hash128_decode(const uint8_t *from)
{
    return (struct hash128){bytes_get_u64(from), bytes_get_u64(from + 8)};
}

static void meta_encode(const struct store *s, uint8_t *sector)
{
    memset(sector, 0, SECTOR_SIZE);
    memcpy(sector + META_AT_MAGIC, meta_magic, sizeof(meta_magic));
    bytes_set_u32(sector + META_AT_VERSION, META_VERSION);
    bytes_set_u32(sector + META_AT_MEMBER, s->conf.member);
    hash128_encode(s->conf.cluster, sector + META_AT_CLUSTER);
    hash128_encode(s->incarnation, sector + META_AT_INCARNATION);
    bytes_set_u64(sector + META_AT_SEQUENCE, s->meta.sequence);
    bytes_set_u64(sector + META_AT_PROMISED, s->meta.promised_epoch);
    bytes_set_u32(sector + META_AT_VOTED, s->meta.voted_for);
    sector_seal(sector, 0, 0);
}

static int meta_write(struct store *s, int i)
{
    const struct vfs *v = &s->conf.vfs;
    uint8_t sector[SECTOR_SIZE];
    int rc;

    meta_encode(s, sector);
    rc = file_write(v, s->meta_fd[i], sector, sizeof(sector), 0);
    if (rc == 0) {
        s->syncs++;
        rc = v->sync(v->ctx, s->meta_fd[i]);
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, meta_names[i], "write", rc);
}

/* Puts a file with the current content under its name, whole or not at all. */
static int meta_create(struct store *s, int i)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = v->open(v->ctx, meta_temporary_names[i], O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (rc < 0) {
        return store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, meta_names[i], "create", rc);
    }
    s->meta_fd[i] = rc;
    rc = v->allocate(v->ctx, s->meta_fd[i], SECTOR_SIZE);
    if (rc != 0) {
        return store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, meta_names[i], "create", rc);
    }
    rc = meta_write(s, i);
    if (rc != 0) {
        return rc;
    }
    rc = v->rename(v->ctx, meta_temporary_names[i], meta_names[i]);
    if (rc == 0) {
        rc = v->sync_dir(v->ctx);
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, meta_names[i], "create", rc);
}

int meta_read(struct store *s, int i, struct meta_copy *ret)
{
    const struct vfs *v = &s->conf.vfs;
    uint8_t sector[SECTOR_SIZE];
    uint32_t batch;
    ssize_t n = v->open(v->ctx, meta_names[i], O_RDWR, 0);

    *ret = (struct meta_copy){0};
    if (n < 0) {
        return store_fail(s, ERR_IO, meta_names[i], "open", (int)n);
    }
    s->meta_fd[i] = (int)n;
    n = file_read(v, s->meta_fd[i], sector, sizeof(sector), 0);
    if (n < 0 && n != -EIO) {
        return store_fail(s, ERR_IO, meta_names[i], "read", (int)n);
    }
    if (n != SECTOR_SIZE || sector_judge(sector, 0, &batch) != SECTOR_VALID ||
        memcmp(sector + META_AT_MAGIC, meta_magic, sizeof(meta_magic)) != 0) {
        store_note(s, "%s: unreadable", meta_names[i]);
        return 0;
    }
    ret->is_valid = true;
    ret->version = bytes_get_u32(sector + META_AT_VERSION);
    ret->cluster = hash128_decode(sector + META_AT_CLUSTER);
    ret->member = bytes_get_u32(sector + META_AT_MEMBER);
    ret->incarnation = hash128_decode(sector + META_AT_INCARNATION);
    ret->meta.sequence = bytes_get_u64(sector + META_AT_SEQUENCE);
    ret->meta.promised_epoch = bytes_get_u64(sector + META_AT_PROMISED);
    ret->meta.voted_for = bytes_get_u32(sector + META_AT_VOTED);
    return 0;
}

/* A valid copy must be of this format, this ensemble and this member. */
static int meta_check(struct store *s, int i, const struct meta_copy *copy)
{
    if (!copy->is_valid) {
        return 0;
    }
    if (copy->version != META_VERSION) {
        store_note(s, "%s: has format %u, and this program knows format %u only", meta_names[i],
                   copy->version, META_VERSION);
        return ERR_FORMAT;
    }
    if (!hash128_equal(copy->cluster, s->conf.cluster)) {
        store_note(s, "%s: belongs to another ensemble", meta_names[i]);
        return ERR_FOREIGN;
    }
    if (copy->member != s->conf.member) {
        store_note(s, "%s: belongs to member %u", meta_names[i], copy->member);
        return ERR_FOREIGN;
    }
    return 0;
}

int meta_judge(struct store *s, const struct meta_copy *copies, int *ret_newest)
{
    for (int i = 0; i < 2; i++) {
        int rc = meta_check(s, i, &copies[i]);

        if (rc != 0) {
            return rc;
        }
    }
    if (!copies[0].is_valid && !copies[1].is_valid) {
        store_note(s, "meta-0, meta-1: no valid copy of identity and vote");
        return ERR_CORRUPT;
    }
    if (copies[0].is_valid && copies[1].is_valid &&
        !hash128_equal(copies[0].incarnation, copies[1].incarnation)) {
        store_note(s, "meta-1: belongs to another incarnation of this member");
        return ERR_FOREIGN;
    }
    *ret_newest = !copies[0].is_valid ||
                  (copies[1].is_valid && copies[1].meta.sequence > copies[0].meta.sequence);
    return 0;
}

/* Both files as the newest valid one has it, on disk. The other file first: until it is synced the
 * newest one is the only copy. */
static int meta_repair(struct store *s, const struct file_list *files,
                       const struct meta_copy *found, int newest)
{
    int other = 1 - newest;

    s->incarnation = found[newest].incarnation;
    s->meta = found[newest].meta;
    if (!files->has_meta[other]) {
        int rc = meta_create(s, other);

        if (rc != 0) {
            return rc;
        }
    } else if (!found[other].is_valid || found[other].meta.sequence != s->meta.sequence) {
        int rc = meta_write(s, other);

        if (rc != 0) {
            return rc;
        }
    }
    /* What was read may not have reached the disk before the process that wrote it died. */
    for (int i = 0; i < 2; i++) {
        int rc = s->conf.vfs.sync(s->conf.vfs.ctx, s->meta_fd[i]);

        if (rc != 0) {
            return store_fail(s, ERR_IO, meta_names[i], "sync", rc);
        }
    }
    return 0;
}

int meta_new(struct store *s)
{
    int rc;

    s->incarnation = s->conf.incarnation;
    s->meta = (struct meta){.sequence = 1};
    rc = meta_create(s, 0);
    return rc != 0 ? rc : meta_create(s, 1);
}

int meta_open(struct store *s, const struct file_list *files)
{
    struct meta_copy found[2] = {0};
    int newest, rc;

    if (!files->has_meta[0] && !files->has_meta[1]) {
        if (files->segment_count > 0 || files->snapshot_count > 0) {
            store_note(s, "meta-0, meta-1: missing beside a log or snapshot");
            return ERR_CORRUPT;
        }
        return meta_new(s);
    }
    for (int i = 0; i < 2; i++) {
        if (files->has_meta[i]) {
            rc = meta_read(s, i, &found[i]);
            if (rc != 0) {
                return rc;
            }
        }
    }
    rc = meta_judge(s, found, &newest);
    return rc != 0 ? rc : meta_repair(s, files, found, newest);
}

int meta_save(struct store *s, uint64_t promised_epoch, uint32_t voted_for)
{
    int rc;

    CHECK(promised_epoch >= s->meta.promised_epoch);
    CHECK(promised_epoch > s->meta.promised_epoch || s->meta.voted_for == 0 ||
          voted_for == s->meta.voted_for);
    s->meta.sequence++;
    s->meta.promised_epoch = promised_epoch;
    s->meta.voted_for = voted_for;
    rc = meta_write(s, 0);
    return rc != 0 || BUG(X12_ONE_COPY_OF_VOTE) ? rc : meta_write(s, 1);
}

void meta_close(struct store *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->meta_fd[i] >= 0) {
            s->conf.vfs.close(s->conf.vfs.ctx, s->meta_fd[i]);
            s->meta_fd[i] = -1;
        }
    }
}
