#ifndef ZABFS_VALUE_CACHE_H
#define ZABFS_VALUE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inode.h"

/* Values of nodes in the inode table, least recently used out first. A value belongs to one version
 * of its node and is used only while that is the node's version. */
struct value_cache {
    size_t size, size_max; /* bytes of values */
    uint64_t hits, misses; /* of value_cache_get() */
    struct inode *head;    /* least recently used */
};

void value_cache_init(struct value_cache *c, size_t size_max);

/* Keeps a reference to `value` (NULL is empty). Values above a quarter of the bound are not kept.
 */
void value_cache_put(struct value_cache *c, struct inode *i, struct blob *value, uint64_t version);

/* True if the newest value is known; *ret is borrowed, NULL is empty. */
bool value_cache_get(struct value_cache *c, struct inode *i, struct blob **ret);

void value_cache_drop(struct value_cache *c, struct inode *i);

#endif
