#include "tree_int.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* The past of the nodes, as far as this member remembers it.
 *
 * Every change of a node begins with its leaving the digest. The first time within an entry that is
 * noted: what the node was, and where, before the entry. So a node as of an index is the oldest
 * note of it with an index above, and if there is none, the node as it is now. Nothing is noted of
 * a node that the entry itself made: its czxid tells that there was none before.
 *
 * Nearly all notes are made and dropped again without anybody asking, so a note is no more than a
 * copy in a list. The first question has all of them put into tables, and new ones from then on,
 * until as many entries as are kept have passed without another question. In the tables notes are
 * found by the node (in the order of their indexes), by the place it had, and by the directory it
 * was in. Before one entry there is at most one node at a place: of the notes of a place no two
 * have the same index. A node that one entry changed more than once may be noted more than once
 * meanwhile: the first note counts, the others never come to the tables.
 *
 * What is too old goes at the end of an entry, and all notes of one entry at once, so that an entry
 * that is refused in its middle can be forgotten without a trace. */

struct past_node { /* an id with notes, or a directory that notes were in */
    struct table_link by_id;
    uint64_t id;
    struct series notes;   /* struct past by index */
    struct past *children; /* in the order of time */
};

struct past_place { /* directory and name of notes */
    struct table_link by_place;
    uint64_t dir;
    struct series notes; /* struct past by index */
    struct name name;    /* at `bytes` */
    char bytes[];
};

struct past {
    struct past *prev, *next; /* of all, in the order of time */
    uint64_t index;           /* of the entry that changed it */
    uint64_t cookie;
    struct attr attr;
    struct blob *value;
    /* In the tables. */
    struct past_node *node, *dir; /* NULL: it is not */
    struct past_place *place;
    struct past *dir_prev, *dir_next; /* in dir->children */
    uint8_t name_size;
    char name[];
};

_Static_assert(sizeof(struct past) + NAME_SIZE_MAX + 8 <= SLAB_SIZE_MAX, "a note fits a piece");

struct tree_history {
    uint32_t changes_max, count;
    size_t bytes_max, bytes;
    uint64_t floor;
    struct past *all; /* the oldest first */
    bool in_tables;
    uint32_t unasked; /* notes since the last question */
    struct table nodes, places;
    struct slab slab; /* of notes, and of what is in the tables */
};

/* --- the tables ------------------------------------------------------------------------------ */

static uint64_t hash_by_id(const struct table_link *link)
{
    return TABLE_ITEM(link, struct past_node, by_id)->id;
}

static uint64_t place_hash(uint64_t dir, struct name name)
{
    return hash64(name.bytes, name.size, dir);
}

static uint64_t hash_by_place(const struct table_link *link)
{
    const struct past_place *p = TABLE_ITEM(link, struct past_place, by_place);

    return place_hash(p->dir, p->name);
}

static struct past_node *node_find(const struct tree_history *h, uint64_t id)
{
    for (struct table_link *l = table_chain(&h->nodes, id); l != NULL;
         l = table_next(&h->nodes, l)) {
        struct past_node *n = TABLE_ITEM(l, struct past_node, by_id);

        if (n->id == id) {
            return n;
        }
    }
    return NULL;
}

static struct past_node *node_need(struct tree_history *h, uint64_t id)
{
    struct past_node *n = node_find(h, id);

    if (n == NULL) {
        n = slab_zalloc(&h->slab, sizeof(*n));
        n->id = id;
        table_add(&h->nodes, &n->by_id);
    }
    return n;
}

static void node_leave(struct tree_history *h, struct past_node *n)
{
    if (n->notes.live == 0 && n->children == NULL) {
        table_remove(&h->nodes, &n->by_id);
        series_done(&n->notes);
        slab_free(n);
    }
}

