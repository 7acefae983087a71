"""A value written on one mount is what the other two read after the barrier, and what its own mount
reads after `close`; values are of 1 byte to 1 MiB, and no reader, whenever it looks, sees a torn one.

1,000 rounds: every tenth with the shell's own echo, sync and cat, the others with the same system
calls made here. Readers on all mounts look all the time.
"""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Flag, Worker, check, read, run, write  # noqa: E402

ROUNDS = 1000
SIZE_MAX = 1 << 20


def make_value(number, size):
    """Any part of it tells which value of which size it is a part of."""
    stamp = b"%08d:%08d;" % (number, size)
    return (stamp * (size // len(stamp) + 1))[:size]


def is_whole(value):
    if len(value) < 8:
        return value.isdigit()
    number = int(value[:8])
    return value == make_value(number, len(value))


def look_all_the_time(path, stop):
    looks = 0
    while not stop.is_set():
        value = read(path)
        check(is_whole(value), f"torn in {path}: {len(value)} bytes, {value[:40]!r}...")
        looks += 1
    return looks


def sizes():
    fixed = [1, 2, 17, 18, 19, 100, 4095, 4096, 4097, 65536, 131072, 131073, SIZE_MAX - 1, SIZE_MAX]
    for i in range(ROUNDS):
        yield fixed[i] if i < len(fixed) else int(2 ** random.uniform(0, 20))


def shell_round(e, writer, value):
    """echo adds a newline, and $(...) takes it off."""
    others = [n for n in (1, 2, 3) if n != writer]
    script = ["set -e", f'echo "$V" > {e.path(writer, "f")}', f'test "$(cat {e.path(writer, "f")})" = "$V"']
    for n in others:
        script += [f"sync {e.path(n, '.zabfs', 'sync')}", f'test "$(cat {e.path(n, "f")})" = "$V"']
    r = subprocess.run(["bash", "-c", "\n".join(script)], env={**os.environ, "V": value.decode()},
                       capture_output=True, timeout=60)
    check(r.returncode == 0, f"shell round: exit {r.returncode}, {r.stderr!r}")


def test(e):
    # The readers' file is another one: echo's newline would look torn to them.
    write(e.path(1, "g"), make_value(0, 100))
    e.barriers()
    stop = Flag(e.top, "stop")
    readers = [Worker(look_all_the_time, e.path(n, "g"), stop) for n in (1, 2, 3)]
    shell = 0
    for i, size in enumerate(sizes()):
        writer = i % 3 + 1
        if i % 10 == 9:
            shell_round(e, writer, make_value(i, min(size, 100000)))
            shell += 1
            continue
        value = make_value(i, size)
        for name in ("f", "g") if i % 4 == 0 else ("g",):
            write(e.path(writer, name), value)
            got = read(e.path(writer, name))
            check(got == value, f"round {i}, own mount m{writer}: {len(got)} for {size} bytes")
            for n in (1, 2, 3):
                if n != writer:
                    e.barrier(n)
                    got = read(e.path(n, name))
                    check(got == value, f"round {i}, m{n}: {len(got)} bytes for {size}: {got[:40]!r}")
    stop.set()
    looks = sum(w.result(30) for w in readers)
    print(f"{ROUNDS} rounds ({shell} of them in bash), {looks} looks of readers, none torn")


run(test, seconds=230)
