"""A look at a directory, or a rename of it, failed with ESTALE, because a helper was busy with its past.

The kernel has a directory in one place. Shown at another one it takes it there, but not while any rename
in the mount is under way: then whoever looks gets ESTALE. A directory that others moved twice was taken
back by the helper that repeats the moves: to its first place, its second, and then to where it is. In
between, whoever looked at it where it is while another rename waited, or renamed it, failed; so did the
helper itself, and its change was told to nobody. Now something that stands for the directory is moved
through the places that it has left, and a helper looks only at what is in its way.
"""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from inotify import Inotify  # noqa: E402
from mounts import Mount  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, read, replay_helpers_of, run, wait_until  # noqa: E402

PLACES = "abcde"


class Between:
    """Stands between a mount and its member, and keeps the first request back that names `name`. All
    that is asked later, and all that is told, goes through."""

    def __init__(self, path, member, name):
        self.member, self.name = member, name
        self.kept = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            mount, _ = self.listener.accept()
            member = socket.create_connection(self.member)
            threading.Thread(target=self.ask, args=(mount, member), daemon=True).start()
            threading.Thread(target=self.tell, args=(member, mount), daemon=True).start()

    def ask(self, mount, member):
        self.asked = member
        stream = mount.makefile("rb")
        while head := stream.read(8):
            frame = head + stream.read(struct.unpack("<I", head[:4])[0])
            if self.kept is None and self.name in frame:
                self.kept = frame
            else:
                member.sendall(frame)

    def tell(self, member, mount):
        while data := member.recv(1 << 16):
            mount.sendall(data)

    def let_go(self):
        self.asked.sendall(self.kept)


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def is_held_up(helpers):
    """One of them waits for a lock in the kernel, and not only for a moment."""
    for _ in range(10):
        if all(state(pid) != "D" for pid in helpers):
            return False
        time.sleep(0.02)
    return True


def test(e):
    os.makedirs(e.path(1, "a", "d"))
    for p in PLACES[1:]:
        os.mkdir(e.path(1, p))
    between = Between(os.path.join(e.top, "between"), ("127.0.0.1", e.ports(1)[1]), b"new")
    mount = Mount(e, "moved", options="servers=unix:" + os.path.join(e.top, "between"))
    look = Inotify()
    for p in PLACES:
        look.add(mount.at(p), p, ["MOVED_FROM", "MOVED_TO"])
        os.listdir(mount.at(p))
    os.lstat(mount.at("a", "d"))

    making = Worker(errno_of, os.mkdir, mount.at("c", "new"))  # the kernel keeps c locked for it
    wait_until(lambda: between.kept, 10, "the mount to ask")
    for here, there in zip(PLACES, PLACES[1:]):
        os.rename(e.path(1, here, "d"), e.path(1, there, "d"))
    wait_until(lambda: is_held_up(replay_helpers_of(mount.process.pid)), 10, "the second move to be held up")
    got = errno_of(os.lstat, mount.at("e", "d"))
    between.let_go()
    check(got == 0, f"a look at the directory where it is: {errno_name(got)}")

    check(making.result(30) == 0, "the directory was not made")
    os.rename(e.path(1, "e", "d"), e.path(1, "e", "end"))
    seen = look.read_until(lambda v: v.name == "end", 30)
    told = {}
    for v in seen:
        told.setdefault(v.cookie, []).append(f"{v.what} {v.label}")
    wanted = [[f"MOVED_FROM,ISDIR {here}", f"MOVED_TO,ISDIR {there}"] for here, there in zip(PLACES, PLACES[1:])]
    check(list(told.values())[:4] == wanted, f"what was told: {list(told.values())}")
    check(b"\nreplays_failed=0\n" in read(mount.at(".zabfs", "status")), "a change was not repeated")
    check(os.listdir(mount.at("e")) == ["end"], f"in e: {os.listdir(mount.at('e'))}")
    for p in PLACES[:4]:
        check(not os.path.lexists(mount.at(p, "d")), f"it is still in {p}")
    check(mount.stop() == 0, "the mount has not ended well")


run(test, seconds=100)
