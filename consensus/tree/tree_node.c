#include "tree_int.h"

#include <string.h>

#include "bytes.h"
#include "check.h"
#include "mem.h"

/* What a node is made of, besides its place: see struct tree_node. The body is one piece of memory:
 *
 * - head, u64: the number of bytes that each of the facts takes, 4 bits each, the first one lowest;
 *   the size of a value that is packed, 9 bits; whether there is a blob instead; where the name is
 * - facts: little-endian, each without its leading zeros; see facts_list()
 * - blob, only if there is one: its pointer, one reference; the hash of its bytes
 * - name
 * - value, if it is packed
 *
 * Most numbers of most nodes are small, or near to another one: then they are told by their
 * difference. A fact is read as 8 bytes, so a body has at least 8 behind the last of them. */

enum {
    FACTS = 9,
    FACT_BITS = 4,
    VALUE_SHIFT = FACTS * FACT_BITS,
    VALUE_BITS = 9,
    BLOB_SHIFT = VALUE_SHIFT + VALUE_BITS,
    NAME_SHIFT = BLOB_SHIFT + 1,
    NAME_BITS = 7,
    HEAD_SIZE = 8,
    BLOB_SIZE = 16,
    FRONT_SIZE_MAX = HEAD_SIZE + FACTS * 8 + BLOB_SIZE, /* all before the name */
};

_Static_assert(NAME_SHIFT + NAME_BITS <= 64, "the head has room");
_Static_assert(VALUE_PACKED_SIZE_MAX < 1 << VALUE_BITS, "sizes of packed values fit");
_Static_assert(FRONT_SIZE_MAX < 1 << NAME_BITS, "the name's place fits");
_Static_assert(FRONT_SIZE_MAX + NAME_SIZE_MAX + VALUE_PACKED_SIZE_MAX <= SLAB_SIZE_MAX,
               "any body fits a piece");
_Static_assert(sizeof(struct tree_node) % 8 == 0 && sizeof(struct tree_dir) % 8 == 0,
               "pieces for nodes are aligned");
_Static_assert(sizeof(struct tree_node) + sizeof(struct tree_dir) <= SLAB_SIZE_MAX,
               "any node fits a piece");

/* What a body holds besides the facts. */
struct content {
    struct name name;
    const uint8_t *value; /* packed; NULL: left as it is */
    uint32_t value_size;
    struct blob *blob; /* instead; NULL: none */
    uint64_t blob_hash;
};

static uint8_t **body_at(struct tree_node *n)
{
    return n->has_extra ? &n->more.extra->body : &n->more.body;
}

static const uint8_t *body_of(const struct tree_node *n)
{
    return n->has_extra ? n->more.extra->body : n->more.body;
}

static uint64_t head_of(const uint8_t *body)
{
    return bytes_get_u64(body);
}

static size_t name_place(uint64_t head)
{
    return head >> NAME_SHIFT & ((1 << NAME_BITS) - 1);
}

static uint32_t packed_size(uint64_t head)
{
    return head >> VALUE_SHIFT & ((1 << VALUE_BITS) - 1);
}

static bool has_blob(uint64_t head)
{
    return (head >> BLOB_SHIFT & 1) != 0;
}

static struct blob *blob_of(const uint8_t *body)
{
    uint64_t head = head_of(body);
    struct blob *b = NULL;

    if (has_blob(head)) {
        memcpy(&b, body + name_place(head) - BLOB_SIZE, sizeof(b));
    }
    return b;
}

/* --- packing --------------------------------------------------------------------------------- */

/* In the order of the body. Differences are modulo 2^64. */
static void facts_list(const struct tree_facts *f, uint64_t list[FACTS])
{
    list[0] = f->cookie;
    list[1] = f->version - 1;
    list[2] = f->czxid;
    list[3] = f->mzxid - f->czxid;
    list[4] = (uint64_t)f->ctime_ns;
    list[5] = (uint64_t)f->ctime_ns - (uint64_t)f->mtime_ns;
    list[6] = (uint64_t)f->ctime_ns - (uint64_t)f->atime_ns;
    list[7] = f->uid;
    list[8] = f->gid;
}

