"""Who waited for a lock of a local file that was then renamed to a replicated name waited for ever: the
descriptors were the other file's from then on, and their close gave back nothing here.
"""
import errno
import fcntl
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from mounts import Mount  # noqa: E402
from zabfs import check, errno_of, run, wait_until  # noqa: E402


def is_waiting(thread_id):
    with open(f"/proc/self/task/{thread_id}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "S"


def test(e):
    m = Mount(e, "local", options="local=*.tmp")
    holder = os.open(m.at("f.tmp"), os.O_RDWR | os.O_CREAT, 0o644)
    waiter = os.open(m.at("f.tmp"), os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(errno_of(fcntl.flock, waiter, fcntl.LOCK_EX)), daemon=True)
    thread.start()
    wait_until(lambda: is_waiting(thread.native_id), 10, "the other to wait")
    os.rename(m.at("f.tmp"), m.at("f"))
    os.close(holder)
    thread.join(10)
    check(outcome == [errno.ESTALE], f"outcome of the one that waited: {outcome}")
    fcntl.flock(waiter, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(waiter)


run(test, members=1, seconds=40)
