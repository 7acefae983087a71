/* The text form of transactions: what is understood, what is refused and where, and what comes
 * out. */
#include <criterion/criterion.h>
#include <string.h>

#include "blob.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "txn_text.h"

static struct txn_text parse(const char *text)
{
    struct txn_text t;
    struct txn_text_error e = {0};
    int err = txn_text_parse(text, strlen(text), &t, &e);

    cr_assert_eq(err, 0, "%s: %u:%u: %s", text, e.line, e.column, e.reason);
    return t;
}

static bool value_is(const struct txn_step *s, const char *bytes, size_t size)
{
    if (s->value == NULL) {
        return size == 0;
    }
    return s->value->size == size && memcmp(s->value->data, bytes, size) == 0;
}

Test(txn_text, every_verb)
{
    struct txn_text t = parse("check /a 7\nabsent /b\n\n# comment \"\ncreate /c\ncreate /c2 v\n"
                              "mkdir /d\nsymlink /e ../x\nset /f v\nset /f v if 3\n"
                              "append /g w\ndelete /h\ndelete /h 9\nrename /i /j\ncheck /k");
    static const struct {
        enum txn_step_kind kind;
        const char *path, *value;
        uint64_t version;
        uint32_t line;
    } want[] = {
        {TXN_CHECK, "/a", "", 7, 1},    {TXN_ABSENT, "/b", "", 0, 2},
        {TXN_CREATE, "/c", "", 0, 5},   {TXN_CREATE, "/c2", "v", 0, 6},
        {TXN_MKDIR, "/d", "", 0, 7},    {TXN_SYMLINK, "/e", "../x", 0, 8},
        {TXN_SET, "/f", "v", 0, 9},     {TXN_SET, "/f", "v", 3, 10},
        {TXN_APPEND, "/g", "w", 0, 11}, {TXN_DELETE, "/h", "", 0, 12},
        {TXN_DELETE, "/h", "", 9, 13},  {TXN_RENAME, "/i", "/j", 0, 14},
        {TXN_CHECK, "/k", "", 0, 15},
    };

    cr_assert_eq(t.count, sizeof(want) / sizeof(want[0]));
    for (uint32_t n = 0; n < t.count; n++) {
        const struct txn_step *s = &t.steps[n];

        cr_assert_eq(s->kind, want[n].kind);
        cr_assert(s->path.size == strlen(want[n].path) &&
                  memcmp(s->path.bytes, want[n].path, s->path.size) == 0);
        cr_assert(value_is(s, want[n].value, strlen(want[n].value)));
        cr_assert_eq(s->version, want[n].version);
        cr_assert_eq(t.lines[n], want[n].line);
    }
    txn_text_done(&t);
    cr_assert_eq(t.count, 0);
}

Test(txn_text, quotes_carry_every_byte)
{
    struct txn_text t = parse("create \"/a b\" \"\\n\\t\\r\\\\\\\"\\x00\\xfF\"\n"
                              "set\t/back\\slash   \"\"  if 1  \n");

    cr_assert_eq(t.count, 2);
    cr_assert(memcmp(t.steps[0].path.bytes, "/a b", 4) == 0);
    cr_assert(value_is(&t.steps[0], "\n\t\r\\\"\0\xff", 7));
    cr_assert(memcmp(t.steps[1].path.bytes, "/back\\slash", 11) == 0);
    cr_assert(value_is(&t.steps[1], "", 0));
    txn_text_done(&t);
}

Test(txn_text, what_is_quoted_reads_back)
{
    uint8_t all[256];
    struct buf text = {0};
    struct txn_text t;
    struct txn_text_error e;

    for (int n = 0; n < 256; n++) {
        all[n] = (uint8_t)n;
    }
    buf_put(&text, "create /x ", 10);
    txn_text_quote(all, sizeof(all), &text);
    cr_assert_eq(txn_text_parse(text.data, text.size, &t, &e), 0);
    cr_assert_eq(t.count, 1);
    cr_assert(value_is(&t.steps[0], (const char *)all, sizeof(all)));
    txn_text_done(&t);
    buf_done(&text);
}

