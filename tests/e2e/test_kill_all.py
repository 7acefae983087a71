"""`kill -9` of all three members at once, 10 times, and a restart: every acknowledged value is there.

The mounts stay. Their writers get an answer or an error within the deadline of an operation, and go on
when the members are back.
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Flag, Worker, check, read, run, write  # noqa: E402

ROUNDS = 10
NAMES = 20


def load(e, n, stop):
    """Writes rising numbers into its files; returns for each file the last acknowledged, and those
    after it that had no clear answer."""
    last, unclear = {}, {}
    total = number = 0
    while not stop.is_set():
        number += 1
        name = f"v-{n}-{number % NAMES}"
        try:
            write(e.path(n, name), b"%d " % number * random.choice([1, 10, 1000]))
            last[name], unclear[name] = number, []
            total += 1
        except OSError as error:
            unclear.setdefault(name, []).append(number)
            print(f"m{n}: {name} {number}: {error}", flush=True)
    return last, unclear, total


def test(e):
    total = lost_answers = 0
    for i in range(ROUNDS):
        stop = Flag(e.top, f"stop-{i}")
        workers = [Worker(load, e, n, stop) for n in (1, 2, 3)]
        time.sleep(random.uniform(0.3, 1.2))
        e.kill("zabd", 1, 2, 3)
        e.up()
        stop.set()
        results = [w.result(40) for w in workers]
        e.barriers()
        for n, (last, unclear, count) in enumerate(results, 1):
            total += count
            lost_answers += sum(len(numbers) for numbers in unclear.values())
            for name, number in last.items():
                for reader in (1, 2, 3):
                    words = read(e.path(reader, name)).split()
                    check(len(set(words)) == 1 and len(words) in (1, 10, 1000),
                          f"round {i}: {name} on m{reader} is torn: {words[:3]}")
                    found = int(words[0])
                    check(found == number or found in unclear[name],
                          f"round {i}: {name} on m{reader} is {found}, {number} was acknowledged")
    print(f"{ROUNDS} kills of all three, {total} acknowledged writes, {lost_answers} without an answer")


run(test, seconds=230)
