#ifndef ZABFS_HASHTABLE_H
#define ZABFS_HASHTABLE_H

/* uthash (https://troydhanson.github.io/uthash), on our allocator and our hash function: its own
 * falls through a switch, which compilers warn of in every table. Iteration is in the order of
 * insertion, so runs repeat. Include this instead of <uthash.h>. */

#include "check.h"
#include "hash.h"
#include "mem.h"

#define uthash_malloc(size)           mem_alloc(size)
#define uthash_free(ptr, size)        mem_free(ptr)
#define uthash_fatal(msg)             check_fail(__FILE__, __LINE__, msg)
#define HASH_FUNCTION(key, size, ret) ((ret) = (unsigned)hash64((key), (size), 0))

#include <uthash.h> /* IWYU pragma: export */

#endif
