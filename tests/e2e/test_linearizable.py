"""Mounts with reads=linearizable show at once what any mount has committed, without a barrier: values,
new and removed names, listings, each seen from another mount right after the call that made the
change. Mounts without the option do not, which shows that the test can tell.

Without a majority such a mount gives an error in place of what it remembers, within the deadline, and
an interrupted read ends. A create that says EROFS has not happened: once an open() that creates did
one more look at the new file before it returned, and passed that one's refusal on (found by the chaos
test).
"""
import errno
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import BIN, Flag, Worker, check, errno_name, errno_of, is_running, read, run, wait_until  # noqa: E402
from zabfs import write  # noqa: E402

ROUNDS = 1000
NAMES = 20
CREATE_TRIALS = 6
CREATORS = 12
DEADLINE_S = 4
SLACK_S = 2


class Mount:
    """A second mount on member n, with reads=linearizable."""

    def __init__(self, e, n):
        self.path = os.path.join(e.top, f"linear-{n}")
        os.mkdir(self.path)
        servers = "+".join(e.server((n + i - 1) % e.members + 1) for i in range(e.members))
        log = open(os.path.join(e.dir, "log", f"zabfs-linear-{n}.log"), "wb")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "zabfs"), "-f", "-o",
             f"reads=linearizable,deadline={DEADLINE_S},servers={servers}", self.path],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait_until(lambda: os.path.ismount(self.path), 20, f"a mount at {self.path}")

    def name(self, *names):
        return os.path.join(self.path, *names)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            if os.path.ismount(self.path):
                subprocess.run(["umount", "-l", self.path], check=False)


def exists(path):
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def churn(e, flag):
    """Changes beside the ones that are looked at, so that members have something to be behind with."""
    n = 0
    while not flag.is_set():
        write(e.path(2, "other", f"f{n % 50}"), b"%d" % n)
        n += 1
    return n


def rounds(e, readers, until_stale=False):
    """Returns how often a reader saw the state before the last change; until_stale: after the first
    round in which one did."""
    stale = 0
    writer = e.mount(1)
    for n in range(ROUNDS):
        if until_stale and stale > 0:
            break
        name = f"n{n % NAMES}"
        for r in readers:
            stale += exists(os.path.join(r, "d", name)) is not None
        write(os.path.join(writer, "d", name), b"value %d" % n)
        for r in readers:
            path = os.path.join(r, "d", name)
            try:
                stale += read(path) != b"value %d" % n
                stale += os.stat(path).st_size != len(b"value %d" % n)
            except FileNotFoundError:
                stale += 1
            stale += os.listdir(os.path.join(r, "d")) != [name]
        write(os.path.join(writer, "d", name), b"second %d" % n)
        for r in readers:
            try:
                stale += read(os.path.join(r, "d", name)) != b"second %d" % n
            except FileNotFoundError:
                stale += 1
        os.chmod(os.path.join(writer, "d", name), 0o600 + n % 64)
        for r in readers:
            st = exists(os.path.join(r, "d", name))
            stale += st is None or st.st_mode & 0o777 != 0o600 + n % 64
        os.unlink(os.path.join(writer, "d", name))
        for r in readers:
            stale += exists(os.path.join(r, "d", name)) is not None
            stale += os.listdir(os.path.join(r, "d")) != []
    return stale


def refused(mount, slowest_s):
    """Every way to read gives an error, each within slowest_s."""
    seen = set()
    for call, args in ((os.stat, (mount.path,)), (os.stat, (mount.name("kept"),)),
                       (os.listdir, (mount.path,)), (read, (mount.name("kept"),)),
                       (os.readlink, (mount.name("link"),)),
                       (os.stat, (mount.name("none"),))):
        started = time.monotonic()
        number = errno_of(call, *args)
        seconds = time.monotonic() - started
        check(errno_name(number) in ("EROFS", "ETIMEDOUT"),
              f"{call.__name__}{args}: {errno_name(number)} without a majority")
        check(seconds < slowest_s, f"{call.__name__}{args} took {seconds:.1f} s")
        seen.add(errno_name(number))
    return seen


