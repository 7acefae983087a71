"""What waits for changes: tail -f and inotifywait -m -r of what another mount writes, the two masks that
systemd's path units watch with, make's and find's view of time, and the locks of flock(1) and
dotlockfile between two mounts.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, run, wait_until, write  # noqa: E402


class Program:
    """A program that goes on; what it has said so far."""

    def __init__(self, *command, cwd=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = b""

    def lines(self):
        self.said += self.process.stdout.read() or b""
        return self.said.decode().splitlines()

    def wait_for(self, line, seconds=20):
        wait_until(lambda: line in self.lines(), seconds, f"'{line}' among {self.lines()}")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def tail(e, *options):
    """Lines that another mount appends are shown once each, as they come."""
    name = "log" + "".join(options)
    write(e.path(1, name), b"first\n")
    e.barrier(2)
    t = Program("tail", "-n+1", *options, e.path(2, name))
    t.wait_for("first")
    for i in range(50):
        write(e.path(1, name), b"line %d\n" % i, os.O_WRONLY | os.O_APPEND)
        if i % 10 == 0:
            t.wait_for(f"line {i}")
    t.wait_for("line 49")
    check(t.lines() == ["first"] + [f"line {i}" for i in range(50)], f"tail {options}: {t.lines()}")
    t.stop()


def watch_recursively(e):
    """New directories are watched, too, as soon as inotifywait has heard of them."""
    os.makedirs(e.path(1, "tree", "a"))
    e.barrier(2)
    w = Program("inotifywait", "-m", "-r", "--format", "%e %w%f", "-e", "create,close_write,move,delete",
                "tree", cwd=e.mount(2))
    wait_until(lambda: any("established" in line for line in w.lines()), 20, "the watches")
    write(e.path(1, "tree", "a", "f"), b"1")
    w.wait_for("CREATE tree/a/f")
    w.wait_for("CLOSE_WRITE,CLOSE tree/a/f")
    os.mkdir(e.path(1, "tree", "new"))
    w.wait_for("CREATE,ISDIR tree/new")

    def in_new():
        count = sum(line.startswith("CREATE tree/new/") for line in w.lines())
        write(e.path(1, "tree", "new", f"f{count}-{len(w.lines())}"), b"1")
        return count
    wait_until(in_new, 20, "what happens in the new directory")
    os.rename(e.path(1, "tree", "a"), e.path(1, "tree", "b"))
    w.wait_for("MOVED_FROM,ISDIR tree/a")
    w.wait_for("MOVED_TO,ISDIR tree/b")
    w.stop()


def wait_once(e):
    """inotifywait without -m: the loop of many scripts."""
    write(e.path(1, "config"), b"1")
    e.barrier(2)
    w = Program("inotifywait", "-e", "close_write", e.path(2, "config"))
    wait_until(lambda: any("established" in line for line in w.lines()), 20, "the watch")
    write(e.path(1, "config"), b"2")
    check(w.process.wait(20) == 0, "inotifywait ends with the change")


def path_unit(e):
    """PathChanged=, PathModified= and PathExists= of systemd.path(5) are inotify watches on the file and
    on the directories above it: these masks (src/core/path.c), these events."""
    os.mkdir(e.path(1, "unit"))
    e.barrier(2)
    above = ["MOVE_SELF", "CREATE", "MOVED_TO", "ATTRIB", "DELETE_SELF"]
    self_mask = ["DELETE_SELF", "MOVE_SELF", "ATTRIB"]
    masks = {"exists": self_mask, "changed": self_mask + ["CLOSE_WRITE", "CREATE", "DELETE", "MOVED_FROM", "MOVED_TO"],
             "modified": self_mask + ["CLOSE_WRITE", "CREATE", "DELETE", "MOVED_FROM", "MOVED_TO", "MODIFY"]}
    parent = Inotify()
    parent.add(e.path(2, "unit"), "parent", above)
    write(e.path(1, "unit", "flag"), b"")
    parent.read_until(lambda event: event.what == "CREATE" and event.name == "flag", 20)  # PathExists=
    e.barrier(2)
    looks = {}
    for kind, mask in masks.items():
        looks[kind] = Inotify()
        looks[kind].add(e.path(2, "unit", "flag"), kind, mask)
    write(e.path(1, "unit", "flag"), b"new")
    looks["changed"].read_until(lambda event: event.what == "CLOSE_WRITE", 20)
    looks["modified"].read_until(lambda event: event.what == "MODIFY", 20)
    os.unlink(e.path(1, "unit", "flag"))
    for kind, look in looks.items():
        look.read_until(lambda event: event.what == "DELETE_SELF", 20)
    directory = Inotify()
    directory.add(e.path(2, "unit"), "directory", masks["changed"])  # DirectoryNotEmpty=, PathChanged= of one
    write(e.path(1, "unit", "tmp"), b"new")
    os.rename(e.path(1, "unit", "tmp"), e.path(1, "unit", "job"))
    directory.read_until(lambda event: event.what == "MOVED_TO" and event.name == "job", 20)


def make(e):
    """make compares times that come from commits, with files written on another mount."""
    os.mkdir(e.path(1, "make"))
    write(e.path(1, "make", "Makefile"), b"out: in\n\tcp in out\n\techo built >> log\n")
    write(e.path(1, "make", "in"), b"1\n")
    for n, value in ((1, b"1\n"), (2, b"2\n"), (3, b"3\n")):
        write(e.path(2, "make", "in"), value)
        e.barriers()
        for _ in range(2):
            r = subprocess.run(["make", "-s"], cwd=e.path(n, "make"), capture_output=True, timeout=30)
            check(r.returncode == 0, f"make on m{n}: {r}")
        e.barriers()
        with open(e.path(1, "make", "out"), "rb") as f:
            check(f.read() == value, f"what make built on m{n}")
    with open(e.path(1, "make", "log")) as f:
        check(f.read() == "built\n" * 3, "each change is built once")


def flock_between(e):
    """flock(1): who waits on m2 goes on when m1 has let go; -n and -w do not wait."""
    write(e.path(1, "lock"), b"")
    e.barrier(2)
    holder = subprocess.Popen(["flock", e.path(1, "lock"), "sh", "-c", "echo has; read -r x"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(holder.stdout.readline() == b"has\n", "m1 has the lock")
    for options in (["-n"], ["-w", "0.2"], ["-s", "-n"]):
        r = subprocess.run(["flock", *options, e.path(2, "lock"), "true"], timeout=30)
        check(r.returncode == 1, f"flock {options} on m2: exit {r.returncode}")
    waiter = Program("flock", e.path(2, "lock"), "echo", "mine")
    wait_until(lambda: b"flock" in subprocess.run(["cat", f"/proc/{waiter.process.pid}/comm"],
                                                  capture_output=True).stdout, 10, "the waiter to begin")
    check(waiter.lines() == [], "it waits")
    holder.communicate(b"\n")
    waiter.wait_for("mine")
    check(waiter.process.wait(10) == 0, "the waiter ends well")


def dotlockfile(e):
    """It, lockfile(1) and lockfile-create lock by link(2), which is refused: they say so, and leave
    nothing behind. What stands in for them is an exclusive create."""
    os.mkdir(e.path(1, "mail"))
    for n in (1, 2):
        r = subprocess.run(["dotlockfile", "-l", "-r", "0", e.path(n, "mail", "lock")], timeout=60)
        check(r.returncode == 4, f"dotlockfile on m{n}: exit {r.returncode}")
        e.barriers()
    check(os.listdir(e.path(1, "mail")) == [], "nothing is left")
    instead = ["bash", "-c", "set -C; : > \"$1\"", "sh"]
    ends = [subprocess.run([*instead, e.path(n, "mail", "lock")], stderr=subprocess.DEVNULL, timeout=30).returncode
            for n in (1, 2)]
    check(ends == [0, 1], f"an exclusive create on m1 and m2: {ends}")


def test(e):
    tail(e, "-f")
    tail(e, "-F")
    tail(e, "-f", "---disable-inotify", "-s", "0.1")
    watch_recursively(e)
    wait_once(e)
    path_unit(e)
    make(e)
    flock_between(e)
    dotlockfile(e)
    print("tail -f, inotifywait, path units, make and flock(1) see what other mounts do")


run(test, seconds=110)
