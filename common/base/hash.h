#ifndef ZABFS_HASH_H
#define ZABFS_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Checksums and hashes: xxHash's XXH3 (https://xxhash.com), 64 and 128 bits. They detect damage and
 * mistakes, not an adversary. */
struct hash128 {
    uint64_t lo;
    uint64_t hi;
};

uint64_t hash64(const void *bytes, size_t size, uint64_t seed);
struct hash128 hash128(const void *bytes, size_t size);
int hash128_equal(struct hash128 a, struct hash128 b);

/* The chain that makes two logs comparable by one value: each entry's chain is the hash of the
 * chain before it, the entry's position and type, and its body. The chain before the first entry of
 * an ensemble is all zero. */
struct hash128 hash_chain(struct hash128 prev, uint64_t epoch, uint64_t index, uint8_t type,
                          const void *body, size_t size);

#endif
