#include "tree_int.h"

#include <stdlib.h>
#include <utlist.h>

#include "err.h"
#include "mem.h"
#include "name.h"

/* Ephemerals: files that end with a session.
 *
 * A session has a list of its own, so that its end costs as much as it leaves and no more. The list
 * is in no order; what leaves does so in the order of ids, so that all members tell the same. */

int life_check(struct name name, enum node_type type, enum node_life life)
{
    bool permanent_file = type == NODE_FILE && life == LIFE_PERMANENT;

    if (life != LIFE_PERMANENT && type != NODE_FILE) {
        return ERR_PERM;
    }
    return name_is_data(name) && !permanent_file ? ERR_PERM : 0;
}

void life_set(struct tree_node *n, struct session *s, enum node_life life, bool by_rule)
{
    struct tree_extra *x = tnode_extra_need(n);

    x->owner = s->info.id;
    x->life = (uint8_t)life;
    x->by_rule = by_rule;
    DL_PREPEND2(s->owned, x, owned_prev, owned_next);
}

void life_clear(struct tree *t, struct tree_node *n)
{
    struct tree_extra *x = tnode_extra(n);
    struct session *s;

    if (x == NULL || x->life == LIFE_PERMANENT) {
        return;
    }
    journal_life(t, n);
    s = session_get(t, x->owner);
    DL_DELETE2(s->owned, x, owned_prev, owned_next);
    x->owner = 0;
    x->life = LIFE_PERMANENT;
    x->by_rule = false;
    x->owned_prev = NULL;
    x->owned_next = NULL;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = (*(struct tree_node *const *)a)->id;
    uint64_t y = (*(struct tree_node *const *)b)->id;

    return x < y ? -1 : x > y;
}

void life_end(struct tree *t, const struct txn *txn, struct session *s)
{
    struct tree_node **list;
    const struct tree_extra *x;
    size_t count, i = 0;

    DL_COUNT2(s->owned, x, count, owned_next);
    if (count == 0) {
        return;
    }
    list = mem_alloc(count * sizeof(struct tree_node *));
    DL_FOREACH2 (s->owned, x, owned_next) {
        list[i++] = x->node;
    }
    qsort(list, count, sizeof(struct tree_node *), compare_ids);
    for (i = 0; i < count; i++) {
        struct tree_node *dir = list[i]->parent;

        if (BUG(X20_EPHEMERAL_STAYS) && i > 0) {
            digest_drop_node(t, list[i]);
            life_clear(t, list[i]);
            digest_add_node(t, list[i]);
            continue;
        }
        digest_drop_node(t, dir);
        op_node_remove(t, txn, list[i]);
        op_dir_changed(t, dir);
        digest_add_node(t, dir);
    }
    mem_free(list);
}
