#ifndef ZABFS_STORE_INT_H
#define ZABFS_STORE_INT_H

#include "bug.h"
#include "bytes.h"
#include "store.h"

/* Parts of the store, from the disk up: file (whole reads and writes, names), sector, segment (one
 * file of the log), log (the segments together), meta (identity and vote), snap, recover, store. */

enum { NOTE_SIZE = 256, FILE_NAME_SIZE = 40 };

enum {
    LOG_SEGMENT_SIZE_MAX = 1 << 30, /* a header that claims more is damaged */
    LOG_BATCH_SIZE_MAX = 16 << 20,  /* payload of one batch; longer runs become several */
    LOG_ZERO_AHEAD_SIZE = 1 << 20,  /* see segment_append() */
};

/* --- file.c ---------------------------------------------------------------------------------- */

int file_write(const struct vfs *v, int fd, const void *bytes, size_t size, uint64_t offset);
ssize_t file_read(const struct vfs *v, int fd, void *to, size_t size, uint64_t offset); /* to EOF */

/* `snap-` and 16 hexadecimal digits; uses nothing that a forked child may not. */
void file_name(char *ret, const char *prefix, uint64_t number, const char *suffix);
bool file_name_parse(const char *name, const char *prefix, uint64_t *ret);

struct file_list { /* what the directory holds, numbers in rising order */
    uint64_t *segments;
    size_t segment_count;
    uint64_t *snapshots;
    size_t snapshot_count;
    struct buf temporary; /* NUL-terminated names */
    bool has_meta[2];
    bool is_restoring; /* the mark of a restore that was not finished */
};
int file_list(const struct vfs *v, struct file_list *ret);
void file_list_done(struct file_list *l);

/* --- the store ------------------------------------------------------------------------------- */

struct segment {
    uint64_t sequence;
    bool readable;            /* its header is valid; else the fields below are unknown */
    uint64_t size;            /* bytes of the file, as its header says */
    uint64_t size_found;      /* ... and as it is: no memory is taken for more */
    struct store_pos before;  /* its first entry comes after this one */
    struct store_pos claimed; /* the log had reached at least this when the segment began; no chain,
                                 epoch 0: not known */
};

struct meta {
    uint64_t sequence; /* counts the votes saved, identity included: 1 is a new directory */
    uint64_t promised_epoch;
    uint32_t voted_for;
};

struct store {
    struct store_conf conf;
    struct hash128 incarnation;
    struct meta meta;
    int meta_fd[2];
    int lock_fd;

    struct segment *segments; /* begun ones, sequence rising without a hole unless damaged */
    size_t segment_count;
    int active_fd;          /* of the last segment; -1: the next append begins a new one */
    uint64_t active_offset; /* where the next batch goes */
    uint64_t zeroed_to;     /* the active segment's blocks are written up to here */
    int spare_fd;           /* allocated, all zero, header not written; -1: none */
    uint64_t spare_sequence;
    uint64_t spare_size;

    struct transfer *transfer; /* a peer's snapshot that is being received, or NULL */

    struct store_pos base; /* of the snapshot that recovery or INSTALL left */
    struct store_pos last;
    struct store_pos claimed; /* above last while the log is faulty; as in struct segment */
    uint8_t *sectors;         /* of the batch being written */
    size_t sectors_cap;
    uint64_t syncs;
    bool has_failed;   /* a write or sync did: nothing is tried again, whoever asks */
    size_t batch_done; /* operations of the last store_run() */
    char note[NOTE_SIZE];
};

struct store *store_alloc(const struct store_conf *conf); /* nothing open yet */
int store_lock(struct store *s); /* Errors: ERR_BUSY, ERR_NOSPACE, ERR_IO */
int restore_check(struct store *s, const struct file_list *files); /* Errors: ERR_CORRUPT */

/* Fills the note with file, action and the text of -rc, and returns err. */
int store_fail(struct store *s, int err, const char *name, const char *action, int rc);
__attribute__((format(printf, 2, 3))) void store_note(struct store *s, const char *fmt, ...);

/* --- meta.c ---------------------------------------------------------------------------------- */

/* Opens both files, creating them in a new directory. Errors: ERR_CORRUPT, ERR_FOREIGN,
 * ERR_NOSPACE, ERR_IO. */
