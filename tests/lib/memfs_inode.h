#ifndef ZABFS_MEMFS_INODE_H
#define ZABFS_MEMFS_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memfs.h"
#include "prng.h"

/* A file of memfs: what a process sees now, and what the disk would hold after a power failure. */

enum { SECTOR = 512, BLOCK = 4096 };

struct inode {
    uint32_t refs; /* of names, pending operations and handles */
    uint8_t *now, *disk;
    size_t now_size, disk_size;
    size_t cap;                  /* of both */
    size_t dirty_from, dirty_to; /* written since the last sync */
    size_t drop_from, drop_to;   /* what a failed sync dropped: only this process sees it */
    int locked_by;               /* handle, or -1 */
    bool is_spoiled;             /* one block of it cannot be read */
    size_t spoiled_block;
};

struct inode *inode_new(void); /* with one reference */
struct inode *inode_ref(struct inode *i);
void inode_unref(struct inode *i);
void inode_reserve(struct inode *i, size_t size);
void inode_touch(struct inode *i, size_t from, size_t to); /* written, not synced */
void inode_sync(struct inode *i);

void inode_drop(struct inode *i);   /* a sync failed: the disk will not get what was written */
void inode_forget(struct inode *i); /* the process ended: what was dropped is seen no more */

struct inode_clones { /* a file may have several names, and others on the disk: cloned once */
    const struct inode *from[256];
    struct inode *to[256];
    size_t count;
};
/* The same, as it is, but locked by nobody. The reference is that of the table. */
struct inode *inode_clone(struct inode_clones *c, const struct inode *i);

/* Power failure: each sector, and the size, got to the disk or did not. */
void inode_crash(struct inode *i, struct prng *p, struct memfs_counts *counts);

#endif
