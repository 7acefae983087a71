"""Bad bytes on every listener of the leader (clients over TCP, clients over a unix socket, peers):
100,000 times random bytes and 100,000 times frames that were cut or had bits flipped; frames that
declare 1 GiB; connections that say nothing. Each connection is closed, with a log line where there was
anything wrong; memory stays bounded; the ensemble serves all the while.
"""
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time

os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=8"  # else freed memory would count as used
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import BIN, Flag, Worker, check, read, run, wait_until, write  # noqa: E402

FUZZ = os.environ.get("ZABFS_FRAME_FUZZ") or os.path.join(BIN, "../tests/e2e/frame_fuzz")
COUNT = 100000
GROWTH_MAX = 200 << 20
DEAF = 60  # connections of each kind below


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) << 10


def serve(e, n, stop):
    """Writes and reads all the while; returns how often and the longest time it took."""
    count = longest = 0
    while not stop.is_set():
        count += 1
        started = time.monotonic()
        write(e.path(n, "alive"), b"%d" % count)
        check(read(e.path(n, "alive")) == b"%d" % count, "read what was written")
        longest = max(longest, time.monotonic() - started)
        time.sleep(0.01)
    return count, longest


def connect(address):
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(address[5:])
    else:
        host, port = address.split(":")
        s = socket.create_connection((host, int(port)))
    return s


def is_closed(s):
    try:
        s.setblocking(False)
        return s.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def pump(kind, address, seconds):
    """Declared lengths of 1 GiB; large lengths that are allowed, with few bytes behind them; nothing
    at all. All are closed within `seconds`."""
    sockets = []
    for i in range(DEAF):
        s = connect(address)
        if i % 3 == 0:
            s.sendall(struct.pack("<II", 1 << 30, 0) + b"x" * 100)
        elif i % 3 == 1:
            s.sendall(struct.pack("<II", 8 << 20, 0) + b"x" * 100)
        sockets.append(s)
        if kind == "peer":
            time.sleep(0.005)  # it keeps few that have not said who they are
    wait_until(lambda: all(is_closed(s) for s in sockets), seconds, f"{kind} connections to be closed")
    for s in sockets:
        s.close()


def test(e):
    leader = e.leader()
    follower = leader % 3 + 1
    pid = e.pid("zabd", leader)
    peer_port, client_port = e.ports(leader)
    listeners = [("client", f"127.0.0.1:{client_port}"),
                 ("client", f"unix:{e.dir}/run/zabd-{leader}.sock"),
                 ("peer", f"127.0.0.1:{peer_port}")]
    stop = Flag(e.top, "stop")
    worker = Worker(serve, e, follower, stop)
    before = memory(pid)
    print(f"member {leader} leads, {before >> 20} MiB")
    for kind, address in listeners:
        lines = e.log("zabd", leader).count(b"\n")
        started = time.monotonic()
        pump(kind, address, 30)
        pumped = time.monotonic() - started
        check(memory(pid) - before < GROWTH_MAX, f"declared lengths: {memory(pid) >> 20} MiB")
        for what in ("random", "damaged"):
            started = time.monotonic()
            seed = random.randrange(1 << 32)
            r = subprocess.run([FUZZ, kind, address, what, str(COUNT), str(seed)],
                               capture_output=True, text=True, timeout=200)
            check(r.returncode == 0, f"{kind} {address} {what} seed {seed}: {r.stdout}{r.stderr[-2000:]}")
            print(f"{kind} {address.split('/')[-1]} {what}: {r.stdout.strip()} in "
                  f"{time.monotonic() - started:.1f} s, {memory(pid) >> 20} MiB", flush=True)
        lines = e.log("zabd", leader).count(b"\n") - lines
        check(lines > COUNT, f"{2 * COUNT} bad connections, {lines} log lines")
        print(f"silent and 1 GiB closed within {pumped:.1f} s; {lines} log lines")
    check(memory(pid) - before < GROWTH_MAX, f"memory grew from {before >> 20} to {memory(pid) >> 20} MiB")
    stop.set()
    count, longest = worker.result(30)
    check(e.pid("zabd", leader) == pid and e.leader() == leader, "the leader has not changed")
    check(longest < 5, f"a write and read took {longest:.1f} s")
    write(e.path(1, "after"), b"well")
    e.barriers()
    check(read(e.path(3, "after")) == b"well", "it serves on")
    print(f"{count} writes and reads meanwhile, the longest {longest:.2f} s")


run(test, seconds=290)
