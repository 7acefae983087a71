#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "history_gen.h"
#include "order.h"
#include "wgl.h"

/* Both checkers believe good histories, and none of a thousand spoiled ones. */

static const struct wgl_conf conf = {.steps_max = 1000000};

struct verdict {
    struct findings order_findings, wgl_findings;
    struct order_counts order;
    struct wgl_counts wgl;
};

static void judge(const struct gen *g, struct verdict *v)
{
    struct history h = {0};

    *v = (struct verdict){0};
    gen_history(g, &h);
    cr_assert(order_check(&h, &g->ledger, &v->order_findings, &v->order), "%s", v->order.why_not);
    wgl_check(&h, &conf, &v->wgl_findings, &v->wgl);
    history_done(&h);
}

static void verdict_done(struct verdict *v)
{
    findings_done(&v->order_findings);
    findings_done(&v->wgl_findings);
}

static const char *text_of(struct findings *f)
{
    buf_put(&f->text, "", 1);
    return (const char *)f->text.data;
}

Test(check_histories, good_ones_are_believed)
{
    uint64_t found = 0;

    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct verdict v;
        struct gen g;

        gen_run(&g, seed, 60 + 2 * seed % 340, seed % 4 == 0 ? 0 : (uint32_t)(seed % 12));
        judge(&g, &v);
        cr_assert_eq(0, v.order_findings.count, "seed %d: %s", (int)seed,
                     text_of(&v.order_findings));
        cr_assert_eq(0, v.wgl_findings.count, "seed %d: %s", (int)seed, text_of(&v.wgl_findings));
        cr_assert_eq(0, v.wgl.unknown);
        found += v.order.unknown_found;
        verdict_done(&v);
        gen_done(&g);
    }
    cr_assert(found > 100, "%d", (int)found);
}

/* One history spoiled in one way; false: it offered no place for that. */
static bool spoiled_is_found(const struct spoiling *s, uint64_t seed)
{
    struct verdict v;
    struct gen g;

    gen_run(&g, seed, 150, seed % 3 == 0 ? 0 : 3);
    if (!s->spoil(&g)) {
        gen_done(&g);
        return false;
    }
    judge(&g, &v);
    cr_assert(!s->found_by_log || v.order_findings.count > 0, "%s believed with the log, seed %d",
              s->name, (int)seed);
    cr_assert(!s->found_without || v.wgl_findings.count > 0, "%s believed without the log, seed %d",
              s->name, (int)seed);
    verdict_done(&v);
    gen_done(&g);
    return true;
}

/* At least a thousand for each checker. */
Test(check_histories, spoiled_ones_are_not)
{
    uint64_t with = 0, without = 0;

    for (size_t i = 0; i < spoiling_count; i++) {
        uint64_t wanted = spoilings[i].found_without ? 125 : 40;
        uint64_t spoiled = 0;

        for (uint64_t seed = 1; seed <= 10 * wanted && spoiled < wanted; seed++) {
            spoiled += spoiled_is_found(&spoilings[i], 1000 * i + seed);
        }
        cr_assert_eq(wanted, spoiled, "%s: only %d could be spoiled", spoilings[i].name,
                     (int)spoiled);
        with += spoilings[i].found_by_log ? spoiled : 0;
        without += spoilings[i].found_without ? spoiled : 0;
    }
    cr_assert(with >= 1000 && without >= 1000, "%d %d", (int)with, (int)without);
}

static bool parses(const char *line)
{
    struct history h = {0};
    bool ok = history_add(&h, line, strlen(line)) == 0;

    history_done(&h);
    return ok;
}

Test(check_histories, lines_that_are_none_are_refused)
{
    cr_assert(parses("1\t2\tl\tread\t10\t20\t0\tv/v0\t1.1;\n"));
    cr_assert(parses("1\t2\tl\tread\t10\t20\t0\tv/v0\t\n"));
    cr_assert(parses("1\t2\td\twrite\t10\t-\t-\tv/v0\t1.1;\n"));
    cr_assert(parses(""));
    cr_assert(!parses("1\t2\tl\tread\t10\t20\t0\tv/v0\t1.1;"));
    cr_assert(!parses("1\t2\tl\tread\t10\t20\t0\tv/v0\n"));
    cr_assert(!parses("1\t2\tl\tread\t20\t10\t0\tv/v0\t1.1;\n"));
    cr_assert(!parses("1\t2\tx\tread\t10\t20\t0\tv/v0\t1.1;\n"));
    cr_assert(!parses("1\t2\tl\trename\t10\t20\t0\tv/v0\t1.1;\n"));
    cr_assert(!parses("a\t2\tl\tread\t10\t20\t0\tv/v0\t1.1;\n"));
    cr_assert(!parses("1\t2\tl\tread\t10\t20\t\tv/v0\t1.1;\n"));
    cr_assert(!parses("\n"));
}
