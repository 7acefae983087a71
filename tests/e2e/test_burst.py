"""100,000 changes made on m1 while nobody on m2 and m3 reads what inotify tells, and m2's helpers, which
repeat changes for inotify, stand still.

m3's watchers learn that they missed events by IN_Q_OVERFLOW; m2's by IN_ATTRIB on their directory when
the helpers go on, and `overflows` in .zabfs/status counts it. Meanwhile m2 reads and passes barriers,
its queues stay within their bounds and its memory does not grow with the number of changes. In the
end all mounts show the same, and watchers are told again of each change.
"""
import os
import signal
import sys

os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import Worker, check, run, wait_until, write  # noqa: E402

CHANGES = 100000
DIRECTORIES = 8
NAMES = 10  # in each directory
REPLAY_JOBS_MAX = 65536  # fsd/mount/replay.h
GROWTH_KIB_MAX = 100 * 1024  # of all queues at their bounds


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def make_changes(directory, count):
    """Each name in turn is created, written, changed in mode, and deleted: four commits."""
    for i in range(count // 4):
        path = os.path.join(directory, f"n{i % NAMES}")
        os.mknod(path, 0o644)
        write(path, b"%d" % i, os.O_WRONLY | os.O_TRUNC)
        os.chmod(path, 0o600)
        os.unlink(path)


def look_meanwhile(e, workers):
    """m2 answers all the time, and its queues keep their bounds. Returns how long they were."""
    longest = 0
    while any(os.waitid(os.P_PID, w.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for w in workers):
        e.barrier(2)
        for d in range(DIRECTORIES):
            os.listdir(e.path(2, f"d{d}"))
        s = e.mount_status(2)
        check(int(s["replays_queued"]) <= REPLAY_JOBS_MAX, f"{s['replays_queued']} changes to repeat")
        check(int(s["invalidations_queued"]) <= 2 * DIRECTORIES * (NAMES + 1),
              f"{s['invalidations_queued']} invalidations wait")
        longest = max(longest, int(s["replays_queued"]))
    return longest


def watch(e, n):
    look = Inotify()
    for d in range(DIRECTORIES):
        look.add(e.path(n, f"d{d}"), f"d{d}")
    return look


def all_events(look):
    events = []
    while True:
        some = look.read()
        if not some:
            return events
        events += some


def one_more(e, looks):
    """A change is told as ever."""
    for d in range(DIRECTORIES):
        os.mknod(e.path(1, f"d{d}", "after"))
    for look in looks:
        left = {f"d{d}" for d in range(DIRECTORIES)}
        while left:
            look.read_until(lambda event: event.name == "after" and event.what == "CREATE"
                            and not left.discard(event.label), 30)


def test(e):
    for d in range(DIRECTORIES):
        os.mkdir(e.path(1, f"d{d}"))
    e.barriers()
    looks = [watch(e, 2), watch(e, 3)]
    before = rss_kib(e.pid("zabfs", 2))
    stopped = e.replay_helpers(2)
    check(stopped, "m2 has helpers")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        workers = [Worker(make_changes, e.path(1, f"d{d}"), CHANGES // DIRECTORIES)
                   for d in range(DIRECTORIES)]
        longest = look_meanwhile(e, workers)
        for w in workers:
            w.result(10)
        after = rss_kib(e.pid("zabfs", 2))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    check(after - before < GROWTH_KIB_MAX, f"zabfs of m2 has grown by {after - before} KiB")
    wait_until(lambda: all(e.mount_status(n)["replays_queued"] == "0" for n in (2, 3)), 60,
               "all that is left to be repeated")
    check(int(e.mount_status(2)["overflows"]) > 0, "m2 counts what it could not repeat")
    check(e.mount_status(3)["overflows"] == "0", "m3 could")

    told = [all_events(look) for look in looks]
    silent = {f"d{d}" for d in range(DIRECTORIES)} - {
        event.label for event in told[0] if event.what == "ATTRIB,ISDIR" and event.name == ""}
    check(not silent, f"watchers of {silent} on m2 were not told that they missed changes")
    check(told[1][-1].what == "Q_OVERFLOW", f"the last event on m3 is {told[1][-1]}")
    one_more(e, looks)
    for d in range(DIRECTORIES):
        names = [sorted(os.listdir(e.path(n, f"d{d}"))) for n in (1, 2, 3)]
        check(names == 3 * [["after"]], f"in d{d}: {names}")
    print(f"{CHANGES} changes; up to {longest} waited to be repeated, zabfs grew by {after - before} KiB, "
          f"{len(told[0])} and {len(told[1])} events were read")


run(test, seconds=280)
