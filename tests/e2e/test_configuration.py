"""A wrong configuration is one line on standard error that names the file, key or path, and exit code
2; nothing is written, and a member that runs is not disturbed.
"""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import BIN, ZABCTL, check, errno_of, read, run, write  # noqa: E402

ZABD = os.path.join(BIN, "zabd")
ZABFS = os.path.join(BIN, "zabfs")


def files_below(*directories):
    return sorted((top, name, os.stat(os.path.join(top, name)).st_mtime_ns)
                  for directory in directories for top, _, names in os.walk(directory)
                  for name in names)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def refused(argv, *mentions):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    text = r.stderr.strip()
    check(r.returncode == 2, f"{argv[1:]}: exit {r.returncode}, {text}")
    check(text.count("\n") == 0 and text, f"{argv[1:]}: not one line:\n{text}")
    for mention in mentions:
        check(str(mention) in text, f"{argv[1:]}: does not name '{mention}': {text}")
    return text


def test(e):
    place = os.path.join(e.top, "conf")
    data = os.path.join(place, "data")
    os.makedirs(data)
    path = os.path.join(place, "zabd.ini")
    peer, client = free_port(), free_port()
    good = {
        "member": f"id = 1\ndata = {data}\nname = test\n",
        "ensemble": f"1 = 127.0.0.1:{peer}:{client}\n",
    }
    said = []

    def zabd(*mentions, member="", ensemble="", rest="", **replace):
        parts = {**good, **replace}
        with open(path, "w") as f:
            f.write(f"[member]\n{parts['member']}{member}[ensemble]\n{parts['ensemble']}{ensemble}{rest}")
        before = files_below(data)
        said.append(refused([ZABD, "--config", path], *mentions))
        check(files_below(data) == before, "something was written")

    # The file itself.
    said.append(refused([ZABD, "--config", os.path.join(place, "none.ini")], "none.ini"))
    zabd(path, "colour", member="colour = blue\n")
    zabd(path, "painting", rest="[painting]\nx = 1\n")
    zabd(path, "heartbeat_ms", rest="[timing]\nheartbeat_ms = soon\n")
    zabd(path, "line", rest="this is no line\n")
    zabd(path, "127.0.0.1:99999", ensemble="2 = 127.0.0.1:99999:1\n")

    # The ensemble.
    zabd("1", ensemble=f"1 = 127.0.0.1:{peer + 1}:{client + 1}\n")  # duplicate id
    zabd("7", **{"member": f"id = 7\ndata = {data}\n"})             # not in the ensemble

    # Directories.
    gone = os.path.join(place, "gone")
    zabd(gone, **{"member": f"id = 1\ndata = {gone}\n"})
    a_file = os.path.join(place, "file")
    write(a_file, b"")
    zabd(a_file, **{"member": f"id = 1\ndata = {a_file}\n"})
    mine = os.path.join(e.dir, "data", "1")
    zabd(mine, **{"member": f"id = 1\ndata = {mine}\nname = test\n"})  # in use
    e.kill("zabd", 1)
    before = files_below(mine)
    zabd(mine, **{"member": f"id = 1\ndata = {mine}\nname = test\n"})  # of another ensemble
    check(files_below(mine) == before, "another ensemble's directory was touched")
    e.up()

    # Ports.
    taken_peer, taken_client = e.ports(2)
    zabd(str(taken_client), **{"ensemble": f"1 = 127.0.0.1:{peer}:{taken_client}\n"})
    zabd(str(taken_peer), **{"ensemble": f"1 = 127.0.0.1:{taken_peer}:{client}\n"})

    # Flags.
    with open(path, "w") as f:
        f.write(f"[member]\n{good['member']}[ensemble]\n{good['ensemble']}")
    said.append(refused([ZABD], ""))
    said.append(refused([ZABD, "--config", path, "--colour"], "colour"))
    said.append(refused([ZABD, "--data", data, "--id", "1", "--ensemble", "1=nowhere"], "nowhere"))
    check(not os.listdir(data), f"something was written: {os.listdir(data)}")

    # Mounts.
    servers = f"servers={e.server(1)}"
    missing = os.path.join(place, "missing")
    said.append(refused([ZABFS, "-f", "-o", servers, missing], missing))
    said.append(refused([ZABFS, "-f", "-o", servers, a_file], a_file))
    said.append(refused([ZABFS, "-f", "-o", servers, e.mount(1)], e.mount(1)))  # busy
    said.append(refused([ZABFS, "-f", "-o", servers + ",colour=blue", data], "colour"))
    said.append(refused([ZABFS, "-f", "-o", "servers=nowhere", data], "nowhere"))
    said.append(refused([ZABFS, "-f", "-o", servers], ""))
    check(not os.path.ismount(data), "nothing is mounted")

    # zabctl dev.
    r = subprocess.run([ZABCTL, "dev", "up", "--dir", e.dir, "--members", "5"], capture_output=True)
    check(r.returncode == 2 and r.stderr.count(b"\n") == 1, f"members: {r.stderr!r}")
    r = subprocess.run([ZABCTL, "dev", "up", "--dir", os.path.join(place, "a b")], capture_output=True)
    check(r.returncode == 2 and r.stderr.count(b"\n") == 1, f"directory: {r.stderr!r}")

    check(not os.path.exists(os.path.join(place, "a b")), "a directory was left behind")

    # All the while the ensemble has served.
    write(e.path(1, "f"), b"fine")
    e.barriers()
    check(read(e.path(3, "f")) == b"fine" and errno_of(os.stat, e.path(2, "f")) == 0, "it serves")
    print("\n".join(said))
    print(f"{len(said)} mistakes, one line each")


run(test, seconds=110)
