"""`kill -9` of the leader, 20 times, while all three mounts write: no acknowledged write is lost, none
takes effect twice, and every mount writes again within 2 seconds of the kill.

Each writer appends numbered lines to a file of its own (a lost or doubled append shows), creates
numbered names in a shared queue (a repeated create would make two), and counts in a third file.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Flag, Worker, check, read, run, wait_until, write  # noqa: E402

KILLS = 20
RESUME_S = 2.0


def load(e, n, stop):
    """Returns (lines, creates, count) acknowledged, what had no clear answer, and the times at which
    answers came."""
    acknowledged = {"line": [], "create": [], "count": []}
    unclear = {"line": set(), "create": set(), "count": set()}
    times = []
    number = 0
    log = None
    while not stop.is_set():
        number += 1
        if number % 1000 == 1:  # a file stays small
            log = e.path(n, f"log-{n}-{number // 1000}")
        kind = ("line", "create", "count")[number % 3]
        try:
            if kind == "line":
                write(log, b"%d\n" % number, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            elif kind == "create":
                os.close(os.open(e.path(n, "queue", f"{n}-{number}-#"),
                                 os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            else:
                write(e.path(n, f"count-{n}"), b"%d" % number)
            acknowledged[kind].append(number)
            times.append(time.monotonic())
        except OSError as error:
            unclear[kind].add(number)
            print(f"m{n}: {kind} {number}: {error}", flush=True)
        time.sleep(0.002)
    return acknowledged, unclear, times


def verify(e, n, acknowledged, unclear):
    other = n % 3 + 1
    lines = []
    names = [name for name in os.listdir(e.mount(other)) if name.startswith(f"log-{n}-")]
    for name in sorted(names, key=lambda name: int(name.rsplit("-", 1)[1])):
        lines += [int(line) for line in read(e.path(other, name)).split()]
    check(len(lines) == len(set(lines)), f"m{n}: a line was written twice")
    check(lines == sorted(lines), f"m{n}: lines out of order")
    lost = set(acknowledged["line"]) - set(lines)
    check(not lost, f"m{n}: acknowledged lines lost: {sorted(lost)[:5]}")
    check(set(lines) <= set(acknowledged["line"]) | unclear["line"], f"m{n}: lines that nobody wrote")

    created = [int(name.split("-")[1]) for name in os.listdir(e.path(other, "queue"))
               if name.startswith(f"{n}-")]
    check(len(created) == len(set(created)), f"m{n}: a create took effect twice")
    lost = set(acknowledged["create"]) - set(created)
    check(not lost, f"m{n}: acknowledged creates lost: {sorted(lost)[:5]}")

    count = int(read(e.path(other, f"count-{n}")))
    last = acknowledged["count"][-1]
    check(count == last or (count > last and count in unclear["count"]),
          f"m{n}: counter is {count}, {last} was acknowledged")


def test(e):
    os.mkdir(e.path(1, "queue"))
    e.barriers()
    stop = Flag(e.top, "stop")
    workers = [Worker(load, e, n, stop) for n in (1, 2, 3)]
    kills = []
    time.sleep(1)
    for _ in range(KILLS):
        leader = e.leader()
        kills.append(time.monotonic())
        e.kill("zabd", leader)
        wait_until(lambda: time.monotonic() > kills[-1] + 1.5, 5, "the load to go on for a while")
        e.up()
        e.wait_members()
    stop.set()
    results = [w.result(60) for w in workers]
    e.barriers()
    for n, (acknowledged, unclear, _) in enumerate(results, 1):
        verify(e, n, acknowledged, unclear)

    # The longest time without an answer that begins or falls after the kill and before the next one:
    # the first answer after a kill may be of a write that was already committed.
    pauses = []
    for kill, until in zip(kills, kills[1:] + [time.monotonic()]):
        for _, _, times in results:
            around = [kill] + [t for t in times if kill < t < until] + [until]
            pauses.append(max(b - a for a, b in zip(around, around[1:])))
    total = sum(len(numbers) for acknowledged, _, _ in results for numbers in acknowledged.values())
    unclear = sum(len(numbers) for _, numbers_of, _ in results for numbers in numbers_of.values())
    print(f"{KILLS} kills of the leader, {total} acknowledged writes all there once, {unclear} without "
          f"a clear answer; longest pause {max(pauses):.2f} s, median {sorted(pauses)[len(pauses) // 2]:.2f} s")
    check(max(pauses) <= RESUME_S, f"a pause of {max(pauses):.2f} s")


run(test, seconds=280)
