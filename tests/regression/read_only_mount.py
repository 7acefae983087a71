"""A mount with `-o ro` told its watchers nothing.

The option made the kernel refuse every change on the mount with EROFS, also those with which zabfs
repeats the changes of others for inotify. Now zabfs itself refuses what users try.
"""
import errno
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))
from zabfs import BIN, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402


def test(e):
    write(e.path(1, "f"), b"value")
    os.mkdir(e.path(1, "d"))
    at = os.path.join(e.top, "ro")
    os.mkdir(at)
    r = subprocess.run([os.path.join(BIN, "zabfs"), "-o", "ro", e.server(2), at], capture_output=True,
                       timeout=20)
    check(r.returncode == 0, r.stderr.decode())
    try:
        story(e, at)
    finally:
        subprocess.run(["umount", at], timeout=20)


def story(e, at):
    file, directory, new = (os.path.join(at, name) for name in ("f", "d", "new"))
    check(read(file) == b"value", "f cannot be read")
    refused = {
        "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT), "mknod": lambda: os.mknod(new),
        "mkdir": lambda: os.mkdir(new), "symlink": lambda: os.symlink("f", new),
        "unlink": lambda: os.unlink(file), "rmdir": lambda: os.rmdir(directory),
        "open to write": lambda: os.open(file, os.O_RDWR), "truncate": lambda: os.truncate(file, 0),
        "open with O_TRUNC": lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
        "chmod": lambda: os.chmod(file, 0o600),
    }
    for what, call in refused.items():
        got = errno_of(call)
        check(got == errno.EROFS, f"{what}: {errno_name(got)}")
    check(read(e.path(1, "f")) == b"value", "f was changed")

    watch = subprocess.Popen(["inotifywait", "-m", "--format", "%e %f", "-e", "create", "-e", "modify",
                              "-e", "delete", at], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    for line in watch.stderr:
        if "established" in line:
            break
    lines = []
    threading.Thread(target=lambda: lines.extend(line.strip() for line in watch.stdout),
                     daemon=True).start()
    os.mknod(e.path(1, "new"))
    write(e.path(1, "f"), b"other")
    os.unlink(e.path(1, "f"))
    try:
        wait_until(lambda: {"CREATE new", "MODIFY f", "DELETE f"} <= set(lines), 5,
                   "a watcher on a read-only mount to be told")
    finally:
        watch.kill()
        watch.wait()


run(test, seconds=60)
