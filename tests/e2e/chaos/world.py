"""An ensemble in network namespaces of its own, with mounts and workers, and a way to harm each part.

Every member has a namespace with its mounts; a bridge in one more namespace joins them, so nothing of
it touches the machine's own network. Names carry a random tag, so that runs do not meet. Whatever
happens to this process, a guardian (clean()) ends all processes of the run, unmounts, and removes the
namespaces.
"""
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

from guard import judge_guards

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zabfs import BIN, REPORT, ZABCTL, Failure, check, wait_until  # noqa: E402

WORKER = os.path.join(BIN, "..", "tests", "e2e", "chaos_worker")
FAULTDISK = os.path.join(BIN, "..", "tests", "e2e", "libfaultdisk.so")
GUARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.py")
EVENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "events.py")
PEER_PORT, CLIENT_PORT = 2190, 2191
SNAPSHOT_ENTRIES = 12000  # one or two in a round: the judge needs a log that no peer's snapshot cut
MODES = {"d": "local", "l": "linearizable"}


def command(*words):
    r = subprocess.run(words, capture_output=True, text=True)
    check(r.returncode == 0, f"{' '.join(words)}: {r.stderr.strip()}")
    return r.stdout


def start_time(pid):
    """Of a process, in ticks since the machine started: with the pid it names one process for ever."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


# --- cleaning up


def clean(top, keep):
    """Ends everything that the run in `top` has started, and removes it."""
    tag = os.path.basename(top)
    try:
        with open(os.path.join(top, "pids")) as f:
            pids = [line.split() for line in f]
    except FileNotFoundError:
        pids = []
    for pid, started in pids:
        if start_time(pid) == started:
            os.kill(int(pid), signal.SIGKILL)
    with open("/proc/self/mounts") as f:
        mounts = [line.split()[1] for line in f if line.split()[1].startswith(top + "/")]
    for path in mounts:  # by force first: that ends what still waits for an answer
        subprocess.run(["umount", "-f", path], check=False, capture_output=True)
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        if name.startswith(tag + "-"):
            subprocess.run(["ip", "netns", "delete", name], check=False)
    if not keep:
        subprocess.run(["rm", "-rf", "--one-file-system", top], check=False)


# --- the network


class Network:
    def __init__(self, tag, count):
        self.tag = tag
        self.hub = f"{tag}-hub"
        command("ip", "netns", "add", self.hub)
        command("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", self.hub, "link", "set", "br0", "up")
        for n in range(1, count + 1):
            self.add(n)

    def add(self, n):
        ns = self.name(n)
        command("ip", "netns", "add", ns)
        command("ip", "link", "add", f"e{n}", "netns", self.hub, "type", "veth", "peer", "name", "eth0",
                "netns", ns)
        command("ip", "-n", self.hub, "link", "set", f"e{n}", "master", "br0", "up")
        command("ip", "-n", ns, "addr", "add", f"{self.address(n)}/24", "dev", "eth0")
        command("ip", "-n", ns, "link", "set", "eth0", "up")
        command("ip", "-n", ns, "link", "set", "lo", "up")

    def name(self, n):
        return f"{self.tag}-{n}"

    @staticmethod
    def address(n):
        return f"10.77.0.{n}"

    def inside(self, n):
        """Words before a command that is to run in the namespace. Not `ip netns exec`: that would give it
        mounts of its own."""
        return ["nsenter", f"--net=/run/netns/{self.name(n)}", "--"]

    @staticmethod
    def rules(kind, peer):
        return {
            "in": [["INPUT", "-i", "eth0"]],
            "out": [["OUTPUT", "-o", "eth0"]],
            "both": [["INPUT", "-i", "eth0"], ["OUTPUT", "-o", "eth0"]],
            "pair": [["INPUT", "-s", Network.address(peer or 0)],
                     ["OUTPUT", "-d", Network.address(peer or 0)]],
        }[kind]

    def cut(self, n, kind, peer=None):
        for rule in self.rules(kind, peer):
            command(*self.inside(n), "iptables", "-w", "-A", *rule, "-j", "DROP")

    def mend(self, n, kind, peer=None):
        for rule in self.rules(kind, peer):
            command(*self.inside(n), "iptables", "-w", "-D", *rule, "-j", "DROP")


# --- processes


class Process:
    """One that is started again and again under the same name."""

    def __init__(self, world, name, argv, env=None):
        self.world, self.name, self.argv, self.env = world, name, argv, env
        self.child = None
        self.stopped = False
        self.starts = 0

    def start(self):
        with open(self.world.path("log", self.name + ".log"), "ab") as log:
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.env, start_new_session=True)
        self.world.remember(self.child.pid)
        self.stopped = False
        self.starts += 1

    def is_up(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        if self.is_up():
            self.child.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait(20)
        self.child = None
        self.stopped = False

    def stop(self, on):
        self.signal(signal.SIGSTOP if on else signal.SIGCONT)
        self.stopped = on

    def end(self, seconds):
        """In order. Returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired as e:
            raise Failure(f"{self.name} does not end in {seconds} s") from e


