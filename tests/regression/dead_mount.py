"""A mount whose zabfs was killed could not be replaced while its root was in the kernel's cache.

The start asked with stat() whether the mount point is alive. The kernel answers that for the root from
the attributes it keeps, whoever is dead, so the dead mount was taken for a live one: "busy, zabfs is
mounted there". Now statvfs() asks, which always goes to the process that serves.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402


def test(e):
    write(e.path(1, "f"), b"value")
    e.barrier(2)
    wait_until(lambda: b"replays_queued=0\n" in read(e.path(2, ".zabfs", "status")), 10,
               "m2's kernel to be told of f, which drops what it has of the root")
    for _ in range(5):
        os.stat(e.mount(2))  # the kernel has the root's attributes, for an hour
        e.kill("zabfs", 2)
        os.stat(e.mount(2))  # answered from there
        e.up()
        e.barrier(2)
        check(read(e.path(2, "f")) == b"value", "m2 does not show the tree")


run(test, seconds=60)
