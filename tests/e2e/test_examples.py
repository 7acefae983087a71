"""mount-examples/: each script on three mounts of one ensemble, with a participant killed in the middle
(kill -9 of a process, or of a whole mount), and its promise kept.

A case is a function in the table at the end. The scripts' COMMAND is mostly a gate: it writes `in NAME`
to the case's log, waits until the test lets it go, and writes `out NAME`.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import check, run, wait_until  # noqa: E402

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../mount-examples")
GATE = 'echo "in $0 ${FENCE-}${TERM_NUMBER-}" >>"$1"; read -r _ <"$1.$0"; echo "out $0" >>"$1"'
PATIENCE = 15  # seconds until what has to happen must have happened


class Process:
    def __init__(self, lab, script, args):
        self.text = os.path.join(lab.top, f"out{len(lab.processes)}")
        with open(self.text, "wb") as out:
            self.p = subprocess.Popen([os.path.join(EXAMPLES, script), *args], stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def lines(self):
        with open(self.text) as f:
            return f.read().splitlines()

    def wait_lines(self, condition, what):
        return wait_until(lambda: condition(self.lines()), PATIENCE, f"{what}; got {self.lines()}")

    def kill(self):
        """The process with all that it has started, as when a machine dies."""
        os.killpg(self.p.pid, signal.SIGKILL)
        self.p.wait()

    def kill_alone(self):
        self.p.kill()
        self.p.wait()

    def code(self):
        return self.p.wait(PATIENCE)

    def is_running(self):
        return self.p.poll() is None


class Lab:
    """The processes of one case."""

    def __init__(self, e, name):
        self.e = e
        self.name = name
        self.top = os.path.join(e.top, name)
        self.log_path = os.path.join(self.top, "log")
        self.processes = []
        os.mkdir(self.top)

    def path(self, n, *names):
        return self.e.path(n, self.name, *names)

    def start(self, script, *args):
        p = Process(self, script, [str(a) for a in args])
        self.processes.append(p)
        return p

    def gate(self, name):
        """A COMMAND that waits for open(name)."""
        os.mkfifo(f"{self.log_path}.{name}")
        return "sh", "-c", GATE, name, self.log_path

    def open(self, name):
        with open(f"{self.log_path}.{name}", "w"):
            pass

    def log(self):
        if not os.path.exists(self.log_path):
            return []
        with open(self.log_path) as f:
            return f.read().splitlines()

    def is_in(self, name):
        return any(line.split()[:2] == ["in", name] for line in self.log())

    def number_of(self, name):
        """FENCE or TERM_NUMBER with which it went in."""
        return next(int(line.split()[2]) for line in self.log() if line.split()[:2] == ["in", name])

    def wait_in(self, name):
        wait_until(lambda: self.is_in(name), PATIENCE, f"{name} to go in; log {self.log()}")

    def locks(self, file):
        r = self.e.zabctl("--servers", self.e.server(1), "locks", "--json", f"/{self.name}/{file}")
        check(r.returncode == 0, f"locks: {r.stderr}")
        return json.loads(r.stdout)

    def wait_waiting(self, file, count):
        """So many wait for the lock of the file."""
        wait_until(lambda: sum(lock["state"] == "waits" for lock in self.locks(file)) == count, PATIENCE,
                   f"{count} waiting for {file}")

    def wait_held(self, file, n):
        """Somebody on mount n has the lock of the file."""
        def held():
            return any(lock["state"] == "holds" and lock["label"].endswith(f"/m{n}")
                       for lock in self.locks(file))
        wait_until(held, PATIENCE, f"the lock of {file} on mount {n}")

    def close(self):
        for p in self.processes:
            try:
                os.killpg(p.p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            p.p.wait()
        shutil.rmtree(self.top)


# --- one at a time, some at a time


def lock(lab):
    holder = lab.start("lock.sh", lab.path(1, "l"), *lab.gate("a"))
    lab.wait_in("a")
    lab.start("lock.sh", lab.path(2, "l"), *lab.gate("b"))
    lab.wait_waiting("l", 1)
    lab.start("lock.sh", lab.path(3, "l"), *lab.gate("c"))
    lab.wait_waiting("l", 2)
    check(len(lab.log()) == 1, f"one has the lock: {lab.log()}")
    holder.kill()
    lab.wait_in("b")
    check(not lab.is_in("c"), "who waited longest is next, alone")
    lab.open("b")
    lab.wait_in("c")
    check(lab.number_of("a") < lab.number_of("b") < lab.number_of("c"), "the fence rises")
    lab.open("c")


def lock_create(lab):
    holder = lab.start("lock-create.sh", lab.path(1, "nightly"), *lab.gate("a"))
    lab.wait_in("a")
    for n in 1, 2, 3:
        refused = lab.start("lock-create.sh", lab.path(n, "nightly"), "echo", "never")
        check(refused.code() == 75, f"exit {refused.code()}")
        check(str(holder.p.pid) in refused.lines()[0], f"who has it: {refused.lines()}")
    holder.kill()

    def taken():
        return lab.start("lock-create.sh", lab.path(2, "nightly"), "true").code() == 0
    wait_until(taken, PATIENCE, "the lock of a killed holder")


def rwlock(lab):
    file = [lab.path(n, "table") for n in range(4)]
    first = lab.start("rwlock.sh", "read", file[1], *lab.gate("r1"))
    lab.start("rwlock.sh", "read", file[2], *lab.gate("r2"))
    lab.wait_in("r1")
    lab.wait_in("r2")
    writer = lab.start("rwlock.sh", "write", file[3], *lab.gate("w"))
    lab.wait_waiting("table", 1)
    lab.start("rwlock.sh", "read", file[1], *lab.gate("r3"))
    lab.wait_waiting("table", 2)
    first.kill()
    check(not lab.is_in("w") and not lab.is_in("r3"), "a reader is left")
    lab.open("r2")
    lab.wait_in("w")
    check(not lab.is_in("r3"), "no reader beside a writer")
    writer.kill()
    lab.wait_in("r3")
    lab.open("r3")


def semaphore(lab):
    def start(n, name):
        return lab.start("semaphore.sh", lab.path(n), 2, *lab.gate(name))
    holder = start(1, "a")
    lab.wait_in("a")
    start(2, "b")
    lab.wait_in("b")
    first = start(3, "c")  # waits for a permit, the others for c
    lab.wait_held("queue", 3)
    start(1, "d")
    lab.wait_waiting("queue", 1)
    start(2, "e")
    lab.wait_waiting("queue", 2)
    check(len(lab.log()) == 2, f"two permits: {lab.log()}")
    first.kill_alone()  # what it has started must not keep its place in the queue
    lab.wait_waiting("queue", 1)
    check(len(lab.log()) == 2, f"two permits: {lab.log()}")
    holder.kill()
    lab.wait_in("d")
    check(not lab.is_in("e"), "one permit was given back")
    lab.open("b")
    lab.wait_in("e")
    lab.open("d")
    lab.open("e")


def leader(lab):
    first = lab.start("leader.sh", lab.path(1), "anna", *lab.gate("a"))
    lab.wait_in("a")

    def candidates(count):
        wait_until(lambda: len(os.listdir(lab.path(1))) == count, PATIENCE, f"{count} candidates")
    middle = lab.start("leader.sh", lab.path(2), "bruno", *lab.gate("b"))
    candidates(2)
    lab.start("leader.sh", lab.path(3), "carla", *lab.gate("c"))
    candidates(3)
    with open(lab.path(3, min(os.listdir(lab.path(3))))) as f:
        check(f.read() == "anna\n", "everybody can read who leads")
    middle.kill()
    candidates(2)
    check(not lab.is_in("c"), "the end of one that waits makes nobody leader")
    first.kill()
    lab.wait_in("c")
    check(lab.number_of("a") < lab.number_of("c"), "the term rises")
    lab.open("c")


# --- who is there


def members(lab):
    group = [lab.start("members.sh", lab.path(n), f"m{n}") for n in (1, 2, 3)]
    for p in group:
        p.wait_lines(lambda lines: lines[-1:] == ["m1 m2 m3"], "three members")
    check(lab.start("members.sh", lab.path(1), "m2").code() != 0, "a name is taken once")
    group[1].kill()
    for p in group[0], group[2]:
        p.wait_lines(lambda lines: lines[-1:] == ["m1 m3"], "two members")


def registry(lab):
    follower = lab.start("registry.sh", "follow", lab.path(3))
    service = lab.start("registry.sh", "register", lab.path(1), "10.0.0.1:80", "sleep", "100")
    lab.start("registry.sh", "register", lab.path(2), "10.0.0.2:80", "sleep", "100")
    follower.wait_lines(lambda lines: lines[-1:] == ["10.0.0.1:80 10.0.0.2:80"], "both")
    service.kill_alone()  # it has become the service
    follower.wait_lines(lambda lines: lines[-1:] == ["10.0.0.2:80"], "the one that is left")
    check(all(re.fullmatch(r"(10\.0\.0\.\d:80 ?)*", line) for line in follower.lines()), "whole")


# --- work, meeting points, numbers


def queue(lab):
    done = os.path.join(lab.top, "done")
    gate = os.path.join(lab.top, "gate")
    os.mkfifo(gate)
    slow = lab.start("queue.sh", "work", lab.path(1), "sh", "-c",
                     f'echo "begun $0" >>{done}; read -r _ <{gate}')

    def finished():
        with open(done) as f:
            return f.read().splitlines()
    for i in range(3):
        check(lab.start("queue.sh", "put", lab.path(2), f"work {i}").code() == 0, "put")
    wait_until(lambda: os.path.exists(done) and finished() == ["begun work 0"], PATIENCE, "the first")
    for n in 2, 3:
        lab.start("queue.sh", "work", lab.path(n), "sh", "-c", f'echo "$0" >>{done}')
    wait_until(lambda: len(finished()) == 3, PATIENCE, "the other two")
    check(sorted(finished()) == ["begun work 0", "work 1", "work 2"], f"{finished()}")
    slow.kill()
    wait_until(lambda: "work 0" in finished(), PATIENCE, "what the dead worker was doing")
    for i in range(3, 13):
        check(lab.start("queue.sh", "put", lab.path(i % 3 + 1), f"work {i}").code() == 0, "put")
    wait_until(lambda: os.listdir(lab.path(1, "jobs")) == [], PATIENCE, "an empty queue")
    check(sorted(finished()) == sorted(["begun work 0"] + [f"work {i}" for i in range(13)]),
          f"each once: {finished()}")


def barrier(lab):
    def here(count):
        wait_until(lambda: len(os.listdir(lab.path(1, "here"))) == count, PATIENCE, f"{count} here")
    first = lab.start("barrier.sh", lab.path(1), "a", 3)
    wait_until(lambda: os.path.isdir(lab.path(1, "here")), PATIENCE, "the barrier")
    here(1)
    second = lab.start("barrier.sh", lab.path(2), "b", 3)
    here(2)
    first.kill()
    here(1)
    third = lab.start("barrier.sh", lab.path(3), "c", 3)
    here(2)
    check(second.is_running() and third.is_running(), "closed: a dead one does not count")
    fourth = lab.start("barrier.sh", lab.path(1), "d", 3)
    check([p.code() for p in (second, third, fourth)] == [0, 0, 0], "open for all")


def double_barrier(lab):
    workers = [lab.start("double-barrier.sh", lab.path(n), name, 3, *lab.gate(name))
               for n, name in ((1, "a"), (2, "b"))]
    wait_until(lambda: os.path.isdir(lab.path(1, "here")), PATIENCE, "the barrier")
    wait_until(lambda: len(os.listdir(lab.path(1, "here"))) == 2, PATIENCE, "two here")
    check(lab.log() == [], "nobody begins before all are there")
    workers.append(lab.start("double-barrier.sh", lab.path(3), "c", 3, *lab.gate("c")))
    for name in "abc":
        lab.wait_in(name)
    lab.open("a")
    wait_until(lambda: len(os.listdir(lab.path(2, "here"))) == 2, PATIENCE, "one that has ended")
    workers[1].kill()
    wait_until(lambda: len(os.listdir(lab.path(2, "here"))) == 1, PATIENCE, "one left at work")
    check(workers[0].is_running(), "nobody returns before all have ended")
    lab.open("c")
    check(workers[0].code() == 0 and workers[2].code() == 0, "all left return")


def counter(lab):
    loops = [subprocess.Popen(["sh", "-c", 'for i in $(seq 12); do "$0" "$1" || exit 1; done',
                               os.path.join(EXAMPLES, "counter.sh"), lab.path(n, "orders")],
                              stdout=subprocess.PIPE, start_new_session=True) for n in (1, 2, 3)]
    try:
        lines = [loops[1].stdout.readline() for _ in range(3)]
        os.killpg(loops[1].pid, signal.SIGKILL)
        texts = [loop.communicate(timeout=60)[0] for loop in loops]
    finally:
        for loop in loops:
            if loop.poll() is None:
                os.killpg(loop.pid, signal.SIGKILL)
                loop.wait()
    texts[1] = b"".join(lines) + texts[1]
    given = sorted(int(n) for text in texts for n in text.split())
    check(len(set(given)) == len(given), f"no number twice: {given}")
    check(len(texts[0].split()) == 12 and len(texts[2].split()) == 12, "the others went on")
    last = lab.start("counter.sh", lab.path(2, "orders"))
    check(last.code() == 0, "counter.sh")
    total = int(last.lines()[0])
    # The one that was killed may have counted and not been able to say so.
    check(len(given) + 1 <= total <= len(given) + 2, f"{total} after {len(given)} numbers")


# --- news


def pubsub(lab):
    subscribers = [lab.start("pubsub.sh", "subscribe", lab.path(n)) for n in (2, 3, 1)]
    publishers = [lab.start("pubsub.sh", "publish", lab.path(n % 3 + 1), f"text {n}") for n in range(6)]
    check([p.code() for p in publishers] == [0] * 6, "published")
    for s in subscribers:
        s.wait_lines(lambda lines: len(lines) == 6, "six messages")
    subscribers[2].kill()
    for n in range(6, 10):
        check(lab.start("pubsub.sh", "publish", lab.path(n % 3 + 1), f"text {n}").code() == 0, "publish")
    late = lab.start("pubsub.sh", "subscribe", lab.path(1))
    for s in subscribers[0], subscribers[1], late:
        s.wait_lines(lambda lines: len(lines) >= 10, "ten messages")
    check(sorted(late.lines()) == sorted(f"text {n}" for n in range(10)), f"each once: {late.lines()}")
    check(subscribers[0].lines() == subscribers[1].lines() == late.lines(), "in one order")


def config(lab):
    follower = lab.start("config.sh", lab.path(2, "app.conf"), "cat")
    with open(lab.path(1, "app.conf"), "w") as f:
        f.write("color = red\n")
    follower.wait_lines(lambda lines: lines == ["color = red"], "the first configuration")
    # An editor that is killed before it puts the new file in the place of the old one.
    editor = subprocess.Popen(["sh", "-c", 'echo "color = bl" >"$0.new"; kill -9 $$; mv "$0.new" "$0"',
                               lab.path(3, "app.conf")])
    editor.wait()
    lab.e.barrier(2)
    with open(lab.path(3, "app.conf.new"), "w") as f:
        f.write("color = blue\n" * 1000)
    os.rename(lab.path(3, "app.conf.new"), lab.path(3, "app.conf"))
    follower.wait_lines(lambda lines: lines == ["color = red"] + ["color = blue"] * 1000, "the second")


def poll(lab):
    with open(lab.path(1, "light"), "w") as f:
        f.write("off\n")
    lab.e.barriers()
    watchers = [lab.start("poll.py", lab.path(n, "light")) for n in (2, 3, 1)]
    for w in watchers:
        w.wait_lines(lambda lines: lines == ["off"], "the first value")
    watchers[1].kill()
    for i in range(5):
        with open(lab.path(1, "light"), "w") as f:
            f.write(f"on {i}\n")
        for w in watchers[0], watchers[2]:
            w.wait_lines(lambda lines: lines[-1] == f"on {i}", f"value {i}")


# --- a whole mount dies: what was held through it goes when its session expires


def dead_mount(lab):
    lab.start("lock.sh", lab.path(2, "l"), *lab.gate("a"))
    lab.start("leader.sh", lab.path(2, "el"), "anna", *lab.gate("la"))
    lab.start("lock-create.sh", lab.path(2, "nightly"), *lab.gate("n"))
    lab.start("members.sh", lab.path(2, "group"), "m2")
    lab.start("registry.sh", "register", lab.path(2, "svc"), "10.0.0.2:80", "sleep", "100")
    for name in "a", "la", "n":
        lab.wait_in(name)
    lab.start("lock.sh", lab.path(1, "l"), *lab.gate("b"))
    lab.start("leader.sh", lab.path(3, "el"), "bruno", *lab.gate("lb"))
    member = lab.start("members.sh", lab.path(3, "group"), "m3")
    follower = lab.start("registry.sh", "follow", lab.path(1, "svc"))
    member.wait_lines(lambda lines: lines[-1:] == ["m2 m3"], "two members")
    follower.wait_lines(lambda lines: lines[-1:] == ["10.0.0.2:80"], "the service")
    lab.wait_waiting("l", 1)
    lab.e.kill("zabfs", 2)
    for name in "b", "lb":
        wait_until(lambda n=name: lab.is_in(n), 40, f"{name} to go in after the session expired")
    check(lab.number_of("a") < lab.number_of("b"), "the fence rises")
    check(lab.number_of("la") < lab.number_of("lb"), "the term rises")
    member.wait_lines(lambda lines: lines[-1:] == ["m3"], "one member")
    follower.wait_lines(lambda lines: lines[-1:] == [""], "no service")
    check(lab.start("lock-create.sh", lab.path(3, "nightly"), "true").code() == 0, "a free lock")
    lab.e.up()


CASES = [lock, lock_create, rwlock, semaphore, leader, members, registry, queue, barrier, double_barrier,
         counter, pubsub, config, poll, dead_mount]


def test(e):
    wanted = sys.argv[1:]
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        os.mkdir(e.path(1, case.__name__))
        e.barriers()
        lab = Lab(e, case.__name__)
        try:
            case(lab)
        except BaseException:
            print(f"in case {case.__name__}; log {lab.log()}")
            for p in lab.processes:
                print(f"  {p.p.args[0].rsplit('/', 1)[1]} {p.p.args[1:3]}: {p.lines()}")
            raise
        finally:
            lab.close()
        print(f"kept its promise: {case.__name__}", flush=True)
    scripts = {name for name in os.listdir(EXAMPLES) if name != "quickstart.sh"}
    tested = {case.__name__.replace("_", "-") for case in CASES}
    check({name.rsplit(".", 1)[0] for name in scripts} <= tested, "every example has its case")


if __name__ == "__main__":
    run(test, seconds=170)
