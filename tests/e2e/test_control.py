"""The files under .zabfs: what they say, that they say the truth, and that nothing else is there."""
import errno
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, errno_name, errno_of, read, run, wait_until, write  # noqa: E402

FILES = ["at", "events", "leader", "members", "metrics", "session", "status", "sync", "txn"]


def control(e, name, n=1):
    return read(e.path(n, ".zabfs", name)).decode()


def fields(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def names(e):
    directory = e.path(1, ".zabfs")
    check(".zabfs" not in os.listdir(e.mount(1)), "it is not listed")
    check(sorted(os.listdir(directory)) == FILES, f"{sorted(os.listdir(directory))}")
    r = subprocess.run(["ls", "-la", directory], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0 and r.stdout.count("\n") == len(FILES) + 3, f"ls -la: {r}")
    numbers = [os.lstat(os.path.join(directory, name)).st_ino for name in FILES] + [os.stat(directory).st_ino]
    check(len(set(numbers)) == len(numbers), f"inode numbers: {numbers}")
    for call, args, want in (
            (os.stat, ("none",), errno.ENOENT),
            (os.stat, ("events?from=x",), errno.ENOENT),
            (os.stat, ("events?from=",), errno.ENOENT),
            (os.stat, ("events?from=-1",), errno.ENOENT),
            (os.stat, ("events?from=99999999999999999999",), errno.ENOENT),
            (os.stat, ("eventsx",), errno.ENOENT),
            (os.stat, ("status/x",), errno.ENOTDIR),
            (os.open, ("status", os.O_WRONLY), errno.EACCES),
            (os.open, ("status", os.O_RDONLY | os.O_TRUNC), errno.EACCES),
            (os.open, ("events", os.O_RDWR), errno.EACCES),
            (os.open, ("none", os.O_WRONLY | os.O_CREAT), errno.EACCES),
            (os.mkdir, ("none",), errno.EACCES),
            (os.unlink, ("status",), errno.EACCES),
            (os.rmdir, (".",), errno.EINVAL),
            (os.truncate, ("status", 0), errno.EACCES),
            (os.chmod, ("status", 0o777), errno.EACCES),
            (os.getxattr, ("status", "user.zabfs.name"), errno.ENODATA)):
        got = errno_of(call, os.path.join(directory, args[0]) if args[0] != "." else directory + "/.", *args[1:])
        check(got == want, f"{call.__name__}{args}: {errno_name(got)}, not {errno_name(want)}")
    got = errno_of(os.rename, os.path.join(directory, "status"), e.path(1, "x"))
    check(got == errno.EACCES, f"rename out of it: {errno_name(got)}")
    got = errno_of(os.mkdir, e.path(1, ".zabfs"))
    check(got == errno.EEXIST, f"mkdir .zabfs: {errno_name(got)}")
    print("names")


def members(e):
    leader = e.leader()
    for n in (1, 2, 3):
        lines = [line.split() for line in control(e, "members", n).splitlines()]
        check([line[0] for line in lines] == ["1", "2", "3"], f"{lines}")
        for number, role, address, heard in lines:
            check(role == ("leader" if int(number) == leader else "follower"), f"m{n}: {lines}")
            check(address == e.server(int(number)) and heard == "heard", f"m{n}: {lines}")
        check(control(e, "leader", n) == f"{leader} {e.server(leader)}\n", f"leader: {control(e, 'leader', n)}")
    gone = next(n for n in (1, 2, 3) if n != leader)
    e.kill("zabd", gone)

    def silent():
        lines = [line.split() for line in control(e, "members", leader).splitlines()]
        return len(lines) == 3 and lines[gone - 1][1::2] == ["unknown", "silent"]

    wait_until(silent, 20, "the leader to miss a member")
    e.start_member(gone)
    e.wait_members()
    wait_until(lambda: control(e, "members", leader).count("heard") == 3, 20, "the leader to hear it again")
    # Nobody leads: nobody is named.
    others = [n for n in (1, 2, 3) if n != leader]
    e.kill("zabd", *others)
    wait_until(lambda: control(e, "leader", leader) == "", 30, "no leader to be known")
    check(len(control(e, "members", leader).splitlines()) in (0, 3), "members without a leader")
    for n in others:
        e.start_member(n)
    e.wait_members()
    print("members, leader")


def session(e):
    write(e.path(2, "f"), b"x")
    s = fields(control(e, "session", 2))
    check(int(s["id"]) > 0 and s["timeout_ms"] == "10000" and s["lost"] == "0", f"{s}")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", s["since"]), f"{s}")
    status = fields(control(e, "status", 2))
    check(status["session"] == s["id"] and status["member_answers"] == "yes", f"{status}")
    print("session, status")


def metrics(e):
    """Prometheus text: each sample has its HELP and TYPE before it, and counters count."""
    def samples():
        found, known = {}, {}
        for line in control(e, "metrics").splitlines():
            if line.startswith("# HELP "):
                _, _, name, text = line.split(" ", 3)
                check(text, line)
                known[name] = None
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                check(name in known and kind in ("counter", "gauge", "summary"), line)
                known[name] = kind
            else:
                m = re.fullmatch(r'([a-z_]+)(\{op="[a-z_]+"\})? ([0-9.]+)', line)
                check(m, f"not a sample: {line}")
                family = re.sub("_(sum|count)$", "", m.group(1))
                check(known.get(m.group(1)) or known.get(family) == "summary", f"without a type: {line}")
                check(m.group(1) + (m.group(2) or "") not in found, f"twice: {line}")
                found[m.group(1) + (m.group(2) or "")] = float(m.group(3))
        return found

    before = samples()
    for i in range(10):
        write(e.path(1, f"metric-{i}"), b"x")
    errno_of(os.stat, e.path(1, "metric-none"))
    fd = os.open(e.path(1, "metric-0"), os.O_RDONLY)
    os.close(fd)
    e.barrier(1)
    after = samples()
    for name, by in (('zabfs_request_seconds_count{op="create"}', 10), ('zabfs_request_seconds_count{op="set"}', 10),
                     ('zabfs_request_errors_total{op="lookup"}', 1), ("zabfs_member_applied_index", 20),
                     ("zabfs_member_nodes", 10), ("zabfs_index", 20), ("zabfs_cache_hits_total", 1)):
        check(after[name] - before[name] >= by, f"{name}: {before[name]}, then {after[name]}")
    check(after['zabfs_request_seconds_sum{op="set"}'] > before['zabfs_request_seconds_sum{op="set"}'], "time passes")
    for name, value in (("zabfs_attached", 1), ("zabfs_member_up", 1), ("zabfs_member_lag", 0)):
        check(after[name] == value, f"{name} is {after[name]}")
    print(f"metrics: {len(after)} samples")


def test(e):
    names(e)
    session(e)
    metrics(e)
    members(e)


run(test)
