"""A file that was renamed onto another while it was locked stayed in the mount's memory for ever.

Its descriptors become the other file's, so nobody gave back what was held of the one that is gone.
"""
import fcntl
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402


def inodes(e):
    lines = read(e.path(1, ".zabfs", "status")).decode().split("\n")
    return int(next(line for line in lines if line.startswith("inodes=")).split("=")[1])


def test(e):
    target = e.path(1, "f")
    write(target, b"old")
    before = inodes(e)
    for n in range(20):
        name = e.path(1, f"new{n}")
        with open(name, "wb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.write(b"%d" % n)
            f.flush()
            os.fsync(f.fileno())
            os.rename(name, target)
    check(read(target) == b"19", "the last one")
    wait_until(lambda: inodes(e) < before + 5, 10, f"inodes to be let go of, {before} before")


run(test, members=1, seconds=40)
