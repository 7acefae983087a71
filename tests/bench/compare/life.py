"""Start, memory, loss of the leader: what is measured on the life of an ensemble.

The client of all of it is the work `outage` of fs_bench and zk_bench: it writes one file again and
again, through errors, too, and appends to a file when each acknowledged write began and ended
(CLOCK_MONOTONIC, ns). Here that file is only read: no time depends on how often it is looked at.
"""
import statistics
import subprocess
import time

from process import Failure, say, wait_until

FIRST_WRITE_S = 120
FAILOVER_S = 60
BEFORE_KILL_S = 0.5
SETTLE_S = 3


class Writer:
    """The client that writes through all."""

    def __init__(self, measure, system, targets):
        self.file = system.directory / "acknowledged"
        self.file.unlink(missing_ok=True)
        self.log = system.directory / "writer.log"
        argv = [measure.program("outage", system), "outage", "-t", FIRST_WRITE_S + FAILOVER_S,
                "-o", self.file, *targets]
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen([str(word) for word in argv], stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()

    def first_write_ns(self, began_after_ns=0, seconds=FAILOVER_S):
        """End of the first acknowledged write that began after that time."""
        def look():
            if self.popen.poll() is not None:
                raise Failure(f"the writer ended: {self.log.read_text()}")
            text = self.file.read_text() if self.file.exists() else ""
            for line in text[:text.rfind("\n") + 1].splitlines():
                begin, end = map(int, line.split())
                if begin > began_after_ns:
                    return end
            return None

        return wait_until(look, "a write is acknowledged", seconds, 0.02)


def first_write_ms(measure, system):
    """From the start of the first process to the first acknowledged write. On zabfs that goes
    through a mount that is started together with the members."""
    start_ns = time.monotonic_ns()
    system.start_members()
    if system.name == "zabfs":
        system.start_mount(1)
        system.wait_mounted("m1")
        targets = [system.mount("m1")]
    else:
        targets = [",".join(system.server(number) for number in system.processes)]
    with Writer(measure, system, targets) as writer:
        return (writer.first_write_ns(seconds=FIRST_WRITE_S) - start_ns) / 1e6


def failover_ms(measure, system):
    """SIGKILL of the leader to the first acknowledged write that began after it, for a client that
    is attached to a follower. The member is back before this returns."""
    system.start_missing()
    leader = system.leader()
    followers = system.followers()
    if system.name == "zabfs":
        targets = [system.mount_of(followers[0])]
    else:
        targets = [",".join(system.server(number) for number in (*followers, leader))]
    with Writer(measure, system, targets) as writer:
        writer.first_write_ns()
        time.sleep(BEFORE_KILL_S)
        killed_ns = system.kill_member(leader)
        took_ms = (writer.first_write_ns(killed_ns) - killed_ns) / 1e6
    system.start_missing()
    return took_ms


# Each puts its figures into `found`.

def first_start(measure, system, found):
    """A new ensemble's first write, and its memory when it is empty."""
    found["start"] = first_write_ms(measure, system)
    system.wait_ready()
    time.sleep(SETTLE_S)
    found["memory"] = statistics.median(system.resident_mib())
    say(f"  {system.title}: first write after {found['start']:.0f} ms, {found['memory']:.1f} MiB")


def fill(measure, system, files, found):
    """Many files, the memory with them, and an end in order."""
    found["load"] = measure.load(system, files, 100)
    wait_until(system.has_caught_up, f"{system.name}: all members have all files", 120)
    time.sleep(SETTLE_S)
    found["memory-files"] = statistics.median(system.resident_mib())
    if system.name == "zookeeper":
        found["heap-files"] = statistics.median(system.heap_used_mib())
    say(f"  {system.title}: {files} files at {found['load']:.0f}/s, "
        f"{found['memory-files']:.0f} MiB")
    system.stop()


def restart(measure, system, files, found):
    """Of all members, with all files."""
    found["restart"] = first_write_ms(measure, system)
    say(f"  {system.title}: first write after a restart after {found['restart']:.0f} ms")
    wait_until(system.has_caught_up, f"{system.name}: all members are back", 120)
    if system.nodes() < files:
        raise Failure(f"{system.name}: {system.nodes()} of {files} files are there")
    time.sleep(SETTLE_S)
    found["memory-restarted"] = statistics.median(system.resident_mib())
    system.stop()
