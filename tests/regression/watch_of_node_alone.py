"""Who watched a file, and not its directory, missed its end and its moves.

What happens in a directory is repeated if somebody may have seen the directory. Two watchers had not:
 - one whose file went into a directory that nobody here had looked at. It had come to the file by a name
   that a replay helper had brought into the kernel, so that the file did not count as seen, and
   neither did the directory that it was moved to;
 - one whose directory the kernel had forgotten: a watch holds the inode of the file and no names.
Now a file whose name the kernel keeps counts as seen, and a node that the kernel holds is reason enough.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, run, write  # noqa: E402

OF_NODE = ["MODIFY", "MOVE_SELF", "DELETE_SELF"]


def settle(e):
    e.barrier(2)
    e.wait_repeated(2)


def check_told(e, watch, what):
    settle(e)
    got = [event.what for event in watch.read() if event.what != "IGNORED"]
    check(got == [what], f"told of {got}, not of {what}")


def goes_where_nobody_looked(e):
    os.mkdir(e.path(1, "seen"))
    e.barrier(2)
    above = Inotify()
    above.add(e.path(2, "seen"), "seen")
    for value in b"1", b"2":
        write(e.path(1, "seen", "f"), value)
        settle(e)
    watch = Inotify()
    watch.add(e.path(2, "seen", "f"), "f", OF_NODE)
    os.mkdir(e.path(1, "unseen"))
    settle(e)
    os.rename(e.path(1, "seen", "f"), e.path(1, "unseen", "f"))
    check_told(e, watch, "MOVE_SELF")
    os.rename(e.path(1, "unseen", "f"), e.path(1, "unseen", "g"))
    check_told(e, watch, "MOVE_SELF")
    write(e.path(1, "unseen", "g"), b"3")
    check_told(e, watch, "MODIFY")
    os.unlink(e.path(1, "unseen", "g"))
    check_told(e, watch, "DELETE_SELF")
    watch.close()
    above.close()


def watch_alone(e, name):
    """Of a file whose directory the kernel forgets."""
    write(e.path(1, "dir", name), b"value")
    e.barrier(2)
    watch = Inotify()
    watch.add(e.path(2, "dir", name), name, OF_NODE)
    settle(e)
    # The kernel drops all names that are not in use, and then, bit by bit, the directories.
    subprocess.run(["mount", "-i", "-o", "remount,rw", e.mount(2)], check=True)
    settle(e)
    return watch


def loses_its_directory(e):
    os.mkdir(e.path(1, "dir"))
    watch = watch_alone(e, "removed")
    os.unlink(e.path(1, "dir", "removed"))
    check_told(e, watch, "DELETE_SELF")
    watch.close()
    watch = watch_alone(e, "moved")
    os.rename(e.path(1, "dir", "moved"), e.path(1, "moved"))
    check_told(e, watch, "MOVE_SELF")
    watch.close()


def test(e):
    goes_where_nobody_looked(e)
    loses_its_directory(e)
    check(e.mount_status(2)["replays_failed"] == "0", "a change could not be repeated")


run(test, members=2, seconds=60)
