#include "bytes.h"

#include "mem.h"

void buf_done(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

void buf_grow(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : 64;

    while (cap - b->size < more) {
        cap *= 2;
    }
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}
