#include "hash.h"

#include <xxhash.h>

#include "bytes.h"

uint64_t hash64(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

struct hash128 hash128(const void *bytes, size_t size)
{
    XXH128_hash_t h = XXH3_128bits(bytes, size);

    return (struct hash128){h.low64, h.high64};
}

int hash128_equal(struct hash128 a, struct hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

struct hash128 hash_chain(struct hash128 prev, uint64_t epoch, uint64_t index, uint8_t type,
                          const void *body, size_t size)
{
    struct hash128 of_body = hash128(body, size);
    uint8_t at[16 + 8 + 8 + 8 + 16];

    bytes_set_u64(at, prev.lo);
    bytes_set_u64(at + 8, prev.hi);
    bytes_set_u64(at + 16, epoch);
    bytes_set_u64(at + 24, index);
    bytes_set_u64(at + 32, type);
    bytes_set_u64(at + 40, of_body.lo);
    bytes_set_u64(at + 48, of_body.hi);
    return hash128(at, sizeof(at));
}
