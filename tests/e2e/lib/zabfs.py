"""An ensemble with mounts for one test: started with `zabctl dev up` in a temporary directory, and
taken down whatever happens to the test.

A test is a function that gets an Ensemble; run(test) is its main program. Everything that waits has
a deadline. When the test fails, the ends of all logs are printed. A sanitizer's report or a failed
check in any log fails the test, too.
"""
import ctypes
import errno
import json
import os
import pickle
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

BIN = os.environ.get("ZABFS_BIN") or os.path.join(os.path.dirname(__file__), "../../../build-check/bin")
BIN = os.path.abspath(BIN)
ZABCTL = os.path.join(BIN, "zabctl")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
REPORT = re.compile(rb"LeakSanitizer|AddressSanitizer|runtime error:|check failed")


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(condition, seconds, what):
    """Asks every 20 ms. Returns what the condition returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def errno_of(call, *args):
    """0, or the errno with which the call failed."""
    try:
        result = call(*args)
    except OSError as e:
        return e.errno
    if isinstance(result, int) and call is os.open:
        os.close(result)
    return 0


def errno_name(number):
    return errno.errorcode.get(number, str(number)) if number else "0"


def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while True:
            part = os.read(fd, 1 << 20)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(fd)


def write(path, value, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    """open, write, close; an error of any of them is raised: then nothing is promised."""
    fd = os.open(path, flags, 0o644)
    try:
        done = 0
        while done < len(value):
            done += os.write(fd, value[done:])
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass
        raise
    os.close(fd)


class Worker:
    """A function in a process of its own, which ends with the test at the latest; its result, or its
    exception, by result()."""

    inherited = []  # descriptors that no worker may keep open

    def __init__(self, function, *args):
        self.pipe, out = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(self.pipe)
                signal.alarm(0)
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                for fd in Worker.inherited:
                    os.close(fd)
                try:
                    answer = (True, function(*args))
                except BaseException:  # to be raised in the parent
                    answer = (False, traceback.format_exc())
                with os.fdopen(out, "wb") as f:
                    pickle.dump(answer, f)
                code = 0
            finally:
                os._exit(code)
        os.close(out)

    def result(self, seconds):
        data = b""
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.pipe], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                os.kill(self.pid, signal.SIGKILL)
                raise Failure(f"a worker has not ended after {seconds} s")
            part = os.read(self.pipe, 1 << 16)
            if not part:
                break
            data += part
        os.close(self.pipe)
        os.waitpid(self.pid, 0)
        check(data, "a worker ended without a result")
        ok, answer = pickle.loads(data)
        check(ok, f"in a worker:\n{answer}")
        return answer


class Flag:
    """Set once, seen by all workers: a file's existence."""

    def __init__(self, directory, name):
        self.path = os.path.join(directory, name)

    def set(self):
        open(self.path, "w").close()

    def is_set(self):
        return os.path.exists(self.path)


