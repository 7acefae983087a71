"""Every kind of change, made on m1: what watchers are told of it there, by the kernel itself, and on
m2 and m3, where it is repeated: every event once, with its names, the same on all.

Each row runs in directories of its own, which are watched along with the nodes in them. Behind the
change the maker creates a file `end` in each directory: directories keep their order, so what came
before that is all there is. What the kernel reports differently from what is repeated is said in the
row, where a reader can judge it.
"""
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, read, run, wait_until, write  # noqa: E402

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)
ROWS = []


def row(before, events, local=None, other=None, mixed=False):
    """`before` makes what is there when the watches begin; the function below it is the change.
    `events` are those of a watch on directory `a`, `other` those of other watches, each under what
    it watches; `local`: what the maker's own kernel says instead. `mixed`: that is partly the
    kernel's own and partly repeated, and between the two there is no order."""
    def add(change):
        everywhere = {"a": events, "b": [], **(other or {})}
        ROWS.append((change, before, everywhere, {**everywhere, **(local or {})}, mixed))
        return change
    return add


def nothing(a, b):
    pass


def file(a, b):
    write(f"{a}/f", b"old")


def two_files(a, b):
    write(f"{a}/f", b"old")
    write(f"{a}/g", b"other")


def file_and_target(a, b):
    write(f"{a}/f", b"new")
    write(f"{b}/f", b"old")


def directory(a, b):
    os.mkdir(f"{a}/d")


def directory_with_data(a, b):
    os.mkdir(f"{a}/d")
    write(f"{a}/d/.data", b"old")


def full_directory(a, b):
    os.mkdir(f"{a}/d")
    write(f"{a}/d/in", b"it")


def attribute(a, b):
    write(f"{a}/f", b"old")
    os.setxattr(f"{a}/f", "user.color", b"red")


def renameat2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old)


WRITTEN = ["MODIFY f", "CLOSE_WRITE f"]
SELF_WRITTEN = {"a/f": ["MODIFY", "CLOSE_WRITE"]}
SELF_GONE = ["ATTRIB", "DELETE_SELF", "IGNORED"]


# --- files -----------------------------------------------------------------------------------------

@row(nothing, ["CREATE n"])
def mknod(a, b):
    os.mknod(f"{a}/n", 0o644)


# A descriptor that could write was closed: the kernel says so where it was.
@row(nothing, ["CREATE n"], local={"a": ["CREATE n", "CLOSE_WRITE n"]})
def create_empty(a, b):
    os.close(os.open(f"{a}/n", os.O_WRONLY | os.O_CREAT | os.O_EXCL))


@row(nothing, ["CREATE n", "MODIFY n", "CLOSE_WRITE n"])
def create_and_write(a, b):
    write(f"{a}/n", b"value")


@row(file, WRITTEN, other=SELF_WRITTEN)
def overwrite(a, b):
    write(f"{a}/f", b"new")


@row(file, WRITTEN, other=SELF_WRITTEN)
def overwrite_large(a, b):
    write(f"{a}/f", b"new" * 100000)


@row(file, WRITTEN, other=SELF_WRITTEN)
def append(a, b):
    write(f"{a}/f", b"more", os.O_WRONLY | os.O_APPEND)


# Here nothing was closed; but who waits for CLOSE_WRITE must hear of every new value.
@row(file, WRITTEN, local={"a": ["MODIFY f"], "a/f": ["MODIFY"]}, other=SELF_WRITTEN)
def truncate(a, b):
    os.truncate(f"{a}/f", 1)


# One descriptor, two commits: each is a new value.
@row(file, WRITTEN + WRITTEN, local={"a": ["MODIFY f", "CLOSE_WRITE f"], "a/f": ["MODIFY", "CLOSE_WRITE"]},
     other={"a/f": 2 * ["MODIFY", "CLOSE_WRITE"]})
def fsync_then_close(a, b):
    fd = os.open(f"{a}/f", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"one")
    os.fsync(fd)
    os.write(fd, b" two")
    os.close(fd)


@row(file, ["ATTRIB f"], other={"a/f": ["ATTRIB"]})
def chmod(a, b):
    os.chmod(f"{a}/f", 0o600)


@row(file, ["ATTRIB f"], other={"a/f": ["ATTRIB"]})
def chown(a, b):
    os.chown(f"{a}/f", 1, 1)


