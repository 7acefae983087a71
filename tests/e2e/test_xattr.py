"""Extended attributes: what the ensemble knows of a node is shown under user.zabfs.*, others of user.*
are stored for all mounts, and the rest is refused. A change of them, of mode, owner or times is told to
watchers on other mounts as one IN_ATTRIB; one that changes nothing is not.
"""
import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, errno_name, errno_of, run, write  # noqa: E402

NUMBERS = ["fence", "czxid", "mzxid", "pzxid", "version", "cversion", "aversion", "owner"]


def expect(number, call, *args, **flags):
    got = errno_of(lambda: call(*args, **flags))
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def number(path, name):
    return int(os.getxattr(path, f"user.zabfs.{name}"))


def shown(e):
    f, d = e.path(1, "x", "f"), e.path(1, "x")
    check(number(f, "version") == 1 + (os.stat(f).st_size > 0), "versions count from 1")
    before = {name: number(f, name) for name in NUMBERS}
    aversion = number(f, "aversion")
    write(f, b"another")
    check(number(f, "version") == before["version"] + 1, "a new value is a new version")
    check(number(f, "mzxid") > before["mzxid"] and number(f, "czxid") == before["czxid"], "mzxid, czxid")
    os.chmod(f, 0o640)
    check(number(f, "aversion") == aversion + 1, "aversion")
    cversion, pzxid = number(d, "cversion"), number(d, "pzxid")
    os.mknod(f"{d}/child")
    check(number(d, "cversion") == cversion + 1 and number(d, "pzxid") > pzxid, "cversion, pzxid")
    check(number(f, "owner") == 0, "a permanent file has no owner")
    check(number(f, "fence") >= number(f, "czxid"), "fence")
    e.barriers()
    for n in (2, 3):
        for name in NUMBERS:
            there = number(e.path(n, "x", "f"), name)
            check(there == number(f, name), f"{name} is {there} on m{n}")
    check(os.getxattr(f, "user.zabfs.name") == b"f", "name")
    total, nodes = os.getxattr(d, "user.zabfs.usage").split()
    check(int(nodes) == 2 and int(total) >= 7, f"usage: {total} {nodes}")
    # Programs that copy what is listed could not set these.
    check(os.listxattr(f) == [] and os.listxattr(d) == [], f"{os.listxattr(f)} {os.listxattr(d)}")
    os.setxattr(d, "user.zabfs.quota", b"- -")
    check(os.listxattr(d) == ["user.zabfs.quota"], "a setting is listed")
    os.removexattr(d, "user.zabfs.quota")
    expect(errno.ENODATA, os.getxattr, e.mount(1), "user.zabfs.name")  # the root has none
    expect(errno.ENODATA, os.getxattr, f, "user.zabfs.usage")
    expect(errno.ENODATA, os.getxattr, f, "user.zabfs.ephemeral")
    expect(errno.ENODATA, os.getxattr, f, "user.zabfs.nonsense")
    r = subprocess.run(["getfattr", "--only-values", "-n", "user.zabfs.version", f], capture_output=True)
    check(int(r.stdout) == number(f, "version"), f"getfattr: {r.stdout} {r.stderr}")


def stored(e):
    f = e.path(1, "x", "f")
    expect(errno.ENODATA, os.getxattr, f, "user.color")
    os.setxattr(f, "user.color", b"red")
    expect(errno.EEXIST, os.setxattr, f, "user.color", b"blue", flags=os.XATTR_CREATE)
    expect(errno.ENODATA, os.setxattr, f, "user.shape", b"round", flags=os.XATTR_REPLACE)
    os.setxattr(f, "user.color", b"blue", flags=os.XATTR_REPLACE)
    os.setxattr(f, "user.empty", b"")
    any_bytes = bytes(range(256)) * 16
    fd = os.open(f, os.O_RDONLY)
    os.setxattr(fd, "user.bytes", any_bytes)
    check(os.getxattr(fd, "user.bytes") == any_bytes, "by descriptor")
    os.close(fd)
    os.setxattr(e.path(1, "x"), "user.of-a-directory", b"yes")
    e.barriers()
    for n in (1, 2, 3):
        there = e.path(n, "x", "f")
        check(os.getxattr(there, "user.color") == b"blue", f"m{n}")
        check(os.getxattr(there, "user.empty") == b"", f"m{n}: empty")
        check(os.getxattr(there, "user.bytes") == any_bytes, f"m{n}: bytes")
        mine = sorted(name for name in os.listxattr(there) if "zabfs" not in name)
        check(mine == ["user.bytes", "user.color", "user.empty"], f"m{n}: {mine}")
        check(os.getxattr(e.path(n, "x"), "user.of-a-directory") == b"yes", f"m{n}: of a directory")
    for name in ("user.bytes", "user.empty"):
        os.removexattr(e.path(2, "x", "f"), name)
    expect(errno.ENODATA, os.removexattr, f, "user.bytes")
    e.barriers()
    expect(errno.ENODATA, os.getxattr, f, "user.bytes")
    r = subprocess.run(["setfattr", "-n", "user.color", "-v", "green", f], capture_output=True)
    check(r.returncode == 0 and os.getxattr(f, "user.color") == b"green", f"setfattr: {r.stderr}")


