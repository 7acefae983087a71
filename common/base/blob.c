#include "blob.h"

#include <string.h>

#include "check.h"
#include "mem.h"

struct blob *blob_new_uninit(size_t size)
{
    struct blob *b;

    CHECK(size < UINT32_MAX);
    b = mem_alloc(sizeof(*b) + size);
    b->refs = 1;
    b->size = (uint32_t)size;
    return b;
}

struct blob *blob_new(const void *bytes, size_t size)
{
    struct blob *b = blob_new_uninit(size);

    if (size > 0) {
        memcpy(b->data, bytes, size);
    }
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    if (b != NULL) {
        CHECK(b->refs > 0);
        b->refs++;
    }
    return b;
}

void blob_unref(struct blob *b)
{
    if (b == NULL) {
        return;
    }
    CHECK(b->refs > 0);
    if (--b->refs == 0) {
        mem_free(b);
    }
}