Test(txn_text, what_is_refused_and_where)
{
    static const struct {
        const char *text;
        uint32_t line, column;
    } bad[] = {
        {"frob /a", 1, 1},
        {"check", 1, 6},
        {"check a", 1, 7},
        {"check \"\"", 1, 7},
        {"\n\ncheck /a x", 3, 10},
        {"check /a 0", 1, 10},
        {"check /a 18446744073709551616", 1, 10},
        {"check /a 1 2", 1, 12},
        {"absent /a b", 1, 11},
        {"symlink /a", 1, 11},
        {"set /a", 1, 7},
        {"set /a b 1", 1, 10},
        {"set /a b if", 1, 12},
        {"set /a b if 1 2", 1, 15},
        {"rename /a b", 1, 11},
        {"create /a \"b", 1, 11},
        {"create /a \"b\nc\"", 1, 11},
        {"create /a \"b\"c", 1, 14},
        {"create /a b\"c", 1, 12},
        {"create /a \"\\q\"", 1, 12},
        {"create /a \"\\x0g\"", 1, 12},
        {"create /a \"\\x0", 1, 12},
        {"create \"/a\\x00\" b", 1, 8},
        {"check /a\ncheck /b\n check b", 3, 8},
    };

    for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        struct txn_text t;
        struct txn_text_error e = {0};

        cr_expect_eq(txn_text_parse(bad[n].text, strlen(bad[n].text), &t, &e), ERR_INVAL, "%s",
                     bad[n].text);
        cr_expect(e.line == bad[n].line && e.column == bad[n].column, "%s: %u:%u: %s", bad[n].text,
                  e.line, e.column, e.reason);
    }
}

Test(txn_text, too_many_steps)
{
    struct buf text = {0};
    struct txn_text t;
    struct txn_text_error e;

    for (int n = 0; n < TXN_STEPS_MAX; n++) {
        buf_put(&text, "mkdir /a\n", 9);
    }
    cr_assert_eq(txn_text_parse(text.data, text.size, &t, &e), 0);
    cr_assert_eq(t.count, TXN_STEPS_MAX);
    txn_text_done(&t);
    buf_put(&text, "mkdir /a\n", 9);
    cr_assert_eq(txn_text_parse(text.data, text.size, &t, &e), ERR_TOOBIG);
    cr_assert_eq(e.line, TXN_STEPS_MAX + 1);
    buf_done(&text);
}

static void outcome_is(const struct txn_text *t, const struct reply *r, const char *want)
{
    struct buf b = {0};

    txn_text_outcome(t, r, &b);
    cr_expect(b.size == strlen(want) && memcmp(b.data, want, b.size) == 0, "%.*s", (int)b.size,
              (const char *)b.data);
    buf_done(&b);
}

Test(txn_text, outcomes)
{
    struct txn_text t = parse("absent /a\n\ncreate \"/q q/job-#\" x\nrename /x \"/y z\"\n");
    struct txn_outcome list[] = {
        {0, 0, {"a", 1}}, {5, 1, {"job-0000000003", 14}}, {6, 4, {"y z", 3}}};
    struct reply ok = {.op = OP_TXN, .index = 77, .u.txn = {.count = 3, .list = list}};
    struct reply refused = {.op = OP_TXN, .index = 77, .u.txn = {.err = ERR_EXISTS, .failed = 2}};
    struct reply failed = {.op = OP_TXN, .err = ERR_TIMEOUT};

    outcome_is(&t, &ok,
               "ok 77\nabsent /a\ncreate \"/q q/job-0000000003\" 1\nrename /x \"/y z\" 4\n");
    outcome_is(&t, &refused, "error 3: file exists\n");
    outcome_is(&t, &failed, "error: no answer in time, outcome unknown\n");
    txn_text_done(&t);
}
