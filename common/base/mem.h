#ifndef ZABFS_MEM_H
#define ZABFS_MEM_H

#include <stddef.h>

/* Allocation that cannot fail: sizes are checked against limits.h before they get here, and a
 * process that is out of memory all the same aborts. A replica survives its own crash by design, so
 * there are no out-of-memory branches to get wrong. Release with mem_free(). */
void *mem_alloc(size_t size);                           /* uninitialised */
void *mem_alloc_aligned(size_t alignment, size_t size); /* ... at a multiple of a power of two */
void *mem_zalloc(size_t size);                          /* zeroed */
void *mem_realloc(void *ptr, size_t size);              /* ptr may be NULL */
void *mem_dup(const void *bytes, size_t size);
char *mem_strdup(const char *text);
void mem_free(void *ptr); /* NULL is fine */

#endif
