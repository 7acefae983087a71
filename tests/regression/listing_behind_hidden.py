"""A directory whose first names are hidden on a mount, by files that only this mount has, or as
ephemerals that are about to go, was listed as empty.

The first page that is asked of the member is as small as the caller's buffer. When all of it was hidden,
the answer was empty, which is the end of a listing. Now the next page follows.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, run, write  # noqa: E402

COUNT = 300  # more than one page


def test(e):
    os.mkdir(e.path(1, "d"))
    e.barrier(2)
    names = [f"{n:03}~" for n in range(COUNT)]
    script = "".join(f"create /d/{name}\n" for name in names) + "create /d/last\n"
    for name in names:
        write(e.path(2, "d", name), b"of this mount")
    write(e.path(1, ".zabfs", "txn"), script.encode(), os.O_WRONLY)
    e.barrier(2)
    got = sorted(os.listdir(e.path(2, "d")))
    check(got == names + ["last"], f"{len(got)} names: {got[:3]} ...")


run(test, members=2, seconds=60)
