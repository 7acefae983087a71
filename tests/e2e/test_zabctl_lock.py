"""zabctl lock, locks and create --ephemeral: one at a time, in order; exit codes and signals; and the
command is ended before anybody else can have what it held, when that can no longer be known.
"""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import ZABCTL, check, run, wait_until, write  # noqa: E402

PATIENCE = 20


def test(e):
    log = os.path.join(e.top, "log")

    def ctl(*args, code=0, servers=None):
        r = subprocess.run([ZABCTL, "--servers", servers or e.server(1) + "+" + e.server(2), *args],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        check(r.returncode == code, f"zabctl {args}: exit {r.returncode}, {r.stdout!r} {r.stderr!r}")
        return r.stdout if code == 0 else r.stderr

    def start(*args, servers=None):
        return subprocess.Popen([ZABCTL, "--servers", servers or e.server(1) + "+" + e.server(2), *args],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def lines():
        if not os.path.exists(log):
            return []
        with open(log) as f:
            return f.read().splitlines()

    def wait_line(line):
        wait_until(lambda: line in lines(), PATIENCE, f"'{line}' in {lines()}")

    def states(path="/l"):
        return [lock["state"] for lock in json.loads(ctl("locks", "--json", path))]

    def wait_states(*want):
        wait_until(lambda: states() == list(want), PATIENCE, f"{want}, not {states()}")

    def gate(name):
        os.mkfifo(f"{log}.{name}")
        return ("sh", "-c", f'echo "in {name} $ZABFS_FENCE $ZABFS_LOCK" >>{log}; read -r _ <{log}.{name}; '
                f'echo "out {name}" >>{log}')

    def is_in(name):
        return any(line.split()[:2] == ["in", name] for line in lines())

    def let_go(name):
        with open(f"{log}.{name}", "w"):
            pass

    def end(p, code):
        out, err = p.communicate(timeout=PATIENCE)
        check(p.returncode == code, f"exit {p.returncode}, not {code}: {out} {err}")
        return err

    # The code of the command, and of what is not one.
    ctl("lock", "/l", "--", "sh", "-c", "exit 7", code=7)
    ctl("lock", "/l", "--", "sh", "-c", "kill -9 $$", code=137)
    check(b"No such file" in ctl("lock", "/l", "--", "/nonexistent", code=127), "no such program")
    ctl("lock", "/l", "--", "/", code=126)
    check(b"No such file" in ctl("lock", "/none/l", "--", "true", code=1), "no directory")
    check(b"directory" in ctl("lock", "/", "--", "true", code=1).lower(), "not a file")
    check(json.loads(ctl("locks", "--json")) == [], "all given back")
    check(b"l\n" == ctl("ls", "/"), "the file stays")

    # In the order of the questions, from different members; and flock(1) on a mount is the same lock.
    first = start("lock", "/l", "--", *gate("a"))
    wait_until(lambda: is_in("a"), PATIENCE, "the first to go in")
    second = start("lock", "/l", "--", *gate("b"), servers=e.server(3))
    wait_states("holds", "waits")
    third = subprocess.Popen(["flock", e.path(2, "l"), *gate("c")], stdin=subprocess.DEVNULL)
    wait_states("holds", "waits", "waits")
    held = json.loads(ctl("locks", "--json", "/l"))
    check(held[0]["pid"] == first.pid and held[0]["label"].startswith("zabctl@"), f"who: {held[0]}")
    check(held[0]["path"] == held[2]["path"] == "/l" and held[0]["kind"] == "flock", f"what: {held[0]}")
    check(held[0]["fence"] < held[1]["since"] < held[2]["since"], f"since when: {held}")
    check(f"in a {held[0]['fence']} /l" in lines(), f"its environment: {lines()}")
    text = ctl("locks").decode().splitlines()
    check(len(text) == 3 and text[0].startswith("holds exclusive flock pid=") and text[0].endswith(" /l"),
          f"as text: {text}")
    check(ctl("lock", "--nonblock", "/l", "--", "true", code=75).startswith(b"zabctl: /l: "), "not got")
    ctl("lock", "--wait", "0.2", "/l", "--", "true", code=75)
    wait_states("holds", "waits", "waits")
    let_go("a")
    end(first, 0)
    wait_until(lambda: is_in("b"), PATIENCE, "the second to go in")
    check(not is_in("c"), "one at a time")
    let_go("b")
    end(second, 0)
    wait_until(lambda: is_in("c"), PATIENCE, "flock to go in")
    let_go("c")
    check(third.wait(PATIENCE) == 0, "flock")

    # Shared ones together.
    shared = [start("lock", "--shared", "/l", "--", *gate(name)) for name in ("s1", "s2")]
    wait_until(lambda: is_in("s1") and is_in("s2"), PATIENCE, "both to go in")
    ctl("lock", "--nonblock", "/l", "--", "true", code=75)
    for name in "s1", "s2":
        let_go(name)
    for p in shared:
        end(p, 0)

    # Signals: to the command while it runs, else the end of the waiting.
    p = start("lock", "/l", "--", "sh", "-c", f'trap "echo told >>{log}; exit 5" TERM; echo up >>{log}; '
              'while :; do sleep 0.05; done')
    wait_line("up")
    waiting = start("lock", "/l", "--", "true")
    wait_states("holds", "waits")
    waiting.send_signal(signal.SIGINT)
    end(waiting, 128 + signal.SIGINT)
    wait_states("holds")
    p.send_signal(signal.SIGTERM)
    end(p, 5)
    check("told" in lines(), "the signal was passed on")
    wait_states()

    # zabctl is killed: its command does not live on, and the lock goes when the session expires.
    p = start("lock", "--ttl", "2", "/l", "--", "sh", "-c", f'echo $$ >>{log}; exec sleep 1000')
    wait_until(lambda: lines()[-1].isdigit(), PATIENCE, "the pid")
    pid = int(lines()[-1])
    p.kill()
    p.communicate()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), PATIENCE, "the end of the command")
    ctl("lock", "--wait", "20", "/l", "--", "true")

    # The file is removed under a holder; who waits goes on with a new one.
    p = start("lock", "/l", "--", "sleep", "1000")
    wait_states("holds")
    waiting = start("lock", "/l", "--", "true")
    wait_states("holds", "waits")
    e.barrier(2)
    os.unlink(e.path(2, "l"))
    check(b"removed" in end(p, 76), "lost")
    end(waiting, 0)

    lost_member(e, log, start, end, wait_line, lines)
    ephemerals(e, log, ctl, start, end, wait_line, lines)
    print("locks and ephemerals")