class Member(Process):
    def __init__(self, world, n):
        self.n = n
        self.control = world.path("run", f"disk-{n}")
        env = dict(os.environ, LD_PRELOAD=os.path.abspath(FAULTDISK), FAULTDISK=self.control)
        env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + env.get("ASAN_OPTIONS", "")
        super().__init__(world, f"zabd-{n}", world.net.inside(n) + [
            os.path.join(BIN, "zabd"), "--config", world.path("conf", f"zabd-{n}.ini")], env)
        self.disk("-")
        self.write_conf()

    def write_conf(self):
        w = self.world
        os.mkdir(w.path("data", str(self.n)))
        lines = ["[member]", f"id = {self.n}", "name = chaos", f"data = {w.path('data', str(self.n))}",
                 f"unix = {self.socket()}", "[ensemble]"]
        lines += [f"{i} = {w.net.address(i)}:{PEER_PORT}:{CLIENT_PORT}" for i in w.numbers()]
        lines += ["[storage]", f"snapshot_entries = {SNAPSHOT_ENTRIES}", "segment_size = 4194304",
                  "snapshots_kept = 1000000"]  # the log back to its beginning, for the judge
        with open(w.path("conf", f"zabd-{self.n}.ini"), "w") as f:
            f.write("\n".join(lines) + "\n")

    def socket(self):
        return self.world.path("run", f"zabd-{self.n}.sock")

    def lose_disk(self):
        """While it is down."""
        for name in os.listdir(self.world.path("data", str(self.n))):
            os.unlink(self.world.path("data", str(self.n), name))

    def disk(self, fault):
        """Written in place: the member has the file mapped."""
        fault = self.world.well if fault == "-" else fault
        fd = os.open(self.control, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, fault.encode(), 0)
        os.close(fd)


class Mount(Process):
    """Mount `mode` beside member n: MODE d reaches its own member by the unix socket, l by TCP; both
    reach the others by TCP.

    When a mount that died is replaced, the directory under it is seen for an instant. What a worker
    calls there ends with ELOOP: ENOENT would be taken for an answer."""

    def __init__(self, world, n, mode):
        self.n, self.mode = n, mode
        self.path = world.path(f"{mode}{n}")
        os.mkdir(self.path)
        for name in ("v", "x", "d", "q", "g", ".zabfs"):
            os.symlink(name, os.path.join(self.path, name))
        servers = [f"{world.net.address(i)}:{CLIENT_PORT}" for i in world.numbers(n)]
        if mode == "d":
            servers[0] = "unix:" + world.path("run", f"zabd-{n}.sock")
        super().__init__(world, f"zabfs-{mode}{n}", world.net.inside(n) + [
            os.path.join(BIN, "zabfs"), "-f", "-o",
            f"reads={MODES[mode]},servers={'+'.join(servers)}", self.path])

    def kill(self):
        """One of its threads may be in the kernel, where a caller waits for it in turn: its watchdog must
        end that."""
        self.signal(signal.SIGKILL)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired as e:
            subprocess.run(["umount", "-f", self.path], check=False, capture_output=True)
            raise Failure(f"{self.name} was killed and has not ended") from e
        super().kill()

    def name_of(self, *names):
        return os.path.join(self.path, *names)

    def is_live(self):
        try:
            return os.path.ismount(self.path) and os.listdir(self.name_of(".zabfs")) != []
        except OSError:
            return False


class Worker(Process):
    """A new sequential process of the history with every start."""
    good_exits = (0,)

    def __init__(self, world, mount, seed, pause_us):
        self.mount = mount
        self.seed, self.pause_us = seed, pause_us
        super().__init__(world, f"worker-{mount.mode}{mount.n}-{seed}", [])

    def start(self):
        self.world.procs += 1
        self.proc = self.world.procs
        self.argv = [WORKER, self.mount.path, self.history(), str(self.proc), str(self.mount.n),
                     self.mount.mode, str(self.seed + self.proc), str(self.pause_us)]
        super().start()

    def history(self):
        return self.world.path("history", str(self.proc))

    def kill(self):
        super().kill()
        self.close_history()

    def close_history(self):
        take_open_call(self.history())


