#ifndef ZABFS_SECTOR_H
#define ZABFS_SECTOR_H

#include <stddef.h>
#include <stdint.h>

/* The unit that a disk writes as a whole, made self-describing: 500 bytes of payload, the batch
 * they belong to, and a checksum seeded with the sector's place. So any sector of a log can be told
 * to be never written (all zero), written as meant, or damaged, whatever the state of its
 * neighbours. The rule that cuts a torn batch and keeps a damaged one rests on this; see
 * docs/DISK_FORMAT.md. */
enum {
    SECTOR_SIZE = 512,
    SECTOR_PAYLOAD_SIZE = 500,
    BLOCK_SIZE = 4096, /* batches start on a multiple of it */
};

enum sector_state { SECTOR_ZERO, SECTOR_VALID, SECTOR_BAD };

/* Completes a sector whose payload is in place. `batch` is the block number where its batch starts,
 * `seed` that of its place. */
void sector_seal(uint8_t *sector, uint32_t batch, uint64_t seed);

/* *ret_batch is set when the sector is valid. */
enum sector_state sector_judge(const uint8_t *sector, uint64_t seed, uint32_t *ret_batch);

/* Sectors and blocks that hold `size` bytes of payload. */
uint64_t sector_count(uint64_t size);
uint64_t sector_blocks_size(uint64_t size);

#endif
