"""flock(2) and fcntl(2) locks across mounts: who gets what, in which order, at which cost, and that
nothing stays behind whoever is interrupted, closes or dies.

The ensemble itself is asked who holds and waits (`zabctl locks`), so that a queue is known to be there
before something is done with it; no step is timed but one: a wait that outlasts the operation deadline.
"""
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from locking import (EXCLUSIVE, SHARED, Holder, committed, flock, getlk, lockf, locks, wait_free,  # noqa: E402
                     wait_queue)
from zabfs import check, errno_name, read, run, wait_until, write  # noqa: E402

WAITERS = 32


def is_errno(got, want, what):
    check(got == want, f"{what}: {errno_name(got) if isinstance(got, int) else got}, not {errno_name(want)}")


def exclusion(e):
    a, b = os.open(e.path(1, "f"), os.O_RDWR), os.open(e.path(2, "f"), os.O_RDWR)
    is_errno(flock(a, EXCLUSIVE), 0, "the first")
    is_errno(flock(b, EXCLUSIVE, wait=False), errno.EAGAIN, "exclusive against exclusive")
    is_errno(flock(b, SHARED, wait=False), errno.EAGAIN, "shared against exclusive")
    is_errno(lockf(b, EXCLUSIVE, wait=False), 0, "fcntl does not see flock")
    lockf(b, None)
    fcntl.flock(a, fcntl.LOCK_SH)
    is_errno(flock(b, SHARED, wait=False), 0, "two that share")
    is_errno(flock(a, EXCLUSIVE, wait=False), errno.EAGAIN, "exclusive against another's share")
    fcntl.flock(b, fcntl.LOCK_UN)
    is_errno(flock(a, EXCLUSIVE, wait=False), 0, "exclusive instead of the own share")
    twin = os.dup(a)
    os.close(a)
    is_errno(flock(b, EXCLUSIVE, wait=False), errno.EAGAIN, "a descriptor of the open file is left")
    os.close(twin)
    wait_free(e)
    is_errno(flock(b, EXCLUSIVE, wait=False), 0, "after the last close")
    other = os.open(e.path(2, "f"), os.O_RDONLY)
    is_errno(flock(other, SHARED, wait=False), errno.EAGAIN, "two open files of one mount")
    os.close(other)
    os.close(b)
    wait_free(e)
    print("exclusion: kinds, types, conversion, descriptors")


def by_shell(e):
    m1, m2 = e.path(1, "f"), e.path(2, "f")
    r = subprocess.run(["flock", m1, "-c", f"flock -n {m2} true; echo $?"], capture_output=True, text=True, timeout=60)
    check(r.stdout == "1\n", f"flock(1) inside flock(1): {r}")
    r = subprocess.run(["flock", "-n", m2, "echo", "had"], capture_output=True, text=True, timeout=60)
    check(r.stdout == "had\n", f"flock(1) behind it: {r}")
    # A directory cannot be locked for the ensemble: the kernel keeps that to itself.
    os.mkdir(e.path(1, "dir"))
    e.barriers()
    a, b = os.open(e.path(1, "dir"), os.O_RDONLY), os.open(e.path(2, "dir"), os.O_RDONLY)
    is_errno(flock(a, EXCLUSIVE), 0, "a directory")
    is_errno(flock(b, EXCLUSIVE, wait=False), 0, "the same on another mount: local")
    os.close(a)
    os.close(b)
    print("flock(1); directories are local")


def fairness(e):
    """Waiters get it in the order in which they queued up, and each hand-over is one log entry: the
    release, whoever waits. A herd would show as entries of those that ask again."""
    order = os.path.join(e.top, "order")
    first = Holder(e.path(1, "f"), lambda fd: flock(fd, EXCLUSIVE))
    is_errno(first.wait(), 0, "the first holder")

    def turn(number):
        def lock(fd):
            result = flock(fd, EXCLUSIVE)
            with open(order, "ab", buffering=0) as f:
                f.write(b"%d\n" % number)
            fcntl.flock(fd, fcntl.LOCK_UN)
            return result
        return lock

    waiters = []
    for number in range(WAITERS):
        waiters.append(Holder(e.path(1 + number % 3, "f"), turn(number)))
        wait_queue(e, number + 1)
    before = committed(e)
    first.release()
    for w in waiters:
        is_errno(w.wait(60), 0, "a waiter")
    after = committed(e)
    for w in waiters:
        w.release()
    got = [int(line) for line in read(order).split()]
    check(got == list(range(WAITERS)), f"the order: {got}")
    check(after - before <= WAITERS + 3, f"{after - before} log entries for {WAITERS + 1} releases")
    wait_free(e)
    print(f"fairness: {WAITERS} waiters on 3 mounts in order, {after - before} log entries")


