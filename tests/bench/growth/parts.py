"""What growth.py measures, part by part. A part yields nothing but rows: numbers under the columns
that its table and its plots (report.py) name."""
import os
import pathlib
import random
import statistics
import subprocess
import time

from ensemble import Ensemble, SystemCalls, children, cpu_seconds, run_json, switches

COUNTS = [1000, 3000, 10000, 30000, 100000, 300000, 1000000]
COUNTS_QUICK = [1000, 10000, 100000]


def say(*words):
    print(*words, flush=True)


def median_of(rounds, key):
    return statistics.median(r[key] for r in rounds)


# --- files: writes next to more and more files --------------------------------------------------

def some_files(mount, count, steps):
    """A sample of the `count` files that were made, the same one in each run."""
    names = []
    for number in random.Random(count).sample(range(count), 300):
        step = max(s for s in [0, *steps] if s <= number)
        place = number - step
        names.append(f"{mount}/upto{step}-{place // 1000}/f{place}")
    return names


def measure_files(args):
    counts = COUNTS_QUICK if args.quick else COUNTS
    rows = []
    with Ensemble(args.build, where=args.dir) as small, Ensemble(args.build, where=args.dir) as e:
        bench = e.tools / "growth_bench"
        mount, small_mount = e.follower_mount(), small.follower_mount()
        small.fill(counts[0], "upto0-")
        have = 0
        for count in counts:
            e.fill(count - have, f"upto{have}-")
            have = count
            e.wait_quiet()
            files = some_files(mount, count, counts)
            for f in files:  # their first lookups are not what is measured
                pathlib.Path(f).stat()
            rounds = []
            for _ in range(3 if args.quick else 7):  # in turn: what disturbs one disturbs all
                begun, _ = e.cpu()
                write = run_json(bench, "write", "-n", 300, mount / "bench")["median_us"]
                cpu = (e.cpu()[0] - begun) / 300 * 1e6
                among = run_json(bench, "write", "-n", 300, *files)["median_us"]
                beside = run_json(bench, "write", "-n", 300, small_mount / "bench")["median_us"]
                rounds.append({"write": write, "cpu": cpu, "among": among, "small": beside})
            e.wait_quiet()
            rows.append({"files": count, "write_us": median_of(rounds, "write"),
                         "among_us": median_of(rounds, "among"),
                         "small_us": median_of(rounds, "small"),
                         "cpu_us": median_of(rounds, "cpu"),
                         "ratio": statistics.median(r["write"] / r["small"] for r in rounds),
                         "member_mib": e.member_mib(),
                         "mount_mib": max(e.mount_mib(n + 1) for n in range(e.members))})
            say("files", rows[-1])
    return rows


# --- ls: directories with more and more children ------------------------------------------------

