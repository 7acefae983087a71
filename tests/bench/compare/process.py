"""Processes that were started here: begun, looked at, ended by their id and by nothing else."""
import contextlib
import pathlib
import random
import socket
import struct
import subprocess
import time

STOP_S = 20  # from SIGTERM to SIGKILL


class Failure(Exception):
    """Something that was measured, or had to run, did not do what it should."""


def say(text):
    """A line of progress."""
    import sys
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def processors_awake(wanted=True):
    """Meanwhile no processor of this machine sleeps so that it takes time to wake: what zabfs asks
    for while it is used, here for all."""
    if not wanted:
        yield
        return
    with open("/dev/cpu_dma_latency", "wb", buffering=0) as device:
        device.write(struct.pack("=i", 0))
        yield


class Process:
    """A server: its output goes to a log, and its signals do not come from our terminal."""

    def __init__(self, argv, log, env=None):
        self.argv = [str(word) for word in argv]
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, env=env, start_new_session=True)
        self.log = log

    @property
    def pid(self):
        return self.popen.pid

    def must_run(self):
        if self.popen.poll() is not None:
            raise Failure(f"{self.argv[0]} ended with {self.popen.returncode}: see {self.log}")

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self):
        """SIGTERM, and SIGKILL if that does not end it."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def resident_kib(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


def stop_all(processes):
    """All are asked to end before any is waited for."""
    for process in processes:
        if process.popen.poll() is None:
            process.popen.terminate()
    for process in processes:
        process.stop()


def free_ports(count):
    """Ports that are free now and that the kernel gives to no outgoing connection: a member that
    is killed finds its own again."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def wait_until(condition, what, seconds=60, pause_s=0.05):
    """Polls; the result of `condition` once it is true."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(pause_s)
