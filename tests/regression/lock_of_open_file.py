"""A lock of an open file description (F_OFD_SETLK) through a file open for writing outlived its close.

The kernel tells of such a close by RELEASE only: FLUSH names the process. What was locked through a
descriptor is now remembered whatever it was opened for, until FLUSH has given it back.
"""
import errno
import fcntl
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, errno_of, run, wait_until, write  # noqa: E402

F_OFD_SETLK = 37


def lock(fd, command, kind):
    fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0))


def is_free(path):
    fd = os.open(path, os.O_RDWR)
    try:
        return errno_of(lock, fd, F_OFD_SETLK, fcntl.F_WRLCK) == 0
    finally:
        os.close(fd)


def test_close_frees(e):
    path, other = e.path(1, "f"), e.path(2, "f")
    write(path, b"x")
    fd = os.open(path, os.O_RDWR)
    lock(fd, F_OFD_SETLK, fcntl.F_WRLCK)
    wait_until(lambda: os.path.exists(other), 10, "the file on the other mount")
    check(not is_free(other), "the lock is held")
    os.close(fd)
    wait_until(lambda: is_free(other), 10, "the lock to end with its file")


def test_process_keeps(e):
    """The last close of a file does not take what its process has locked through another."""
    path, other = e.path(1, "f"), e.path(2, "f")
    first = os.open(path, os.O_RDWR)
    wait_until(lambda: errno_of(lock, first, fcntl.F_SETLK, fcntl.F_WRLCK) == 0, 10,
               "the lock of who looked before to end")
    ends, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begins)
        os.read(ends, 1)
        os._exit(0)
    os.close(ends)
    os.close(first)
    second = os.open(path, os.O_RDWR)
    lock(second, fcntl.F_SETLK, fcntl.F_WRLCK)
    os.close(begins)
    os.waitpid(child, 0)
    e.barriers()
    check(not is_free(other), "the lock is still held")
    os.close(second)
    wait_until(lambda: is_free(other), 10, "the lock to end")


def test(e):
    test_close_frees(e)
    test_process_keeps(e)


run(test, members=2, seconds=60)
