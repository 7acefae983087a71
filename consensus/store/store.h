#ifndef ZABFS_STORE_H
#define ZABFS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "hash.h"
#include "vfs.h"

/* What one member keeps on disk: its promise and vote, the log, snapshots. docs/DISK_FORMAT.md has
 * every byte.
 *
 * One thread at a time: store_open() at start, which recovers, then store_run() on the storage
 * thread, one batch in flight. store_snapshot_write() is apart from the rest, so that a forked
 * child can run it beside the parent's store_run().
 *
 * A write or sync error is final: the caller ends the process, and the tail of the log is judged
 * again at the next start. Whatever is asked of the store before that fails, too. */
struct store;

struct store_pos {
    uint64_t epoch;
    uint64_t index;
    struct hash128 chain;
};

struct store_entry {
    uint64_t epoch;
    uint64_t index;
    uint8_t type;
    struct hash128 chain; /* hash_chain() over the entry before */
    struct blob *body;    /* NULL is empty */
};

struct store_conf {
    struct vfs vfs;             /* borrowed contents, must outlive the store */
    struct hash128 cluster;     /* of the ensemble; a directory of another one is refused */
    uint32_t member;            /* id; a directory of another member is refused */
    struct hash128 incarnation; /* random, used when the directory is new */
    uint32_t segment_size;      /* bytes, a multiple of 4096; STORE_SEGMENT_SIZE_DEFAULT */
    uint32_t snapshots_kept;    /* at least 2 */
};

enum { STORE_SEGMENT_SIZE_DEFAULT = 64 << 20, STORE_SEGMENT_SIZE_MIN = 64 << 10 };

/* What recovery found, in words for the log line and `zabctl status`. */
struct store_recovered {
    bool is_new;   /* nothing was ever stored but perhaps a backup: this incarnation never voted */
    bool restored; /* the snapshot is that of a backup, and nothing came after it */
    struct hash128 incarnation;
    uint64_t promised_epoch;
    uint32_t voted_for;
    bool has_snapshot;
    struct store_pos snapshot;   /* newest that verifies; index 0 without one */
    struct store_entry *entries; /* after the snapshot, contiguous, chain verified */
    size_t entry_count;
    bool torn_tail; /* the last batch was cut: it was never acknowledged */
    bool faulty;    /* damage in what may have been acknowledged: the entries end before it */
    /* Of a faulty log, the last entry it is known to have held, at or behind the last one here.
     * Epoch 0: its end cannot be read, so there may have been more, of any epoch up to the promise.
     */
    uint64_t claimed_index, claimed_epoch;
    char note[256]; /* file, offset and reason of what was found wrong, or "" */
};

/* Locks the directory and recovers. An empty directory is given its identity (files are created
 * only when all checks passed). *ret_rec is filled on success; release with store_recovered_done().
 * Errors: ERR_BUSY another process holds it, ERR_FOREIGN it belongs to another ensemble or member,
 * ERR_CORRUPT identity or votes unreadable, ERR_NOSPACE (a new directory), ERR_IO. ret_note (256
 * bytes, or NULL) then names the file and the reason. */
int store_open(const struct store_conf *conf, struct store **ret, struct store_recovered *ret_rec,
               char *ret_note);
void store_close(struct store *s);
void store_recovered_done(struct store_recovered *rec);

/* Produces the next bytes of an image; 0 at the end; STORE_PRODUCE_FAILED: there will be no more.
 */
#define STORE_PRODUCE_FAILED SIZE_MAX
typedef size_t (*store_produce_fn)(void *ctx, uint8_t *to, size_t cap);

/* Makes an empty directory that of a member which begins with the state that `produce` gives, of
 * position `pos`: store_open() then recovers it as `is_new` and `restored`. A restore that died on
 * its way is begun again; store_open() refuses what it left. Errors: as store_open(), and
 * ERR_NOTEMPTY, ERR_INTR: `produce` failed. */
int store_restore(const struct store_conf *conf, const struct store_pos *pos,
                  store_produce_fn produce, void *ctx, char *ret_note);

/* --- batches --------------------------------------------------------------------------------- */

enum store_op_type {
    STORE_OP_VOTE,
    STORE_OP_APPEND,     /* one batch on disk */
    STORE_OP_TRUNCATE,   /* drop entries after index */
    STORE_OP_SNAP_PIECE, /* bytes of a peer's snapshot, into a temporary file */
    STORE_OP_SNAP_SEAL,  /* they are all there: completed, synced, read back and verified */
    STORE_OP_SNAP_DROP,  /* ... or given up: the temporary file is removed */
    STORE_OP_INSTALL,    /* the sealed snapshot replaces log and snapshots */
    STORE_OP_PURGE,      /* a snapshot was written: drop older ones and the log that none needs */
};

