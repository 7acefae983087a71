"""A file that was renamed to a local name, which is how editors keep the old version, was gone under both
names when the caller was killed while the removal was on its way: only a caller that was answered got the
copy. Now the copy is there unless it is certain that the file is, too.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from mounts import Mount  # noqa: E402
from zabfs import check, read, run, wait_until, write  # noqa: E402


def test(e):
    leader = e.leader()
    m = Mount(e, "local", member=leader % 3 + 1, options="local=*~")
    name, copy = m.at("f"), m.at("f~")
    write(name, b"precious")
    e.barriers()
    m.barrier()
    os.stat(name)
    others = [n for n in (1, 2, 3) if n != leader % 3 + 1]
    for n in others:
        e.signal("zabd", n, signal.SIGSTOP)
    child = os.fork()
    if child == 0:
        os.rename(name, copy)
        os._exit(0)
    time.sleep(0.1)
    os.kill(child, signal.SIGKILL)  # the mount gives the request up half a second later
    os.waitpid(child, 0)
    for n in others:
        e.signal("zabd", n, signal.SIGCONT)
    e.wait_members()
    wait_until(lambda: m.barrier() is None, 20, "the mount to be up to date")
    there = [path for path in (name, copy) if os.path.exists(path)]
    check(there, "the content is under one of the names")
    for path in there:
        check(read(path) == b"precious", f"content of {path}")


run(test, members=3, seconds=90)
