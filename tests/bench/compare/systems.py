"""Three ensembles of three members on loopback: zabfs, ZooKeeper, etcd. Each with its defaults, its
syncs on, and all of its data below one directory.

A system is what is started, killed and looked at here; what is measured on it is elsewhere.
"""
import contextlib
import json
import pathlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from process import Failure, Process, free_ports, stop_all, wait_until

MEMBERS = (1, 2, 3)
LINEARIZABLE = "linearizable-"  # begins the name of such a mount


class System:
    """Members by number. `_start_member` and `role` are the part of each system."""
    name = ""
    title = ""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.processes = {}
        peer, client, extra = (free_ports(3) for _ in range(3))
        while len({*peer, *client, *extra}) < 9:
            peer, client, extra = (free_ports(3) for _ in range(3))
        self.peer = dict(zip(MEMBERS, peer))
        self.client = dict(zip(MEMBERS, client))
        self.extra = dict(zip(MEMBERS, extra))
        self._configure()

    def start_members(self):
        """Starts the processes and waits for nothing: what a first start costs is measured."""
        for number in MEMBERS:
            self.start_member(number)

    def start_member(self, number):
        self.processes[number] = self._start_member(number)

    def start(self):
        self.start_members()
        self.wait_ready()

    def wait_ready(self):
        wait_until(self.is_ready, f"{self.name} has a leader and two followers")

    def is_ready(self):
        for process in self.processes.values():
            process.must_run()
        roles = sorted(self.role(number) or "" for number in MEMBERS)
        return roles == ["follower", "follower", "leader"]

    def kill_member(self, number):
        """When it was done, by CLOCK_MONOTONIC in ns."""
        self.processes[number].popen.kill()
        killed_ns = time.monotonic_ns()
        self.processes[number].popen.wait()
        return killed_ns

    def start_missing(self):
        """All members run and have all changes."""
        for number, process in list(self.processes.items()):
            if process.popen.poll() is not None:
                self.start_member(number)
        wait_until(self.has_caught_up, f"{self.name}: all members have caught up")

    def stop_members(self):
        stop_all(list(self.processes.values()))

    def stop(self):
        self.stop_members()

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def leader(self):
        return wait_until(lambda: next((n for n in MEMBERS if self.role(n) == "leader"), None),
                          f"{self.name} has a leader")

    def followers(self):
        leader = self.leader()
        return [number for number in MEMBERS if number != leader]

    def server(self, number):
        return f"127.0.0.1:{self.client[number]}"

    def clients_for(self, where):
        """A context in which the clients are there that the work of a figure needs, and no other."""
        return contextlib.nullcontext()

    def resident_mib(self):
        """Of each member."""
        return [process.resident_kib() / 1024 for process in self.processes.values()]

    def cpu_s(self):
        return sum(process.cpu_s() for process in self.processes.values())


