""".zabfs/events: every change of the whole tree as a line of JSON, in order, once, never before what it
tells of can be read, and never with a gap that is not told.
"""
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Failure, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402


class Stream:
    """An open events file, read without waiting longer than asked for."""

    def __init__(self, e, n, since=None):
        name = "events" if since is None else f"events?from={since}"
        self.fd = os.open(e.path(n, ".zabfs", name), os.O_RDONLY | os.O_NONBLOCK)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)
        self.bytes = b""

    def line(self, seconds=20):
        """The next one, as an object."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.bytes:
            left = deadline - time.monotonic()
            if left <= 0 or not self.poll.poll(left * 1000):
                raise Failure(f"no line within {seconds} s")
            try:
                self.bytes += os.read(self.fd, 1 << 16)
            except BlockingIOError:
                raise Failure("POLLIN, and nothing to read")
        line, _, self.bytes = self.bytes.partition(b"\n")
        return json.loads(line)

    def until(self, path, kind, seconds=30):
        """All lines up to this one, which is the last."""
        lines = [self.line(seconds)]
        while (lines[-1].get("path"), lines[-1]["kind"]) != (path, kind):
            lines.append(self.line(seconds))
        return lines

    def is_empty(self):
        return b"\n" not in self.bytes and not self.poll.poll(0) and errno_of(os.read, self.fd, 1) == errno.EAGAIN

    def close(self):
        os.close(self.fd)


def shown(lines):
    return [(line["kind"], line["path"], line.get("from")) for line in lines]


def every_kind(e):
    streams = {n: Stream(e, n) for n in (1, 2, 3)}
    for s in streams.values():
        check(s.is_empty(), "nothing has happened yet")
    os.mkdir(e.path(1, "d"))
    odd = 'a "b"\\\n\t\u20ac\x01'
    write(e.path(1, "d", odd), b"abc")
    os.chmod(e.path(1, "d", odd), 0o600)
    os.rename(e.path(1, "d", odd), e.path(1, "g"))
    os.symlink("g", e.path(1, "l"))
    os.unlink(e.path(1, "g"))
    name = os.path.join(os.fsencode(e.mount(1)), b"bad-\xff\xfe")
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    write(e.path(1, "end"), b"1")
    want = [("create", "/d", None), ("create", f"/d/{odd}", None), ("set", f"/d/{odd}", None),
            ("setattr", f"/d/{odd}", None), ("move", "/g", f"/d/{odd}"), ("create", "/l", None),
            ("remove", "/g", None), ("create", "/bad-\ufffd\ufffd", None), ("create", "/end", None),
            ("set", "/end", None)]
    for n, s in streams.items():
        lines = s.until("/end", "set")
        check(shown(lines) == want, f"m{n}: {shown(lines)}")
        indexes = [line["index"] for line in lines]
        check(indexes == sorted(set(indexes)), f"m{n}: {indexes}")
        check([line["type"] for line in lines[:6]] == ["directory"] + ["file"] * 4 + ["symlink"], f"m{n}: types")
        check(lines[2]["size"] == 3 and lines[2]["version"] == 2 and lines[2]["session"] > 0, f"m{n}: {lines[2]}")
        check(lines[2]["id"] == lines[4]["id"] and lines[4]["index"] > lines[3]["index"], f"m{n}: ids")
        s.close()
    # A transaction is one index, and comes whole.
    s = Stream(e, 2)
    fd = os.open(e.path(1, ".zabfs", "txn"), os.O_RDWR)
    os.write(fd, b"create /t1\ncreate /t2\ndelete /l\n")
    check(os.pread(fd, 100, 0).startswith(b"ok"), "the transaction")
    os.close(fd)
    lines = [s.line() for _ in range(3)]
    check(shown(lines) == [("create", "/t1", None), ("create", "/t2", None), ("remove", "/l", None)], f"{lines}")
    check(len({line["index"] for line in lines}) == 1 and [line.get("more") for line in lines] == [True, True, None],
          f"{lines}")
    s.close()
    print("every kind of change, odd names, transactions")


def visible(e):
    """What a line tells of can be read on this mount when the line can: also names and sizes that the
    kernel had cached."""
    os.mkdir(e.path(1, "v"))
    write(e.path(1, "v", "f"), b"")
    e.barriers()
    s = Stream(e, 2)
    for i in range(200):
        os.stat(e.path(2, "v", "f"))
        errno_of(os.stat, e.path(2, "v", f"n{i}"))
        with open(e.path(1, "v", f"n{i}"), "wb"):
            pass
        write(e.path(1, "v", "f"), b"x" * (i + 1))
        lines = s.until("/v/f", "set")
        check(os.path.exists(e.path(2, "v", f"n{i}")), f"round {i}: told and not there")
        check(os.stat(e.path(2, "v", "f")).st_size >= i + 1, f"round {i}: an old size")
        check(len(read(e.path(2, "v", "f"))) >= i + 1, f"round {i}: an old value")
        check(all(line["kind"] != "gap" for line in lines), f"round {i}: {lines}")
    s.close()
    print("200 changes of another mount: each is there when it is told")


def resume(e):
    s = Stream(e, 1)
    for i in range(30):
        write(e.path(1 + i % 3, f"r{i}"), b"x")
    lines = s.until("/r29", "set")
    s.close()
    for at in (0, 7, 31, len(lines) - 1):
        since = lines[at]["index"]
        for n in (1, 3):
            again = Stream(e, n, since)
            got = [again.line() for _ in lines[at + 1:]]
            check(got == lines[at + 1:], f"from {since} on m{n}: {shown(got)}")
            write(e.path(2, f"more-{at}-{n}"), b"x")
            indexes = [line["index"] for line in got + again.until(f"/more-{at}-{n}", "set")]
            check(indexes == sorted(set(indexes)), f"goes on: {indexes}")
            check(again.is_empty(), "and no more")
            again.close()
    # Two streams that begin at a time, and one that runs: none disturbs another.
    live, early, late = Stream(e, 1), Stream(e, 1, lines[3]["index"]), Stream(e, 1, lines[40]["index"])
    write(e.path(2, "last"), b"x")
    for s, at in ((early, 4), (late, 41)):
        got = s.until("/last", "set")
        indexes = [line["index"] for line in got]
        check(got[:len(lines) - at] == lines[at:] and indexes == sorted(set(indexes)), f"{shown(got)}")
    check(shown(live.until("/last", "set"))[-1] == ("set", "/last", None), "the one that runs")
    future = Stream(e, 2, 1 << 50)
    write(e.path(1, "unheard"), b"x")
    e.barrier(2)
    check(future.is_empty(), "an index that is yet to come")
    for s in (live, early, late, future):
        s.close()
    print("resumed by index")


def programs(e):
    """Programs as they are: tail, head, cat, a shell's loop."""
    def start(script):
        return subprocess.Popen(["bash", "-c", script, "bash", e.path(1, ".zabfs")], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True, start_new_session=True)

    mark = e.path(2, "p")
    write(mark, b"0")
    e.barriers()
    since = json.loads(subprocess.run(["head", "-1", e.path(1, ".zabfs", "events?from=0")], capture_output=True,
                                      text=True, timeout=60).stdout)["index"]
    check(since > 0, "head -1 of what was")
    scripts = ["tail -f $1/events", "tail -n +1 -f $1/events", "head -5 $1/events", "stdbuf -o0 cat $1/events",
               "cat $1/events | while read -r line; do echo \"$line\"; done",
               "while read -r line; do echo \"$line\"; done < $1/events",
               "exec 5<$1/events; while read -r -u 5 line; do echo \"$line\"; done",
               f"tail -n +1 -f '{e.path(1, '.zabfs')}/events?from={since}'"]
    running = [start(script) for script in scripts]
    stop = time.monotonic() + 30
    i = 0
    try:
        for script, p in zip(scripts, running):
            lines = []
            while len(lines) < 4 and time.monotonic() < stop:
                i += 1
                write(mark, b"%d" % i)
                while select.select([p.stdout], [], [], 0.05)[0] and len(lines) < 4:
                    lines.append(json.loads(p.stdout.readline()))
            check(len(lines) == 4, f"{script}: {lines}")
            indexes = [line["index"] for line in lines]
            check(indexes == sorted(set(indexes)) and all(line["kind"] != "gap" for line in lines), f"{script}: {lines}")
            if "head" in script:
                check(p.wait(20) == 0, f"{script} ends by itself")
    finally:
        for p in running:
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            p.wait()
            p.stdout.close()
    print(f"{len(scripts)} programs")


