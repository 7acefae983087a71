#!/usr/bin/env python3
"""Chaos: an ensemble with mounts in network namespaces, worked on by many processes, while members,
mounts and workers are killed and stopped, links are cut and disks fail. Afterwards everything is
mended, all members and mounts must show one state, and history_check judges what every call said
against the members' logs.

    chaos.py --members N --seconds S [--round S] [--workers K] [--pause-ms MS] [--seed X] [--keep]
             [--lying-disks]
    chaos.py --judge DIR...

Runs in rounds, each on a new ensemble. Needs root, for namespaces and mounts.
"""
import argparse
import collections
import os
import random
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import BIN, World, check, clean  # noqa: E402
from nemesis import HARMS, Nemesis  # noqa: E402
from zabfs import Failure  # noqa: E402

HISTORY_CHECK = os.path.join(BIN, "..", "tests", "check", "history_check")
CHANGES = ("write", "append", "excl", "number", "delete")
CALL_S_MAX = 45  # a call is several requests of the kernel, and each may take the deadline of 10 s


class Totals:
    """Over all rounds."""

    def __init__(self):
        self.outcomes = collections.Counter()  # (mode, kind, errno)
        self.harms = collections.Counter()
        self.disk_ends = 0
        self.epochs = 0
        self.longest = {"any": 0.0, "with a majority unharmed": 0.0}
        self.slowest = {}  # kind: seconds
        self.findings = []

    def take_history(self, world, nemesis):
        """Counts, and the pauses between acknowledged changes."""
        acknowledged = []
        for path in paths_in(world.path("history")):
            with open(path) as f:
                for line in f:
                    _, _, mode, kind, call_ns, ret_ns, errno, _, _ = line.rstrip("\n").split("\t")
                    self.outcomes[mode, kind, errno] += 1
                    if ret_ns == "-":
                        continue
                    seconds = (int(ret_ns) - int(call_ns)) / 1e9
                    self.slowest[kind] = max(self.slowest.get(kind, 0), seconds)
                    if kind in CHANGES and errno == "0":
                        acknowledged.append(int(ret_ns) / 1e9)
        acknowledged.sort()
        for a, b in zip(acknowledged, acknowledged[1:]):
            self.take_pause(nemesis, a, b)

    def take_pause(self, nemesis, a, b):
        """A pause that a harmed majority may have to do with, up to an election after it, is one of its
        own kind."""
        self.longest["any"] = max(self.longest["any"], b - a)
        if not any(start < b and a < end + 3 for start, end in nemesis.majority_spans):
            key = "with a majority unharmed"
            self.longest[key] = max(self.longest[key], b - a)

    def print(self, seconds):
        kinds = sorted({key[1] for key in self.outcomes})
        print(f"\ncalls: {sum(self.outcomes.values())} in {seconds:.0f} s")
        for mode, text in (("d", "reads=local"), ("l", "reads=linearizable")):
            for kind in kinds:
                errors = {e: c for (m, k, e), c in self.outcomes.items() if m == mode and k == kind}
                ok = errors.pop("0", 0)
                rest = ", ".join(f"{e} {c}" for e, c in sorted(errors.items(), key=lambda x: -x[1]))
                print(f"  {text:19} {kind:7} ok {ok:7}  {rest}")
        print(f"harm: {sum(self.harms.values())}")
        for harm in HARMS:
            print(f"  {harm:17} {self.harms[harm]:5}")
        kills = sum(c for h, c in self.harms.items() if h.startswith(("kill", "cut"))
                    and h not in ("kill mount", "kill worker"))
        print(f"kills and cuts of members: {kills}; members ended by their disks: {self.disk_ends}; "
              f"epochs: {self.epochs}")
        for text, pause in self.longest.items():
            print(f"longest pause of acknowledged changes, {text}: {pause:.2f} s")
        print("slowest call: " + ", ".join(f"{k} {s:.1f} s" for k, s in sorted(self.slowest.items())))


# --- one round


def end_workers(world):
    for w in world.workers:
        w.signal(15)
    for w in world.workers:
        code = w.end(CALL_S_MAX)
        check(code in w.good_exits, f"{w.name}: exit {code}")
        w.close_history()


def paths_in(directory):
    return [os.path.join(directory, name)
            for name in sorted((n for n in os.listdir(directory) if n.isdigit()), key=int)]