class Zabfs(System):
    """Members as `zabctl dev up` has them, and a mount for each, over the member's unix socket."""
    name = "zabfs"
    title = "zabfs"
    bin = None  # the build's bin directory

    def _configure(self):
        self.mounts = {}
        self.ensemble = "\n".join(f"{n} = 127.0.0.1:{self.peer[n]}:{self.client[n]}"
                                  for n in MEMBERS)
        for number in MEMBERS:
            (self.directory / f"data-{number}").mkdir()
            (self.directory / f"zabd-{number}.ini").write_text(
                f"[member]\nid = {number}\nname = compare\ndata = {self.directory}/data-{number}\n"
                f"unix = {self.directory}/{number}.sock\n\n[ensemble]\n{self.ensemble}\n")

    def _start_member(self, number):
        return Process([self.bin / "zabd", "--config", self.directory / f"zabd-{number}.ini"],
                       self.directory / f"zabd-{number}.log")

    def start(self):
        super().start()
        self.start_mounts()

    def start_mounts(self):
        for number in MEMBERS:
            self.start_mount(number)
        for number in MEMBERS:
            self.wait_mount(f"m{number}")

    @contextlib.contextmanager
    def clients_for(self, where):
        """The mounts of the members; none for a client of the leader, because idle mounts are told of
        changes, too, and ZooKeeper and etcd have no such clients; one more for linearizable reads."""
        if where == "leader":
            self.stop_mounts()
        try:
            yield
        finally:
            if where == "leader":
                self.start_mounts()
            for name in [name for name in self.mounts if name.startswith(LINEARIZABLE)]:
                self.stop_mount(name)

    def servers(self, number):
        """The server list of a client of that member, and the others, for when that dies."""
        others = "+".join(self.server(n) for n in MEMBERS if n != number)
        return f"unix:{self.directory}/{number}.sock+{others}"

    def start_mount(self, number, name=None, options=()):
        """Mounts on the directory `name` (m1 ..) and waits for nothing."""
        name = name or f"m{number}"
        path = self.mount(name)
        path.mkdir(exist_ok=True)
        words = ["log=" + str(self.directory / f"zabfs-{name}.log"), *options]
        self.mounts[name] = Process([self.bin / "zabfs", "-f", "-o", ",".join(words),
                                     self.servers(number), path],
                                    self.directory / f"zabfs-{name}.log")

    def mount(self, name):
        return self.directory / name

    def wait_mounted(self, name):
        """The directory is the mount; its member may not be there yet."""
        def mounted():
            self.mounts[name].must_run()
            return is_mounted(self.mount(name))

        wait_until(mounted, f"{name} is mounted", pause_s=0.001)

    def wait_mount(self, name):
        status = self.mount(name) / ".zabfs" / "status"

        def attached():
            self.mounts[name].must_run()
            return is_mounted(self.mount(name)) and "state=attached" in status.read_text()

        wait_until(attached, f"the mount {name} is attached")

    def mount_of(self, number):
        """The mount m1 .. that is attached to that member: after the loss of its member a mount
        stays where it went."""
        name = f"m{number}"
        status = (self.mount(name) / ".zabfs" / "status").read_text().splitlines()
        if f"member={number}" not in status:
            self.stop_mount(name)
            self.start_mount(number)
            self.wait_mount(name)
        return self.mount(name)

    def stop_mount(self, name):
        path = self.mount(name)
        if is_mounted(path):
            if subprocess.run(["umount", path], stderr=subprocess.DEVNULL).returncode != 0:
                subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
        self.mounts.pop(name).stop()

    def stop_mounts(self):
        for name in list(self.mounts):
            self.stop_mount(name)

    def stop(self):
        self.stop_mounts()
        self.stop_members()

    def remove(self):
        self.stop()
        if any(is_mounted(path) for path in self.directory.iterdir() if path.is_dir()):
            raise Failure(f"{self.directory} still has a mount in it")
        super().remove()

    def status(self, number):
        done = subprocess.run([self.bin / "zabctl", "--servers", self.server(number), "--deadline",
                               "1", "--json", "status"], capture_output=True, text=True)
        try:
            return json.loads(done.stdout)[0]
        except (ValueError, IndexError, KeyError):
            return {}

    def role(self, number):
        return self.status(number).get("role")

    def nodes(self):
        return min(int(self.status(number).get("nodes", 0)) for number in MEMBERS)

    def linearizable_mount(self, number):
        """One with -o reads=linearizable at that member, and at no other."""
        name = f"{LINEARIZABLE}{number}"
        self.start_mount(number, name, ["reads=linearizable"])
        self.wait_mount(name)
        return self.mount(name)

    def has_caught_up(self):
        states = [self.status(number) for number in MEMBERS]
        return (sorted(s.get("role", "") for s in states) == ["follower", "follower", "leader"] and
                len({s.get("applied") for s in states}) == 1)


def is_mounted(path):
    return f" {path} " in pathlib.Path("/proc/self/mounts").read_text()


