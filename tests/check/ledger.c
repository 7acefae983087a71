#include "ledger.h"

#include "check.h"
#include "mem.h"

void ledger_push(struct ledger *l, const struct ledger_entry *e)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 1024;
        l->entries = mem_realloc(l->entries, l->cap * sizeof(*l->entries));
    }
    l->entries[l->count] = *e;
    l->entries[l->count++].body = e->body != NULL ? blob_ref(e->body) : NULL;
}

const struct ledger_entry *ledger_at(const struct ledger *l, uint64_t index)
{
    CHECK(index >= 1 && index <= l->count);
    return &l->entries[index - 1];
}

void ledger_done(struct ledger *l)
{
    for (uint64_t i = 0; i < l->count; i++) {
        blob_unref(l->entries[i].body);
    }
    mem_free(l->entries);
    *l = (struct ledger){0};
}
