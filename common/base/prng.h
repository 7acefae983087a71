#ifndef ZABFS_PRNG_H
#define ZABFS_PRNG_H

#include <stdint.h>

/* Seeded generator for timeouts and tests: splitmix64 (Steele, Lea, Flood, OOPSLA 2014). Not for
 * secrets. The same seed gives the same sequence everywhere. */
struct prng {
    uint64_t state;
};

uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t bound); /* 0 .. bound-1; bound > 0 */

#endif