def interrupted(mount):
    """The end of the caller ends the wait."""
    child = Worker(read, mount.name("kept"))
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(child.pid), 2, "a killed reader to end")


def minority(e, mounts):
    write(e.path(1, "kept"), b"before")
    os.symlink("kept", e.path(1, "link"))
    for m in mounts:
        check(read(m.name("kept")) == b"before" and os.readlink(m.name("link")) == "kept", "to look")
    alive = e.leader()
    stopped = [n for n in (1, 2, 3) if n != alive]
    held = os.open(mounts[0].name("kept"), os.O_RDONLY)
    for n in stopped:
        e.signal("zabd", n, signal.SIGSTOP)
    try:
        time.sleep(1)  # the lease has ended
        interrupted(mounts[0])
        lookers = [Worker(refused, m, DEADLINE_S + SLACK_S) for m in mounts]
        seen = set().union(*(w.result(60) for w in lookers))
        check(os.pread(held, 100, 0) == b"before", "an open file keeps its version")
        check(read(e.path(alive, "kept")) == b"before", "a mount without the option answers")
    finally:
        os.close(held)
        for n in stopped:
            e.signal("zabd", n, signal.SIGCONT)
    e.wait_members()
    wait_until(lambda: errno_of(write, e.path(1, "kept"), b"after") == 0, 20, "writes to work again")
    for m in mounts:
        wait_until(lambda m=m: errno_of(os.stat, m.path) == 0, 20, "reads to work again")
        check(read(m.name("kept")) == b"after", "what was written since")
    return seen


def create_until_refused(mount, directory):
    """The names, below the mount, whose creation failed, and what it said. What was under way when the
    majority went may time out; the one after it is refused."""
    failed = []
    for n in range(1 << 30):
        name = os.path.join(directory, str(n))
        number = errno_of(os.open, mount.name(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if number:
            failed.append((name, errno_name(number)))
        if number == errno.EROFS or len(failed) == 2:
            return failed


def refused_creates(e, mount, alive):
    """How many said EROFS; none of them may be there afterwards. Each in a directory of its own: in one,
    the kernel would let them wait one after the other."""
    refused = 0
    for trial in range(CREATE_TRIALS):
        directories = [f"d/{trial}-{n}" for n in range(CREATORS)]
        for d in directories:
            os.mkdir(mount.name(d))
        workers = [Worker(create_until_refused, mount, d) for d in directories]
        time.sleep(random.uniform(0.3, 0.6))
        stopped = [n for n in (1, 2, 3) if n != alive]
        for n in stopped:
            e.signal("zabd", n, signal.SIGSTOP)
        try:
            said = [failed for w in workers for failed in w.result(40)]
        finally:
            for n in stopped:
                e.signal("zabd", n, signal.SIGCONT)
        e.wait_members()
        e.barrier(1)
        for name, text in said:
            check(text != "EROFS" or exists(e.path(1, name)) is None,
                  f"{name}: EROFS, and it is there")
            refused += text == "EROFS"
    return refused


def test(e):
    os.mkdir(e.path(1, "d"))
    os.mkdir(e.path(1, "other"))
    e.barriers()
    mounts = []
    flag = Flag(e.top, "end")
    try:
        mounts = [Mount(e, 2), Mount(e, 3)]
        worker = Worker(churn, e, flag)
        started = time.monotonic()
        stale = rounds(e, [m.path for m in mounts])
        seconds = time.monotonic() - started
        check(stale == 0, f"{stale} old answers from mounts with reads=linearizable")
        local = rounds(e, [e.mount(2), e.mount(3)], until_stale=True)
        check(local > 0, "mounts without the option were never behind: the test proves nothing")
        flag.set()
        others = worker.result(30)
        errors = minority(e, mounts)
        creates = refused_creates(e, mounts[0], 2)
        print(f"{ROUNDS} rounds in {seconds:.1f} s beside {others} other changes: no old answer; without "
              f"the option {local}, and stopped; without a majority: {', '.join(sorted(errors))}; {creates} creates refused")
    finally:
        flag.set()
        for m in mounts:
            m.close()


run(test, seconds=450)
