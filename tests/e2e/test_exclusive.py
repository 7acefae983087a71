"""Exclusive create (`set -C` and `mkdir`) raced from three mounts: exactly one winner each, and the
others are told that the name exists.

1,000 rounds, half of them files and half directories, all by bash: one shell for each mount makes
both kinds, when this program tells all three at once.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, read, run  # noqa: E402

ROUNDS = 1000
RACER = r"""
cd "$1"
set -C
while read -r kind name; do
    if [ "$kind" = file ]; then
        text=$( { echo "$2" > "$name"; } 2>&1 ) && echo won || echo "lost $text"
    else
        text=$(mkdir "$name" 2>&1) && echo won || echo "lost $text"
    fi
done
"""


def test(e):
    os.mkdir(e.path(1, "locks"))
    e.barriers()
    racers = [subprocess.Popen(["bash", "-c", RACER, "bash", e.path(n, "locks"), f"m{n}"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE) for n in (1, 2, 3)]
    wins = [0, 0, 0]
    for i in range(ROUNDS):
        kind = "file" if i % 2 == 0 else "directory"
        for racer in racers:
            racer.stdin.write(f"{kind} lock-{i}\n")
        for racer in racers:
            racer.stdin.flush()
        said = [racer.stdout.readline().strip() for racer in racers]
        check(said.count("won") == 1, f"round {i}, {kind}: {said}")
        for text in said:
            check(text == "won" or "exist" in text, f"round {i}, {kind}: {said}")
        winner = said.index("won")
        wins[winner] += 1
        if kind == "file":
            e.barrier(3)
            value = read(e.path(3, "locks", f"lock-{i}"))
            check(value == b"m%d\n" % (winner + 1), f"round {i}: m{winner + 1} won, it says {value!r}")
    for racer in racers:
        racer.stdin.close()
        check(racer.wait(30) == 0, "a racer failed")
    e.barriers()
    for n in (1, 2, 3):
        check(len(os.listdir(e.path(n, "locks"))) == ROUNDS, f"not {ROUNDS} names on m{n}")
    print(f"{ROUNDS} rounds in bash, one winner each; wins of the mounts: {wins}")


run(test, seconds=230)
