"""The figures that are measured while all systems run: what each is, and how each system does it.

The programs that do the timed work print one line of JSON (tests/bench/bench.h); etcd is driven by
h2load.
"""
import dataclasses
import json
import subprocess

import h2load
from process import Failure

VALUE_SIZE = 1024
ASYNC_IN_FLIGHT = 1000
LIMIT_S = 600  # for one piece of work


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    title: str
    work: str
    where: str       # see `targets`
    clients: int
    count: dict      # operations of each client, by system: a fast one does more, to be timed well
    field: str       # of what the program prints
    unit: str
    against: tuple   # systems
    limit: float     # of the ratio zabfs : other; at most for a time, at least for a rate
    size: int = VALUE_SIZE  # of a value, bytes; 0: nothing is written

    @property
    def is_time(self):
        return self.field == "median_us"


def both(zabfs, other):
    return {"zabfs": zabfs, "zookeeper": other, "etcd": other}


ZK, ETCD = ("zookeeper",), ("etcd",)

FIGURES = [
    Figure("write", "write, 1 writer, median", "write", "follower", 1,
           both(3000, 2000), "median_us", "µs", ZK, 0.6),
    Figure("write32", "write, 32 writers on all members", "write", "all", 32,
           both(600, 300), "ops_per_s", "1/s", ZK, 3),
    Figure("create32", "numbered exclusive create, 32 writers", "create", "all", 32,
           both(300, 300), "ops_per_s", "1/s", ZK, 2, size=0),
    Figure("createvalue32", "the same with a value: two changes on a mount", "create", "all", 32,
           both(300, 300), "ops_per_s", "1/s", ZK, 2),
    Figure("async", "sets of the client protocol, 1,000 in flight, no mounts", "async", "leader", 1,
           both(150000, 60000), "ops_per_s", "1/s", ZK + ETCD, 4),
    Figure("read", "read, 1 reader", "read", "follower", 1,
           both(30000, 8000), "ops_per_s", "1/s", ZK, 6),
    Figure("read32", "read, 32 readers on all members", "read", "all", 32,
           both(4000, 1000), "ops_per_s", "1/s", ZK, 4),
    Figure("stat", "stat of a known file", "stat", "follower", 1,
           both(1000000, 8000), "ops_per_s", "1/s", ZK, 100),
    Figure("linread", "linearizable read on a follower, median", "read", "linearizable", 1,
           both(4000, 3000), "median_us", "µs", ETCD, 0.5),
    Figure("event", "change on one member to event on another, median", "event", "two followers", 2,
           both(1500, 1000), "median_us", "µs", ZK, 0.6),
    Figure("lock", "contended lock, 32 waiters: hand-overs", "lock", "all", 32,
           both(150, 50), "ops_per_s", "1/s", ZK, 3),
]


def targets(system, where):
    """The mounts (zabfs) or servers (ZooKeeper) that the clients of a work are given."""
    if where == "all":
        numbers = list(system.processes)
    elif where == "leader":
        numbers = [system.leader()]
    elif where == "two followers":
        numbers = system.followers()
    else:
        numbers = system.followers()[:1]
    if system.name == "zabfs":
        if where == "leader":
            return [system.servers(numbers[0])]
        if where == "linearizable":
            return [str(system.linearizable_mount(numbers[0]))]
        return [str(system.mount(f"m{number}")) for number in numbers]
    return [system.server(number) for number in numbers]


def run_program(argv):
    """What a program printed; it fails if any operation did."""
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{' '.join(argv)}: not within {LIMIT_S} s") from late
    if done.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


class Measure:
    """Does the works. `programs` is the directory of the C programs; `part` scales the counts."""

    def __init__(self, programs, part=1.0):
        self.programs = programs
        self.part = part

    def count(self, figure, system):
        return max(20, int(figure.count[system.name] * self.part))

    def figure(self, figure, system):
        """The whole line of the program; for etcd, one that has the field."""
        with system.clients_for(figure.where):
            return self._figure(figure, system)

    def _figure(self, figure, system):
        count = self.count(figure, system)
        if system.name == "etcd":
            if figure.work == "async":
                value = h2load.put(system, system.leader(), max(count, 2000), VALUE_SIZE)
            else:
                value = h2load.linearizable_range(system, system.followers()[0], count, VALUE_SIZE)
            return {figure.field: value}
        return run_program([self.program(figure.work, system), figure.work, "-c", figure.clients,
                            "-n", count, "-f", ASYNC_IN_FLIGHT, "-s", figure.size,
                            *targets(system, figure.where)])

    def program(self, work, system):
        if system.name == "zookeeper":
            return self.programs / "zk_bench"
        return self.programs / ("zab_bench" if work in ("async", "load") else "fs_bench")

    def floors(self, directory):
        """Median of each floor in us, by name."""
        argv = [str(self.programs / "floor_bench"), str(directory)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode != 0:
            raise Failure(f"floor_bench: {done.stderr.strip()}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["work"]: line["median_us"] for line in lines}

    def load(self, system, count, size):
        """Files (nodes) of `size` bytes in directories of 1,000; how many a second."""
        place = system.servers(system.leader()) if system.name == "zabfs" else \
            system.server(system.leader())
        return run_program([self.program("load", system), "load", "-n", count, "-s", size, "-f",
                            ASYNC_IN_FLIGHT, place])["ops_per_s"]
