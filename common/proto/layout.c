/* layout_put() and layout_get() are one switch each over the kinds of layout.h, side by side in the
 * same order. Both recurse for FIELD_STRUCT and FIELD_LIST: as deep as the constant tables nest,
 * three levels, whatever the bytes say. */
#include "layout.h"

#include <string.h>

#include "blob.h"
#include "check.h"
#include "err.h"
#include "mem.h"
#include "mp.h"

const struct layout layout_none = {0};

/* One field, one line. */
/* clang-format off */
const struct layout layout_attr = LAYOUT(struct attr,
    FIELD(attr, id),
    FIELD(attr, parent),
    FIELD_RANGE(attr, type, NODE_FILE, NODE_SYMLINK),
    FIELD_RANGE(attr, life, LIFE_PERMANENT, LIFE_OPEN),
    FIELD(attr, owner),
    FIELD_UP_TO(attr, mode, 07777),
    FIELD(attr, uid),
    FIELD(attr, gid),
    FIELD(attr, size),
    FIELD(attr, nlink),
    FIELD(attr, version),
    FIELD(attr, cversion),
    FIELD(attr, aversion),
    FIELD(attr, czxid),
    FIELD(attr, mzxid),
    FIELD(attr, pzxid),
    FIELD(attr, atime_ns),
    FIELD(attr, mtime_ns),
    FIELD(attr, ctime_ns));

const struct layout layout_lock = LAYOUT(struct lock,
    FIELD_UP_TO(lock, kind, LOCK_KIND_POSIX),
    FIELD_RANGE(lock, type, LOCK_TYPE_NONE, LOCK_TYPE_EXCLUSIVE),
    FIELD(lock, owner),
    FIELD(lock, start),
    FIELD(lock, end),
    FIELD(lock, pid));
/* clang-format on */

/* Pointers of any object type have one representation; copying it keeps to the aliasing rules. */
static void *pointer_at(const uint8_t *at)
{
    void *ptr;

    memcpy(&ptr, at, sizeof(ptr));
    return ptr;
}

static void set_pointer_at(uint8_t *at, const void *ptr)
{
    memcpy(at, &ptr, sizeof(ptr));
}

static bool element_is_bare(const struct layout *of)
{
    return of->count == 1;
}

/* --- encoding --------------------------------------------------------------------------------- */

static void put_blob(struct buf *b, const struct field *f, const struct blob *blob)
{
    size_t size = blob != NULL ? blob->size : 0;

    CHECK(size <= f->max);
    mp_put_bin(b, size > 0 ? blob->data : NULL, size);
}

static void put_list(struct buf *b, const struct field *f, const uint8_t *elements, uint32_t count)
{
    CHECK(count <= f->max);
    mp_put_array(b, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!element_is_bare(f->of)) {
            mp_put_array(b, f->of->count);
        }
        layout_put(b, f->of, elements + i * f->of->size);
    }
}

static void put_uint(struct buf *b, const struct field *f, uint64_t v)
{
    CHECK(v >= f->min && v <= f->max);
    mp_put_uint(b, v);
}

static void put_field(struct buf *b, const struct field *f, const uint8_t *object)
{
    const uint8_t *at = object + f->offset;
    const uint8_t *other = object + f->other;
    const struct name *name;

    switch (f->kind) {
    case FIELD_U32:
        put_uint(b, f, *(const uint32_t *)at);
        return;
    case FIELD_U64:
        put_uint(b, f, *(const uint64_t *)at);
        return;
    case FIELD_I64:
        mp_put_int(b, *(const int64_t *)at);
        return;
    case FIELD_ERR:
        CHECK(err_is_known(*(const int *)at));
        mp_put_int(b, *(const int *)at);
        return;
    case FIELD_BOOL:
        mp_put_bool(b, *(const bool *)at);
        return;
    case FIELD_NAME:
        name = (const struct name *)at;
        CHECK(name->size <= f->max);
        mp_put_bin(b, name->bytes, name->size);
        return;
    case FIELD_KEY:
        mp_put_bin(b, at, sizeof(struct session_key));
        return;
    case FIELD_BLOB:
        put_blob(b, f, pointer_at(at));
        return;
    case FIELD_MAYBE_BLOB:
        if (*(const bool *)other) {
            put_blob(b, f, pointer_at(at));
        } else {
            mp_put_nil(b);
        }
        return;
    case FIELD_STRUCT:
        mp_put_array(b, f->of->count);
        layout_put(b, f->of, at);
        return;
    case FIELD_LIST:
        put_list(b, f, pointer_at(at), *(const uint32_t *)other);
        return;
    }
    CHECK(false);
}