int meta_open(struct store *s, const struct file_list *files);
int meta_new(struct store *s); /* both files of a member that never voted */
int meta_save(struct store *s, uint64_t promised_epoch, uint32_t voted_for);

struct meta_copy { /* what one of the two files says */
    bool is_valid; /* else nothing */
    uint32_t version, member;
    struct hash128 cluster, incarnation;
    struct meta meta;
};
/* Reads copy i, which must exist. Damage is a result, not an error. Errors: ERR_IO. */
int meta_read(struct store *s, int i, struct meta_copy *ret);
/* Which of the two holds: the newest that is valid. Errors: ERR_CORRUPT, ERR_FOREIGN */
int meta_judge(struct store *s, const struct meta_copy *copies, int *ret_newest);
void meta_close(struct store *s);

/* --- segment.c, segment_scan.c: one file ------------------------------------------------------ */

void segment_name(char *ret, uint64_t sequence);
uint64_t segment_seed(const struct store *s, uint64_t sequence);

/* What the header says. *ret_is_spare: the file has no header and no first batch. Errors:
 * ERR_FOREIGN, ERR_IO. A damaged header is no error: ret->readable is false. */
int segment_read_header(struct store *s, uint64_t sequence, struct segment *ret,
                        bool *ret_is_spare);

/* Makes sure that the next segment exists, at least `size` bytes long and at least as long as
 * configured. Errors: ERR_NOSPACE, ERR_IO */
int segment_prepare(struct store *s, uint64_t size);

/* Turns the spare into the active segment, durably: the log now ends at `before`, whatever older
 * segments hold behind it. The spare must be prepared. Errors: ERR_IO */
int segment_begin(struct store *s, const struct store_pos *before, const struct store_pos *claimed);

/* The descriptor of the last segment: only segment_append() writes through it from now on. */
void segment_activate(struct store *s, int fd);

/* Writes and syncs one batch at the active offset, where it must fit. Errors: ERR_IO */
int segment_append(struct store *s, const struct store_entry *const *entries, size_t count,
                   uint64_t payload_size);
uint64_t segment_payload_size(const struct store_entry *e); /* one entry's part of a batch */

enum { BATCH_HEADER_SIZE = 24, ENTRY_HEADER_SIZE = 32 };

struct batch_header {
    uint32_t entry_count;
    uint64_t size;
    uint64_t first_index;
};
void batch_header_encode(const struct batch_header *h, uint8_t *to);
bool batch_header_decode(const uint8_t *from, struct batch_header *ret);

enum segment_end {
    SEGMENT_REACHED, /* the limit, all before it is valid */
    SEGMENT_CLEAN,   /* nothing but zeros behind the last batch */
    SEGMENT_TORN,    /* the batch behind was never acknowledged */
    SEGMENT_DAMAGED, /* something behind may have been acknowledged */
};

struct segment_scan {
    enum segment_end end;
    struct store_pos last; /* of the last valid entry up to the limit */
    uint64_t offset;       /* behind the last valid batch */
    /* DAMAGED: the highest index of which there is a trace; its epoch if that is certainly where
     * the segment ended, else 0. */
    struct store_pos claimed;
    const char *reason; /* DAMAGED, TORN: in words */
};

/* Called for each valid entry in turn; `e->body` is NULL, the bytes are borrowed. */
typedef void (*segment_visit_fn)(void *ctx, const struct store_entry *e, const uint8_t *bytes,
                                 size_t size);

/* Reads the entries of one segment up to index `limit`. Damage is a result, not an error. `visit`
 * may be NULL.
 * Errors: ERR_IO */
int segment_scan(struct store *s, const struct segment *g, uint64_t limit, segment_visit_fn visit,
                 void *ctx, struct segment_scan *ret);

/* --- log.c: all segments ---------------------------------------------------------------------- */

/* Index of the last entry of segment i that no later segment replaced. */
uint64_t log_limit(const struct store *s, size_t i);

/* Ends the log at `before`: begins the prepared segment and prepares the one after it. */
int log_begin(struct store *s, const struct store_pos *before, const struct store_pos *claimed);

/* One batch on disk of as many operations as it holds, at least one. Errors: ERR_NOSPACE, ERR_IO */
int log_append(struct store *s, const struct store_op *ops, size_t count, size_t *ret_done);
int log_truncate(struct store *s, uint64_t index);
int log_purge(struct store *s, uint64_t floor_index); /* entries up to floor are needed no more */
int log_drop_before(struct store *s, uint64_t sequence); /* all segments below */

