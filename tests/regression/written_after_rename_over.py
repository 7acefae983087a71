"""A file was renamed over another while it was open, and written through that descriptor: the size that
the kernel had of the target stayed for an hour, on the mount that did it.

A mount does not tell its kernel of the sizes and times that a write of its own has changed, because the
kernel has dropped them by then. But here it dropped those of the inode that it wrote to, which is not
the target's (a file renamed over another is a new version of that one). In the same way, what fstat of
such a descriptor had shown was kept whatever others wrote. Now the target's are dropped by order, and
the kernel keeps nothing that it is given for another inode.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, run, write  # noqa: E402


def rename_over(e, flags):
    """The descriptor of a file of 9 bytes that is `f` now; the kernel has its size."""
    write(e.path(1, "f"), b"old")
    write(e.path(1, "f.tmp"), b"new value")
    fd = os.open(e.path(1, "f.tmp"), flags)
    os.rename(e.path(1, "f.tmp"), e.path(1, "f"))
    e.barrier(1)
    for _ in range(2):
        check(os.stat(e.path(1, "f")).st_size == 9, "the file")
        check(os.fstat(fd).st_size == 9, "the descriptor")
    return fd


def check_sizes(e, fd, size, what):
    e.barrier(1)
    for name, got in (("stat", os.stat(e.path(1, "f"))), ("fstat", os.fstat(fd))):
        check(got.st_size == size, f"{what}: {name} shows {got.st_size} bytes, not {size}")


def test(e):
    fd = rename_over(e, os.O_RDWR)
    os.pwrite(fd, b" and more", 9)
    os.fsync(fd)
    check_sizes(e, fd, 18, "written")
    os.close(fd)

    fd = rename_over(e, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b" and more")
    check_sizes(e, fd, 18, "appended")
    os.close(fd)

    fd = rename_over(e, os.O_RDONLY)
    write(e.path(2, "f"), b"x" * 30)
    check_sizes(e, fd, 30, "written elsewhere")
    os.close(fd)


run(test, members=2, seconds=60)
