"""Files of this mount alone (-o local=): what editors leave beside a file never reaches the ensemble,
and behaves like any file here. A rename to or from a name that is replicated is one change.
"""
import errno
import fcntl
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from mounts import Mount  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

NAMES = [".f.swp", ".f.swpx", ".f.swo", "f~", "4913", ".#f", "#f#"]


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def seen_elsewhere(e, *names):
    e.barriers()
    return sorted(os.listdir(e.path(2, *names)))


def alone(e):
    """Nothing of it is a change for anybody else."""
    d = e.path(1, "l")
    os.mkdir(d)
    write(f"{d}/f", b"text")
    e.barriers()
    before = os.getxattr(d, "user.zabfs.pzxid")
    look = Inotify()
    look.add(e.path(2, "l"), "")
    for name in NAMES:
        write(f"{d}/{name}", name.encode())
    check(sorted(os.listdir(d)) == sorted(NAMES + ["f"]), f"{os.listdir(d)}")
    check(seen_elsewhere(e, "l") == ["f"], f"m2: {os.listdir(e.path(2, 'l'))}")
    check(os.getxattr(d, "user.zabfs.pzxid") == before, "the directory has changed")
    for name in NAMES:
        check(read(f"{d}/{name}") == name.encode(), name)
        expect(errno.ENOENT, os.stat, e.path(3, "l", name))
        os.unlink(f"{d}/{name}")
    os.symlink("user@host.1234", f"{d}/.#f")  # emacs' lock
    check(os.readlink(f"{d}/.#f") == "user@host.1234", "a link's target")
    os.unlink(f"{d}/.#f")
    os.mkdir(f"{d}/dir~")  # a directory is everybody's
    os.mknod(f"{d}/end")
    check([v.name for v in look.read_until(lambda v: v.name == "end", 20)] == ["dir~"], "m2 was told")
    look.close()
    os.rmdir(f"{d}/dir~")
    os.unlink(f"{d}/end")


