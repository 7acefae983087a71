"""Runs every example of docs/FILESYSTEM.md on a real ensemble, and compares what is printed.

A block marked `console` is one shell session, in a directory with the mounts m1, m2 and m3. A line
`$ COMMAND`, with continuations as `> ...`, is run; the lines below it are what it prints, standard
error included. `<N>` stands for a number, `...` for the rest of a line or of a word.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from zabfs import BIN, check, run  # noqa: E402

MANUAL = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "FILESYSTEM.md")
END = "--- end of command"


def blocks():
    """(line number, [(command, [expected line])]) of each."""
    with open(MANUAL) as f:
        lines = f.read().splitlines()
    at = 0
    while at < len(lines):
        if lines[at] != "```console":
            at += 1
            continue
        first = at + 1
        commands = []
        at += 1
        while lines[at] != "```":
            if lines[at].startswith("$ "):
                commands.append((lines[at][2:], []))
            elif lines[at].startswith("> ") and not commands[-1][1]:
                commands[-1] = (commands[-1][0] + "\n" + lines[at][2:], [])
            else:
                commands[-1][1].append(lines[at])
            at += 1
        yield first, commands


def pattern(expected):
    """A regular expression for the lines below a command."""
    text = re.escape("".join(line + "\n" for line in expected)).replace("<N>", r"\d+")
    text = re.sub(r"\\\.\\\.\\\.(?=\\\n)", ".*", text)  # before a line break, which is escaped, too
    return re.sub(r"\\\.\\\.\\\.", r"\\S*", text)


def session(e, commands):
    """What each command printed."""
    script = "".join(f"{command}\necho; echo '{END}'\n" for command, _ in commands)
    env = {**os.environ, "PATH": BIN + ":" + os.environ["PATH"], "LC_ALL": "C.UTF-8",
           "ZABFS_SERVERS": e.server(1)}
    r = subprocess.run(["bash", "-c", script], cwd=e.dir, env=env, text=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    # The empty line before the mark is a line of its own, unless the command left one unfinished.
    return [text.removesuffix("\n\n") + "\n" if text.endswith("\n\n") else text
            for text in r.stdout.split(END + "\n")[:-1]]


def test(e):
    count, problems = 0, []
    for line, commands in blocks():
        printed = session(e, commands)
        for (command, expected), got in zip(commands, printed):
            count += 1
            got = "" if got == "\n" else got
            got = re.sub(r"^bash: line \d+: ", "bash: ", got, flags=re.M)
            if not re.fullmatch(pattern(expected), got):
                problems.append(f"line {line}: $ {command}\nprints:\n{got}and not:\n" + "\n".join(expected))
        if len(printed) != len(commands):
            problems.append(f"line {line}: the session ended after {len(printed)} commands")
    check(not problems, "the manual is wrong:\n" + "\n\n".join(problems))
    check(count > 50, f"only {count} examples were found")
    print(f"{count} commands of the manual do what it says")


run(test, seconds=170)
