"""compare [--rounds N] [--only FIGURE,...] [--quick] [--smoke] [--awake] [--dir DIR] [--json FILE]
        [--readme FILE] --build DIR

The same work on zabfs, ZooKeeper and etcd, in turn; one table. tests/bench/compare.sh runs it.
"""
import argparse
import contextlib
import dataclasses
import json
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import time

import life
import report
from figures import FIGURES, Measure
from process import Failure, processors_awake, say
from systems import SYSTEMS, ZooKeeper

WARM_PART = 0.5


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done of everything."""
    part: float  # of the operations of a figure
    kills: int
    files: int


FULL, QUICK, SMOKE = Size(1.0, 20, 1000000), Size(0.2, 3, 50000), Size(0.001, 1, 2000)

# Measured on ensembles of their own, or, failover, when the other figures have been measured.
LIFE = {
    "failover": ("leader killed to next acknowledged write", "ms", 1 / 3, "1/3 of"),
    "start": ("first start to first write", "ms", 1 / 5, "1/5 of"),
    "memory": ("resident memory of a member, empty", "MiB", 1 / 10, "1/10 of"),
    "memory-files": ("resident memory of a member, {files:,} files of 100 bytes", "MiB", 1 / 3,
                     "1/3 of"),
    "restart": ("restart with {files:,} files to first write", "ms", 1 / 3, "1/3 of"),
}


class Comparison:
    def __init__(self, args):
        self.args = args
        size = SMOKE if args.smoke else QUICK if args.quick else FULL
        self.files = size.files
        self.kills = size.kills
        self.measure = Measure(args.build / "tests" / "bench", size.part)
        self.running = {}  # systems by name
        self.values = {}   # figure -> system -> values
        self.lines = {}    # the same, with all that the programs said
        self.floors = {}
        self.failures = []
        self.repeated = []
        self.beside = {}   # what is measured beside the table: key -> system -> values
        SYSTEMS["zabfs"].bin = args.build / "bin"

    def wants(self, key):
        return not self.args.only or key in self.args.only

    def with_zabfs(self, others):
        """The names of the systems to measure."""
        return ["zabfs"] if self.args.smoke else ["zabfs", *others]

    @contextlib.contextmanager
    def noted(self, what):
        """What fails here is said at the end; the rest is measured all the same."""
        try:
            yield
        except (Failure, OSError, ValueError) as failure:
            say(f"{what} failed: {failure}")
            self.failures.append(f"{what}: {failure}")

    def twice(self, what, work):
        """A measurement that failed is made once more, which is said; then it counts as failed."""
        try:
            return work()
        except (Failure, OSError) as failure:
            say(f"{what} failed, and is repeated: {failure}")
            self.repeated.append(f"{what}: {failure}")
        return work()

    @staticmethod
    def add(place, key, name, value):
        place.setdefault(key, {}).setdefault(name, []).append(value)

    # --- all running -----------------------------------------------------------------------------

    def start(self, names):
        for name in names:
            say(f"start {name}")
            self.running[name] = SYSTEMS[name](self.args.dir / name)
            self.running[name].start()

    def stop(self):
        """Ends all; its files stay where something failed, to be looked at."""
        for name in list(self.running):
            if self.failures:
                self.running[name].stop()
            else:
                self.running[name].remove()
            del self.running[name]

    def in_turn(self, round_number, names):
        """Which goes first changes from round to round."""
        first = round_number % len(names)
        return names[first:] + names[:first]

    def warm_up(self, figures):
        """Each does all of its work at half the length: Java's compiler has then seen it."""
        say("warm up")
        warm = Measure(self.measure.programs, self.measure.part * WARM_PART)
        for figure in figures:
            for name in self.with_zabfs(figure.against):
                system = self.running[name]
                self.twice(f"warm up, {figure.key} of {name}",
                           lambda f=figure, s=system: warm.figure(f, s))

    def steady_round(self, round_number, figures):
        if self.wants("write") or self.wants("read"):
            self.measure_floors()
        for figure in figures:
            with self.noted(figure.key):
                said = []
                for name in self.in_turn(round_number, self.with_zabfs(figure.against)):
                    system = self.running[name]
                    line = self.twice(f"{figure.key} of {name}",
                                      lambda f=figure, s=system: self.measure.figure(f, s))
                    self.add(self.values, figure.key, name, line[figure.field])
                    self.add(self.lines, figure.key, name, line)
                    said.append(f"{name} {report.number(line[figure.field])}")
                say(f"  {figure.key}: {', '.join(said)} {figure.unit}")

    def measure_floors(self):
        for state, awake in report.FLOOR_STATES.items():
            if awake or not self.args.awake:
                with processors_awake(awake):
                    for name, us in self.measure.floors(self.args.dir).items():
                        self.add(self.floors, state, name, us)

    def measure_steady(self):
        figures = [figure for figure in FIGURES if self.wants(figure.key)]
        names = [name for name in SYSTEMS if name == "zabfs" or
                 any(name in figure.against for figure in figures) or
                 name == "zookeeper" and self.wants("failover")]
        names = [name for name in names if name in self.with_zabfs(names)]
        if figures or self.wants("failover"):
            self.start(names)
        if figures:
            self.warm_up(figures)
            for round_number in range(self.args.rounds):
                say(f"round {round_number + 1} of {self.args.rounds}")
                self.steady_round(round_number, figures)
                self.write_json()
        if self.wants("failover"):
            with self.noted("failover"):
                self.measure_failover()
        self.stop()

    def measure_failover(self):
        for kill in range(self.kills):
            said = []
            for name in self.in_turn(kill, self.with_zabfs(["zookeeper"])):
                system = self.running[name]
                took_ms = self.twice(f"failover of {name}",
                                     lambda s=system: life.failover_ms(self.measure, s))
                self.add(self.values, "failover", name, took_ms)
                said.append(f"{name} {took_ms:.0f} ms")
            say(f"  failover {kill + 1} of {self.kills}: {', '.join(said)}")
        self.write_json()

    # --- one at a time ---------------------------------------------------------------------------

    def measure_life(self):
        if not any(self.wants(key) for key in LIFE if key != "failover"):
            return
        for round_number in range(self.args.rounds):
            say(f"start, memory, restart: round {round_number + 1} of {self.args.rounds}")
            for name in self.in_turn(round_number, self.with_zabfs(["zookeeper"])):
                found = {}
                with self.noted(f"life of {name}"):
                    self.live(name, found)
                for key, value in found.items():
                    self.add(self.values if key in LIFE else self.beside, key, name, value)
            self.write_json()
        self.stop()

    def live(self, name, found):
        """A first start in each round; the ensemble of the first one is filled, and started again
        in each round. Only one runs at a time."""
        key, loaded = f"{name}, new", f"{name}, filled"
        self.running[key] = system = SYSTEMS[name](self.args.dir / f"{name}-{time.monotonic_ns()}")
        life.first_start(self.measure, system, found)
        if (self.wants("memory-files") or self.wants("restart")) and loaded not in self.running:
            life.fill(self.measure, system, self.files, found)
            self.running[loaded] = self.running.pop(key)
        else:
            system.remove()
            del self.running[key]
        if loaded in self.running and self.wants("restart"):
            life.restart(self.measure, self.running[loaded], self.files, found)

    def is_complete(self):
        """Nothing failed, nothing was left out: a result to be published."""
        return (not self.failures and not self.args.quick and not self.args.smoke and
                not self.args.awake and
                all(row.is_complete() for row in self.rows()))

    # --- result ----------------------------------------------------------------------------------

    def rows(self):
        rows = []
        for figure in FIGURES:
            times = f"{figure.limit:g} x"
            rows.append(report.Row(figure.key, figure.title, figure.unit, figure.is_time,
                                   figure.limit, times, figure.against,
                                   self.values.get(figure.key, {})))
        for key, (title, unit, limit, text) in LIFE.items():
            rows.append(report.Row(key, title.format(files=self.files), unit, True, limit, text,
                                   ("zookeeper",), self.values.get(key, {})))
        return rows

    def floors_found(self):
        medians = {key: statistics.median(line["median_us"] for line in self.lines[key]["zabfs"])
                   for key in ("write", "read") if key in self.lines}
        return report.floors_report(self.floors, medians)

    def as_json(self):
        return {"quick": self.args.quick, "smoke": self.args.smoke, "rounds": self.args.rounds, "kills": self.kills,
                "awake": self.args.awake,
                "machine": report.machine(self.args.dir, ZooKeeper.heap),
                "figures": [row.as_json() for row in self.rows() if row.values],
                "floors": self.floors_found(), "beside": self.beside,
                "failures": self.failures, "repeated": self.repeated, "programs": self.lines}

    def write_json(self):
        if self.args.json:
            self.args.json.write_text(json.dumps(self.as_json(), indent=1) + "\n")

    def print(self):
        where = report.machine(self.args.dir, ZooKeeper.heap)
        if self.args.quick:
            print("--quick: a try of the programs, not a result\n")
        if self.args.smoke:
            print("--smoke: zabfs alone, to see that all of its parts work; no result\n")
        print(report.table(self.rows()))
        print("\n" + report.floors_text(self.floors_found()))
        for key, systems in self.beside.items():
            print(f"{key}: " + ", ".join(f"{name} {report.number(statistics.median(values))}"
                                         for name, values in systems.items()))
        print("\n" + "\n".join(f"{key}: {value}" for key, value in where.items()))
        text = report.markdown(self.rows(), where, self.args.rounds, self.kills,
                               self.floors_found())
        if self.args.readme and self.is_complete():
            report.put_into(self.args.readme, text)


