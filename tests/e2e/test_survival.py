"""The processes behind a mount die, one after the other.

zabfs killed: calls give ENOTCONN, the next start replaces the mount, the other mounts notice nothing.
Its helper killed: another one is started, and inotify goes on. Its member killed: the session moves to
another member; files that were open go on being read and written, each change once.
"""
import errno
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, is_running, read, run, wait_until, write  # noqa: E402


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(child) for child in f.read().split()]


def status(e, n):
    """.zabfs/status as a dictionary, whatever separates key and value."""
    pairs = {}
    for word in read(e.path(n, ".zabfs", "status")).decode().replace(": ", "=").split():
        key, _, value = word.partition("=")
        pairs[key] = value
    return pairs


def kill_mount(e):
    write(e.path(2, "f"), b"before")
    held = os.open(e.path(2, "f"), os.O_RDONLY)
    old = e.pid("zabfs", 2)
    helpers = children(old)
    e.kill("zabfs", 2)
    for call, args in ((os.listdir, (e.mount(2),)), (os.mkdir, (e.path(2, "d"),)),
                       (os.stat, (e.path(2, "not-known"),)), (os.statvfs, (e.mount(2),)),
                       (os.open, (e.path(2, "f"), os.O_RDONLY))):
        number = errno_of(call, *args)
        check(number == errno.ENOTCONN, f"{call.__name__}: {errno_name(number)}, not ENOTCONN")
    os.close(held)
    write(e.path(1, "f"), b"meanwhile")
    wait_until(lambda: not any(is_running(pid) for pid in helpers), 5, "the helper to end with it")
    e.up()
    check(e.pid("zabfs", 2) != old, "a new zabfs")
    with open("/proc/self/mounts") as f:
        mounts = f.read().count(f" {e.mount(2)} ")
    check(mounts == 1, f"m2 is mounted {mounts} times")
    e.barrier(2)
    check(read(e.path(2, "f")) == b"meanwhile", "m2 shows what m1 wrote meanwhile")
    write(e.path(2, "f"), b"after")
    e.barriers()
    check(read(e.path(1, "f")) == b"after" and read(e.path(3, "f")) == b"after", "m2 writes again")


class Watch:
    """inotifywait on a directory; what it says."""

    def __init__(self, path):
        self.process = subprocess.Popen(["inotifywait", "-m", "--format", "%e %f", path], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if "established" in line:
                break

    def wait_for(self, text, seconds):
        os.set_blocking(self.process.stdout.fileno(), False)
        said = []

        def look():
            said.extend(line.strip() for line in iter(self.process.stdout.readline, ""))
            return any(text in line for line in said)
        wait_until(look, seconds, f"inotify to say '{text}'")

    def stop(self):
        self.process.kill()
        self.process.wait()


def kill_helper(e):
    os.mkdir(e.path(1, "watched"))
    e.barriers()
    watch = Watch(e.path(3, "watched"))
    write(e.path(1, "watched", "one"), b"1")
    watch.wait_for("CREATE one", 10)
    zabfs = e.pid("zabfs", 3)
    helpers = children(zabfs)
    check(helpers, "zabfs has a helper process")
    for pid in helpers:
        os.kill(pid, 9)
    wait_until(lambda: set(children(zabfs)) - set(helpers), 10, "another helper")
    check(is_running(zabfs), "zabfs goes on")

    def seen():
        name = f"two-{time.monotonic()}"
        write(e.path(1, "watched", name), b"2")
        try:
            watch.wait_for(f"CREATE {name}", 1)
            return True
        except Exception:
            return False
    wait_until(seen, 10, "inotify to go on")
    e.barrier(3)
    check(len(os.listdir(e.path(3, "watched"))) == len(os.listdir(e.path(1, "watched"))), "all names")
    watch.stop()


def kill_member(e):
    n = next(n for n in (1, 2, 3) if n != e.leader())
    before = status(e, n)
    write(e.path(n, "open"), b"old" * 5000)  # more than a page: served from the open file
    reader = os.open(e.path(n, "open"), os.O_RDONLY)
    check(os.read(reader, 3) == b"old", "the first bytes")
    writer = os.open(e.path(n, "open-too"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(writer, b"half ")
    log = os.open(e.path(n, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"1\n")

    e.kill("zabd", n)
    started = time.monotonic()
    os.write(log, b"2\n")
    moved_s = time.monotonic() - started
    os.write(writer, b"and half")
    os.close(writer)
    os.write(log, b"3\n")
    os.close(log)
    check(os.pread(reader, 100, 14991) == b"oldoldold", "the end of the value that was open")
    os.close(reader)
    after = status(e, n)
    check(after.get("session") == before.get("session"), f"the session is the same: {before} {after}")
    check(after.get("member") != before.get("member"), f"the member is another: {before} {after}")
    other = n % 3 + 1
    e.barrier(other)
    check(read(e.path(other, "open-too")) == b"half and half", "what was written across the move")
    check(read(e.path(other, "log")) == b"1\n2\n3\n", "each line once")
    e.up()
    e.wait_members()
    return moved_s


def test(e):
    kill_mount(e)
    kill_helper(e)
    moved_s = kill_member(e)
    print(f"zabfs, its helper and its member killed; the session moved within {moved_s:.2f} s")


run(test, seconds=110)
