"""Editors on a mount: vim scripted (ex mode) and typed into on a terminal, nano, sed -i, ed, perl -i. The
file has what was typed on every mount, and no swap file, backup or temporary name is left that would
not be left on a local disk.
"""
import os
import pty
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from tools import Bench, is_local  # noqa: E402
from zabfs import Failure, check, read, run, write  # noqa: E402

VIM = "vim -u NONE -i NONE -N -es"
SCRIPTED = {
    "vim in ex mode": f"seq 5 > f; {VIM} -c '%s/3/three/' -c wq f; cat f; ls -A",
    "vim without a swap file": f"seq 5 > f; {VIM} -n -c '%s/3/three/' -c wq f; cat f; ls -A",
    "vim keeps a backup": f"seq 5 > f; {VIM} -c 'set backup' -c '%s/3/three/' -c wq f; cat f f~; ls -A",
    "vim renames": f"seq 5 > f; {VIM} -c 'set backupcopy=no writebackup' -c '%s/3/three/' -c wq f; cat f; ls -A",
    "vim copies": f"seq 5 > f; {VIM} -c 'set backupcopy=yes writebackup' -c '%s/3/three/' -c wq f; cat f; ls -A",
    "vim with an undo file": f"seq 5 > f; {VIM} -c 'set undofile' -c '%s/3/three/' -c wq f; cat f; ls -A",
    "vim makes a file": f"{VIM} -c 'normal ihello' -c wq new; cat new; ls -A",
    "vim appends and writes elsewhere": f"seq 5 > f; {VIM} -c '2,3w part' -c '4w >> part' -c q f; cat part",
    "vim many times": f"echo > f; for i in $(seq 10); do {VIM} -c \"normal Go$i\" -c wq f; done; cat f; ls -A",
    "vim keeps the mode": f"seq 3 > f; chmod 751 f; chown 1:2 f; {VIM} -c '%s/3/three/' -c wq f; stat -c '%a %u %g' f",
    "sed -i": "seq 5 > f; chmod 640 f; sed -i 's/3/three/' f; cat f; stat -c %a f; sed -i.bak 1d f; cat f.bak; sed -i s/x/y/ none; "
              "ln -s f l; sed -i --follow-symlinks 1d l; cat f; ls -A",
    "ed": r"seq 5 > f; printf '3s/3/three/\nw\nq\n' | ed -s f; cat f; ls -A",
    "perl -i": "seq 5 > f; perl -pi -e 's/3/three/' f; cat f; ls -A",
}


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, directory, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.alarm(0)
            os.chdir(directory)
            os.environ.update(TERM="xterm", LINES="24", COLUMNS="80", HOME=directory)
            os.execvp(command[0], command)
        self.shown = b""

    def take(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.fd, 65536)
            except OSError:
                return False  # the terminal has lost its program
        return True

    def wait_for(self, text, seconds=30):
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            if not self.take(0.2) or time.monotonic() > deadline:
                raise Failure(f"{text} is not shown, but {self.shown[-1500:]}")

    def type(self, keys):
        os.write(self.fd, keys)

    def end(self, seconds=30):
        deadline = time.monotonic() + seconds
        while self.take(0.2):
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise Failure(f"the editor has not ended: {self.shown[-1500:]}")
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def everywhere(e, name, value, names):
    directory, _, _ = name.partition("/")
    e.barriers()
    for n in (1, 2, 3):
        check(read(e.path(n, name)) == value, f"m{n} shows {read(e.path(n, name))}")
        left = sorted(os.listdir(e.path(n, directory)))
        wanted = [each for each in names if n == 1 or not is_local(each)]
        check(left == wanted, f"m{n}: left in {directory}: {left}")


def vim_on_a_terminal(e, name, options):
    d = e.path(1, name)
    os.mkdir(d)
    write(f"{d}/notes", b"first line\n")
    t = Terminal(d, "vim", "-u", "NONE", "-i", "NONE", "-N", *options, "notes")
    t.wait_for(b"first line")
    t.type(b"Gosecond line\x1b:w\r")
    t.wait_for(b"written")
    e.barrier(2)
    check(read(e.path(2, name, "notes")) == b"first line\nsecond line\n", "what :w has written, on m2")
    t.type(b"ggdd:wq\r")
    check(t.end() == 0, "vim ends well")
    everywhere(e, f"{name}/notes", b"second line\n", ["notes"])


def vim_sees_another_change(e):
    """What was changed on another mount since it was read is not written over without a question."""
    d = e.path(1, "warned")
    os.mkdir(d)
    write(f"{d}/notes", b"first line\n")
    t = Terminal(d, "vim", "-u", "NONE", "-i", "NONE", "-N", "notes")
    t.wait_for(b"first line")
    e.barrier(2)
    time.sleep(1.1)  # vim looks at whole seconds, and at the size
    write(e.path(2, "warned", "notes"), b"of someone else\n")
    e.barrier(1)
    t.type(b"onew\x1b:w\r")
    t.wait_for(b"changed since")
    t.type(b"n")
    t.wait_for(b"Press ENTER")
    t.type(b"\r:e!\r:w seen\r")  # the screen shows only what differs from what it showed
    t.wait_for(b"written")
    t.type(b":q!\r")
    t.end()
    everywhere(e, "warned/notes", b"of someone else\n", ["notes", "seen"])
    check(read(f"{d}/seen") == b"of someone else\n", "what vim has read again")


def vim_recovers(e):
    """vim killed: its swap file is there, on this mount alone, and brings the text back."""
    d = e.path(1, "recover")
    os.mkdir(d)
    write(f"{d}/notes", b"first line\n")
    t = Terminal(d, "vim", "-u", "NONE", "-i", "NONE", "-N", "notes")
    t.wait_for(b"first line")
    t.type(b"ounsaved line\x1b:preserve\r")
    t.wait_for(b"preserved")
    os.kill(t.pid, signal.SIGKILL)
    t.end()
    e.barrier(2)
    check(os.path.exists(f"{d}/.notes.swp"), "the swap file")
    check(os.listdir(e.path(2, "recover")) == ["notes"], "the swap file on m2")
    r = subprocess.run("vim -u NONE -i NONE -N -es -r notes -c 'w! recovered' -c 'qa!'", shell=True,
                       cwd=d, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    check(read(e.path(2, "recover", "recovered")) == b"first line\nunsaved line\n", f"recovered: {r}")


def nano_on_a_terminal(e, name, options):
    d = e.path(1, name)
    os.mkdir(d)
    write(f"{d}/notes", b"first line\n")
    t = Terminal(d, "nano", "--ignorercfiles", *options, "notes")
    t.wait_for(b"first line")
    t.type(b"typed \x0f\r")  # ^O, and the name as it is
    t.wait_for(b"Wrote")
    t.type(b"\x18")
    check(t.end() == 0, "nano ends well")
    left = ["notes", "notes~"] if "--backup" in options else ["notes"]
    everywhere(e, f"{name}/notes", b"typed first line\n", left)


def test(e):
    bench = Bench(e)
    for name, script in SCRIPTED.items():
        bench.same(name, script, ignore=lambda name: name.endswith(".un~"))
    bench.end()
    vim_on_a_terminal(e, "vim", [])
    vim_on_a_terminal(e, "vim-no-swap", ["-n"])
    vim_sees_another_change(e)
    vim_recovers(e)
    nano_on_a_terminal(e, "nano", [])
    nano_on_a_terminal(e, "nano-backup", ["--backup"])
    print(f"{bench.count} scripts of editors as on a local disk; vim and nano on a terminal")


run(test, seconds=200)
