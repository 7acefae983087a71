"""A mount whose member is cut off from the others goes on writing through the next server of its list.
When nobody has a quorum, reads are answered, writes fail with EROFS, and the mount stays where it is.

Every member has a network namespace; the mount, outside of them, reaches each by its unix socket, which
no rule of the network cuts.
"""
import errno
import os
import signal
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "chaos")]
from world import Network, Process, start_time  # noqa: E402
from zabfs import BIN, REPORT, ZABCTL, Failure, check, errno_of, read, wait_until, write  # noqa: E402

WRITES = 30
MEMBERS = (1, 2, 3)


class World:
    """What the processes and the one that cleans up behind them expect of a world."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="zc", dir="/tmp")
        self.guardian = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "chaos", "chaos.py"), "--clean", self.top],
            stdin=subprocess.PIPE, start_new_session=True)
        for name in ("run", "conf", "data", "log", "m"):
            os.mkdir(self.path(name))
        self.net = Network(os.path.basename(self.top), len(MEMBERS))
        self.members = {n: self.member(n) for n in MEMBERS}
        servers = "+".join("unix:" + self.socket(n) for n in MEMBERS)
        self.mount = Process(self, "zabfs", [os.path.join(BIN, "zabfs"), "-f", "-o",
                                             f"servers={servers}", self.path("m")])

    def path(self, *names):
        return os.path.join(self.top, *names)

    def remember(self, pid):
        with open(self.path("pids"), "a") as f:
            f.write(f"{pid} {start_time(pid)}\n")

    def socket(self, n):
        return self.path("run", f"zabd-{n}.sock")

    def member(self, n):
        lines = ["[member]", f"id = {n}", "name = cut-off", f"data = {self.path('data', str(n))}",
                 f"unix = {self.socket(n)}", "[ensemble]"]
        lines += [f"{i} = {self.net.address(i)}:2190:2191" for i in MEMBERS]
        os.mkdir(self.path("data", str(n)))
        with open(self.path("conf", f"zabd-{n}.ini"), "w") as f:
            f.write("\n".join(lines) + "\n")
        return Process(self, f"zabd-{n}", self.net.inside(n) + [
            os.path.join(BIN, "zabd"), "--config", self.path("conf", f"zabd-{n}.ini")])

    def status(self, n):
        r = subprocess.run([ZABCTL, "--servers", "unix:" + self.socket(n), "--deadline", "2", "status"],
                           capture_output=True, text=True)
        return dict(word.split("=", 1) for word in r.stdout.split() if "=" in word)

    def leader(self):
        return next((n for n in MEMBERS if self.status(n).get("serving") == "yes"), None)

    def own_status(self):
        """Of the mount."""
        with open(self.path("m", ".zabfs", "status")) as f:
            return dict(line.strip().split("=", 1) for line in f if "=" in line)

    def start(self):
        for m in self.members.values():
            m.start()
        wait_until(self.leader, 30, "a leader")
        self.mount.start()
        wait_until(lambda: os.path.ismount(self.path("m")), 30, "the mount")

    def end(self):
        for p in [self.mount, *self.members.values()]:
            check(p.end(30) == 0, f"{p.name} does not end well")
        for name in os.listdir(self.path("log")):
            with open(self.path("log", name), "rb") as f:
                check(not REPORT.search(f.read()), f"a report in {name}")


def goes_on(w, cut):
    """Every write goes well, the one that the cut meets included."""
    for i in range(WRITES):
        if i == 3:
            for n in cut:
                w.net.cut(n, "both")
        write(w.path("m", "f"), b"%d" % i)
        check(read(w.path("m", "f")) == b"%d" % i, "what was written is not read")
        os.mkdir(w.path("m", f"d{i}"))
    check(int(w.own_status()["member"]) not in cut, "the mount is still at the member that is cut off")
    for n in cut:
        w.net.mend(n, "both")
    for i in range(WRITES):
        os.rmdir(w.path("m", f"d{i}"))


def command_line(w):
    """zabctl watch and zabctl lock, whose member is cut off, go on at the next one as well."""
    servers = "+".join("unix:" + w.socket(n) for n in MEMBERS)
    log = w.path("watched")
    with open(log, "wb") as out:
        watch = subprocess.Popen([ZABCTL, "--servers", servers, "watch", "-r", "/"], stdout=out,
                                 stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    w.remember(watch.pid)
    watch.stderr.readline()  # it has begun
    lock = subprocess.Popen([ZABCTL, "--servers", servers, "lock", "--ttl", "8", "/lock", "--", "sh", "-c",
                             "echo held; exec sleep 1000"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE)
    w.remember(lock.pid)
    check(lock.stdout.readline() == b"held\n", "the lock is not held")
    w.net.cut(1, "both")
    for i in range(WRITES):
        write(w.path("m", f"seen{i}"), b"x", os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def seen():
        with open(log) as f:
            return [line.split("/seen")[1] for line in f.read().splitlines() if "create /seen" in line]
    wait_until(lambda: seen() == [str(i) for i in range(WRITES)], 30, f"each once and in order, not {seen()}")
    entries = subprocess.run([ZABCTL, "--servers", "unix:" + w.socket(2), "locks", "/lock"],
                             capture_output=True, text=True).stdout
    check(entries.startswith(f"holds exclusive flock pid={lock.pid} "), f"who has the lock: {entries}")
    check(lock.poll() is None, "the lock was given up")
    w.net.mend(1, "both")
    for p in watch, lock:
        p.terminate()
        p.communicate(timeout=30)


def nobody_has_a_quorum(w):
    write(w.path("m", "f"), b"before")
    for n in MEMBERS:
        w.net.cut(n, "both")

    def refused():
        return errno_of(write, w.path("m", "f"), b"refused") == errno.EROFS
    wait_until(refused, 30, "a write to be refused")
    before = int(w.own_status()["reconnects"])
    for _ in range(200):
        number = errno_of(os.mkdir, w.path("m", "new"))
        check(number == errno.EROFS, f"without a quorum: {errno.errorcode.get(number, number)}")
        check(read(w.path("m", "f")) == b"before", "what is read has changed")
    moves = int(w.own_status()["reconnects"]) - before
    check(moves < 60, f"{moves} moves in 200 refusals: the members are stormed")
    for n in MEMBERS:
        w.net.mend(n, "both")
    wait_until(lambda: errno_of(write, w.path("m", "f"), b"after") == 0, 30, "a write to go well")
    return moves


def test(w):
    first = w.leader()
    check(w.own_status()["member"] == "1", "the mount is not at the first of its servers")
    goes_on(w, [1])
    wait_until(w.leader, 30, "a leader")
    goes_on(w, [int(w.own_status()["member"])])
    wait_until(w.leader, 30, "a leader")
    command_line(w)
    wait_until(w.leader, 30, "a leader")
    moves = nobody_has_a_quorum(w)
    print(f"the first leader was member {first}; {moves} moves in 200 refusals")


def on_alarm(*_):
    raise Failure("the test has not ended in time")


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(140)
    w = World()
    code = 1
    try:
        w.start()
        test(w)
        w.end()
        code = 0
    except BaseException as failure:
        signal.alarm(0)
        traceback.print_exc(file=sys.stdout)
        for name in sorted(os.listdir(w.path("log"))):
            with open(w.path("log", name), "rb") as f:
                print(f"--- end of {name}\n{f.read()[-4000:].decode(errors='replace')}")
        print(f"FAILED: {failure}")
    signal.alarm(0)
    w.guardian.stdin.close()
    w.guardian.wait(60)
    sys.stdout.flush()
    os._exit(code)


main()