def arguments():
    parser = argparse.ArgumentParser(prog="compare.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="figures, separated by commas: "
                        + " ".join([figure.key for figure in FIGURES] + list(LIFE)))
    parser.add_argument("--quick", action="store_true",
                        help="less of everything: shows that it works, its numbers mean nothing")
    parser.add_argument("--smoke", action="store_true",
                        help="next to nothing of everything, and of zabfs alone")
    parser.add_argument("--awake", action="store_true",
                        help="keep the processors awake for all systems, all the time, as zabfs "
                        "does for itself while it is used")
    parser.add_argument("--dir", help="for all data (default: a new one in /var/tmp)")
    parser.add_argument("--json", type=pathlib.Path, help="file for the result as JSON")
    parser.add_argument("--readme", type=pathlib.Path, metavar="FILE",
                        help="put the table of a complete run into README.md, between its "
                        "two marks")
    parser.add_argument("--build", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = {figure.key for figure in FIGURES} | set(LIFE)
    args.only = set(args.only.split(",")) if args.only else set()
    if args.only - known:
        parser.error(f"no such figure: {' '.join(sorted(args.only - known))}")
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    args.build = args.build.resolve()
    return args


def end(signal_number, _):
    raise KeyboardInterrupt(signal.Signals(signal_number).name)


def main():
    args = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    if args.dir:
        pathlib.Path(args.dir).mkdir(parents=True, exist_ok=True)
    home = tempfile.mkdtemp(prefix="zabfs-compare-", dir=args.dir or "/var/tmp")
    args.dir = pathlib.Path(home).resolve()
    began = time.monotonic()
    comparison = Comparison(args)
    try:
        with processors_awake(args.awake):
            comparison.measure_steady()
            comparison.measure_life()
    except (Failure, OSError, ValueError, KeyboardInterrupt) as failure:
        comparison.failures.append(f"ended early: {failure or 'interrupted'}")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # what was started is ended in any case
        comparison.stop()
    if not comparison.failures:
        shutil.rmtree(args.dir, ignore_errors=True)
    comparison.write_json()
    comparison.print()
    say(f"{time.monotonic() - began:.0f} s")
    for failure in comparison.failures:
        say(f"FAILED {failure} (logs: {args.dir})")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
