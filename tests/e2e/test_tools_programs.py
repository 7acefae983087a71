"""Python's ways with files, SQLite, and who may have what open, on a mount as on a local disk; and what
is different, which is then refused: shared memory maps, hard links, write-ahead logs.
"""
import errno
import json
import mmap
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from tools import Bench  # noqa: E402
from zabfs import Worker, check, errno_name, errno_of, read, run, write  # noqa: E402

SCRIPTS = {
    "python open modes": r"""
import os
def show(text):
    print(text, open("f", "rb").read())
open("f", "w").write("one\ntwo\n"); show("w")
open("f", "a").write("three\n"); show("a")
f = open("f", "r+"); f.seek(4); f.write("TWO"); f.close(); show("r+")
f = open("f", "w+"); f.write("new"); f.seek(0); print(f.read()); f.close(); show("w+")
f = open("f", "a+"); f.write(" more"); f.seek(0); print(f.read()); f.close(); show("a+")
f = open("f", "rb+", buffering=0); f.truncate(4); f.seek(10); f.write(b"end"); f.close(); show("r+ truncate seek")
try: open("f", "x")
except OSError as e: print("x", e)
open("g", "x").write("x"); print(open("g").read())
with open("f", "w") as f:
    for i in range(1000): print(i, file=f)
print(sum(int(line) for line in open("f")))
print([(i, line) for i, line in enumerate(open("f"))][-1])
with open("f", "rb") as f: f.seek(-4, 2); print(f.read(), f.tell())
print(os.path.getsize("f"), os.listdir("."))
try: open("none")
except OSError as e: print(e)
try: open(".", "w")
except OSError as e: print(e)
""",
    "python json by os.replace": r"""
import json, os, tempfile
for n in range(5):
    fd, name = tempfile.mkstemp(dir=".", prefix="new-")
    with os.fdopen(fd, "w") as f:
        json.dump({"n": n, "list": list(range(n))}, f); f.flush(); os.fsync(f.fileno())
    os.replace(name, "config.json")
    print(json.load(open("config.json")))
print(os.listdir("."), oct(os.stat("config.json").st_mode))
""",
    "python tempfile and shutil": r"""
import os, shutil, tempfile
with tempfile.TemporaryDirectory(dir=".") as d:
    open(d + "/f", "w").write("x"); os.makedirs(d + "/a/b"); shutil.copy2(d + "/f", d + "/a/b/g")
    shutil.copytree(d + "/a", "copy"); shutil.move(d + "/f", "moved")
with tempfile.NamedTemporaryFile(dir=".") as f:
    f.write(b"y"); f.flush(); print(os.path.exists(f.name))
print(sorted(os.listdir(".")), open("copy/b/g").read()); shutil.rmtree("copy"); print(os.listdir("."))
print(shutil.disk_usage(".").total > 0)
""",
    "python os calls": r"""
import os, fcntl
fd = os.open("f", os.O_RDWR | os.O_CREAT)
print(os.write(fd, b"0123456789"), os.pread(fd, 3, 4), os.pwrite(fd, b"AB", 2), os.lseek(fd, 0, 2), os.pread(fd, 100, 0))
os.ftruncate(fd, 5); print(os.fstat(fd).st_size); os.fsync(fd); os.fdatasync(fd); print(os.stat("f").st_size)
other = os.open("f", os.O_RDONLY); os.unlink("f"); print(os.read(other, 100), os.fstat(other).st_size, os.path.exists("f"))
os.close(other); os.close(fd)
os.writev(w := os.open("v", os.O_WRONLY | os.O_CREAT), [b"a", b"bc", b"def"]); os.close(w); print(open("v").read())
d = os.open(".", os.O_RDONLY); os.fsync(d); os.mkdir("sub", dir_fd=d); os.rename("v", "sub/v", src_dir_fd=d, dst_dir_fd=d)
print([(e.name, e.is_dir()) for e in os.scandir(d)], os.access("sub/v", os.X_OK)); os.close(d)
with open("l", "w") as f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.flock(f, fcntl.LOCK_SH); print("locked")
""",
}
SQLITE = r"""for mode in delete truncate persist memory; do
  sqlite3 db-$mode "pragma journal_mode=$mode; create table t(x); insert into t values(1),(2); begin; insert into t values(3);
    rollback; begin; insert into t select x + 10 from t; commit; select sum(x) from t; vacuum; pragma integrity_check;"
done; ls; sqlite3 db-delete .dump; sqlite3 db-delete ".backup copy"; sqlite3 copy "select count(*) from t" """