/* Writes all before the name; returns its size. */
static size_t front_put(uint8_t to[FRONT_SIZE_MAX + 8], const struct tree_facts *facts,
                        const struct content *c)
{
    uint64_t list[FACTS];
    uint8_t *at = to + HEAD_SIZE;
    uint64_t head = 0;

    facts_list(facts, list);
    for (int i = 0; i < FACTS; i++) {
        uint64_t size = list[i] != 0 ? (71 - (uint64_t)__builtin_clzll(list[i])) / 8 : 0;

        bytes_set_u64(at, list[i]);
        at += size;
        head |= size << (i * FACT_BITS);
    }
    if (c->blob != NULL) {
        memcpy(at, &c->blob, sizeof(c->blob));
        bytes_set_u64(at + 8, c->blob_hash);
        at += BLOB_SIZE;
        head |= (uint64_t)1 << BLOB_SHIFT;
    } else {
        head |= (uint64_t)c->value_size << VALUE_SHIFT;
    }
    head |= (uint64_t)(at - to) << NAME_SHIFT;
    bytes_set_u64(to, head);
    return (size_t)(at - to);
}

static size_t body_size(size_t front_size, size_t name_size, size_t value_size)
{
    size_t rest = name_size + value_size;

    return front_size + (rest > 8 ? rest : 8);
}

/* Gives a node a new body. What `c` tells of may be in the old one. */
static void body_put(struct tree_node *n, const struct tree_facts *facts, const struct content *c)
{
    uint8_t front[FRONT_SIZE_MAX + 8];
    size_t front_size = front_put(front, facts, c);
    uint32_t value_size = c->blob != NULL ? 0 : c->value_size;
    size_t size = body_size(front_size, c->name.size, value_size);
    uint8_t **at = body_at(n);
    uint8_t *old = *at;
    uint8_t *body = slab_alloc(slab_of(n), size);

    memcpy(body, front, front_size);
    if (c->name.size > 0) {
        memcpy(body + front_size, c->name.bytes, c->name.size);
    }
    if (value_size > 0 && c->value != NULL) {
        memcpy(body + front_size + c->name.size, c->value, value_size);
    }
    n->name_size = (uint8_t)c->name.size;
    *at = body;
    if (old != NULL) {
        slab_free(old);
    }
}

/* --- making ---------------------------------------------------------------------------------- */

static struct tree_node *node_alloc(struct slab *slab, enum node_type type)
{
    bool is_dir = type == NODE_DIR;
    size_t size = sizeof(struct tree_node) + (is_dir ? sizeof(struct tree_dir) : 0);
    struct tree_node *n = slab_zalloc(slab, size);

    n->type = (unsigned)type & 0x7fU;
    if (is_dir) {
        n->dir->settings = settings_none;
    }
    return n;
}

struct tree_node *tnode_new_full(struct slab *slab, enum node_type type, struct name name,
                                 const struct tree_facts *facts, uint32_t value_size,
                                 uint8_t **ret_value)
{
    struct tree_node *n = node_alloc(slab, type);

    CHECK(name.size <= NAME_SIZE_MAX);
    CHECK(value_size <= VALUE_PACKED_SIZE_MAX);
    body_put(n, facts, &(struct content){.name = name, .value_size = value_size});
    *ret_value = n->more.body + name_place(head_of(n->more.body)) + name.size;
    return n;
}

struct tree_node *tnode_new(struct slab *slab, enum node_type type, struct name name)
{
    struct tree_facts facts = {0};
    uint8_t *value;

    return tnode_new_full(slab, type, name, &facts, 0, &value);
}

void tnode_free(struct tree_node *n)
{
    struct tree_extra *x = tnode_extra(n);
    uint8_t *body = *body_at(n);

    if (tnode_is_dir(n)) {
        series_done(&n->dir->children);
    }
    if (x != NULL) {
        xattrs_free(x->xattrs);
        locks_free(x->locks);
        mem_free(x);
    }
    blob_unref(blob_of(body));
    slab_free(body);
    slab_free(n);
}

struct tree_extra *tnode_extra_need(struct tree_node *n)
{
    if (!n->has_extra) {
        struct tree_extra *x = mem_zalloc(sizeof(*x));

        x->body = n->more.body;
        x->node = n;
        n->more.extra = x;
        n->has_extra = 1;
    }
    return n->more.extra;
}

/* --- facts and name -------------------------------------------------------------------------- */

/* The next fact of a body. */
static inline uint64_t fact_take(const uint8_t **at, uint64_t *head)
{
    unsigned size = *head & ((1 << FACT_BITS) - 1);
    /* Shifted twice, because there is no shift by 64. */
    uint64_t fact = bytes_get_u64(*at) & ~(UINT64_MAX << (4 * size) << (4 * size));

    *at += size;
    *head >>= FACT_BITS;
    return fact;
}

/* facts_list(), taken back. */
struct tree_facts tnode_facts(const struct tree_node *n)
{
    const uint8_t *at = body_of(n);
    uint64_t head = head_of(at);
    struct tree_facts f;

