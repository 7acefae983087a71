"""Quotas of directories: what is over one is refused with EDQUOT and changes nothing, in subtrees and
through every way that makes something; `df DIR` shows what is left. A file `.data` counts for its bytes.
"""
import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Worker, check, errno_name, errno_of, read, run, write  # noqa: E402

QUOTA = "user.zabfs.quota"


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def usage(path):
    return [int(word) for word in os.getxattr(path, "user.zabfs.usage").split()]


def nodes(e):
    d = e.path(1, "n")
    os.makedirs(f"{d}/sub")
    os.setxattr(d, QUOTA, b"- 4")
    os.mknod(f"{d}/a")
    os.mkdir(f"{d}/sub/b")
    os.symlink("x", f"{d}/sub/link")
    expect(errno.EDQUOT, os.mknod, f"{d}/sub/b/one-too-many")
    expect(errno.EDQUOT, os.mkdir, f"{d}/sub/b/one-too-many")
    expect(errno.EDQUOT, os.symlink, "x", f"{d}/one-too-many")
    expect(errno.EDQUOT, os.open, f"{d}/job-#@", os.O_RDWR | os.O_CREAT)
    write(e.path(1, "outside"), b"")
    expect(errno.EDQUOT, os.rename, e.path(1, "outside"), f"{d}/inside")
    check(usage(d)[1] == 4, f"{usage(d)}")
    os.rename(f"{d}/a", f"{d}/sub/a")  # within it nothing is added
    os.rename(f"{d}/sub/a", e.path(1, "out"))
    os.rename(e.path(1, "outside"), f"{d}/inside")
    e.barriers()
    expect(errno.EDQUOT, os.mknod, e.path(2, "n", "again"))
    expect(errno.EDQUOT, os.setxattr, d, QUOTA, b"- 3")
    check(os.getxattr(e.path(3, "n"), QUOTA) == b"- 4", "what is set")
    os.removexattr(d, QUOTA)
    os.mknod(f"{d}/now")
    os.setxattr(d, QUOTA, b"- 5")
    e.barriers()
    fs = os.statvfs(e.path(2, "n", "sub"))
    check(fs.f_files == 5 and fs.f_ffree == 0, f"df -i: {fs}")


def sizes(e):
    d = e.path(1, "s")
    os.makedirs(f"{d}/deep/er")
    os.setxattr(d, QUOTA, b"64K -")
    write(f"{d}/deep/er/f", b"x" * 40000)
    expect(errno.EDQUOT, write, f"{d}/g", b"y" * 40000)
    check(read(f"{d}/g") == b"", "a refused value was stored")
    write(f"{d}/g", b"y" * 20000)
    expect(errno.EDQUOT, write, f"{d}/g", b"y" * 20000, os.O_WRONLY | os.O_APPEND)
    expect(errno.EDQUOT, os.truncate, f"{d}/g", 40000)
    check(os.stat(f"{d}/g").st_size == 20000, "changed")
    write(f"{d}/g", b"z" * 20001)  # in the place of the other
    expect(errno.EDQUOT, write, f"{d}/.data", b"x" * 20000)
    fd = os.open(f"{d}/deep/er/f", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"x" * 50000)
    check(errno_of(os.fsync, fd) == errno.EDQUOT, "fsync")
    check(errno_of(os.close, fd) in (0, errno.EDQUOT), "close")
    check(len(read(f"{d}/deep/er/f")) == 40000, "a refused commit changed the file")
    r = subprocess.run(["bash", "-c", f"head -c 50000 /dev/zero > {d}/h && sync {d}/h"], capture_output=True)
    check(r.returncode != 0, "the shell was not told")
    os.unlink(f"{d}/h")
    os.unlink(f"{d}/g")
    fs = os.statvfs(d)
    used, free = (fs.f_blocks - fs.f_bfree) * fs.f_frsize, fs.f_bfree * fs.f_frsize
    check(used == 40960 and free <= 65536 - 40000, f"df: {used} used, {free} free")
    whole = os.statvfs(e.mount(1))
    check(whole.f_bfree * whole.f_frsize > 1 << 30, "the root has no quota")
    r = subprocess.run(["df", "--output=size,used,target", "-B1", d], capture_output=True, text=True)
    check(r.returncode == 0 and int(r.stdout.split("\n")[1].split()[0]) <= 65536, f"df: {r.stdout}")


def at_once(e):
    """Three mounts fill one directory: exactly what it holds gets in."""
    os.mkdir(e.path(1, "w"))
    os.setxattr(e.path(1, "w"), QUOTA, b"- 50")
    e.barriers()

    def work(n):
        made = 0
        for i in range(40):
            got = errno_of(os.mknod, e.path(n, "w", f"{n}-{i}"))
            check(got in (0, errno.EDQUOT), errno_name(got))
            made += got == 0
        return made
    made = [w.result(60) for w in [Worker(work, n) for n in (1, 2, 3)]]
    check(sum(made) == 50, f"made: {made}")
    e.barriers()
    check(len(os.listdir(e.path(2, "w"))) == 50, "listed")


def test(e):
    nodes(e)
    sizes(e)
    at_once(e)


run(test, seconds=100)
