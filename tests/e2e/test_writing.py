"""The rules of writing that others rest on: a truncation takes effect with the first commit, a change of
someone else since open is ESTALE, a failed commit stays until it was reported, appends of all mounts
are all there, and `.data` is what a directory has to say.
"""
import errno
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def version(path):
    return int(os.getxattr(path, "user.zabfs.version"))


def data_file(e):
    """It resolves and is not listed, does not count as a child, and goes with its directory."""
    d = e.path(1, "d")
    os.mkdir(d)
    e.barriers()
    look = Inotify()
    look.add(e.path(2, "d"), "")
    expect(errno.ENOENT, os.stat, f"{d}/.data")
    write(f"{d}/.data", b"what it has to say")
    e.barriers()
    for n in (1, 2, 3):
        there = e.path(n, "d")
        check(read(f"{there}/.data") == b"what it has to say", f"m{n}")
        check(os.listdir(there) == [] and os.stat(there).st_nlink == 2, f"m{n}: it is listed")
    write(e.path(2, "d", ".data"), b"another")
    e.barrier(1)
    check(read(f"{d}/.data") == b"another", "changed on m2")
    os.mknod(f"{d}/end")
    seen = [f"{v.what} {v.name}" for v in look.read_until(lambda v: v.name == "end", 20)]
    check(seen[:3] == ["CREATE .data", "MODIFY .data", "CLOSE_WRITE .data"], f"{seen}")
    os.unlink(f"{d}/end")
    look.close()
    for call, *args in ((os.mkdir,), (os.symlink, "x")):
        expect(errno.EPERM, call, *args, e.path(1, ".data"))
    expect(errno.EPERM, os.open, f"{d}/.data@", os.O_RDWR | os.O_CREAT)
    write(e.path(1, "plain"), b"put there")
    os.rename(e.path(1, "plain"), f"{d}/.data")
    check(read(f"{d}/.data") == b"put there", "renamed onto it")
    expect(errno.EPERM, os.rename, f"{d}/.data", e.path(1, "plain"))
    os.unlink(f"{d}/.data")
    expect(errno.ENOENT, os.stat, f"{d}/.data")
    write(f"{d}/.data", b"again")
    os.rmdir(d)
    e.barriers()
    expect(errno.ENOENT, os.stat, e.path(3, "d", ".data"))


def deferred_truncation(e):
    """Nobody ever sees a file empty that is being rewritten; who only truncates, truncates."""
    f = e.path(1, "f")
    write(f, b"old")
    ino, before = os.stat(f).st_ino, version(f)
    fd = os.open(f, os.O_WRONLY | os.O_TRUNC)
    e.barriers()
    for n in (1, 2, 3):
        check(read(e.path(n, "f")) == b"old", f"m{n}: {read(e.path(n, 'f'))}")
    os.write(fd, b"new")
    os.close(os.dup(fd))  # a close of any descriptor commits what was written
    check(read(f) == b"new" and version(f) == before + 1, f"{read(f)}")
    os.close(fd)
    check(version(f) == before + 1, "the last close committed nothing new")
    subprocess.run(["bash", "-c", f": > {f}"], check=True)
    check(os.stat(f).st_size == 0 and version(f) == before + 2, "truncated")
    e.barrier(2)
    check(read(e.path(2, "f")) == b"" and os.stat(f).st_ino == ino, "m2")
    # With bytes, the truncation and they are one change.
    write(f, b"value")
    check(version(f) == before + 3, f"{version(f)}")
    # Killed in between: what was written is the value, as on any file system; never a mix.
    write(f, b"a longer value")
    holder = subprocess.Popen([sys.executable, "-c", "import os, sys, time; fd = os.open(sys.argv[1], os.O_WRONLY"
                               " | os.O_TRUNC); os.write(fd, b'half'); print(flush=True); time.sleep(1000)", f],
                              stdout=subprocess.PIPE)
    holder.stdout.readline()
    check(read(f) == b"a longer value", "half a value is seen")
    holder.kill()
    holder.wait()
    wait_until(lambda: read(f) == b"half", 20, "what was written")


