#include "sector.h"

#include <string.h>

#include "bytes.h"
#include "hash.h"

enum { AT_BATCH = SECTOR_PAYLOAD_SIZE, AT_CHECK = AT_BATCH + 4 };

_Static_assert(AT_CHECK + 8 == SECTOR_SIZE, "the checksum ends the sector");

void sector_seal(uint8_t *sector, uint32_t batch, uint64_t seed)
{
    bytes_set_u32(sector + AT_BATCH, batch);
    bytes_set_u64(sector + AT_CHECK, hash64(sector, AT_CHECK, seed));
}

enum sector_state sector_judge(const uint8_t *sector, uint64_t seed, uint32_t *ret_batch)
{
    static const uint8_t zeros[SECTOR_SIZE];

    if (memcmp(sector, zeros, SECTOR_SIZE) == 0) {
        return SECTOR_ZERO;
    }
    if (bytes_get_u64(sector + AT_CHECK) != hash64(sector, AT_CHECK, seed)) {
        return SECTOR_BAD;
    }
    *ret_batch = bytes_get_u32(sector + AT_BATCH);
    return SECTOR_VALID;
}

uint64_t sector_count(uint64_t size)
{
    return (size + SECTOR_PAYLOAD_SIZE - 1) / SECTOR_PAYLOAD_SIZE;
}

uint64_t sector_blocks_size(uint64_t size)
{
    uint64_t bytes = sector_count(size) * SECTOR_SIZE;

    return (bytes + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}
