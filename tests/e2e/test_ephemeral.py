"""Ephemeral files: one that ends with its open file ends at its last close, at kill -9 of whoever holds
it, at kill -9 of its mount and when the session expires, and at no other time; each time watchers on
other mounts are told. One that was made with mknod ends with its mount.
"""
import errno
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, is_running, read, run, wait_until, write  # noqa: E402

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


def expect(number, call, *args):
    got = errno_of(call, *args)
    check(got == number, f"{call.__name__}{args!r:.150}: {errno_name(got)}, not {errno_name(number)}")


def is_there(e, n, *names):
    e.barrier(n)
    return os.path.exists(e.path(n, *names))


def watch(e, n, *names):
    look = Inotify()
    look.add(e.path(n, *names), "")
    return look


def gone(e, look, name, *others):
    """Waits for the watcher to be told; then no mount may show it."""
    look.read_until(lambda v: (v.what, v.name) == ("DELETE", name), 40)
    for n in others or (1, 2, 3):
        check(not is_there(e, n, "e", name), f"m{n} shows {name}, of which a watcher was told that it is gone")


def last_close(e):
    """Of a duplicate, too, and not before; its value goes with it."""
    look = watch(e, 3, "e")
    own = watch(e, 1, "e")
    fd = os.open(e.path(1, "e", "web@"), NEW, 0o644)
    check(os.getxattr(fd, "user.zabfs.name") == b"web", "the real name")
    check(os.getxattr(e.path(1, "e", "web"), "user.zabfs.ephemeral") == b"open", "its life")
    session = int(os.getxattr(fd, "user.zabfs.owner"))
    check(f"\nsession={session}\n".encode() in read(e.path(1, ".zabfs", "status")), "its owner")
    expect(errno.EEXIST, os.open, e.path(1, "e", "web"), NEW)
    os.write(fd, b"here")
    os.fsync(fd)
    e.barriers()
    check(read(e.path(2, "e", "web")) == b"here", "its value")
    other = os.dup(fd)
    os.write(fd, b", and late")
    os.close(fd)
    for n in (1, 2, 3):
        check(is_there(e, n, "e", "web"), f"m{n}: gone while a descriptor is open")
    check(read(e.path(1, "e", "web")) == b"here, and late", "what a close commits")
    started = [f"{v.what} {v.name}" for v in look.read()]
    check(started[0] == "CREATE web", f"{started}")
    os.close(other)
    gone(e, look, "web")
    own.read_until(lambda v: (v.what, v.name) == ("DELETE", "web"), 20)
    # Reading it does not prolong its life, and who has it open sees what he opened.
    fd = os.open(e.path(1, "e", "web@"), NEW)
    os.write(fd, b"again")
    os.fsync(fd)
    e.barrier(2)
    reader = os.open(e.path(2, "e", "web"), os.O_RDONLY)
    os.close(fd)
    gone(e, look, "web")
    check(os.pread(reader, 100, 0) == b"again", "an open file lost its content")
    os.close(reader)
    look.close()
    own.close()


def at_once(e):
    """Closing does not wait for the file to be gone, but its mount goes on as if it were."""
    for i in range(100):
        fd = os.open(e.path(1, "e", "again@"), NEW)
        os.path.exists(e.path(1, "e", "again"))  # the kernel may keep its name
        os.close(fd)
        check(os.listdir(e.path(1, "e")) == [], f"round {i}: still listed")


def barrier_covers_close(e):
    """Behind the barrier of the mount that closed it, then its own, another mount does not show it."""
    for n in range(40):
        os.close(os.open(e.path(1, "e", f"brief{n}@"), NEW, 0o644))
        e.barrier(1)
        e.barrier(2)
        check(f"brief{n}" not in os.listdir(e.path(2, "e")), f"brief{n} is there behind the barriers")


def numbered(e):
    fds = [os.open(e.path(n, "e", "lock-#@"), NEW) for n in (1, 2, 3, 1)]
    names = [os.getxattr(fd, "user.zabfs.name").decode() for fd in fds]
    check(names == sorted(set(names)), f"{names}")
    for fd, name in zip(fds, names):
        check(is_there(e, 2, "e", name), name)
        os.close(fd)
    wait_until(lambda: not [name for name in os.listdir(e.path(3, "e")) if name in names], 20, "all gone")


