"""zabctl: every command, what it prints (text and JSON), its exit codes and its messages, beside a
mount that shows the same.
"""
import base64
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import ZABCTL, check, read, run, wait_until, write  # noqa: E402


def test(e):
    os.environ["ZABFS_SERVERS"] = e.server(1) + "+" + e.server(2)

    def ctl(*args, stdin=None, code=0):
        r = subprocess.run([ZABCTL, *args], input=stdin, capture_output=True, timeout=60)
        check(r.returncode == code, f"zabctl {args}: exit {r.returncode}, {r.stderr!r}")
        check(code == 0 or r.stderr.startswith(b"zabctl: "), f"zabctl {args}: {r.stderr!r}")
        check(code == 0 or r.stderr.count(b"\n") == 1, f"zabctl {args}: {r.stderr!r}")
        return r.stdout if code == 0 else r.stderr

    # Values, as they are.
    check(ctl("create", "/a", "one") == b"a\n", "create prints the name")
    check(ctl("get", "/a") == b"one", "get")
    e.barrier(3)
    check(read(e.path(3, "a")) == b"one", "the mount shows it")
    raw = bytes(range(256)) * 100
    ctl("set", "/a", "-", stdin=raw)
    check(ctl("get", "/a") == raw, "bytes")
    got = json.loads(ctl("--json", "get", "/a"))
    check(base64.b64decode(got["value_base64"]) == raw and got["size"] == 25600, "bytes as JSON")
    ctl("set", "/a")
    check(ctl("get", "/a") == b"", "empty")
    version = json.loads(ctl("stat", "--json", "/a"))["version"]
    check(json.loads(ctl("set", "--json", "--if-version", str(version), "/a", "two"))["version"]
          == version + 1, "the next version")
    check(b"Stale file handle" in ctl("set", "--if-version", str(version), "/a", "x", code=1), "CAS")
    check(ctl("get", "/a") == b"two", "unchanged by a set that was refused")

    # Errors of the operation.
    check(b"zabctl: /none: No such file or directory" in ctl("get", "/none", code=1), "ENOENT")
    check(b"No such file" in ctl("set", "/none", "x", code=1), "set does not create")
    ctl("set", "--create", "/made", "x")
    ctl("set", "--create", "/made", "y")
    check(ctl("get", "/made") == b"y", "set --create")
    check(b"File exists" in ctl("create", "/a", code=1), "EEXIST")
    check(b"Is a directory" in ctl("get", "/", code=1), "EISDIR")
    check(b"not permitted" in ctl("set", "--create", "/e@", "v", code=1), "it would be gone at once")
    check(b"not permitted" in ctl("mkdir", "/e@", code=1), "an ephemeral directory")
    check(b"name too long" in ctl("create", "/" + "n" * 256, code=1), "ENAMETOOLONG")
    check(b"too large" in ctl("set", "/a", "-", stdin=b"x" * ((1 << 20) + 1), code=1), "EFBIG")

    # Directories.
    ctl("mkdir", "/d")
    check(b"File exists" in ctl("mkdir", "/d", code=1), "mkdir twice")
    check(b"No such file" in ctl("mkdir", "/x/y/z", code=1), "mkdir without its parent")
    ctl("mkdir", "-p", "/x/y/z")
    ctl("mkdir", "-p", "/x/y/z")
    check(b"directory" in ctl("mkdir", "-p", "/a/b", code=1), "mkdir -p below a file")
    check(ctl("create", "/d/job-#", "j") == b"job-0000000000\n", "the real name")
    check(ctl("create", "/d/job-#", "j") == b"job-0000000001\n", "the next")
    check(ctl("mkdir", "/d/dir-#") == b"dir-0000000002\n", "a numbered directory")
    check(ctl("ls", "/d").split() == [b"job-0000000000", b"job-0000000001", b"dir-0000000002"], "ls")
    check(b"-rw-r--r--" in ctl("ls", "-l", "/d"), "ls -l")
    strange = b'q"uote\\ \n\xff\x01'
    write(os.path.join(e.mount(1).encode(), b"d", strange), b"v")
    ctl("sync")
    nodes = json.loads(ctl("ls", "--json", "/d"))
    check(len(nodes) == 4, "all of them as JSON")
    check(base64.b64decode(nodes[3]["name_base64"]) == strange, "a name that is not UTF-8")
    check(ctl("get", b"/d/" + strange) == b"v", "its value")
    check(ctl("ls", "/d/job-0000000000") == b"job-0000000000\n", "ls of a file")
    check(json.loads(ctl("ls", "--json", "/x/y/z")) == [], "an empty directory")

    st = json.loads(ctl("stat", "--json", "/d"))
    mount_st = os.stat(e.path(1, "d"))
    check(st["type"] == "directory" and st["id"] == mount_st.st_ino, "stat and the mount agree")
    check(b"version  " in ctl("stat", "/a"), "stat as text")

    # A directory of many children, and their removal.
    for i in range(300):
        write(e.path(1, "d", f"many-{i:03}"), b"x")
    ctl("sync")
    check(len(ctl("ls", "/d").split(b"\n")) >= 304, "all children")
    check(b"Is a directory" in ctl("rm", "/d", code=1), "rm wants -r")
    ctl("rm", "-r", "/d")
    ctl("rm", "-r", "/x")
    ctl("rm", "/a")
    ctl("rm", "/made")
    check(b"No such file" in ctl("rm", "/a", code=1), "rm twice")
    check(json.loads(ctl("ls", "--json")) == [], "an empty tree")

    # Status.
    index = json.loads(ctl("sync", "--json"))["index"]
    all_status = json.loads(ctl("status", "--json"))
    check([s["member"] for s in all_status] == [1, 2], "a status for each server")
    check(all(s["commit"] >= index for s in all_status[:1]), "the barrier's index is committed")
    check(ctl("status").count(b"\n") == 2, "a line for each server")
    check([m["member"] for m in e.status()] == [1, 2, 3], "dev status")

    # Wrong usage, and nobody there.
    for words in ((), ("fly",), ("get",), ("get", "/a", "/b"), ("get", "-r", "/a"), ("--nonsense",),
                  ("--deadline", "x", "sync"), ("dev", "sideways", "--dir", "x"), ("dev", "up"),
                  ("--servers", "nowhere", "sync"), ("dev", "up", "--dir", "x", "--members", "99"),
                  ("lock", "/l"), ("lock", "/l", "true"), ("lock", "--", "true"), ("lock", "/l#", "--", "true"),
                  ("lock", "--wait", "-1", "/l", "--", "true"), ("lock", "--json", "/l", "--", "true"),
                  ("create", "/a", "v", "--", "true"), ("create", "--ttl", "5", "/a"),
                  ("create", "--ephemeral", "--ttl", "0.1", "/a"), ("watch",), ("watch", "a"),
                  ("watch", "/a//b"), ("watch", "--from", "0", "/a"), ("get", "--at", "x", "/a"),
                  ("mv", "/a"), ("mv", "--exchange", "--no-replace", "/a", "/b"), ("attr", "get", "/a"),
                  ("attr", "fly", "/a"), ("attr", "ls", "/a", "x"), ("append",), ("txn", "a", "b"),
                  ("locks", "/a", "/b")):
        ctl(*words, code=2)
    check(b"Usage: zabctl [OPTIONS] set" in ctl("set", "--help"), "the manual of a command")
    check(b"Exit code" in ctl("--help"), "the manual")
    check(b"No such file" in ctl("dev", "status", "--dir", "/nonexistent", code=1), "no directory")
    ctl("--servers", "127.0.0.1:1", "--deadline", "0.5", "get", "/a", code=1)
    ctl("--servers", "127.0.0.1:1", "--deadline", "0.5", "status", code=1)

    # The command works while a member is gone, and dev status says so.
    e.kill("zabd", 1)
    ctl("create", "/later", "v")
    check(e.status()[0]["role"] == "down", "role=down")
    wait_until(lambda: ctl("get", "/later") == b"v", 5, "the value")
    e.up()
    e.down()
    check(all(m["role"] == "down" and m["mount"] == "none" for m in e.status()), "all down")
    e.up()
    check(ctl("get", "/later") == b"v", "the value after a restart of all")
    print("all commands, as text and as JSON")


run(test, seconds=110)
