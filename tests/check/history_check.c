#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logs.h"
#include "order.h"
#include "wgl.h"

/* Judges what processes on real mounts saw, twice: by the members' logs (order.h), and without them
 * (wgl.h). Prints what was judged, and each finding. Exit: 0 clean, 1 an anomaly, 2 bad input. */

static const char usage[] =
    "usage: history_check [--steps-max N] --log DATA_DIR... -- HISTORY...\n"
    "  --steps-max N  of one search for an order without the logs; then its verdict is unknown\n"
    "  --log DIR...   data directories of the members, which have stopped; their logs reach back\n"
    "                 to the first entry\n"
    "  HISTORY...     files of calls: tests/check/history.h\n";

struct args {
    uint64_t steps_max;
    char **logs, **histories;
    size_t log_count, history_count;
};

static bool args_parse(int argc, char **argv, struct args *ret)
{
    struct args a = {.steps_max = 4000000};
    int i = 1;
    char *end;

    if (i + 1 < argc && strcmp(argv[i], "--steps-max") == 0) {
        a.steps_max = strtoull(argv[i + 1], &end, 10);
        if (*end != '\0' || a.steps_max == 0) {
            return false;
        }
        i += 2;
    }
    if (i >= argc || strcmp(argv[i], "--log") != 0) {
        return false;
    }
    a.logs = argv + ++i;
    while (i < argc && strcmp(argv[i], "--") != 0) {
        a.log_count++;
        i++;
    }
    if (i >= argc || a.log_count == 0) {
        return false;
    }
    a.histories = argv + i + 1;
    a.history_count = (size_t)(argc - i - 1);
    *ret = a;
    return a.history_count > 0;
}

static int read_all(const struct args *a, struct history *h)
{
    for (size_t i = 0; i < a->history_count; i++) {
        int64_t line = history_read(h, a->histories[i]);

        if (line < 0) {
            fprintf(stderr, "%s cannot be read\n", a->histories[i]);
            return 2;
        }
        if (line > 0) {
            fprintf(stderr, "%s:%" PRIi64 ": not a line of a history\n", a->histories[i], line);
            return 2;
        }
    }
    return 0;
}

static void print_logs(const struct logs_counts *n)
{
    printf("logs: members=%" PRIu64 " from_first_entry=%" PRIu64 " shortest=%" PRIu64
           " longest=%" PRIu64 "\n",
           n->members, n->whole, n->shortest, n->longest);
}

static void print_order(const struct order_counts *n, uint64_t anomalies)
{
    printf("A by the log: ops=%" PRIu64 " writes=%" PRIu64 " reads=%" PRIu64 " lists=%" PRIu64
           " syncs=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64 " unknown_in_log=%" PRIu64
           " lists_of_one_moment=%" PRIu64 " entries=%" PRIu64 " changes=%" PRIu64
           " anomalies=%" PRIu64 "\n",
           n->ops, n->writes, n->reads, n->lists, n->syncs, n->refused, n->unknown,
           n->unknown_found, n->lists_at_once, n->entries, n->changes, anomalies);
}

static void print_wgl(const struct wgl_counts *n)
{
    printf("B without it: ops=%" PRIu64 " left_out=%" PRIu64 " partitions=%" PRIu64
           " linearizable=%" PRIu64 " unknown=%" PRIu64 " anomalies=%" PRIu64 " steps=%" PRIu64
           "\n",
           n->ops, n->left_out, n->partitions, n->linearizable, n->unknown, n->anomalies, n->steps);
}

static int judge(const struct args *a, const struct history *h, const struct ledger *ledger)
{
    struct wgl_conf conf = {.steps_max = a->steps_max};
    struct findings f = {0};
    struct order_counts order;
    struct wgl_counts wgl;
    int rc = 2;

    if (!order_check(h, ledger, &f, &order)) {
        fprintf(stderr, "%s\n", order.why_not);
    } else {
        print_order(&order, f.count);
        wgl_check(h, &conf, &f, &wgl);
        print_wgl(&wgl);
        if (f.text.size > 0) {
            fwrite(f.text.data, 1, f.text.size, stdout);
        }
        printf("%s: %" PRIu64 " anomalies\n", f.count == 0 ? "clean" : "NOT CLEAN", f.count);
        rc = f.count == 0 ? 0 : 1;
    }
    findings_done(&f);
    return rc;
}

int main(int argc, char **argv)
{
    struct history h = {0};
    struct ledger ledger = {0};
    struct logs_counts counts;
    struct args a;
    char note[512] = "";
    int rc;

    if (!args_parse(argc, argv, &a)) {
        fputs(usage, stderr);
        return 2;
    }
    rc = read_all(&a, &h);
    if (rc == 0) {
        rc = logs_read(a.logs, a.log_count, &ledger, &counts, note, sizeof(note));
        if (rc == 0) {
            print_logs(&counts);
            rc = judge(&a, &h, &ledger);
        } else {
            printf("%s: %s\n", rc == 1 ? "NOT CLEAN" : "not judged", note);
        }
    }
    ledger_done(&ledger);
    history_done(&h);
    return rc;
}
