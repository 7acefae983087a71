#include "value_cache.h"

#include <utlist.h>

#include "blob.h"

void value_cache_init(struct value_cache *c, size_t size_max)
{
    *c = (struct value_cache){.size_max = size_max};
}

static size_t size_of(const struct blob *value)
{
    return value != NULL ? value->size : 0;
}

void value_cache_drop(struct value_cache *c, struct inode *i)
{
    if (!i->value_known) {
        return;
    }
    DL_DELETE2(c->head, i, value_prev, value_next);
    c->size -= size_of(i->value);
    blob_unref(i->value);
    i->value = NULL;
    i->value_known = false;
}

void value_cache_put(struct value_cache *c, struct inode *i, struct blob *value, uint64_t version)
{
    blob_ref(value);
    value_cache_drop(c, i);
    if (size_of(value) > c->size_max / 4) {
        blob_unref(value);
        return;
    }
    i->value = value;
    i->value_known = true;
    i->value_version = version;
    c->size += size_of(value);
    DL_APPEND2(c->head, i, value_prev, value_next);
    while (c->size > c->size_max) {
        value_cache_drop(c, c->head);
    }
}

bool value_cache_get(struct value_cache *c, struct inode *i, struct blob **ret)
{
    if (!i->value_known || !i->attr_fresh || i->value_version != i->attr.version) {
        c->misses++;
        return false;
    }
    c->hits++;
    DL_DELETE2(c->head, i, value_prev, value_next);
    DL_APPEND2(c->head, i, value_prev, value_next);
    *ret = i->value;
    return true;
}