def readers_and_writers(e):
    readers = [Holder(e.path(n, "f"), lambda fd: flock(fd, SHARED)) for n in (1, 2, 3)]
    for r in readers:
        is_errno(r.wait(), 0, "readers share")
    writer = Holder(e.path(1, "f"), lambda fd: flock(fd, EXCLUSIVE))
    wait_queue(e, 1)
    late = [Holder(e.path(n, "f"), lambda fd: flock(fd, SHARED)) for n in (2, 3)]
    wait_queue(e, 3)
    for r in readers[:2]:
        r.release()
    check(writer.poll() is None and all(r.poll() is None for r in late), "one reader is left")
    readers[2].release()
    is_errno(writer.wait(), 0, "the writer, when the last reader has gone")
    check(all(r.poll() is None for r in late), "readers that came behind the writer wait for it")
    check(len(locks(e, "waits")) == 2, "both of them")
    writer.release()
    for r in late:
        is_errno(r.wait(), 0, "the late readers, together")
        r_holds = len(locks(e, "holds"))
    check(r_holds == 2, f"{r_holds} hold it")
    for r in late:
        r.release()
    wait_free(e)
    print("readers and writers")


def ranges(e):
    write(e.path(1, "r"), b"x" * 100)
    e.barriers()
    a, b = os.open(e.path(1, "r"), os.O_RDWR), os.open(e.path(2, "r"), os.O_RDWR)
    is_errno(lockf(a, EXCLUSIVE, start=0, size=10), 0, "0-9")
    is_errno(lockf(b, EXCLUSIVE, start=10, size=10, wait=False), 0, "10-19")
    is_errno(lockf(b, EXCLUSIVE, start=9, size=1, wait=False), errno.EAGAIN, "9")
    e.barriers()  # F_GETLK shows what the mount's member knows
    check(getlk(b, SHARED) == (EXCLUSIVE, 0, 10, 0), f"seen from the other mount: {getlk(b, SHARED)}")
    # The same process: its own locks are never in its way. Another one of this mount sees the pid.
    check(getlk(a, EXCLUSIVE, 10, 5) == (EXCLUSIVE, 10, 10, 0), f"{getlk(a, EXCLUSIVE, 10, 5)}")
    holder = Holder(e.path(1, "r"), lambda fd: lockf(fd, SHARED, start=50, size=0))
    is_errno(holder.wait(), 0, "50 to the end, shared")
    e.barriers()
    check(getlk(a, EXCLUSIVE, 60, 1) == (SHARED, 50, 0, holder.pid), f"{getlk(a, EXCLUSIVE, 60, 1)}")
    check(getlk(a, SHARED, 60, 1) is None, "two that share")
    is_errno(lockf(a, None, start=4, size=2), 0, "4-5 given back")
    is_errno(lockf(b, EXCLUSIVE, start=4, size=2, wait=False), 0, "and had")
    is_errno(lockf(b, EXCLUSIVE, start=6, size=1, wait=False), errno.EAGAIN, "6 is still the other's")
    # Any close of the file by the process gives back all that it has there.
    again = os.open(e.path(1, "r"), os.O_RDWR)
    os.close(again)
    is_errno(lockf(b, EXCLUSIVE, start=0, size=50, wait=False), 0, "after a close by the first")
    os.close(b)
    holder.release()
    wait_free(e)
    # What was locked through a descriptor that can only read ends with that open file instead.
    reader = os.open(e.path(1, "r"), os.O_RDONLY)
    is_errno(lockf(reader, SHARED, wait=False), 0, "shared, through a reader")
    check(len(locks(e, "holds")) == 1, "the ensemble knows")
    os.close(reader)
    wait_free(e)
    os.close(a)
    print("ranges, F_GETLK, close")


