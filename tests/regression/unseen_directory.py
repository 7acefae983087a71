"""A directory that was made elsewhere, and that nobody here had looked at, was as good as watched.

The mkdir was repeated for watchers of its parent, which brought the directory into the kernel, so that
all that was made in it was repeated, too, and brought into the kernel: 100,000 files that another mount
made in new directories cost this mount 57 MiB and a quarter of a minute of its processor, for nobody.
Now what only a replay helper has brought there is not repeated into, and the mount is not even told of
changes in it, until somebody else asks for it by name, or comes to it from below, by "..".
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import Flag, Worker, check, run, wait_until, write  # noqa: E402

FILES = 50


def settle(e, n):
    e.barrier(n)
    e.wait_repeated(n)


def repeated(e):
    settle(e, 3)
    return int(e.mount_status(3)["replays"])


def make(e, directory):
    os.mkdir(e.path(1, directory))
    for n in range(FILES):
        write(e.path(1, directory, str(n)), b"value")


def subscriptions(e):
    return int(e.mount_status(3)["member_subscriptions"])


def is_not_repeated(e):
    before, subscribed = repeated(e), subscriptions(e)
    make(e, "unseen")
    check(repeated(e) == before + 1, f"{repeated(e) - before} changes were repeated, not the mkdir alone")
    check(subscriptions(e) == subscribed, "the mount is told of what happens in an unseen directory")
    os.listdir(e.path(3, "unseen"))
    check(subscriptions(e) == subscribed + 1, "the mount is not told of what happens in a directory it has seen")


def told(e, watch, directory):
    write(e.path(1, directory, "end"), b"")
    seen = watch.read_until(lambda event: event.name == "end" and event.what == "CREATE", 20)
    return [(event.label, event.what, event.name) for event in seen]


def is_watched_once_seen(e):
    """Whoever hears of a directory and looks into it misses nothing that happens then."""
    parent = Inotify()
    parent.add(e.mount(3), "parent", ["CREATE"])
    make(e, "seen")
    parent.read_until(lambda event: event.name == "seen", 20)
    watch = Inotify()
    watch.add(e.path(3, "seen"), "seen", ["CREATE", "CLOSE_WRITE", "DELETE"])
    settle(e, 3)
    watch.read()
    check(sorted(os.listdir(e.path(3, "seen"))) == sorted(map(str, range(FILES))), "all are there")
    write(e.path(1, "seen", "0"), b"changed")
    os.unlink(e.path(1, "seen", "1"))
    write(e.path(1, "seen", "new"), b"value")
    wanted = [("seen", "CLOSE_WRITE", "0"), ("seen", "DELETE", "1"), ("seen", "CREATE", "new"),
              ("seen", "CLOSE_WRITE", "new")]
    got = told(e, watch, "seen")
    check([event for event in got if event in wanted] == wanted, f"told of {got}")
    parent.close()
    watch.close()


def watch_above(e, moved, done):
    """A process of its own, for its working directory: what it hears of the directory above."""
    os.chdir(e.path(3, "inner"))
    moved.set()
    wait_until(done.is_set, 20, "the move")
    settle(e, 3)
    watch = Inotify()
    watch.add("..", "above", ["CREATE", "CLOSE_WRITE"])
    return told(e, watch, "outer")


def is_reached_from_below(e):
    """The working directory of a process is moved into a directory that nobody here has seen."""
    os.mkdir(e.path(1, "inner"))
    e.barrier(3)
    here, moved = Flag(e.top, "here"), Flag(e.top, "moved")
    worker = Worker(watch_above, e, here, moved)
    wait_until(here.is_set, 20, "a process in the directory")
    os.mkdir(e.path(1, "outer"))
    settle(e, 3)
    os.rename(e.path(1, "inner"), e.path(1, "outer", "inner"))
    moved.set()
    worker.result(60)


def test(e):
    is_not_repeated(e)
    is_watched_once_seen(e)
    is_reached_from_below(e)
    check(e.mount_status(3)["replays_failed"] == "0", "a change could not be repeated")


run(test, seconds=110)
