/* A transaction as somebody wrote it. What parses can be sent, and its words, quoted, parse to the
 * same steps; what does not says where. */
#include "fuzz.h"

#include <string.h>

#include "blob.h"
#include "check.h"
#include "err.h"
#include "txn_text.h"

static const char *const verbs[] = {
    [TXN_CHECK] = "check",   [TXN_ABSENT] = "absent",   [TXN_CREATE] = "create",
    [TXN_MKDIR] = "mkdir",   [TXN_SYMLINK] = "symlink", [TXN_SET] = "set",
    [TXN_APPEND] = "append", [TXN_DELETE] = "delete",   [TXN_RENAME] = "rename",
};

static void put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static void put_number(struct buf *b, uint64_t n)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_put(b, digits + at, sizeof(digits) - at);
}

static void put_step(struct buf *b, const struct txn_step *s)
{
    bool has_version = s->version != VERSION_ANY;
    bool needs_value = s->kind == TXN_SYMLINK || s->kind == TXN_SET || s->kind == TXN_APPEND ||
                       s->kind == TXN_RENAME;

    put_text(b, verbs[s->kind]);
    put_text(b, " ");
    txn_text_quote(s->path.bytes, s->path.size, b);
    if (needs_value || s->value != NULL) {
        put_text(b, " ");
        txn_text_quote(s->value != NULL ? s->value->data : NULL,
                       s->value != NULL ? s->value->size : 0, b);
    }
    if (has_version) {
        put_text(b, s->kind == TXN_SET ? " if " : " ");
        put_number(b, s->version);
    }
    put_text(b, "\n");
}

static bool same(const struct txn_step *a, const struct txn_step *b)
{
    uint32_t size = a->value != NULL ? a->value->size : 0;

    return a->kind == b->kind && a->version == b->version && a->path.size == b->path.size &&
           memcmp(a->path.bytes, b->path.bytes, a->path.size) == 0 &&
           size == (b->value != NULL ? b->value->size : 0) &&
           (size == 0 || memcmp(a->value->data, b->value->data, size) == 0);
}

static void check_steps(const struct txn_text *t)
{
    struct txn_text again = {0};
    struct txn_text_error e;
    struct buf text = {0};
    int err;

    CHECK(t->count <= TXN_STEPS_MAX);
    for (uint32_t i = 0; i < t->count; i++) {
        CHECK(t->steps[i].path.size > 0 && t->steps[i].path.bytes[0] == '/');
        put_step(&text, &t->steps[i]);
    }
    err = txn_text_parse(text.data, text.size, &again, &e);
    CHECK(err == 0);
    CHECK(again.count == t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        CHECK(same(&again.steps[i], &t->steps[i]));
    }
    txn_text_done(&again);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct txn_text t = {0};
    struct txn_text_error e = {0};
    struct buf said = {0};
    int err = txn_text_parse(bytes, size, &t, &e);

    if (err == 0) {
        check_steps(&t);
        txn_text_done(&t);
    } else {
        CHECK(err == ERR_INVAL || err == ERR_TOOBIG);
        CHECK(e.line > 0 && e.reason != NULL);
        txn_text_malformed(&e, &said);
        CHECK(said.size > 0);
        buf_done(&said);
    }
    CHECK(t.steps == NULL && t.count == 0);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const texts[] = {
        "check /a 3\nset /a new if 3\n",
        "absent /a\ncreate /a\ncreate /b \"two words\"\n",
        "# a comment\n\nmkdir /dir\nsymlink /dir/link ../target",
        "append /log \"line\\n\"\ndelete /old 7\nrename /a /b\n",
        "create \"/odd \\x01\\\"\" \"\\t\\r\\\\\"\n",
        "set /a\n",
        "create /q-# \"unfinished\n",
        "delete a\n",
    };
    const char *text = texts[i % (sizeof(texts) / sizeof(texts[0]))];

    buf_put(b, text, strlen(text));
}
