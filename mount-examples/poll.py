#!/usr/bin/env python3
"""Waiting for a new value with poll(2): prints each new value of FILE.

Rests on: poll() on an open file of a mount says POLLPRI after its value was changed, on any machine;
an open file goes on showing the version that it was opened with, so the next one is opened before the
value is read, and no change falls between. Any event loop can wait for this beside its sockets, and
for thousands of files at a time, without inotify.

    mount-examples/poll.py ensemble/m2/light &
    for v in on off on; do echo $v > ensemble/m1/light; sleep 1; done
"""
import os
import select
import sys


def read_all(fd):
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


fd = os.open(sys.argv[1], os.O_RDONLY)
known = read_all(fd)
print(known, end="", flush=True)
while True:
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    poll.poll()
    os.close(fd)
    fd = os.open(sys.argv[1], os.O_RDONLY)
    value = read_all(fd)
    if value != known:
        known = value
        print(value, end="", flush=True)
