"""From the values of all rounds to one table, and the same as JSON and as Markdown."""
import dataclasses
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess

from process import Failure

TITLES = {"zabfs": "zabfs", "zookeeper": "ZooKeeper", "etcd": "etcd"}


@dataclasses.dataclass
class Row:
    """One line of the table. `values` are those of all rounds, by system."""
    key: str
    title: str
    unit: str
    lower_is_better: bool
    limit: float      # of zabfs : other
    limit_text: str
    against: tuple
    values: dict

    def median(self, system):
        return statistics.median(self.values[system])

    def ratio(self, other):
        return self.median("zabfs") / self.median(other)

    def reaches(self, other):
        if self.lower_is_better:
            return self.ratio(other) <= self.limit
        return self.ratio(other) >= self.limit

    def is_complete(self):
        return all(self.values.get(system) for system in ("zabfs", *self.against))

    def as_json(self):
        found = {"figure": self.key, "title": self.title, "unit": self.unit,
                 "lower_is_better": self.lower_is_better, "required": self.limit}
        for system, values in self.values.items():
            found[system] = {"median": self.median(system), "min": min(values), "max": max(values),
                             "values": values}
        if self.is_complete():
            found["ratio"] = {other: self.ratio(other) for other in self.against}
            found["reached"] = all(self.reaches(other) for other in self.against)
        return found


def number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_text(value):
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def cell(row, system):
    values = row.values.get(system)
    if not values:
        return ""
    text = number(row.median(system))
    if len(values) > 1:
        text += f" ({number(min(values))} .. {number(max(values))})"
    return text


def lines(rows):
    """Cells of the table: a line for each system that a figure is held against."""
    for row in rows:
        for other in row.against:
            if not row.is_complete():
                continue
            yield [f"{row.title}, {row.unit}", cell(row, "zabfs"), TITLES[other], cell(row, other),
                   row.limit_text, ratio_text(row.ratio(other)),
                   "ok" if row.reaches(other) else "short"]


HEAD = ["figure", "zabfs", "against", "", "required", "measured", ""]


def table(rows):
    """For a terminal."""
    cells = [HEAD, *lines(rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()
                     for line in cells)


def markdown(rows, where, rounds, kills, floors):
    """The part of README.md that is measured."""
    cells = [HEAD, ["---"] * len(HEAD), *lines(rows)]
    text = (f"{where['processors']} processors ({where['model']}), "
            f"{round(where['memory_mib'] / 1024)} GiB, Linux {where['kernel']}, "
            f"{where['file_system']} on {where['disk']}. ZooKeeper\n{where['zookeeper']}; etcd "
            f"{where['etcd']}.\nMedians of {rounds} rounds, for the loss of the leader of {kills} "
            "kills (lowest .. highest):\n\n")
    text += "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"
    if floors:
        text += "\n```\n" + floors_text(floors) + "\n```\n"
    return text


def put_into(path, text):
    """Between the two marks of a file."""
    begin, end = "<!-- compare.sh -->\n", "<!-- compare.sh: end -->\n"
    head, found, rest = path.read_text().partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise Failure(f"{path} has no place for the table")
    path.write_text(head + begin + text + end + tail)


# Floors of one operation: what the machine takes for what cannot be left out.
#   write  open(O_TRUNC), write and close are three requests of the kernel to the mount (nobody
#          waits for the release); the mount asks its member, a follower: one round trip on a unix
#          socket; the follower asks the leader and is given the proposal, acknowledges it and is
#          given the commit: two round trips over TCP; leader and follower sync at the same time.
#   read   open asks the mount; the value is in the page cache.
FLOORS = {
    "write": {"fdatasync": 1, "tcp": 2, "unix": 1, "fuse": 3},
    "read": {"fuse": 1},
}

# They are measured in both states of the machine: whether its processors sleep when they have nothing
# to do makes more of a difference than most of what is between two programs.
FLOOR_STATES = {"processors that may sleep": False, "processors kept awake": True}


def floor_us(operation, floors):
    return sum(times * floors[name] for name, times in FLOORS[operation].items())


def floors_report(floors, medians):
    """`floors`: lists of us by state and name; `medians`: us of an operation, where it was
    measured."""
    found = {}
    for state, lists in floors.items():
        floor = {name: statistics.median(values) for name, values in lists.items()}
        found[state] = {"us": floor}
        for operation, parts in FLOORS.items():
            if operation in medians and set(parts) <= set(floor):
                found[state][operation] = {
                    "parts": parts, "floor_us": floor_us(operation, floor),
                    "median_us": medians[operation],
                    "floors": medians[operation] / floor_us(operation, floor)}
    return found


def floors_text(found):
    text = []
    for state, one in found.items():
        text.append(f"floors, {state}: " +
                    ", ".join(f"{name} {us:.1f} µs" for name, us in one["us"].items()))
        for operation in FLOORS:
            if operation in one:
                of = one[operation]
                parts = " + ".join(f"{times} x {name}" for name, times in of["parts"].items())
                text.append(f"  one {operation}: {of['median_us']:.1f} µs = {of['floors']:.2f} "
                            f"floors of {of['floor_us']:.1f} µs ({parts})")
    return "\n".join(text)


def said(argv):
    """The first line of what a program prints; nothing where there is no such program."""
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return (done.stdout.splitlines() or [""])[0]


def version(package):
    return said(["dpkg-query", "-W", "-f", "${Version}", package])


def machine(directory, heap):
    """What the numbers depend on."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    home = os.path.realpath(directory)
    device, path, kind = max((m[:3] for m in mounts if (home + "/").startswith(
        m[1].rstrip("/") + "/")), key=lambda m: len(m[1]))
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return {"processors": len(os.sched_getaffinity(0)), "model": model[1] if model else "",
            "memory_mib": memory // 1024, "kernel": platform.release().partition("-")[0],
            "disk": device, "file_system": kind, "free_mib": shutil.disk_usage(path).free >> 20,
            "zookeeper": f"{version('zookeeper')}, {said(['java', '-version'])}, {heap}",
            "etcd": version("etcd-server"), "h2load": version("nghttp2-client")}
