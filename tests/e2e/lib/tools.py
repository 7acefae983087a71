"""A script runs twice: in a directory of a local disk, and in one of a mount. What it says, how it
ends, and what it leaves must be the same, and another mount must show it, too."""
import fnmatch
import os
import stat
import subprocess

from zabfs import check, read


def tree(top, with_times=False):
    """All below a directory: what each name is, down to the bytes."""
    result = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            s = os.lstat(path)
            what = [stat.filemode(s.st_mode), s.st_uid, s.st_gid]
            if stat.S_ISLNK(s.st_mode):
                what.append(os.readlink(path).replace(top, "DIR"))
            elif stat.S_ISREG(s.st_mode):
                what.append(read(path))
                check(s.st_size == len(what[-1]), f"{path} has size {s.st_size}, and {len(what[-1])} bytes")
                if with_times:
                    what.append(s.st_mtime_ns)
            else:
                what.append(s.st_nlink)
            result[os.path.relpath(path, top)] = what
    return result


LOCAL = ".*.sw? .*.sw?x *~ 4913 .#* #*#".split()  # what `zabfs -o local=` is unless it is told otherwise


def is_local(path):
    """Files and links of such names are nobody else's."""
    return any(fnmatch.fnmatchcase(os.path.basename(path), pattern) for pattern in LOCAL)


def differences(a, b):
    lines = []
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            lines.append(f"{name}: {str(a.get(name))[:200]}, but {str(b.get(name))[:200]}")
    return lines


class Bench:
    """Runs scripts side by side. `env` is added to the environment of both."""

    def __init__(self, e, env=None):
        self.e, self.count, self.problems, self.ran = e, 0, [], []
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": e.top, **(env or {})}

    def run(self, directory, script, seconds=60):
        env = {**self.env, "OTHER": os.path.join(self.e.top, "other"), "SELF": directory}
        r = subprocess.run(["bash", "-c", script], cwd=directory, env=env, text=True, errors="replace",
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=seconds)
        return r.returncode, r.stdout.replace(directory, "DIR")

    def same(self, name, script, with_times=False, ignore=None):
        """`$SELF` is the directory, `$OTHER` one on the local disk that is empty for each run.
        `ignore(name)`: this name is left out of the comparison. A difference is kept for end()."""
        self.count += 1
        self.ran.append(name)
        place = f"{self.count}-{name.replace(' ', '-')}"
        local = os.path.join(self.e.top, "local", place)
        mounted = self.e.path(1, place)
        other = os.path.join(self.e.top, "other")
        outcomes, left = [], []
        for directory in (local, mounted):
            os.makedirs(directory)
            subprocess.run(["rm", "-rf", other], check=True)
            os.mkdir(other)
            outcomes.append(self.run(directory, script))
            left.append((tree(directory, with_times), tree(other, with_times)))
        self.e.barrier(2)
        left.append((tree(self.e.path(2, place), with_times), left[1][1]))
        if outcomes[0] != outcomes[1]:
            self.problems.append(f"{name}: on a local disk {outcomes[0]}, here {outcomes[1]}")
        for what, one in (("", left[1]), ("on the other mount, ", left[2])):
            for there, here in zip(left[0], one):
                if what:
                    there = {n: v for n, v in there.items() if not is_local(n)}
                if ignore is not None:
                    there = {n: v for n, v in there.items() if not ignore(n)}
                    here = {n: v for n, v in here.items() if not ignore(n)}
                self.problems += [f"{name}: {what}{line}" for line in differences(there, here)]

    def end(self):
        check(not self.problems, "\n".join(["not as on a local disk:", *self.problems]))