void layout_put(struct buf *b, const struct layout *l, const void *object)
{
    for (size_t i = 0; i < l->count; i++) {
        put_field(b, &l->fields[i], object);
    }
}

/* --- decoding --------------------------------------------------------------------------------- */

static bool get_uint(struct cursor *c, const struct field *f, uint64_t *ret)
{
    uint64_t v;

    if (!mp_get_uint(c, &v) || v < f->min || v > f->max) {
        return false;
    }
    *ret = v;
    return true;
}

static bool get_u32(struct cursor *c, const struct field *f, uint32_t *ret)
{
    uint64_t v;

    if (!get_uint(c, f, &v)) {
        return false;
    }
    *ret = (uint32_t)v;
    return true;
}

static bool get_err(struct cursor *c, int *ret)
{
    int64_t v;

    if (!mp_get_int(c, &v) || v < INT32_MIN || v > INT32_MAX || !err_is_known((int)v)) {
        return false;
    }
    *ret = (int)v;
    return true;
}

static bool get_name(struct cursor *c, const struct field *f, struct name *ret)
{
    const uint8_t *bytes;
    size_t size;

    if (!mp_get_bin(c, &bytes, &size) || size > f->max) {
        return false;
    }
    *ret = (struct name){(const char *)bytes, (uint32_t)size};
    return true;
}

static bool get_key(struct cursor *c, uint8_t *ret)
{
    const uint8_t *bytes;
    size_t size;

    if (!mp_get_bin(c, &bytes, &size) || size != sizeof(struct session_key)) {
        return false;
    }
    memcpy(ret, bytes, size);
    return true;
}

static bool get_blob(struct cursor *c, const struct field *f, bool keep_values, uint8_t *ret)
{
    const uint8_t *bytes;
    size_t size;

    if (!mp_get_bin(c, &bytes, &size) || size > f->max) {
        return false;
    }
    if (size > 0 && keep_values) {
        set_pointer_at(ret, blob_new(bytes, size));
    }
    return true;
}

static bool get_struct(struct cursor *c, const struct layout *of, bool keep_values, uint8_t *ret)
{
    size_t count;

    return mp_get_array(c, &count) && count == of->count && layout_get(c, of, keep_values, ret);
}

/* Every item takes a byte, so a count that the bytes left cannot hold is refused before memory is
 * taken for it. */
static bool get_list(struct cursor *c, const struct field *f, bool keep_values, uint8_t *ret,
                     uint32_t *ret_count)
{
    uint8_t *elements;
    size_t count;

    if (!mp_get_array(c, &count) || count > f->max || count > cur_left(c) / f->of->count) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    elements = mem_zalloc(count * f->of->size);
    set_pointer_at(ret, elements);
    *ret_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++, elements += f->of->size) {
        if (!(element_is_bare(f->of) ? layout_get(c, f->of, keep_values, elements)
                                     : get_struct(c, f->of, keep_values, elements))) {
            return false;
        }
    }
    return true;
}

static bool get_field(struct cursor *c, const struct field *f, bool keep_values, uint8_t *object)
{
    uint8_t *at = object + f->offset;
    uint8_t *other = object + f->other;

    switch (f->kind) {
    case FIELD_U32:
        return get_u32(c, f, (uint32_t *)at);
    case FIELD_U64:
        return get_uint(c, f, (uint64_t *)at);
    case FIELD_I64:
        return mp_get_int(c, (int64_t *)at);
    case FIELD_ERR:
        return get_err(c, (int *)at);
    case FIELD_BOOL:
        return mp_get_bool(c, (bool *)at);
    case FIELD_NAME:
        return get_name(c, f, (struct name *)at);
    case FIELD_KEY:
        return get_key(c, at);
    case FIELD_BLOB:
        return get_blob(c, f, keep_values, at);
    case FIELD_MAYBE_BLOB:
        *(bool *)other = !mp_get_nil(c);
        return !*(bool *)other || get_blob(c, f, keep_values, at);
    case FIELD_STRUCT:
        return get_struct(c, f->of, keep_values, at);
    case FIELD_LIST:
        return get_list(c, f, keep_values, at, (uint32_t *)other);
    }
    CHECK(false);
}

