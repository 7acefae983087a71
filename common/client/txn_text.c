#include "txn_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "blob.h"
#include "err.h"
#include "limits.h"
#include "mem.h"

enum { WORDS_MAX = 5 };

enum second { SECOND_NONE, SECOND_MAY, SECOND_MUST, SECOND_PATH }; /* what follows the path */
enum when { WHEN_NEVER, WHEN_BARE, WHEN_IF };                      /* how a version is given */

static const struct verb {
    const char *name;
    enum txn_step_kind kind;
    enum second second;
    enum when version;
} verbs[] = {
    {"check", TXN_CHECK, SECOND_NONE, WHEN_BARE},
    {"absent", TXN_ABSENT, SECOND_NONE, WHEN_NEVER},
    {"create", TXN_CREATE, SECOND_MAY, WHEN_NEVER},
    {"mkdir", TXN_MKDIR, SECOND_NONE, WHEN_NEVER},
    {"symlink", TXN_SYMLINK, SECOND_MUST, WHEN_NEVER},
    {"set", TXN_SET, SECOND_MUST, WHEN_IF},
    {"append", TXN_APPEND, SECOND_MUST, WHEN_NEVER},
    {"delete", TXN_DELETE, SECOND_NONE, WHEN_BARE},
    {"rename", TXN_RENAME, SECOND_PATH, WHEN_NEVER},
};
enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

struct word {
    struct buf bytes;
    uint32_t column;
};

struct parser {
    const uint8_t *at, *end;
    const uint8_t *line_start;
    uint32_t line;
    struct txn_text_error *error;
    struct word words[WORDS_MAX];
    uint32_t word_count;
    uint32_t step_cap;
};

static uint32_t column_of(const struct parser *p)
{
    return (uint32_t)(p->at - p->line_start) + 1;
}

static int bad(struct parser *p, uint32_t column, int err, const char *reason)
{
    *p->error = (struct txn_text_error){.line = p->line, .column = column, .reason = reason};
    return err;
}

/* --- words ----------------------------------------------------------------------------------- */

static bool at_line_end(const struct parser *p)
{
    return p->at == p->end || *p->at == '\n';
}

static bool at_gap(const struct parser *p)
{
    return at_line_end(p) || *p->at == ' ' || *p->at == '\t';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind a backslash. */
static int take_escape(struct parser *p, struct buf *to)
{
    static const char names[] = "ntr\\\"", bytes[] = "\n\t\r\\\"";
    const char *found = at_line_end(p) || *p->at == 0 ? NULL : strchr(names, *p->at);
    int high, low;

    if (found != NULL) {
        buf_put_u8(to, (uint8_t)bytes[found - names]);
        p->at++;
        return 0;
    }
    if (p->end - p->at >= 3 && *p->at == 'x' && (high = hex_digit(p->at[1])) >= 0 &&
        (low = hex_digit(p->at[2])) >= 0) {
        buf_put_u8(to, (uint8_t)(high << 4 | low));
        p->at += 3;
        return 0;
    }
    return bad(p, column_of(p) - 1, ERR_INVAL, "no such escape");
}

static int take_quoted(struct parser *p, struct word *w)
{
    int err;

    for (p->at++; !at_line_end(p); p->at++) {
        if (*p->at == '"') {
            p->at++;
            return at_gap(p) ? 0 : bad(p, column_of(p), ERR_INVAL, "a space must follow the quote");
        }
        if (*p->at == '\\') {
            p->at++;
            if ((err = take_escape(p, &w->bytes)) != 0) {
                return err;
            }
            p->at--;
        } else {
            buf_put_u8(&w->bytes, *p->at);
        }
    }
    return bad(p, w->column, ERR_INVAL, "quote without an end");
}

static int take_bare(struct parser *p, struct word *w)
{
    for (; !at_gap(p); p->at++) {
        if (*p->at == '"') {
            return bad(p, column_of(p), ERR_INVAL, "quote inside a word");
        }
        buf_put_u8(&w->bytes, *p->at);
    }
    return 0;
}

/* All words of a line; leaves the parser at its end. */
static int take_words(struct parser *p)
{
    int err = 0;

    p->word_count = 0;
    while (err == 0) {
        struct word *w;

        while (!at_line_end(p) && at_gap(p)) {
            p->at++;
        }
        if (at_line_end(p)) {
            return 0;
        }
        if (p->word_count == WORDS_MAX) {
            return bad(p, column_of(p), ERR_INVAL, "too many words");
        }
        w = &p->words[p->word_count++];
        w->bytes.size = 0;
        w->column = column_of(p);
        err = *p->at == '"' ? take_quoted(p, w) : take_bare(p, w);
    }
    return err;
}

static bool word_is(const struct word *w, const char *text)
{
    size_t size = strlen(text);

    return w->bytes.size == size && memcmp(w->bytes.data, text, size) == 0;
}

/* --- steps ----------------------------------------------------------------------------------- */

static int check_path(struct parser *p, const struct word *w)
{
    if (w->bytes.size == 0 || w->bytes.data[0] != '/') {
        return bad(p, w->column, ERR_INVAL, "a path must begin with /");
    }
    if (memchr(w->bytes.data, 0, w->bytes.size) != NULL) {
        return bad(p, w->column, ERR_INVAL, "NUL in a path");
    }
    return w->bytes.size > PATH_SIZE_MAX ? bad(p, w->column, ERR_INVAL, "path too long") : 0;
}

static int take_version(struct parser *p, const struct word *w, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t n = 0; n < w->bytes.size; n++) {
        uint8_t digit = (uint8_t)(w->bytes.data[n] - '0');

        if (digit > 9 || v > (UINT64_MAX - digit) / 10) {
            return bad(p, w->column, ERR_INVAL, "not a version");
        }
        v = 10 * v + digit;
    }
    if (v == 0) {
        return bad(p, w->column, ERR_INVAL, "not a version");
    }
    *ret = v;
    return 0;
}

