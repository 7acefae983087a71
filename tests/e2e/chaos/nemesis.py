"""What is done to an ensemble while its workers work: one harm every second or two, each mended a
little later. Mostly at most a minority is harmed at a time; now and then a majority is, so that
nothing can be committed for a while. SIGKILL is a power failure, see faultdisk.c.

A disk is only lost while nothing else is wrong, as an operator would replace it; what happens until
the member has its state again may be anything. Only a minority of the members, the last ones, ever
lose their disks, so that some log reaches back to the first entry.

A member whose disk fails is expected to end, and is started again, at first perhaps still on the bad
disk. Anything else that ends by itself is a finding.
"""
import collections
import heapq
import itertools
import random
import time

from zabfs import Failure

# harm: how often, relatively
HARMS = {
    "kill": 26, "kill leader": 12, "kill many": 3, "kill all": 2,
    "stop": 9, "stop leader": 6,
    "cut both": 9, "cut leader": 6, "cut in": 7, "cut out": 7, "cut pair": 7, "cut majority": 2,
    "kill harmed": 12, "lose disk": 2,
    "kill mount": 4, "kill worker": 6,
    "disk write error": 3, "disk torn write": 3, "disk sync error": 3, "disk full": 3, "disk slow": 3,
}
DISK = {"write error": "w", "torn write": "h", "sync error": "s", "full": "n", "slow": "l"}
PAUSE_S = (0.5, 2.0)       # from one harm to the next
RETRY_S = 0.2              # to look again whether a harm can be done
RESTART_S = (0.1, 2.0)     # how long what was killed is away
STOP_S = (0.2, 3.0)        # how long a process stands still
CUT_S = (0.5, 4.0)         # how long a cut lasts
CUT_LONG_S = (11.0, 14.0)  # longer than sessions live
CUT_LONG_SHARE = 0.02
DISK_S = (0.1, 1.5)
MAJORITY_SHARE = 0.02      # of the tries that would make the harmed a majority, those that are done


