"""A file that another mount had removed could still be opened for a moment after this mount had shown
that it was gone.

The mount knew of the removal and had told a process so (a listing without the name, an answer to a
later write), but the kernel had not dropped the name yet: the order to do so waits for the directory's
lock. open(2) came by the old name with the old node, and the mount served the last value that it kept.
Two processes of one mount could so see changes in two orders. Found by the chaos test on a loaded
machine. Now the mount answers ESTALE, on which the kernel looks the path up again.
"""
import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import Flag, Worker, check, errno_name, errno_of, run, write  # noqa: E402

ROUNDS = 200


def keep_busy(directory, flag):
    """Listings hold the directory's lock, so the kernel drops names late."""
    while not flag.is_set():
        os.listdir(directory)


def rounds(e, target, call):
    """How often `call` on a path that was seen to be gone gave something else than ENOENT."""
    wrong = []
    for n in range(ROUNDS):
        name = f"f{n}"
        target(e.path(2, "d", name))
        e.barrier(1)
        check(errno_of(call, e.path(1, "d", name), os.O_RDONLY) == 0, "to look")
        os.unlink(e.path(2, "d", name))
        while name in os.listdir(e.path(1, "d")):
            pass
        number = errno_of(call, e.path(1, "d", name), os.O_RDONLY)
        if number != errno.ENOENT:
            wrong.append(errno_name(number))
    return wrong


def readlink(path, _):
    os.readlink(path)


def test(e):
    os.mkdir(e.path(2, "d"))
    e.barrier(1)
    flag = Flag(e.top, "end")
    workers = [Worker(keep_busy, e.path(1, "d"), flag) for _ in range(4)]
    wrong = rounds(e, lambda path: write(path, b"x"), os.open)
    wrong_links = rounds(e, lambda path: os.symlink("x", path), readlink)
    flag.set()
    for worker in workers:
        worker.result(20)
    check(not wrong, f"{len(wrong)} of {ROUNDS} files that were gone could be opened: {wrong[:5]}")
    check(not wrong_links, f"{len(wrong_links)} of {ROUNDS} links that were gone: {wrong_links[:5]}")


run(test)