def refused(e):
    expect(errno.EPERM, os.mkdir, e.path(1, "e", "d@"))
    expect(errno.EPERM, os.symlink, "x", e.path(1, "e", "link@"))
    expect(errno.ENOENT, os.stat, e.path(1, "e", "d@"))
    expect(errno.ENOENT, os.open, e.path(1, "e", "plain@"), os.O_RDONLY)
    check(os.listdir(e.path(1, "e")) == [], f"{os.listdir(e.path(1, 'e'))}")


def shell_lock(e):
    """The lock of a plain shell: held by at most one, free when its holder is killed."""
    script = f'set -C; exec 9> {e.path(1, "e", "job@")} && echo mine && exec sleep 1000'
    look = watch(e, 3, "e")
    holder = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE)
    check(holder.stdout.readline() == b"mine\n", "the lock was free")
    e.barriers()
    for n in (1, 2, 3):
        r = subprocess.run(["bash", "-c", f'set -C; exec 9> {e.path(n, "e", "job@")}'], capture_output=True)
        check(r.returncode != 0, f"m{n} has it, too")
    holder.kill()
    holder.wait()
    gone(e, look, "job")
    r = subprocess.run(["bash", "-c", f'set -C; exec 9> {e.path(2, "e", "job@")}'], capture_output=True)
    check(r.returncode == 0, f"it is not free: {r.stderr}")
    gone(e, look, "job")
    look.close()


def rule(e):
    """A directory's rule makes ordinary files ephemeral, for programs that know nothing of '@'."""
    d = e.path(1, "rule")
    os.mkdir(d)
    os.setxattr(d, "user.zabfs.ephemeral", b"open")
    fd = os.open(f"{d}/f", NEW)
    check(os.getxattr(fd, "user.zabfs.ephemeral") == b"open", "not ephemeral")
    e.barriers()
    check(os.path.exists(e.path(2, "rule", "f")), "it is not there")
    os.close(fd)
    wait_until(lambda: not os.path.exists(e.path(2, "rule", "f")), 20, "it to be gone")
    # Renamed before it is closed, it is what a program has published.
    fd = os.open(f"{d}/tmp", NEW)
    os.write(fd, b"published")
    os.rename(f"{d}/tmp", f"{d}/kept")
    os.close(fd)
    fd = os.open(f"{d}/tmp2", NEW)
    os.write(fd, b"published again")
    os.rename(f"{d}/tmp2", f"{d}/kept")
    os.close(fd)
    os.setxattr(d, "user.zabfs.ephemeral", b"session")
    write(f"{d}/stays", b"until the mount ends")
    os.removexattr(d, "user.zabfs.ephemeral")
    write(f"{d}/permanent", b"")
    e.barriers()
    check(sorted(os.listdir(e.path(3, "rule"))) == ["kept", "permanent", "stays"],
          f"{os.listdir(e.path(3, 'rule'))}")
    check(read(e.path(3, "rule", "kept")) == b"published again", "its content")


def hold(e, n, name):
    fd = os.open(e.path(n, "e", name), NEW)
    os.write(fd, name.encode())
    os.fsync(fd)
    return fd


def mount_killed(e):
    """Only what belongs to it goes, and only when its session has expired."""
    look = watch(e, 3, "e")
    mine = hold(e, 1, "mine@")
    other = hold(e, 2, "other@")
    os.mknod(e.path(2, "e", "node@"))
    e.kill("zabfs", 2)
    check(is_there(e, 1, "e", "other"), "gone at once: the session may still come back")
    gone(e, look, "other", 1, 3)
    wait_until(lambda: not is_there(e, 1, "e", "node"), 20, "the session's file to be gone")
    check(is_there(e, 1, "e", "mine"), "another mount's file went, too")
    check(errno_of(os.write, other, b"x") == errno.ENOTCONN, "the dead mount answers")
    e.up()
    check(not is_there(e, 2, "e", "other"), "it came back with its mount")
    os.close(mine)
    gone(e, look, "mine")
    look.close()


def mount_ended(e):
    """An orderly end closes the session: nobody has to wait for it to expire."""
    look = watch(e, 3, "e")
    os.mknod(e.path(2, "e", "node@"))
    e.barriers()
    os.close(os.open(e.path(2, "e", "node"), os.O_RDWR))  # not what made it
    check(is_there(e, 1, "e", "node"), "gone with a descriptor that has not made it")
    pid = e.pid("zabfs", 2)
    subprocess.run(["umount", e.mount(2)], check=True)
    gone(e, look, "node", 1, 3)
    wait_until(lambda: not is_running(pid), 20, "its end")
    e.up()
    look.close()


