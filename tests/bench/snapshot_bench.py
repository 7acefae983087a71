#!/usr/bin/env python3
"""What a snapshot costs the writers: an ensemble is filled, then written to at a steady pace while
its members take snapshots.

    snapshot_bench.py BUILD [--members N] [--nodes N] [--rate N] [--seconds N] [--dir DIR]

BUILD is a build directory (Release) with zabd and tests/bench/snapshot_load. Prints, per member, how
long the fork took and the snapshot, and its memory; and the latency of writes that were due while some
member wrote a snapshot, and of the others.
"""
import argparse
import datetime
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def free_ports(count):
    """Ports that are free now; zabd binds them a moment later."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Member:
    def __init__(self, args, directory, number, members, entries):
        self.number = number
        data = directory / f"data-{number}"
        data.mkdir()
        conf = directory / f"zabd-{number}.ini"
        conf.write_text(
            f"[member]\nid = {number}\ndata = {data}\nname = bench\n[storage]\n"
            f"snapshot_entries = {entries}\n[ensemble]\n"
            + "".join(f"{n} = 127.0.0.1:{peer}:{client}\n" for n, (peer, client) in members.items()))
        self.log = directory / f"zabd-{number}.log"
        self.process = subprocess.Popen([args.build / "bin" / "zabd", "--config", conf],
                                        stderr=self.log.open("w"))

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
                stamp = datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00"))
                end = stamp.timestamp() * 1000
                found.append((end - int(written[1]) - fork_us / 1000, end, fork_us))
        return found


def load(args, servers, *words):
    return subprocess.run([args.build / "tests" / "bench" / "snapshot_load", servers, *words],
                          check=True, stdout=subprocess.PIPE, text=True).stdout


def latencies(name, values):
    values = sorted(values)
    if values:
        print(f"{name:32} {len(values):7} writes   median {values[len(values) // 2] / 1000:7.2f} ms"
              f"   p99 {values[len(values) * 99 // 100] / 1000:7.2f} ms"
              f"   longest {values[-1] / 1000:7.2f} ms")


def report(members, writes, since):
    windows = []
    for member in members:
        for begin, end, fork_us in member.snapshots():
            if begin >= since:
                windows.append((begin, end))
                print(f"member {member.number}: fork {fork_us / 1000:.1f} ms, snapshot "
                      f"{(end - begin) / 1000:.2f} s")
    inside, outside = [], []
    for due, took in writes:
        hit = any(begin - 5 <= due + took / 1000 and due <= end for begin, end in windows)
        (inside if hit else outside).append(took)
    latencies("while a snapshot was written", inside)
    latencies("else", outside)


def bench(args, directory):
    ports = free_ports(2 * args.members)
    addresses = {n + 1: (ports[2 * n], ports[2 * n + 1]) for n in range(args.members)}
    entries = max(10, args.rate * args.seconds // args.snapshots)
    members = [Member(args, directory, n, addresses, entries) for n in addresses]
    servers = "+".join(f"127.0.0.1:{client}" for _, client in addresses.values())
    try:
        print(f"{args.members} members, {args.nodes} nodes of 100 bytes, "
              f"{args.rate} writes a second, a snapshot every {entries} entries")
        print(load(args, servers, "fill", str(args.nodes)), end="")
        time.sleep(5)  # the last snapshot of the filling ends
        before = [m.memory() for m in members]
        since = time.time() * 1000
        out = load(args, servers, "pace", str(args.rate), str(args.seconds))
        writes = [tuple(map(int, line.split())) for line in out.splitlines()]
        time.sleep(5)
        report(members, writes, since)
        for member, (rss, huge) in zip(members, before):
            rss_after, huge_after = member.memory()
            print(f"member {member.number}: resident {rss // 1024} MiB before (huge pages "
                  f"{huge // 1024}), {rss_after // 1024} MiB after ({huge_after // 1024})")
    finally:
        for member in members:
            member.process.terminate()
        for member in members:
            member.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=1000000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--snapshots", type=int, default=3, help="wanted in that time")
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