static struct past_place *place_find(const struct tree_history *h, uint64_t dir, struct name name)
{
    for (struct table_link *l = table_chain(&h->places, place_hash(dir, name)); l != NULL;
         l = table_next(&h->places, l)) {
        struct past_place *p = TABLE_ITEM(l, struct past_place, by_place);

        if (p->dir == dir && p->name.size == name.size &&
            (name.size == 0 || memcmp(p->bytes, name.bytes, name.size) == 0)) {
            return p;
        }
    }
    return NULL;
}

static struct past_place *place_need(struct tree_history *h, uint64_t dir, struct name name)
{
    struct past_place *p = place_find(h, dir, name);

    if (p == NULL) {
        p = slab_zalloc(&h->slab, sizeof(*p) + name.size);
        p->dir = dir;
        p->name = (struct name){p->bytes, name.size};
        if (name.size > 0) {
            memcpy(p->bytes, name.bytes, name.size);
        }
        table_add(&h->places, &p->by_place);
    }
    return p;
}

static void place_leave(struct tree_history *h, struct past_place *p)
{
    if (p->notes.live == 0) {
        table_remove(&h->places, &p->by_place);
        series_done(&p->notes);
        slab_free(p);
    }
}

static struct name past_name(const struct past *p)
{
    return (struct name){p->name, p->name_size};
}

static void tables_add(struct tree_history *h, struct past *p)
{
    struct past_node *node = node_need(h, p->attr.id);

    if (series_last_key(&node->notes) == p->index) {
        return; /* it is not the first note of the entry */
    }
    p->node = node;
    p->dir = node_need(h, p->attr.parent);
    p->place = place_need(h, p->attr.parent, past_name(p));
    series_append(&p->node->notes, p->index, p);
    series_append(&p->place->notes, p->index, p);
    DL_APPEND2(p->dir->children, p, dir_prev, dir_next);
}

static void tables_remove(struct tree_history *h, struct past *p)
{
    if (p->node == NULL) {
        return;
    }
    DL_DELETE2(p->dir->children, p, dir_prev, dir_next);
    series_remove(&p->node->notes, p->index);
    series_remove(&p->place->notes, p->index);
    place_leave(h, p->place);
    if (p->dir != p->node) {
        node_leave(h, p->dir);
    }
    node_leave(h, p->node);
    p->node = NULL;
}

static void tables_need(struct tree_history *h)
{
    struct past *p;

    h->unasked = 0;
    if (h->in_tables) {
        return;
    }
    h->in_tables = true;
    DL_FOREACH (h->all, p) {
        tables_add(h, p);
    }
}

static void tables_leave(struct tree_history *h)
{
    struct past *p;

    h->in_tables = false;
    DL_FOREACH (h->all, p) {
        tables_remove(h, p);
    }
}

/* --- noting and forgetting ------------------------------------------------------------------- */

static size_t value_size(const struct past *p)
{
    return p->value != NULL ? p->value->size : 0;
}

void history_note(struct tree *t, const struct tree_node *n)
{
    const struct tree_facts f = tnode_facts(n);
    struct tree_history *h = t->history;
    struct past *p;

    if (f.mzxid == t->index) { /* made, or noted with its former value, by this entry */
        return;
    }
    p = slab_zalloc(&h->slab, sizeof(*p) + n->name_size);
    p->index = t->index;
    p->cookie = f.cookie;
    tree_node_attr(n, &p->attr);
    p->value = tnode_value(n);
    p->node = NULL;
    p->name_size = n->name_size;
    if (n->name_size > 0) {
        memcpy(p->name, tnode_name(n), n->name_size);
    }
    DL_APPEND(h->all, p);
    h->count++;
    h->bytes += value_size(p);
    if (h->in_tables) {
        tables_add(h, p);
        h->unasked++;
    }
}

static void forget(struct tree_history *h, struct past *p)
{
    tables_remove(h, p);
    h->count--;
    h->bytes -= value_size(p);
    DL_DELETE(h->all, p);
    blob_unref(p->value);
    slab_free(p);
}

void history_forget_entry(struct tree *t)
{
    struct tree_history *h = t->history;

    /* utlist: the head's `prev` is the tail. */
    while (h != NULL && h->all != NULL && h->all->prev->index == t->index) {
        forget(h, h->all->prev);
    }
}

