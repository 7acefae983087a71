#ifndef ZABFS_FUZZ_LOG_SCRIPT_H
#define ZABFS_FUZZ_LOG_SCRIPT_H

#include "bytes.h"
#include "memfs.h"
#include "store_int.h"

/* A data directory in any state, told by a few bytes. Writing it is done from docs/DISK_FORMAT.md
 * and not with the code of the store that reads it.
 *
 * A script is a row of steps, each one byte that names it (modulo their number) and the bytes it
 * takes; it ends where the bytes end. Segments are 1 to SCRIPT_SEGMENTS, blocks and sectors count
 * from the beginning of the file; all are taken modulo what there is.
 *
 *   HEADER    segment, blocks, before index, its epoch, claimed index, change of the chain
 *   BATCH     segment, block, first index, count, then per entry: epoch, type, size, the body
 *   WRITE     segment, sector, offset (2 bytes), size, bytes: as they are
 *   SEAL      the same, and the sector's checksum made right for its place
 *   WIPE      segment, sector, count: zeros
 *   CUT       segment, blocks: the file's size
 *   SPOIL     segment, block: the disk cannot read it
 *   SNAPSHOT  index, epoch, first sequence, size of the image, change of the chain
 *
 * The chain of an entry is that of the entry last written at the index before, changed if the step
 * says so. */
enum script_step {
    SCRIPT_HEADER,
    SCRIPT_BATCH,
    SCRIPT_WRITE,
    SCRIPT_SEAL,
    SCRIPT_WIPE,
    SCRIPT_CUT,
    SCRIPT_SPOIL,
    SCRIPT_SNAPSHOT,
    SCRIPT_STEPS,
};

enum { SCRIPT_SEGMENTS = 5, SCRIPT_BLOCKS = 8 };

/* Carries out the script on an empty disk, for a store with this configuration. */
void script_run(struct cursor *script, const struct store_conf *conf, struct memfs *fs);

#endif
