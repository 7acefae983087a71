"""What is over a limit or against a rule is refused with its errno, and nothing changes: over-long
names, values over the limit, directories that are not empty, writing a directory, and kinds of nodes
that the tree does not have. All mounts show the same before and after.
"""
import errno
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, read, run, write  # noqa: E402

LIMIT = 1 << 20


def picture(e):
    """All that there is: names, types, modes, sizes, values and versions' times, on every mount."""
    e.barriers()
    result = []
    for n in (1, 2, 3):
        for top, directories, files in os.walk(e.mount(n)):
            for name in directories + files:
                path = os.path.join(top, name)
                st = os.lstat(path)
                value = read(path) if name in files and not os.path.islink(path) else b""
                result.append((n, path[len(e.mount(n)):], st.st_ino, st.st_mode, st.st_size,
                               st.st_mtime_ns, st.st_ctime_ns, hash(value)))
    return sorted(result)


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.100}: {errno_name(got)}, not {errno_name(number)}")


def test(e):
    long_name = "n" * 256
    m1 = e.mount(1)
    full, plain, almost = (os.path.join(m1, name) for name in ("full", "plain", "almost"))
    os.mkdir(full)
    write(os.path.join(full, "child"), b"c")
    write(plain, b"as it was")
    write(almost, b"x" * (LIMIT - 10))
    os.symlink("plain", os.path.join(m1, "link"))
    before = picture(e)

    flags = os.O_WRONLY | os.O_CREAT
    expect(errno.ENAMETOOLONG, os.open, os.path.join(m1, long_name), flags)
    expect(errno.ENAMETOOLONG, os.mkdir, os.path.join(m1, long_name))
    expect(errno.ENAMETOOLONG, os.symlink, "x", os.path.join(m1, long_name))
    expect(errno.ENAMETOOLONG, os.mknod, os.path.join(m1, "n" * 250 + "#"))  # with the number
    expect(errno.ENAMETOOLONG, os.unlink, os.path.join(m1, long_name))
    expect(errno.ENAMETOOLONG, os.stat, os.path.join(m1, long_name))

    expect(errno.EFBIG, write, plain, b"x" * (LIMIT + 1))
    # The kernel hands over a long write in pieces, and each piece of an append is a change of its own.
    expect(errno.EFBIG, write, almost, b"x" * 11, os.O_WRONLY | os.O_APPEND)
    expect(errno.EFBIG, os.truncate, plain, LIMIT + 1)
    r = subprocess.run(["bash", "-c", f"head -c {LIMIT + 1} /dev/zero > {plain}"], capture_output=True)
    check(r.returncode != 0, "the shell did not hear of the value that was too large")

    expect(errno.ENOTEMPTY, os.rmdir, full)
    expect(errno.EISDIR, os.open, full, os.O_WRONLY)
    expect(errno.EISDIR, os.open, full, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    expect(errno.EISDIR, os.unlink, full)
    expect(errno.ENOTDIR, os.rmdir, plain)
    expect(errno.ENOTDIR, os.mkdir, os.path.join(plain, "below"))
    expect(errno.EEXIST, os.mkdir, full)
    expect(errno.EEXIST, os.open, plain, flags | os.O_EXCL)
    expect(errno.ENOENT, os.unlink, os.path.join(m1, "nothing"))
    expect(errno.ENOENT, os.rmdir, os.path.join(m1, "nothing"))

    expect(errno.EPERM, os.mkfifo, os.path.join(m1, "fifo"))
    expect(errno.EPERM, os.mknod, os.path.join(m1, "device"), 0o60600, os.makedev(7, 0))
    expect(errno.EPERM, os.link, plain, os.path.join(m1, "hard"))
    unix = socket.socket(socket.AF_UNIX)
    expect(errno.EPERM, unix.bind, os.path.join(m1, "s"))
    unix.close()

    after = picture(e)
    check(after == before, f"changed: {sorted(set(before) ^ set(after))}")

    # Just within the limits it works.
    name, value = "n" * 255, os.urandom(LIMIT)
    write(os.path.join(m1, name), value)
    e.barrier(2)
    check(read(e.path(2, name)) == value, "the largest value under the longest name")
    os.unlink(os.path.join(m1, name))
    print("ENAMETOOLONG EFBIG ENOTEMPTY EISDIR ENOTDIR EEXIST ENOENT EPERM, and nothing changed")


run(test, seconds=110)
