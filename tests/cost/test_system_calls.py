"""System calls of one write through the whole path: an application on a mount writes a file again and
again, and each process on the way is counted by strace. The writer's mount is that of the leader.

What runs by the clock (heartbeats, pings) is counted, too: few calls, if the writes are many. Where
writes meet in one turn of a loop there are fewer calls than measured, never more.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../e2e/lib"))
from zabfs import check, run, wait_until, write  # noqa: E402

WRITES = 1000
VALUE = b"v" * 1024

# About 25 % above what was counted. More is a wake-up, a hand-over or a message that was added to
# every write: say in the commit what for, and raise the limit.
LIMITS = {
    # Counted 18.2. Writes: two proposals, two commits, the reply, the storage thread's word. Reads and
    # wake-ups: the request, two acknowledgements, that word. Two for the thread, two for the disk.
    "leader": 23.0,
    # Counted 13.1: the proposal in, the acknowledgement out, the commit in, the event to the mount.
    "follower": 16.5,
    # Counted 16.7: open, write, flush and release from the kernel and the answers to them; the
    # request to the member, its reply and the event.
    "mount of the writer": 21.0,
    # Counted 15.0: the event, and what the kernel asks when the change is repeated.
    "other mount": 19.0,
    # Counted 8.0: the order, and the repetition of the change.
    "its replay helper": 10.0,
}


def helpers(mount):
    """The replay workers of a mount, found by their command lines."""
    wanted = ["zabfs", "--replay-helper", mount]
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        if words[:3] == wanted:
            found.append(int(pid))
    return found


class Counter:
    """Counts the system calls of some processes, all their threads."""

    def __init__(self, path, pids):
        command = ["strace", "-c", "-f", "-qq", "-U", "calls,name", "-o", path]
        self.path = path
        self.pids = pids
        self.process = subprocess.Popen(command + [arg for pid in pids for arg in ("-p", str(pid))],
                                        stderr=subprocess.PIPE, text=True)

    def is_attached(self):
        for pid in self.pids:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
                    if f"TracerPid:\t{self.process.pid}\n" not in f.read():
                        return False
        return True

    def end(self):
        """Calls by name."""
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate(timeout=20)
        with open(self.path) as f:
            lines = re.findall(r"^\s*(\d+)\s+(\w+)\s*$", f.read(), re.M)
        check(lines, f"strace counted nothing: {text}")
        return {name: int(calls) for calls, name in lines if name != "total"}


def places(e, leader, other):
    """Processes by their part in the path."""
    return {
        "leader": [e.pid("zabd", leader)],
        "follower": [e.pid("zabd", other)],
        "mount of the writer": [e.pid("zabfs", leader)],
        "other mount": [e.pid("zabfs", other)],
        "its replay helper": helpers(e.mount(other)),
    }


def measure(e, leader):
    """Calls of each part, by name."""
    path = os.path.join(e.mount(leader), "f")
    for _ in range(20):
        write(path, VALUE)
    counters = {}
    for i, (part, pids) in enumerate(places(e, leader, leader % e.members + 1).items()):
        check(pids, f"no process is the {part}")
        counters[part] = Counter(os.path.join(e.top, f"strace-{i}"), pids)
    wait_until(lambda: all(c.is_attached() for c in counters.values()), 20, "strace is attached")
    for _ in range(WRITES):
        write(path, VALUE)
    time.sleep(0.5)  # what follows the last write: other mounts repeat it
    return {part: counter.end() for part, counter in counters.items()}


def test(e):
    e.up()
    leader = None
    while leader != e.leader():  # else another took over meanwhile, and their work is mixed
        leader = e.leader()
        counted = measure(e, leader)
    too_many = []
    for part, calls in counted.items():
        each = sum(calls.values()) / WRITES
        most = sorted(calls, key=calls.get, reverse=True)[:8]
        print(f"system calls of a write, {part}: {each:.2f}, limit {LIMITS[part]} (" +
              ", ".join(f"{name} {calls[name] / WRITES:.2f}" for name in most) + ")")
        if each > LIMITS[part]:
            too_many.append(part)
    check(not too_many, f"too many: {', '.join(too_many)}")


if not shutil.which("strace"):
    print("strace is not installed")
    sys.exit(77)
run(test)
