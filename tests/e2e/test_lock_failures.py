"""Locks while processes of the ensemble die: the holder's mount, the member of a waiter, the leader, a
quorum. Whoever waits goes on waiting until the lock is his; whoever held it on a session that is lost
does not hold it any more, and is told so.
"""
import errno
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from locking import EXCLUSIVE, SHARED, Holder, flock, lockf, locks, wait_free, wait_queue  # noqa: E402
from zabfs import check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402


def is_errno(got, want, what):
    check(got == want, f"{what}: {errno_name(got) if isinstance(got, int) else got}, not {errno_name(want)}")


def exclusive(fd):
    return flock(fd, EXCLUSIVE)


def mount_of_holder_killed(e):
    """Its session expires, and the next in the queue has the lock."""
    holder = Holder(e.path(2, "f"), exclusive)
    is_errno(holder.wait(), 0, "the holder")
    waiter = Holder(e.path(1, "f"), exclusive)
    wait_queue(e, 1)
    e.kill("zabfs", 2)
    is_errno(waiter.wait(40), 0, "the waiter, when the session has expired")
    holder.release()
    waiter.release()
    wait_free(e)
    e.up()
    e.barriers()
    print("the holder's mount killed: freed with its session")


def member_of_waiter_killed(e):
    """The waiter's session moves to another member, its question with it, also when the lock became
    free meanwhile."""
    holder = Holder(e.path(1, "f"), exclusive)
    is_errno(holder.wait(), 0, "the holder")
    waiters = [Holder(e.path(3, "f"), exclusive), Holder(e.path(2, "f"), exclusive)]
    wait_queue(e, 2)
    e.kill("zabd", 3)
    holder.release()
    while waiters:
        wait_until(lambda: any(w.poll() is not None for w in waiters), 40, "one of them to have it")
        done = next(w for w in waiters if w.poll() is not None)
        is_errno(done.poll(), 0, "a waiter")
        done.release()
        waiters.remove(done)
    wait_free(e)
    e.start_member(3)
    e.wait_members()
    e.wait_caught_up()
    print("the waiter's member killed: it goes on waiting elsewhere")


def leader_killed(e):
    leader = e.leader()
    others = [n for n in (1, 2, 3) if n != leader]
    holder = Holder(e.path(others[0], "f"), exclusive)
    is_errno(holder.wait(), 0, "the holder")
    waiter = Holder(e.path(others[1], "f"), exclusive)
    wait_queue(e, 1, n=others[0])
    e.kill("zabd", leader)
    holder.release()
    is_errno(waiter.wait(40), 0, "the waiter, from the next leader")
    waiter.release()
    wait_free(e, n=others[0])
    e.start_member(leader)
    e.wait_members()
    e.wait_caught_up()
    print("the leader killed")


def quorum_lost(e):
    """Nothing can be locked or given back meanwhile. A wait goes on, and can be interrupted; what was to
    be given back is, when there is a quorum again."""
    holder = Holder(e.path(1, "f"), exclusive)
    is_errno(holder.wait(), 0, "the holder")
    for n in (2, 3):
        e.signal("zabd", n, signal.SIGSTOP)
    try:
        wait_until(lambda: e.member_status(1)["quorum"] == "no", 30, "member 1 to miss the others")
        fd = os.open(e.path(1, "f"), os.O_RDWR)
        got = flock(fd, EXCLUSIVE, wait=False)
        check(got in (errno.EROFS, errno.ETIMEDOUT), f"no wait, no quorum: {errno_name(got)}")
        os.close(fd)
        waiter = Holder(e.path(1, "f"), exclusive)
        killed = Holder(e.path(1, "f"), exclusive)
        killed.signal(signal.SIGKILL)
        check(killed.wait() == "gone", "a waiter that is killed")
        killed.release()
        holder.release(signal.SIGKILL)
        check(waiter.poll() is None, f"granted by nobody: {waiter.poll()}")
    finally:
        for n in (2, 3):
            e.signal("zabd", n, signal.SIGCONT)
    # The session may have expired meanwhile: then a waiter is told that its open file is void.
    got = waiter.wait(60)
    check(got in (0, errno.ESTALE), f"the waiter: {errno_name(got)}")
    waiter.release()
    wait_free(e, seconds=40)
    print(f"no quorum for a while: the waiter got {errno_name(got)}")


def session_lost(e):
    """m2 is stopped for longer than its session: the lock is another's then, and everything on the
    descriptor that had it is ESTALE, the wait of its neighbour too."""
    write(e.path(1, "g"), b"")
    e.barriers()
    def old_descriptor(fd):
        return [errno_of(os.read, fd, 1), flock(fd, SHARED, wait=False), lockf(fd, EXCLUSIVE, wait=False)]

    holder = Holder(e.path(2, "f"), exclusive, later=old_descriptor)
    is_errno(holder.wait(), 0, "the holder")
    other = Holder(e.path(1, "g"), exclusive)
    is_errno(other.wait(), 0, "the holder of another file")
    waiter = Holder(e.path(2, "g"), exclusive)
    wait_queue(e, 1)
    e.signal("zabfs", 2, signal.SIGSTOP)
    try:
        heir = Holder(e.path(3, "f"), exclusive)
        is_errno(heir.wait(40), 0, "the next one, when the session has expired")
    finally:
        e.signal("zabfs", 2, signal.SIGCONT)
    is_errno(waiter.wait(40), errno.ESTALE, "the wait of the lost session")
    check(b"\nlost=1\n" in read(e.path(2, ".zabfs", "session")), "a new session")
    got = holder.ask()
    check(got == [errno.ESTALE] * 3, f"read, flock, fcntl with the old descriptor: {got}")
    holder.release()
    held = locks(e, "holds")
    check(len(held) == 2, f"closing it gives back nothing of the others: {held}")
    new = os.open(e.path(2, "f"), os.O_RDWR)
    is_errno(flock(new, EXCLUSIVE, wait=False), errno.EAGAIN, "a new descriptor, while the heir holds it")
    heir.release()
    is_errno(flock(new, EXCLUSIVE), 0, "and behind it")
    os.close(new)
    for h in (other, waiter):
        h.release()
    wait_free(e)
    print("a lost session: its locks are free, its descriptors void")


def test(e):
    write(e.path(1, "f"), b"")
    e.barriers()
    member_of_waiter_killed(e)
    leader_killed(e)
    session_lost(e)
    mount_of_holder_killed(e)
    quorum_lost(e)


run(test, seconds=280)