def refused(e):
    f, d = e.path(1, "x", "f"), e.path(1, "x")
    names = os.listxattr(f)
    for name in NUMBERS + ["name", "usage", "nonsense"]:
        expect(errno.EPERM, os.setxattr, f, f"user.zabfs.{name}", b"1")
        expect(errno.EPERM, os.removexattr, f, f"user.zabfs.{name}")
    for name in ("quota", "ephemeral"):
        expect(errno.EPERM, os.setxattr, f, f"user.zabfs.{name}", b"open")
    for nonsense in (b"", b"forever", b"open "):
        expect(errno.EINVAL, os.setxattr, d, "user.zabfs.ephemeral", nonsense)
    for nonsense in (b"", b"1", b"x y", b"-1 -", b"1 2 3", b"1T 1"):
        expect(errno.EINVAL, os.setxattr, d, "user.zabfs.quota", nonsense)
    expect(errno.EOPNOTSUPP, os.setxattr, f, "security.thing", b"x")
    expect(errno.EOPNOTSUPP, os.setxattr, f, "trusted.thing", b"x")
    expect(errno.EOPNOTSUPP, os.getxattr, f, "system.posix_acl_access")
    expect(errno.ENODATA, os.getxattr, f, "security.capability")
    os.setxattr(f, "user.large", b"x" * 60000)
    expect(errno.ENOSPC, os.setxattr, f, "user.larger", b"x" * 6000)
    os.removexattr(f, "user.large")
    check(os.listxattr(f) == names, "a refused call changed something")
    expect(errno.EPERM, os.setxattr, e.path(1, ".zabfs", "status"), "user.color", b"red")
    expect(errno.ENODATA, os.getxattr, e.path(1, ".zabfs", "status"), "user.color")


def told(e):
    f = e.path(1, "x", "f")
    changes = [
        ("chmod", lambda: os.chmod(f, 0o600)), ("chown", lambda: os.chown(f, 1, 2)),
        ("utime", lambda: os.utime(f, (5, 6))), ("setxattr", lambda: os.setxattr(f, "user.a", b"1")),
        ("removexattr", lambda: os.removexattr(f, "user.a"))]
    nothing = [lambda: os.chmod(f, 0o600), lambda: os.chown(f, 1, 2), lambda: os.utime(f, (5, 6)),
               lambda: os.setxattr(f, "user.b", b"as it is")]
    os.setxattr(f, "user.b", b"as it is")
    e.barriers()
    for what, change in changes:
        look = Inotify()
        look.add(e.path(3, "x"), "")
        change()
        os.mknod(e.path(1, "x", f"end-{what}"))
        seen = [f"{v.what} {v.name}" for v in look.read_until(lambda v: v.name == f"end-{what}", 20)]
        check(seen == ["ATTRIB f"], f"{what}: {seen}")
        look.close()
    look = Inotify()
    look.add(e.path(3, "x"), "")
    for change in nothing:
        change()
    os.mknod(e.path(1, "x", "end"))
    seen = look.read_until(lambda v: v.name == "end", 20)
    check(not seen, f"a call that changes nothing was told: {seen}")
    look.close()


def test(e):
    os.mkdir(e.path(1, "x"))
    write(e.path(1, "x", "f"), b"value")
    e.barriers()
    shown(e)
    stored(e)
    refused(e)
    told(e)


run(test, seconds=100)