    at += HEAD_SIZE;
    f.cookie = fact_take(&at, &head);
    f.version = fact_take(&at, &head) + 1;
    f.czxid = fact_take(&at, &head);
    f.mzxid = fact_take(&at, &head) + f.czxid;
    f.ctime_ns = (int64_t)fact_take(&at, &head);
    f.mtime_ns = (int64_t)((uint64_t)f.ctime_ns - fact_take(&at, &head));
    f.atime_ns = (int64_t)((uint64_t)f.ctime_ns - fact_take(&at, &head));
    f.uid = (uint32_t)fact_take(&at, &head);
    f.gid = (uint32_t)fact_take(&at, &head);
    return f;
}

static struct content content_of(const struct tree_node *n)
{
    const uint8_t *body = body_of(n);
    uint64_t head = head_of(body);
    const uint8_t *name = body + name_place(head);
    struct content c = {
        .name = {(const char *)name, n->name_size},
        .value = name + n->name_size,
        .value_size = packed_size(head),
        .blob = blob_of(body),
    };

    if (c.blob != NULL) {
        c.blob_hash = bytes_get_u64(name - 8);
    }
    return c;
}

/* In place, if the facts take as many bytes as before: the head says of how many the blob and all
 * behind it are. */
void tnode_facts_set(struct tree_node *n, const struct tree_facts *facts)
{
    struct content c = content_of(n);
    uint8_t front[FRONT_SIZE_MAX + 8];
    size_t size = front_put(front, facts, &c);
    uint8_t *body = *body_at(n);

    if (size == name_place(head_of(body))) {
        memcpy(body, front, size);
    } else {
        body_put(n, facts, &c);
    }
}

uint64_t tnode_cookie(const struct tree_node *n)
{
    const uint8_t *at = body_of(n);
    uint64_t head = head_of(at);

    at += HEAD_SIZE;
    return fact_take(&at, &head);
}

void tnode_cookie_set(struct tree_node *n, uint64_t cookie)
{
    struct tree_facts facts = tnode_facts(n);

    facts.cookie = cookie;
    tnode_facts_set(n, &facts);
}

const char *tnode_name(const struct tree_node *n)
{
    const uint8_t *body = body_of(n);

    return (const char *)body + name_place(head_of(body));
}

void tnode_name_set(struct tree_node *n, struct name name)
{
    struct tree_facts facts = tnode_facts(n);
    struct content c = content_of(n);

    CHECK(name.size > 0 && name.size <= NAME_SIZE_MAX);
    c.name = name;
    body_put(n, &facts, &c);
}

uint64_t tnode_aversion(const struct tree_node *n)
{
    return n->has_extra ? n->more.extra->aversion : 0;
}

void tnode_aversion_set(struct tree_node *n, uint64_t aversion)
{
    if (aversion != tnode_aversion(n)) {
        tnode_extra_need(n)->aversion = aversion;
    }
}

/* --- value ----------------------------------------------------------------------------------- */

uint32_t tnode_value_size(const struct tree_node *n)
{
    const struct blob *b = blob_of(body_of(n));

    return b != NULL ? b->size : packed_size(head_of(body_of(n)));
}

const uint8_t *tnode_value_bytes(const struct tree_node *n)
{
    const struct blob *b = blob_of(body_of(n));

    return b != NULL ? b->data : (const uint8_t *)tnode_name(n) + n->name_size;
}

struct blob *tnode_value(const struct tree_node *n)
{
    struct blob *b = blob_of(body_of(n));
    uint32_t size;

    if (b != NULL) {
        return blob_ref(b);
    }
    size = packed_size(head_of(body_of(n)));
    return size > 0 ? blob_new(tnode_value_bytes(n), size) : NULL;
}

uint64_t tnode_value_hash(const struct tree_node *n)
{
    struct content c = content_of(n);

    if (c.blob != NULL) {
        return c.blob_hash;
    }
    return c.value_size > 0 ? hash64(c.value, c.value_size, 0) : 0;
}

void tnode_value_set(struct tree_node *n, const struct tree_facts *facts, struct blob *value)
{
    struct content c = content_of(n);
    struct blob *old = c.blob;
    uint32_t size = value != NULL ? value->size : 0;

    c.blob = size > VALUE_PACKED_SIZE_MAX ? value : NULL;
    if (c.blob != NULL) {
        c.blob_hash = value_hash(value);
    } else {
        c.value = value != NULL ? value->data : NULL;
        c.value_size = size;
    }
    body_put(n, facts, &c);
    blob_unref(old);
    if (c.blob == NULL) {
        blob_unref(value);
    }
}
