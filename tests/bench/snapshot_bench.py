#!/usr/bin/env python3
"""What a snapshot costs the writers: an ensemble is filled, then written to at a steady pace while
its members take snapshots.

    snapshot_bench.py BUILD [--members N] [--nodes N] [--rate N] [--seconds N] [--dir DIR] [--lose]

BUILD is a build directory (Release) with zabd and tests/bench/snapshot_load. Prints, per member, how
long the fork took and the snapshot, and its memory; and the latency of writes that were due while some
member wrote a snapshot, and of the others. With --lose a follower loses its disk half way and gets the
whole state from the leader; the writes that were due meanwhile are then counted apart.
"""
import argparse
import datetime
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "compare"))
from process import free_ports  # noqa: E402


def stamp_ms(line):
    """When a line was logged, in ms since 1970."""
    stamp = datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00"))
    return stamp.timestamp() * 1000


class Member:
    def __init__(self, args, directory, number, members, entries):
        self.number = number
        self.data = directory / f"data-{number}"
        self.conf = directory / f"zabd-{number}.ini"
        self.log = directory / f"zabd-{number}.log"
        self.program = args.build / "bin" / "zabd"
        self.conf.write_text(
            f"[member]\nid = {number}\ndata = {self.data}\nname = bench\n[storage]\n"
            f"snapshot_entries = {entries}\n[ensemble]\n"
            + "".join(f"{n} = 127.0.0.1:{peer}:{client}\n" for n, (peer, client) in members.items()))
        self.start()

    def start(self):
        self.data.mkdir()
        with self.log.open("a") as log:
            self.process = subprocess.Popen([self.program, "--config", self.conf], stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def lose_disk(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.data)
        self.start()

    def is_leader(self):
        roles = re.findall(r" ev=role role=(\w+)", self.log.read_text())
        return bool(roles) and roles[-1] == "leader"

    def sent_ms(self, since):
        """When it had sent a whole state, after `since`."""
        for line in self.log.read_text().splitlines():
            if " ev=snapshot_sent " in line and stamp_ms(line) >= since:
                return stamp_ms(line)
        return None

    def memory(self):
        """KiB that are resident, and those of them in huge pages."""
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        field = {m[1]: int(m[2]) for m in re.finditer(r"^(\w+): +(\d+) kB", text, re.M)}
        return field["Rss"], field["AnonHugePages"]

    def snapshots(self):
        """(begin, end, fork_us) of each one in the log, times in ms since 1970."""
        found, fork_us = [], 0
        for line in self.log.read_text().splitlines():
            started = re.search(r"mod=snapshot ev=started .*fork_us=(\d+)", line)
            written = re.search(r"mod=snapshot ev=written .*ms=(\d+)", line)
            if started:
                fork_us = int(started[1])
            elif written:
                end = stamp_ms(line)
                found.append((end - int(written[1]) - fork_us / 1000, end, fork_us))
        return found


def load_start(args, servers, *words):
    return subprocess.Popen([args.build / "tests" / "bench" / "snapshot_load", servers, *words],
                            stdout=subprocess.PIPE, text=True)


def load_end(process):
    out, _ = process.communicate()
    if process.returncode != 0:
        sys.exit("snapshot_load failed")
    return out


def latencies(name, values):
    values = sorted(values)
    if values:
        print(f"{name:32} {len(values):7} writes   median {values[len(values) // 2] / 1000:7.2f} ms"
              f"   p99 {values[len(values) * 99 // 100] / 1000:7.2f} ms"
              f"   longest {values[-1] / 1000:7.2f} ms")


def report(members, writes, since, transfer):
    windows = []
    for member in members:
        for begin, end, fork_us in member.snapshots():
            if begin >= since:
                windows.append((begin, end))
                print(f"member {member.number}: fork {fork_us / 1000:.1f} ms, snapshot "
                      f"{(end - begin) / 1000:.2f} s")
    snapshot, sending, other = [], [], []
    for due, took in writes:
        ended = due + took / 1000
        if transfer and transfer[0] <= ended and due <= transfer[1]:
            sending.append(took)
        elif any(begin <= ended and due <= end for begin, end in windows):
            snapshot.append(took)
        else:
            other.append(took)
    latencies("while a snapshot was written", snapshot)
    latencies("while a state was sent", sending)
    latencies("else", other)


def lose_follower(args, members):
    """From when a follower lost its disk to when it had been sent all; (begin, end) in ms."""
    time.sleep(args.seconds / 2)
    follower = [m for m in members if not m.is_leader()][-1]  # the writer is attached to the first
    begin = time.time() * 1000
    follower.lose_disk()
    for _ in range(600):
        time.sleep(0.1)
        ends = [end for m in members if (end := m.sent_ms(begin)) is not None]
        if ends:
            print(f"member {follower.number} lost its disk, and had been sent the state after "
                  f"{(ends[0] - begin) / 1000:.2f} s")
            return begin, ends[0]
    sys.exit("the member that lost its disk was not sent a state in a minute")


def bench(args, directory):
    ports = free_ports(2 * args.members)
    addresses = {n + 1: (ports[2 * n], ports[2 * n + 1]) for n in range(args.members)}
    entries = max(10, args.rate * args.seconds // args.snapshots)
    members = [Member(args, directory, n, addresses, entries) for n in addresses]
    servers = "+".join(f"127.0.0.1:{client}" for _, client in addresses.values())
    transfer = None
    try:
        print(f"{args.members} members, {args.nodes} nodes of 100 bytes, "
              f"{args.rate} writes a second, a snapshot every {entries} entries", flush=True)
        print(load_end(load_start(args, servers, "fill", str(args.nodes))), end="", flush=True)
        time.sleep(5)  # the last snapshot of the filling ends
        before = [m.memory() for m in members]
        since = time.time() * 1000
        pace = load_start(args, servers, "pace", str(args.rate), str(args.seconds))
        if args.lose:
            transfer = lose_follower(args, members)
        writes = [tuple(map(int, line.split())) for line in load_end(pace).splitlines()]
        time.sleep(5)
        report(members, writes, since, transfer)
        for member, (rss, huge) in zip(members, before):
            rss_after, huge_after = member.memory()
            print(f"member {member.number}: resident {rss // 1024} MiB before (huge pages "
                  f"{huge // 1024}), {rss_after // 1024} MiB after ({huge_after // 1024})")
    finally:
        for member in members:
            member.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=1000000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--snapshots", type=int, default=3, help="wanted in that time")
    parser.add_argument("--lose", action="store_true", help="a follower loses its disk half way")
    parser.add_argument("--dir", help="for data and logs (default: a new one in /tmp)")
    args = parser.parse_args()
    args.build = args.build.resolve()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="zabfs-bench-", dir=args.dir))
    try:
        bench(args, directory)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
