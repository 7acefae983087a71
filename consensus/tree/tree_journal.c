#include "tree_int.h"

#include "mem.h"

/* What a transaction of several steps has done so far, so that it can be undone: all or none.
 *
 * While there is a journal, every change of a node notes first what it is about to lose: the fields
 * when the node leaves the digest, and each of the few things that change more than fields, as it
 * happens. Undoing goes through the notes from the last to the first, so that each meets the state
 * that it was noted in. Digest, next id and results are taken back as a whole. Removed nodes wait
 * in the results anyway; their locks stay with them until the transaction is certain.
 *
 * A value is noted before its first change only: every change of it makes a new one, and a thousand
 * steps on one file are not to keep a thousand of them. */

enum undo_kind {
    UNDO_FIELDS,
    UNDO_LINK,
    UNDO_UNLINK,
    UNDO_PLACE,
    UNDO_UNPLACE,
    UNDO_LIFE,
    UNDO_XATTRS,
};

struct undo_fields {
    struct tree_facts facts; /* all but the cookie, which goes with the place */
    uint64_t aversion;
    uint16_t mode;
    uint64_t create_count, cversion, pzxid; /* of a directory */
    bool has_value;                         /* this transaction has not changed it before */
    struct blob *value;                     /* of that: one reference */
};

struct undo {
    enum undo_kind kind;
    struct tree_node *node;
    union {
        struct undo_fields fields;
        struct {
            struct tree_node *parent;
            uint64_t cookie;
            struct name name; /* it stays until the next transaction */
        } place;
        struct {
            uint64_t owner;
            enum node_life life;
            bool by_rule;
        } life;
        struct tree_node *from; /* UNDO_XATTRS */
    } was;
};

struct tree_journal {
    struct undo *list;
    size_t count, cap;
    uint64_t digest, node_id_next;
};

void journal_begin(struct tree *t)
{
    struct tree_journal *j = mem_zalloc(sizeof(*j));

    j->digest = t->digest;
    j->node_id_next = t->node_id_next;
    t->journal = j;
}

/* Ends it and returns it, so that nothing is noted of what follows. */
static struct tree_journal *journal_end(struct tree *t)
{
    struct tree_journal *j = t->journal;

    t->journal = NULL;
    return j;
}

static void journal_free(struct tree_journal *j)
{
    for (size_t i = 0; i < j->count; i++) {
        if (j->list[i].kind == UNDO_FIELDS) {
            blob_unref(j->list[i].was.fields.value);
        }
    }
    mem_free(j->list);
    mem_free(j);
}

static struct undo *note(struct tree *t, enum undo_kind kind, const struct tree_node *n)
{
    struct tree_journal *j = t->journal;
    struct undo *u;

    if (j->count == j->cap) {
        j->cap = j->cap > 0 ? 2 * j->cap : 16;
        j->list = mem_realloc(j->list, j->cap * sizeof(*j->list));
    }
    u = &j->list[j->count++];
    *u = (struct undo){.kind = kind, .node = (struct tree_node *)(uintptr_t)n};
    return u;
}

void journal_fields(struct tree *t, const struct tree_node *n)
{
    const struct tree_facts f = tnode_facts(n);
    bool has_value = f.mzxid != t->index;

    note(t, UNDO_FIELDS, n)->was.fields = (struct undo_fields){
        .facts = f,
        .aversion = tnode_aversion(n),
        .mode = n->mode,
        .create_count = tnode_is_dir(n) ? n->dir->create_count : 0,
        .cversion = tnode_is_dir(n) ? n->dir->cversion : 0,
        .pzxid = tnode_is_dir(n) ? n->dir->pzxid : 0,
        .has_value = has_value,
        .value = has_value ? tnode_value(n) : NULL,
    };
}

void journal_link(struct tree *t, const struct tree_node *n)
{
    if (t->journal != NULL) {
        note(t, UNDO_LINK, n);
    }
}

void journal_unlink(struct tree *t, const struct tree_node *n)
{
    if (t->journal != NULL) {
        note(t, UNDO_UNLINK, n);
    }
}

void journal_place(struct tree *t, const struct tree_node *n)
{
    if (t->journal != NULL) {
        note(t, UNDO_PLACE, n);
    }
}

void journal_unplace(struct tree *t, const struct tree_node *n)
{
    struct undo *u;

    if (t->journal != NULL) {
        u = note(t, UNDO_UNPLACE, n);
        u->was.place.parent = n->parent;
        u->was.place.cookie = tnode_cookie(n);
        u->was.place.name = results_name(t, tree_node_name(n));
    }
}

void journal_life(struct tree *t, const struct tree_node *n)
{
    struct undo *u;

    if (t->journal != NULL) {
        u = note(t, UNDO_LIFE, n);
        u->was.life.owner = tnode_extra(n)->owner;
        u->was.life.life = (enum node_life)tnode_extra(n)->life;
        u->was.life.by_rule = tnode_extra(n)->by_rule;
    }
}

void journal_xattrs(struct tree *t, const struct tree_node *to, struct tree_node *from)
{
    if (t->journal != NULL) {
        note(t, UNDO_XATTRS, to)->was.from = from;
    }
}

/* --- undoing --------------------------------------------------------------------------------- */

static void undo_fields(struct tree *t, struct tree_node *n, struct undo_fields *was)
{
    was->facts.cookie = tnode_cookie(n);
    if (was->has_value) {
        tree_value_set(t, n, &was->facts, blob_ref(was->value));
    } else {
        tnode_facts_set(n, &was->facts);
    }
    tnode_aversion_set(n, was->aversion);
    n->mode = was->mode;
    if (tnode_is_dir(n)) {
        n->dir->create_count = was->create_count;
        n->dir->cversion = was->cversion;
        n->dir->pzxid = was->pzxid;
    }
}

static void undo(struct tree *t, struct undo *u)
{
    struct tree_node *n = u->node;

    switch (u->kind) {
    case UNDO_FIELDS:
        undo_fields(t, n, &u->was.fields);
        break;
    case UNDO_LINK:
        life_clear(t, n);
        tree_link_undo(t, n);
        tnode_free(n);
        break;
    case UNDO_UNLINK:
        tree_unlink_undo(t, n);
        break;
    case UNDO_PLACE:
        tree_place_undo(t, n);
        break;
    case UNDO_UNPLACE:
        tnode_name_set(n, u->was.place.name);
        tnode_cookie_set(n, u->was.place.cookie);
        tree_unplace_undo(t, u->was.place.parent, n);
        break;
    case UNDO_LIFE:
        life_set(n, session_get(t, u->was.life.owner), u->was.life.life, u->was.life.by_rule);
        break;
    case UNDO_XATTRS:
        xattrs_move(t, n, u->was.from);
        break;
    }
}

void journal_undo(struct tree *t)
{
    struct tree_journal *j = journal_end(t);

    for (size_t i = j->count; i-- > 0;) {
        undo(t, &j->list[i]);
    }
    t->digest = j->digest;
    t->node_id_next = j->node_id_next;
    results_undo(t);
    history_forget_entry(t);
    journal_free(j);
}

void journal_commit(struct tree *t)
{
    struct tree_journal *j = journal_end(t);

    for (size_t i = 0; i < j->count; i++) {
        if (j->list[i].kind == UNDO_UNLINK) {
            locks_release(t, j->list[i].node);
        }
    }
    journal_free(j);
}
