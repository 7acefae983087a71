"""zabctl watch, log and --at: every change once and in order, also while members die; a command for
each; what is forgotten is said; and what was.
"""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import ZABCTL, check, run, wait_until, write  # noqa: E402

PATIENCE = 20


class Watch:
    def __init__(self, e, name, *args, servers=None):
        self.path = os.path.join(e.top, name)
        with open(self.path, "wb") as out:
            self.p = subprocess.Popen([ZABCTL, "--servers", servers or e.server(1) + "+" + e.server(2),
                                       "watch", *args], stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=subprocess.PIPE)
        first = self.p.stderr.readline()
        check(first.startswith(b"zabctl: watching from index "), f"begun: {first}")
        self.index = int(first.split()[-1])

    def lines(self):
        with open(self.path) as f:
            return f.read().splitlines()

    def wait(self, condition, what):
        wait_until(lambda: condition(self.lines()), PATIENCE, f"{what}: {self.lines()[-20:]}")

    def stop(self, code=128 + signal.SIGINT):
        self.p.send_signal(signal.SIGINT)
        _, err = self.p.communicate(timeout=PATIENCE)
        check(self.p.returncode == code, f"exit {self.p.returncode}: {err}")


def test(e):
    def ctl(*args, code=0, stdin=None, server=None):
        servers = e.server(server) if server else e.server(1) + "+" + e.server(2)
        r = subprocess.run([ZABCTL, "--servers", servers, *args], input=stdin, capture_output=True,
                           timeout=60)
        check(r.returncode == code, f"zabctl {args}: exit {r.returncode}, {r.stderr!r}")
        return r.stdout if code == 0 else r.stderr

    def index():
        return int(json.loads(ctl("sync", "--json"))["index"])

    # A path that is not there yet, its children, not what is below; and all below with -r.
    flat = Watch(e, "flat", "/d/")
    deep = Watch(e, "deep", "-r", "--json", "/d")
    ctl("mkdir", "/other")
    ctl("mkdir", "/d")
    ctl("create", "/d/a", "v")
    ctl("mkdir", "/d/sub")
    ctl("create", "/d/sub/x", "v")
    ctl("create", "/dd", "v")
    write(e.path(3, "d", "a"), b"w")
    os.chmod(e.path(2, "d", "a"), 0o600)
    ctl("mv", "/d/a", "/other/b")
    ctl("mv", "/other", "/d/new")
    ctl("rm", "/d/sub/x")
    ctl("rm", "-r", "/d/sub")
    ctl("create", "/end", "v")
    want = ["create /d", "create /d/a", "create /d/sub", "set /d/a", "setattr /d/a", "move /d/a /other/b",
            "move /other /d/new", "remove /d/sub"]
    flat.wait(lambda lines: [line.split(" ", 1)[1] for line in lines] == want, "the changes")
    check([int(line.split()[0]) for line in flat.lines()] ==
          sorted({int(line.split()[0]) for line in flat.lines()}), "in the order of the log")
    deep.wait(lambda lines: len(lines) == len(want) + 2, "the changes with -r")
    objects = [json.loads(line) for line in deep.lines()]
    check([o["path"] for o in objects if o["kind"] in ("create", "remove")] ==
          ["/d", "/d/a", "/d/sub", "/d/sub/x", "/d/sub/x", "/d/sub"], f"{objects}")
    moved = next(o for o in objects if o["kind"] == "move")
    check((moved["from"], moved["path"], moved["type"]) == ("/d/a", "/other/b", "file"), f"{moved}")
    # The mount's own stream has the same lines.
    with open(e.path(3, ".zabfs", f"events?from={deep.index}")) as f:
        stream = []
        while not stream or json.loads(stream[-1])["path"] != "/end":
            stream.append(f.readline())
    check([line.rstrip("\n") for line in stream if json.loads(line)["path"].startswith("/d/") or
           json.loads(line)["path"] == "/d" or json.loads(line).get("from", "").startswith("/d/")] ==
          deep.lines(), f"{stream}")
    # The same again from an index, as many as are asked for.
    again = ctl("watch", "--from", str(flat.index), "--count", "3", "/d").decode().splitlines()
    check(again == flat.lines()[:3], f"from an index: {again}")
    flat.stop()
    deep.stop()

    commands(e, ctl)
    failover(e, ctl)
    past(e, ctl, index)
    forgotten(e, ctl)
    print("watched, remembered and forgotten")