def what_is_refused(e):
    d = e.path(1, "refused")
    os.mkdir(d)
    write(f"{d}/f", b"x" * 5000)

    def shared():
        with open(f"{d}/f", "r+b") as f:
            mmap.mmap(f.fileno(), 0, flags=mmap.MAP_SHARED)
    for call, args, number in ((shared, (), errno.ENODEV), (os.link, (f"{d}/f", f"{d}/g"), errno.EPERM),
                               (os.mkfifo, (f"{d}/p",), errno.EPERM),
                               (os.setxattr, (f"{d}/f", "security.x", b"y"), errno.EOPNOTSUPP)):
        got = errno_of(call, *args)
        check(got == number, f"{call.__name__}: {errno_name(got)}, not {errno_name(number)}")
    with open(f"{d}/f", "rb") as f:
        private = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)
        check(private[:3] == b"xxx" and len(private) == 5000, "a private map")
    r = subprocess.run(["sqlite3", f"{d}/wal", "pragma journal_mode=wal; create table t(x);"],
                       capture_output=True, text=True, timeout=60)
    check(r.returncode != 0 and "disk I/O error" in r.stderr, f"a write-ahead log: {r}")
    check(sorted(os.listdir(d))[0] == "f", "the rest is as it was")


def attempt(connection, statement):
    try:
        result = connection.execute(statement).fetchall()
        connection.commit()
        return result
    except sqlite3.Error as failure:
        connection.rollback()
        return str(failure)


def sqlite_of_two_mounts(e):
    """Connections on two mounts that stay open write in turn, under SQLite's own locks (fcntl): each
    sees what the other one has committed, and nothing is lost."""
    paths = [e.path(n, "shared.db") for n in (1, 2)]
    first = sqlite3.connect(paths[0])
    first.execute("create table t(x)")
    first.commit()
    e.barrier(2)
    connections = [first, sqlite3.connect(paths[1])]
    wanted = []
    for i in range(20):
        done = attempt(connections[i % 2], f"insert into t values({i})")
        check(done == [], f"insert {i} on m{i % 2 + 1}: {done}")
        wanted.append((i,))
        seen = attempt(connections[1 - i % 2], "select x from t order by x")
        check(seen == wanted, f"after {i} the other one sees {seen}")
    for connection in connections:
        connection.close()
    e.barriers()
    for n in (1, 2, 3):
        fresh = sqlite3.connect(e.path(n, "shared.db"))
        check(attempt(fresh, "select x from t order by x") == wanted, f"on m{n}")
        check(attempt(fresh, "pragma integrity_check") == [("ok",)], f"sound on m{n}")
        fresh.close()


def sqlite_at_once(e, n):
    """Increments in a process of its own; the number of those that were done."""
    connection = sqlite3.connect(e.path(n, "counter.db"), timeout=30, isolation_level=None)
    done = 0
    for _ in range(15):
        try:
            connection.execute("begin immediate")
            connection.execute("update t set x = x + 1")
            connection.execute("commit")
            done += 1
        except sqlite3.OperationalError:
            if connection.in_transaction:
                connection.execute("rollback")
    connection.close()
    return done


def increments(e):
    """From three mounts at once: each increment counts once."""
    first = sqlite3.connect(e.path(1, "counter.db"))
    first.executescript("create table t(x); insert into t values(0);")
    first.close()
    e.barriers()
    workers = [Worker(sqlite_at_once, e, n) for n in (1, 2, 3)]
    done = [w.result(80) for w in workers]
    e.barriers()
    last = sqlite3.connect(e.path(2, "counter.db"))
    total = attempt(last, "select x from t")
    check(total == [(sum(done),)], f"{done} increments made {total}")
    check(attempt(last, "pragma integrity_check") == [("ok",)], "the database is sound")
    last.close()
    return done


def published(e):
    """Readers of a file that is replaced by os.replace always find a whole one."""
    for n in range(100):
        path = e.path(1, f"c.{n}")
        write(path, json.dumps({"n": n, "all": list(range(n))}).encode())
        os.replace(path, e.path(1, "c.json"))
        if n == 0:
            e.barriers()
        for m in (1, 2, 3):
            value = json.loads(read(e.path(m, "c.json")))
            check(value["all"] == list(range(value["n"])), f"m{m}: {value}")


def test(e):
    bench = Bench(e)
    for name, script in SCRIPTS.items():
        bench.same(name, f"cat > $OTHER/script.py <<'END'\n{script}END\npython3 -B $OTHER/script.py")
    bench.same("sqlite", SQLITE, ignore=lambda name: True)  # its files hold counters of their own
    bench.end()
    what_is_refused(e)
    sqlite_of_two_mounts(e)
    done = increments(e)
    published(e)
    print(f"{', '.join(bench.ran)} as on a local disk; {done} increments of SQLite from three mounts")


run(test, seconds=110)
