"""A log that is damaged in the middle: the member says so, never leads, and goes on voting with the
place that its log had reached, so that with one other member down the third, which holds as much, is
elected by that vote. When a quorum of sound members is there it takes the leader's state and is sound
again. Nothing is lost.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, read, run, wait_until, write  # noqa: E402

FILES = 100
BATCH_2 = 8192  # the log's first batches are small: one block each


def segments(e, n):
    directory = os.path.join(e.dir, "data", str(n))
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.startswith("log-")]


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 0x10]))


def role(e, n):
    return (e.member_status(n) or {}).get("role")


def verify(e, mounts, generation):
    for n in mounts:
        e.barrier(n)
        for i in range(FILES):
            check(read(e.path(n, f"f{i}")) == b"%d %d" % (generation, i), f"m{n}: f{i} is another")


def fill(e, n, generation):
    for i in range(FILES):
        write(e.path(n, f"f{i}"), b"%d %d" % (generation, i))


def test(e):
    fill(e, 1, 1)
    e.barriers()
    e.wait_caught_up()
    down, damaged, sound = 1, 2, 3
    e.kill("zabd", down, damaged, sound)
    flip(segments(e, damaged)[0], BATCH_2 + 40)

    before = len(e.log("zabd", damaged))
    e.start_member(damaged)
    e.start_member(sound)
    wait_until(lambda: role(e, sound) == "leader", 20, "the sound one to be elected by the damaged one")
    check(b"faulty=1" in e.log("zabd", damaged)[before:], "the damage was not found")
    # A vote is all it can give: to commit anything takes two sound members.
    e.start_member(down)
    wait_until(lambda: b"ev=snapshot_installed" in e.log("zabd", damaged)[before:], 20, "its repair")
    e.wait_members()
    e.wait_caught_up()
    verify(e, (1, 2, 3), 1)
    fill(e, sound, 2)
    e.barriers()

    # It is sound, and counts when the one that repaired it is gone.
    e.kill("zabd", down, damaged, sound)
    before = len(e.log("zabd", damaged))
    e.start_member(damaged)
    e.start_member(down)
    wait_until(lambda: "leader" in (role(e, damaged), role(e, down)), 20, "a leader of the other two")
    check(b"faulty=0" in e.log("zabd", damaged)[before:], "the damage was not repaired")
    verify(e, (down, damaged), 2)
    e.start_member(sound)
    e.wait_members()
    verify(e, (1, 2, 3), 2)
    print(f"{FILES} files kept through a damaged log, repaired by the leader that it had elected")


run(test, seconds=150)