class GuardWorker(Worker):
    """Works with locks, ephemerals, renames and transactions; see guard.py."""
    good_exits = (0, -signal.SIGTERM)  # it may be asked to end before it has begun

    def __init__(self, world, mount, seed, pause_ms):
        super().__init__(world, mount, seed, 0)
        self.name = f"guard-{mount.mode}{mount.n}"
        self.pause_ms = pause_ms

    def start(self):
        self.world.procs += 1
        self.proc = self.world.procs
        self.argv = [sys.executable, "-B", GUARD, self.mount.path, self.history(), str(self.proc),
                     str(self.seed + self.proc), str(self.pause_ms)]
        Process.start(self)

    def history(self):
        return self.world.path("guards", str(self.proc))

    def close_history(self):
        pass


class EventsFollower(GuardWorker):
    """Reads .zabfs/events; see events.py."""

    def __init__(self, world, mount):
        super().__init__(world, mount, 0, 0)
        self.name = f"events-{mount.mode}{mount.n}"

    def start(self):
        self.world.procs += 1
        self.proc = self.world.procs
        self.argv = [sys.executable, "-B", EVENTS, self.mount.path, self.history(), str(self.proc)]
        Process.start(self)


def take_open_call(path):
    """A call that was under way when its worker was killed is a line of the history, too."""
    if not os.path.exists(path + ".open"):
        return  # it was killed before its first call
    with open(path + ".open") as f:
        line = f.read()
    os.unlink(path + ".open")
    if not line.endswith("\n"):
        return
    with open(path) as f:
        last = f.read().rsplit("\n", 2)[-2:]
    if last[0].split("\t")[4:5] != line.split("\t")[4:5]:  # by the time of the call
        with open(path, "a") as f:
            f.write(line)


# --- all of it


