"""`inotifywait -m` on m3 while m1 and m2 make 1,000 mixed changes: every change once, with its right
name, in the order in which they were made; m1 and m2 see the kernel's own events for what they did
themselves, and no second set.

First 700 changes one after the other, so that their order is known; then 300 by m1 and m2 at the same
time, of which the order of each is known. Each change is one commit.
"""
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Worker, check, run  # noqa: E402

IN_ORDER = 700
AT_ONCE = 300
WATCHED = ["create", "modify", "close_write", "attrib", "delete"]


class Watch:
    """inotifywait, read all the time, so that its queue never merges or overflows."""

    def __init__(self, path):
        events = [word for event in WATCHED for word in ("-e", event)]
        self.process = subprocess.Popen(["inotifywait", "-m", "--format", "%e %f", *events, path],
                                        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if "established" in line:
                break
        self.lines = []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        for line in self.process.stdout:
            events, _, name = line.rstrip("\n").partition(" ")
            # CLOSE_WRITE is printed with the name of its group; ISDIR says what the name is.
            self.lines.append((events.replace(",CLOSE", ""), name))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Changes:
    """A random walk of changes to files and directories of one mount's own."""

    def __init__(self, directory, prefix, seed):
        self.directory, self.prefix = directory, prefix
        self.random = random.Random(seed)
        self.files, self.directories, self.mode = [], [], {}
        self.count, self.last = 0, None

    def next(self):
        """Makes one change and returns (what, name)."""
        kinds = ["create", "mkdir"] if len(self.files) < 5 else [
            "create", "write", "write", "write", "chmod", "utime", "delete", "mkdir", "rmdir", "symlink"]
        kind = self.random.choice(kinds)
        if kind == "rmdir" and not self.directories:
            kind = "mkdir"
        self.count += 1
        name = f"{self.prefix}-{self.count}"
        if kind in ("write", "chmod", "utime", "delete"):
            # Not the same twice: inotify merges equal events that stand side by side.
            name = self.random.choice([name for name in self.files if name != self.last])
        elif kind == "rmdir":
            name = self.directories.pop(self.random.randrange(len(self.directories)))
        path = os.path.join(self.directory, name)
        if kind == "create":
            os.mknod(path, 0o644)
            self.files.append(name)
        elif kind == "write":
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b"%d" % self.count * self.random.choice([1, 100, 3000]))
            os.close(fd)
        elif kind == "chmod":
            self.mode[name] = self.mode.get(name, 0o644) ^ 0o111  # the same again would be no change
            os.chmod(path, self.mode[name])
        elif kind == "utime":
            os.utime(path, ns=(self.count * 10**9, self.count * 10**9))
        elif kind == "delete":
            os.unlink(path)
            self.files.remove(name)
        elif kind == "mkdir":
            os.mkdir(path)
            self.directories.append(name)
        elif kind == "rmdir":
            os.rmdir(path)
        else:
            os.symlink("target", path)
        self.last = name
        return kind, name


# What a watcher of the directory is told of a change.
EVENTS = {
    "create": ["CREATE"], "write": ["MODIFY", "CLOSE_WRITE"], "chmod": ["ATTRIB"], "utime": ["ATTRIB"],
    "delete": ["DELETE"], "mkdir": ["CREATE,ISDIR"], "rmdir": ["DELETE,ISDIR"], "symlink": ["CREATE"],
}


def expected(changes):
    return [(event, name) for kind, name in changes for event in EVENTS[kind]]


def seen(lines):
    """Neighbouring MODIFY of one file count as one: opening with O_TRUNC and writing are two in the
    kernel, unless inotify merges them."""
    result = []
    for line in lines:
        if not (line[0] == "MODIFY" and result and result[-1] == line):
            result.append(line)
    return result


def compare(what, got, wanted):
    for i, (a, b) in enumerate(zip(got, wanted)):
        check(a == b, f"{what}: event {i} is {a}, not {b}; around it: {got[max(0, i - 3):i + 4]}")
    check(len(got) == len(wanted), f"{what}: {len(got)} events, not {len(wanted)}; "
          f"the rest: {(got + wanted)[min(len(got), len(wanted)):][:6]}")


def compare_by_maker(what, got, prefix, wanted):
    """The kernel tells of a mount's own changes at once, of remote ones when they are repeated: each
    maker's changes keep their order, all together need not."""
    for maker in (1, 2):
        def of(lines):
            return seen([line for line in lines if line[1].startswith(f"{prefix}{maker}-")])
        compare(f"{what}, of m{maker}", of(got), of(wanted))
    others = [line for line in got if not re.match(rf"{prefix}[12]-", line[1])]
    check(not others, f"{what}: events of nothing: {others[:5]}")


def make(directory, prefix, seed, count):
    changes = Changes(directory, prefix, seed)
    return [changes.next() for _ in range(count)]


def test(e):
    os.mkdir(e.path(1, "w"))
    e.barriers()
    seed = random.randrange(1 << 32)
    watches = [Watch(e.path(n, "w")) for n in (1, 2, 3)]

    def all_told(count):
        """Waits for that many events, or until none has come for a while: compare() says what is
        missing."""
        quiet, last = 0, None
        while quiet < 100 and any(len(seen(w.lines)) < count for w in watches):
            now = [len(w.lines) for w in watches]
            quiet = quiet + 1 if now == last else 0
            last = now
            time.sleep(0.05)
        time.sleep(0.2)  # and one too many would come now

    walks = [Changes(e.path(n, "w"), f"m{n}", seed + n) for n in (1, 2)]
    done = [random.choice(walks).next() for _ in range(IN_ORDER)]
    wanted = expected(done)
    all_told(len(wanted))
    compare("m3, one after the other", seen(watches[2].lines), wanted)
    for n, watch in enumerate(watches[:2], 1):
        compare_by_maker(f"m{n}, one after the other", seen(watch.lines), "m", wanted)

    at = [len(watch.lines) for watch in watches]
    workers = [Worker(make, e.path(n, "w"), f"both{n}", seed + 10 + n, AT_ONCE // 2) for n in (1, 2)]
    both = [w.result(60) for w in workers]
    all_told(len(wanted) + sum(len(expected(done)) for done in both))
    for n, watch in enumerate(watches, 1):
        compare_by_maker(f"m{n}, at once", seen(watch.lines[at[n - 1]:]), "both",
                         expected(both[0] + both[1]))
    for watch in watches:
        watch.stop()
    names = [sorted(os.listdir(e.path(n, "w"))) for n in (1, 2, 3)]
    check(names[0] == names[1] == names[2], "the listings differ")
    print(f"{IN_ORDER} changes in order and {AT_ONCE} at once, each seen once on every mount")


run(test, seconds=110)
