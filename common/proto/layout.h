#ifndef ZABFS_LAYOUT_H
#define ZABFS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "msg.h"

/* Private to proto. A layout says, as a constant table, which members of a struct are on the wire,
 * in which order, and within which bounds. Encoding, decoding and releasing walk the same table, so
 * that they cannot disagree, and a new message is a new table.
 *
 * One field is one msgpack item. FIELD() takes the kind from the member's type: what is not listed
 * in FIELD_KIND does not compile. */

enum field_kind {
    FIELD_U32, /* uint32_t or an enum, min..max */
    FIELD_U64, /* min..max */
    FIELD_I64,
    FIELD_ERR, /* int: 0 or a code of err.h */
    FIELD_BOOL,
    FIELD_NAME,       /* bin of at most max bytes, borrowed */
    FIELD_KEY,        /* bin of exactly 16 bytes */
    FIELD_BLOB,       /* bin of at most max bytes, owned; empty is NULL */
    FIELD_MAYBE_BLOB, /* nil, or as FIELD_BLOB; the bool at `other` tells which */
    FIELD_STRUCT,     /* array: the fields of `of` */
    FIELD_LIST,       /* array of at most max elements `of`; the array is owned, the uint32_t at
                         `other` counts it. An element of one field is that item, any other an
                         array. */
};

struct layout;

struct field {
    enum field_kind kind;
    size_t offset; /* of the member */
    size_t other;  /* of a second member that belongs to it */
    uint64_t min, max;
    const struct layout *of;
};

struct layout {
    const struct field *fields;
    size_t count;
    size_t size; /* of the struct, for elements of a list */
};

/* Names are judged by the tree, which answers ERR_NAMETOOLONG. The decoder lets them come that far,
 * within reason, because all it can do itself is to end the connection. */
enum { LAYOUT_NAME_SIZE_MAX = 4096 };

/* clang-format off */
#define FIELD_KIND(T, member)                                                                      \
    _Generic(((struct T *)0)->member,                                                              \
        uint32_t: FIELD_U32,                                                                       \
        uint64_t: FIELD_U64,                                                                       \
        int64_t: FIELD_I64,                                                                        \
        int: FIELD_ERR,                                                                            \
        bool: FIELD_BOOL,                                                                          \
        struct name: FIELD_NAME,                                                                   \
        struct session_key: FIELD_KEY,                                                             \
        struct blob *: FIELD_BLOB)

#define FIELD_MAX(T, member)                                                                       \
    _Generic(((struct T *)0)->member,                                                              \
        uint32_t: UINT32_MAX,                                                                      \
        uint64_t: UINT64_MAX,                                                                      \
        struct name: LAYOUT_NAME_SIZE_MAX,                                                         \
        struct blob *: VALUE_SIZE_MAX,                                                             \
        default: 0)
/* clang-format on */

#define FIELD(T, member)             FIELD_UP_TO(T, member, FIELD_MAX(T, member))
#define FIELD_UP_TO(T, member, most) FIELD_RANGE(T, member, 0, most)
#define FIELD_RANGE(T, member, least, most)                                                        \
    {                                                                                              \
        .kind = FIELD_KIND(T, member), .offset = offsetof(struct T, member), .min = (least),       \
        .max = (most)                                                                              \
    }
#define FIELD_MAYBE(T, member, flag, most)                                                         \
    {                                                                                              \
        .kind = FIELD_MAYBE_BLOB, .offset = offsetof(struct T, member),                            \
        .other = offsetof(struct T, flag), .max = (most)                                           \
    }
#define FIELD_IN(T, member, layout)                                                                \
    {                                                                                              \
        .kind = FIELD_STRUCT, .offset = offsetof(struct T, member), .of = (layout)                 \
    }
#define FIELD_EACH(T, member, counter, layout, most)                                               \
    {                                                                                              \
        .kind = FIELD_LIST, .offset = offsetof(struct T, member),                                  \
        .other = offsetof(struct T, counter), .max = (most), .of = (layout)                        \
    }

/* static const struct layout x = LAYOUT(type, FIELD(...), ...); at file scope only. */
#define LAYOUT(type, ...)                                                                          \
    {                                                                                              \
        .fields = (const struct field[]){__VA_ARGS__},                                             \
        .count = sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field),               \
        .size = sizeof(type)                                                                       \
    }

extern const struct layout layout_none; /* no fields */
extern const struct layout layout_attr;
extern const struct layout layout_lock;

/* Appends the fields. What layout_get() would refuse is our own bug, and CHECKed. */
void layout_put(struct buf *b, const struct layout *l, const void *object);

/* Reads the fields into `object`, which is all zero. After false it holds some of them:
 * layout_release() is due in either case. Without keep_values those are checked, and left NULL. */
bool layout_get(struct cursor *c, const struct layout *l, bool keep_values, void *object);

/* Adds about how many bytes the fields take on the wire. Errors: of a field that the other side
 * would refuse: ERR_NAMETOOLONG, ERR_TOOBIG, ERR_INVAL for a list. Numbers are not looked at. */
int layout_measure(const struct layout *l, const void *object, size_t *size);

/* Makes the fields of an object that is a plain copy of another its own: names are copied to *text,
 * which moves on and holds what layout_measure() says, blobs are referenced, arrays copied. */
void layout_own(const struct layout *l, void *object, char **text);

/* Releases what fields own, and clears those members. */
void layout_release(const struct layout *l, void *object);

#endif