void history_trim(struct tree *t)
{
    struct tree_history *h = t->history;

    while (h->count > h->changes_max || h->bytes > h->bytes_max) {
        h->floor = h->all->index;
        while (h->all != NULL && h->all->index == h->floor) {
            forget(h, h->all);
        }
    }
    if (h->in_tables && h->unasked > h->changes_max) {
        tables_leave(h);
    }
}

void history_free(struct tree *t)
{
    struct tree_history *h = t->history;

    if (h == NULL) {
        return;
    }
    while (h->all != NULL) {
        forget(h, h->all);
    }
    table_done(&h->nodes);
    table_done(&h->places);
    slab_done(&h->slab);
    mem_free(h);
    t->history = NULL;
}

void tree_history_keep(struct tree *t, uint32_t changes_max, size_t bytes_max)
{
    struct tree_history *h = t->history;

    if (changes_max == 0) {
        history_free(t);
        return;
    }
    if (h == NULL) {
        t->history = h = mem_zalloc(sizeof(*h));
        h->floor = t->index;
        TABLE_INIT(&h->nodes, &h->slab, struct past_node, by_id, hash_by_id);
        TABLE_INIT(&h->places, &h->slab, struct past_place, by_place, hash_by_place);
    }
    h->changes_max = changes_max;
    h->bytes_max = bytes_max;
    history_trim(t);
}

uint64_t tree_history_floor(const struct tree *t)
{
    return t->history != NULL ? t->history->floor : t->index;
}

/* --- reading --------------------------------------------------------------------------------- */

static int index_check(const struct tree *t, uint64_t index)
{
    if (index > t->index) {
        return ERR_INVAL;
    }
    return index < tree_history_floor(t) ? ERR_COMPACTED : 0;
}

/* The note that tells what the node was as of `index`; NULL: it has not changed since. */
static const struct past *note_of(const struct tree *t, uint64_t index, uint64_t id)
{
    const struct past_node *n;

    if (t->history == NULL) {
        return NULL;
    }
    tables_need(t->history);
    n = node_find(t->history, id);

    return n != NULL ? series_next(&n->notes, index) : NULL;
}

static struct tree_past of_note(const struct past *p)
{
    return (struct tree_past){.attr = p->attr, .name = past_name(p)};
}

static struct tree_past of_node(const struct tree_node *n)
{
    struct tree_past past = {.name = tree_node_name(n)};

    tree_node_attr(n, &past.attr);
    return past;
}

/* The note of the node, or NULL and the node. */
static int past_find(const struct tree *t, uint64_t index, uint64_t id, const struct past **ret,
                     const struct tree_node **ret_node)
{
    const struct past *p = BUG(X34_PAST_IS_NOW) ? NULL : note_of(t, index, id);
    const struct tree_node *n = tnode_get(t, id);
    int err = index_check(t, index);

    if (err != 0) {
        return err;
    }
    if (p != NULL ? p->attr.czxid > index : n == NULL || tnode_facts(n).czxid > index) {
        return ERR_NOENT;
    }
    *ret = p;
    *ret_node = n;
    return 0;
}

int tree_past_get(const struct tree *t, uint64_t index, uint64_t id, struct tree_past *ret)
{
    const struct tree_node *n;
    const struct past *p;
    int err = past_find(t, index, id, &p, &n);

    if (err == 0) {
        *ret = p != NULL ? of_note(p) : of_node(n);
        ret->value = p != NULL ? blob_ref(p->value) : tnode_value(n);
    }
    return err;
}

static int past_dir_check(const struct tree *t, uint64_t index, uint64_t id)
{
    const struct tree_node *n;
    const struct past *p;
    int err = past_find(t, index, id, &p, &n);

    if (err == 0 && (p != NULL ? p->attr.type != NODE_DIR : !tnode_is_dir(n))) {
        return ERR_NOTDIR;
    }
    return err;
}

