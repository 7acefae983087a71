"""A commit that fails when a file is closed: which programs say so, and which do not look.

First with a program's standard output, which the test opens for reading and writing: that is a
compare-and-swap, and someone else writes before the program closes it (ESTALE). Then with files that
the programs open themselves, and that someone else removes before they are closed (ENOENT). Shells,
and others that end without a close, do not see it; the error then waits for the next `sync FILE`.
"""
import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

# What writes to its standard output: do they report that it could not be closed?
TO_STDOUT = {
    "bash -c 'echo x'": False,
    "bash -c 'printf x'": False,
    "dash -c 'echo x'": False,
    "bash -c 'echo x; exec 1>&-'": False,
    "python3 -c 'import os; os.write(1, b\"x\")'": False,
    "cat source": True,
    "tee < source": True,
    "dd if=source status=none": True,
    "sort source": True,
    "head source": True,
    "sed p source": True,
    "tar c source": True,
    "perl -e 'print 1; close STDOUT or die $!'": True,
}
# What opens a file for writing, and closes it when its input has ended.
TO_FILE = {
    "bash -c 'cat source - > file; true'": False,
    "bash -c 'exec 5> file; cat; echo x >&5; exec 5>&-'": False,
    "python3 -c 'f = open(\"file\", \"w\"); f.write(\"x\"); f.flush(); import sys, os; sys.stdin.read(); os._exit(0)'":
        False,
    "cat > file": True,
    "tee file": True,
    "dd of=file status=none": True,
    "cp /dev/stdin file": True,
    "python3 -c 'f = open(\"file\", \"w\"); import sys; f.write(sys.stdin.read()); f.close()'": True,
    "perl -e 'open F, \">\", \"file\"; print F <STDIN>; close F or die $!'": True,
}


def to_stdout(e, command, reports):
    path = e.path(1, "out")
    write(path, b"old")
    e.barrier(2)
    fd = os.open(path, os.O_RDWR)
    write(e.path(2, "out"), b"of someone else")
    e.barrier(1)
    r = subprocess.run(command, shell=True, executable="/bin/bash", cwd=e.top, stdout=fd, timeout=30,
                       stderr=subprocess.PIPE, text=True)
    number = errno_of(os.close, fd)
    check((r.returncode != 0) == reports, f"{command}: exit {r.returncode}, {r.stderr}")
    check(not reports or "tale" in r.stderr, f"{command} says: {r.stderr}")
    check(number == 0, f"a close with nothing new to commit: {errno_name(number)}")
    check(read(path) == b"of someone else", f"{command}: the other one's value is gone")
    sync = subprocess.run(["sync", path], capture_output=True, text=True, timeout=30)
    check(sync.returncode != 0 and "tale" in sync.stderr, f"{command}: then sync says {sync.stderr!r}")
    sync = subprocess.run(["sync", path], capture_output=True, text=True, timeout=30)
    check(sync.returncode == 0, f"{command}: and says it once, not again: {sync.stderr!r}")


def holds(pid, path):
    """Whether the process, or one below it, has the file open."""
    def look(number):
        try:
            names = [os.readlink(f"/proc/{number}/fd/{fd}") for fd in os.listdir(f"/proc/{number}/fd")]
            with open(f"/proc/{number}/task/{number}/children") as f:
                return path in names or any(look(int(child)) for child in f.read().split())
        except (FileNotFoundError, ProcessLookupError):
            return False
    return look(pid)


def to_file(e, command, reports):
    path = e.path(1, "file")
    write(path, b"old")
    e.barrier(2)
    p = subprocess.Popen(command, shell=True, executable="/bin/bash", cwd=e.mount(1), text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_until(lambda: holds(p.pid, path), 30, f"{command} to open the file")
    os.unlink(e.path(2, "file"))
    _, said = p.communicate("new", timeout=30)
    check((p.returncode != 0) == reports, f"{command}: exit {p.returncode}, {said}")
    check(not reports or "No such file" in said, f"{command} says: {said}")
    e.barrier(1)
    check(errno_of(os.stat, path) == errno.ENOENT, f"{command}: the file is back")


def test(e):
    with open(os.path.join(e.top, "source"), "w") as f:
        f.write("line\n")
    write(e.path(1, "source"), b"line\n")
    for command, reports in TO_STDOUT.items():
        to_stdout(e, command, reports)
    for command, reports in TO_FILE.items():
        to_file(e, command, reports)
    silent = [c for c, reports in {**TO_STDOUT, **TO_FILE}.items() if not reports]
    print(f"{len(TO_STDOUT) + len(TO_FILE)} programs, of which {len(silent)} do not see it")


run(test, seconds=110)
