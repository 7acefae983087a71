"""A descriptor that was open when another mount held the lock went on showing what the file was at its
open(), also after it had got the lock itself. So what it read and wrote under the lock was made of an
old value: two connections of SQLite on two mounts lost a committed row.

Now the first read behind a lock begins with the newest version, and a commit rests on that.
"""
import fcntl
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, errno_of, run, write  # noqa: E402

KINDS = {"flock": fcntl.flock, "fcntl": fcntl.lockf}


def add_one(fd, lock):
    lock(fd, fcntl.LOCK_EX)
    value = int(os.pread(fd, 100, 0)) + 1
    os.pwrite(fd, b"%d" % value, 0)
    os.fsync(fd)
    lock(fd, fcntl.LOCK_UN)
    return value


def test(e):
    for name, lock in KINDS.items():
        write(e.path(1, name), b"1000")
        e.barriers()
        fds = [os.open(e.path(n, name), os.O_RDWR) for n in (1, 2, 3)]
        for i in range(12):
            value = add_one(fds[i % 3], lock)
            check(value == 1001 + i, f"{name}: the number after {i} is {value}")
        for fd in fds:
            check(errno_of(os.close, fd) == 0, f"{name}: close")
    # Without a lock an open file is one version, as ever, and a commit that rests on it is refused.
    fd = os.open(e.path(2, "flock"), os.O_RDWR)
    write(e.path(1, "flock"), b"another")
    e.barrier(2)
    check(os.pread(fd, 100, 0) == b"1012", "the version of the open")
    os.pwrite(fd, b"mine", 0)
    check(errno_of(os.close, fd) != 0, "a compare-and-swap on an old version")


run(test, seconds=60)
