#include "mem.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);

    CHECK(ptr != NULL);
    return ptr;
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    void *ptr = NULL;

    CHECK(posix_memalign(&ptr, alignment, size ? size : 1) == 0);
    return ptr;
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);

    CHECK(ptr != NULL);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    ptr = realloc(ptr, size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_dup(const void *bytes, size_t size)
{
    void *ptr = mem_alloc(size);

    if (size > 0) {
        memcpy(ptr, bytes, size);
    }
    return ptr;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void mem_free(void *ptr)
{
    free(ptr);
}