class ZooKeeper(System):
    """Debian's jars; zoo.cfg with the times of Debian's sample, everything else by default. Left
    out, to its advantage: the HTTP console and JMX, which cost memory and time to start."""
    name = "zookeeper"
    title = "ZooKeeper"
    heap = "-Xmx1000m"  # what ZooKeeper's own start script gives it; the default of Java is 1/4 of
    # the machine
    jars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-log4j12.jar:" \
           "/usr/share/java/log4j-1.2.jar"

    def _configure(self):
        servers = "\n".join(f"server.{n}=127.0.0.1:{self.peer[n]}:{self.extra[n]}" for n in MEMBERS)
        for number in MEMBERS:
            home = self.directory / f"data-{number}"
            home.mkdir()
            (home / "myid").write_text(f"{number}\n")
            conf = self.directory / f"conf-{number}"
            conf.mkdir()
            (conf / "zoo.cfg").write_text(
                "tickTime=2000\ninitLimit=10\nsyncLimit=5\n"
                f"dataDir={home}\nclientPort={self.client[number]}\n"
                f"clientPortAddress=127.0.0.1\n4lw.commands.whitelist=srvr\n"
                f"admin.enableServer=false\n{servers}\n")
            (conf / "log4j.properties").write_text(
                "log4j.rootLogger=INFO, FILE\n"
                "log4j.appender.FILE=org.apache.log4j.RollingFileAppender\n"
                f"log4j.appender.FILE.File={self.directory}/zookeeper-{number}.log\n"
                "log4j.appender.FILE.layout=org.apache.log4j.PatternLayout\n"
                "log4j.appender.FILE.layout.ConversionPattern=%d{ISO8601} %-5p [%t:%C{1}] %m%n\n")

    def _start_member(self, number):
        conf = self.directory / f"conf-{number}"
        return Process(["java", self.heap, "-cp", f"{conf}:{self.jars}",
                        "-Dzookeeper.jmx.log4j.disable=true",
                        "org.apache.zookeeper.server.quorum.QuorumPeerMain", conf / "zoo.cfg"],
                       self.directory / f"java-{number}.log")

    def ask(self, number):
        """The lines of `srvr`, as a dictionary; empty if the member does not answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.client[number]), 1) as s:
                s.settimeout(2)
                s.sendall(b"srvr")
                text = b""
                while part := s.recv(4096):
                    text += part
        except OSError:
            return {}
        lines = (line.partition(": ") for line in text.decode(errors="replace").splitlines())
        return {key: value for key, _, value in lines}

    def role(self, number):
        return self.ask(number).get("Mode")

    def has_caught_up(self):
        """A member calls itself a follower once it has been given all that it had missed."""
        return self.is_ready()

    def nodes(self):
        return min(int(self.ask(number).get("Node count", 0)) for number in MEMBERS)

    def resident_mib(self):
        """After a full collection, which gives free heap back to the kernel."""
        for process in self.processes.values():
            done = subprocess.run(["jcmd", str(process.pid), "GC.run"], capture_output=True,
                                  text=True)
            if done.returncode != 0 or "successfully" not in done.stdout:
                raise Failure(f"jcmd GC.run: {done.stdout} {done.stderr}")
        time.sleep(1)
        return super().resident_mib()

    def heap_used_mib(self):
        """What is in use of the heap, of each member."""
        used = []
        for process in self.processes.values():
            text = subprocess.run(["jcmd", str(process.pid), "GC.heap_info"], capture_output=True,
                                  text=True).stdout
            used.append(int(text.split("used ")[1].split("K")[0]) / 1024)
        return used


class Etcd(System):
    name = "etcd"
    title = "etcd"

    def _configure(self):
        pass

    def _start_member(self, number):
        peer, client = (f"http://127.0.0.1:{ports[number]}" for ports in (self.peer, self.client))
        cluster = ",".join(f"e{n}=http://127.0.0.1:{self.peer[n]}" for n in MEMBERS)
        return Process(["etcd", "--name", f"e{number}", "--data-dir",
                        self.directory / f"data-{number}", "--listen-peer-urls", peer,
                        "--initial-advertise-peer-urls", peer, "--listen-client-urls", client,
                        "--advertise-client-urls", client, "--initial-cluster", cluster,
                        "--initial-cluster-token", self.directory.name],
                       self.directory / f"etcd-{number}.log",
                       env={**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine})

    def ask(self, number, path, question):
        """A request to the JSON gateway of a member; None if it does not answer."""
        request = urllib.request.Request(f"http://{self.server(number)}{path}",
                                         json.dumps(question).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def role(self, number):
        status = self.ask(number, "/v3/maintenance/status", {})
        if status is None or status.get("leader", "0") == "0":
            return None
        return "leader" if status["leader"] == status["header"]["member_id"] else "follower"


SYSTEMS = {system.name: system for system in (Zabfs, ZooKeeper, Etcd)}