@row(file, ["ATTRIB f"], other={"a/f": ["ATTRIB"]})
def utime(a, b):
    os.utime(f"{a}/f", (1, 2))


@row(file, [], local={"a": ["ATTRIB f"]})
def chmod_to_the_same(a, b):
    os.chmod(f"{a}/f", 0o644)


@row(file, ["DELETE f"], other={"a/f": SELF_GONE})
def unlink(a, b):
    os.unlink(f"{a}/f")


@row(nothing, ["CREATE link"])
def symlink(a, b):
    os.symlink("target", f"{a}/link")


@row(nothing, ["CREATE n", "DELETE n"])
def create_and_delete(a, b):
    os.mknod(f"{a}/n", 0o644)
    os.unlink(f"{a}/n")


@row(file, ["ATTRIB f"], other={"a/f": ["ATTRIB"]})
def set_attribute(a, b):
    os.setxattr(f"{a}/f", "user.color", b"red")


@row(attribute, ["ATTRIB f"], other={"a/f": ["ATTRIB"]})
def remove_attribute(a, b):
    os.removexattr(f"{a}/f", "user.color")


@row(nothing, ["CREATE web1", "DELETE web1"], mixed=True,
     local={"a": ["CREATE web1@", "CLOSE_WRITE web1@", "CREATE web1", "DELETE web1"]})
def ephemeral(a, b):
    os.close(os.open(f"{a}/web1@", os.O_WRONLY | os.O_CREAT | os.O_EXCL))


# The typed name is the kernel's doing, see the manual.
@row(nothing, ["CREATE job-0000000000", "MODIFY job-0000000000", "CLOSE_WRITE job-0000000000"],
     local={"a": ["CREATE job-#", "MODIFY job-#", "CLOSE_WRITE job-#", "CREATE job-0000000000"]},
     mixed=True)
def sequential(a, b):
    write(f"{a}/job-#", b"value", os.O_WRONLY | os.O_CREAT)


# --- directories -----------------------------------------------------------------------------------

@row(nothing, ["CREATE,ISDIR d"])
def mkdir(a, b):
    os.mkdir(f"{a}/d")


@row(directory, ["DELETE,ISDIR d"], other={"a/d": ["DELETE_SELF", "IGNORED"]})
def rmdir(a, b):
    os.rmdir(f"{a}/d")


@row(directory, ["ATTRIB,ISDIR d"], other={"a/d": ["ATTRIB,ISDIR"]})
def chmod_directory(a, b):
    os.chmod(f"{a}/d", 0o700)


@row(directory_with_data, [], other={"a/d": ["MODIFY .data", "CLOSE_WRITE .data"]})
def write_data_of_directory(a, b):
    write(f"{a}/d/.data", b"new")


@row(full_directory, ["DELETE,ISDIR d"], other={"a/d": ["DELETE in", "DELETE_SELF", "IGNORED"]})
def remove_tree(a, b):
    os.unlink(f"{a}/d/in")
    os.rmdir(f"{a}/d")


# --- renames ---------------------------------------------------------------------------------------

@row(file, ["MOVED_FROM f", "MOVED_TO g"], other={"a/f": ["MOVE_SELF"]})
def rename(a, b):
    os.rename(f"{a}/f", f"{a}/g")


@row(file, ["MOVED_FROM f"], other={"b": ["MOVED_TO g"], "a/f": ["MOVE_SELF"]})
def rename_to_another_directory(a, b):
    os.rename(f"{a}/f", f"{b}/g")


@row(full_directory, ["MOVED_FROM,ISDIR d", "MOVED_TO,ISDIR e"], other={"a/d": ["MOVE_SELF"]})
def rename_directory(a, b):
    os.rename(f"{a}/d", f"{a}/e")


@row(file, ["MOVED_FROM f", "MOVED_TO g"], other={"a/f": ["MOVE_SELF"]})
def rename_noreplace(a, b):
    renameat2(f"{a}/f", f"{a}/g", RENAME_NOREPLACE)


# What was there keeps its identity, and hears of a new value; the maker's kernel has replaced it.
@row(two_files, ["DELETE f", "MODIFY g", "CLOSE_WRITE g"],
     other={"a/f": SELF_GONE, "a/g": ["MODIFY", "CLOSE_WRITE"]},
     local={"a": ["MOVED_FROM f", "MOVED_TO g"], "a/f": ["MOVE_SELF"], "a/g": SELF_GONE})
