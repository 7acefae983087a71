#include "history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 9 };

static const char *const kinds[HISTORY_KINDS] = {"write",  "append", "read", "excl",
                                                 "number", "delete", "list", "sync"};

const char *history_kind_text(enum history_kind kind)
{
    return kinds[kind];
}

/* --- one line -------------------------------------------------------------------------------- */

struct field {
    const char *at;
    size_t size;
};

static bool field_is(struct field f, const char *text)
{
    return f.size == strlen(text) && memcmp(f.at, text, f.size) == 0;
}

static bool field_number(struct field f, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0;

    if (f.size == 0 || f.size > 19) {
        return false;
    }
    for (size_t i = 0; i < f.size; i++) {
        if (f.at[i] < '0' || f.at[i] > '9') {
            return false;
        }
        n = 10 * n + (uint64_t)(f.at[i] - '0');
    }
    *ret = n;
    return n <= max;
}

/* The last field takes the rest of the line. */
static bool line_split(struct field line, struct field fields[FIELDS])
{
    const char *end = line.at + line.size;
    const char *at = line.at;

    for (int i = 0; i < FIELDS - 1; i++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));

        if (tab == NULL) {
            return false;
        }
        fields[i] = (struct field){at, (size_t)(tab - at)};
        at = tab + 1;
    }
    fields[FIELDS - 1] = (struct field){at, (size_t)(end - at)};
    return true;
}

static uint32_t path_number(struct history *h, struct field f)
{
    struct history_path *p;

    HASH_FIND(hh, h->paths, f.at, f.size, p);
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p));
        p->text = mem_alloc(f.size + 1);
        memcpy(p->text, f.at, f.size);
        p->text[f.size] = '\0';
        p->number = (uint32_t)h->path_count;
        HASH_ADD_KEYPTR(hh, h->paths, p->text, f.size, p);
        if (h->path_count == h->path_cap) {
            h->path_cap = 2 * h->path_cap + 64;
            h->by_number = mem_realloc(h->by_number, h->path_cap * sizeof(struct history_path *));
        }
        h->by_number[h->path_count++] = p;
    }
    return p->number;
}

/* docs: Errors. What cannot have taken effect is listed; every other failure leaves it open:
 * ETIMEDOUT says so, ESTALE comes of a session that ended with the call under way, EIO, EINTR and
 * ENOTCONN of a mount that was interrupted or died. */
static enum history_outcome outcome_of(const struct history_op *op)
{
    static const char *const refused[] = {"ENOENT", "EEXIST",       "EROFS", "ENOTDIR", "EISDIR",
                                          "EFBIG",  "ENAMETOOLONG", "EPERM", "EACCES",  "EINVAL"};

    if (op->ret_ns == HISTORY_NEVER) {
        return HISTORY_UNKNOWN;
    }
    if (strcmp(op->err, "0") == 0) {
        return HISTORY_DONE;
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (strcmp(op->err, refused[i]) == 0) {
            return HISTORY_REFUSED;
        }
    }
    return HISTORY_UNKNOWN;
}

static bool op_parse(struct history *h, struct field line, struct history_op *ret)
{
    struct history_op op = {.kind = HISTORY_KINDS};
    struct field f[FIELDS];
    uint64_t proc, mount;

    if (!line_split(line, f) || !field_number(f[0], UINT32_MAX, &proc) ||
        !field_number(f[1], UINT32_MAX, &mount) || !(field_is(f[2], "d") || field_is(f[2], "l")) ||
        !field_number(f[4], INT64_MAX, &op.call_ns) || f[6].size == 0 ||
        f[6].size >= sizeof(op.err) || f[7].size == 0) {
        return false;
    }
    for (int k = 0; k < HISTORY_KINDS; k++) {
        if (field_is(f[3], kinds[k])) {
            op.kind = (enum history_kind)k;
        }
    }
    if (field_is(f[5], "-")) {
        op.ret_ns = HISTORY_NEVER;
    } else if (!field_number(f[5], INT64_MAX, &op.ret_ns) || op.ret_ns < op.call_ns) {
        return false;
    }
    if (op.kind == HISTORY_KINDS) {
        return false;
    }
    op.proc = (uint32_t)proc;
    op.mount = (uint32_t)mount;
    op.linear = f[2].at[0] == 'l';
    memcpy(op.err, f[6].at, f[6].size);
    op.outcome = outcome_of(&op);
    op.exists = op.outcome == HISTORY_REFUSED && strcmp(op.err, "EEXIST") == 0;
    op.absent = op.outcome == HISTORY_REFUSED && strcmp(op.err, "ENOENT") == 0 &&
                op.kind != HISTORY_EXCL && op.kind != HISTORY_NUMBER; /* these miss a directory */
    op.path = path_number(h, f[7]);
    op.result = f[8].at;
    op.result_size = (uint32_t)f[8].size;
    op.has_result = !field_is(f[8], "-");
    *ret = op;
    return true;
}