def waiting(e):
    """Without O_NONBLOCK a read waits, and can be interrupted."""
    p = subprocess.Popen([sys.executable, "-c", "import os, sys; fd = os.open(sys.argv[1], 0); "
                          "print(os.read(fd, 1), flush=True); os.read(fd, 100000); print(os.read(fd, 1))",
                          e.path(1, ".zabfs", "events")], stdout=subprocess.PIPE, text=True)
    while not select.select([p.stdout], [], [], 0.05)[0]:
        write(e.path(2, "w"), b"x")
    check(p.stdout.readline() == "b'{'\n", "a byte")
    p.send_signal(signal.SIGKILL)
    check(p.wait(20) == -signal.SIGKILL, "the reader that waits is killed")
    p.stdout.close()
    print("a read that waits")


def slow_reader(e):
    """Who does not read loses lines, and is told which."""
    s = Stream(e, 1)
    steps = b"".join(b"set /slow %d\n" % i for i in range(999))
    write(e.path(1, "slow"), b"0")
    first = s.line()["index"]
    fd = os.open(e.path(2, ".zabfs", "txn"), os.O_RDWR)
    for _ in range(45):  # more than 4 MiB of lines
        os.write(fd, steps)
        check(os.pread(fd, 20, 0).startswith(b"ok"), "a transaction")
    os.close(fd)
    write(e.path(2, "slow-end"), b"x")
    e.barrier(1)
    last, seen, gaps = first, 0, []
    while True:
        line = s.line()
        if line["kind"] == "gap":
            check(line["first"] >= last and line["last"] >= line["first"], f"{line} behind {last}")
            gaps.append(line)
            last = line["last"]
        else:
            check(line["index"] >= last, f"{line} behind {last}")
            check(line["index"] - last <= 1 or line["path"] != "/slow", f"a silent gap: {last}, {line}")
            last = line["index"]
        seen += 1
        if line.get("path") == "/slow-end" and line["kind"] == "set":
            break
    check(len(gaps) == 1, f"{gaps}")
    s.close()
    print(f"a slow reader: {seen} lines, missed {gaps[0]['first']} to {gaps[0]['last']}")


