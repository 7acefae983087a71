#include "model_int.h"

#include <stdlib.h>
#include <string.h>

/* Going back, and letting the past go. What an entry did can be taken back, because all that it
 * made is of its index: so a transaction is carried out step by step, and undone if a step is
 * refused. */

/* --- taking back ----------------------------------------------------------------------------- */

static void child_drop(struct model_node *dir, const struct model_life *l)
{
    for (uint32_t i = dir->child_count; i-- > 0;) {
        if (dir->children[i] == l) {
            memmove(&dir->children[i], &dir->children[i + 1],
                    (dir->child_count - i - 1) * sizeof(*dir->children));
            dir->child_count--;
            return;
        }
    }
}

static void life_undo(struct model *m, struct model_node *n)
{
    struct model_life *l = n->life;
    struct model_place *p = model_place_find(m, l->dir, l->name);
    struct model_life **link = &p->newest;
    struct model_node *dir;

    while (*link != l) {
        link = &(*link)->older;
    }
    *link = l->older;
    if (p->newest == NULL) {
        HASH_DEL(m->places, p);
        mem_free(p);
    }
    HASH_FIND(hh, m->nodes, &l->dir, sizeof(l->dir), dir);
    if (dir != NULL) { /* else it was made and taken back, too */
        child_drop(dir, l);
    }
    n->life = l->before;
    model_life_free(l);
}

static void node_undo(struct model *m, struct model_node *n)
{
    struct model_version *last = model_version_now(n);

    while (n->life != NULL && n->life->from == m->index) {
        life_undo(m, n);
    }
    if (n->born == m->index) {
        HASH_DEL(m->nodes, n);
        model_node_free(n);
        return;
    }
    n->life->to = MODEL_ALIVE; /* whatever is touched was alive before */
    n->dead = MODEL_ALIVE;
    if (last->from == m->index) {
        model_version_done(last);
        n->version_count--;
    }
}

static int compare_nodes(const void *a, const void *b)
{
    uint64_t x = (*(struct model_node *const *)a)->id;
    uint64_t y = (*(struct model_node *const *)b)->id;

    return x < y ? -1 : x > y;
}

void model_undo(struct model *m, uint64_t id_next)
{
    if (m->touched_count > 0) {
        qsort(m->touched, m->touched_count, sizeof(struct model_node *), compare_nodes);
    }
    for (uint64_t i = 0; i < m->touched_count; i++) {
        if (i + 1 == m->touched_count || m->touched[i] != m->touched[i + 1]) {
            node_undo(m, m->touched[i]);
        }
    }
    m->touched_count = 0;
    m->id_next = id_next;
}

/* --- forgetting ------------------------------------------------------------------------------ */

/* Keeps the version that `index` shows and all after it. */
static void versions_prune(struct model_node *n, uint64_t index)
{
    uint32_t gone = 0;

    while (gone + 1 < n->version_count && n->versions[gone + 1].from <= index) {
        model_version_done(&n->versions[gone++]);
    }
    n->version_count -= gone;
    memmove(n->versions, n->versions + gone, n->version_count * sizeof(*n->versions));
}

static void children_prune(struct model_node *n, uint64_t index)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n->child_count; i++) {
        if (n->children[i]->to > index) {
            n->children[kept++] = n->children[i];
        }
    }
    n->child_count = kept;
}

static void place_prune(struct model *m, struct model_place *p, uint64_t index)
{
    struct model_life **link = &p->newest;

    while (*link != NULL && (*link)->to > index) {
        link = &(*link)->older;
    }
    *link = NULL; /* those before it ended earlier still */
    if (p->newest == NULL) {
        HASH_DEL(m->places, p);
        mem_free(p);
    }
}

/* After places and children. */
static void lives_prune(struct model_node *n, uint64_t index)
{
    struct model_life **link = &n->life;

    while (*link != NULL && (*link)->to > index) {
        link = &(*link)->before;
    }
    while (*link != NULL) {
        struct model_life *l = *link;

        *link = l->before;
        model_life_free(l);
    }
}

void model_prune(struct model *m, uint64_t index)
{
    struct model_place *p, *p_next;
    struct model_node *n, *n_next;
    struct model_result *r, *r_next;
    uint64_t gone = 0;

    m->floor = index;
    HASH_ITER (hh, m->places, p, p_next) {
        place_prune(m, p, index);
    }
    HASH_ITER (hh, m->nodes, n, n_next) {
        versions_prune(n, index);
        children_prune(n, index);
    }
    HASH_ITER (hh, m->nodes, n, n_next) {
        lives_prune(n, index);
        if (n->dead <= index) {
            HASH_DEL(m->nodes, n);
            model_node_free(n);
        }
    }
    HASH_ITER (hh, m->results, r, r_next) {
        if (r->reply == NULL && r->key.xid < model_session(m, r->key.session)->xid_floor) {
            model_result_free(m, r);
        }
    }
    while (gone < m->change_count && m->changes_from + gone <= index) {
        model_change_done(&m->changes[gone++]);
    }
    m->change_count -= gone;
    m->changes_from += gone;
    memmove(m->changes, m->changes + gone, m->change_count * sizeof(*m->changes));
}
