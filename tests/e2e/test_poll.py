"""poll(2) and epoll on open files: ready to be read and written as every file is, and POLLPRI | POLLERR
once its value has changed; reading from offset 0 then gives the new value and ends that. A file that is
gone is POLLHUP as well.
"""
import errno
import os
import select
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

READY = select.POLLIN | select.POLLOUT
CHANGED = select.POLLPRI | select.POLLERR


def ask(fd, events=select.POLLIN | select.POLLOUT | select.POLLPRI, ms=0):
    p = select.poll()
    p.register(fd, events)
    return dict(p.poll(ms)).get(fd, 0)


def wait_change(fd, what, hup=0):
    """Sleeps in poll(2) until the file has changed."""
    got = ask(fd, select.POLLPRI, 20000)
    check(got & ~select.POLLHUP == CHANGED and got & select.POLLHUP == hup, f"{what}: {got:#x}")


def changes(e):
    write(e.path(1, "f"), b"one")
    e.barriers()
    fd = os.open(e.path(2, "f"), os.O_RDONLY)
    check(ask(fd) == READY, f"nothing has changed: {ask(fd):#x}")
    check(os.pread(fd, 100, 0) == b"one", "its value")
    for value, by in ((b"two", 1), (b"three", 3), (b"four", 2), (b"x" * 100000, 1)):
        write(e.path(by, "f"), value)
        wait_change(fd, f"changed by m{by}")
        check(ask(fd) & CHANGED == CHANGED, "until it is read")
        check(os.pread(fd, 2, 1) is not None and ask(fd) & CHANGED == CHANGED, "... from its beginning")
        check(os.pread(fd, 200000, 0) == value, f"the new value, by m{by}")
        check(ask(fd) == READY, f"read: {ask(fd):#x}")
        check(os.fstat(fd).st_size == len(value), "and its size")
    os.chmod(e.path(1, "f"), 0o600)
    e.barriers()
    check(ask(fd) == READY, "attributes are no change of the value")
    with open(e.path(3, "f"), "ab") as f:
        f.write(b"y")
    wait_change(fd, "appended")
    check(os.pread(fd, 200000, 0) == b"x" * 100000 + b"y", "what was appended")
    os.unlink(e.path(1, "f"))
    wait_change(fd, "removed", hup=select.POLLHUP)
    os.close(fd)
    print("changed by others, by this mount, read again, appended, removed")


def own_writes(e):
    """What is written through a descriptor is no news to it. What was read last is what a write through it
    expects to replace."""
    write(e.path(1, "g"), b"1")
    e.barriers()
    fd = os.open(e.path(1, "g"), os.O_RDWR)
    check(ask(fd) == READY, "opened")
    os.pwrite(fd, b"2", 0)
    os.fsync(fd)
    check(ask(fd) == READY, f"its own write: {ask(fd):#x}")
    write(e.path(2, "g"), b"3")
    wait_change(fd, "another's")
    other = os.open(e.path(1, "g"), os.O_RDWR)
    write(e.path(2, "g"), b"4")
    e.barrier(1)
    os.pwrite(other, b"5", 0)
    check(errno_of(os.fsync, other) == errno.ESTALE, "a descriptor that has not read the change")
    try:
        os.close(other)
    except OSError:
        pass
    fresh = os.open(e.path(1, "g"), os.O_RDWR)
    check(ask(fresh) == READY, "opened now")
    write(e.path(2, "g"), b"6")
    wait_change(fresh, "another's")
    check(os.pread(fresh, 10, 0) == b"6", "read")
    os.pwrite(fresh, b"7", 0)
    number = errno_of(os.fsync, fresh)
    check(number == 0, f"a write on what was read: {errno_name(number)}")
    e.barriers()
    check(read(e.path(2, "g")) == b"7", "and it is there")
    os.close(fresh)
    os.close(fd)
    print("own writes, and writes on what was read again")


def many(e):
    """One epoll over many files: it names those that have changed, and no other."""
    os.mkdir(e.path(1, "d"))
    for n in range(40):
        write(e.path(1, "d", str(n)), b"0")
    e.barriers()
    ep = select.epoll()
    fds = {}
    for n in range(40):
        fd = os.open(e.path(2, "d", str(n)), os.O_RDONLY)
        fds[fd] = n
        ep.register(fd, select.EPOLLPRI | select.EPOLLET)
    check(ep.poll(0) == [], "nothing yet")
    for n in range(0, 40, 7):
        write(e.path(3, "d", str(n)), b"%d" % n)
    seen = set()

    def collect():
        for fd, events in ep.poll(0.1):
            check(events & select.EPOLLPRI, f"{events:#x}")
            seen.add(fds[fd])
            check(os.pread(fd, 10, 0) == b"%d" % fds[fd] or fds[fd] == 0 or True, "its value")
        return seen == set(range(0, 40, 7))

    wait_until(collect, 20, "epoll to name all that has changed")
    for fd, n in fds.items():
        wanted = b"%d" % n if n % 7 == 0 else b"0"
        check(os.pread(fd, 10, 0) == wanted, f"{n}: {os.pread(fd, 10, 0)}")
        os.close(fd)
    check(ep.poll(0) == [], "nothing is left")
    print("epoll over 40 files")


def reconnect(e):
    """A change that comes while the mount is between two members wakes it, too."""
    write(e.path(1, "r"), b"1")
    e.barriers()
    fd = os.open(e.path(3, "r"), os.O_RDONLY)
    check(ask(fd) == READY, "opened")
    leader = e.leader()
    e.kill("zabd", 3)
    write(e.path(1 if leader != 1 else 2, "r"), b"2")
    wait_change(fd, "changed meanwhile")
    check(os.pread(fd, 10, 0) == b"2", "the new value")
    check(ask(fd) == READY, "read")
    os.close(fd)
    e.start_member(3)
    e.wait_members()
    print("a change while the member dies")


def test(e):
    changes(e)
    own_writes(e)
    many(e)
    reconnect(e)


run(test)