def reconnects(e):
    """The member dies while changes go on: each line once, in order; then the window of the next member is
    too short, and the gap is told."""
    s = Stream(e, 3)
    writer = os.fork()
    if writer == 0:
        signal.alarm(0)
        for i in range(300):
            write(e.path(1, f"c{i % 5}"), b"%d" % i)
        write(e.path(1, "c-end"), b"x")
        os._exit(0)
    s.line()
    leader = e.leader()
    if leader != 3:
        e.kill("zabd", 3)
    lines = s.until("/c-end", "set", 60)
    os.waitpid(writer, 0)
    indexes = [line["index"] for line in lines]
    check(indexes == sorted(set(indexes)), "in order, each once")
    check(all(line["kind"] != "gap" for line in lines), "nothing is missing")
    check(len([line for line in lines if line["kind"] == "set"]) >= 300, f"{len(lines)} lines")
    if leader != 3:
        e.start_member(3)
        e.wait_members()
    # What no member remembers: the first changes of all.
    old = Stream(e, 2, 1)
    line = old.line()
    check(line["index"] > 1, f"{line}")
    old.close()
    s.close()
    print(f"a member that dies: {len(lines)} lines, each once")


def test(e):
    every_kind(e)
    visible(e)
    resume(e)
    programs(e)
    waiting(e)
    slow_reader(e)
    reconnects(e)


run(test, seconds=230)
