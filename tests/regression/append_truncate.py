"""A file that was open to append and read showed bytes that its own ftruncate had cut off.

The descriptor went on reading from what it had seen at open. Now what it cut is read anew, as after an
append.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, write  # noqa: E402


def test(e):
    path = e.path(1, "f")
    write(path, b"0123456789")
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    check(os.pread(fd, 100, 0) == b"0123456789", "at open")
    os.ftruncate(fd, 3)
    got = os.pread(fd, 100, 0)
    check(got == b"012", f"after ftruncate: {got!r}")
    os.write(fd, b"x")
    check(os.pread(fd, 100, 0) == b"012x", "after an append")
    os.close(fd)
    check(read(path) == b"012x", "after close")


run(test, members=1, seconds=40)
