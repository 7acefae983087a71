"""With reads=linearizable a system call makes several requests, and not each has a barrier of its own.
Here pairs of calls are made by one thread, or by two, that look to the mount like parts of one: a stat
and then an open, O_PATH and then fstat or a second open by /proc/self/fd, fstat of a directory and then
a lookup in it. Meanwhile another mount changes what they look at, again and again, and counts what is
done: the second call must show at least what had been counted when it began.

Mounts without the option do not, which shows that the test can tell.
"""
import concurrent.futures
import mmap
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from mounts import Mount  # noqa: E402
from zabfs import Flag, Worker, check, run, write  # noqa: E402

CHANGES = 4000
SECONDS = 30
SECONDS_LOCAL = 10
PAUSE_S = 0.001  # at most, between the two calls


class Counter:
    """Shared with workers."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 8)

    def set(self, n):
        struct.pack_into("<Q", self.memory, 0, n)

    def get(self):
        return struct.unpack_from("<Q", self.memory, 0)[0]


def change(e, done, flag):
    """The n-th change makes the file n bytes long, and makes the file n in the directory."""
    for n in range(1, CHANGES + 1):
        if flag.is_set():
            break
        write(e.path(1, "d", "f"), b"x" * n)
        write(e.path(1, "d", str(n)), b"")
        done.set(n)
    flag.set()
    return done.get()


def size_of(fd):
    try:
        return len(os.read(fd, CHANGES + 1))
    finally:
        os.close(fd)


class Looker:
    """One thread's two calls; what is kept open belongs to one pair."""

    def __init__(self, mount):
        self.directory = os.path.join(mount, "d")
        self.file = os.path.join(self.directory, "f")
        self.dir_fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        self.path_fd = os.open(self.file, os.O_PATH)
        self.firsts = {
            "nothing": lambda: None,
            "stat": lambda: os.stat(self.file),
            "stat of directory": lambda: os.stat(self.directory),
            "fstat of directory": lambda: os.fstat(self.dir_fd),
            "O_PATH": self.open_path,
            "open": lambda: os.close(os.open(self.file, os.O_RDONLY)),
            "mkdir that fails": self.fail_to_make,
        }
        self.seconds = {
            "open": lambda n: size_of(os.open(self.file, os.O_RDONLY)) >= n,
            "open in directory": lambda n: size_of(os.open("f", os.O_RDONLY, dir_fd=self.dir_fd)) >= n,
            "open by descriptor": lambda n: size_of(os.open(f"/proc/self/fd/{self.path_fd}", os.O_RDONLY)) >= n,
            "stat": lambda n: os.stat(self.file).st_size >= n,
            "fstat": lambda n: os.fstat(self.path_fd).st_size >= n,
            "stat of name": lambda n: n == 0 or self.has(n),
            "listing": lambda n: n == 0 or str(n) in os.listdir(self.directory),
        }

    def open_path(self):
        os.close(self.path_fd)
        self.path_fd = os.open(self.file, os.O_PATH)

    def fail_to_make(self):
        try:
            os.mkdir(self.file)
        except FileExistsError:
            return
        check(False, "a directory in place of a file")

    def has(self, n):
        try:
            os.stat(str(n), dir_fd=self.dir_fd)
            return True
        except FileNotFoundError:
            return False

    def close(self):
        os.close(self.dir_fd)
        os.close(self.path_fd)


def look(mount, done, flag, seed):
    """Pairs of calls that were made, and how many of each showed what was old."""
    pick = random.Random(seed)
    looker = Looker(mount)
    pairs, old = 0, {}
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        while not flag.is_set():
            first = pick.choice(list(looker.firsts))
            second = pick.choice(list(looker.seconds))
            looker.firsts[first]()
            if pick.random() < 0.5:
                time.sleep(pick.uniform(0, PAUSE_S))
            n = done.get()
            judge = looker.seconds[second]
            right = other.submit(judge, n).result() if pick.random() < 0.2 else judge(n)
            if not right:
                old[f"{first}, {second}"] = old.get(f"{first}, {second}", 0) + 1
            pairs += 1
    looker.close()
    return pairs, old


def watch_changes(e, name, mounts, seconds):
    """Pairs, changes, and what was old."""
    done, flag = Counter(), Flag(e.top, name)
    for n in range(1, CHANGES + 1):
        if os.path.exists(e.path(1, "d", str(n))):
            os.unlink(e.path(1, "d", str(n)))
    write(e.path(1, "d", "f"), b"")
    e.barriers()
    writer = Worker(change, e, done, flag)
    lookers = [Worker(look, m, done, flag, random.random()) for m in mounts]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not flag.is_set():
        time.sleep(0.1)
    flag.set()
    results = [w.result(60) for w in lookers]
    changes = writer.result(60)
    old = {}
    for _, found in results:
        for pair, count in found.items():
            old[pair] = old.get(pair, 0) + count
    return sum(pairs for pairs, _ in results), changes, old


def test(e):
    os.mkdir(e.path(1, "d"))
    e.barriers()
    mounts = [Mount(e, f"linear-{n}", n, "reads=linearizable") for n in (2, 3)]
    try:
        pairs, changes, old = watch_changes(e, "linear", [m.path for m in mounts for _ in range(2)], SECONDS)
        check(not old, f"old answers from mounts with reads=linearizable: {old}")
        local_pairs, _, local_old = watch_changes(e, "local", [e.mount(2), e.mount(3)], SECONDS_LOCAL)
        check(local_old, f"none of {local_pairs} pairs on mounts without the option was old: the test proves nothing")
        print(f"{pairs} pairs of calls beside {changes} changes: none was old; without the option "
              f"{sum(local_old.values())} of {local_pairs}")
    finally:
        for m in mounts:
            m.stop()


run(test, seconds=300)
