#ifndef ZABFS_MEMFS_H
#define ZABFS_MEMFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfs.h"

/* A directory on a disk in memory, for tests and the simulator. It keeps what was written apart
 * from what was synced, so that a power failure can lose any part of the difference:
 *   - of each file, any 512-byte sectors written since its last sync, each on its own;
 *   - of the directory, any creations, removals and renames since its last sync, each on its own.
 * That is more than a journaling file system loses, and all that POSIX lets one lose. */
struct memfs;

struct memfs *memfs_new(void);
void memfs_free(struct memfs *fs);
struct memfs *memfs_copy(const struct memfs *fs); /* nothing may be open in it */
/* What a process that was killed at this moment leaves behind: memfs_crash() of it loses what it
 * would lose of `fs`. */
struct memfs *memfs_clone(const struct memfs *fs);
void memfs_vfs(struct memfs *fs, struct vfs *ret);

/* The process ends: handles and locks are gone, what was written is still there. */
void memfs_kill(struct memfs *fs);

/* The power fails, too. The same seed loses the same things. */
void memfs_crash(struct memfs *fs, uint64_t seed);

/* The process dies at a call: the `calls`-th one from now does nothing and fails, and so does every
 * one after it, until memfs_kill() or memfs_crash(). 0: never. Closing does not count. */
void memfs_die_at(struct memfs *fs, uint64_t calls);
bool memfs_is_dead(const struct memfs *fs);
void memfs_revive(struct memfs *fs); /* it was a child that died: the others go on */

/* Bytes that all files together may take; allocating or writing more fails with ENOSPC. */
void memfs_set_space(struct memfs *fs, uint64_t size);
uint64_t memfs_used(const struct memfs *fs);

/* The `calls`-th call of a kind from now fails with EIO, once; 0: none does. Ends with the process.
 * A failed write changes nothing. A failed sync drops what was to be synced, as Linux does: reads
 * still show it until the process ends, a later sync succeeds, and the disk never gets it (Rebello
 * et al., "Can applications recover from fsync failures?", USENIX ATC 2020). */
enum memfs_call { MEMFS_READ, MEMFS_WRITE, MEMFS_SYNC, MEMFS_CALL_COUNT };
void memfs_fail_at(struct memfs *fs, enum memfs_call call, uint64_t calls);

struct memfs_counts { /* of what was done to this disk */
    uint64_t failed[MEMFS_CALL_COUNT];
    uint64_t no_space;     /* calls that failed with ENOSPC */
    uint64_t sectors_lost; /* by power failures, of those written and not synced ... */
    uint64_t sectors_kept; /* ... and that got to the disk */
    uint64_t torn;         /* power failures that lost a part of one file's and kept another */
};
void memfs_counts(const struct memfs *fs, struct memfs_counts *ret);

/* For damage. The bytes of a file, on disk and as read, may be changed with memfs_set(). */
const uint8_t *memfs_bytes(const struct memfs *fs, const char *name,
                           size_t *ret_size); /* or NULL */
void memfs_set(struct memfs *fs, const char *name, size_t offset, const void *bytes, size_t size);
void memfs_flip(struct memfs *fs, const char *name, size_t offset); /* one bit */
void memfs_shorten(struct memfs *fs, const char *name, size_t size);
void memfs_spoil(struct memfs *fs, const char *name, size_t block); /* reading it fails with EIO */
void memfs_remove(struct memfs *fs, const char *name);
bool memfs_has(const struct memfs *fs, const char *name);

/* The n-th name in order of creation; NULL behind the last. */
const char *memfs_name(const struct memfs *fs, size_t n);

#endif