struct store_op {
    enum store_op_type type;
    union {
        struct {
            uint64_t promised_epoch;
            uint32_t voted_for;
        } vote;
        struct {
            const struct store_entry *entries; /* borrowed until store_run() returns */
            size_t count;
        } append;
        uint64_t index; /* TRUNCATE */
        struct {
            uint64_t transfer; /* chosen by the caller; another number begins another transfer */
            struct store_pos pos;
            uint64_t offset;    /* 0, or where the piece before ended */
            struct blob *bytes; /* borrowed */
        } piece;
        struct {
            uint64_t transfer; /* the one whose pieces came */
            uint64_t size;     /* of all of them */
        } seal;
        struct store_pos install; /* that of the transfer that was sealed */
    } u;
    /* SNAP_PIECE, SNAP_SEAL: set by store_run(). ERR_NOSPACE: the transfer was given up, here or by
     * an operation before, and nothing of it is left. That is no failure of the batch. */
    int err;
};

struct store_batch {
    struct store_op *ops; /* store_run() sets their `err` */
    size_t count;
};

/* Carries out all operations in order; everything is durable when it returns 0. APPENDs with
 * nothing between them share one sync. Errors: ERR_NOSPACE (only before anything of the failing
 * operation was written; the store stays usable, and store_stats() says how many operations were
 * carried out: the caller runs the rest again later), ERR_IO (the process must end). ret_note (256
 * bytes, or NULL) names file and errno. */
int store_run(struct store *s, const struct store_batch *batch, char *ret_note);

/* Allocates the next segment of the log if that is still to be done: the disk was too full when the
 * last one was taken. Between two batches, now and then. Errors: ERR_NOSPACE (again), ERR_IO. */
int store_prepare(struct store *s, char *ret_note);

struct store_stats {
    uint64_t log_first, log_last; /* indexes on disk */
    uint64_t log_bytes;
    uint64_t syncs;
    size_t batch_done; /* operations that the last store_run() carried out */
    bool has_spare;    /* the next segment is allocated */
};
void store_stats(const struct store *s, struct store_stats *ret);

/* --- snapshots ------------------------------------------------------------------------------- */

/* Writes a snapshot beside the log: temporary file, checksums, sync, read back and verified,
 * rename, sync of the directory. Allocates nothing and takes no lock: for a forked child. `buffer`
 * of STORE_SNAPSHOT_BUFFER_SIZE bytes is the caller's. Errors: ERR_NOSPACE, ERR_IO; nothing is left
 * then but a temporary file that the next start removes. */
enum { STORE_SNAPSHOT_BUFFER_SIZE = 256 << 10 };
int store_snapshot_write(const struct vfs *vfs, struct hash128 cluster, const struct store_pos *pos,
                         store_produce_fn produce, void *ctx, uint8_t *buffer);

/* Removes what an unfinished store_snapshot_write() left behind, if anything. */
void store_snapshot_drop(const struct vfs *vfs, uint64_t index);

/* Reads the snapshot that recovery chose, in pieces; bytes are verified before they are handed on.
 * Errors: ERR_CORRUPT, ERR_IO, or what `consume` returned. */
typedef int (*store_consume_fn)(void *ctx, const uint8_t *bytes, size_t size);
int store_snapshot_read(struct store *s, const struct store_pos *pos, store_consume_fn consume,
                        void *ctx);

/* --- backups: the same format under any name, in any directory -------------------------------- */

struct store_image {
    struct hash128 cluster; /* of the ensemble it was taken from */
    struct store_pos pos;
    uint64_t size; /* of the image */
};

/* Written, synced, read back and verified; on failure the file is removed. The caller syncs the
 * directory. Errors: ERR_NOSPACE, ERR_IO, ERR_INTR: `produce` failed. */
int store_image_write(const struct vfs *vfs, const char *name, struct hash128 cluster,
                      const struct store_pos *pos, store_produce_fn produce, void *ctx);

/* All of it, verified; bytes are verified before they are handed on. *ret_offset (or NULL) is where
 * damage was found. Errors: ERR_CORRUPT, ERR_IO, or what `consume` returned. */
int store_image_read(const struct vfs *vfs, const char *name, struct store_image *ret,
                     store_consume_fn consume, void *ctx, uint64_t *ret_offset);

#endif
