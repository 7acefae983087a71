#include "series.h"

#include <string.h>

#include "check.h"
#include "mem.h"

enum { CAP_MIN = 4 };

void series_done(struct series *s)
{
    mem_free(s->entries);
    *s = (struct series){0};
}

size_t series_place(const struct series *s, uint64_t after)
{
    size_t low = 0;
    size_t high = s->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (series_key(s, mid) > after) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

/* The entry with exactly this key, or NULL. */
static struct series_entry *entry_of(const struct series *s, uint64_t key)
{
    size_t at = series_place(s, key);

    return at > 0 && series_key(s, at - 1) == key ? &s->entries[at - 1] : NULL;
}

static struct series_entry entry_make(struct series *s, uint64_t key, const void *item)
{
    CHECK(item != NULL);
    s->slab = slab_of(item);
    return (struct series_entry){{(uint32_t)key, (uint32_t)(key >> 32)}, slab_ref(item)};
}

static void set_cap(struct series *s, size_t cap)
{
    s->entries = mem_realloc(s->entries, cap * sizeof(struct series_entry));
    s->cap = cap;
}

void series_append(struct series *s, uint64_t key, void *item)
{
    CHECK(s->count == 0 || key > series_key(s, s->count - 1));
    if (s->count == s->cap) {
        set_cap(s, s->cap ? 2 * s->cap : CAP_MIN);
    }
    s->entries[s->count++] = entry_make(s, key, item);
    s->live++;
}

static void close_gaps(struct series *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i].item != 0) {
            s->entries[kept++] = s->entries[i];
        }
    }
    s->count = kept;
    if (kept == 0) {
        series_done(s);
    } else if (kept * 4 <= s->cap && kept * 2 >= CAP_MIN) {
        set_cap(s, kept * 2);
    }
}

void series_remove(struct series *s, uint64_t key)
{
    struct series_entry *e = entry_of(s, key);

    CHECK(e != NULL);
    CHECK(e->item != 0);
    e->item = 0;
    s->live--;
    if (s->live * 2 < s->count) {
        close_gaps(s);
    }
}

void series_put_back(struct series *s, uint64_t key, void *item)
{
    struct series_entry *gap = entry_of(s, key);
    size_t at;

    if (gap != NULL) {
        CHECK(gap->item == 0);
        *gap = entry_make(s, key, item);
        s->live++;
        return;
    }
    if (s->count == s->cap) {
        set_cap(s, s->cap ? 2 * s->cap : CAP_MIN);
    }
    at = series_place(s, key);
    memmove(s->entries + at + 1, s->entries + at, (s->count - at) * sizeof(struct series_entry));
    s->entries[at] = entry_make(s, key, item);
    s->count++;
    s->live++;
}

void series_take_back(struct series *s, uint64_t key)
{
    series_remove(s, key);
    while (s->count > 0 && s->entries[s->count - 1].item == 0) {
        s->count--;
    }
}

void *series_get(const struct series *s, uint64_t key)
{
    const struct series_entry *e = entry_of(s, key);

    return e != NULL ? series_item(s, (size_t)(e - s->entries)) : NULL;
}

void *series_next(const struct series *s, uint64_t after)
{
    for (size_t i = series_place(s, after); i < s->count; i++) {
        if (s->entries[i].item != 0) {
            return series_item(s, i);
        }
    }
    return NULL;
}

uint64_t series_last_key(const struct series *s)
{
    return s->count > 0 ? series_key(s, s->count - 1) : 0;
}