/* --- snap.c ---------------------------------------------------------------------------------- */

struct snap_header {
    struct hash128 cluster;
    struct store_pos pos;
    uint64_t first_sequence; /* segments below are void: a peer's snapshot replaced their log */
    bool is_restored;        /* from a backup: no leader gave it */
};

/* A snapshot's file while it is written or read, block by block. */
struct snap_file {
    const struct vfs *vfs;
    int fd;
    uint64_t index;
    bool any_index; /* the header says which */
    uint8_t *piece; /* SNAP_PIECE_SIZE bytes */
    uint64_t offset;
    uint64_t number;    /* of the next piece */
    uint64_t total;     /* bytes of the image so far */
    struct hash128 all; /* over the checksums so far */
};

enum {
    SNAP_PIECE_SIZE = 64 << 10, /* on disk, header included; the last one may be shorter */
    SNAP_PIECE_HEADER_SIZE = 16,
};

/* Writes `size` bytes, which stand in f->piece behind its header, as the next block; the footer and
 * the header, and syncs. Return a negative errno. */
int snap_file_put(struct snap_file *f, size_t size);
int snap_file_end(struct snap_file *f, const struct snap_header *h);
/* The header alone, for a file that is whole but for it; read back. Errors: ERR_IO */
int snap_file_set_header(struct snap_file *f, const struct snap_header *h);
/* Reads all of a file, given vfs, index or any_index, and piece. Errors: ERR_CORRUPT, also for what
 * the disk cannot read, ERR_IO for all else, consume's. */
int snap_file_read(struct snap_file *f, const char *name, struct snap_header *ret_header,
                   store_consume_fn consume, void *ctx);

/* store_snapshot_write() for any header. */
int snap_write(const struct vfs *v, const struct snap_header *h, store_produce_fn produce,
               void *ctx, uint8_t *buffer);
/* Errors: ERR_CORRUPT, ERR_IO, consume's; *ret_header may be NULL, and so may consume. */
int snap_read(const struct vfs *v, uint64_t index, struct snap_header *ret_header,
              store_consume_fn consume, void *ctx);

/* Reads all of it; *ret_offset is where the damage begins, or the end. Errors as snap_read(). */
int snap_examine(const struct vfs *v, uint64_t index, struct snap_header *ret_header,
                 uint64_t *ret_offset);

/* What the header says, whatever is behind it. False: it cannot be read. */
bool snap_header_read(const struct vfs *v, uint64_t index, struct snap_header *ret);

/* Keeps the newest conf.snapshots_kept and removes the rest; *ret_floor_index is that of the oldest
 * one kept, 0 if there are fewer than wanted. Errors: ERR_IO */
int snap_purge(struct store *s, uint64_t *ret_floor_index);
int snap_remove_above(struct store *s, uint64_t index);
int snap_remove_below(struct store *s, uint64_t index);

/* --- snap_peer.c: a peer's snapshot, from its first piece to its installation ----------------- */

int transfer_piece(struct store *s, struct store_op *op);
int transfer_seal(struct store *s, struct store_op *op);
int transfer_drop(struct store *s);
/* Errors: ERR_NOSPACE before anything was done, ERR_IO */
int transfer_install(struct store *s, const struct store_pos *pos);
void transfer_close(struct store *s); /* what is on disk stays for the next start to remove */

/* --- recover.c ------------------------------------------------------------------------------- */

struct recover_end {       /* what recovery has to do after reading */
    bool can_append;       /* behind the last entry, in the last segment, at `offset` */
    bool has_bad_snapshot; /* newer ones do not verify, and the log reaches without: they must not
                              count as two that are kept */
    uint64_t offset;
    uint64_t first_sequence; /* segments below are void */
};

/* Snapshot and log into `rec` and the store's state; writes nothing. Errors: ERR_FOREIGN,
 * ERR_CORRUPT, ERR_IO */
int recover_read(struct store *s, const struct file_list *files, struct store_recovered *rec,
                 struct recover_end *ret_end);
/* The same, and makes the log ready to be appended to. */
int recover_run(struct store *s, const struct file_list *files, struct store_recovered *rec);

#endif
