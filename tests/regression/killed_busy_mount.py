"""`kill -9` of a busy zabfs left a process that did not end, and callers that hung for ever.

The thread that drops names from the kernel's cache was in the kernel, waiting for the lock of a
directory. The lock was held by a caller that waited for an answer of zabfs. While the thread was there
/dev/fuse stayed open, so the kernel did not take zabfs for dead and told nobody. None of the three could
be interrupted. Found by the chaos test, seen in 10 of 12 kills of this test. Now a watchdog process
ends the connection when zabfs is killed.
"""
import errno
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import Flag, Worker, errno_of, is_running, run, wait_until, write  # noqa: E402

KILLS = 8


def create(directory, flag, tag):
    """Each create and unlink holds the directory's lock until it is answered."""
    n = 0
    while not flag.is_set():
        path = os.path.join(directory, f"c{tag}-{n % 7}")
        errno_of(os.mknod, path)
        errno_of(os.unlink, path)
        n += 1


def remove_elsewhere(there, here, flag):
    """Names that the kernel of the mount to be killed has, and is told to drop."""
    n = 0
    while not flag.is_set():
        name = f"o{n % 5}"
        errno_of(write, os.path.join(there, name), b"x")
        errno_of(os.stat, os.path.join(here, name))
        errno_of(os.unlink, os.path.join(there, name))
        n += 1


def test(e):
    os.mkdir(e.path(2, "d"))
    e.barriers()
    flag = Flag(e.top, "end")
    workers = [Worker(create, e.path(1, "d"), flag, n) for n in range(6)]
    workers += [Worker(remove_elsewhere, e.path(2, "d"), e.path(1, "d"), flag) for _ in range(3)]
    for _ in range(KILLS):
        time.sleep(random.uniform(0.2, 0.6))
        pid = e.pid("zabfs", 1)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: not is_running(p), 5, "a killed zabfs to end")
        wait_until(lambda: errno_of(os.statvfs, e.mount(1)) == errno.ENOTCONN, 5, "ENOTCONN")
        e.up()
    flag.set()
    for worker in workers:
        worker.result(20)


run(test, seconds=100)
