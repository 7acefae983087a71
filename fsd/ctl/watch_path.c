#include "watch_path.h"

#include <string.h>

bool watch_path_make(const char *path, bool recursive, struct watch_path *ret)
{
    size_t size = strlen(path);

    while (size > 0 && path[size - 1] == '/') {
        size--;
    }
    if (path[0] != '/' || memmem(path, size, "//", 2) != NULL) {
        return false;
    }
    *ret = (struct watch_path){.bytes = path, .size = size, .recursive = recursive};
    return true;
}

/* A path in two parts, as events have it; the root's are both empty. */
struct place {
    struct name dir;
    struct name name;
};

static size_t place_size(const struct place *at)
{
    return at->dir.size + (at->name.size > 0 ? 1 + (size_t)at->name.size : 0);
}

static bool starts_with(struct name bytes, const char *prefix, size_t size)
{
    return bytes.size >= size && memcmp(bytes.bytes, prefix, size) == 0;
}

static bool is_same(const struct watch_path *p, const struct place *at)
{
    if (place_size(at) != p->size || !starts_with(at->dir, p->bytes, at->dir.size)) {
        return false;
    }
    return at->name.size == 0 ||
           (p->bytes[at->dir.size] == '/' &&
            memcmp(p->bytes + at->dir.size + 1, at->name.bytes, at->name.size) == 0);
}

static bool is_at_or_below(const struct watch_path *p, const struct place *at)
{
    bool in_dir = at->name.size > 0 && starts_with(at->dir, p->bytes, p->size);

    if (is_same(p, at)) {
        return true;
    }
    if (!in_dir) {
        return false;
    }
    return at->dir.size == p->size || (p->recursive && at->dir.bytes[p->size] == '/');
}

/* The place is a directory on the way to the path. */
static bool is_above(const struct watch_path *p, const struct place *at)
{
    struct watch_path part = {.bytes = p->bytes, .size = place_size(at)};

    return part.size < p->size && p->bytes[part.size] == '/' && is_same(&part, at);
}

bool watch_path_takes(const struct watch_path *p, const struct event *e)
{
    struct place at = {e->dir_path, e->name};
    struct place from = {e->from_path, e->from_name};

    if (is_at_or_below(p, &at)) {
        return true;
    }
    return e->kind == CHANGE_MOVE &&
           (is_at_or_below(p, &from) || is_above(p, &at) || is_above(p, &from));
}