int tree_past_lookup(const struct tree *t, uint64_t index, uint64_t dir, struct name name,
                     struct tree_past *ret)
{
    const struct tree_node *d = tnode_get(t, dir);
    const struct tree_node *n = d != NULL ? tnode_child(t, d, name) : NULL;
    const struct past_place *place;
    const struct past *p;
    int err = past_dir_check(t, index, dir);

    if (err != 0) {
        return err;
    }
    if (n != NULL && tnode_facts(n).czxid <= index && note_of(t, index, n->id) == NULL) {
        *ret = of_node(n);
        return 0;
    }
    place = t->history != NULL && name.size > 0 ? place_find(t->history, dir, name) : NULL;
    p = place != NULL ? series_next(&place->notes, index) : NULL;
    /* Who was there when the place was noted next may have come to it behind `index`. */
    if (p == NULL || p->attr.czxid > index || note_of(t, index, p->node->id) != p) {
        return ERR_NOENT;
    }
    *ret = of_note(p);
    return 0;
}

static int compare_cookies(const void *a, const void *b)
{
    const struct past *x = *(const struct past *const *)a;
    const struct past *y = *(const struct past *const *)b;

    return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

/* Children of then that have changed since: cookie above `after`, in the order of their cookies.
 * The caller frees the array. */
static const struct past **changed_children(const struct tree *t, uint64_t index, uint64_t dir,
                                            uint64_t after, size_t *ret_count)
{
    const struct past_node *d = t->history != NULL ? node_find(t->history, dir) : NULL;
    const struct past **list = NULL;
    const struct past *p;
    size_t count = 0, cap = 0;

    for (p = d != NULL ? d->children : NULL; p != NULL; p = p->dir_next) {
        /* What has no cookie is in no listing: the root, which is its own directory. */
        if (p->index <= index || p->cookie <= after || p->attr.czxid > index ||
            series_next(&p->node->notes, index) != p) {
            continue;
        }
        if (count == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            list = mem_realloc(list, cap * sizeof(struct past *));
        }
        list[count++] = p;
    }
    if (count > 0) {
        qsort(list, count, sizeof(struct past *), compare_cookies);
    }
    *ret_count = count;
    return list;
}

struct merge { /* of children that have changed since, and of those that have not */
    const struct past **changed;
    size_t count, at;
    tree_past_fill_fn fill;
    void *ctx;
};

/* Fills in the changed ones with a cookie below this one. */
static bool fill_changed(struct merge *m, uint64_t below)
{
    for (; m->at < m->count && m->changed[m->at]->cookie < below; m->at++) {
        struct tree_past past = of_note(m->changed[m->at]);

        if (!m->fill(m->ctx, m->changed[m->at]->cookie, &past)) {
            return false;
        }
    }
    return true;
}

static bool fill_all(const struct tree *t, uint64_t index, const struct tree_node *dir,
                     uint64_t after, struct merge *m)
{
    const struct series *s = dir != NULL ? &dir->dir->children : NULL;

    for (size_t i = s != NULL ? series_place(s, after) : 0; s != NULL && i < s->count; i++) {
        const struct tree_node *child = series_item(s, i);
        struct tree_past past;

        if (child == NULL || tnode_facts(child).czxid > index ||
            note_of(t, index, child->id) != NULL) {
            continue;
        }
        past = of_node(child);
        if (!fill_changed(m, series_key(s, i)) || !m->fill(m->ctx, series_key(s, i), &past)) {
            return false;
        }
    }
    return fill_changed(m, UINT64_MAX);
}

int tree_past_readdir(const struct tree *t, uint64_t index, uint64_t dir, uint64_t after,
                      tree_past_fill_fn fill, void *ctx, bool *ret_end)
{
    struct merge m = {.fill = fill, .ctx = ctx};
    int err = past_dir_check(t, index, dir);

    if (err != 0) {
        return err;
    }
    m.changed = changed_children(t, index, dir, after, &m.count);
    *ret_end = fill_all(t, index, tnode_get(t, dir), after, &m);
    mem_free(m.changed);
    return 0;
}
