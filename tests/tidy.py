#!/usr/bin/env python3
"""House rules that a compiler does not check. Usage: tidy.py SOURCE_DIR BUILD_DIR

Layers, lengths, banned calls, header guards, and that the pure libraries call nothing but memory and
string functions. Each finding is one line; the exit code is 1 if there is any.
"""
import re
import subprocess
import sys
from pathlib import Path

# docs/ARCHITECTURE.md, "Folders": the project's own headers that a folder may include.
LAYERS = {
    "common/base": [],
    "common/proto": ["common/base"],
    "common/net": ["common/base"],
    "common/awake": ["common/base"],
    "common/client": ["common/net", "common/proto", "common/base"],
    "consensus/zab": ["common/base"],
    "consensus/tree": ["common/base", "common/proto"],
    "consensus/store": ["common/base"],
    "consensus/wire": ["consensus/zab", "consensus/tree", "common/proto", "common/base"],
    "consensus/node": ["consensus/zab", "consensus/tree", "consensus/wire", "consensus/store",
                       "common/proto", "common/base"],
    "consensus/daemon": ["consensus/node", "consensus/zab", "consensus/tree", "consensus/wire",
                         "consensus/store", "common/net", "common/awake", "common/proto",
                         "common/base"],
    "fsd/mount": ["common/client", "common/net", "common/awake", "common/proto", "common/base"],
    "fsd/ctl": ["common/client", "common/net", "common/proto", "common/base", "consensus/store",
                "consensus/tree"],
}
# Headers of libraries that only some folders may include.
FOREIGN = {
    "msgpack": ["common/proto"],
    "xxhash.h": ["common/base"],
    "uv.h": ["common/net", "common/awake", "common/client", "consensus/daemon", "fsd/mount",
             "fsd/ctl"],
    "fuse": ["fsd/mount"],
    "ini.h": ["consensus/daemon", "fsd/ctl"],
    "uthash.h": ["common/base"],
}
# A pure folder takes time, randomness and results of I/O as arguments: its library may call only
# what follows from its arguments. Sanitizers and the stack protector add calls of their own.
PURE = ["zab", "tree", "wire", "node"]
PURE_MAY_CALL = ["base", "proto", "zab", "tree", "wire", "node"]
IMPURE = {"log_line", "log_set_level", "log_set_fd"}  # of base
PURE_CALLS = re.compile(
    r"^(mem(cpy|move|cmp|set|chr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|cspn|spn|str)|v?snprintf|"
    r"__(v?snprintf|memcpy|memmove|memset)_chk|qsort|bsearch|__asan_\w+|__ubsan_\w+|"
    r"__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$")

BANNED = {
    "strcpy": "memcpy or snprintf", "strcat": "snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "gets": "fgets", "strtok": "strsep", "atoi": "strtoul with checks",
    "atol": "strtoul with checks", "system": "fork and exec", "popen": "fork and exec",
    "sleep": "a timer or an event", "usleep": "a timer or an event", "alloca": "mem_alloc",
    "malloc": "mem_alloc", "calloc": "mem_zalloc", "realloc": "mem_realloc", "rand": "prng_next",
}
BANNED_EXCEPT = {("common/base/mem.c", "malloc"), ("common/base/mem.c", "calloc"),
                 ("common/base/mem.c", "realloc")}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
COLUMNS_MAX = 100

findings = []


def say(path, line, text):
    findings.append(f"{path}:{line}: {text}")


def blank_out(text):
    """The source with comments and the insides of string literals as blanks, lines kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def check_lines(path, text):
    lines = text.split("\n")
    if len(lines) - 1 > FILE_LINES_MAX:
        say(path, len(lines) - 1, f"more than {FILE_LINES_MAX} lines")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            say(path, number, f"more than {COLUMNS_MAX} columns")
        if line != line.rstrip() or "\t" in line:
            say(path, number, "blanks at the end of the line, or a tab")
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            say(path, number, "left to do")


def check_functions(path, code):
    """A function of this style starts with '{' in column 0 and ends with '}' there."""
    start = None
    for number, line in enumerate(code.split("\n"), 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_LINES_MAX:
                say(path, start, f"a function of {number - start - 1} lines")
            start = None


def check_calls(path, code):
    for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", code):
        name = match.group(1)
        if name in BANNED and (path, name) not in BANNED_EXCEPT:
            say(path, code.count("\n", 0, match.start()) + 1, f"{name}(): use {BANNED[name]}")


def check_guard(path, text):
    match = re.match(r"#ifndef (ZABFS_[A-Z0-9_]+_H)\n#define (\S+)\n", text)
    if not match or match.group(1) != match.group(2):
        say(path, 1, "a header starts with its guard, #ifndef ZABFS_..._H")
        return None
    return match.group(1)


def check_includes(path, folder, text, owners):
    for match in re.finditer(r'^#include ([<"])([^>"]+)[>"]', text, re.M):
        line = text.count("\n", 0, match.start()) + 1
        header = match.group(2)
        if match.group(1) == '"':
            home = owners.get(header)
            if home is None:
                say(path, line, f"unknown header {header}")
            elif home != folder and home not in LAYERS[folder]:
                say(path, line, f"{folder} may not include {header} of {home}")
            elif home != folder and header.endswith("_int.h"):
                say(path, line, f"{header} is private to {home}")
            continue
        for prefix, allowed in FOREIGN.items():
            if header.startswith(prefix) and folder not in allowed:
                say(path, line, f"{folder} may not include <{header}>")


def nm(archive, *flags):
    out = subprocess.run(["nm", *flags, str(archive)], check=True, capture_output=True, text=True)
    return [line.split() for line in out.stdout.splitlines() if line and not line.endswith(":")]


def check_purity(source, build):
    archives = {}
    for folder in LAYERS:
        name = folder.split("/")[1]
        archives[name] = build / folder / f"lib{name}.a"
    ours = set()
    for name in PURE_MAY_CALL:
        if archives[name].exists():
            ours |= {words[0] for words in nm(archives[name], "-g", "--defined-only", "-P")}
    ours -= IMPURE
    for name in PURE:
        archive = archives[name]
        if not archive.exists():
            findings.append(f"{archive}: not built")
            continue
        for words in nm(archive, "-u", "-P"):
            if words[0] not in ours and not PURE_CALLS.match(words[0]):
                findings.append(f"lib{name}.a: calls {words[0]}: a pure library may not")
        for words in nm(archive, "--defined-only", "-P"):
            # B, D, C: writable data. Sanitizers keep theirs under names that C code cannot use.
            if words[1] in "bBdDcC" and not re.match(r"^(_|\.|\*)", words[0]):
                findings.append(f"lib{name}.a: writable variable {words[0]}")


def main():
    source, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    files = sorted(p for folder in LAYERS for p in (source / folder).glob("*.[ch]"))
    owners = {p.name: "/".join(p.relative_to(source).parts[:2]) for p in files if p.suffix == ".h"}
    guards = {}
    for file in files + sorted((source / "tests").rglob("*.[ch]")):
        path = str(file.relative_to(source))
        text = file.read_text()
        code = blank_out(text)
        check_lines(path, text)
        if file.suffix == ".h":
            guard = check_guard(path, text)
            if guard is not None and guard in guards:
                say(path, 1, f"the guard of {guards[guard]}")
            guards[guard] = path
        if path.startswith("tests/"):
            continue
        check_functions(path, code)
        check_calls(path, code)
        check_includes(path, "/".join(file.relative_to(source).parts[:2]), text, owners)
    check_purity(source, build)
    for line in findings:
        print(line)
    print(f"{len(files)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