def real_ls(path):
    begin = time.monotonic()
    subprocess.run(["ls", "-f", path], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def measure_ls(args):
    rows = []
    with Ensemble(args.build, where=args.dir) as e:
        mount = 2  # its files came from another member
        for count in COUNTS_QUICK if args.quick else COUNTS:
            prefix = f"ls{count}-"
            e.fill(count, prefix, count)
            e.wait_quiet()
            path = e.mounts[mount - 1] / f"{prefix}0"
            before = e.mount_mib(mount)
            e.mount_peak_reset(mount)
            cpu = cpu_seconds(e.pid("zabfs", mount))
            rounds = [run_json(e.tools / "growth_bench", "ls", path) for _ in range(5)]
            if any(r["entries"] != count for r in rounds):
                raise AssertionError(f"{path}: not {count} entries")
            cpu = cpu_seconds(e.pid("zabfs", mount)) - cpu
            ls = statistics.median(real_ls(path) for _ in range(3))
            rows.append({"entries": count, "first_ms": median_of(rounds, "first_us") / 1000,
                         "all_ms": median_of(rounds, "all_us") / 1000, "ls_ms": ls * 1000,
                         "entry_us": median_of(rounds, "all_us") / count,
                         "gap_ms": median_of(rounds, "longest_us") / 1000,
                         "cpu_ms": cpu / len(rounds) * 1000, "before_mib": before,
                         "peak_mib": e.mount_peak_mib(mount)})
            say("ls", rows[-1])
    return rows


# --- events: more and more watched directories, more and more mounts ----------------------------

def measure_directories(args):
    counts = [1, 10, 100] if args.quick else [1, 3, 10, 30, 100, 300, 1000]
    rounds = {count: [] for count in counts}
    with Ensemble(args.build, where=args.dir) as e:
        for _ in range(3):  # in turn: what disturbs one disturbs all
            for count in counts:
                rounds[count].append(run_json(e.tools / "growth_bench", "event", "-n", 200, "-d",
                                              count, e.mounts[0], e.mounts[1]))
    rows = [{"directories": count, "median_us": median_of(rounds[count], "median_us"),
             "p99_us": median_of(rounds[count], "p99_us")} for count in counts]
    for row in rows:
        say("directories", row)
    return rows


def measure_mounts(args):
    rows = []
    with Ensemble(args.build, where=args.dir) as e:
        for count in [1, 4] if args.quick else [1, 2, 4, 8, 12, 16, 24]:
            e.add_mounts(count + 1 - len(e.mounts))  # and the one that is written on
            cpu, _ = e.cpu()
            r = run_json(e.tools / "growth_bench", "event", "-n", 300, *e.mounts[:count + 1])
            e.wait_quiet()
            cpu = e.cpu()[0] - cpu
            rows.append({"mounts": count, "median_us": r["median_us"],
                         "last_us": r["all_median_us"],
                         "busy_us": cpu / 300 * 1e6 / os.cpu_count()})
            say("mounts", rows[-1])
    return rows


# --- members: throughput of larger ensembles ----------------------------------------------------

def with_cpu(e, count, *words):
    """What the program says, and the processor time of all of the ensemble for each operation."""
    begun, _ = e.cpu()
    result = run_json(*words)
    e.wait_quiet()
    result["cpu_us"] = (e.cpu()[0] - begun) / count * 1e6
    return result


def measure_members(args):
    rows = []
    for count in [1, 3] if args.quick else [1, 3, 5, 7]:
        with Ensemble(args.build, members=count, where=args.dir) as e:
            e.wait_quiet()
            client, mounts, one = [], [], []
            for _ in range(3):
                client.append(with_cpu(e, 50000, e.tools / "zab_bench", "async", "-n", 50000,
                                       "-w", 0, e.server()))
                mounts.append(with_cpu(e, 32 * 200, e.tools / "fs_bench", "write", "-c", 32,
                                       "-n", 200, "-w", 0, *e.mounts))
                one.append(with_cpu(e, 300, e.tools / "fs_bench", "write", "-n", 300, "-w", 0,
                                    e.follower_mount()))
            rows.append({"members": count, "client_ops": median_of(client, "ops_per_s"),
                         "client_cpu_us": median_of(client, "cpu_us"),
                         "mounts_ops": median_of(mounts, "ops_per_s"),
                         "mounts_cpu_us": median_of(mounts, "cpu_us"),
                         "write_us": median_of(one, "median_us"),
                         "write_cpu_us": median_of(one, "cpu_us")})
            say("members", rows[-1])
    return rows


# --- sizes: values from 10 bytes to 1 MiB -------------------------------------------------------

def measure_sizes(args):
    rows = []
    with Ensemble(args.build, where=args.dir) as e:
        for size in [10, 100, 1024, 10 << 10, 100 << 10, 1 << 20]:
            count = 50 if size > 200000 else 300
            writes, reads = [], []
            for _ in range(1 if args.quick else 3):
                for work, results in (("write", writes), ("read", reads)):
                    results.append(run_json(e.tools / "fs_bench", work, "-n", count, "-s", size,
                                            e.follower_mount()))
                    e.wait_quiet()
            write_us, read_us = median_of(writes, "median_us"), median_of(reads, "median_us")
            rows.append({"bytes": size, "write_us": write_us, "read_us": read_us,
                         "write_mbs": size / write_us, "read_mbs": size / read_us})
            say("sizes", rows[-1])
    return rows


# --- work: what one write is to each process ----------------------------------------------------

def processes(e):
    """(name, pid) of all that take part; the writer is on the mount of a follower."""
    leader = e.leader()
    writer = leader % e.members + 1
    other = writer % e.members + 1
    named = [("the writer's mount", e.pid("zabfs", writer)), ("its member", e.pid("zabd", writer)),
             ("the leader", e.pid("zabd", leader)), ("the other member", e.pid("zabd", other)),
             ("another mount", e.pid("zabfs", other))]
    named += [("... its helpers", pid) for pid in children(e.pid("zabfs", other))]
    return e.mounts[writer - 1], named


def used(named, look):
    """The sum of what look(pid) says, by name."""
    sums = {}
    for name, pid in named:
        sums[name] = sums.get(name, 0) + look(pid)
    return sums


def measure_work(args):
    count = 200 if args.quick else 2000
    with Ensemble(args.build, where=args.dir) as e:
        mount, named = processes(e)
        write = [e.tools / "growth_bench", "write", "-n", count, mount / "file"]
        run_json(*write)
        e.wait_quiet()
        cpu, switched = used(named, cpu_seconds), used(named, switches)
        run_json(*write)
        e.wait_quiet()
        cpu_after, switched_after = used(named, cpu_seconds), used(named, switches)
        trace = SystemCalls([pid for _, pid in named], e.directory)
        run_json(*write)
        e.wait_quiet()
        calls = trace.end()
        by_pid = {pid: sum(c.values()) for (_, pid), c in zip(named, calls)}
        called = used(named, by_pid.get)
        synced = {pid: c.get("pwritev2", 0) + c.get("fdatasync", 0)
                  for (_, pid), c in zip(named, calls)}
        syncs = used(named, synced.get)
    return [{"process": name, "cpu_us": (cpu_after[name] - cpu[name]) / count * 1e6,
             "switches": (switched_after[name] - switched[name]) / count,
             "calls": called[name] / count, "syncs": syncs[name] / count} for name in cpu]


PARTS = {"files": measure_files, "ls": measure_ls, "directories": measure_directories,
         "mounts": measure_mounts, "members": measure_members, "sizes": measure_sizes,
         "work": measure_work}
