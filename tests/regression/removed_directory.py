"""`rm -r d` on one mount: watchers of d on another did not hear of all that went.

Changes are repeated for watchers directory by directory. d was marked as gone as soon as the mount heard
of it, and the changes in d that had not been repeated by then were dropped, because no path led to them
any more; or d itself was removed before them. Now the way to a directory that another mount removed
stands until all that happened in it was repeated, and its own removal comes after that.
"""
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402

FILES = 40


def helpers(e, n):
    pid = e.pid("zabfs", n)
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


class Watch:
    def __init__(self, *paths):
        self.process = subprocess.Popen(
            ["inotifywait", "-m", "--format", "%w %e %f", "-e", "delete", "-e", "delete_self", *paths],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if "established" in line:
                break
        self.lines = []
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())


def tree(e, top):
    """top/d/0 .. and top/d/sub/0 .."""
    os.makedirs(e.path(1, top, "d", "sub"))
    for n in range(FILES):
        os.mknod(e.path(1, top, "d", str(n)), 0o644)
        os.mknod(e.path(1, top, "d", "sub", str(n)), 0o644)
    e.barriers()
    wait_until(lambda: b"replays_queued=0\n" in read(e.path(3, ".zabfs", "status")), 20, "quiet")


def is_told(e, watch, top):
    at = e.path(3, top)
    lines = list(watch.lines)
    if f"{at}/ DELETE,ISDIR d" not in lines:
        return False
    for where in (f"{at}/d/", f"{at}/d/sub/"):
        gone = [line.split()[-1] for line in lines if line.startswith(f"{where} DELETE ")]
        if sorted(gone) != sorted(str(n) for n in range(FILES)):
            return False
    return f"{at}/d/ DELETE,ISDIR sub" in lines


def story(e, top, held):
    tree(e, top)
    at = e.path(3, top)
    watch = Watch(at, f"{at}/d", f"{at}/d/sub")
    pids = helpers(e, 3) if held else []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    shutil.rmtree(e.path(1, top, "d"))
    e.barrier(3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    try:
        wait_until(lambda: is_told(e, watch, top), 10, "all that went")
    except Exception:
        print(f"{len(watch.lines)} events, the last: {watch.lines[-5:]}")
        raise
    finally:
        watch.process.kill()
        watch.process.wait()
    check(not os.path.exists(f"{at}/d"), "d is there")


def test(e):
    for n in range(4):
        story(e, f"t{n}", held=n == 3)
    story(e, "last", held=True)
    status = dict(line.split("=", 1) for line in read(e.path(3, ".zabfs", "status")).decode().splitlines())
    check(status["replays_failed"] == "0", f"{status['replays_failed']} changes could not be repeated")


run(test, seconds=110)