def compare_and_swap(e):
    """Read, change, write back: whoever comes second is told."""
    f = e.path(1, "cas")
    write(f, b"0")
    e.barriers()
    mine = os.open(f, os.O_RDWR)
    theirs = os.open(e.path(2, "cas"), os.O_RDWR)
    check(os.read(mine, 10) == os.read(theirs, 10) == b"0", "both have read the same")
    os.pwrite(theirs, b"1", 0)
    os.close(theirs)
    os.pwrite(mine, b"2", 0)
    expect(errno.ESTALE, os.fsync, mine)
    e.barrier(1)
    check(read(f) == b"1", "the second has won")
    expect(0, os.close, mine)
    with open(f, "r+b", buffering=0) as again:  # one descriptor may go on with its own changes
        again.write(b"3")
        os.fsync(again.fileno())
        again.write(b"4")
        os.fsync(again.fileno())
    check(read(f) == b"34", f"{read(f)}")
    write(f, b"0")

    def count(n):
        done = 0
        while done < 50:
            path = e.path(n, "cas")
            fd = os.open(path, os.O_RDWR)
            value = int(os.read(fd, 20))
            os.pwrite(fd, b"%d" % (value + 1), 0)
            if errno_of(os.close, fd) == 0:
                done += 1
            else:
                e.barrier(n)  # someone else has changed it: look again
    e.barriers()
    for worker in [Worker(count, n) for n in (1, 2, 3)]:
        worker.result(100)
    e.barrier(1)
    check(int(read(f)) == 150, f"{read(f)}: counted is not what was done")


def appends(e):
    def work(n):
        fd = os.open(e.path(n, "log"), os.O_WRONLY | os.O_APPEND)
        for i in range(100):
            os.write(fd, b"%d-%d\n" % (n, i))
        os.close(fd)
    write(e.path(1, "log"), b"")
    e.barriers()
    for worker in [Worker(work, n) for n in (1, 2, 3)]:
        worker.result(60)
    e.barriers()
    lines = read(e.path(1, "log")).split()
    check(sorted(lines) == sorted(b"%d-%d" % (n, i) for n in (1, 2, 3) for i in range(100)), "lines were lost")
    for n in (1, 2, 3):
        own = [line for line in lines if line.startswith(b"%d-" % n)]
        check(own == [b"%d-%d" % (n, i) for i in range(100)], f"m{n}'s lines are not in order")


def sticky(e):
    """A shell does not hear of a failed close; who asks later does, once."""
    f = e.path(1, "sticky")
    write(f, b"as it was")
    writer = os.open(f, os.O_RDWR)
    os.write(writer, b"mine")
    write(e.path(1, "sticky"), b"theirs")
    expect(errno.ESTALE, os.close, writer)
    r = subprocess.run(["sync", f], capture_output=True)
    check(r.returncode != 0 and b"Stale" in r.stderr, f"sync f: {r.returncode} {r.stderr}")
    r = subprocess.run(["sync", f], capture_output=True)
    check(r.returncode == 0, f"it was reported before: {r.stderr}")
    check(read(f) == b"theirs", "a failed commit changed the file")


def without_quorum(e):
    """The first write of a redirection says that nothing can be written, whatever the shell does with
    the result of close."""
    f = e.path(1, "q")
    write(f, b"as it was")
    e.barriers()
    leader = e.leader()
    others = [n for n in (1, 2, 3) if n != 1][:2]
    for n in others:
        e.signal("zabd", n, signal.SIGSTOP)
    r = subprocess.run(["bash", "-c", f"echo lost > {f}"], capture_output=True, timeout=60)
    check(r.returncode != 0, "echo said that it was written")
    check(b"Read-only" in r.stderr or b"timed out" in r.stderr, f"{r.stderr}")
    for n in others:
        e.signal("zabd", n, signal.SIGCONT)
    e.wait_members()
    wait_until(lambda: errno_of(e.barrier, 1) == 0, 30, f"a quorum again, after leader {leader}")
    check(read(f) == b"as it was", f"{read(f)}")


def not_there(e):
    """What other file systems may have, and this one refuses for good reason, without harm."""
    expect(errno.EOPNOTSUPP, os.open, e.mount(1), os.O_RDWR | os.O_TMPFILE)
    expect(errno.EOPNOTSUPP, os.open, e.mount(1), os.O_WRONLY | os.O_TMPFILE | os.O_EXCL)
    r = subprocess.run(["fallocate", "--length", "100", e.path(1, "f")], capture_output=True)
    check(r.returncode != 0 and b"not supported" in r.stderr, f"fallocate: {r.stderr}")
    check(sorted(os.listdir(e.mount(1))) == sorted(os.listdir(e.mount(2))), "something was left behind")


def test(e):
    data_file(e)
    deferred_truncation(e)
    compare_and_swap(e)
    appends(e)
    sticky(e)
    not_there(e)
    without_quorum(e)


run(test, seconds=150)
