"""A signal that the caller handles, such as the SIGCHLD of a shell, broke what it was doing.

The kernel passes any signal on, and the mount gave the request up at once: a `close` whose commit took
effect a millisecond later failed with EINTR, and a repeated append was made twice. Worse, after an
interrupted first write of a shell redirection every further write was refused with EINTR, so that a
program that repeats it, as Python does, did so for ever. Now a request that was interrupted has a
moment left to end by itself, and an interrupted write may be repeated.
"""
import errno
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import Worker, check, errno_of, read, run, wait_until, write  # noqa: E402

LINES = 400


def append_under_fire(path):
    """Each line once, although a timer goes off all the time."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    for n in range(LINES):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"%d\n" % n)
        os.close(fd)
    for n in range(LINES):
        fd = os.open(path + ".value", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, b"%d\n" % n)
        os.close(fd)
    signal.setitimer(signal.ITIMER_REAL, 0)


def write_through_a_stall(path):
    """Returns what the interrupted write of a shell's redirection came to."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.close(os.dup(fd))  # what shells do: a flush before the first write
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    os.write(fd, b"after the stall")  # Python repeats it
    os.close(fd)


def test(e):
    write(e.path(1, "f"), b"")
    Worker(append_under_fire, e.path(1, "f")).result(60)
    lines = read(e.path(1, "f")).split(b"\n")[:-1]
    check(lines == [b"%d" % n for n in range(LINES)], f"{len(lines)} lines, not {LINES}")
    check(read(e.path(1, "f.value")) == b"%d\n" % (LINES - 1), "a value was lost")

    path = e.path(1, "g")
    write(path, b"before")
    leader = e.leader()
    members = [n for n in (1, 2, 3) if n != leader][:1] + [leader]
    for n in members:
        e.signal("zabd", n, signal.SIGSTOP)
    worker = Worker(write_through_a_stall, path)
    time.sleep(1.5)  # the signal came, and the moment is over
    for n in members:
        e.signal("zabd", n, signal.SIGCONT)
    worker.result(15)
    check(read(path) == b"after the stall", "the repeated write was not committed")


run(test, seconds=100)
