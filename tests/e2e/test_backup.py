"""`zabctl backup` under load: everything acknowledged before it began is in the file. A new ensemble of
three begins with the file (`zabd --restore`, one member; the others start empty) and shows every file
as it was. What must be refused is refused, in one line.
"""
import json
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import BIN, ZABCTL, Ensemble, check, read, run, wait_until, write  # noqa: E402

FILES = 200
ZABD = os.path.join(BIN, "zabd")


def data(e, n):
    return os.path.join(e.dir, "data", str(n))


def conf(e, n):
    return os.path.join(e.dir, "conf", f"zabd-{n}.ini")


def backup(e, path, *options, servers=None, seconds=60):
    servers = servers or "+".join(e.server(n) for n in (1, 2, 3))
    return subprocess.run([ZABCTL, "--servers", servers, "backup", *options, path], capture_output=True,
                          text=True, timeout=seconds)


def fails(r, code, *mentions):
    check(r.returncode == code and r.stderr.count("\n") == 1, f"exit {r.returncode}: {r.stderr}")
    for mention in mentions:
        check(mention in r.stderr, f"does not name '{mention}': {r.stderr}")


class Load:
    """Writes counters until it is stopped; what was acknowledged so far is in `done`."""

    def __init__(self, e):
        self.e, self.done, self.stop = e, {}, False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        number = 0
        while not self.stop:
            name = f"load{number % 20}"
            write(self.e.path(1 + number % 3, name), b"%09d" % number)
            self.done[name] = number
            number += 1

    def end(self):
        self.stop = True
        self.thread.join()


def take(e, path):
    """A backup in the middle of writes; returns what was acknowledged before it began."""
    load = Load(e)
    wait_until(lambda: len(load.done) == 20, 30, "load")
    time.sleep(0.3)
    before = dict(load.done)
    r = backup(e, path, "--json")
    load.end()
    check(r.returncode == 0, r.stderr)
    check(json.loads(r.stdout)["size"] > 2 << 20, r.stdout)
    check(not os.path.exists(path + ".tmp"), "a temporary file is left")
    return before


def fill(e):
    os.mkdir(e.path(1, "dir"))
    for i in range(FILES):
        write(e.path(1 + i % 3, "dir", f"f{i}"), b"%d\n" % i * (i * 7))
    write(e.path(1, "large"), os.urandom(1 << 20))
    write(e.path(1, "larger"), os.urandom(1 << 20))
    write(e.path(2, "job-#"), b"")
    os.symlink("dir/f1", e.path(2, "link"))
    os.chmod(e.path(1, "dir", "f7"), 0o600)


def everything(e, n):
    """Kind, mode and content of all files that the load does not write."""
    found = {}
    for top, dirs, names in os.walk(e.mount(n)):
        for name in dirs + names:
            path = os.path.join(top, name)
            st = os.lstat(path)
            if not name.startswith("load"):
                found[os.path.relpath(path, e.mount(n))] = (
                    st.st_mode, st.st_ino, os.readlink(path) if os.path.islink(path) else
                    read(path) if os.path.isfile(path) else b"")
    return found


def empty(e, *members):
    for n in members:
        shutil.rmtree(data(e, n))
        os.mkdir(data(e, n))


def restore(e, n, path, seconds=30):
    """Starts member n with --restore; it goes on as a member."""
    with open(os.path.join(e.dir, "log", f"zabd-{n}.log"), "ab") as log:
        p = subprocess.Popen([ZABD, "--config", conf(e, n), "--restore", path], stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log, start_new_session=True)
    with open(os.path.join(e.dir, "run", f"zabd-{n}.pid"), "w") as f:
        f.write(f"{p.pid}\n")
    wait_until(lambda: e.member_status(n) is not None or p.poll() is not None, seconds, f"member {n}")
    check(p.poll() is None, f"zabd --restore ended with {p.poll()}")


def refused(e, n, path, *mentions):
    before = sorted(os.listdir(data(e, n)))
    fails(subprocess.run([ZABD, "--config", conf(e, n), "--restore", path], capture_output=True, text=True,
                         timeout=30), 2, *mentions)
    check(sorted(os.listdir(data(e, n))) == before, "the directory was changed")


def check_refusals(e, path):
    r = backup(e, path)
    fails(r, 2, "exists", "--force")
    check(backup(e, path, "--force").returncode == 0, "--force")
    fails(backup(e, os.path.join(e.top, "none", "b")), 1, "none")
    fails(subprocess.run([ZABCTL, "--deadline", "1", "--servers", "127.0.0.1:1", "backup",
                          os.path.join(e.top, "unreachable")], capture_output=True, text=True, timeout=60), 1)
    check(not [name for name in os.listdir(e.top) if name.startswith("unreachable")], "something is left")


def check_signal(e):
    """An interrupted backup leaves nothing."""
    path = os.path.join(e.top, "cut")
    for delay in (0.005, 0.02, 0.05):
        p = subprocess.Popen([ZABCTL, "--servers", e.server(1), "backup", path], stdout=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(path + ".tmp") or p.poll() is not None, 10, "a backup to begin")
        time.sleep(delay)
        p.terminate()
        p.wait(10)
        check(not os.path.exists(path + ".tmp"), "an interrupted backup leaves its file")
        if os.path.exists(path):
            os.unlink(path)


def check_new_ensemble(e, path, want, before):
    """Of three directories one is restored, the others are empty."""
    e.down()
    empty(e, 1, 2, 3)
    torn = os.path.join(e.top, "torn")
    with open(path, "rb") as f:
        image = f.read()
    for size, flip in ((len(image) - 1, None), (100000, None), (300, None), (0, None), (len(image), 70000),
                       (len(image), 30), (len(image), len(image) - 5)):
        bad = bytearray(image[:size])
        if flip is not None:
            bad[flip] ^= 1
        with open(torn, "wb") as f:
            f.write(bad)
        refused(e, 2, torn, torn)
    refused(e, 2, os.path.join(e.top, "missing"), "missing")

    restore(e, 2, path)
    e.up()
    e.wait_members()
    e.wait_caught_up()
    e.barriers()
    for n in (1, 2, 3):
        got = everything(e, n)
        check(got == want, f"m{n} differs: {[k for k in want if got.get(k) != want[k]][:5]}")
        for name, number in before.items():
            check(int(read(e.path(n, name))) >= number, f"m{n}: {name} lost a write that was acknowledged")
    names = [os.path.basename(name) for name in got if name.startswith("job-")]
    write(e.path(1, "job-#"), b"")
    e.barriers()
    check(len([n for n in os.listdir(e.mount(3)) if n.startswith("job-")]) == len(names) + 1, "numbers go on")
    e.kill("zabd", 1)
    refused(e, 1, path, "not empty")
    e.up()


def check_live_ensemble(e, path):
    """A member restored beside the others takes their state: what they acknowledged since stays."""
    write(e.path(1, "since"), b"acknowledged after the backup")
    e.barriers()
    e.kill("zabd", 3)
    empty(e, 3)
    restore(e, 3, path)
    e.up()
    e.wait_members()
    e.wait_caught_up()
    e.barriers()
    for n in (1, 2, 3):
        check(read(e.path(n, "since")) == b"acknowledged after the backup", f"m{n} lost a write")


def test(e):
    fill(e)
    path = os.path.join(e.top, "backup")
    e.barriers()
    want = everything(e, 1)
    before = take(e, path)
    check_signal(e)
    check_new_ensemble(e, path, want, before)
    check_live_ensemble(e, path)
    check_refusals(e, path)
    print(f"{len(want)} files and {len(before)} acknowledged counters are back")


run(test, seconds=170)
