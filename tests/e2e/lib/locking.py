"""Processes that hold locks or wait for them."""
import ctypes
import fcntl
import json
import os
import signal
import struct

from zabfs import LIBC, PR_SET_PDEATHSIG, Failure, check, read, wait_until

SHARED, EXCLUSIVE = "shared", "exclusive"


# Python's own wrappers call again after EINTR.
CLIB = ctypes.CDLL(None, use_errno=True)


def errno_of_call(result):
    return ctypes.get_errno() if result != 0 else 0


def flock(fd, kind, wait=True):
    """The errno, 0 if the lock was had."""
    op = (fcntl.LOCK_SH if kind == SHARED else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    return errno_of_call(CLIB.flock(fd, op))


def lockf(fd, kind, wait=True, start=0, size=0):
    """The same with fcntl(2), on bytes. size 0: to the end, whatever that will be."""
    op = {SHARED: fcntl.F_RDLCK, EXCLUSIVE: fcntl.F_WRLCK, None: fcntl.F_UNLCK}[kind]
    arg = ctypes.create_string_buffer(struct.pack("hhqqi4x", op, os.SEEK_SET, start, size, 0))
    return errno_of_call(CLIB.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, arg))


def getlk(fd, kind, start=0, size=0):
    """None, or (kind, start, size, pid) of a lock in the way."""
    want = struct.pack("hhqqi4x", fcntl.F_RDLCK if kind == SHARED else fcntl.F_WRLCK, os.SEEK_SET, start, size, 0)
    found, _, start, size, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, want))
    if found == fcntl.F_UNLCK:
        return None
    return (SHARED if found == fcntl.F_RDLCK else EXCLUSIVE, start, size, pid)


class Holder:
    """A process that locks a file, says so, and keeps it until it is told or killed. A signal that it
    handles interrupts its waiting, without SA_RESTART. (Descriptors on a mount that is to be stopped
    belong into such processes: whoever forks would pass them on, and their close would wait.)"""

    def __init__(self, path, lock, flags=os.O_RDWR, later=None):
        said, out = os.pipe()
        end, self.end = os.pipe()
        self.said = said
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                signal.alarm(0)
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: None)
                LIBC.signal(signal.SIGUSR1, handler)
                LIBC.siginterrupt(signal.SIGUSR1, 1)
                for other in os.listdir("/proc/self/fd"):  # those of other holders among them
                    if int(other) > 2 and int(other) not in (out, end):
                        try:
                            os.close(int(other))
                        except OSError:
                            pass
                fd = os.open(path, flags)
                number = lock(fd)
                os.write(out, b"%d\n" % number)
                while os.read(end, 1):
                    os.write(out, b"%r\n" % (later(fd),))
                code = 0
            except OSError as e:
                os.write(out, b"%d\n" % e.errno)
            finally:
                os._exit(code)
        os.close(out)
        os.close(end)
        self.answer = None

    def poll(self):
        """None while it waits, else the errno of its lock call, or "gone"."""
        if self.answer is None:
            os.set_blocking(self.said, False)
            try:
                text = os.read(self.said, 16)
                self.answer = int(text) if text else "gone"
            except BlockingIOError:
                pass
        return self.answer

    def wait(self, seconds=20):
        wait_until(lambda: self.poll() is not None, seconds, f"process {self.pid} to lock")
        return self.answer

    def ask(self):
        """What `later` returns when it is called now: a list of numbers."""
        os.set_blocking(self.said, True)
        os.write(self.end, b"?")
        return json.loads(os.read(self.said, 4096))

    def signal(self, number):
        os.kill(self.pid, number)

    def release(self, number=None):
        """Ends it, by the signal if one is named."""
        if number is not None:
            os.kill(self.pid, number)
        os.close(self.end)
        os.waitpid(self.pid, 0)
        os.close(self.said)


def locks(e, state, n=1, path=None):
    """What the ensemble says of locks, in its order; state: holds or waits."""
    r = e.zabctl("--servers", e.server(n), "--json", "locks", *([path] if path else []))
    if r.returncode != 0:
        raise Failure(f"zabctl locks: {r.stderr.decode()}")
    return [lock for lock in json.loads(r.stdout) if lock["state"] == state]


def wait_queue(e, count, n=1, seconds=20):
    wait_until(lambda: len(locks(e, "waits", n)) == count, seconds, f"{count} in the queue")


def wait_free(e, n=1, seconds=20):
    """Nobody holds or waits for anything."""
    def free():
        return not locks(e, "holds", n) and not locks(e, "waits", n)
    wait_until(free, seconds, "all locks to be given back")


def committed(e, n=1):
    for line in read(e.path(n, ".zabfs", "status")).decode().splitlines():
        if line.startswith("member_commit="):
            return int(line.split("=")[1])
    check(False, "no commit index in the status")
    return 0
