/* A line of /proc/self/mountinfo, whose paths and sources other users choose. What is understood is
 * written as a line again, which means the same. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "mountpoint.h"

static void put_escaped(struct buf *b, const char *text)
{
    for (; *text != '\0'; text++) {
        char octal[8];
        int n = snprintf(octal, sizeof(octal), "\\%03o", (unsigned char)*text);

        buf_put(b, octal, (size_t)n);
    }
}

static void check_round_trip(const struct mountpoint_entry *e)
{
    struct mountpoint_entry *again = mem_alloc(sizeof(*again));
    struct buf line = {0};
    char start[64], type[80];
    int n = snprintf(start, sizeof(start), "1 2 %u:%u / ", e->dev_major, e->dev_minor);

    buf_put(&line, start, (size_t)n);
    put_escaped(&line, e->path);
    n = snprintf(type, sizeof(type), " rw - %s s rw", e->type);
    buf_put(&line, type, (size_t)n + 1);
    CHECK(mountpoint_line((const char *)line.data, again));
    CHECK(again->dev_major == e->dev_major);
    CHECK(again->dev_minor == e->dev_minor);
    CHECK(strcmp(again->path, e->path) == 0);
    CHECK(strcmp(again->type, e->type) == 0);
    buf_done(&line);
    mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct mountpoint_entry *e = mem_alloc(sizeof(*e));
    char *line = mem_alloc(size + 1);

    if (size > 0) {
        memcpy(line, bytes, size);
    }
    line[size] = '\0';
    if (mountpoint_line(line, e)) {
        CHECK(memchr(e->path, '\0', sizeof(e->path)) != NULL);
        CHECK(memchr(e->type, '\0', sizeof(e->type)) != NULL);
        if (4 * strlen(e->path) < sizeof(e->path)) { /* it fits when it is escaped */
            check_round_trip(e);
        }
    }
    mem_free(line);
    mem_free(e);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const lines[] = {
        "36 35 0:44 / /mnt/a rw,noatime master:1 - fuse.zabfs zabfs rw",
        "1 2 8:1 / /a\\040b\\134c rw - ext4 /dev/x rw",
        "36 35 0:44 / /mnt/a rw,noatime",
        "1 2 4294967296:1 / /a\\400 rw shared:1 master:2 propagate_from:3 - a - b - c",
        "",
    };
    const char *text = lines[i % (sizeof(lines) / sizeof(lines[0]))];

    buf_put(b, text, strlen(text));
}
