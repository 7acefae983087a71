"""`zabctl fsck` on the directories of a real ensemble: it names what they hold, changes nothing, and its
verdict is what the member then does. A directory in use is left alone.
"""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import ZABCTL, check, read, run, wait_until, write  # noqa: E402

SOUND, MENDED, FAULTY, UNUSABLE, NOT_DONE = 0, 1, 2, 3, 4


def data(e, n):
    return os.path.join(e.dir, "data", str(n))


def contents(directory):
    return {name: open(os.path.join(directory, name), "rb").read() for name in os.listdir(directory)}


def fsck(directory, *options):
    return subprocess.run([ZABCTL, "fsck", *options, directory], capture_output=True, text=True, timeout=60)


def verdict(directory, expected, *mentions):
    """The exit code is as expected, the report names what it should, and nothing is changed."""
    before = contents(directory)
    r = fsck(directory, "--verbose")
    check(r.returncode == expected, f"exit {r.returncode}, not {expected}:\n{r.stdout}{r.stderr}")
    for mention in mentions:
        check(mention in r.stdout, f"does not say '{mention}':\n{r.stdout}")
    j = fsck(directory, "--json")
    check(j.returncode == expected, f"--json: exit {j.returncode}")
    found = json.loads(j.stdout)
    check(found["verdict"] == ["sound", "mended", "faulty", "unusable"][expected], f"{found}")
    check(contents(directory) == before, "fsck changed the directory")
    return found


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 4]))


def restore(directory, saved):
    shutil.rmtree(directory)
    shutil.copytree(saved, directory)


def starts(e, n, *mentions):
    """Member n starts and says this of its recovery."""
    skip = len(e.log("zabd", n))
    e.start_member(n)
    line = [text for text in e.log("zabd", n)[skip:].decode().split("\n") if "ev=recovered" in text][0]
    for mention in mentions:
        check(mention in line, f"'{mention}' is not in: {line}")
    e.kill("zabd", n)


def configure(e):
    """Small segments: whole directories are compared here, again and again."""
    e.down()
    for n in (1, 2, 3):
        shutil.rmtree(data(e, n))
        os.mkdir(data(e, n))
        with open(os.path.join(e.dir, "conf", f"zabd-{n}.ini"), "a") as f:
            f.write("\n[storage]\nsegment_size = 1048576\n")
    e.up()


def test(e):
    configure(e)
    for i in range(60):
        write(e.path(1 + i % 3, f"f{i}"), b"%d" % i)
    e.barriers()
    r = fsck(data(e, 1))
    check(r.returncode == NOT_DONE and "in use" in r.stderr and r.stderr.count("\n") == 1, r.stderr)
    e.kill("zabd", 1, 2, 3)
    for n in (1, 2, 3):
        found = verdict(data(e, n), SOUND, f"member {n}", "promised epoch")
        check(found["member"] == n and found["start"]["entries"] >= 60, f"{found}")
        check(found["segments"][-1]["state"] == "spare", f"{found}")

    mine = data(e, 1)
    saved = os.path.join(e.top, "saved")
    shutil.copytree(mine, saved)
    log = os.path.join(mine, "log-0000000000000001")

    flip(os.path.join(mine, "meta-1"), 60)
    verdict(mine, MENDED, "meta-1: missing or unreadable")
    starts(e, 1, "faulty=0")
    verdict(mine, SOUND)

    restore(mine, saved)
    used = len(contents(mine)[os.path.basename(log)].rstrip(b"\0"))
    with open(log, "r+b") as f:  # behind the last batch, in a place that only a later one could have written
        f.seek(used // 4096 * 4096 + 4096 + 512)
        f.write(b"x" * 512)
    verdict(mine, FAULTY, "damaged at", "faulty")
    starts(e, 1, "faulty=1")

    restore(mine, saved)
    flip(log, 8192 + 30)
    found = verdict(mine, FAULTY, "damaged at 8192", "takes the state from a leader")
    starts(e, 1, "faulty=1", f"claimed={found['start']['claimed']}")

    restore(mine, saved)
    flip(os.path.join(mine, "meta-0"), 60)
    flip(os.path.join(mine, "meta-1"), 60)
    verdict(mine, UNUSABLE, "no valid copy of identity and vote", "refuses")
    with open(os.path.join(e.top, "refused"), "wb") as out:
        r = subprocess.run([os.path.join(os.path.dirname(ZABCTL), "zabd"), "--config",
                            os.path.join(e.dir, "conf", "zabd-1.ini")], stderr=out, timeout=30)
    check(r.returncode == 1, f"zabd: exit {r.returncode}")

    # What fsck says to do about it helps.
    shutil.rmtree(mine)
    os.mkdir(mine)
    verdict(mine, SOUND, "a new member would begin here")
    e.up()
    wait_until(lambda: (e.member_status(1) or {}).get("role") in ("leader", "follower"), 30, "member 1")
    e.wait_caught_up()
    e.barriers()
    for i in range(60):
        check(read(e.path(1, f"f{i}")) == b"%d" % i, f"f{i} is lost")

    for argv in ([], [mine, mine], ["--nothing", mine], [os.path.join(e.top, "none")]):
        r = subprocess.run([ZABCTL, "fsck", *argv], capture_output=True, text=True, timeout=30)
        check(r.returncode == NOT_DONE and r.stderr.count("\n") == 1, f"{argv}: {r.returncode} {r.stderr}")
    print("sound, mended, faulty and unusable told right, nothing changed")


run(test, seconds=110)
