"""All members stand still (SIGSTOP), so that nothing is answered, and callers wait in every system call
that can wait.

With a create pending in a directory, files that are known there are read as ever, and other
directories are not concerned. SIGINT and SIGKILL end every caller, long before its deadline, those
included that the kernel makes wait for the create. Without a signal each call ends by the deadline
with EROFS or ETIMEDOUT; what ended with EROFS has not happened when the members go on.
"""
import fcntl
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from mounts import Mount  # noqa: E402
from zabfs import LIBC, PR_SET_PDEATHSIG, check, errno_name, is_running, read, run, wait_until, write  # noqa: E402

BIG = b"b" * 100000  # read from the member when it is opened
SHORT_S, LONG_S = 3, 100  # deadlines


def exists(path):
    return os.path.lexists(path)


# Each call: what it needs beforehand (a descriptor, made while all is well), the call itself, and
# whether it has happened. `d` is a directory of its own with a file `f`, a large file `big`, a link
# and an empty directory.

def before_nothing(d):
    return None


def opened(flags, value=None):
    def before(d):
        fd = os.open(f"{d}/f", flags)
        if value is not None:
            os.write(fd, value)
        return fd
    return before


def appended(d):
    """The next read must ask for what the file is now."""
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_APPEND)
    os.write(fd, b"more")
    return fd


def flushed(d):
    """As a shell's redirection: the first write asks whether there is a quorum."""
    fd = os.open(f"{d}/f", os.O_WRONLY | os.O_TRUNC)
    os.close(os.dup(fd))
    return fd


CALLS = {
    "create": (before_nothing, lambda d, fd: os.open(f"{d}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
               lambda d: exists(f"{d}/new")),
    "mknod": (before_nothing, lambda d, fd: os.mknod(f"{d}/new"), lambda d: exists(f"{d}/new")),
    "mkdir": (before_nothing, lambda d, fd: os.mkdir(f"{d}/new"), lambda d: exists(f"{d}/new")),
    "symlink": (before_nothing, lambda d, fd: os.symlink("x", f"{d}/new"), lambda d: exists(f"{d}/new")),
    "unlink": (before_nothing, lambda d, fd: os.unlink(f"{d}/f"), lambda d: not exists(f"{d}/f")),
    "rmdir": (before_nothing, lambda d, fd: os.rmdir(f"{d}/d"), lambda d: not exists(f"{d}/d")),
    "rename": (before_nothing, lambda d, fd: os.rename(f"{d}/f", f"{d}/g"), lambda d: exists(f"{d}/g")),
    "open": (before_nothing, lambda d, fd: os.open(f"{d}/big", os.O_RDONLY), None),
    "lookup": (before_nothing, lambda d, fd: os.stat(f"{d}/never-seen"), None),
    "readdir": (before_nothing, lambda d, fd: os.listdir(f"{d}"), None),
    "read": (appended, lambda d, fd: os.read(fd, 100), None),
    "append": (opened(os.O_WRONLY | os.O_APPEND), lambda d, fd: os.write(fd, b"x"),
               lambda d: read(f"{d}/f") == b"oldx"),
    "first write of a shell": (flushed, lambda d, fd: os.write(fd, b"x"), lambda d: read(f"{d}/f") == b"x"),
    "close": (opened(os.O_WRONLY | os.O_TRUNC, b"new"), lambda d, fd: os.close(fd),
              lambda d: read(f"{d}/f") == b"new"),
    "fsync": (opened(os.O_WRONLY | os.O_TRUNC, b"new"), lambda d, fd: os.fsync(fd),
              lambda d: read(f"{d}/f") == b"new"),
    "barrier": (opened(os.O_RDONLY), lambda d, fd: os.fsync(fd), None),
    "chmod": (before_nothing, lambda d, fd: os.chmod(f"{d}/f", 0o600),
              lambda d: os.stat(f"{d}/f").st_mode & 0o777 == 0o600),
    "truncate": (before_nothing, lambda d, fd: os.truncate(f"{d}/f", 1), lambda d: read(f"{d}/f") == b"o"),
    "setxattr": (before_nothing, lambda d, fd: os.setxattr(f"{d}/f", "user.color", b"red"),
                 lambda d: "user.color" in os.listxattr(f"{d}/f")),
    "flock": (opened(os.O_RDONLY), lambda d, fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), None),
    "fcntl lock": (opened(os.O_RDWR), lambda d, fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), None),
}


class Caller:
    """A process that makes one call when told to, and then says how it ended."""

    def __init__(self, name, directory):
        self.name, self.directory = name, directory
        before, call, self.has_happened = CALLS[name]
        start, self.start = os.pipe()
        self.said, say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(0)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                fd = before(directory)
                os.write(say, b"ready ")
                os.read(start, 1)
                os.write(say, b"calling ")
                try:
                    call(directory, fd)
                    os.write(say, b"0")
                except OSError as e:
                    os.write(say, errno_name(e.errno).encode())
            finally:
                os._exit(0)
        os.close(start)
        os.close(say)
        self.text = b""
        os.set_blocking(self.said, False)

    def hear(self):
        try:
            self.text += os.read(self.said, 100)
        except BlockingIOError:
            pass
        return self.text.split()

    def go(self):
        os.write(self.start, b"g")

    def is_waiting(self):
        return self.hear() == [b"ready", b"calling"] and is_running(self.pid)

    def end(self):
        """How the process ended, and what the call returned."""
        wait_until(lambda: not is_running(self.pid), 40, f"the end of {self.name}")
        _, code = os.waitpid(self.pid, 0)
        words = self.hear()
        os.close(self.start)
        os.close(self.said)
        return -os.waitstatus_to_exitcode(code), words[2].decode() if len(words) > 2 else None