def replay_helpers_of(pid):
    """Process ids of the helpers of a mount."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        children = [int(child) for child in f.read().split()]

    def is_helper(child):
        with open(f"/proc/{child}/cmdline", "rb") as f:
            return b"--replay-helper" in f.read()
    return [child for child in children if is_helper(child)]


class Ensemble:
    def __init__(self, members=3):
        self.members = members
        self.top = tempfile.mkdtemp(prefix="zabfs-e2e-")
        self.dir = os.path.join(self.top, "e")
        # The guardian takes all of it down when this process is gone, however it went.
        end, self.guard = os.pipe()
        Worker.inherited = [self.guard]
        self.processes = []  # beside it, that end with it
        self.guardian = subprocess.Popen(
            ["sh", "-c", "read line; \"$1\" dev down --dir \"$2\" >/dev/null 2>&1; "
             "rm -rf --one-file-system \"$3\"", "sh", ZABCTL, self.dir, self.top],
            stdin=end, start_new_session=True)
        os.close(end)

    # --- commands

    def zabctl(self, *args, seconds=60, stdin=None):
        return subprocess.run([ZABCTL, *args], input=stdin, capture_output=True, timeout=seconds)

    def up(self, seconds=60):
        r = self.zabctl("dev", "up", "--dir", self.dir, "--members", str(self.members), "--deadline",
                        str(seconds), seconds=seconds + 30)
        check(r.returncode == 0, f"dev up: {r.stdout.decode()}{r.stderr.decode(errors='replace')}")

    def down(self):
        r = self.zabctl("dev", "down", "--dir", self.dir, seconds=120)
        check(r.returncode == 0, f"dev down: {r.stderr.decode()}")

    def status(self):
        r = self.zabctl("dev", "status", "--json", "--dir", self.dir)
        check(r.returncode == 0, f"dev status: {r.stderr.decode()}")
        return json.loads(r.stdout)

    def member_status(self, n):
        """All fields of a member's status, or None while it does not answer."""
        r = self.zabctl("--servers", self.server(n), "--deadline", "2", "--json", "status")
        return json.loads(r.stdout)[0] if r.returncode == 0 else None

    def mount_status(self, n):
        """What .zabfs/status of mount n says, as texts."""
        lines = read(self.path(n, ".zabfs", "status")).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_repeated(self, n, seconds=20):
        """No change that mount n knows of is still to be repeated for its watchers."""
        wait_until(lambda: self.mount_status(n)["replays_queued"] == "0", seconds, "all was repeated")

    def replay_helpers(self, n):
        """Process ids of mount n's."""
        return replay_helpers_of(self.pid("zabfs", n))

    # --- places

    def mount(self, n):
        return os.path.join(self.dir, f"m{n}")

    def path(self, n, *names):
        return os.path.join(self.mount(n), *names)

    def server(self, n):
        return "127.0.0.1:" + str(self.ports(n)[1])

    def ports(self, n):
        """(peer port, client port)"""
        with open(os.path.join(self.dir, "conf", f"zabd-{n}.ini")) as f:
            m = re.search(rf"^{n} = 127\.0\.0\.1:(\d+):(\d+)$", f.read(), re.M)
        return int(m.group(1)), int(m.group(2))

    def pid(self, kind, n):
        with open(os.path.join(self.dir, "run", f"{kind}-{n}.pid")) as f:
            return int(f.read())

    def log(self, kind, n):
        with open(os.path.join(self.dir, "log", f"{kind}-{n}.log"), "rb") as f:
            return f.read()

    # --- what happens to it

    def barrier(self, n):
        """What `sync MOUNT/.zabfs/sync` does."""
        fd = os.open(self.path(n, ".zabfs", "sync"), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def barriers(self):
        for n in range(1, self.members + 1):
            self.barrier(n)

    def leader(self, seconds=15):
        def find():
            leaders = [m for m in self.status() if m["role"] == "leader"]
            return max(leaders, key=lambda m: m["epoch"])["member"] if leaders else None
        return wait_until(find, seconds, "a leader")

    def signal(self, kind, n, number):
        os.kill(self.pid(kind, n), number)

    def kill(self, kind, *members):
        """SIGKILL to all of them at once; returns when they are gone."""
        pids = [self.pid(kind, n) for n in members]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_until(lambda p=pid: not is_running(p), 10, f"the end of process {pid}")

    def start_member(self, n):
        """One member alone: `dev up` starts all. The next `dev up` finds it running."""
        with open(os.path.join(self.dir, "log", f"zabd-{n}.log"), "ab") as log:
            p = subprocess.Popen([os.path.join(BIN, "zabd"), "--config",
                                  os.path.join(self.dir, "conf", f"zabd-{n}.ini")],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        with open(os.path.join(self.dir, "run", f"zabd-{n}.pid"), "w") as f:
            f.write(f"{p.pid}\n")
        wait_until(lambda: self.member_status(n) is not None, 20, f"member {n} to answer")

    def wait_members(self, seconds=30):
        """Every member leads or follows."""
        def settled():
            return sorted(m["role"] for m in self.status()) == ["follower"] * (self.members - 1) + ["leader"]
        wait_until(settled, seconds, "one leader, the others following")

    def wait_caught_up(self, seconds=30):
        """Every member has applied the same, and there is a leader."""
        def same():
            all_status = [self.member_status(n) for n in range(1, self.members + 1)]
            if None in all_status:
                return False
            return len({(s["applied"], s["epoch"]) for s in all_status}) == 1 and any(
                s["role"] == "leader" for s in all_status)
        wait_until(same, seconds, "all members caught up")

    # --- end

    def logs(self):
        directory = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            with open(os.path.join(directory, name), "rb") as f:
                yield name, f.read()

    def print_logs(self):
        for name, text in self.logs():
            tail = b"\n".join(text[-6000:].split(b"\n")[-40:])
            print(f"--- end of {name}\n{tail.decode(errors='replace')}", flush=True)

    def check_logs(self):
        for name, text in self.logs():
            found = REPORT.search(text)
            if found:
                from_there = text[max(0, found.start() - 300):found.start() + 4000]
                raise Failure(f"in {name}:\n{from_there.decode(errors='replace')}")

    def close(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            p.wait(20)
        os.close(self.guard)
        self.guardian.wait(120)


def is_running(pid):
    """A zombie has ended, unless one of its threads still waits for the disk: until then its files and
    ports are taken."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            state = f.read().rsplit(")", 1)[1].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except FileNotFoundError:
        return False


def run(test, members=3, seconds=170):
    """Main program of a test file. `seconds` bounds the whole; CTest's own limit is above it."""
    def on_alarm(*_):
        raise Failure(f"the test has not ended after {seconds} s")

    seed = int(os.environ.get("ZABFS_SEED") or random.SystemRandom().randrange(1 << 32))
    random.seed(seed)
    print(f"seed {seed} (ZABFS_SEED repeats it)", flush=True)
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    started = time.monotonic()
    e = Ensemble(members)
    code = 1
    try:
        e.up()
        test(e)
        e.down()
        e.check_logs()
        code = 0
        print(f"passed in {time.monotonic() - started:.1f} s")
    except BaseException as failure:
        signal.alarm(0)
        traceback.print_exc(file=sys.stdout)
        if os.environ.get("ZABFS_KEEP"):
            shutil.copytree(os.path.join(e.dir, "log"), os.environ["ZABFS_KEEP"], dirs_exist_ok=True)
        e.print_logs()
        print(f"FAILED: {failure}", flush=True)
    finally:
        signal.alarm(0)
        e.close()
    sys.stdout.flush()
    os._exit(code)  # no waiting for workers of a test that failed
