#ifndef ZABFS_STAGE_H
#define ZABFS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* The content that one open file is writing, until it is committed as a whole. Sizes are checked
 * against the ensemble's bound by the caller. */
struct stage {
    struct buf bytes;
    bool active; /* else the open file still shows what it was opened with */
};

void stage_begin(struct stage *s, const void *bytes, size_t size);
void stage_write(struct stage *s, uint64_t offset, const void *bytes, size_t size);
void stage_resize(struct stage *s, uint64_t size); /* cuts, or extends with zeros */
void stage_done(struct stage *s);

#endif
