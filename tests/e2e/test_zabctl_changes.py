"""zabctl mv, append, attr and txn: what they do, what they refuse, and that a mount shows the same."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import ZABCTL, Worker, check, read, run, write  # noqa: E402


def test(e):
    def ctl(*args, code=0, stdin=None, server=1):
        r = subprocess.run([ZABCTL, "--servers", e.server(server), *args], input=stdin,
                           capture_output=True, timeout=60)
        check(r.returncode == code, f"zabctl {args}: exit {r.returncode}, {r.stdout!r} {r.stderr!r}")
        check(code == 0 or r.stderr.count(b"\n") == 1, f"one line: {r.stderr!r}")
        return r.stdout if code == 0 else r.stderr

    def seen(*names):
        e.barrier(3)
        return read(e.path(3, *names))

    # mv: over a file, into a directory, a whole directory, and what it refuses.
    ctl("create", "/a", "one")
    ctl("create", "/b", "two")
    e.barrier(3)
    kept = os.stat(e.path(3, "b")).st_ino
    ctl("mv", "/a", "/b")
    check(seen("b") == b"one" and os.stat(e.path(3, "b")).st_ino == kept, "a new version of the target")
    check(b"/a: No such file" in ctl("mv", "/a", "/c", code=1), "ENOENT")
    ctl("mkdir", "/d")
    ctl("mv", "/b", "/d")
    check(seen("d", "b") == b"one", "into a directory")
    ctl("create", "/b", "other")
    check(b"exists" in ctl("mv", "--no-replace", "/b", "/d", code=1), "EEXIST")
    ctl("mv", "--exchange", "/b", "/d/b")
    check(seen("b") == b"one" and seen("d", "b") == b"other", "exchanged")
    check(b"No such file" in ctl("mv", "--exchange", "/b", "/none", code=1), "nothing to exchange with")
    check(b"Invalid" in ctl("mv", "/d", "/d/sub", code=1), "a directory into itself")
    ctl("mkdir", "/e")
    ctl("mv", "/d", "/e/f")
    check(seen("e", "f", "b") == b"other", "with all that is in it")
    check(json.loads(ctl("mv", "--json", "/e/f", "/g"))["name"] == "g", "as JSON")

    # append: from everywhere at once, nothing is lost.
    ctl("create", "/log")

    def appender(n):
        for i in range(15):
            ctl("append", "/log", "-", stdin=f"{n} {i}\n".encode(), server=n)
    workers = [Worker(appender, n) for n in (1, 2, 3)]
    for w in workers:
        w.result(60)
    lines = seen("log").decode().splitlines()
    check(sorted(lines) == sorted(f"{n} {i}" for n in (1, 2, 3) for i in range(15)), "every line once")
    for n in "123":
        check([line for line in lines if line[0] == n] == [f"{n} {i}" for i in range(15)], "in order")
    check(json.loads(ctl("append", "--json", "/log", "x"))["size"] == len(seen("log")), "as JSON")
    check(b"directory" in ctl("append", "/g", "x", code=1), "EISDIR")

    # attr: a mount shows the same.
    ctl("attr", "set", "/b", "user.color", "red")
    raw = bytes(range(256))
    ctl("attr", "set", "/b", "user.raw", "-", stdin=raw)
    ctl("attr", "set", "/b", "user.empty")
    e.barrier(3)
    check(os.getxattr(e.path(3, "b"), "user.color") == b"red", "on a mount")
    check(ctl("attr", "get", "/b", "user.raw") == raw, "any bytes")
    check(ctl("attr", "get", "/b", "user.empty") == b"", "none")
    check(sorted(ctl("attr", "ls", "/b").split()) == [b"user.color", b"user.empty", b"user.raw"], "names")
    check({a["name"]: a["value"] for a in json.loads(ctl("attr", "ls", "--json", "/b"))}["user.color"]
          == "red", "as JSON")
    ctl("attr", "rm", "/b", "user.raw")
    check(b"No data" in ctl("attr", "get", "/b", "user.raw", code=1), "ENODATA")
    check(b"No data" in ctl("attr", "rm", "/b", "user.raw", code=1), "ENODATA")
    check(b"not supported" in ctl("attr", "set", "/b", "security.x", "y", code=1), "EOPNOTSUPP")
    check(int(ctl("attr", "get", "/b", "user.zabfs.fence")) > 0, "the fence")
    ctl("attr", "set", "/g", "user.zabfs.quota", "10K 3")
    ctl("create", "/g/1", "x")
    ctl("create", "/g/2", "x")
    check(b"quota" in ctl("create", "/g/3", "x", code=1), "EDQUOT")

    transactions(e, ctl, seen)
    print("moved, appended, marked, all or nothing")


def transactions(e, ctl, seen):
    version = json.loads(ctl("stat", "--json", "/b"))["version"]
    text = (f'# all of it\ncheck /b {version}\nabsent /t\n\nmkdir /t\ncreate "/t/a b" "x\\n\\x00y"\n'
            f'create /t/job-# one\nsymlink /t/link "a b"\nset /b new if {version}\nappend /b er\n'
            'rename /t/link /t/renamed\ndelete /log\n')
    out = ctl("txn", stdin=text.encode()).decode().splitlines()
    check(out[0].split()[0] == "ok" and len(out) == 11, f"{out}")
    check('create "/t/a b" 1' in out and "create /t/job-0000000001 1" in out, f"paths as made: {out}")
    check(f"append /b {version + 2}" in out, f"versions: {out}")
    check(seen("t", "a b") == b"x\n\0y" and seen("b") == b"newer", "values")
    check(os.readlink(e.path(3, "t", "renamed")) == "a b", "the link")
    check(not os.path.exists(e.path(3, "log")), "deleted")

    # All or none, the line is told, and a mount sees nothing of it.
    before = ctl("ls", "-l", "/")
    refused = ctl("txn", stdin=b"create /n1 x\nmkdir /n2\n\ncreate /n2/x y\ncreate /b z\n", code=1)
    check(refused == b"zabctl: standard input:5: file exists\n", f"{refused}")
    refused = ctl("txn", stdin=b"create /n1 x\ncheck /b 1\n", code=1)
    check(refused.startswith(b"zabctl: standard input:2: ") and b"version" in refused, f"{refused}")
    check(b":1: " in ctl("txn", stdin=b"absent /b\ncreate /n1 x\n", code=1), "absent")
    check(ctl("ls", "-l", "/") == before, "nothing was done")

    # What is not a transaction is not sent.
    path = os.path.join(e.top, "steps")
    write(path, b'create /n1 x\nfly /n2\n')
    check(ctl("txn", path, code=2).startswith(f"zabctl: {path}:2:1: ".encode()), "its place")
    check(b"No such file" in ctl("txn", "/nonexistent", code=1), "no file")
    write(path, b'create /n1 x\n')
    got = json.loads(ctl("txn", "--json", path))
    check(got["steps"][0]["line"] == 1 and got["steps"][0]["name"] == "n1" and got["index"] > 0, f"{got}")
    check(seen("n1") == b"x", "from a file")


run(test, seconds=110)