class World:
    def __init__(self, count, workers_per_mount, pause_ms, keep, lying_disks):
        self.count = count
        self.well = "i" if lying_disks else "-"  # see faultdisk.c
        self.procs = 0
        self.top = tempfile.mkdtemp(prefix="zc", dir="/tmp")
        self.started = False
        self.guardian = subprocess.Popen(
            [sys.executable, "-B", os.path.join(os.path.dirname(os.path.abspath(__file__)), "chaos.py"),
             "--clean", self.top] + (["--keep"] if keep else []),
            stdin=subprocess.PIPE, start_new_session=True)
        for name in ("run", "conf", "data", "log", "history", "guards"):
            os.mkdir(self.path(name))
        self.net = Network(os.path.basename(self.top), count)
        self.members = {n: Member(self, n) for n in self.numbers()}
        self.mounts = [Mount(self, n, mode) for n in self.numbers() for mode in "dl"]
        self.workers = [Worker(self, m, random.randrange(1 << 30), pause_ms * 1000)
                        for m in self.mounts for _ in range(workers_per_mount)]
        self.workers += [GuardWorker(self, m, random.randrange(1 << 30), pause_ms) for m in self.mounts]
        self.workers += [EventsFollower(self, m) for m in self.mounts[:2]]

    def path(self, *names):
        return os.path.join(self.top, *names)

    def numbers(self, first=1):
        return [(first - 1 + i) % self.count + 1 for i in range(self.count)]

    def remember(self, pid):
        with open(self.path("pids"), "a") as f:
            f.write(f"{pid} {start_time(pid)}\n")

    # --- start

    def start(self):
        for m in self.members.values():
            m.start()
        wait_until(self.leader, 30, "a leader")
        for m in self.mounts:
            m.start()
        for m in self.mounts:
            wait_until(m.is_live, 30, f"mount {m.path}")
        first = self.mounts[0]
        for name in "vxdq":
            os.mkdir(first.name_of(name))
        for n in range(3):
            os.close(os.open(first.name_of("v", f"v{n}"), os.O_CREAT | os.O_WRONLY, 0o644))
        for name in ("", "left", "right", "here", "left/ball"):
            os.mkdir(first.name_of("g", name))
        for name in ("lock0", "lock1", "log0", "log1", "a", "b"):
            os.close(os.open(first.name_of("g", name), os.O_CREAT | os.O_WRONLY, 0o644))
        self.barriers()
        for w in self.workers:
            w.start()

    # --- what is there

    def status(self):
        """Of the members that answer, by number."""
        r = subprocess.run([ZABCTL, "--servers", "+".join("unix:" + m.socket() for m in
                                                         self.members.values() if m.is_up()
                                                         and not m.stopped), "--deadline", "1",
                            "--json", "status"], capture_output=True, timeout=60)
        try:
            answers = json.loads(r.stdout)
        except ValueError:
            return {}
        return {int(a["member"]): a for a in answers if "member" in a}

    def leader(self):
        leaders = [(int(s["epoch"]), n) for n, s in self.status().items() if s["role"] == "leader"]
        return max(leaders)[1] if leaders else None

    def barriers(self):
        for m in self.mounts:
            fd = os.open(m.name_of(".zabfs", "sync"), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    # --- the end

    def converge(self, seconds):
        def same():
            all_status = self.status()
            states = {(s["applied"], s["commit"], s["digest"]) for s in all_status.values()}
            return len(all_status) == self.count and len(states) == 1 and all(
                s["applied"] == s["commit"] == s["last"] for s in all_status.values())
        wait_until(same, seconds, f"all members in one state: {self.status()}")

    def shown(self, mount):
        """All that a mount shows of the directories that the workers use."""
        tree = {}
        for d in "vxdqg":
            for name in os.listdir(mount.name_of(d)):
                path = mount.name_of(d, name)
                if os.path.isdir(path):
                    tree[f"{d}/{name}"] = tuple(sorted(os.listdir(path)))
                    continue
                with open(path, "rb", buffering=0) as f:
                    tree[f"{d}/{name}"] = (f.read(), os.stat(path).st_ino)
        return tree

    def judge_guards(self):
        """What the guards' calls say against what their files hold at the end."""
        first = self.mounts[0]

        def content(name):
            with open(first.name_of("g", name), "rb") as f:
                return f.read()
        directory = self.path("guards")
        counts = collections.Counter()
        findings = judge_guards([os.path.join(directory, name) for name in os.listdir(directory)],
                                {name: content(name) for name in ("log0", "log1")},
                                os.listdir(first.name_of("g", "here")), counts)
        if content("a") != content("b"):
            findings.append(f"half a transaction: {content('a')} and {content('b')}")
        balls = [d for d in ("left", "right") if "ball" in os.listdir(first.name_of("g", d))]
        if len(balls) != 1:
            findings.append(f"the directory that is renamed is in {balls}")
        ended = {key: count for key, count in sorted(counts.items()) if key[1] != "-"}
        told = collections.Counter()
        for path in os.listdir(directory):
            with open(os.path.join(directory, path)) as f:
                for said in map(json.loads, f):
                    if said.get("kind") == "events":
                        changes, gaps = map(int, said["token"].split())
                        told.update(changes=changes, gaps=gaps)
        print(f"  events: {told['changes']} changes of logs were told, {told['gaps']} gaps")
        print("  guards: " + ", ".join(f"{kind} {code} {count}" for (kind, code), count in ended.items()))
        check(not findings, "guards: " + "; ".join(findings[:10]))

    def compare_mounts(self):
        first = self.mounts[0]
        try:  # else they go, with the sessions of mounts that were killed, while it is compared
            wait_until(lambda: not os.listdir(first.name_of("g", "here")), 40, "no ephemeral is left")
        except Failure:
            pass  # judge_guards() says it
        self.barriers()
        trees = [self.shown(m) for m in self.mounts]
        for m, tree in zip(self.mounts, trees):
            check(tree == trees[0], f"{m.path} and {self.mounts[0].path} differ: "
                  f"{sorted(set(tree.items()) ^ set(trees[0].items()))[:6]}")
        return trees[0]

    def end(self):
        """In order: unmounts and stops. Each must end well."""
        for m in self.mounts:
            code = m.end(30)
            check(code == 0, f"{m.name}: exit {code}")
        for m in self.members.values():
            code = m.end(30)
            check(code == 0, f"{m.name}: exit {code}")
        for name in sorted(os.listdir(self.path("log"))):
            with open(self.path("log", name), "rb") as f:
                text = f.read()
            found = REPORT.search(text) or re.search(rb"ev=diverged", text)
            check(not found, f"in {name}: {text[found.start() - 300:found.start() + 3000] if found else ''}")

    def print_logs(self):
        for name in sorted(os.listdir(self.path("log"))):
            with open(self.path("log", name), "rb") as f:
                tail = b"\n".join(f.read()[-4000:].split(b"\n")[-20:])
            print(f"--- end of {name}\n{tail.decode(errors='replace')}", flush=True)

    def close(self, keep):
        """Everything that is left goes; the files stay if they are to be kept."""
        self.guardian.stdin.write(b"keep\n" if keep else b"\n")
        self.guardian.stdin.close()
        self.guardian.wait(120)