static int take_value(struct parser *p, enum second kind, const struct word *w, struct blob **ret)
{
    int err = kind == SECOND_PATH ? check_path(p, w) : 0;

    if (err == 0 && w->bytes.size > VALUE_SIZE_MAX) {
        err = bad(p, w->column, ERR_TOOBIG, "value too large");
    }
    if (err == 0 && w->bytes.size > 0) {
        *ret = blob_new(w->bytes.data, w->bytes.size);
    }
    return err;
}

static const struct verb *find_verb(const struct word *w)
{
    for (int n = 0; n < VERB_COUNT; n++) {
        if (word_is(w, verbs[n].name)) {
            return &verbs[n];
        }
    }
    return NULL;
}

/* Of the words behind the verb; *s is complete or holds nothing. */
static int take_operands(struct parser *p, const struct verb *v, struct txn_step *s)
{
    uint32_t at = 2;
    int err;

    if (p->word_count < 2) {
        return bad(p, column_of(p), ERR_INVAL, "a path is missing");
    }
    if ((err = check_path(p, &p->words[1])) != 0) {
        return err;
    }
    if (v->second != SECOND_NONE && at < p->word_count) {
        err = take_value(p, v->second, &p->words[at++], &s->value);
    } else if (v->second == SECOND_MUST || v->second == SECOND_PATH) {
        return bad(p, column_of(p), ERR_INVAL, "a word is missing");
    }
    if (err == 0 && v->version == WHEN_IF && at < p->word_count) {
        if (!word_is(&p->words[at], "if")) {
            err = bad(p, p->words[at].column, ERR_INVAL, "expected: if VERSION");
        } else if (++at == p->word_count) {
            err = bad(p, column_of(p), ERR_INVAL, "a version is missing");
        }
    }
    if (err == 0 && v->version != WHEN_NEVER && at < p->word_count) {
        err = take_version(p, &p->words[at++], &s->version);
    }
    if (err == 0 && at < p->word_count) {
        err = bad(p, p->words[at].column, ERR_INVAL, "too many words");
    }
    if (err != 0) {
        blob_unref(s->value);
        return err;
    }
    s->path = (struct name){.bytes = mem_dup(p->words[1].bytes.data, p->words[1].bytes.size),
                            .size = (uint32_t)p->words[1].bytes.size};
    return 0;
}

static int take_step(struct parser *p, struct txn_text *t)
{
    const struct verb *v = find_verb(&p->words[0]);
    struct txn_step s = {.version = VERSION_ANY};
    int err;

    if (v == NULL) {
        return bad(p, p->words[0].column, ERR_INVAL, "no such verb");
    }
    if (t->count == TXN_STEPS_MAX) {
        return bad(p, p->words[0].column, ERR_TOOBIG, "too many steps");
    }
    s.kind = v->kind;
    if ((err = take_operands(p, v, &s)) != 0) {
        return err;
    }
    if (t->count == p->step_cap) {
        p->step_cap = p->step_cap != 0 ? 2 * p->step_cap : 16;
        t->steps = mem_realloc(t->steps, p->step_cap * sizeof(*t->steps));
        t->lines = mem_realloc(t->lines, p->step_cap * sizeof(*t->lines));
    }
    t->steps[t->count] = s;
    t->lines[t->count++] = p->line;
    return 0;
}

static int take_line(struct parser *p, struct txn_text *t)
{
    int err;

    p->line_start = p->at;
    p->line++;
    if (!at_line_end(p) && *p->at == '#') {
        const uint8_t *end = memchr(p->at, '\n', (size_t)(p->end - p->at));

        p->at = end != NULL ? end : p->end;
    }
    err = take_words(p);
    if (err == 0 && p->word_count > 0) {
        err = take_step(p, t);
    }
    if (err == 0 && p->at < p->end) {
        p->at++; /* the line break */
    }
    return err;
}