def prepare(directory):
    os.mkdir(directory)
    write(f"{directory}/f", b"old")
    write(f"{directory}/big", BIG)
    os.mkdir(f"{directory}/d")


def callers(mount, top, names=CALLS):
    result = []
    for i, name in enumerate(names):
        directory = mount.at(top, f"d{i}")
        os.stat(f"{directory}/f")  # known from here on, as is the way to it
        os.stat(f"{directory}/d")
        result.append(Caller(name, directory))
    for c in result:
        wait_until(lambda c=c: c.hear() == [b"ready"], 20, f"{c.name} to be ready")
    return result


def stop_all(e, number=signal.SIGSTOP):
    for n in range(1, e.members + 1):
        e.signal("zabd", n, number)


def all_wait(some):
    for c in some:
        c.go()
    for c in some:
        wait_until(lambda c=c: len(c.hear()) >= 2, 20, f"{c.name} to begin")
    # What does not wait has said so by now, at the latest when the others are looked at.
    os.sched_yield()
    return {c.name for c in some if c.is_waiting()}


def made(e, mount, top):
    os.mkdir(e.path(1, top))
    for i in range(len(CALLS)):
        prepare(e.path(1, top, f"d{i}"))
    mount.barrier()


def signalled(e, mount, number):
    top = f"signal-{number}"
    made(e, mount, top)
    some = callers(mount, top)
    stop_all(e)
    try:
        all_wait(some)
        for c in some:
            os.kill(c.pid, number)
        ends = {c.name: c.end() for c in some}
    finally:
        stop_all(e, signal.SIGCONT)
    for name, (code, said) in ends.items():
        check(code == number, f"{name}: after signal {number} the call returned {said}")
    e.wait_members()
    mount.barrier()


def by_deadline(e, mount):
    made(e, mount, "deadline")
    some = callers(mount, "deadline")
    stop_all(e)
    try:
        for c in some:
            c.go()
        ends = {c.name: c.end()[1] for c in some}
    finally:
        stop_all(e, signal.SIGCONT)
    e.wait_members()
    mount.barrier()
    for c in some:
        check(ends[c.name] in ("EROFS", "ETIMEDOUT"), f"{c.name} has ended with {ends[c.name]}")
        if ends[c.name] == "EROFS" and c.has_happened is not None:
            check(not c.has_happened(c.directory), f"{c.name} said EROFS, and happened")
    return ends


BEHIND = ["mkdir", "lookup", "unlink", "rename", "readdir"]  # the kernel has them wait


def same_directory(e, mount):
    """One pending create, and others behind it in the same directory."""
    os.mkdir(e.path(1, "same"))
    prepare(e.path(1, "same", "d0"))
    mount.barrier()
    d = mount.at("same", "d0")
    check(read(f"{d}/f") == b"old" and read(f"{d}/big") == BIG, "what is known from here on")
    first = Caller("create", d)
    others = [Caller(name, d) for name in BEHIND]
    for c in [first, *others]:
        wait_until(lambda c=c: c.hear() == [b"ready"], 20, f"{c.name} to be ready")
    stop_all(e)
    try:
        check(all_wait([first]), "a create waits")
        all_wait(others)
        check(read(f"{d}/f") == b"old", "a small file that is known is read beside it")
        check(read(f"{d}/big") == BIG, "and a large one")
        check(os.stat(f"{d}/f").st_size == 3, "and looked at")
        check(b"state=" in read(mount.at(".zabfs", "status")), "and .zabfs/status")
        for c in [first, *others]:
            os.kill(c.pid, signal.SIGKILL)
        for c in [first, *others]:
            check(c.end()[0] == signal.SIGKILL, f"{c.name} has ended by itself")
    finally:
        stop_all(e, signal.SIGCONT)
    e.wait_members()
    mount.barrier()


def test(e):
    patient = Mount(e, "patient", options=f"deadline={LONG_S}")
    hasty = Mount(e, "hasty", options=f"deadline={SHORT_S}")
    signalled(e, patient, signal.SIGINT)
    signalled(e, patient, signal.SIGKILL)
    same_directory(e, patient)
    ends = by_deadline(e, hasty)
    for mount in (patient, hasty):
        write(mount.at("after"), b"all is well")
        check(mount.stop() == 0, "a mount ends well")
    said = ", ".join(f"{name} {text}" for name, text in ends.items())
    print(f"{len(CALLS)} calls ended by SIGINT, by SIGKILL and by the deadline: {said}")


run(test, seconds=200)
