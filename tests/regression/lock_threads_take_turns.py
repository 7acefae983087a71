"""Two threads of a process waited for different ranges of a file, and the range of the first came free:
it went on waiting until the second had its own.

The ensemble knows one question of an owner at a time. The clock by which they take turns ran only if
something else had started it.
"""
import fcntl
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402

PLACES = 0, 10


def questions(e):
    """How many this mount has asked about locks so far."""
    lines = read(e.path(1, ".zabfs", "metrics")).decode().split("\n")
    return int(next(line for line in lines if line.startswith("zabfs_lock_questions_total ")).split()[1])


def test(e):
    path, other = e.path(1, "f"), e.path(2, "f")
    write(path, b"x" * 20)
    wait_until(lambda: os.path.exists(other), 10, "the file on the other mount")
    holder = os.open(other, os.O_RDWR)
    had = {place: threading.Event() for place in PLACES}

    def wait_for(place):
        fcntl.lockf(fds[place], fcntl.LOCK_EX, 1, place)
        had[place].set()

    fds = {place: os.open(path, os.O_RDWR) for place in PLACES}
    for place in PLACES:
        fcntl.lockf(holder, fcntl.LOCK_EX, 1, place)
    for place in PLACES:
        asked = questions(e)
        threading.Thread(target=wait_for, args=(place,), daemon=True).start()
        wait_until(lambda: questions(e) > asked, 10, "the question to be asked")
    fcntl.lockf(holder, fcntl.LOCK_UN, 1, PLACES[0])
    first = had[PLACES[0]].wait(10)
    fcntl.lockf(holder, fcntl.LOCK_UN, 1, PLACES[1])
    second = had[PLACES[1]].wait(10)
    check(first, "the first thread had its range while the second waited")
    check(second, "the second thread had its range")


run(test, members=2, seconds=60)
