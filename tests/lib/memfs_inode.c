#include "memfs_inode.h"

#include <string.h>

#include "check.h"
#include "mem.h"

struct inode *inode_ref(struct inode *i)
{
    i->refs++;
    return i;
}

void inode_unref(struct inode *i)
{
    if (--i->refs == 0) {
        mem_free(i->now);
        mem_free(i->disk);
        mem_free(i);
    }
}

struct inode *inode_new(void)
{
    struct inode *i = mem_zalloc(sizeof(*i));

    i->refs = 1;
    i->locked_by = -1;
    return i;
}

struct inode *inode_clone(struct inode_clones *c, const struct inode *i)
{
    struct inode *clone;

    for (size_t k = 0; k < c->count; k++) {
        if (c->from[k] == i) {
            return c->to[k];
        }
    }
    CHECK(c->count < sizeof(c->from) / sizeof(c->from[0]));
    clone = mem_dup(i, sizeof(*i));
    clone->refs = 1;
    clone->locked_by = -1;
    clone->now = i->cap > 0 ? mem_dup(i->now, i->cap) : NULL;
    clone->disk = i->cap > 0 ? mem_dup(i->disk, i->cap) : NULL;
    c->from[c->count] = i;
    c->to[c->count++] = clone;
    return clone;
}

void inode_reserve(struct inode *i, size_t size)
{
    size_t cap = i->cap > 0 ? size * 2 : size; /* a file is often given its size at once */

    if (size <= i->cap) {
        return;
    }
    i->now = mem_realloc(i->now, cap);
    i->disk = mem_realloc(i->disk, cap);
    memset(i->now + i->cap, 0, cap - i->cap);
    memset(i->disk + i->cap, 0, cap - i->cap);
    i->cap = cap;
}

void inode_touch(struct inode *i, size_t from, size_t to)
{
    if (i->dirty_to == 0) {
        i->dirty_from = from;
    }
    i->dirty_from = from < i->dirty_from ? from : i->dirty_from;
    i->dirty_to = to > i->dirty_to ? to : i->dirty_to;
}

void inode_sync(struct inode *i)
{
    if (i->dirty_to > 0) {
        memcpy(i->disk + i->dirty_from, i->now + i->dirty_from, i->dirty_to - i->dirty_from);
    }
    i->dirty_from = i->dirty_to = 0;
    i->disk_size = i->now_size;
}

void inode_drop(struct inode *i)
{
    if (i->dirty_to > 0) {
        i->drop_from =
            i->drop_to > 0 && i->drop_from < i->dirty_from ? i->drop_from : i->dirty_from;
        i->drop_to = i->drop_to > i->dirty_to ? i->drop_to : i->dirty_to;
    }
    i->dirty_from = i->dirty_to = 0;
}

void inode_forget(struct inode *i)
{
    if (i->drop_to > 0) {
        memcpy(i->now + i->drop_from, i->disk + i->drop_from, i->drop_to - i->drop_from);
    }
    i->drop_from = i->drop_to = 0;
}

void inode_crash(struct inode *i, struct prng *p, struct memfs_counts *counts)
{
    for (size_t at = i->dirty_from / SECTOR * SECTOR; at < i->dirty_to; at += SECTOR) {
        size_t size = i->cap - at < SECTOR ? i->cap - at : SECTOR;

        if (prng_below(p, 2) == 0) {
            memcpy(i->disk + at, i->now + at, size);
            counts->sectors_kept++;
        } else {
            counts->sectors_lost++;
        }
    }
    if (i->now_size != i->disk_size && prng_below(p, 2) == 0) {
        i->disk_size = i->now_size;
    }
    if (i->cap > 0) {
        memset(i->disk + i->disk_size, 0, i->cap - i->disk_size);
        memcpy(i->now, i->disk, i->cap);
    }
    i->now_size = i->disk_size;
    i->dirty_from = i->dirty_to = 0;
    i->locked_by = -1;
}
