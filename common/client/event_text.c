#include "event_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json_text.h"

static void put(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

const char *event_kind_text(enum change_kind kind)
{
    switch (kind) {
    case CHANGE_CREATE:
        return "create";
    case CHANGE_SET:
        return "set";
    case CHANGE_SETATTR:
        return "setattr";
    case CHANGE_REMOVE:
        return "remove";
    case CHANGE_MOVE:
        return "move";
    case CHANGE_GRANT:
        return "grant";
    }
    return "unknown";
}

static const char *type_text(enum node_type type)
{
    return type == NODE_DIR ? "directory" : type == NODE_SYMLINK ? "symlink" : "file";
}

static void put_path(struct name dir, struct name name, struct buf *ret)
{
    buf_put(ret, dir.bytes, dir.size);
    buf_put_u8(ret, '/');
    buf_put(ret, name.bytes, name.size);
}

void event_path(const struct event *e, struct buf *ret)
{
    put_path(e->dir_path, e->name, ret);
}

void event_path_from(const struct event *e, struct buf *ret)
{
    put_path(e->from_path, e->from_name, ret);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void put_number(struct buf *b, const char *key, uint64_t value)
{
    buf_put_u8(b, ',');
    json_put_number(b, key, value);
}

static void put_path_field(struct buf *b, const char *key, struct name dir, struct name name)
{
    struct buf path = {0};

    put_path(dir, name, &path);
    buf_put_u8(b, ',');
    json_put_field(b, key, path.data, path.size);
    buf_done(&path);
}

static void put_text_field(struct buf *b, const char *key, const char *text)
{
    buf_put_u8(b, ',');
    json_put_field(b, key, text, strlen(text));
}

void event_json(const struct event *e, struct buf *ret)
{
    char time[JSON_TIME_SIZE];

    buf_put_u8(ret, '{');
    json_put_number(ret, "index", e->index);
    put(ret, e->more ? ",\"more\":true" : "");
    put_text_field(ret, "kind", event_kind_text(e->kind));
    put_path_field(ret, "path", e->dir_path, e->name);
    if (e->kind == CHANGE_MOVE) {
        put_path_field(ret, "from", e->from_path, e->from_name);
    }
    put_text_field(ret, "type", type_text(e->attr.type));
    put_number(ret, "id", e->attr.id);
    put_number(ret, "version", e->attr.version);
    put_number(ret, "size", e->attr.size);
    put_number(ret, "session", e->session);
    if (e->kind != CHANGE_REMOVE) {
        json_time(e->attr.ctime_ns, time);
        put_text_field(ret, "time", time);
    }
    buf_put_u8(ret, '}');
}

void event_gap_json(uint64_t first, uint64_t last, struct buf *ret)
{
    buf_put_u8(ret, '{');
    json_put_number(ret, "index", last);
    put_text_field(ret, "kind", "gap");
    put_number(ret, "first", first);
    put_number(ret, "last", last);
    buf_put_u8(ret, '}');
}

/* --- words ------------------------------------------------------------------------------------ */

static void put_careful(struct buf *ret, const struct buf *path)
{
    for (size_t i = 0; i < path->size; i++) {
        uint8_t c = path->data[i];

        buf_put_u8(ret, c < 0x20 || c == 0x7f ? '?' : c);
    }
}

static void put_index(struct buf *ret, uint64_t index)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, index);
    put(ret, text);
}

void event_line(const struct event *e, struct buf *ret)
{
    struct buf path = {0};

    put_index(ret, e->index);
    put(ret, " ");
    put(ret, event_kind_text(e->kind));
    if (e->kind == CHANGE_MOVE) {
        event_path_from(e, &path);
        put(ret, " ");
        put_careful(ret, &path);
        path.size = 0;
    }
    event_path(e, &path);
    put(ret, " ");
    put_careful(ret, &path);
    buf_done(&path);
}

void event_gap_line(uint64_t first, uint64_t last, struct buf *ret)
{
    put_index(ret, last);
    put(ret, " gap ");
    put_index(ret, first);
}