int txn_text_parse(const void *bytes, size_t size, struct txn_text *ret,
                   struct txn_text_error *ret_error)
{
    const uint8_t *text = size > 0 ? bytes : (const uint8_t *)""; /* of nothing there is no end */
    struct parser p = {.at = text, .end = text + size, .error = ret_error};
    struct txn_text t = {0};
    int err = 0;

    if (size > TXN_TEXT_SIZE_MAX) {
        p.line = 1;
        return bad(&p, 1, ERR_TOOBIG, "too much text");
    }
    while (err == 0 && p.at < p.end) {
        err = take_line(&p, &t);
    }
    for (int n = 0; n < WORDS_MAX; n++) {
        buf_done(&p.words[n].bytes);
    }
    if (err != 0) {
        txn_text_done(&t);
        return err;
    }
    *ret = t;
    return 0;
}

void txn_text_done(struct txn_text *t)
{
    for (uint32_t n = 0; n < t->count; n++) {
        mem_free((void *)(uintptr_t)t->steps[n].path.bytes);
        blob_unref(t->steps[n].value);
    }
    mem_free(t->steps);
    mem_free(t->lines);
    *t = (struct txn_text){0};
}

/* --- the outcome ----------------------------------------------------------------------------- */

static bool is_plain(const uint8_t *bytes, size_t size)
{
    for (size_t n = 0; n < size; n++) {
        if (bytes[n] <= ' ' || bytes[n] == '"' || bytes[n] == 0x7f) {
            return false;
        }
    }
    return size > 0 && bytes[0] != '#';
}

void txn_text_quote(const void *bytes, size_t size, struct buf *ret)
{
    const uint8_t *at = bytes;
    char hex[5];

    if (is_plain(at, size)) {
        buf_put(ret, bytes, size);
        return;
    }
    buf_put_u8(ret, '"');
    for (size_t n = 0; n < size; n++) {
        if (at[n] == '"' || at[n] == '\\') {
            buf_put_u8(ret, '\\');
            buf_put_u8(ret, at[n]);
        } else if (at[n] < ' ' || at[n] == 0x7f) {
            snprintf(hex, sizeof(hex), "\\x%02x", at[n]);
            buf_put(ret, hex, 4);
        } else {
            buf_put_u8(ret, at[n]);
        }
    }
    buf_put_u8(ret, '"');
}

static void put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static void put_number(struct buf *b, const char *before, uint64_t n)
{
    char text[64];

    snprintf(text, sizeof(text), "%s%" PRIu64, before, n);
    put_text(b, text);
}

static const char *verb_text(enum txn_step_kind kind)
{
    for (int n = 0; n < VERB_COUNT; n++) {
        if (verbs[n].kind == kind) {
            return verbs[n].name;
        }
    }
    return "?";
}

/* The directory as it was written, the name as it was made. */
static void put_made_path(struct buf *b, struct name path, struct name name)
{
    struct buf whole = {0};
    uint32_t dir_size = path.size;

    while (dir_size > 0 && path.bytes[dir_size - 1] != '/') {
        dir_size--;
    }
    buf_put(&whole, path.bytes, dir_size);
    buf_put(&whole, name.bytes, name.size);
    txn_text_quote(whole.data, whole.size, b);
    buf_done(&whole);
}

static void put_step(struct buf *b, const struct txn_step *s, const struct txn_outcome *o)
{
    put_text(b, verb_text(s->kind));
    put_text(b, " ");
    if (s->kind == TXN_RENAME) {
        txn_text_quote(s->path.bytes, s->path.size, b);
        put_text(b, " ");
        txn_text_quote(s->value->data, s->value->size, b);
    } else if (o->name.size > 0) {
        put_made_path(b, s->path, o->name);
    } else {
        txn_text_quote(s->path.bytes, s->path.size, b);
    }
    if (s->kind != TXN_ABSENT) {
        put_number(b, " ", o->version);
    }
    put_text(b, "\n");
}

int txn_text_err(const struct reply *r)
{
    return r->err != 0 ? r->err : r->u.txn.err;
}

void txn_text_outcome(const struct txn_text *t, const struct reply *r, struct buf *ret)
{
    int err = txn_text_err(r);

    if (err == 0) {
        put_number(ret, "ok ", r->index);
        put_text(ret, "\n");
        for (uint32_t n = 0; n < r->u.txn.count && n < t->count; n++) {
            put_step(ret, &t->steps[n], &r->u.txn.list[n]);
        }
        return;
    }
    put_text(ret, "error");
    if (r->err == 0 && r->u.txn.failed >= 1 && r->u.txn.failed <= t->count) {
        put_number(ret, " ", t->lines[r->u.txn.failed - 1]);
    }
    put_text(ret, ": ");
    put_text(ret, err == ERR_VERSION ? "has another version" : err_text(err));
    put_text(ret, "\n");
}

void txn_text_malformed(const struct txn_text_error *e, struct buf *ret)
{
    put_number(ret, "error ", e->line);
    put_number(ret, ":", e->column);
    put_text(ret, ": ");
    put_text(ret, e->reason);
    put_text(ret, "\n");
}
