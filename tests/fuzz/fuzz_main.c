/* Runs a fuzz target without libFuzzer: `NAME [-runs=N] [-seed=S] [FILE...]`.
 *
 * FILEs are replayed. Without any, N inputs are made from the seed: random bytes, and valid ones
 * that were changed a little. The same seed gives the same inputs, so a crash repeats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mem.h"
#include "prng.h"

enum { FILE_SIZE_MAX = 16 << 20, RANDOM_SIZE_MAX = 512 };

/* The target gets memory of exactly the input's size, so that a read past its end is seen. */
static void run_one(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = mem_dup(bytes, size);

    LLVMFuzzerTestOneInput(copy, size);
    mem_free(copy);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    size_t size;

    if (file == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    bytes = mem_alloc(FILE_SIZE_MAX);
    size = fread(bytes, 1, FILE_SIZE_MAX, file);
    (void)fclose(file);
    run_one(bytes, size);
    mem_free(bytes);
    return EXIT_SUCCESS;
}

static void put_random(struct prng *p, struct buf *b)
{
    for (uint64_t n = prng_below(p, RANDOM_SIZE_MAX); n > 0; n--) {
        buf_put_u8(b, (uint8_t)prng_next(p));
    }
}

static void mutate(struct prng *p, struct buf *b)
{
    size_t at = prng_below(p, b->size);

    switch (prng_below(p, 4)) {
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
    default: /* repeat a byte */
        buf_reserve(b, 1);
        memmove(b->data + at + 1, b->data + at, b->size - at);
        b->size++;
        return;
    }
}

static void run_random(struct prng *p)
{
    struct buf b = {0};

    if (prng_below(p, 8) == 0) {
        put_random(p, &b);
    } else {
        fuzz_seed((unsigned)prng_below(p, 1 << 16), &b);
        for (uint64_t n = prng_below(p, 5); n > 0 && b.size > 0; n--) {
            mutate(p, &b);
        }
    }
    run_one(b.data, b.size);
    buf_done(&b);
}

int main(int argc, char **argv)
{
    unsigned long long runs = 100000, seed = 1;
    struct prng p;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs = strtoull(argv[i] + 6, NULL, 10);
        } else if (strncmp(argv[i], "-seed=", 6) == 0) {
            seed = strtoull(argv[i] + 6, NULL, 10);
        } else if (run_file(argv[i]) == EXIT_FAILURE) {
            return EXIT_FAILURE;
        } else {
            runs = 0;
        }
    }
    printf("runs=%llu seed=%llu\n", runs, seed);
    (void)fflush(stdout);
    p.state = seed;
    while (runs-- > 0) {
        run_random(&p);
    }
    return EXIT_SUCCESS;
}
