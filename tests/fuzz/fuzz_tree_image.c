/* The image of a tree, as it comes from a snapshot or from the leader.
 *
 * Input: a byte of flags, then the image. With flag 1 a record END that fits what was loaded
 * follows by itself, so that the digest does not hide what a changed record does. With flag 2 it
 * comes in small pieces. What loads is sound, and its own image is the one that was loaded. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "fuzz_tree_sample.h"
#include "tree_int.h"

static int feed(struct tree_loader *l, const uint8_t *bytes, size_t size, size_t step)
{
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < size; at += step) {
        rc = tree_loader_feed(l, bytes + at, size - at < step ? size - at : step);
    }
    return rc;
}

static void check_tree(struct tree *t, const uint8_t *image, size_t size)
{
    struct tree_image it;
    uint8_t *again = mem_alloc(size + 1);

    CHECK(tree_audit(t) == tree_digest(t));
    tree_image_begin(&it, t);
    CHECK(tree_image_read(&it, again, size + 1) == size);
    CHECK(memcmp(again, image, size) == 0);
    mem_free(again);
    tree_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tree_loader *l = tree_loader_new();
    struct buf image = {0};
    uint8_t end[RECORD_SIZE_MAX];
    struct tree *t = NULL;
    uint8_t flags = size > 0 ? bytes[0] : 0;
    size_t step = flags & 2 ? 1u + (flags >> 2) : SIZE_MAX / 2;
    int rc;

    if (size > 0) {
        buf_put(&image, bytes + 1, size - 1);
    }
    rc = feed(l, image.data, image.size, step);
    if (rc == 0 && (flags & 1)) {
        size_t end_size = record_put_end(tree_loader_tree(l), end);

        buf_put(&image, end, end_size);
        rc = feed(l, end, end_size, step);
    }
    if (rc != 0) {
        CHECK(rc == ERR_CORRUPT);
        CHECK(tree_loader_feed(l, "x", 1) == ERR_CORRUPT); /* it failed for good */
        tree_loader_free(l);
    } else if (tree_loader_finish(l, &t) == 0) {
        check_tree(t, image.data, image.size);
    } else {
        CHECK(t == NULL);
    }
    buf_done(&image);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    struct buf image = {0};

    sample_image(i / 4 % SAMPLE_IMAGES, &image);
    buf_put_u8(b, (uint8_t)(i % 4 + 16 * (i % 5)));
    /* END is the last record, and not in the input when one follows by itself. */
    buf_put(b, image.data, image.size - (i % 2 ? RECORD_HEAD_SIZE + 32 : 0));
    buf_done(&image);
}
