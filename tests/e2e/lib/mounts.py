"""Mounts beside those of `zabctl dev up`, with options of their own."""
import os
import signal
import subprocess

from zabfs import BIN, LIBC, PR_SET_PDEATHSIG, check, wait_until


def is_mounted(path):
    with open("/proc/self/mounts") as f:
        return any(line.split()[1] == path for line in f)


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Mount:
    """zabfs in the foreground, which ends with the test at the latest. Its log is among the
    ensemble's."""

    def __init__(self, e, name, member=1, options=""):
        self.path = os.path.join(e.top, name)
        os.makedirs(self.path, exist_ok=True)
        servers = "+".join(e.server((member + i - 1) % e.members + 1) for i in range(e.members))
        with open(os.path.join(e.dir, "log", f"zabfs-{name}.log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "zabfs"), "-f", "-o", f"servers={servers}", *(["-o", options] if options else []),
                 self.path], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent)
        e.processes.append(self.process)
        wait_until(lambda: self.process.poll() is not None or is_mounted(self.path), 20, f"{name} mounted")
        check(self.process.poll() is None, f"zabfs at {name} has ended")

    def at(self, *names):
        return os.path.join(self.path, *names)

    def barrier(self):
        fd = os.open(self.at(".zabfs", "sync"), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def stop(self, number=signal.SIGTERM):
        """Returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)
