/* Runs a fuzz target without libFuzzer: `NAME [-runs=N] [-seed=S] [-write=DIR] [FILE|DIR...]`.
 *
 * FILEs, and those in DIRs, are replayed. Then N inputs are made from the seed: random bytes, and
 * those files and the target's own examples, changed a little. The same seed gives the same inputs,
 * so a crash repeats. Without -runs: none if anything was replayed, else 100000.
 *
 * -write=DIR only writes the target's examples to DIR, each under the hash of its content: how a
 * corpus begins. Other flags are libFuzzer's and mean nothing here. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "hash.h"
#include "mem.h"
#include "prng.h"

enum { FILE_SIZE_MAX = 16 << 20, RANDOM_SIZE_MAX = 512, SEEDS_MAX = 256, CHANGES_MAX = 8 };

struct corpus {
    struct buf *inputs;
    size_t count;
};

/* The target gets memory of exactly the input's size, so that a read past its end is seen. */
static void run_one(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = mem_dup(bytes, size);

    LLVMFuzzerTestOneInput(copy, size);
    mem_free(copy);
}

/* --- files ----------------------------------------------------------------------------------- */

static bool add_file(struct corpus *c, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct buf b = {0};

    if (file == NULL) {
        perror(path);
        return false;
    }
    buf_reserve(&b, FILE_SIZE_MAX);
    b.size = fread(b.data, 1, FILE_SIZE_MAX, file);
    (void)fclose(file);
    c->inputs = mem_realloc(c->inputs, (c->count + 1) * sizeof(*c->inputs));
    c->inputs[c->count] = (struct buf){0};
    buf_put(&c->inputs[c->count++], b.data, b.size);
    buf_done(&b);
    return true;
}

/* In the order of their names, whatever the file system's: runs repeat. */
static bool add_dir(struct corpus *c, const char *dir)
{
    struct dirent **names;
    int count = scandir(dir, &names, NULL, alphasort);
    bool good = count >= 0;

    if (!good) {
        perror(dir);
    }
    for (int i = 0; i < count; i++) {
        char path[4096];

        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
        good = (names[i]->d_name[0] == '.' || add_file(c, path)) && good;
        free(names[i]);
    }
    if (count >= 0) {
        free(names);
    }
    return good;
}

static bool add_path(struct corpus *c, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? add_dir(c, path) : add_file(c, path);
}

static void corpus_done(struct corpus *c)
{
    for (size_t i = 0; i < c->count; i++) {
        buf_done(&c->inputs[i]);
    }
    mem_free(c->inputs);
}

static int write_seeds(const char *dir)
{
    for (unsigned i = 0; i < SEEDS_MAX; i++) {
        struct buf b = {0};
        char path[4096];
        FILE *file;
        bool good;

        fuzz_seed(i, &b);
        (void)snprintf(path, sizeof(path), "%s/%016" PRIx64, dir, hash64(b.data, b.size, 0));
        file = fopen(path, "wb");
        good = file != NULL && (b.size == 0 || fwrite(b.data, b.size, 1, file) == 1);
        good = file != NULL && fclose(file) == 0 && good;
        buf_done(&b);
        if (!good) {
            perror(path);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

/* --- mutations -------------------------------------------------------------------------------- */

static void put_random(struct prng *p, struct buf *b)
{
    for (uint64_t n = prng_below(p, RANDOM_SIZE_MAX); n > 0; n--) {
        buf_put_u8(b, (uint8_t)prng_next(p));
    }
}

/* Numbers that sizes and counts go wrong at. */
static void put_number(struct prng *p, uint8_t *at, size_t room)
{
    static const uint64_t numbers[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, UINT32_MAX, UINT64_MAX};
    uint64_t n = numbers[prng_below(p, sizeof(numbers) / sizeof(numbers[0]))];
    size_t width = (size_t)1 << prng_below(p, 4);

    width = width < room ? width : room;
    for (size_t i = 0; i < width; i++) {
        at[i] = (uint8_t)(n >> (8 * i));
    }
}

static void mutate(struct prng *p, struct buf *b)
{
    size_t at = prng_below(p, b->size);

    switch (prng_below(p, 7)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << prng_below(p, 8));
        return;
    case 1:
        b->data[at] = (uint8_t)prng_next(p);
        return;
    case 2: /* drop a byte */
        memmove(b->data + at, b->data + at + 1, b->size - at - 1);
        b->size--;
        return;
    case 3: /* repeat a byte */
        buf_reserve(b, 1);
        memmove(b->data + at + 1, b->data + at, b->size - at);
        b->size++;
        return;
    case 4:
        put_number(p, b->data + at, b->size - at);
        return;
    case 5: /* repeat what comes before */
        buf_reserve(b, at);
        buf_put(b, b->data, at);
        return;
    default:
        b->size = at;
        return;
    }
}

static void run_random(struct prng *p, const struct corpus *c)
{
    struct buf b = {0};

    if (prng_below(p, 16) == 0) {
        put_random(p, &b);
    } else if (c->count > 0 && prng_below(p, 2) == 0) {
        const struct buf *input = &c->inputs[prng_below(p, c->count)];

        buf_put(&b, input->data, input->size);
    } else {
        fuzz_seed((unsigned)prng_below(p, 1 << 16), &b);
    }
    for (uint64_t n = prng_below(p, CHANGES_MAX); n > 0 && b.size > 0; n--) {
        mutate(p, &b);
    }
    run_one(b.data, b.size);
    buf_done(&b);
}

int main(int argc, char **argv)
{
    unsigned long long runs = 0, seed = 1;
    bool runs_given = false, good = true;
    struct corpus c = {0};
    struct prng p;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs = strtoull(argv[i] + 6, NULL, 10);
            runs_given = true;
        } else if (strncmp(argv[i], "-seed=", 6) == 0) {
            seed = strtoull(argv[i] + 6, NULL, 10);
        } else if (strncmp(argv[i], "-write=", 7) == 0) {
            return write_seeds(argv[i] + 7);
        } else if (argv[i][0] != '-') {
            good = add_path(&c, argv[i]) && good;
        }
    }
    if (!runs_given && c.count == 0) {
        runs = 100000;
    }
    printf("files=%zu runs=%llu seed=%llu\n", c.count, runs, seed);
    (void)fflush(stdout);
    for (size_t i = 0; i < c.count; i++) {
        run_one(c.inputs[i].data, c.inputs[i].size);
    }
    p.state = seed;
    while (runs-- > 0) {
        run_random(&p, &c);
    }
    corpus_done(&c);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
