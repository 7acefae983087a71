/* A name of a node as somebody typed it. Input: 8 bytes that number a sequential name, then the
 * name. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "limits.h"
#include "name.h"

static bool is_dots(const char *name, size_t size)
{
    return (size == 1 || size == 2) && memcmp(name, "..", size) == 0;
}

static void check_name(const char *name, size_t size)
{
    int err = name_check(name, size);
    bool has_bad_byte = false;

    for (size_t i = 0; i < size; i++) {
        has_bad_byte = has_bad_byte || name[i] == '/' || name[i] == '\0';
    }
    if (size > NAME_SIZE_MAX) {
        CHECK(err == ERR_NAMETOOLONG);
    } else if (size == 0 || has_bad_byte || is_dots(name, size)) {
        CHECK(err == ERR_INVAL);
    } else {
        CHECK(err == 0);
    }
}

/* The marks are what was cut off, '#' before '@', each at most once. */
static void check_template(const char *name, size_t size, uint64_t number)
{
    struct name_template t = name_template_parse(name, size);
    char made[NAME_SIZE_MAX + 1];
    size_t made_size = 0;
    int err;

    CHECK(t.size + t.sequential + t.ephemeral == size);
    CHECK(!t.sequential || name[t.size] == '#');
    CHECK(!t.ephemeral || name[size - 1] == '@');
    CHECK(size == 0 || t.ephemeral || name[size - 1] != '@');
    CHECK(t.size == 0 || t.sequential || name[t.size - 1] != '#');
    err = name_make_sequential(name, t.size, number, made, &made_size);
    if (err != 0) {
        CHECK(err == ERR_NAMETOOLONG);
        CHECK(made_size == 0);
        CHECK(t.size > NAME_SIZE_MAX - 20);
        return;
    }
    CHECK(made_size >= t.size + SEQUENCE_DIGITS_MIN);
    CHECK(made_size <= NAME_SIZE_MAX);
    CHECK(made[made_size] == '\0');
    CHECK(t.size == 0 || memcmp(made, name, t.size) == 0);
    CHECK(strspn(made + t.size, "0123456789") == made_size - t.size);
    CHECK(strtoull(made + t.size, NULL, 10) == number);
    if (name_check(name, t.size) == 0) {
        CHECK(name_check(made, made_size) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct cursor c = cur_make(bytes, size);
    uint64_t number;

    if (cur_u64(&c, &number)) {
        check_name((const char *)c.at, cur_left(&c));
        check_template((const char *)c.at, cur_left(&c), number);
    }
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const names[] = {
        "a", "job-#", "web1@", "lock-#@", "#", "@", "#@", "@#", "##", ".", "..", "...", "a/b", "",
    };
    enum { COUNT = sizeof(names) / sizeof(names[0]) };

    i %= COUNT + 2;
    buf_put_u64(b, i % 2 ? UINT64_MAX : i);
    if (i < COUNT) {
        buf_put(b, names[i], strlen(names[i]));
        return;
    }
    for (size_t n = NAME_SIZE_MAX - 10 + 11 * (i - COUNT); n > 0; n--) {
        buf_put_u8(b, 'x');
    }
    buf_put_u8(b, '#');
}
