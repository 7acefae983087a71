"""inotify without a program in between: masks, names and cookies as the kernel gives them."""
import ctypes
import os
import select
import struct
import time
from collections import namedtuple

from zabfs import Failure

LIBC = ctypes.CDLL(None, use_errno=True)
BITS = {
    "ACCESS": 0x1, "MODIFY": 0x2, "ATTRIB": 0x4, "CLOSE_WRITE": 0x8, "CLOSE_NOWRITE": 0x10,
    "OPEN": 0x20, "MOVED_FROM": 0x40, "MOVED_TO": 0x80, "CREATE": 0x100, "DELETE": 0x200,
    "DELETE_SELF": 0x400, "MOVE_SELF": 0x800, "UNMOUNT": 0x2000, "Q_OVERFLOW": 0x4000,
    "IGNORED": 0x8000, "ISDIR": 0x40000000,
}
# All that tells of a change; who opens, reads and closes is not one.
CHANGES = ("MODIFY ATTRIB CLOSE_WRITE MOVED_FROM MOVED_TO CREATE DELETE DELETE_SELF MOVE_SELF").split()

Event = namedtuple("Event", "label what name cookie")  # `what`: "CREATE", "CREATE,ISDIR", ...


class Inotify:
    """One inotify descriptor with any number of watches, each with a label of the caller's."""

    def __init__(self):
        self.fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.labels = {}
        self.unread = []

    def add(self, path, label, events=CHANGES):
        mask = sum(BITS[event] for event in events)
        wd = LIBC.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if wd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        self.labels[wd] = label

    def read(self):
        """What has come; does not wait."""
        events, self.unread = self.unread, []
        try:
            data = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return events
        at = 0
        while at < len(data):
            wd, mask, cookie, size = struct.unpack_from("iIII", data, at)
            name = os.fsdecode(data[at + 16:at + 16 + size].rstrip(b"\0"))
            what = ",".join(word for word, bit in BITS.items() if mask & bit)
            events.append(Event(self.labels.get(wd), what, name, cookie))
            at += 16 + size
        return events

    def read_until(self, last, seconds):
        """All events up to the one for which last(event) holds, which is not among them."""
        deadline = time.monotonic() + seconds
        seen = []
        while True:
            events = self.read()
            for i, event in enumerate(events):
                if last(event):
                    self.unread = events[i + 1:]
                    return seen
                seen.append(event)
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"not within {seconds} s; so far: {seen}")
            select.select([self.fd], [], [], left)

    def close(self):
        os.close(self.fd)