class Nemesis:
    def __init__(self, world):
        self.world = world
        self.counts = collections.Counter()
        self.disk_ends = 0
        self.later = []  # (when, number, what): mending
        self.sequence = itertools.count()
        self.harms = collections.Counter()  # by member: reasons for which it is harmed now
        self.disk_bad_until = {n: 0 for n in world.members}
        self.next_at = time.monotonic()
        self.harm = None  # the next one; it is waited for until it can be done
        self.majority_spans = []  # (from, to): more than a minority was harmed
        self.majority_since = None

    # --- bookkeeping

    def after(self, span, what):
        at = time.monotonic() + (random.uniform(*span) if isinstance(span, tuple) else span)
        heapq.heappush(self.later, (at, next(self.sequence), what))

    def mark(self, n, by):
        self.harms[n] += by
        harmed = len([m for m in self.harms if self.harms[m] > 0])
        if harmed > (self.world.count - 1) // 2:
            self.majority_since = self.majority_since or time.monotonic()
        elif self.majority_since is not None:
            self.majority_spans.append((self.majority_since, time.monotonic()))
            self.majority_since = None

    def sound(self):
        """Members that nothing is done to."""
        return [n for n in self.world.members if self.harms[n] == 0]

    def may_harm(self, count):
        harmed = self.world.count - len(self.sound()) + count
        return harmed <= (self.world.count - 1) // 2 or random.random() < MAJORITY_SHARE

    # --- members

    def kill(self, n):
        self.mark(n, +1)
        self.world.members[n].kill()
        self.after(RESTART_S, lambda: self.restart(n))

    def restart(self, n):
        if not self.world.members[n].is_up():
            self.world.members[n].start()
        self.mark(n, -1)

    def lose_disk(self, n):
        commit = max(int(s["commit"]) for s in self.world.status().values())
        self.mark(n, +1)
        self.world.members[n].kill()
        self.world.members[n].lose_disk()
        self.world.members[n].start()
        self.after(1, lambda: self.look_for_state(n, commit))

    def look_for_state(self, n, index):
        status = self.world.status().get(n)
        if status is not None and int(status["applied"]) >= index:
            self.mark(n, -1)
        else:
            self.after(0.5, lambda: self.look_for_state(n, index))

    def stop(self, n):
        self.mark(n, +1)
        self.world.members[n].stop(True)
        self.after(STOP_S, lambda: self.go_on(n))

    def go_on(self, n):
        self.world.members[n].stop(False)
        self.mark(n, -1)

    def cut(self, n, kind, peer=None):
        self.mark(n, +1)
        self.world.net.cut(n, kind, peer)
        is_long = random.random() < CUT_LONG_SHARE
        self.after(CUT_LONG_S if is_long else CUT_S, lambda: self.mend(n, kind, peer))

    def mend(self, n, kind, peer):
        self.world.net.mend(n, kind, peer)
        self.mark(n, -1)

    def disk(self, n, fault):
        self.mark(n, +1)
        self.world.members[n].disk(DISK[fault])
        self.disk_bad_until[n] = float("inf")
        self.after(DISK_S, lambda: self.disk_well(n))

    def disk_well(self, n):
        self.world.members[n].disk("-")
        self.disk_bad_until[n] = time.monotonic() + 2  # until the loop has looked
        self.mark(n, -1)

    def disk_ended(self, n):
        """It was stopped by its disk; it is started again as a supervisor would."""
        self.disk_ends += 1
        self.mark(n, +1)
        self.world.members[n].kill()
        self.after((0.1, 1.0), lambda: self.restart(n))

    # --- the rest

    def kill_mount(self, m):
        m.kill()
        self.after((0.1, 1.0), m.start)

    def kill_worker(self, w):
        w.kill()
        w.start()

    # --- one harm

    def strike(self, harm):
        """False if there is nothing that this harm may be done to now."""
        kind, _, what = harm.partition(" ")
        sound = self.sound()
        if harm == "kill mount":
            mounts = [m for m in self.world.mounts if m.is_up()]
            if not mounts:
                return False
            self.kill_mount(random.choice(mounts))
        elif harm == "kill worker":
            self.kill_worker(random.choice(self.world.workers))
        elif harm in ("kill all", "kill many", "cut majority"):
            if len(sound) < self.world.count:
                return False
            many = {"kill all": self.world.count, "kill many": random.randint(2, self.world.count)}
            for n in random.sample(sound, many.get(harm, self.world.count // 2 + 1)):
                self.kill(n) if kind == "kill" else self.cut(n, "both")
        elif harm == "lose disk":
            if len(sound) < self.world.count or self.world.leader() is None:
                return False
            self.lose_disk(random.choice(sorted(self.world.members)[(self.world.count + 1) // 2:]))
        elif harm == "kill harmed":
            harmed = [n for n, m in self.world.members.items() if self.harms[n] > 0 and m.is_up()]
            if not harmed:
                return False
            self.kill(random.choice(harmed))
        else:
            if not sound or not self.may_harm(1):
                return False
            n = random.choice(sound)
            if what == "leader":
                n = self.world.leader()
                if n not in sound:
                    return False
            if kind == "kill":
                self.kill(n)
            elif kind == "stop":
                self.stop(n)
            elif kind == "disk":
                self.disk(n, what)
            else:
                others = [i for i in self.world.members if i != n]
                self.cut(n, "both" if what == "leader" else what,
                         random.choice(others) if what == "pair" else None)
        self.counts[harm] += 1
        return True

    # --- the loop

    def watch(self):
        """Raises Failure for what has ended by itself."""
        now = time.monotonic()
        for n, m in self.world.members.items():
            if m.child is None or m.is_up():
                continue
            if now < self.disk_bad_until[n] and m.child.returncode == 1:
                self.disk_ended(n)
            else:
                raise Failure(f"{m.name} has ended by itself, exit {m.child.returncode}")
        for p in self.world.mounts + self.world.workers:
            if p.child is not None and not p.is_up():
                raise Failure(f"{p.name} has ended by itself, exit {p.child.returncode}")

    def turn(self, may_strike):
        self.watch()
        while self.later and self.later[0][0] <= time.monotonic():
            heapq.heappop(self.later)[2]()
        if may_strike and time.monotonic() >= self.next_at:
            self.harm = self.harm or random.choices(list(HARMS), HARMS.values())[0]
            done = self.strike(self.harm)
            if done or self.harm == "kill harmed":  # which waits for others: nothing would come
                self.harm = None
            self.next_at = time.monotonic() + (random.uniform(*PAUSE_S) if done else RETRY_S)

    def settle(self, seconds):
        """Mends all that is not mended yet."""
        deadline = time.monotonic() + seconds
        while self.later:
            self.turn(False)
            if time.monotonic() > deadline:
                raise Failure("harm that does not end")
            time.sleep(0.02)
