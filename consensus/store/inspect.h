#ifndef ZABFS_INSPECT_H
#define ZABFS_INSPECT_H

#include "store.h"

/* What a member's directory holds, and what store_open() would make of it: for `zabctl fsck`.
 * Nothing is changed: files are opened for reading only. The reading and judging is that of
 * recovery itself, so the two cannot disagree. */

enum inspect_health {
    INSPECT_SOUND,   /* all is there */
    INSPECT_MENDED,  /* damage that the next start makes good, or that nothing depends on */
    INSPECT_FAULTY,  /* the member starts, and needs the state from a leader */
    INSPECT_REFUSED, /* the member will not start */
};

struct inspect_meta {
    bool is_there, is_valid; /* else the rest is nothing */
    uint64_t sequence;
    uint64_t promised_epoch;
    uint32_t voted_for;
};

struct inspect_snapshot {
    uint64_t index;  /* as in the name */
    int err;         /* 0: whole; ERR_CORRUPT, ERR_IO */
    uint64_t offset; /* where the damage begins */
    uint64_t size;   /* of the file */
    struct store_pos pos;
};

enum inspect_segment_state {
    INSPECT_SEGMENT_SPARE,   /* prepared, not in use */
    INSPECT_SEGMENT_VOID,    /* later segments or a peer's snapshot replaced all of it */
    INSPECT_SEGMENT_WHOLE,   /* up to where its successor goes on, or its clean end */
    INSPECT_SEGMENT_TORN,    /* and a last batch that was never acknowledged */
    INSPECT_SEGMENT_DAMAGED, /* at `offset` */
    INSPECT_SEGMENT_BAD_HEADER,
};

struct inspect_segment {
    uint64_t sequence;
    uint64_t size; /* of the file */
    enum inspect_segment_state state;
    bool is_needed;       /* recovery reads it; else the newest snapshot covers it */
    uint64_t first, last; /* entries that can be read and are not replaced; first > last: none */
    uint64_t offset;      /* behind the last of these */
    const char *reason;   /* TORN, DAMAGED: in words */
};

struct inspection {
    enum inspect_health health;
    char note[256]; /* file and reason of the worst that was found, or "" */
    bool is_empty;  /* a member would begin here as new */
    bool has_identity;
    struct hash128 cluster, incarnation;
    uint32_t member;
    struct inspect_meta meta[2];
    struct inspect_snapshot *snapshots; /* rising */
    size_t snapshot_count;
    struct inspect_segment *segments; /* rising */
    size_t segment_count;
    size_t temporary_count;       /* files left by writers that died */
    int open_err;                 /* what store_open() would return */
    struct store_recovered would; /* and find; without the entries themselves */
};

/* Fills *ret; release with inspect_done(). Errors: ERR_BUSY a process has the directory, ERR_IO it
 * cannot be listed or locked. ret_note (256 bytes) then names the file and the reason. */
int inspect_run(const struct vfs *vfs, struct inspection *ret, char *ret_note);
void inspect_done(struct inspection *in);

#endif