def exclusive(fd):
    return flock(fd, EXCLUSIVE)


def interrupted(e):
    """A waiter that is interrupted leaves the queue, and what it held before is what it holds."""
    holder = Holder(e.path(1, "f"), lambda fd: flock(fd, EXCLUSIVE))
    is_errno(holder.wait(), 0, "the holder")
    waiters = {number: Holder(e.path(2, "f"), lambda fd: flock(fd, EXCLUSIVE))
               for number in (signal.SIGINT, signal.SIGKILL, signal.SIGUSR1)}
    wait_queue(e, 3)
    for number, w in waiters.items():
        w.signal(number)
    wait_queue(e, 0)
    is_errno(waiters[signal.SIGUSR1].wait(), errno.EINTR, "a handled signal")
    for number, w in waiters.items():
        if number != signal.SIGUSR1:
            check(w.wait() == "gone", f"{number}: the waiter lives")
        w.release()
    check(len(locks(e, "holds")) == 1, "the holder holds on")
    # The same while grants race with it: nothing may be left, however it ends.
    for round_number in range(20):
        w = Holder(e.path(2, "f"), lambda fd: flock(fd, EXCLUSIVE))
        wait_queue(e, 1)
        other = Holder(e.path(3, "f"), lambda fd: flock(fd, EXCLUSIVE))
        wait_queue(e, 2)
        if round_number % 2:
            w.signal(signal.SIGKILL)
            holder.release()
        else:
            holder.release()
            w.signal(signal.SIGKILL)
        is_errno(other.wait(), 0, f"round {round_number}: the next one")
        w.release()
        holder = other
    holder.release()
    wait_free(e)

    # A caller that comes again at once, as after every signal whose handler it goes on from: what is taken
    # back is the question that was interrupted, not the next one.
    def again(fd):
        signal.signal(signal.SIGUSR2, lambda *_: None)
        fcntl.flock(fd, fcntl.LOCK_EX)  # repeats it after EINTR
        return 0

    for round_number in range(10):
        holder = Holder(e.path(1, "f"), exclusive)
        is_errno(holder.wait(), 0, "the holder")
        w = Holder(e.path(2, "f"), again)
        wait_queue(e, 1)
        for _ in range(round_number):
            w.signal(signal.SIGUSR2)
            time.sleep(0.003)
        holder.release()
        is_errno(w.wait(), 0, f"round {round_number}: the waiter")
        e.barriers()
        held = locks(e, "holds")
        check(len(held) == 1 and held[0]["pid"] == w.pid, f"round {round_number}: {held}")
        w.release()
        wait_free(e)

    # The same while the first question is on its way, because the member is slow.
    for _ in range(3):
        e.signal("zabd", 2, signal.SIGSTOP)
        try:
            w = Holder(e.path(2, "f"), again)
            time.sleep(0.2)
            w.signal(signal.SIGUSR2)
            time.sleep(0.2)
        finally:
            e.signal("zabd", 2, signal.SIGCONT)
        is_errno(w.wait(), 0, "the waiter")
        e.barriers()
        held = locks(e, "holds")
        check(len(held) == 1 and held[0]["pid"] == w.pid, f"asked for again: {held}")
        w.release()
        wait_free(e)

    # fcntl: a share, an upgrade that has to wait, and is interrupted: the share is still there.
    other = Holder(e.path(1, "r"), lambda fd: lockf(fd, SHARED, start=0, size=50))
    is_errno(other.wait(), 0, "another one's share")

    def upgrade(fd):
        check(lockf(fd, SHARED, start=10, size=10) == 0, "the own share")
        return lockf(fd, EXCLUSIVE, start=0, size=30)

    w = Holder(e.path(2, "r"), upgrade)
    wait_queue(e, 1)
    w.signal(signal.SIGUSR1)
    is_errno(w.wait(), errno.EINTR, "the upgrade")
    wait_queue(e, 0)
    other.release()
    wait_until(lambda: len(locks(e, "holds")) == 1, 20, "the other's share to go")
    left = locks(e, "holds")[0]
    check((left["type"], left["start"], left["end"]) == (SHARED, 10, 19), f"what it held before: {left}")
    w.release()
    wait_free(e)
    print("interrupted by SIGINT, SIGKILL and a handled signal, also while granted")


