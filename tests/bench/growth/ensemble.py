"""An ensemble with its mounts, started by `zabctl dev up`, and what its processes use."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

QUIET_SHARE = 0.05  # of one processor, all processes together
QUIET_SECONDS = 0.5
QUIET_DEADLINE = 180


class BenchError(Exception):
    pass


def run(*words, deadline=300):
    """A program's standard output; its failure is an error."""
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=deadline)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def run_json(*words, deadline=300):
    return json.loads(run(*words, deadline=deadline))


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child)] + children(child)
    return found


def cpu_seconds(pid):
    """Of all threads that it has now, finer than the clock ticks of /proc/PID/stat."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def switches(pid):
    """How often its threads gave up the processor or lost it."""
    return sum(int(line.split()[1])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
               for line in (task / "status").read_text().splitlines() if "ctxt_switches" in line)


class SystemCalls:
    """Counts those of running processes, each with its threads, from begin to end()."""

    def __init__(self, pids, directory):
        self.files = [directory / f"strace-{pid}" for pid in pids]
        self.traces = [subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", file,
                                         "-p", str(pid)], stderr=subprocess.PIPE, text=True)
                       for file, pid in zip(self.files, pids)]
        for trace in self.traces:
            if "attached" not in trace.stderr.readline():
                raise BenchError("strace cannot attach")

    def end(self):
        """Of each process, by the name of the call."""
        counts = []
        for trace, file in zip(self.traces, self.files):
            trace.terminate()
            trace.communicate()
            lines = [line.split() for line in file.read_text().splitlines()[2:]]
            counts.append({words[1]: int(words[0]) for words in lines
                           if len(words) == 2 and words[0].isdigit() and words[1] != "total"})
        return counts


def status_mib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"no {field} of {pid}")


class Ensemble:
    """Use it with `with`: taken down and removed at the end."""

    def __init__(self, build, members=3, where=None):
        self.bin = build / "bin"
        self.tools = build / "tests" / "bench"
        self.members = members
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="zabfs-growth-", dir=where))
        self.mounts = [self.directory / f"m{n}" for n in range(1, members + 1)]
        self.added = []  # (process, mount point)

    def __enter__(self):
        try:
            run(self.bin / "zabctl", "--deadline", "60", "dev", "up", "--dir", self.directory,
                "--members", self.members)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process, point in self.added:
            process.terminate()
            process.wait()
        subprocess.run([self.bin / "zabctl", "--deadline", "60", "dev", "down", "--dir",
                        self.directory], stdout=subprocess.DEVNULL)
        shutil.rmtree(self.directory)

    def server(self, number=1):
        return f"unix:{self.directory}/run/zabd-{number}.sock"

    def add_mounts(self, count):
        """Mounts beside those of each member, spread over the members."""
        for _ in range(count):
            number = len(self.mounts) + 1
            point = self.directory / f"m{number}"
            point.mkdir()
            process = subprocess.Popen(
                [self.bin / "zabfs", "-f", "-o",
                 f"log={self.directory}/log/zabfs-{number}.log",
                 self.server((number - 1) % self.members + 1), point])
            self.added.append((process, point))
            self.mounts.append(point)
            deadline = time.monotonic() + 30
            while not os.path.ismount(point):
                if time.monotonic() > deadline:
                    raise BenchError(f"{point} is not mounted after 30 s")
                time.sleep(0.02)

    def pid(self, program, number):
        if program == "zabfs" and number > self.members:
            return self.added[number - self.members - 1][0].pid
        return int((self.directory / "run" / f"{program}-{number}.pid").read_text())

    def leader(self):
        """Its number."""
        for line in run(self.bin / "zabctl", "dev", "status", "--dir", self.directory).splitlines():
            fields = dict(word.split("=", 1) for word in line.split())
            if fields["role"] == "leader":
                return int(fields["member"])
        raise BenchError("no leader")

    def follower_mount(self):
        """The mount of a member that does not lead, if there is one: a write takes a step more from
        there, so that runs can be compared only if all begin at the same place."""
        return self.mounts[self.leader() % self.members]

    def pids(self):
        own = [self.pid("zabd", n) for n in range(1, self.members + 1)]
        own += [self.pid("zabfs", n) for n in range(1, len(self.mounts) + 1)]
        return own + [child for pid in own for child in children(pid)]

    def cpu(self):
        """Processor time of all its processes, in seconds, and which these are."""
        while True:
            try:
                pids = self.pids()
                return sum(map(cpu_seconds, pids)), pids
            except (FileNotFoundError, ProcessLookupError):
                pass  # one of them has just ended: a snapshot is written by a process of its own

    def wait_quiet(self):
        """Until no snapshot is written and no mount has changes to repeat."""
        deadline = time.monotonic() + QUIET_DEADLINE
        used, pids = self.cpu()
        while time.monotonic() < deadline:
            time.sleep(QUIET_SECONDS)
            used_before, pids_before = used, pids
            used, pids = self.cpu()
            if pids == pids_before and used - used_before < QUIET_SHARE * QUIET_SECONDS:
                return
        raise BenchError(f"the ensemble is still busy after {QUIET_DEADLINE} s")

    def fill(self, count, prefix, directory_files=1000):
        """Creates files of 100 bytes in /PREFIX0, /PREFIX1, ..., over the client protocol."""
        run(self.tools / "snapshot_load", self.server(), "fill", count, prefix, directory_files,
            deadline=600)

    def member_mib(self):
        """Resident memory of the largest member."""
        return max(status_mib(self.pid("zabd", n), "VmRSS") for n in range(1, self.members + 1))

    def mount_mib(self, number):
        return status_mib(self.pid("zabfs", number), "VmRSS")

    def mount_peak_reset(self, number):
        pathlib.Path(f"/proc/{self.pid('zabfs', number)}/clear_refs").write_text("5")

    def mount_peak_mib(self, number):
        return status_mib(self.pid("zabfs", number), "VmHWM")
