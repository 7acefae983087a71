""".zabfs/txn: changes written as text, all or nothing, and the outcome on the same descriptor."""
import errno
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import check, errno_name, read, run, write  # noqa: E402

NOBODY = 65534


def txn(e, text, n=1, via="close"):
    """(errno, outcome): committed by the close of one of two descriptors, by fsync, or by reading."""
    fd = os.open(e.path(n, ".zabfs", "txn"), os.O_RDWR)
    number = 0
    try:
        os.write(fd, text)
        try:
            if via == "fsync":
                os.fsync(fd)
            elif via == "close":
                os.close(os.dup(fd))
        except OSError as error:
            number = error.errno
        return number, os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def succeeds(e):
    number, outcome = txn(e, b"""# a comment
mkdir /t
create /t/a hello
create "/t/b c" "two words\\n"

symlink /t/l a
create /t/job-# x
check /t/a 1
""")
    check(number == 0, f"{errno_name(number)}: {outcome}")
    lines = outcome.decode().splitlines()
    check(lines[1:] == ["mkdir /t 1", "create /t/a 1", 'create "/t/b c" 1', "symlink /t/l 1",
                        "create /t/job-0000000003 1", "check /t/a 1"], f"{outcome}")
    # This mount shows it without being told to look again.
    check(read(e.path(1, "t", "a")) == b"hello" and read(e.path(1, "t", "b c")) == b"two words\n", "the values")
    check(os.readlink(e.path(1, "t", "l")) == "a", "the link")
    check(os.stat(e.path(1, "t", "a")).st_uid == os.getuid(), "the owner")

    text = b'set /t/a bye if 1\nappend "/t/b c" "\\x00\\xff"\nrename /t/l /t/m\ndelete /t/job-0000000003 1\n'
    for via in ("close", "fsync", "read"):
        os.stat(e.path(1, "t", "l"))
        number, outcome = txn(e, text, via=via)
        check(number == 0 and outcome.startswith(b"ok "), f"by {via}: {outcome}")
        e.barriers()
        for n in (1, 2, 3):
            check(read(e.path(n, "t", "a")) == b"bye", f"by {via}: a on m{n}")
            check(read(e.path(n, "t", "b c")) == b"two words\n\x00\xff", f"by {via}: b on m{n}")
            check(sorted(os.listdir(e.path(n, "t"))) == ["a", "b c", "m"], f"{os.listdir(e.path(n, 't'))}")
        # Back to where it was, for the next way.
        number, outcome = txn(e, b'delete /t/a\ncreate /t/a hello\nset "/t/b c" "two words\\n"\nrename /t/m /t/l\n'
                                 b"create /t/job-0000000003\n")
        check(number == 0, f"{outcome}")
    print("transactions that hold: closed, synced, read")


def refused(e):
    write(e.path(1, "v"), b"1")
    version = 2  # created and set
    before = sorted(os.listdir(e.mount(1)))
    for text, want, outcome in (
            (b"create /new\ncheck /v 9\ncreate /new2", errno.ESTALE, b"error 2: has another version\n"),
            (b"create /new\n\nabsent /v", errno.EEXIST, b"error 3: file exists\n"),
            (b"create /new\ncreate /v", errno.EEXIST, b"error 2: file exists\n"),
            (b"mkdir /new\ndelete /none", errno.ENOENT, b"error 2: no such file or directory\n"),
            (b"mkdir /new\ncreate /new/x\ndelete /new", errno.ENOTEMPTY, b"error 3: directory not empty\n"),
            (b"mkdir /new\nset /new v", errno.EISDIR, b"error 2: is a directory\n"),
            (b"create /new\ncreate /new/x", errno.ENOTDIR, b"error 2: not a directory\n"),
            (b"create /new\nfrob /x", errno.EINVAL, b"error 2:1: no such verb\n"),
            (b"create /new\ncreate x", errno.EINVAL, b"error 2:8: a path must begin with /\n"),
            (b"create /new\ncreate /x \"a", errno.EINVAL, b"error 2:11: quote without an end\n"),
            (b"create /new\nset /v x if 0", errno.EINVAL, b"error 2:13: not a version\n")):
        for via in ("close", "fsync"):
            got = txn(e, text, via=via)
            check(got == (want, outcome), f"{text} by {via}: {errno_name(got[0])} {got[1]}")
    check(sorted(os.listdir(e.mount(1))) == before, "a refused transaction has left something")
    check(read(e.path(1, "v")) == b"1", "v has changed")
    check(txn(e, b"check /v %d" % version)[0] == 0, "its version has")
    check(txn(e, b"") == (0, b"") and txn(e, b"# nothing\n")[0] == 0, "nothing to do")
    print("transactions that do not hold: refused with line and column, nothing done")


