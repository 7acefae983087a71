#include "tree_int.h"

#include "err.h"

/* How much is below a directory, and how much may be.
 *
 * Every directory knows the totals of what is below it, so that a quota can be set at any time and
 * asked for in O(1); a change of size or place adds its difference to each directory above. Totals
 * are not stored: they follow from the nodes. Trees are as deep as people make them, a few levels.
 *
 * A change that takes more is checked against every quota above it, and refused as a whole; one
 * that takes nothing more always passes. */

void subtree_usage(const struct tree_node *n, uint64_t *ret_nodes, uint64_t *ret_bytes)
{
    *ret_nodes = 1 + (tnode_is_dir(n) ? n->dir->nodes : 0);
    *ret_bytes = tnode_value_size(n) + xattrs_size(n) + (tnode_is_dir(n) ? n->dir->bytes : 0);
}

void usage_add(struct tree_node *dir, uint64_t nodes, uint64_t bytes)
{
    for (;; dir = dir->parent) {
        dir->dir->nodes += nodes;
        dir->dir->bytes += bytes;
        if (dir->parent == dir) {
            return;
        }
    }
}

static bool fits(uint64_t used, uint64_t more, uint64_t most)
{
    return more == 0 || (used <= most && more <= most - used);
}

int quota_check(const struct tree *t, const struct tree_node *dir, const struct tree_node *upto,
                uint64_t nodes, uint64_t bytes)
{
    if (t->quota_count == 0) {
        return 0;
    }
    for (; dir != upto; dir = dir->parent) {
        const struct tree_dir *d = dir->dir;

        if (!fits(d->nodes, nodes, d->settings.quota_nodes) ||
            !fits(d->bytes, bytes, d->settings.quota_bytes)) {
            return ERR_QUOTA;
        }
        if (dir->parent == dir) {
            return 0;
        }
    }
    return 0;
}

bool quota_is_set(const struct tree_node *n)
{
    return tnode_is_dir(n) && (n->dir->settings.quota_nodes != QUOTA_NONE ||
                               n->dir->settings.quota_bytes != QUOTA_NONE);
}

/* A number above 0, or "-". Moves *at behind it. */
static bool parse_limit(const struct blob *b, uint32_t *at, uint64_t *ret)
{
    uint32_t begin = *at;
    uint64_t v = 0;

    if (*at < b->size && b->data[*at] == '-') {
        (*at)++;
        *ret = QUOTA_NONE;
        return true;
    }
    for (; *at < b->size && b->data[*at] >= '0' && b->data[*at] <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(b->data[*at] - '0');

        if (v > (QUOTA_NONE - 1 - digit) / 10) {
            return false;
        }
        v = 10 * v + digit;
    }
    *ret = v;
    return *at > begin && v > 0;
}

static bool parse_unit(const struct blob *b, uint32_t *at, uint64_t *v)
{
    char unit = *at < b->size ? (char)b->data[*at] : '\0';
    int shift = unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;

    if (shift == 0) {
        return true;
    }
    if (*v > (QUOTA_NONE - 1) >> shift) { /* "-" has no unit */
        return false;
    }
    (*at)++;
    *v <<= shift;
    return true;
}

int quota_parse(const struct blob *text, uint64_t *ret_bytes, uint64_t *ret_nodes)
{
    uint64_t bytes, nodes;
    uint32_t at = 0;

    if (text == NULL || !parse_limit(text, &at, &bytes) || !parse_unit(text, &at, &bytes) ||
        at == text->size || text->data[at++] != ' ' || !parse_limit(text, &at, &nodes) ||
        at != text->size) {
        return ERR_INVAL;
    }
    *ret_bytes = bytes;
    *ret_nodes = nodes;
    return 0;
}

void tree_node_usage(const struct tree_node *n, struct reply *ret)
{
    while (!quota_is_set(n) && n->parent != n) {
        n = n->parent;
    }
    ret->u.statfs.nodes = n->dir->nodes;
    ret->u.statfs.bytes = n->dir->bytes;
    ret->u.statfs.nodes_max =
        n->dir->settings.quota_nodes == QUOTA_NONE ? 0 : n->dir->settings.quota_nodes;
    ret->u.statfs.bytes_max =
        n->dir->settings.quota_bytes == QUOTA_NONE ? 0 : n->dir->settings.quota_bytes;
}
