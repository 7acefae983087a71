"""A local file that was open for writing and was renamed to a replicated name did not count among that
file's writers, but its close was taken off them: the next process to write saw a wrong size.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from mounts import Mount  # noqa: E402
from zabfs import check, run  # noqa: E402


def test(e):
    m = Mount(e, "local", options="local=*.tmp")
    fd = os.open(m.at("f.tmp"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"abc")
    os.rename(m.at("f.tmp"), m.at("f"))
    writer = os.open(m.at("f"), os.O_RDWR)
    os.close(fd)
    os.write(writer, b"abcdef")
    size = os.fstat(writer).st_size
    os.close(writer)
    check(size == 6, f"size before the commit: {size}")


run(test, members=1, seconds=40)
