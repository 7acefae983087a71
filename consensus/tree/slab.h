#ifndef ZABFS_SLAB_H
#define ZABFS_SLAB_H

#include <stddef.h>
#include <stdint.h>

/* Memory for the tree's millions of small pieces: a piece takes its size, rounded up to 4 bytes,
 * and no header. Pieces of one size share pages; one that is empty goes back. A piece whose size is
 * a multiple of 8 is aligned to 8, others to 4. */
enum {
    SLAB_STEP = 4,
    SLAB_SIZE_MAX = 640,
    SLAB_PAGE_SIZE = 64 << 10, /* pages are aligned to their size */
};

struct slab_page;

struct slab {
    struct slab_page *pages[SLAB_SIZE_MAX / SLAB_STEP + 1]; /* by size: those with room */
    uint64_t count;                                         /* of pieces in use */
    uint8_t **numbered; /* pages with pieces that have a number; 0 is none */
    uint32_t numbered_count, numbered_cap;
    uintptr_t unused; /* number of a page that is gone, whose place here has the next; 0: none */
};

/* Zero-initialised is empty and valid; it must not move while there are pieces. */
void slab_done(struct slab *s); /* all pieces must have been freed */

void *slab_alloc(struct slab *s, size_t size); /* 1 .. SLAB_SIZE_MAX; not initialised */
void slab_free(void *piece);

/* The same with zeros, aligned to 8. */
void *slab_zalloc(struct slab *s, size_t size);

/* A number for a piece that is aligned to 8, for as long as it lives: half as long as a pointer.
 * Never 0. */
uint32_t slab_ref(const void *piece);

enum {
    SLAB_PLACE_BITS = 13, /* of a place in a page, in units of 8 bytes */
    SLAB_PLACE_MASK = (1 << SLAB_PLACE_BITS) - 1,
};

/* The piece with this number. */
static inline void *slab_at(const struct slab *s, uint32_t ref)
{
    return s->numbered[ref >> SLAB_PLACE_BITS] + (size_t)(ref & SLAB_PLACE_MASK) * 8;
}

/* The slab that a piece is from. */
struct slab *slab_of(const void *piece);

#endif
