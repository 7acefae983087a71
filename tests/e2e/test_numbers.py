"""`job-#` created from three mounts at once: every file gets a number of its own, and the numbers
rise. 1,500 files, 150 of them by bash; the name that the creator is told is the one in the listing.
What a mount shows of the directory, which it works out from the changes it is told of, is what the
member it does not ask knows.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import Worker, check, read, run  # noqa: E402

EACH = 450
EACH_SHELL = 50


def create_jobs(directory, who):
    names = []
    for i in range(EACH):
        fd = os.open(os.path.join(directory, "job-#"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        names.append(os.getxattr(fd, "user.zabfs.name").decode())
        os.write(fd, f"{who} {i}".encode())
        os.close(fd)
    script = f'cd "$1"; for i in $(seq {EACH_SHELL}); do echo shell > job-# || exit 1; done'
    subprocess.run(["bash", "-c", script, "bash", directory], check=True, timeout=120)
    return names


def check_directory(e, *path):
    """Directory as each mount shows it, with links, children, times and the ensemble's numbers."""
    shown = []
    for n in (1, 2, 3):
        st = os.stat(e.path(n, *path))
        numbers = [int(os.getxattr(e.path(n, *path), f"user.zabfs.{x}"))
                   for x in ("cversion", "pzxid")]
        shown.append([st.st_size, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns, *numbers])
    known = json.loads(e.zabctl("--servers", e.server(1), "--json", "stat",
                                "/" + "/".join(path)).stdout)
    for n, one in enumerate(shown, 1):
        check(one[0] == len(os.listdir(e.path(n, *path))), f"m{n} shows {one[0]} children")
        check(one == shown[0], f"m{n} shows {one} of the directory, m1 {shown[0]}")
        check([*one[:2], *one[4:]] == [known[x] for x in ("size", "nlink", "cversion", "pzxid")],
              f"m{n} shows {one}, the member: {known}")


def test(e):
    os.mkdir(e.path(1, "q"))
    e.barriers()
    workers = [Worker(create_jobs, e.path(n, "q"), f"m{n}") for n in (1, 2, 3)]
    told = [w.result(100) for w in workers]
    e.barriers()
    total = 3 * (EACH + EACH_SHELL)
    listed = [sorted(os.listdir(e.path(n, "q"))) for n in (1, 2, 3)]
    check(listed[0] == listed[1] == listed[2], "the mounts list different names")
    check(len(listed[0]) == total, f"{len(listed[0])} files, not {total}")
    for name in listed[0]:
        check(re.fullmatch(r"job-\d{10}", name), f"the name {name}")
    numbers = [int(name[4:]) for name in listed[0]]
    check(numbers == list(range(numbers[0], numbers[0] + total)), "the numbers have a gap")
    for n, names in enumerate(told, 1):
        check(names == sorted(set(names)), f"the numbers told on m{n} do not rise")
        check(set(names) <= set(listed[0]), f"a name told on m{n} is not there")
        for i in (0, EACH // 2, EACH - 1):
            value = read(e.path(n % 3 + 1, "q", names[i]))
            check(value == f"m{n} {i}".encode(), f"{names[i]} holds {value!r}")
    check(len(set(sum(told, []))) == 3 * EACH, "one name was told twice")

    check_directory(e, "q")
    os.mkdir(e.path(2, "q", "dir-#"))
    os.symlink("target", e.path(3, "q", "link-#"))
    os.mknod(e.path(1, "q", "node-#"), 0o600)
    e.barrier(1)
    for kind in ("dir", "link", "node"):
        found = [name for name in os.listdir(e.path(1, "q")) if name.startswith(kind)]
        check(len(found) == 1 and re.fullmatch(kind + r"-\d{10}", found[0]), f"{kind}-#: {found}")
    e.barriers()
    check_directory(e, "q")
    script = ('exec 9>"$1/q/shell-#"; echo v >&9; '
              'getfattr --absolute-names --only-values -n user.zabfs.name /proc/self/fd/9')
    r = subprocess.run(["bash", "-c", script, "bash", e.mount(1)], capture_output=True, timeout=30)
    check(re.fullmatch(rb"shell-\d{10}", r.stdout), f"getfattr in a shell: {r.stdout!r} {r.stderr!r}")
    check(read(e.path(1, "q", r.stdout.decode())) == b"v\n", "what the shell wrote")
    print(f"{total} files ({3 * EACH_SHELL} by bash), distinct rising numbers on all mounts")


run(test, seconds=110)
