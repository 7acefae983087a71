"""Values that change faster than they can be repeated: FILES files are written ROUNDS times each on m1, while
m2's helpers, which repeat changes for inotify, stand still, or do not.

With a backlog changes of one file become one event, behind which the newest value is read, and other
changes are neither passed over nor lost. Without one each change is told.
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, read, run, wait_until, write  # noqa: E402

FILES = 40
ROUNDS = 25


def write_all(e, directory, last):
    for i in range(ROUNDS):
        for f in range(FILES):
            write(e.path(1, directory, f"f{f}"), b"%s %d" % (last, i), os.O_WRONLY | os.O_TRUNC)


def watch(e, directory):
    look = Inotify()
    look.add(e.path(2, directory), directory)
    return look


def settled(e, look):
    e.barrier(2)
    e.wait_repeated(2, 30)
    return look.read()


def while_helpers_stand_still(e, change):
    stopped = e.replay_helpers(2)
    check(stopped, "m2 has helpers")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        change()
        e.barrier(2)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def is_joined(e):
    look = watch(e, "dir")

    def change():
        write_all(e, "dir", b"before")
        os.mknod(e.path(1, "dir", "between"))
        write_all(e, "dir", b"behind")
    before = e.mount_status(2)
    while_helpers_stand_still(e, change)
    events = settled(e, look)
    after = e.mount_status(2)
    joined = int(after["replays_merged"]) - int(before["replays_merged"])
    # All but the eight that make a backlog, one that was at work, and the first of each file.
    check(joined >= 2 * FILES * (ROUNDS - 1) - 16, f"{joined} changes were joined to others")
    at = [event.what for event in events].index("CREATE")
    for part in (events[:at], events[at + 1:]):
        told = {event.name for event in part if event.what == "CLOSE_WRITE"}
        check(len(told - {"between"}) == FILES, f"{len(told)} files were told of on one side of the CREATE")
    for f in range(FILES):
        check(read(e.path(2, "dir", f"f{f}")) == b"behind %d" % (ROUNDS - 1), "the newest value")
    check(after["overflows"] == "0" and after["replays_failed"] == "0", "nothing was dropped")
    look.close()


def newest_is_read(e):
    """Whoever reads at each event has read the newest value when no more come."""
    look = watch(e, "dir")
    seen = {}

    def look_once():
        for event in look.read():
            if event.what == "CLOSE_WRITE":
                seen[event.name] = read(e.path(2, "dir", event.name))
        return e.mount_status(2)["replays_queued"] == "0"
    for i in range(5):
        write_all(e, "dir", b"round %d" % i)
        look_once()
    e.barrier(2)
    wait_until(look_once, 30, "all was repeated")
    look_once()
    wanted = {f"f{f}": b"round 4 %d" % (ROUNDS - 1) for f in range(FILES)}
    check(seen == wanted, f"read at the last event of each file: {seen}")
    look.close()


def each_is_told_without_a_backlog(e):
    look = watch(e, "single")
    for i in range(20):
        write(e.path(1, "single", "f"), b"%d" % i, os.O_WRONLY | os.O_TRUNC)
        told = [event.what for event in settled(e, look)]
        check(told == ["MODIFY", "CLOSE_WRITE"], f"one change, told as {told}")
    look.close()


def test(e):
    for directory in ("dir", "single"):
        os.mkdir(e.path(1, directory))
    for f in range(FILES):
        write(e.path(1, "dir", f"f{f}"), b"")
    write(e.path(1, "single", "f"), b"")
    e.barriers()
    is_joined(e)
    newest_is_read(e)
    each_is_told_without_a_backlog(e)
    print(f"{e.mount_status(2)['replays_merged']} changes were told together with others")


run(test, seconds=100)