def commands(e, ctl):
    """One command for each change, one after the other, with all that is known in its environment, and
    no change is lost when they are slower than the changes."""
    out = os.path.join(e.top, "runs")
    gate = os.path.join(e.top, "gate")
    os.mkfifo(gate)
    begun = Watch(e, "c1", "-r", "/c", "--", "sh", "-c",
                  f'echo "$ZABFS_INDEX $ZABFS_KIND $ZABFS_FROM $ZABFS_PATH $ZABFS_TYPE $ZABFS_SIZE" >>{out}; '
                  f'[ "$ZABFS_PATH" != /c ] || read -r _ <{gate}')

    def runs():
        if not os.path.exists(out):
            return []
        with open(out) as f:
            return f.read().splitlines()
    ctl("mkdir", "/c")
    wait_until(lambda: len(runs()) == 1, PATIENCE, "the first command")
    steps = "".join(f'create "/c/f {i}" value\n' for i in range(800))
    for part in "", "x":
        ctl("txn", stdin=steps.replace("/c/f", f"/c/f{part}").encode())
    ctl("mv", "/c/f 0", "/c/g 0")
    check(len(runs()) == 1, "one at a time")
    with open(gate, "w"):
        pass
    wait_until(lambda: len(runs()) == 1602, 60, "all of them")
    names = [f"create  /c/f {i} file 5" for i in range(800)] + [f"create  /c/fx {i} file 5" for i in range(800)]
    check([line.split(" ", 1)[1] for line in runs()] == ["create  /c directory 0"] + names +
          ["move /c/f 0 /c/g 0 file 5"], f"in order: {runs()[:3]} {runs()[-3:]}")
    check(begun.lines() == [], "nothing printed")
    begun.stop()
    r = subprocess.run([ZABCTL, "--servers", e.server(1), "watch", "--from", "1", "/c", "--", "/nonexistent"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    check(r.returncode == 127, f"a program that is not there: {r.returncode} {r.stderr}")


def failover(e, ctl):
    """Each version once and in order, while the member that is watched dies, comes back, and the other
    one dies."""
    w = Watch(e, "failover", "--json", "/n")
    os.mkdir(e.path(3, "n"))

    def count(first, last):
        for i in range(first, last):
            write(e.path(3, "n", f"f{i}"), b"x", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    count(0, 50)
    w.wait(lambda lines: len(lines) > 40, "the first")
    e.kill("zabd", 1)
    wait_until(lambda: any(m["role"] == "leader" for m in e.status()), PATIENCE, "a leader")
    count(50, 100)
    e.up()
    e.wait_caught_up()
    w.wait(lambda lines: len(lines) >= 201, "all before the second loss")
    e.kill("zabd", 2)
    wait_until(lambda: any(m["role"] == "leader" for m in e.status()), PATIENCE, "a leader")
    count(100, 150)
    e.up()
    w.wait(lambda lines: len(lines) >= 301, "all")
    objects = [json.loads(line) for line in w.lines()]
    check([o["path"] for o in objects if o["kind"] == "create"] == ["/n"] + [f"/n/f{i}" for i in range(150)],
          "each create once, in order")
    check([o["path"] for o in objects if o["kind"] == "set"] == [f"/n/f{i}" for i in range(150)],
          "each write once, in order")
    w.stop()


def past(e, ctl, index):
    ctl("mkdir", "/p")
    ctl("create", "/p/f", "one")
    first = index()
    ctl("set", "/p/f", "two")
    ctl("create", "/p/g", "x")
    second = index()
    ctl("rm", "/p/f")
    ctl("create", "/p/f", "three")
    changes = [json.loads(line) for line in ctl("log", "--json", "/p/f").splitlines()]
    changes = [c for c in changes if c["kind"] != "gap"]
    check([c["kind"] for c in changes] == ["create", "set", "remove", "create"], f"log: {changes}")
    check(changes[0]["index"] <= first < changes[1]["index"] <= second < changes[2]["index"], "indexes")
    check(changes[0]["id"] != changes[3]["id"], "another file of the same name")
    lines = ctl("log", "--from", str(second), "/p/f").decode().splitlines()
    check([line.split()[2] for line in lines if line[0] != "#"] == ["remove", "create"], f"{lines}")
    check(ctl("get", "--at", str(first), "/p/f") == b"one", "what it was")
    check(ctl("get", "--at", str(second), "/p/f") == b"two", "what it was then")
    check(ctl("get", "/p/f") == b"three", "what it is")
    check(ctl("ls", "--at", str(first), "/p") == b"f\n", "what was there")
    check(json.loads(ctl("stat", "--json", "--at", str(first), "/p"))["size"] == 1, "its children then")
    check(b"No such file" in ctl("stat", "--at", str(first), "/p/g", code=1), "not yet there")
    check(b"Invalid" in ctl("get", "--at", str(index() + 1000), "/p/f", code=1), "not yet known")
    check(b"Invalid" in ctl("watch", "--from", str(index() + 1000), "/p", code=1), "nor to be watched")


def forgotten(e, ctl):
    """A member that was started anew knows no changes from before the last snapshot it loaded; one that
    has to take the state from others knows none. It is said, in place of what is missing."""
    w = Watch(e, "gap", "--json", "/p", servers=e.server(1))
    ctl("create", "/p/before", "v")
    w.wait(lambda lines: len(lines) == 1, "the change before")
    e.kill("zabd", 1)
    shutil.rmtree(os.path.join(e.dir, "data", "1"))
    for i in range(20):
        ctl("create", f"/p/missed-{i}", "v", server=2)
    e.up()
    e.wait_caught_up()
    ctl("create", "/p/after", "v")
    w.wait(lambda lines: json.loads(lines[-1]).get("path") == "/p/after", "the change after")
    objects = [json.loads(line) for line in w.lines()]
    w.stop()
    told = set()
    for o in objects:
        told |= set(range(o["first"], o["last"] + 1)) if o["kind"] == "gap" else {o["index"]}
    with_gap = [o["kind"] for o in objects]
    print("a member with an empty disk:", with_gap)
    missed = [json.loads(ctl("stat", "--json", f"/p/missed-{i}"))["czxid"] for i in range(20)]
    check(all(index in told for index in missed), f"told, or said to be missing: {objects}")


run(test, seconds=170)