def lost_member(e, log, start, end, wait_line, lines):
    """The only member that a holder knows stands still: the others give its lock away, but not before
    its command has ended, even one that ignores SIGTERM, with all that it started."""
    p = start("lock", "--ttl", "3", "/lost", "--", "sh", "-c",
              f'trap "" TERM; (while :; do echo inner >>{log}; sleep 0.02; done) & '
              f'while :; do echo alive >>{log}; sleep 0.02; done', servers=e.server(1))
    wait_line("alive")
    wait_line("inner")
    waiting = start("lock", "/lost", "--", "sh", "-c", f"echo next >>{log}", servers=e.server(2))
    wait_until(lambda: b"waits" in e.zabctl("--servers", e.server(2), "locks", "/lost").stdout, PATIENCE,
               "the next in line")
    e.signal("zabd", 1, signal.SIGSTOP)
    try:
        check(b"no word" in end(p, 76), "lost")
        wait_line("next")
        end(waiting, 0)
    finally:
        e.signal("zabd", 1, signal.SIGCONT)
    check(lines()[-1] == "next", f"nothing behind the next holder: {lines()[-5:]}")
    e.wait_members()


def ephemerals(e, log, ctl, start, end, wait_line, lines):
    for args in ("create", "--ephemeral", "/here", "v"), ("create", "/here@", "v"):
        p = start(*args)
        check(p.stdout.readline() == b"here\n", "its name")
        check(b"life     session" in ctl("stat", "/here"), "stat")
        check(ctl("get", "/here") == b"v", "its value")
        check(b"exists" in ctl("create", "--ephemeral", "/here", "--", "true", code=1), "one of many")
        p.send_signal(signal.SIGTERM)
        end(p, 0)
        check(b"No such file" in ctl("stat", "/here", code=1), "gone")
    check(ctl("create", "/job-#@", "--", "sh", "-c", f'echo "$ZABFS_PATH $ZABFS_FENCE" >>{log}; exit 3',
              code=3) == b"", "with a command")
    path, fence = lines()[-1].split()
    check(path.startswith("/job-00") and int(fence) > 0, lines()[-1])
    check(b"job" not in ctl("ls", "/"), "gone with the command")

    p = start("create", "--ephemeral", "/here", "--", "sleep", "1000")
    check(p.stdout.readline() == b"here\n", "its name")
    e.barrier(3)
    os.unlink(e.path(3, "here"))
    check(b"removed" in end(p, 76), "lost")

    p = start("create", "--ephemeral", "--ttl", "2", "/here")
    check(p.stdout.readline() == b"here\n", "its name")
    p.kill()
    p.communicate()
    wait_until(lambda: not os.path.exists(e.path(1, "here")), PATIENCE, "the end of its session")
    write(e.path(1, "here"), b"free again")


run(test, seconds=170)
