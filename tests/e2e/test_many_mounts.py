"""24 mounts on one machine: what each writes all see, and a watcher on each is told of it. Two mounts
of different ensembles on one machine do not see each other. A mount taken away under load (umount -l,
fusermount3 -u -z, SIGTERM) leaves nothing behind: no process, no entry in the mount table, no session.
"""
import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from inotify import Inotify  # noqa: E402
from mounts import Mount, is_mounted  # noqa: E402
from zabfs import Ensemble, LIBC, PR_SET_PDEATHSIG, check, is_running, read, run, wait_until, write  # noqa: E402

MOUNTS = 24
HELPERS = 1  # of each: 24 mounts with four each would be many processes


def all_see_all(e, mounts):
    os.mkdir(e.path(1, "all"))
    for m in mounts:
        m.barrier()
    looks = []
    for m in mounts:
        looks.append(Inotify())
        looks[-1].add(m.at("all"), "all", ["CLOSE_WRITE"])
    for i, m in enumerate(mounts):
        write(m.at("all", f"of-{i}"), b"value %d" % i)
    for m in mounts:
        m.barrier()
        for i in range(MOUNTS):
            check(read(m.at("all", f"of-{i}")) == b"value %d" % i, f"{m.path} shows of-{i}")
    wanted = {f"of-{i}" for i in range(MOUNTS)}
    for n, look in enumerate(looks):
        seen = []
        while len(seen) < MOUNTS:
            look.read_until(lambda event: seen.append(event.name) or len(seen) >= MOUNTS, 60)
        check(sorted(seen) == sorted(wanted), f"the watcher on mount {n} was told of {sorted(seen)}")
        look.close()


def two_ensembles(e, mount):
    """Each has a tree of its own, and its files are told apart."""
    other = Ensemble(1)
    try:
        other.up()
        write(other.path(1, "only-there"), b"1")
        write(mount.at("only-here"), b"2")
        os.fsync(os.open(mount.at("only-here"), os.O_RDONLY))
        check(sorted(os.listdir(other.mount(1))) == ["only-there"], "the other ensemble is alone")
        check("only-there" not in os.listdir(mount.path), "and this one does not show its files")
        check(os.stat(other.mount(1)).st_dev != os.stat(mount.path).st_dev, "two devices")
        other.down()
        other.check_logs()
    finally:
        other.close()


def sessions(e):
    return int(e.member_status(e.leader())["sessions"])


def loader(directory):
    """Writes, reads and lists until the mount is gone."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(0)
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            n = 0
            while True:
                n += 1
                path = os.path.join(directory, f"{os.getpid()}-{n % 7}")
                try:
                    write(path, b"%d" % n)
                    read(path)
                    os.listdir(directory)
                    os.unlink(path)
                except OSError:
                    if not os.path.ismount(os.path.dirname(directory)):
                        break
        finally:
            os._exit(0)
    return pid


def family(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [pid] + [int(child) for child in f.read().split()]


TAKE_AWAY = {
    "umount -l": lambda m: subprocess.run(["umount", "-l", m.path], check=True, timeout=30),
    "fusermount3 -u -z": lambda m: subprocess.run(["fusermount3", "-u", "-z", m.path], check=True, timeout=30),
    "SIGTERM": lambda m: m.process.send_signal(signal.SIGTERM),
}


def under_load(e, how):
    before = sessions(e)
    m = Mount(e, "loaded-" + str(random.randrange(1 << 30)))
    os.mkdir(m.at("load")) if not os.path.exists(m.at("load")) else None
    loaders = [loader(m.at("load")) for _ in range(4)]
    wait_until(lambda: len(os.listdir(e.path(1, "load"))) > 0, 20, "the load")
    processes = family(m.process.pid)
    TAKE_AWAY[how](m)
    check(m.process.wait(30) in (0, 1), f"{how}: zabfs ends")
    wait_until(lambda: not is_mounted(m.path), 10, f"{how}: the mount to be gone")
    for pid in loaders:
        wait_until(lambda p=pid: not is_running(p), 30, f"{how}: a caller to end")
        os.waitpid(pid, 0)
    for pid in processes:
        wait_until(lambda p=pid: not is_running(p), 10, f"{how}: process {pid} of zabfs to end")
    wait_until(lambda: sessions(e) == before, 20, f"{how}: its session to end")
    check(os.listdir(m.path) == [], f"{how}: the mount point is an empty directory again")
    again = Mount(e, os.path.basename(m.path))
    write(again.at("again"), b"as before")
    check(again.stop() == 0, f"{how}: the next mount there ends well")


def test(e):
    mounts = [Mount(e, f"x{i}", member=i % e.members + 1, options=f"helpers={HELPERS}")
              for i in range(MOUNTS)]
    all_see_all(e, mounts)
    two_ensembles(e, mounts[0])
    for m in mounts:
        m.process.terminate()
    for m in mounts:
        check(m.process.wait(30) == 0, f"{m.path} ends well")
    for how in TAKE_AWAY:
        under_load(e, how)
    print(f"{MOUNTS} mounts saw all of each other; {', '.join(TAKE_AWAY)} leave nothing behind")


run(test, seconds=200)
