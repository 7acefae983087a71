#include "test_tree_help.h"
#include "test_tree_lock_help.h"

#include "tree_int.h"

/* An image with two locks of one holder on the same bytes was loaded.
 *
 * Locks of one holder never overlap. The loader compared the end of one, plus one, with the start
 * of the next; a lock to the end of everything ends at the largest number there is, plus one is 0,
 * and whatever came next was behind that. */

static bool loads(const struct buf *image)
{
    struct tree_loader *l = tree_loader_new();
    struct tree *loaded = NULL;
    int err = tree_loader_feed(l, image->data, image->size);

    if (err != 0) {
        tree_loader_free(l);
        return false;
    }
    if (tree_loader_finish(l, &loaded) != 0) {
        return false;
    }
    tree_free(loaded);
    return true;
}

/* Where the bytes of `record` are in the image. */
static uint8_t *find(struct buf *image, const uint8_t *record, size_t size)
{
    for (size_t i = 0; i + size <= image->size; i++) {
        if (memcmp(image->data + i, record, size) == 0) {
            return image->data + i;
        }
    }
    cr_assert_fail("not in the image");
    return NULL;
}

/* A lock at 0..9 becomes one at 0..end, with what belongs to it in the digest at the end. */
static bool loads_with_end(uint64_t end)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    struct lock_entry e = {.session = w.session};
    uint8_t was[RECORD_SIZE_MAX], is[RECORD_SIZE_MAX];
    struct record_end tail;
    struct buf image;
    uint8_t *at;
    size_t size;
    bool loaded;

    cr_assert_eq(ask(&w, w.session, f, range_of(SH, 1, 0, 9), false), 0);
    e.index = w.last.reply.u.lock.fence;
    e.lock = range_of(SH, 1, 0, 9);
    e.lock.pid = 1001;
    cr_assert_eq(ask(&w, w.session, f, range_of(EX, 1, 20, 29), false), 0);
    image = image_of_world(w.tree);
    size = record_put_lock(&e, was);
    e.lock.end = end;
    cr_assert_eq(record_put_lock(&e, is), size);
    at = find(&image, was, size);
    memcpy(at, is, size);
    cr_assert(record_get_end(image.data + image.size - 32, 32, &tail));
    tail.digest -= hash64(was, size, f);
    tail.digest += hash64(is, size, f);
    memcpy(image.data + image.size - 8, &tail.digest, 8); /* little-endian, as this machine */
    loaded = loads(&image);
    buf_done(&image);
    world_done(&w);
    return loaded;
}

Test(tree_locks_of_one_overlap, is_not_loaded)
{
    cr_assert(loads_with_end(9));
    cr_assert(loads_with_end(10)); /* another image, as good */
    cr_assert(!loads_with_end(25));
    cr_assert(!loads_with_end(UINT64_MAX));
}
