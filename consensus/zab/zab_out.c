#include "zab_int.h"

#include "mem.h"

static void entries_release(struct zab_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        blob_unref(entries[i].body);
    }
    mem_free(entries);
}

void zab_msg_done(struct zab_msg *msg)
{
    entries_release(msg->entries, msg->entry_count);
    msg->entries = NULL;
    msg->entry_count = 0;
}

void zab_out_clear(struct zab_out *out)
{
    for (size_t i = 0; i < out->count; i++) {
        struct zab_effect *fx = &out->effects[i];

        if (fx->type == ZAB_FX_APPEND) {
            entries_release(fx->u.append.entries, fx->u.append.count);
        } else if (fx->type == ZAB_FX_SEND) {
            zab_msg_done(&fx->u.msg);
        }
    }
    out->count = 0;
}

void zab_out_done(struct zab_out *out)
{
    zab_out_clear(out);
    mem_free(out->effects);
    *out = (struct zab_out){0};
}

struct zab_effect *zab_emit(struct zab *z, enum zab_effect_type type)
{
    struct zab_out *out = z->out;

    if (out->count == out->cap) {
        out->cap = out->cap == 0 ? 16 : out->cap * 2;
        out->effects = mem_realloc(out->effects, out->cap * sizeof(*out->effects));
    }
    struct zab_effect *fx = &out->effects[out->count++];

    *fx = (struct zab_effect){.type = type};
    if (type == ZAB_FX_SAVE_VOTE || type == ZAB_FX_APPEND || type == ZAB_FX_TRUNCATE) {
        fx->seq = ++z->seq;
    }
    return fx;
}

/* The durability rule of every message (docs/PROTOCOL.md, "What must be durable first"): whatever
 * is said in an epoch is said after the promise of that epoch is on disk. Storage works in order,
 * so log entries handed to it before the promise are on disk then, too. A prevote promises nothing.
 */
struct zab_msg *zab_send(struct zab *z, uint32_t to, enum zab_msg_type type)
{
    struct zab_effect *fx = zab_emit(z, ZAB_FX_SEND);
    bool promises = type != ZAB_PREVOTE && type != ZAB_PREVOTE_R &&
                    !(BUG(X1_VOTE_NOT_DURABLE) && type == ZAB_VOTE_R);

    fx->after_seq = promises && z->vote_seq > z->seq_durable ? z->vote_seq : 0;
    fx->u.msg =
        (struct zab_msg){.type = type, .from = z->conf.self, .to = to, .epoch = z->promised};
    return &fx->u.msg;
}

struct zab_entry *zab_entries_copy(const struct zab_window *w, uint64_t first, uint32_t count)
{
    struct zab_entry *copy = count > 0 ? mem_alloc(count * sizeof(*copy)) : NULL;

    for (uint32_t i = 0; i < count; i++) {
        copy[i] = zab_window_at(w, first + i)->entry;
        blob_ref(copy[i].body);
    }
    return copy;
}
