"""Snapshots, with tiny segments: each member writes them by itself while writing goes on, keeps two,
purges the log behind the older one, and starts from them. A member whose data directory was emptied
takes the leader's state and never votes before it has it.
"""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402

SNAPSHOT_ENTRIES = 300
SEGMENT_SIZE = 65536
FILES = 50
ROUNDS = 40


def configure(e):
    """Starts anew: members read their configuration at start, and segments keep their size."""
    e.down()
    for n in (1, 2, 3):
        shutil.rmtree(data(e, n))
        os.mkdir(data(e, n))
        with open(os.path.join(e.dir, "conf", f"zabd-{n}.ini"), "a") as f:
            f.write(f"\n[storage]\nsnapshot_entries = {SNAPSHOT_ENTRIES}\nsegment_size = {SEGMENT_SIZE}\n")
    e.up()


def data(e, n):
    return os.path.join(e.dir, "data", str(n))


def files(e, n, prefix):
    return sorted(name for name in os.listdir(data(e, n)) if name.startswith(prefix))


def fill(e, first, last):
    for number in range(first, last):
        for i in range(FILES):
            write(e.path(1 + i % 3, f"f{i}"), b"%d %d" % (i, number))


def verify(e, number):
    e.barriers()
    for n in (1, 2, 3):
        for i in range(FILES):
            got = read(e.path(n, f"f{i}"))
            check(got == b"%d %d" % (i, number), f"m{n}: f{i} is {got!r}, not of round {number}")


def same_state(e):
    """All members stand at one index with one digest."""
    def same():
        all_status = [e.member_status(n) for n in (1, 2, 3)]
        return None not in all_status and len({(s["applied"], s["digest"]) for s in all_status}) == 1
    wait_until(same, 30, "one state on all members")


def is_purged(e, n):
    """Two snapshots, and no more log than since the older one."""
    entries = ROUNDS * FILES
    return len(files(e, n, "snap-")) == 2 and int(e.member_status(n)["snapshot"]) > entries // 2


def test(e):
    configure(e)
    fill(e, 0, ROUNDS)
    for n in (1, 2, 3):
        wait_until(lambda n=n: is_purged(e, n), 30, f"two snapshots of member {n}")
        check(files(e, n, "log-")[0] != "log-0000000000000001", f"member {n} keeps all of its log")
        check(not [name for name in os.listdir(data(e, n)) if name.endswith(".tmp")],
              f"member {n} leaves temporary files")
    verify(e, ROUNDS - 1)

    e.kill("zabd", 1, 2, 3)
    e.up()
    verify(e, ROUNDS - 1)
    same_state(e)

    # Disks are lost one after the other; each comes back from the others.
    for n in (1, 2, 3):
        e.kill("zabd", n)
        shutil.rmtree(data(e, n))
        os.mkdir(data(e, n))
        fill_others = e.path(n % 3 + 1, "while-away")
        write(fill_others, b"%d" % n)
        e.up()
        wait_until(lambda n=n: (e.member_status(n) or {}).get("role") in ("leader", "follower"), 30,
                   f"member {n} to be back")
        same_state(e)
        check(files(e, n, "snap-"), f"member {n} took no snapshot from the leader")
        verify(e, ROUNDS - 1)
        check(read(e.path(n, "while-away")) == b"%d" % n, f"m{n} shows what it missed")

    # A lost disk does not vote: with the only other copy away, nothing is elected and nothing lost.
    leader = e.leader()
    behind, wiped = [n for n in (1, 2, 3) if n != leader]
    e.kill("zabd", behind)
    write(e.path(leader, "f0"), b"only on two")
    e.kill("zabd", leader, wiped)
    shutil.rmtree(data(e, wiped))
    os.mkdir(data(e, wiped))
    for n in (behind, wiped):
        e.start_member(n)
    time.sleep(4)
    for n in (behind, wiped):
        role = e.member_status(n)["role"]
        check(role != "leader", f"member {n} was elected by a lost disk")
    e.up()
    e.barriers()
    for n in (1, 2, 3):
        check(read(e.path(n, "f0")) == b"only on two", f"m{n} lost an acknowledged write")
    print(f"{ROUNDS * FILES} changes, snapshots every {SNAPSHOT_ENTRIES}, four disks lost, nothing else")


run(test, seconds=170)