def ordinary(e):
    """What any file can do."""
    p = e.path(1, "l", "g~")
    fd = os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    expect(errno.EEXIST, os.open, p, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.pwrite(fd, b"end", 5000)
    check(os.pread(fd, 6000, 0) == b"\0" * 5000 + b"end", "a hole")
    os.ftruncate(fd, 4)
    os.truncate(p, 3)
    check(os.fstat(fd).st_size == 3 and os.stat(p).st_mode & 0o7777 == 0o640, "size, mode")
    write(p, b"more", os.O_WRONLY | os.O_APPEND)
    write(p, b" and more", os.O_WRONLY | os.O_APPEND)
    check(os.pread(fd, 100, 0) == b"\0\0\0more and more", "appended")
    os.chmod(p, 0o600)
    os.chown(p, 1, 2)
    os.utime(p, ns=(5, 6))
    st = os.stat(p)
    check((st.st_mode & 0o777, st.st_uid, st.st_gid, st.st_atime_ns, st.st_mtime_ns) == (0o600, 1, 2, 5, 6),
          f"{st}")
    check(st.st_ino == os.fstat(fd).st_ino and st.st_nlink == 1, "identity")
    os.fsync(fd)
    expect(errno.EOPNOTSUPP, os.setxattr, p, "user.a", b"1")
    check(os.listxattr(p) == [], "attributes")
    write(p, b"new")
    os.unlink(p)
    check(os.pread(fd, 100, 0) == b"new" and os.fstat(fd).st_nlink == 0, "open without a name")
    os.close(fd)
    expect(errno.ENOENT, os.stat, p)


def listed(e):
    """Among many, each once, however small the pieces."""
    d = e.path(1, "many")
    os.mkdir(d)
    names = [f"n{i}" for i in range(300)] + [f".{i}.swp" for i in range(150)]
    for name in names:
        os.mknod(f"{d}/{name}")
    check(sorted(os.listdir(d)) == sorted(names), "listdir")
    check(sorted(entry.name for entry in os.scandir(d) if entry.stat().st_ino) == sorted(names), "scandir")
    r = subprocess.run(["ls", "-la", d], capture_output=True, text=True)
    check(len(r.stdout.splitlines()) == len(names) + 3, "ls -la")
    expect(errno.ENOTEMPTY, os.rmdir, d)
    shutil.rmtree(e.path(2, "many"))  # which knows nothing of the others
    e.barrier(1)
    wait_until(lambda: not os.path.exists(d), 20, "the directory to be gone")
    expect(errno.ENOENT, os.stat, f"{d}/.1.swp")


def renamed_here(e):
    d = e.path(1, "l")
    write(f"{d}/a~", b"a")
    write(f"{d}/b~", b"b")
    os.rename(f"{d}/a~", f"{d}/c~")
    os.rename(f"{d}/c~", f"{d}/b~")
    check(read(f"{d}/b~") == b"a" and sorted(os.listdir(d)) == ["b~", "f"], f"{os.listdir(d)}")
    os.unlink(f"{d}/b~")


def published(e):
    """How editors put a new version in place: one change, which others see as a new value."""
    d = e.path(1, "l")
    ino, version = os.stat(f"{d}/f").st_ino, int(os.getxattr(f"{d}/f", "user.zabfs.version"))
    e.barriers()
    look = Inotify()
    look.add(e.path(2, "l"), "")
    fd = os.open(f"{d}/f~", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"second")
    os.rename(f"{d}/f~", f"{d}/f")
    check(os.stat(f"{d}/f").st_ino == ino == os.fstat(fd).st_ino, "identity")
    check(int(os.getxattr(f"{d}/f", "user.zabfs.version")) == version + 1, "one new version")
    check(read(f"{d}/f") == b"second" and os.listdir(d) == ["f"], f"{os.listdir(d)}")
    os.write(fd, b" and late")
    os.close(fd)
    check(read(f"{d}/f") == b"second and late", f"{read(f'{d}/f')}")
    write(f"{d}/new~", b"of its own")
    os.chmod(f"{d}/new~", 0o604)
    os.rename(f"{d}/new~", f"{d}/new")
    check(os.stat(f"{d}/new").st_mode & 0o777 == 0o604, "mode")
    os.mknod(f"{d}/end")
    seen = [f"{v.what} {v.name}" for v in look.read_until(lambda v: v.name == "end", 20)]
    check(seen == ["MODIFY f", "CLOSE_WRITE f", "MODIFY f", "CLOSE_WRITE f", "CREATE new"], f"{seen}")
    look.close()
    e.barriers()
    check(read(e.path(3, "l", "new")) == b"of its own" and read(e.path(3, "l", "f")) == b"second and late", "m3")
    for name in ("new", "end"):
        os.unlink(f"{d}/{name}")


def kept_back(e):
    """How editors keep the old version: it is a local file, and gone for the others."""
    d = e.path(1, "l")
    write(f"{d}/f", b"old version")
    os.chmod(f"{d}/f", 0o640)
    os.rename(f"{d}/f", f"{d}/f~")
    check(read(f"{d}/f~") == b"old version" and os.stat(f"{d}/f~").st_mode & 0o777 == 0o640, "kept")
    check(os.listdir(d) == ["f~"], f"{os.listdir(d)}")
    check(seen_elsewhere(e, "l") == [], "m2")
    write(f"{d}/f", b"new version")
    check(seen_elsewhere(e, "l") == ["f"] and read(e.path(2, "l", "f")) == b"new version", "m2: new")
    check(read(f"{d}/f~") == b"old version", "kept")
    os.rename(f"{d}/f~", f"{d}/f")
    e.barriers()
    check(read(e.path(2, "l", "f")) == b"old version", "put back")


def locked(e):
    p = e.path(1, "l", "lock~")
    first, second = (os.open(p, os.O_RDWR | os.O_CREAT) for _ in range(2))
    fcntl.flock(first, fcntl.LOCK_SH)
    fcntl.flock(second, fcntl.LOCK_SH)
    expect(errno.EAGAIN, fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(second, fcntl.LOCK_UN)
    fcntl.flock(first, fcntl.LOCK_EX)
    waiter = subprocess.Popen(["flock", p, "echo", "had it"], stdout=subprocess.PIPE)
    impatient = subprocess.run(["flock", "-w", "0.3", p, "true"])
    check(impatient.returncode == 1 and waiter.poll() is None, "somebody had it, too")
    os.close(first)
    check(waiter.communicate(timeout=20)[0] == b"had it\n", "it was not given on")
    fcntl.lockf(second, fcntl.LOCK_EX, 10, 5)

    def other(start, seconds):
        fd = os.open(p, os.O_RDWR)
        got = errno_of(fcntl.lockf, fd, fcntl.LOCK_EX | (0 if seconds else fcntl.LOCK_NB), 10, start)
        os.close(fd)
        return got
    check(Worker(other, 10, 0).result(20) == errno.EAGAIN, "ranges overlap")
    check(Worker(other, 15, 0).result(20) == 0, "ranges do not overlap")
    later = Worker(other, 10, 20)
    os.close(second)
    check(later.result(20) == 0, "it was not given on by close")
    os.unlink(p)


def bounded(e):
    d = e.path(1, "l")
    fds = []
    piece = b"x" * (1 << 20)
    with open(f"{d}/big~", "wb", buffering=0) as f:
        for i in range(64):
            check(f.write(piece) == len(piece), "short")
        expect(errno.ENOSPC, f.write, b"x")
    expect(errno.ENOSPC, write, f"{d}/other~", b"x")
    os.unlink(f"{d}/big~")
    write(f"{d}/other~", b"x")
    os.unlink(f"{d}/other~")
    for i in range(5000):
        try:
            fds.append(os.open(f"{d}/{i}~", os.O_WRONLY | os.O_CREAT))
        except OSError as failure:
            check(failure.errno == errno.ENOSPC, f"{failure}")
            break
        os.close(fds.pop())
    check(1000 < i < 5000, f"{i} files")
    for j in range(i):
        os.unlink(f"{d}/{j}~")


def other_patterns(e):
    """Told by the mount's own list, or none."""
    m = Mount(e, "globs", options="local=*.tmp:x?")
    write(m.at("l", "a.tmp"), b"")
    write(m.at("l", "xy"), b"")
    write(m.at("l", "a~"), b"")
    check(seen_elsewhere(e, "l") == ["a~", "f"], f"{os.listdir(e.path(2, 'l'))}")
    check(m.stop() == 0, "its end")
    m = Mount(e, "none", options="local=")
    write(m.at("l", "4913"), b"")
    check(seen_elsewhere(e, "l") == ["4913", "a~", "f"], f"{os.listdir(e.path(2, 'l'))}")
    for name in ("4913", "a~"):
        os.unlink(m.at("l", name))
    check(m.stop() == 0, "its end")


def vim(e):
    """Its swap file and backup, for good measure, by vim itself."""
    if not shutil.which("vim"):
        return
    d = e.path(1, "l")
    look = Inotify()
    look.add(e.path(2, "l"), "")
    r = subprocess.run(["vim", "-u", "NONE", "-i", "NONE", "-n", "-es", "-c", "set swapfile backup", "-c",
                        "normal Ityped ", "-c", "wq", f"{d}/f"], capture_output=True, timeout=60,
                       stdin=subprocess.DEVNULL)
    check(r.returncode == 0, f"vim: {r.stdout} {r.stderr}")
    os.mknod(f"{d}/end")
    names = {v.name for v in look.read_until(lambda v: v.name == "end", 20)}
    check(names == {"f"}, f"m2 was told of {names}")
    check(read(e.path(2, "l", "f")).startswith(b"typed "), "what was typed")
    look.close()


def test(e):
    alone(e)
    ordinary(e)
    listed(e)
    renamed_here(e)
    published(e)
    kept_back(e)
    locked(e)
    bounded(e)
    other_patterns(e)
    vim(e)


run(test, seconds=100)
