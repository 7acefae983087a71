""".zabfs/at/INDEX: the tree as it was, for ls, cat, diff, cp and find."""
import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, read, run, write  # noqa: E402


def index(e, n=1):
    """Everything that was committed has a lower or equal one."""
    e.barrier(n)
    for line in read(e.path(n, ".zabfs", "status")).decode().splitlines():
        if line.startswith("index="):
            return int(line.split("=")[1])
    return 0


def at(e, number, *names, n=1):
    return e.path(n, ".zabfs", "at", str(number), *names)


def tree(top):
    """Path -> (type, mode, owner, content)."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            content = (os.readlink(path) if os.path.islink(path)
                       else read(path) if not os.path.isdir(path) else None)
            found[os.path.relpath(path, top)] = (st.st_mode, st.st_uid, st.st_size if content is not None else 0,
                                                 int(st.st_mtime * 1000), content)
    return found


def states(e):
    """After each of some changes: what the tree is like then is what the past shows later."""
    steps = (
        lambda: os.mkdir(e.path(1, "d")),
        lambda: write(e.path(1, "d", "a"), b"one"),
        lambda: write(e.path(2, "d", "big"), bytes(range(256)) * 1000),
        lambda: os.symlink("a", e.path(1, "d", "link")),
        lambda: write(e.path(3, "d", "a"), b"two, longer"),
        lambda: os.mkdir(e.path(2, "d", "sub")),
        lambda: os.rename(e.path(1, "d", "big"), e.path(1, "d", "sub", "moved")),
        lambda: os.chmod(e.path(1, "d", "a"), 0o600),
        lambda: os.unlink(e.path(3, "d", "link")),
        lambda: os.rename(e.path(2, "d"), e.path(2, "renamed")),
        lambda: write(e.path(1, "renamed", "a"), b""),
        lambda: [os.unlink(e.path(1, "renamed", "sub", "moved")), os.rmdir(e.path(1, "renamed", "sub"))],
    )
    history = []
    for step in steps:
        step()
        e.barriers()
        history.append((index(e), tree(e.mount(1))))
    for n in (1, 2, 3):
        for number, was in history:
            shown = tree(at(e, number, n=n))
            check(shown == was, f"index {number} on m{n}:\n{shown}\nnot\n{was}")
    print(f"{len(history)} states, the same on three mounts")
    return history


def tools(e, history):
    first, last = history[4][0], history[-1][0]

    def sh(script, want=0):
        r = subprocess.run(["bash", "-c", script, "bash", at(e, first), at(e, last), e.top, e.mount(1)],
                           capture_output=True, text=True, timeout=60)
        check(r.returncode == want, f"{script}: {r.returncode} {r.stdout}{r.stderr}")
        return r.stdout

    check(sh("ls $1/d").split() == ["a", "big", "link"], "ls")
    check(sh("cat $1/d/a") == "two, longer", "cat")
    check(sorted(sh("find $1 | sed s,$1,,").split()) == ["/d", "/d/a", "/d/big", "/d/link"], "find")
    sh("cp -r $1 $3/copy && diff -r $1 $3/copy && rm -r $3/copy")
    out = sh("diff -r $1 $2", want=1)
    check("Only in" in out, f"diff: {out}")
    sh("diff -r $2/renamed $4/renamed")
    check(sh("tar -C $1 -cf - . | tar -tf - | sort").split() == ["./", "./d/", "./d/a", "./d/big", "./d/link"], "tar")
    check(sh("stat -c %s $1/d/a; wc -c < $1/d/big").split() == ["11", "256000"], "sizes")
    inodes = [os.lstat(p).st_ino for p in (at(e, first), at(e, first, "d"), at(e, first, "d", "a"),
                                           at(e, last), e.path(1, "renamed", "a"), e.mount(1))]
    check(len(set(inodes)) == len(inodes), f"inode numbers: {inodes}")
    print("ls, cat, find, cp, diff, tar, stat")


def refused(e, history):
    number = history[4][0]
    for call, args, want in (
            (os.open, (at(e, number, "d", "a"), os.O_WRONLY), errno.EROFS),
            (os.open, (at(e, number, "d", "a"), os.O_RDONLY | os.O_TRUNC), errno.EROFS),
            (os.open, (at(e, number, "d", "new"), os.O_WRONLY | os.O_CREAT), errno.EROFS),
            (os.mkdir, (at(e, number, "new"),), errno.EROFS),
            (os.unlink, (at(e, number, "d", "a"),), errno.EROFS),
            (os.rename, (at(e, number, "d", "a"), at(e, number, "d", "b")), errno.EROFS),
            (os.symlink, ("x", at(e, number, "new")), errno.EROFS),
            (os.chmod, (at(e, number, "d", "a"), 0o777), errno.EROFS),
            (os.truncate, (at(e, number, "d", "a"), 0), errno.EROFS),
            (os.stat, (at(e, number, "none"),), errno.ENOENT),
            (os.stat, (at(e, number, "d", "a", "x"),), errno.ENOTDIR),
            (os.stat, (at(e, history[0][0], "d", "a"),), errno.ENOENT),
            (os.stat, (at(e, 1 << 60),), errno.ENOENT),
            (os.stat, (at(e, 0),), errno.ENOENT),
            (os.stat, (at(e, "-1"),), errno.ENOENT),
            (os.stat, (at(e, "5x"),), errno.ENOENT),
            (os.stat, (at(e, "99999999999999999999999"),), errno.ENOENT),
            (os.stat, (at(e, "01"),), errno.ENOENT)):
        got = errno_of(call, *args)
        check(got == want, f"{call.__name__}{args}: {errno_name(got)}, not {errno_name(want)}")
    check(os.listdir(e.path(1, ".zabfs", "at")) == [], "what could be listed?")
    # An index that is yet to come is not remembered as missing.
    soon = index(e) + 1
    check(errno_of(os.stat, at(e, soon)) == errno.ENOENT, "the future")
    write(e.path(1, "one-more"), b"1")
    e.barrier(1)
    check(errno_of(os.stat, at(e, soon)) == 0, "when it has come")
    print("what is refused: writes, indexes that are none")


def known_from(e):
    """The lowest index that member 1 can show."""
    for line in read(e.path(1, ".zabfs", "status")).decode().splitlines():
        if line.startswith("member_history_from="):
            return int(line.split("=")[1])
    return 0


def restarted(e, history):
    """Members that start anew remember what is in their logs, at the most: what was open stays open, and
    the rest is as it was, or is said not to be known."""
    old = history[4][0]
    fd = os.open(at(e, old, "d", "a"), os.O_RDONLY)
    check(os.read(fd, 100) == b"two, longer", "open before")
    for n in (1, 2, 3):
        e.kill("zabd", n)
    e.up()
    e.wait_members()
    e.barriers()
    check(os.pread(fd, 100, 0) == b"two, longer", "what is open stays as it was")
    os.close(fd)
    first = known_from(e)
    for number, was in history:
        if number >= first:
            check(tree(at(e, number)) == was, f"at {number}, known from {first}")
    print(f"after a new start of all members: states from {first} on are known")


def forgotten(e, history):
    """What falls out of a member's memory: what is open stays open, what was looked up cannot be opened
    any more, and an index of then that was not looked up is not there."""
    old = history[4][0]
    fd = os.open(at(e, old, "d", "a"), os.O_RDONLY)
    check(os.read(fd, 100) == b"two, longer", "open before")
    directory = os.open(at(e, old, "d"), os.O_RDONLY | os.O_DIRECTORY)
    txn = os.open(e.path(1, ".zabfs", "txn"), os.O_RDWR)
    os.write(txn, b"".join(b"create /filler-%d\n" % i for i in range(999)))
    check(os.pread(txn, 3, 0) == b"ok ", "files to change")
    for n in range(40):  # members keep 16384 changes, each of one node at one index
        if known_from(e) > history[-1][0]:
            break
        os.write(txn, b"".join(b"set /filler-%d x\n" % i for i in range(999)))
        check(os.pread(txn, 3, 0) == b"ok ", "a transaction")
    os.close(txn)
    check(known_from(e) > history[-1][0], "the member has forgotten")
    check(os.pread(fd, 100, 0) == b"two, longer", "what is open stays as it was")
    os.close(fd)
    try:
        os.close(os.open("big", os.O_RDONLY, dir_fd=directory))
        got = 0
    except OSError as error:
        got = error.errno
    check(got in (errno.ESTALE, errno.ENOENT), f"a value that was looked up: {errno_name(got)}")
    os.close(directory)
    got = errno_of(os.stat, at(e, history[0][0] - 1))
    check(got == errno.ENOENT, f"an index that was not: {errno_name(got)}")
    now = index(e)
    check(tree(at(e, now)) == tree(e.mount(1)), "the present is known")
    print(f"states before {known_from(e)} are forgotten")


def test(e):
    history = states(e)
    tools(e, history)
    refused(e, history)
    restarted(e, history)
    forgotten(e, history)


run(test)
