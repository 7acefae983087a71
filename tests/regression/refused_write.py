"""A shell that had lost its quorum emptied the file that it could not write.

`echo x > f` opens f with O_TRUNC. Its write was refused, as it should be, but the open file still held
the truncation, and RELEASE committed that as soon as a quorum was back: the message said that nothing
was changed, and the value was gone. A value over the limit did the same with its first part: the kernel
hands over a long write in pieces, and the pieces before the refused one were committed by close.
Now a refused write takes the whole change of its open file with it.
"""
import errno
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, errno_of, read, run, wait_until, write  # noqa: E402

LIMIT = 1 << 20


def test(e):
    path = e.path(1, "f")
    write(path, b"as it was")

    got = errno_of(write, path, b"x" * (LIMIT + 1))
    check(got == errno.EFBIG, f"a value over the limit: {os.strerror(got)}")
    check(read(path) == b"as it was", "a part of a value over the limit was committed")

    for n in (2, 3):
        e.signal("zabd", n, signal.SIGSTOP)
    wait_until(lambda: e.member_status(1)["quorum"] == "no", 10, "the loss of the quorum")
    r = subprocess.run(["bash", "-c", f"echo lost > {path}"], capture_output=True, timeout=30)
    check(r.returncode != 0, "the shell did not hear that there is no quorum")
    for n in (2, 3):
        e.signal("zabd", n, signal.SIGCONT)
    e.wait_members()
    e.barriers()
    for n in (1, 2, 3):
        value = read(e.path(n, "f"))
        check(value == b"as it was", f"m{n} shows {value!r}")


run(test, seconds=100)