def session_expired(e):
    """A stopped mount comes back to a new session: what was open is void, and it goes on."""
    look = watch(e, 3, "e")
    own = watch(e, 1, "e")
    fd = hold(e, 1, "web@")
    write(e.path(1, "e", "plain"), b"stays")
    plain = os.open(e.path(1, "e", "plain"), os.O_RDWR)
    e.signal("zabfs", 1, signal.SIGSTOP)
    gone(e, look, "web", 2, 3)
    e.signal("zabfs", 1, signal.SIGCONT)
    wait_until(lambda: b"\nsessions_lost=1\n" in read(e.path(1, ".zabfs", "status")), 30, "a new session")
    own.read_until(lambda v: (v.what, v.name) == ("DELETE", "web"), 20)
    for call in ((os.read, fd, 10), (os.write, fd, b"x"), (os.fsync, fd),
                 (os.pread, plain, 10, 0), (os.write, plain, b"x")):
        expect(errno.ESTALE, *call)
    for n in (1, 2, 3):
        check(not is_there(e, n, "e", "web"), f"m{n} shows it")
    again = hold(e, 1, "web@")
    for void in (fd, plain):  # this has nothing to do with the new one
        expect(errno.ESTALE, os.close, void)
    e.barriers()
    time.sleep(0.5)
    check(is_there(e, 2, "e", "web"), "the void descriptor's close removed another's file")
    os.close(again)
    gone(e, look, "web")
    os.unlink(e.path(1, "e", "plain"))
    look.close()
    own.close()


def quorum_lost(e):
    """A close while there is no quorum succeeds, and the file goes when there is one."""
    fds = [hold(e, 1, f"q{i}@") for i in range(5)]
    os.close(fds[0])
    wait_until(lambda: not is_there(e, 3, "e", "q0"), 20, "the first to be gone")
    others = [n for n in (1, 2, 3) if n != e.status()[0]["member"]]
    e.kill("zabd", *others)
    for fd in fds[1:]:
        os.close(fd)
    for n in others:
        e.start_member(n)
    e.wait_members()
    wait_until(lambda: os.listdir(e.path(3, "e")) == [], 40, "all gone")


def ensemble_restarted(e):
    """What is held survives the end of all members, and ends with its holder, as ever."""
    fd = hold(e, 1, "web@")
    look = watch(e, 3, "e")
    e.kill("zabd", 1, 2, 3)
    for n in (1, 2, 3):
        e.start_member(n)
    e.wait_members()
    wait_until(lambda: errno_of(e.barrier, 2) == 0, 30, "a mount that goes on")
    check(is_there(e, 2, "e", "web"), "its session lived, and it is gone")
    os.write(fd, b" and more")
    os.fsync(fd)
    os.close(fd)
    gone(e, look, "web")
    look.close()


def interrupted(e):
    """A creation that was given up leaves nothing: all members stand still meanwhile."""
    for n in (1, 2, 3):
        e.signal("zabd", n, signal.SIGSTOP)
    makers = [subprocess.Popen([sys.executable, "-c", "import os, sys; os.open(sys.argv[1], os.O_RDWR"
                                " | os.O_CREAT)", e.path(1, d, "never@")], stderr=subprocess.DEVNULL)
              for d in ("e", "rule")]
    time.sleep(0.3)
    for maker in makers:
        maker.send_signal(signal.SIGINT)
    for maker in makers:
        check(maker.wait(10) != 0, "it was made although nobody could")
    for n in (1, 2, 3):
        e.signal("zabd", n, signal.SIGCONT)
    e.wait_members()
    wait_until(lambda: errno_of(e.barrier, 1) == 0, 30, "a mount that goes on")
    for n in (1, 2, 3):
        wait_until(lambda: not [d for d in ("e", "rule") if is_there(e, n, d, "never")], 20, "it to be gone")


def many(e):
    """200 at once, all gone with the one process that holds them."""
    def work():
        for i in range(200):
            os.open(e.path(1, "e", f"m{i}@"), NEW)
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        Worker(work).result(60)
    except Exception:
        pass
    wait_until(lambda: os.listdir(e.path(2, "e")) == [], 30, "all gone")


def test(e):
    os.mkdir(e.path(1, "e"))
    e.barriers()
    refused(e)
    last_close(e)
    at_once(e)
    barrier_covers_close(e)
    numbered(e)
    shell_lock(e)
    many(e)
    rule(e)
    interrupted(e)
    mount_ended(e)
    quorum_lost(e)
    ensemble_restarted(e)
    mount_killed(e)
    session_expired(e)


run(test, seconds=220)
