"""fstat() of a file that the process had written and not closed showed the committed size, because the
kernel does not say through which descriptor it asks. SQLite took its journal for empty, and a
rollback left what it should have undone.

The process that writes sees its own size now, and everybody else the committed one.
"""
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import check, run, write  # noqa: E402


class Other:
    """Another process on this mount. It is there before the file is open: to start one meanwhile would
    close a copy of the descriptor, and so commit."""

    def __init__(self):
        self.process = subprocess.Popen(["sh", "-c", 'while read -r path; do stat -c %s "$path"; done'],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def size(self, path):
        # Its own children are none of ours, and inherit nothing of ours.
        print(path, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


def test(e):
    path = e.path(1, "f")
    write(path, b"old")
    other = Other()
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"x" * 10, 0)
    check(os.fstat(fd).st_size == 10, "after a write")
    os.ftruncate(fd, 5)
    check(os.fstat(fd).st_size == 5, "after ftruncate")
    os.pwrite(fd, b"end", 100)
    check(os.fstat(fd).st_size == 103, "behind the end")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.fstat(fd).st_size))
    thread.start()
    thread.join()
    check(seen == [103], f"in another thread: {seen}")
    check(other.size(path) == 3, f"for another process: {other.size(path)}")
    check(os.stat(e.path(2, "f")).st_size == 3, "on another mount")
    check(os.lseek(fd, 0, os.SEEK_END) == 103, "lseek")
    os.close(fd)
    check(other.size(path) == os.stat(path).st_size == 103, "after close")
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    check(os.fstat(fd).st_size == 0, "truncated by open")
    check(other.size(path) == 103, "not for others yet")
    os.write(fd, b"new")
    os.close(fd)
    check(other.size(path) == 3, "and then")
    other.process.kill()


run(test, members=2, seconds=40)
