#!/usr/bin/env python3
"""Follows .zabfs/events of a mount through everything that is done to it, and writes down what must not
be: a change of a guards' log that is missing, doubled or out of order, and one that is told before the
mount shows it.

    events.py ROOT OUT PROC

Each append to a log makes one new version, so the versions told of a log are without a hole. OUT gets one
JSON object a line, as of guard.py: {"proc", "finding"}, and at the end {"proc", "kind": "events", ...}.
"""
import ctypes
import json
import os
import signal
import sys
import time

LOGS = ("/g/log0", "/g/log1")


class Follower:
    def __init__(self, root, out, proc):
        self.root, self.proc = root, int(proc)
        self.out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.index = 1  # all that was told has this one, or a lower one
        self.group = []  # of an index that is not complete
        self.versions = {}
        self.gaps = self.changes = 0

    def say(self, **fields):
        os.write(self.out, (json.dumps(dict(fields, proc=self.proc)) + "\n").encode())

    def finding(self, text):
        self.say(finding=f"events: {text}")

    def shown(self, path):
        """Bytes of the file on this mount; None: nobody can say now."""
        try:
            with open(self.root + path, "rb") as f:
                return len(f.read())
        except OSError:
            return None

    def take_change(self, change):
        path, version = change.get("path"), change.get("version")
        if path not in LOGS or change["kind"] != "set":
            return
        self.changes += 1
        before = self.versions.get(path)
        if before is not None and version != before + 1:
            self.finding(f"{path}: version {version} of index {change['index']} behind {before}")
        self.versions[path] = version
        size = self.shown(path)
        if size is not None and size < change["size"]:
            self.finding(f"{path}: index {change['index']} tells of {change['size']} bytes, {size} are there")

    def take_line(self, line):
        change = json.loads(line)
        if change["kind"] == "gap":
            self.gaps += 1
            self.versions.clear()
            self.group = []
            return
        if change["index"] <= self.index:
            self.finding(f"index {change['index']} is told again behind {self.index}")
        self.group.append(change)
        if not change.get("more"):
            for one in self.group:
                self.take_change(one)
            self.index = change["index"]
            self.group = []

    def follow(self):
        self.group = []
        with open(f"{self.root}/.zabfs/events?from={self.index}", "rb", buffering=0) as f:
            rest = b""
            while True:
                piece = f.read(65536)
                if not piece:
                    return
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.strip():
                        self.take_line(line)

    def run(self):
        try:
            while True:
                try:
                    self.follow()
                except OSError:
                    pass  # the mount is away
                time.sleep(0.2)
        finally:
            self.say(kind="events", file="changes", token=f"{self.changes} {self.gaps}", errno="0")


def main():
    def on_term(number, frame):
        raise SystemExit(0)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    follower = Follower(*sys.argv[1:])
    signal.signal(signal.SIGTERM, on_term)
    follower.run()


if __name__ == "__main__":
    sys.exit(main())
