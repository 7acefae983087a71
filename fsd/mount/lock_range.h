#ifndef ZABFS_LOCK_RANGE_H
#define ZABFS_LOCK_RANGE_H

#include <stddef.h>
#include <stdint.h>

#include "msg.h"

/* What one owner holds of one file, as far as this mount was told: pieces in order that do not
 * overlap. Zero-initialised is nothing. */
struct lock_piece {
    uint64_t start, end; /* end included */
    enum lock_type type;
};

struct lock_ranges {
    struct lock_piece *pieces;
    size_t count;
};

/* The range has this type now, LOCK_TYPE_NONE: is free. */
void lock_ranges_set(struct lock_ranges *r, uint64_t start, uint64_t end, enum lock_type type);
/* The longest piece that begins at `start`, is all of one type (or of none), and ends at `end` at
 * the latest. */
struct lock_piece lock_ranges_at(const struct lock_ranges *r, uint64_t start, uint64_t end);
void lock_ranges_done(struct lock_ranges *r);

#endif
