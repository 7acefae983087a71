"""`cp -p` and `tar x` set the time of a file that they have written before they close it. The bytes were
committed by the close, which made the time that of the commit: every copy had lost its time, and the
next `rsync` copied it again.

What a descriptor commits later now leaves a time that was set after its last write.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, write  # noqa: E402

WHEN = 981173106789000000


def seen(e):
    e.barrier(2)
    return [os.stat(e.path(n, "f")).st_mtime_ns for n in (1, 2)]


def test(e):
    path = e.path(1, "f")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"value")
    os.utime(fd, ns=(WHEN, WHEN))
    os.close(fd)
    check(seen(e) == [WHEN, WHEN], f"set before close: {seen(e)}")
    check(read(e.path(2, "f")) == b"value", "and the value is there")

    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"new")
    os.utime(fd, ns=(WHEN, WHEN + 1))
    os.fsync(fd)
    check(seen(e) == [WHEN + 1] * 2, f"set before fsync: {seen(e)}")
    os.write(fd, b" and more")
    os.close(fd)
    check(seen(e)[0] == seen(e)[1] > WHEN + 1, f"written after that: {seen(e)}")

    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"a")
    os.utime(fd, ns=(WHEN, WHEN))
    os.write(fd, b"b")
    os.close(fd)
    check(seen(e)[0] == seen(e)[1] > WHEN, f"written after it was set: {seen(e)}")

    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.utime(path, ns=(WHEN, WHEN))
    os.close(fd)
    os.stat(path)  # waits for the truncation, which nobody waits for at close
    check(seen(e) == [WHEN, WHEN], f"truncated, and no write: {seen(e)}")

    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"x")
    os.utime(fd, ns=(WHEN, WHEN))
    write(e.path(2, "f"), b"of someone else")
    try:
        os.close(fd)
    except OSError:
        pass
    check(seen(e)[0] == seen(e)[1] > WHEN, f"a commit that failed sets no time: {seen(e)}")
    check(read(path) == b"of someone else", "nor anything else")


run(test, members=2, seconds=40)
