"""Full disks: each member's data directory is a small file system of its own, and a balloon file takes
what is left of it. One full member: its mount gets ENOSPC at once, reads on, and the others write on.
The leader: another one leads. All: reads go on, and writers get ENOSPC, or EROFS of a member that has
space but no leader. When the balloons are gone writing goes on by itself, no process was restarted, and
nothing that was acknowledged is missing, also after a kill of all members.
"""
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import LIBC, check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

SIZE = 4 << 20
SEGMENT_SIZE = 65536
VALUE = b"v" * 3000
MNT_DETACH = 2
AT_ONCE_S = 3  # on a loaded machine; the deadline of an operation is 10 s

acknowledged = {}  # name: value
filesystems = []


def mount_tmpfs(e, path):
    options = f"size={SIZE}".encode()
    if LIBC.mount(b"tmpfs", path.encode(), b"tmpfs", 0, ctypes.c_char_p(options)) != 0:
        print("no file system can be mounted here: skipped")
        e.close()
        os._exit(77)
    filesystems.append(path)


def data(e, n):
    return os.path.join(e.dir, "data", str(n))


def configure(e):
    e.down()
    for n in (1, 2, 3):
        shutil.rmtree(data(e, n))
        os.mkdir(data(e, n))
        mount_tmpfs(e, data(e, n))
        conf = os.path.join(e.dir, "conf", f"zabd-{n}.ini")
        with open(conf, "a") as f:
            f.write(f"\n[storage]\nsegment_size = {SEGMENT_SIZE}\nsnapshot_entries = 100000\n")
    e.up()


def blow_up(e, n):
    """Takes all space that is left."""
    fd = os.open(os.path.join(data(e, n), "balloon"), os.O_WRONLY | os.O_CREAT)
    try:
        while errno_of(os.write, fd, b"b" * 4096) != errno.ENOSPC:
            pass
    finally:
        os.close(fd)


def burst(e, n):
    os.unlink(os.path.join(data(e, n), "balloon"))


def put(e, n, name, value):
    """Acknowledged or not: the errno."""
    number = errno_of(write, e.path(n, name), value)
    if number == 0:
        acknowledged[name] = value
    return number


def disk(e, n):
    return (e.member_status(n) or {}).get("disk")


def write_until(e, n, condition, what):
    """Small values from mount n until the log of somebody needs space."""
    for i in range(200):
        put(e, n, f"fill-{n}", b"%d " % i + VALUE)
        if condition():
            return
    raise AssertionError(f"not within 200 writes: {what}")


def refused_at_once(e, n, allowed=(errno.ENOSPC,)):
    slowest = 0.0
    for call in (lambda: put(e, n, f"new-{n}", b"x"), lambda: put(e, n, "kept", b"x"),
                 lambda: errno_of(os.mkdir, e.path(n, f"d-{n}")),
                 lambda: errno_of(os.unlink, e.path(n, "kept"))):
        started = time.monotonic()
        number = call()
        slowest = max(slowest, time.monotonic() - started)
        check(number in allowed, f"m{n}: {errno_name(number)} from a full disk")
    shell = subprocess.run(["bash", "-c", f"echo x > {e.path(n, 'kept')}"], capture_output=True, timeout=30)
    check(shell.returncode != 0, f"m{n}: `echo x > f` says nothing about a full disk")
    check(slowest < AT_ONCE_S, f"m{n}: a refusal took {slowest:.1f} s")
    return slowest


def readable(e, n):
    check(read(e.path(n, "kept")) == acknowledged["kept"], f"m{n} shows another value")
    check("kept" in os.listdir(e.mount(n)), f"m{n} does not list it")


def writes_again(e, n):
    wait_until(lambda: put(e, n, f"again-{n}", b"%f" % time.monotonic()) == 0, 20, f"m{n} to write again")
    wait_until(lambda: disk(e, n) == "ok", 10, f"member {n} to have space")


def verify(e):
    e.barriers()
    for n in (1, 2, 3):
        for name, value in acknowledged.items():
            got = read(e.path(n, name))
            check(got == value, f"m{n}: {name} is {got[:30]!r}, not {value[:30]!r}")


def one_full(e):
    leader = e.leader()
    full = leader % 3 + 1
    other = 6 - leader - full
    blow_up(e, full)
    write_until(e, other, lambda: disk(e, full) == "full", f"member {full} to be full")
    slowest = refused_at_once(e, full)
    readable(e, full)
    for n in (leader, other):
        for i in range(20):
            check(put(e, n, f"beside-{n}", b"%d " % i + VALUE) == 0, f"m{n} has space")
    check(e.leader() == leader, "the leader has changed")
    burst(e, full)
    writes_again(e, full)
    e.wait_caught_up()
    verify(e)
    return slowest


def leader_full(e):
    leader = e.leader()
    other = leader % 3 + 1
    blow_up(e, leader)
    started = time.monotonic()
    write_until(e, other, lambda: disk(e, leader) == "full", f"member {leader} to be full")
    wait_until(lambda: e.leader() != leader, 20, "another leader")
    wait_until(lambda: put(e, other, "led-by-another", b"x") == 0, 20, "the others to write")
    took = time.monotonic() - started
    refused_at_once(e, leader)
    readable(e, leader)
    burst(e, leader)
    writes_again(e, leader)
    e.wait_caught_up()
    verify(e)
    return took


def all_full(e):
    for n in (1, 2, 3):
        blow_up(e, n)
    deadline = time.monotonic() + 60
    while [disk(e, n) for n in (1, 2, 3)].count("full") < 2:
        check(time.monotonic() < deadline, "two members to be full")
        for n in (1, 2, 3):
            # Its outcome may be unknown (ETIMEDOUT) when the members run full beneath it.
            number = put(e, n, f"last-{n}-{time.monotonic()}", VALUE)
            check(number in (0, errno.ENOSPC, errno.EROFS, errno.ETIMEDOUT),
                  f"m{n}: {errno_name(number)}")
    for n in (1, 2, 3):
        readable(e, n)
        if disk(e, n) == "full":
            refused_at_once(e, n)
        else:
            # It may have led until now, and then the outcome of the first one is unknown.
            wait_until(lambda: put(e, n, f"none-{n}", b"x") in (errno.ENOSPC, errno.EROFS), 30,
                       f"m{n} to refuse")
    for n in (1, 2, 3):
        burst(e, n)
    for n in (1, 2, 3):
        writes_again(e, n)
    e.wait_caught_up()
    verify(e)


def test(e):
    configure(e)
    try:
        check(put(e, 1, "kept", b"kept") == 0, "a first write")
        e.barriers()
        pids = [e.pid("zabd", n) for n in (1, 2, 3)]
        slowest = one_full(e)
        took = leader_full(e)
        all_full(e)
        check([e.pid("zabd", n) for n in (1, 2, 3)] == pids, "a member was restarted")
        e.kill("zabd", 1, 2, 3)
        e.up()
        verify(e)
        print(f"{len(acknowledged)} acknowledged values kept; a full member refuses within "
              f"{slowest:.2f} s; writes went on {took:.1f} s after the leader's disk was filled")
    finally:
        e.down()
        for path in filesystems:
            LIBC.umount2(path.encode(), MNT_DETACH)


run(test, seconds=170)
