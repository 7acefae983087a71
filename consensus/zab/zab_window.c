#include "zab_int.h"

#include "mem.h"

enum { SLOTS_MIN = 64 };

void zab_window_init(struct zab_window *w, const struct zab_pos *base)
{
    *w = (struct zab_window){.base = *base, .last = *base};
}

void zab_window_done(struct zab_window *w)
{
    zab_window_cut(w, w->base.index);
    mem_free(w->slots);
    w->slots = NULL;
    w->cap = 0;
}

struct zab_slot *zab_window_at(const struct zab_window *w, uint64_t index)
{
    CHECK(index > w->base.index);
    CHECK(index <= w->last.index);
    return &w->slots[index & (w->cap - 1)];
}

bool zab_window_pos(const struct zab_window *w, uint64_t index, struct zab_pos *ret)
{
    if (index == w->base.index) {
        *ret = w->base;
        return true;
    }
    if (index < w->base.index || index > w->last.index) {
        return false;
    }
    *ret = zab_entry_pos(&zab_window_at(w, index)->entry);
    return true;
}

bool zab_window_has(const struct zab_window *w, const struct zab_pos *pos)
{
    struct zab_pos own;

    return zab_window_pos(w, pos->index, &own) &&
           (zab_pos_equal(&own, pos) || BUG(X9_PLACE_NOT_COMPARED));
}

static void window_grow(struct zab_window *w)
{
    uint64_t cap = w->cap == 0 ? SLOTS_MIN : w->cap * 2;
    struct zab_slot *slots = mem_alloc(cap * sizeof(*slots));

    for (uint64_t i = w->base.index + 1; i <= w->last.index; i++) {
        slots[i & (cap - 1)] = *zab_window_at(w, i);
    }
    mem_free(w->slots);
    w->slots = slots;
    w->cap = cap;
}

void zab_window_push(struct zab_window *w, const struct zab_entry *entry)
{
    CHECK(entry->index == w->last.index + 1);
    CHECK(entry->epoch >= w->last.epoch);
    if (w->last.index - w->base.index == w->cap) {
        window_grow(w);
    }
    w->slots[entry->index & (w->cap - 1)] = (struct zab_slot){.entry = *entry};
    blob_ref(entry->body);
    w->size += entry->body != NULL ? entry->body->size : 0;
    w->last = zab_entry_pos(entry);
}

static void slot_release(struct zab_window *w, struct zab_slot *slot)
{
    w->size -= slot->entry.body != NULL ? slot->entry.body->size : 0;
    blob_unref(slot->entry.body);
    slot->entry.body = NULL;
}

void zab_window_cut(struct zab_window *w, uint64_t index)
{
    struct zab_pos last;

    CHECK(zab_window_pos(w, index, &last));
    for (uint64_t i = w->last.index; i > index; i--) {
        slot_release(w, zab_window_at(w, i));
    }
    w->last = last;
}

void zab_window_drop_first(struct zab_window *w)
{
    struct zab_slot *slot = zab_window_at(w, w->base.index + 1);

    w->base = zab_entry_pos(&slot->entry);
    slot_release(w, slot);
}

struct zab_pos zab_entry_pos(const struct zab_entry *entry)
{
    return (struct zab_pos){entry->epoch, entry->index, entry->chain};
}

bool zab_pos_before(const struct zab_pos *a, const struct zab_pos *b)
{
    return a->epoch != b->epoch ? a->epoch < b->epoch : a->index < b->index;
}

bool zab_pos_equal(const struct zab_pos *a, const struct zab_pos *b)
{
    return a->epoch == b->epoch && a->index == b->index && hash128_equal(a->chain, b->chain);
}