def threads(e):
    """Two threads of a process wait for different ranges, which the ensemble takes as one owner's
    questions: both get theirs."""
    holders = {start: Holder(e.path(1, "r"), lambda fd, s=start: lockf(fd, EXCLUSIVE, start=s, size=5))
               for start in (0, 20)}
    for h in holders.values():
        is_errno(h.wait(), 0, "a holder")
    fd = os.open(e.path(2, "r"), os.O_RDWR)
    got = []

    def wait_for(start):
        is_errno(lockf(fd, EXCLUSIVE, start=start, size=5), 0, "a thread")
        got.append(start)

    workers = [threading.Thread(target=wait_for, args=(start,), daemon=True) for start in (0, 20)]
    for w in workers:
        w.start()
    wait_queue(e, 1)
    is_errno(lockf(fd, EXCLUSIVE, start=40, size=5), 0, "a third one is not in their way")
    holders[20].release()
    wait_until(lambda: got == [20], 20, "the second thread")
    holders[0].release()
    for w in workers:
        w.join(20)
    check(got == [20, 0], f"both threads: {got}")
    check(len(locks(e, "holds")) == 3, "three ranges")
    os.close(fd)
    wait_free(e)
    print("threads that wait at a time")


def killed_holder(e):
    for number in (signal.SIGKILL, signal.SIGTERM):
        holder = Holder(e.path(1, "f"), lambda fd: flock(fd, EXCLUSIVE))
        is_errno(holder.wait(), 0, "the holder")
        waiter = Holder(e.path(2, "f"), lambda fd: flock(fd, EXCLUSIVE))
        wait_queue(e, 1)
        holder.release(number)
        is_errno(waiter.wait(), 0, "the waiter")
        waiter.release()
    holder = Holder(e.path(1, "r"), lambda fd: lockf(fd, EXCLUSIVE))
    is_errno(holder.wait(), 0, "the holder, fcntl")
    waiter = Holder(e.path(2, "r"), lambda fd: lockf(fd, EXCLUSIVE, start=3, size=3))
    wait_queue(e, 1)
    holder.release(signal.SIGKILL)
    is_errno(waiter.wait(), 0, "the waiter, fcntl")
    waiter.release()
    wait_free(e)
    print("a holder that is killed")


def removed(e):
    """The file goes: its locks go with it, and whoever waits is told."""
    write(e.path(1, "gone"), b"")
    e.barriers()
    holder = Holder(e.path(1, "gone"), lambda fd: flock(fd, EXCLUSIVE))
    is_errno(holder.wait(), 0, "the holder")
    waiter = Holder(e.path(2, "gone"), lambda fd: flock(fd, EXCLUSIVE))
    wait_queue(e, 1)
    os.unlink(e.path(3, "gone"))
    is_errno(waiter.wait(), errno.ENOENT, "the waiter")
    holder.release()
    waiter.release()
    wait_free(e)
    print("a file that is removed")


def outlasts_deadline(e):
    """Waiting has no deadline: this one is longer than that of every other operation (10 s)."""
    holder = Holder(e.path(1, "f"), lambda fd: flock(fd, EXCLUSIVE))
    is_errno(holder.wait(), 0, "the holder")
    waiter = Holder(e.path(2, "f"), lambda fd: flock(fd, EXCLUSIVE))
    wait_queue(e, 1)
    time.sleep(12)
    check(waiter.poll() is None, f"the waiter was answered: {waiter.poll()}")
    holder.release()
    is_errno(waiter.wait(), 0, "the waiter")
    waiter.release()
    wait_free(e)
    print("a wait that outlasts the deadline")


def test(e):
    write(e.path(1, "f"), b"")
    e.barriers()
    exclusion(e)
    by_shell(e)
    fairness(e)
    readers_and_writers(e)
    ranges(e)
    interrupted(e)
    threads(e)
    killed_holder(e)
    removed(e)
    outlasts_deadline(e)


run(test, seconds=230)
