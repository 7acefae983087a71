"""rename: files and whole subtrees change their place at once on all mounts, keep their identity, and
watchers on other mounts get both halves of the move with one cookie.

A file renamed over another becomes one new version of that one, which keeps its identity; who had the
source open goes on with what it is now.
"""
import ctypes
import errno
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def renameat2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old)


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def tree(top):
    """All names below, with id and content."""
    result = []
    for at, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(at, name)
            result.append((path[len(top):], os.lstat(path).st_ino, read(path) if name in files else None))
    return sorted(result)


def same_everywhere(e, *names):
    e.barriers()
    first = tree(e.path(1, *names))
    for n in (2, 3):
        other = tree(e.path(n, *names))
        check(other == first, f"m{n} shows {other}, not {first}")
    return first


def identity(e):
    top = e.path(1, "i")
    os.makedirs(f"{top}/a/deep/er")
    os.mkdir(f"{top}/b")
    write(f"{top}/a/f", b"f")
    write(f"{top}/a/deep/er/g", b"g")
    ids = {name: ino for name, ino, _ in same_everywhere(e, "i")}
    os.rename(f"{top}/a/f", f"{top}/b/renamed")
    check(os.stat(f"{top}/b/renamed").st_ino == ids["/a/f"], "the file has another id")
    expect(errno.ENOENT, os.stat, f"{top}/a/f")
    os.rename(f"{top}/a", f"{top}/b/a")
    check(read(f"{top}/b/a/deep/er/g") == b"g", "the subtree came with what is in it")
    after = {name: ino for name, ino, _ in same_everywhere(e, "i")}
    check(after["/b/a/deep/er/g"] == ids["/a/deep/er/g"], "a node below has another id")
    # A process that stands in it goes on there.
    other = e.path(2, "i")
    fd = os.open(f"{other}/b/a/deep", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(f"{top}/b/a", f"{top}/away")
    e.barriers()
    os.close(os.open("er/new", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    e.barrier(1)
    check(os.path.exists(f"{top}/away/deep/er/new"), "what was made in it is not there")
    same_everywhere(e, "i")


def merging(e):
    """write, rename over: how programs save."""
    top = e.path(1, "m")
    os.mkdir(top)
    write(f"{top}/f", b"old")
    ino = os.stat(f"{top}/f").st_ino
    e.barriers()
    held = os.open(e.path(2, "m", "f"), os.O_RDONLY)
    fd = os.open(f"{top}/tmp", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"new")
    os.fsync(fd)
    os.write(fd, b" and more")  # not committed when its name changes
    os.rename(f"{top}/tmp", f"{top}/f")
    check(os.fstat(fd).st_ino == ino, "the open file is not the target")
    check(os.stat(f"{top}/f").st_ino == ino, "the target has another id")
    check(read(f"{top}/f") == b"new", f"{read(f'{top}/f')}")
    os.close(fd)
    check(read(f"{top}/f") == b"new and more", f"late bytes: {read(f'{top}/f')}")
    check(os.stat(f"{top}/f").st_mode & 0o777 == 0o600, "it has the mode of what was put there")
    expect(errno.ENOENT, os.stat, f"{top}/tmp")
    e.barriers()
    for n in (2, 3):
        check(read(e.path(n, "m", "f")) == b"new and more", f"m{n}")
        check(os.stat(e.path(n, "m", "f")).st_ino == ino, f"m{n}: another id")
    check(os.pread(held, 100, 0) == b"old", "an open file changed under its reader")
    os.close(held)
    for i in range(200):  # and again and again, each looked at at once
        write(f"{top}/tmp", b"%d" % i)
        os.rename(f"{top}/tmp", f"{top}/f")
        check(read(f"{top}/f") == b"%d" % i, f"round {i}: {read(f'{top}/f')}")
        check(os.stat(f"{top}/f").st_ino == ino, f"round {i}: another id")
    same_everywhere(e, "m")


def refusals(e):
    top = e.path(1, "r")
    os.makedirs(f"{top}/d/e")
    os.mkdir(f"{top}/full")
    write(f"{top}/full/x", b"")
    write(f"{top}/f", b"f")
    write(f"{top}/g", b"g")
    before = same_everywhere(e, "r")
    expect(errno.ENOENT, os.rename, f"{top}/none", f"{top}/h")
    expect(errno.EINVAL, os.rename, f"{top}/d", f"{top}/d/e/d")
    expect(errno.EISDIR, os.rename, f"{top}/f", f"{top}/d")
    expect(errno.ENOTDIR, os.rename, f"{top}/d", f"{top}/f")
    expect(errno.ENOTEMPTY, os.rename, f"{top}/d", f"{top}/full")
    expect(errno.EEXIST, renameat2, f"{top}/f", f"{top}/g", NOREPLACE)
    expect(errno.ENOENT, renameat2, f"{top}/f", f"{top}/none", EXCHANGE)
    expect(errno.EINVAL, renameat2, f"{top}/f", f"{top}/h", WHITEOUT)
    expect(errno.ENAMETOOLONG, os.rename, f"{top}/f", f"{top}/" + "n" * 256)
    expect(errno.EINVAL, os.rename, f"{top}/f", f"{top}/job-#")
    expect(errno.EINVAL, os.rename, f"{top}/f", f"{top}/web@")
    expect(errno.EACCES, os.rename, f"{top}/d", e.path(1, ".zabfs"))
    expect(errno.EACCES, os.rename, f"{top}/f", e.path(1, ".zabfs", "x"))
    expect(errno.EACCES, os.rename, e.path(1, ".zabfs", "status"), f"{top}/h")
    expect(errno.EXDEV, os.rename, f"{top}/f", e.path(2, "r", "h"))
    check(same_everywhere(e, "r") == before, "a refused rename changed something")
    renameat2(f"{top}/f", f"{top}/h", NOREPLACE)
    renameat2(f"{top}/h", f"{top}/full", EXCHANGE)
    check(read(f"{top}/full") == b"f" and os.listdir(f"{top}/h") == ["x"], "exchanged")
    same_everywhere(e, "r")


def one_winner(e):
    """Of those who rename with NOREPLACE to one name one wins; nothing is lost."""
    os.mkdir(e.path(1, "w"))
    for n in (1, 2, 3):
        for i in range(20):
            write(e.path(n, "w", f"from-{n}-{i}"), b"%d" % n)
    e.barriers()

    def work(n):
        won = 0
        for i in range(20):
            got = errno_of(renameat2, e.path(n, "w", f"from-{n}-{i}"), e.path(n, "w", f"to-{i}"), NOREPLACE)
            check(got in (0, errno.EEXIST), errno_name(got))
            won += got == 0
        return won
    won = [w.result(60) for w in [Worker(work, n) for n in (1, 2, 3)]]
    check(sum(won) == 20, f"winners: {won}")
    check(len(same_everywhere(e, "w")) == 60, "files were lost or made")


def next_move(walk, top, names, number):
    """One rename, and the events of it: [(directory, what, name)]. `names` has kind and id of each."""
    (d1, n1) = walk.choice(sorted(names))
    d2 = walk.choice("abc")
    others = sorted(set(names) - {(d1, n1)})
    if others and walk.random() < 0.3:
        d2, n2 = walk.choice(others)
        renameat2(f"{top}/{d1}/{n1}", f"{top}/{d2}/{n2}", EXCHANGE)
        names[d1, n1], names[d2, n2] = names[d2, n2], names[d1, n1]
        k1, k2 = names[d2, n2][0], names[d1, n1][0]
        return [((d1, "MOVED_FROM" + k1, n1), (d2, "MOVED_TO" + k1, n2)),
                ((d2, "MOVED_FROM" + k2, n2), (d1, "MOVED_TO" + k2, n1))]
    n2 = f"n{number}"
    os.rename(f"{top}/{d1}/{n1}", f"{top}/{d2}/{n2}")
    names[d2, n2] = names.pop((d1, n1))
    kind = names[d2, n2][0]
    return [((d1, "MOVED_FROM" + kind, n1), (d2, "MOVED_TO" + kind, n2))]


def cookies(e):
    """Moves of files and directories between three directories, made on m1 and m2 by turns: watchers
    on m3 get all of them, in order per directory, the halves of each with one cookie."""
    walk = random.Random(random.randrange(1 << 32))
    top = e.path(1, "c")
    names = {}
    for d in "abc":
        os.makedirs(f"{top}/{d}")
        for i in range(4):
            kind = walk.choice(["", ",ISDIR"])
            (os.mkdir if kind else os.mknod)(f"{top}/{d}/{d}{i}")
            names[d, f"{d}{i}"] = kind, os.lstat(f"{top}/{d}/{d}{i}").st_ino
    e.barriers()
    look = Inotify()
    for d in "abc":
        look.add(e.path(3, "c", d), d)
        os.listdir(e.path(3, "c", d))
    moves = []
    for number in range(300):
        n = walk.choice((1, 2))
        e.barrier(n)  # it made the last move, or has seen it
        moves += next_move(walk, e.path(n, "c"), names, number)
        if walk.random() < 0.3:  # who looks at once must not confuse what is repeated
            d, name = walk.choice(sorted(names))
            os.path.exists(e.path(3, "c", d, name))
    e.barrier(1)
    for (d, name), (_, ino) in names.items():  # a rename that did nothing would say nothing
        check(os.lstat(f"{top}/{d}/{name}").st_ino == ino, f"{d}/{name} is another node")
    for d in "abc":
        os.mknod(f"{top}/{d}/end")
    open_ends = set("abc")
    seen = []
    while open_ends:
        seen += look.read_until(lambda v: v.name == "end" and not open_ends.discard(v.label), 30)
    seen = [v for v in seen if "MOVED" in v.what or v.what.split(",")[0] in ("CREATE", "DELETE")]
    for d in "abc":
        wanted = [half[1:] for move in moves for half in move if half[0] == d]
        got = [(v.what, v.name) for v in seen if v.label == d and v.name != "end"]
        for i, (a, b) in enumerate(zip(got, wanted)):
            check(a == b, f"in {d}, event {i}: {a}, not {b}; around it {got[max(0, i - 3):i + 4]}")
        check(len(got) == len(wanted), f"in {d}: {len(got)} events, not {len(wanted)}")
    for a, b in moves:
        pair = [v.cookie for v in seen if (v.label, v.what, v.name) == a]
        other = [v.cookie for v in seen if (v.label, v.what, v.name) == b]
        check(set(pair) & set(other), f"no cookie joins {a} and {b}")
    look.close()
    same_everywhere(e, "c")
    return len(moves)


def one_side(e):
    """Only one of the two directories is known to the other mount: there it is a name that came or
    went."""
    top = e.path(1, "s")
    for d in ("seen", "unseen"):
        os.makedirs(f"{top}/{d}")
    write(f"{top}/seen/out", b"1")
    write(f"{top}/unseen/in", b"2")
    e.kill("zabfs", 3)
    e.up()  # a mount that has never been asked for `unseen`
    look = Inotify()
    look.add(e.path(3, "s", "seen"), "seen")
    os.rename(f"{top}/seen/out", f"{top}/unseen/out")
    os.rename(f"{top}/unseen/in", f"{top}/seen/in")
    os.mknod(f"{top}/seen/end")
    seen = [f"{v.what} {v.name}" for v in look.read_until(lambda v: v.name == "end", 20)]
    check(seen == ["DELETE out", "CREATE in"], f"{seen}")
    look.close()
    same_everywhere(e, "s")


def shuffle(e, n, seed):
    """Moves, exchanges, replaces, makes and removes whatever it meets; others do so, too."""
    walk = random.Random(seed)
    done = 0
    for i in range(150):
        paths = [e.path(n, "a", walk.choice("xyz"), str(walk.randrange(6))) for _ in range(2)]
        flags = walk.choice([0, 0, NOREPLACE, EXCHANGE])
        kind = walk.randrange(10)
        if kind == 0:
            got = errno_of(os.mkdir, paths[0])
        elif kind == 1:
            got = errno_of(write, paths[0], b"%d %d" % (n, i))
        elif kind == 2:
            got = errno_of(os.rmdir if os.path.isdir(paths[0]) else os.unlink, paths[0])
        else:
            if kind == 3:  # into a directory, or out of one
                paths[1] = os.path.join(paths[1], "in")
                walk.shuffle(paths)
            got = errno_of(renameat2, *paths, flags)
        check(got in (0, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EINVAL,
                      errno.ESTALE), f"{kind} {paths}: {errno_name(got)}")
        done += got == 0
    return done


def all_at_once(e):
    """Six movers on three mounts in the same three directories, all of them watched: all mounts end with
    the same, and watchers of a directory nobody touches any more hear what is done there next."""
    for d in "xyz":
        os.makedirs(e.path(1, "a", d))
    e.barriers()
    looks = [Inotify() for _ in range(3)]
    for n, look in enumerate(looks, 1):
        for d in "xyz":
            look.add(e.path(n, "a", d), d)
    movers = [Worker(shuffle, e, n, random.randrange(1 << 32)) for n in (1, 2, 3, 1, 2, 3)]
    done = sum(mover.result(100) for mover in movers)
    same_everywhere(e, "a")
    for d in "xyz":
        os.mknod(e.path(1, "a", d, "end"))
    for look in looks:
        ends = set("xyz")
        while ends:
            look.read_until(lambda v: v.name == "end" and not ends.discard(v.label), 30)
        look.close()
    return done


def test(e):
    identity(e)
    merging(e)
    refusals(e)
    one_winner(e)
    one_side(e)
    count = cookies(e)
    for n in (1, 2, 3):
        wait_until(lambda: b"\nreplays_queued=0\n" in read(e.path(n, ".zabfs", "status")), 20, "all repeated")
        check(b"\nreplays_failed=0\n" in read(e.path(n, ".zabfs", "status")), f"m{n}: a change was not repeated")
    changes = all_at_once(e)
    r = subprocess.run(["mv", e.path(1, "c"), e.path(1, "moved")], capture_output=True)
    check(r.returncode == 0, f"mv: {r.stderr}")
    print(f"{count} moves told with their cookies, {changes} changes at once")


run(test, seconds=150)