def rename_over_file(a, b):
    os.rename(f"{a}/f", f"{a}/g")


@row(file_and_target, ["DELETE f"], other={"b": ["MODIFY f", "CLOSE_WRITE f"], "b/f": ["MODIFY", "CLOSE_WRITE"]},
     local={"a": ["MOVED_FROM f"], "b": ["MOVED_TO f"], "b/f": SELF_GONE})
def rename_over_file_elsewhere(a, b):
    os.rename(f"{a}/f", f"{b}/f")


@row(two_files, ["MOVED_FROM f", "MOVED_TO g", "MOVED_FROM g", "MOVED_TO f"],
     other={"a/f": ["MOVE_SELF"], "a/g": ["MOVE_SELF"]})
def rename_exchange(a, b):
    renameat2(f"{a}/f", f"{a}/g", RENAME_EXCHANGE)


@row(two_files, [])
def rename_refused(a, b):
    try:
        renameat2(f"{a}/f", f"{a}/g", RENAME_NOREPLACE)
    except OSError:
        pass


# --- the test --------------------------------------------------------------------------------------

def repeated_all(e, n):
    """The barrier does not wait for changes to be repeated."""
    e.barrier(n)
    wait_until(lambda: b"\nreplays_queued=0\n" in read(e.path(n, ".zabfs", "status")), 20,
               f"m{n} to have repeated all")


def watch_row(e, n, top, labels):
    look = Inotify()
    for label in labels:
        look.add(e.path(n, top, label), label)
    return look


def text_of(event):
    return f"{event.what} {event.name}".rstrip()


def once(texts):
    """Neighbouring MODIFY of one file count as one: opening with O_TRUNC and writing are two in the
    kernel, unless inotify merges them."""
    return [text for i, text in enumerate(texts) if not (i and "MODIFY" in text and texts[i - 1] == text)]


def seen_by(look):
    """The events of each watch, of both directories up to `end`."""
    seen, open_ends = [], {"a", "b"}
    while open_ends:
        seen += look.read_until(lambda event: event.name == "end" and event.what == "CREATE"
                                and not open_ends.discard(event.label), 20)
    look.close()
    return seen


def seen_of_mixed(look, wanted):
    """What is repeated on the maker's mount has no order to what its kernel says of `end`, so that is made
    when all that should come has come."""
    missing = list(wanted)
    seen = []

    def note(event):
        seen.append(event)
        if text_of(event) in missing:
            missing.remove(text_of(event))
        return not missing

    look.read_until(note, 20)
    return seen


def one_row(e, number, problems):
    change, before, remote, local, mixed = ROWS[number]
    top = f"row-{number}"
    a, b = e.path(1, top, "a"), e.path(1, top, "b")
    os.makedirs(a)
    os.mkdir(b)
    before(a, b)
    for n in (1, 2, 3):
        repeated_all(e, n)
    looks = [watch_row(e, n, top, remote) for n in (1, 2, 3)]
    change(a, b)
    early = seen_of_mixed(looks[0], local["a"]) if mixed else []
    for directory in (a, b):
        os.mknod(f"{directory}/end")
    for n, look in enumerate(looks, 1):
        seen = (early if n == 1 else []) + seen_by(look)
        for label, wanted in (local if n == 1 else remote).items():
            got = once([text_of(event) for event in seen if event.label == label])
            if n == 1 and mixed:
                got, wanted = sorted(got), sorted(wanted)
            if got != wanted:
                problems.append(f"{change.__name__}, m{n}, watch on {label}: {got}, not {wanted}")
        check_cookies(change, n, seen)


def check_cookies(change, n, seen):
    """The two halves of a move carry the same number, and no other move has it."""
    cookies = {}
    for event in seen:
        if event.cookie:
            cookies.setdefault(event.cookie, []).append(event.what.split(",")[0])
    for cookie, halves in cookies.items():
        check(sorted(halves) == ["MOVED_FROM", "MOVED_TO"], f"{change.__name__}, m{n}: {halves}")


def test(e):
    problems = []
    for number in range(len(ROWS)):
        one_row(e, number, problems)
    check(not problems, "\n".join(["events are not as they should be:", *problems]))
    print(f"{len(ROWS)} kinds of change, each told once on three mounts")


run(test, seconds=110)
