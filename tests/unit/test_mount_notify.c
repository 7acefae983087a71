#define FUSE_USE_VERSION 314

#include <criterion/criterion.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>

#include "notify.h"

/* The queue of the notify thread. The kernel is played by these two functions, which stand before
 * libfuse's: they count, and keep the thread waiting as a directory's lock would. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held, waiting;
static int inode_count, entry_count;

static void pass(int *count)
{
    pthread_mutex_lock(&lock);
    waiting = true;
    pthread_cond_broadcast(&changed);
    while (held) {
        pthread_cond_wait(&changed, &lock);
    }
    waiting = false;
    (*count)++;
    pthread_mutex_unlock(&lock);
}

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino, off_t offset,
                                     off_t size)
{
    (void)se;
    (void)ino;
    (void)offset;
    (void)size;
    pass(&inode_count);
    return 0;
}

int fuse_lowlevel_notify_inval_entry(struct fuse_session *se, fuse_ino_t parent, const char *name,
                                     size_t size)
{
    (void)se;
    (void)parent;
    (void)name;
    (void)size;
    pass(&entry_count);
    return -ENOENT;
}

static uv_loop_t loop;
static struct notify *n;
static int marker_count, inodes_before_marker;
static bool ended;

static void on_marker(void *ctx, void *arg)
{
    (void)ctx;
    cr_assert_eq(arg, &marker_count);
    marker_count++;
    inodes_before_marker = inode_count;
}

static void on_ended(void *ctx)
{
    (void)ctx;
    ended = true;
}

static void setup(void)
{
    uv_loop_init(&loop);
    n = notify_new(&loop, NULL, on_marker, on_ended, NULL);
}

static void hold(void)
{
    pthread_mutex_lock(&lock);
    held = true;
    pthread_mutex_unlock(&lock);
}

static void wait_until_held_up(void)
{
    pthread_mutex_lock(&lock);
    while (!waiting) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static void let_go(void)
{
    pthread_mutex_lock(&lock);
    held = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void finish(void)
{
    notify_end(n);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(ended);
    notify_free(n);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(notify, .init = setup);

Test(notify, what_waits_already_is_not_queued_again)
{
    hold();
    notify_inode(n, 1);
    wait_until_held_up();
    for (int round = 0; round < 1000; round++) {
        notify_inode(n, 2);
        notify_entry(n, 1, "a", 1);
        notify_entry(n, 1, "ab", 2);
        notify_entry(n, 2, "a", 1);
    }
    cr_assert_eq(notify_queued(n), 4);
    let_go();
    finish();
    cr_assert_eq(inode_count, 2);
    cr_assert_eq(entry_count, 3);
}

Test(notify, what_was_begun_is_done_again)
{
    hold();
    notify_inode(n, 1);
    wait_until_held_up();
    notify_inode(n, 1); /* the kernel may have looked before this change */
    cr_assert_eq(notify_queued(n), 1);
    let_go();
    finish();
    cr_assert_eq(inode_count, 2);
}

Test(notify, a_marker_passes_behind_all_that_was_ordered)
{
    hold();
    notify_inode(n, 1);
    wait_until_held_up();
    notify_inode(n, 2);
    notify_marker(n, &marker_count);
    notify_inode(n, 2);
    notify_marker(n, &marker_count);
    let_go();
    finish();
    cr_assert_eq(marker_count, 2);
    cr_assert_eq(inodes_before_marker, 2);
}