def judge(top):
    """What history_check says of a round's files; True if all is well."""
    if not os.path.exists(HISTORY_CHECK):
        print("  history_check is not there: nothing was judged", flush=True)
        return False
    history = paths_in(os.path.join(top, "history"))
    data = paths_in(os.path.join(top, "data"))
    started = time.monotonic()
    r = subprocess.run([HISTORY_CHECK, "--log", *data, "--", *history], capture_output=True, text=True,
                       errors="replace")
    print("".join(f"  {line}\n" for line in (r.stdout + r.stderr).splitlines()[-40:]), end="")
    print(f"  history_check: exit {r.returncode} after {time.monotonic() - started:.0f} s", flush=True)
    return r.returncode == 0


def harm_for(world, nemesis, seconds):
    started = said = time.monotonic()
    while time.monotonic() < started + seconds:
        nemesis.turn(True)
        time.sleep(0.02)
        if time.monotonic() > said + 30:
            said = time.monotonic()
            print(f"  {said - started:4.0f} s: {sum(nemesis.counts.values())} harms, leader "
                  f"{world.leader()}, {history_size(world)} KiB of history", flush=True)


def history_size(world):
    directory = world.path("history")
    return sum(os.path.getsize(os.path.join(directory, n)) for n in os.listdir(directory)
               if not n.endswith(".open")) // 1024


def finish(world, nemesis):
    """From the last harm to the verdict."""
    nemesis.settle(30)
    time.sleep(2)  # calls that meet nothing bad any more
    nemesis.watch()
    end_workers(world)
    world.converge(60)
    tree = world.compare_mounts()
    world.judge_guards()
    status = world.status()
    world.end()
    one = next(iter(status.values()))
    print(f"  converged at index {one['applied']}, epoch {one['epoch']}, digest {one['digest']}; "
          f"{len(tree)} files the same on {len(world.mounts)} mounts", flush=True)
    return int(one["epoch"])


def one_round(args, seconds, totals):
    """True if nothing was found."""
    world = World(args.members, args.workers, args.pause_ms, args.keep, args.lying_disks)
    nemesis = Nemesis(world)
    ok = False
    try:
        world.start()
        harm_for(world, nemesis, seconds)
        totals.epochs += finish(world, nemesis)
        ok = judge(world.top)
    except BaseException as e:
        traceback.print_exc(file=sys.stdout)
        totals.findings.append(str(e))
        world.print_logs()
        if not isinstance(e, (Failure, OSError, subprocess.SubprocessError)):
            raise
    finally:
        totals.harms.update(nemesis.counts)
        totals.disk_ends += nemesis.disk_ends
        totals.take_history(world, nemesis)
        keep = args.keep or not ok
        if keep:
            print(f"  kept: {world.top}", flush=True)
        world.close(keep)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--round", type=float, default=300, help="seconds of harm on one ensemble")
    parser.add_argument("--workers", type=int, default=4, help="on each of the mounts, two a member")
    parser.add_argument("--pause-ms", type=int, default=60, help="of a worker between two calls, mean")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="keep logs, data and history")
    parser.add_argument("--lying-disks", action="store_true",
                        help="syncs do nothing: shows that a loss is found")
    parser.add_argument("--judge", nargs="+", metavar="DIR", help="only judge rounds that were kept")
    parser.add_argument("--clean", help="for the guardian alone")
    args = parser.parse_args()
    if args.clean:
        answer = sys.stdin.read()
        clean(args.clean, args.keep or "keep" in answer)
        return 0
    if args.judge:
        return 0 if all([judge(top) for top in args.judge]) else 1
    random.seed(args.seed)
    totals = Totals()
    good = bad = 0
    left = args.seconds
    print(f"{args.members} members, {args.seconds:.0f} s, seed {args.seed}", flush=True)
    while left > 0:
        seconds = min(left, args.round)
        left -= seconds
        print(f"round {good + bad + 1}", flush=True)
        if one_round(args, seconds, totals):
            good += 1
        else:
            bad += 1
    totals.print(args.seconds)
    for finding in totals.findings:
        print(f"found: {finding[:500]}")
    print(f"{good} passed, {bad} failed")
    return 0 if bad == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
