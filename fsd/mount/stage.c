#include "stage.h"

#include <string.h>

#include "check.h"

void stage_begin(struct stage *s, const void *bytes, size_t size)
{
    CHECK(!s->active);
    buf_put(&s->bytes, bytes, size);
    s->active = true;
}

void stage_resize(struct stage *s, uint64_t size)
{
    CHECK(s->active);
    if (size > s->bytes.size) {
        buf_reserve(&s->bytes, size - s->bytes.size);
        memset(s->bytes.data + s->bytes.size, 0, size - s->bytes.size);
    }
    s->bytes.size = size;
}

void stage_write(struct stage *s, uint64_t offset, const void *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    if (offset + size > s->bytes.size) {
        stage_resize(s, offset + size);
    }
    memcpy(s->bytes.data + offset, bytes, size);
}

void stage_done(struct stage *s)
{
    buf_done(&s->bytes);
    s->active = false;
}