/* --- texts and files ------------------------------------------------------------------------- */

/* Takes the text over. */
static uint64_t add_text(struct history *h, char *text, size_t size)
{
    const char *at = text;
    const char *end = text + size;
    uint64_t number = 0;

    if (h->text_count == h->text_cap) {
        h->text_cap = 2 * h->text_cap + 16;
        h->texts = mem_realloc(h->texts, h->text_cap * sizeof(*h->texts));
    }
    h->texts[h->text_count++] = text;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct field line = {at, (size_t)((stop != NULL ? stop : end) - at)};

        number++;
        if (h->count == h->cap) {
            h->cap = 2 * h->cap + 1024;
            h->ops = mem_realloc(h->ops, h->cap * sizeof(*h->ops));
        }
        if (stop == NULL || !op_parse(h, line, &h->ops[h->count])) {
            return number;
        }
        h->count++;
        at = stop + 1;
    }
    return 0;
}

uint64_t history_add(struct history *h, const char *text, size_t size)
{
    char *copy = mem_alloc(size + 1);

    memcpy(copy, text, size);
    return add_text(h, copy, size);
}

int64_t history_read(struct history *h, const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0, cap = 0, n;

    if (f == NULL) {
        return -1;
    }
    do {
        if (cap - size < 65536) {
            cap = 2 * cap + 65536;
            text = mem_realloc(text, cap);
        }
        n = fread(text + size, 1, cap - size, f);
        size += n;
    } while (n > 0);
    if (ferror(f)) {
        mem_free(text);
        fclose(f);
        return -1;
    }
    fclose(f);
    return (int64_t)add_text(h, text, size);
}

void history_done(struct history *h)
{
    HASH_CLEAR(hh, h->paths);
    for (uint64_t i = 0; i < h->path_count; i++) {
        mem_free(h->by_number[i]->text);
        mem_free(h->by_number[i]);
    }
    for (uint64_t i = 0; i < h->text_count; i++) {
        mem_free(h->texts[i]);
    }
    mem_free(h->by_number);
    mem_free(h->texts);
    mem_free(h->ops);
    *h = (struct history){0};
}

/* --- words ----------------------------------------------------------------------------------- */

const char *history_path_text(const struct history *h, const struct history_op *op)
{
    return h->by_number[op->path]->text;
}

void history_describe(const struct history *h, const struct history_op *op, char *to, size_t cap)
{
    int shown = op->result_size < 80 ? (int)op->result_size : 80;
    char ret[24] = "-";

    if (op->ret_ns != HISTORY_NEVER) {
        snprintf(ret, sizeof(ret), "%" PRIu64, op->ret_ns);
    }
    snprintf(to, cap, "proc %u mount %u%s %s %s [%" PRIu64 ", %s] err %s result \"%.*s\"%s",
             op->proc, op->mount, op->linear ? "l" : "d", kinds[op->kind], history_path_text(h, op),
             op->call_ns, ret, op->err, shown, op->result, op->result_size > 80 ? "..." : "");
}

void findings_add(struct findings *f, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    int size;

    if (f->count++ >= FINDINGS_SHOWN_MAX) {
        return;
    }
    va_start(ap, fmt);
    size = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_put(&f->text, line, (size_t)size < sizeof(line) ? (size_t)size : sizeof(line) - 1);
    buf_put(&f->text, "\n", 1);
}

void findings_done(struct findings *f)
{
    buf_done(&f->text);
    *f = (struct findings){0};
}