def from_shell(e):
    script = r"""
cd "$1"
exec 3<>.zabfs/txn
printf 'create /s1 "a b"\ncreate /s2\n' >&3
cat <&3
cat >&3 <<EOF
delete /s1
delete /s2
EOF
cat <&3
printf 'delete /none\n' >&3
cat <&3
exec 3>&-
printf 'create /s3' > .zabfs/txn
cat s3 && rm s3
printf 'frob' | tee .zabfs/txn >/dev/null; echo "tee: ${PIPESTATUS[1]}"
"""
    r = subprocess.run(["bash", "-c", script, "bash", e.mount(1)], capture_output=True, text=True, timeout=60)
    lines = [line.split()[0] if line.startswith("ok") else line for line in r.stdout.splitlines()]
    check(lines == ["ok", "create /s1 1", "create /s2 1", "ok", "delete /s1 1", "delete /s2 1",
                    "error 1: no such file or directory", "tee: 1"], f"{r.stdout} {r.stderr}")
    print("from a shell")


def who_may(e):
    path = e.path(1, ".zabfs", "txn")
    check(os.stat(path).st_mode & 0o777 == 0o600, "its mode")
    pid = os.fork()
    if pid == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            os.close(os.open(path, os.O_RDWR))
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    check(code == errno.EACCES, f"another user: {errno_name(code)}")
    print("others may not")


def watched(e):
    """It is one change for everybody, and what watchers of this mount are told as well: their kernel has
    not made it."""
    os.mkdir(e.path(1, "w"))
    write(e.path(1, "w", "old"), b"1")
    e.barriers()
    watches = {n: Inotify() for n in (1, 2)}
    for n, w in watches.items():
        w.add(e.path(n, "w"), f"m{n}")
    check(txn(e, b"create /w/new x\nset /w/old 2\n")[0] == 0, "the transaction")
    for n, w in watches.items():
        seen = w.read_until(lambda event: (event.what, event.name) == ("CLOSE_WRITE", "old"), 20)
        check(("CREATE", "new") in [(event.what, event.name) for event in seen], f"m{n}: {seen}")
        w.close()
    print("watchers on this mount and another")


TRANSFERS = r"""
import os, sys
mount, rounds = sys.argv[1], int(sys.argv[2])
done = beaten = 0
def get(name): # the version first: what is opened after that is of this version, or of a later one
    path = os.path.join(mount, name)
    version = int(os.getxattr(path, "user.zabfs.version"))
    with open(path) as f:
        return version, int(f.read())
while done < rounds:
    (va, a), (vb, b) = get("from"), get("to")
    fd = os.open(os.path.join(mount, ".zabfs", "txn"), os.O_RDWR)
    os.write(fd, b"set /from %d if %d\nset /to %d if %d\n" % (a - 1, va, b + 1, vb))
    outcome = os.pread(fd, 4096, 0)
    os.close(fd)
    if outcome.startswith(b"ok"):
        done += 1
    elif outcome in (b"error 1: has another version\n", b"error 2: has another version\n"):
        beaten += 1
    else:
        sys.exit("unexpected: %r" % outcome)
print(beaten)
"""


def exactly_once(e):
    """Many at a time, each of which moves a unit from one account to another, or finds that it was beaten
    to it: the sum stays."""
    workers, rounds = 3, 40
    write(e.path(1, "from"), b"%d" % (workers * rounds))
    write(e.path(1, "to"), b"0")
    e.barriers()
    ps = [subprocess.Popen([sys.executable, "-c", TRANSFERS, e.mount(n), str(rounds)], stdout=subprocess.PIPE,
                           text=True) for n in (1, 2, 3)]
    beaten = [int(p.communicate(timeout=100)[0]) for p in ps]
    e.barriers()
    check(read(e.path(1, "from")) == b"0" and read(e.path(1, "to")) == b"%d" % (workers * rounds), "the sum")
    print(f"{workers * rounds} transfers from three mounts, {sum(beaten)} times beaten")


def big(e):
    lines = b"".join(b"create /many/n%d v%d\n" % (i, i) for i in range(999))
    number, outcome = txn(e, b"mkdir /many\n" + lines)
    check(number == 0 and outcome.count(b"\n") == 1001, f"1000 steps: {outcome[:200]}")
    check(len(os.listdir(e.path(1, "many"))) == 999, "all of them")
    number, outcome = txn(e, b"check /many\n" * 1001)
    check(number == errno.EFBIG and outcome.startswith(b"error 1001:1:"), f"1001 steps: {outcome[:200]}")
    value = bytes(range(256)) * 400
    quoted = b"".join(b"\\x%02x" % c for c in value)
    check(txn(e, b'create /bytes "' + quoted + b'"')[0] == 0, "every byte")
    check(read(e.path(1, "bytes")) == value, "every byte, read")
    print("1000 steps, 1001 steps, every byte")


def test(e):
    succeeds(e)
    refused(e)
    from_shell(e)
    who_may(e)
    watched(e)
    exactly_once(e)
    big(e)


run(test)
