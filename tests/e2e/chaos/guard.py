#!/usr/bin/env python3
"""A sequential user of what several processes hold against each other: locks, ephemerals, renames and
transactions. Writes down what each call said, and what it saw that must not be; judge_guards() compares
the first with the files at the end.

    guard.py ROOT OUT PROC SEED PAUSE_MS

Files below ROOT, made before and never deleted:
    g/lock0 g/lock1      flock(2), exclusive and shared
    g/log0 g/log1        one token a line, appended under the lock of that number: FENCE PROC NUMBER
    g/a g/b              always of one content: set by transactions alone
    g/left/ g/right/     one directory, `ball`, is renamed from one to the other and back
    g/here/              ephemerals, NAME@

The descriptors for lock and log are opened before the lock is asked for. So they are of one session, or
end with ESTALE: a lock that was lost with its session cannot be followed by a line in the log, and the
fences in a log never fall.

OUT gets one JSON object a line: {"proc", "kind", "file", "token", "errno"}, errno "-" while a call has
not returned, or {"proc", "finding"}. Ends well on SIGTERM, between two calls.
"""
import ctypes
import errno
import fcntl
import json
import os
import random
import signal
import sys
import time

LOCK_WAIT_S = 5  # then it is interrupted
NONE = -1


class Interrupted(Exception):
    pass


class Guard:
    def __init__(self, root, out, proc, seed, pause_ms):
        self.root, self.proc, self.pause_s = root, proc, pause_ms / 1000
        self.out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.random = random.Random(seed)
        self.number = 0
        self.here = None  # (descriptor, path) of an ephemeral that is held
        self.ending = False

    def name(self, *parts):
        return os.path.join(self.root, "g", *parts)

    def say(self, **fields):
        os.write(self.out, (json.dumps(dict(fields, proc=self.proc)) + "\n").encode())

    def call(self, kind, file, token, what):
        """Runs one change; what it said is in the history even if we are killed meanwhile."""
        self.say(kind=kind, file=file, token=token, errno="-")
        try:
            what()
            code = "0"
        except OSError as e:
            code = errno.errorcode.get(e.errno, str(e.errno))
        self.say(kind=kind, file=file, token=token, errno=code)
        return code

    # --- a line in a log, under a lock

    def lock(self, fd, kind):
        """False if it was not had in time."""
        signal.setitimer(signal.ITIMER_REAL, LOCK_WAIT_S)
        try:
            fcntl.flock(fd, kind)
            return True
        except Interrupted:
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def guarded_line(self):
        which = self.random.randrange(2)
        shared = self.random.random() < 0.2
        lock = log = NONE
        try:
            lock = os.open(self.name(f"lock{which}"), os.O_RDWR)
            log = os.open(self.name(f"log{which}"), os.O_WRONLY | os.O_APPEND)
            if not self.lock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                return
            if not shared:
                fence = int(os.getxattr(lock, "user.zabfs.fence"))
                self.number += 1
                token = f"{fence} {self.proc} {self.number}"
                self.call("line", f"log{which}", token, lambda: os.write(log, f"{token}\n".encode()))
        finally:
            for fd in (lock, log):
                if fd != NONE:
                    os.close(fd)

    # --- a transaction: two files, or none

    def pair(self):
        self.number += 1
        token = f"{self.proc}.{self.number}"
        text = f'set /g/a "{token}"\nset /g/b "{token}"\n'

        def commit():
            fd = os.open(os.path.join(self.root, ".zabfs", "txn"), os.O_RDWR)
            try:
                os.write(fd, text.encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        self.call("pair", "a b", token, commit)

    # --- a rename: the ball is in one place

    def throw(self):
        src, dst = self.random.sample(["left", "right"], 2)
        self.number += 1
        self.call("throw", f"{src} {dst}", f"{self.proc}.{self.number}",
                  lambda: os.rename(self.name(src, "ball"), self.name(dst, "ball")))

    # --- an ephemeral: as long as the descriptor is good, the name is there

    def hold_or_look(self):
        if self.here is None:
            name = f"p{self.proc}-{self.number}"
            self.number += 1
            self.here = (os.open(self.name("here", name + "@"), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644),
                         self.name("here", name))
            return
        fd, path = self.here
        try:
            there = self.is_there(path)
        except OSError:
            return  # nobody can say now
        if there and self.random.random() < 0.7:
            return
        self.here = None
        try:
            if self.session_lives(fd) and not there:
                self.say(finding=f"{path} is gone, and its session lives")
        finally:
            os.close(fd)

    @staticmethod
    def is_there(path):
        try:
            os.stat(path)
            return True
        except FileNotFoundError:
            return False

    @staticmethod
    def session_lives(fd):
        """As far as the mount knows: it takes what is written to a descriptor of this session."""
        try:
            os.pwrite(fd, b"x", 0)
            return True
        except OSError:
            return False  # ESTALE; or nobody can say now

    # --- the loop

    def run(self):
        turns = [self.guarded_line] * 4 + [self.pair, self.throw] + [self.hold_or_look] * 2
        while not self.ending:
            try:
                self.random.choice(turns)()
            except (OSError, Interrupted):
                pass  # a step before the change failed: nothing was changed
            time.sleep(self.random.random() * 2 * self.pause_s)


def judge_guards(histories, contents, left_behind, counts):
    """What is wrong, as a list of texts. `contents`: of logN, by name, at the end. `counts` gets how many
    calls of each kind ended how."""
    findings = []
    outcomes = {}  # (file, token): errno said last
    for path in histories:
        with open(path) as f:
            for line in f:
                if not line.endswith("\n"):
                    continue
                said = json.loads(line)
                if "finding" in said:
                    findings.append(f"process {said['proc']}: {said['finding']}")
                    continue
                counts[said["kind"], said["errno"]] += 1
                if said["kind"] == "line":
                    outcomes[said["file"], said["token"]] = said["errno"]
    for name, content in contents.items():
        lines = content.decode().split("\n")[:-1]
        fences = [int(line.split()[0]) for line in lines]
        for before, after, line in zip(fences, fences[1:], lines[1:]):
            if after < before:
                findings.append(f"{name}: the fence falls from {before} at line {line!r}")
        if len(lines) != len(set(lines)):
            findings.append(f"{name}: a line is there twice: "
                            f"{next(x for x in lines if lines.count(x) > 1)!r}")
        holders = {}
        for line in lines:
            fence, proc, _ = line.split()
            if holders.setdefault(fence, proc) != proc:
                findings.append(f"{name}: processes {proc} and {holders[fence]} held fence {fence}")
        here = set(lines)
        for (file, token), code in outcomes.items():
            if file == name and code == "0" and token not in here:
                findings.append(f"{name}: the acknowledged line {token!r} is lost")
            if file == name and code == "EROFS" and token in here:
                findings.append(f"{name}: the refused line {token!r} is there ({code})")
        strangers = here - {token for file, token in outcomes if file == name}
        if strangers:
            findings.append(f"{name}: nobody wrote {sorted(strangers)[:3]}")
    if left_behind:
        findings.append(f"ephemerals that outlived their makers: {left_behind[:5]}")
    return findings


def main():
    root, out, proc, seed, pause_ms = sys.argv[1:]
    guard = Guard(root, out, int(proc), int(seed), float(pause_ms))

    def on_alarm(number, frame):
        raise Interrupted

    def on_term(number, frame):
        guard.ending = True
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, on_term)
    guard.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
