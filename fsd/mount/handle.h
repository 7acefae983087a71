#ifndef ZABFS_HANDLE_H
#define ZABFS_HANDLE_H

#include "mount_int.h"
#include "stage.h"

enum handle_kind {
    HANDLE_FILE,
    HANDLE_DIR,
    HANDLE_CONTROL, /* a file or directory of .zabfs, see control.h; `snapshot` is its text */
    HANDLE_LOCAL,   /* see local.h */
    HANDLE_REPLAY,  /* opened by a replay helper: carries nothing */
};

struct dir_page { /* one answer to READDIR, served in pieces */
    uint64_t index;
    uint64_t after; /* it holds what follows this cookie ... */
    bool end;       /* ... and nothing comes after it */
    uint32_t count;
    struct dirent_plus *entries;
    char *names;
};

/* An open file description of the kernel's; fi->fh points to it. */
struct handle {
    enum handle_kind kind;
    struct inode *inode;      /* held; of HANDLE_FILE and HANDLE_DIR, else NULL */
    struct local_file *local; /* held; of HANDLE_LOCAL, else NULL */
    uint32_t session_count;   /* of the mount when it was opened; a later session ended it */

    /* Reading: what the file was when it was opened. */
    struct blob *snapshot;
    bool snapshot_old; /* an append or a cut through this handle came after it */
    bool read_to_end;  /* by the last read */
    bool locked;       /* a lock was asked for, and nothing read since */

    /* Writing, see op_write.c. */
    bool writable;     /* see handle_make_writable() */
    int32_t user;      /* the thread that opened it, or wrote last */
    bool append;       /* each write goes out at once */
    bool append_stage; /* O_APPEND that also truncated: writes go to the end of the stage */
    bool blind;        /* commits replace whatever is there */
    uint64_t version;  /* that a commit expects, unless blind */
    struct stage stage;
    bool dirty;      /* the stage has bytes that were not committed */
    bool cut;        /* truncated by open, and neither written nor committed since */
    bool wrote;      /* a write was accepted */
    bool mtime_kept; /* the file's time was set to mtime_ns after the last write */
    int64_t mtime_ns;
    bool flushed_first; /* by FLUSH, before any write: the mark of a shell redirection */
    bool confirmed;     /* a quorum answered since */
    int refused_errno;  /* a write was refused: all of the change is off, unless truncated to 0 */

    uint64_t ephemeral; /* node that ends with it; 0: none */
    bool flocked;       /* maybe; then by this owner */
    uint64_t flock_owner;
    struct inode_ids posix_owners; /* that locked through it, and no FLUSH told of their end */

    const struct control_file *control; /* NULL: reads from `snapshot` */
    struct control_node *control_node;  /* pinned, or NULL */
    uint64_t control_dir;               /* a directory without a node: its id */
    void *control_state;                /* of the file's own operations */

    bool polled;                         /* by anybody, ever: then it is in inode->polled */
    bool poll_missed;                    /* its value may have changed unseen */
    struct fuse_pollhandle *poll_handle; /* of whoever waits; owned */
    uint64_t shown_version;              /* that its readers know of */
    struct handle *poll_prev, *poll_next;

    struct dir_page page;
    struct handle *prev, *next; /* in mount.handles */
};

struct handle *handle_new(struct mount *m, enum handle_kind kind, struct inode *i);
void handle_make_writable(struct handle *h); /* a HANDLE_FILE */
void handle_free(struct mount *m, struct handle *h);
void handle_end(struct mount *m, struct handle *h); /* ... and what was to end with it */

/* NULL if the request has none. */
struct handle *handle_of(const struct fuse_file_info *fi);

/* The session that it was opened in has ended: every operation on it is ESTALE. */
bool handle_is_expired(const struct mount *m, const struct handle *h);

/* Open files of `from` are open files of `to` from now on: a rename has put the one in the place of
 * the other, which has the version `version` by that. */
void handle_repoint(struct mount *m, struct inode *from, struct inode *to, uint64_t version);

/* It has bytes, or a truncation, that are to be committed. */
bool handle_has_changes(const struct handle *h);

/* An open file of the inode has. */
bool handle_changes(const struct mount *m, const struct inode *i);

/* The open file through which this process changes the inode, if that is not committed; NULL: none.
 * For fstat(), which does not say through which descriptor it asks. */
const struct handle *handle_of_writer(const struct mount *m, const struct inode *i, int32_t thread);

/* What it shows to its own descriptor. Borrowed. */
void handle_content(const struct handle *h, const uint8_t **ret_bytes, size_t *ret_size);

/* Makes the stage hold what the handle shows. */
void handle_stage(struct handle *h);

void dir_page_done(struct dir_page *p);

#endif