bool layout_get(struct cursor *c, const struct layout *l, bool keep_values, void *object)
{
    for (size_t i = 0; i < l->count; i++) {
        if (!get_field(c, &l->fields[i], keep_values, object)) {
            return false;
        }
    }
    return true;
}

/* --- measuring and copying --------------------------------------------------------------------
 */

static int measure_field(const struct field *f, const uint8_t *object, size_t *size)
{
    const uint8_t *at = object + f->offset;
    const struct blob *blob;
    uint32_t count;
    int err = 0;

    switch (f->kind) {
    case FIELD_NAME:
        *size += ((const struct name *)at)->size;
        return ((const struct name *)at)->size > f->max ? ERR_NAMETOOLONG : 0;
    case FIELD_BLOB:
    case FIELD_MAYBE_BLOB:
        blob = pointer_at(at);
        *size += blob != NULL ? blob->size : 0;
        return blob != NULL && blob->size > f->max ? ERR_TOOBIG : 0;
    case FIELD_STRUCT:
        return layout_measure(f->of, at, size);
    case FIELD_LIST:
        count = *(const uint32_t *)(object + f->other);
        at = pointer_at(at);
        for (uint32_t i = 0; i < count && err == 0; i++) {
            err = layout_measure(f->of, at + i * f->of->size, size);
        }
        return count > f->max ? ERR_INVAL : err;
    default:
        *size += sizeof(uint64_t);
        return 0;
    }
}

int layout_measure(const struct layout *l, const void *object, size_t *size)
{
    int err = 0;

    for (size_t i = 0; i < l->count && err == 0; i++) {
        err = measure_field(&l->fields[i], object, size);
    }
    return err;
}

static void own_field(const struct field *f, uint8_t *object, char **text)
{
    uint8_t *at = object + f->offset;
    struct name *name = (struct name *)at;
    uint32_t count;

    switch (f->kind) {
    case FIELD_NAME:
        if (name->size > 0) {
            memcpy(*text, name->bytes, name->size);
        }
        name->bytes = *text;
        *text += name->size;
        return;
    case FIELD_BLOB:
    case FIELD_MAYBE_BLOB:
        blob_ref(pointer_at(at));
        return;
    case FIELD_STRUCT:
        layout_own(f->of, at, text);
        return;
    case FIELD_LIST:
        count = *(const uint32_t *)(object + f->other);
        set_pointer_at(at, count > 0 ? mem_dup(pointer_at(at), count * f->of->size) : NULL);
        at = pointer_at(at);
        for (uint32_t i = 0; i < count; i++) {
            layout_own(f->of, at + i * f->of->size, text);
        }
        return;
    default:
        return;
    }
}

void layout_own(const struct layout *l, void *object, char **text)
{
    for (size_t i = 0; i < l->count; i++) {
        own_field(&l->fields[i], object, text);
    }
}

/* --- releasing -------------------------------------------------------------------------------- */

static bool owns_something(const struct layout *l)
{
    for (size_t i = 0; i < l->count; i++) {
        enum field_kind kind = l->fields[i].kind;

        if (kind == FIELD_BLOB || kind == FIELD_MAYBE_BLOB || kind == FIELD_LIST) {
            return true;
        }
    }
    return false;
}

static void release_list(const struct field *f, uint8_t *elements, uint32_t count)
{
    for (uint32_t i = 0; i < count && owns_something(f->of); i++) {
        layout_release(f->of, elements + i * f->of->size);
    }
    mem_free(elements);
}

void layout_release(const struct layout *l, void *object)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        uint8_t *at = (uint8_t *)object + f->offset;

        switch (f->kind) {
        case FIELD_BLOB:
        case FIELD_MAYBE_BLOB:
            blob_unref(pointer_at(at));
            set_pointer_at(at, NULL);
            break;
        case FIELD_LIST:
            release_list(f, pointer_at(at), *(uint32_t *)((uint8_t *)object + f->other));
            set_pointer_at(at, NULL);
            *(uint32_t *)((uint8_t *)object + f->other) = 0;
            break;
        default: /* owns nothing, FIELD_STRUCT included */
            break;
        }
    }
}
