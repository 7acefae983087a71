"""Rows to data files, plots, and tables in docs/PERFORMANCE.md.

A data file is docs/performance/PART.tsv: a line of column names, then numbers. A table of the
document stands between `<!-- growth:PART -->` and `<!-- growth:end -->`; what is between is written
anew, all else is left as it is."""
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = ROOT / "docs" / "performance"
DOCUMENT = ROOT / "docs" / "PERFORMANCE.md"

# Part: its columns, each with the head of its column in the table.
TABLES = {
    "files": {
        "files": "files in the tree", "write_us": "write beside them, µs",
        "small_us": "the same beside 1,000, µs", "ratio": "ratio",
        "cpu_us": "processor time of one, µs", "among_us": "write of one of them, µs",
        "member_mib": "member, MiB", "mount_mib": "mount, MiB"},
    "ls": {
        "entries": "children", "first_ms": "first entry, ms", "all_ms": "all, ms",
        "entry_us": "per child, µs", "ls_ms": "`ls -f`, ms", "gap_ms": "longest pause, ms",
        "cpu_ms": "processor time of zabfs, ms", "before_mib": "zabfs before, MiB",
        "peak_mib": "highest, MiB"},
    "directories": {"directories": "watched directories", "median_us": "delay, median, µs",
                    "p99_us": "99th percentile, µs"},
    "mounts": {"mounts": "watching mounts", "median_us": "delay, median, µs",
               "last_us": "to the last mount, median, µs",
               "busy_us": "processor time of all processes, over the processors, µs"},
    "members": {
        "members": "members", "client_ops": "client protocol, sets/s",
        "client_cpu_us": "processor time of one, µs",
        "mounts_ops": "32 writers on their mounts, writes/s",
        "mounts_cpu_us": "processor time of one, µs", "write_us": "one writer, median, µs",
        "write_cpu_us": "processor time of one, µs"},
    "sizes": {"bytes": "bytes", "write_us": "write, µs", "write_mbs": "MB/s",
              "read_us": "read, µs", "read_mbs": "MB/s"},
    "work": {"process": "process", "cpu_us": "processor time, µs", "calls": "system calls",
             "switches": "context switches", "syncs": "writes to the log, with their sync"},
}

LOG_X = "set logscale x 10; set format x '%.0s%c'\n"
LOG_XY = LOG_X + "set logscale y 10; set format y '%g'\n"


class Plot:
    def __init__(self, part, title, x, y, lines, setup="", reference=None):
        self.part, self.title, self.x, self.y = part, title, x, y
        self.lines = lines  # (column, text)
        self.setup = setup
        self.reference = reference  # (expression, text), or None

    def script(self, name):
        columns = list(TABLES[self.part])
        rows = read_rows(self.part)
        data = DATA / f"{self.part}.tsv"
        drawn = [f"'{data}' using 1:{columns.index(column) + 1} with linespoints lw 2 pt 7 ps 1.2 "
                 f"title '{text}'" for column, text in self.lines]
        if self.reference:
            drawn.append(f"{self.reference[0]} with lines dt 2 lc rgb '#888888' "
                         f"title '{self.reference[1]}'")
        return (f"set terminal pngcairo size 800,480 font 'sans,11'\n"
                f"set output '{DATA}/{name}.png'\n"
                f"set datafile separator '\\t'; set key left top Left reverse\n"
                f"set grid lt 1 lw 1 lc rgb '#e0e0e0'; set border 3; set tics nomirror\n"
                f"set title \"{self.title}\"; set xlabel '{self.x}'; set ylabel '{self.y}'\n"
                f"set xrange [{rows[0][columns[0]]}:{rows[-1][columns[0]]}]; set yrange [0:*]\n"
                f"{self.setup}plot " + ", ".join(drawn) + "\n")


def in_proportion(part, column):
    """A curve through the last row that grows as its cause."""
    last = read_rows(part)[-1]
    x, y = float(list(last.values())[0]), float(last[column])
    return f"{y / x} * x"


def plots():
    return {
        "files-write": lambda: Plot(
            "files", "Write beside so many files", "files in the tree",
            "open + write + close, median, µs",
            [("write_us", "one file, beside so many"), ("among_us", "one of them, at random"),
             ("small_us", "at the same time, beside 1,000")],
            LOG_X + "set key left bottom\n"),
        "files-memory": lambda: Plot(
            "files", "Memory of a member and of a mount",
            "files of 100 bytes", "resident, MiB",
            [("member_mib", "member"), ("mount_mib", "mount")],
            LOG_XY + "set yrange [1:*]\n"),
        "ls-time": lambda: Plot(
            "ls", "Listing a directory", "children", "ms",
            [("all_ms", "opendir + readdir to the end"), ("ls_ms", "ls -f"),
             ("first_ms", "to the first entry")],
            LOG_XY + "set yrange [0.1:*]\n",
            (in_proportion("ls", "all_ms"), "in proportion")),
        "ls-memory": lambda: Plot(
            "ls", "Memory of the mount while a directory is listed", "children",
            "resident memory of zabfs, MiB",
            [("peak_mib", "highest while listing"), ("before_mib", "before")], LOG_X),
        "directories": lambda: Plot(
            "directories", "Delay of an event with so many watched directories",
            "watched directories on the mount", "open of the writer to the event, µs",
            [("median_us", "median"), ("p99_us", "99th percentile")], LOG_X),
        "mounts": lambda: Plot(
            "mounts", "Delay of an event on many mounts of one machine", "mounts that watch",
            "open of the writer to the event, median, µs",
            [("last_us", "to the last of the mounts"), ("median_us", "to each"),
             ("busy_us", "processor time of all processes, over the processors")],
            "set xtics (1, 2, 4, 8, 12, 16, 24)\n"),
        "members-rate": lambda: Plot(
            "members", "Throughput with more members on one machine", "members",
            "operations a second",
            [("client_ops", "client protocol, 1,000 in flight"),
             ("mounts_ops", "32 writers on the mounts of all members")],
            "set xtics (1, 3, 5, 7); set format y '%.0s%c'; set key right top\n"),
        "members-work": lambda: Plot(
            "members", "Processor time of a write, all members and mounts together", "members",
            "µs",
            [("write_cpu_us", "one writer on a mount"), ("mounts_cpu_us", "one of 32 writers"),
             ("client_cpu_us", "client protocol, one of 1,000 in flight")],
            "set xtics (1, 3, 5, 7)\n"),
        "sizes-latency": lambda: Plot(
            "sizes", "Latency by size of the value", "bytes of the value", "median, µs",
            [("write_us", "open + write + close"), ("read_us", "open + read + close")],
            LOG_XY + "set yrange [10:*]\n"),
        "sizes-rate": lambda: Plot(
            "sizes", "Bytes moved by one writer or reader", "bytes of the value", "MB/s",
            [("write_mbs", "written"), ("read_mbs", "read")], LOG_XY + "set yrange [0.001:*]\n"),
    }


def write_rows(part, rows):
    DATA.mkdir(exist_ok=True)
    columns = list(TABLES[part])
    with (DATA / f"{part}.tsv").open("w") as f:
        f.write("# " + "\t".join(columns) + "\n")
        for row in rows:
            values = [row[c] if isinstance(row[c], str) else f"{row[c]:.7g}" for c in columns]
            f.write("\t".join(values) + "\n")


def plain(part, rows):
    columns = list(TABLES[part])
    return "\n".join("  ".join(f"{text:>16}" for text in line) for line in
                     [columns] + [[shown(str(row[c])) for c in columns] for row in rows])


def read_rows(part):
    lines = (DATA / f"{part}.tsv").read_text().splitlines()
    columns = lines[0].removeprefix("# ").split("\t")
    return [dict(zip(columns, line.split("\t"))) for line in lines[1:]]


def shown(text):
    """Three digits are what a measurement on a busy machine is good for."""
    try:
        value = float(text)
    except ValueError:
        return text
    if value == int(value):
        return f"{int(value):,}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(part):
    heads = list(TABLES[part].values())
    lines = ["| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    for row in read_rows(part):
        lines.append("| " + " | ".join(shown(row[c]) for c in TABLES[part]) + " |")
    return "\n".join(lines)


def machine():
    """Of the run that is reported; kept in the document."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    load = os.getloadavg()[0]
    revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                              stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return (f"{os.cpu_count()} processors, {memory:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}, one virtual disk; revision {revision}; "
            f"load average when it began {load:.1f}.")


def replace_marked(text, mark, content):
    pattern = re.compile(rf"(<!-- growth:{mark} -->\n).*?(<!-- growth:end -->)", re.S)
    if not pattern.search(text):
        raise KeyError(f"{DOCUMENT}: no place for growth:{mark}")
    return pattern.sub(lambda m: m[1] + content + "\n" + m[2], text)


def draw(part):
    for name, make in plots().items():
        if name.split("-")[0] == part:
            subprocess.run(["gnuplot"], input=make().script(name), text=True, check=True)


def publish(part, rows, measured_on):
    write_rows(part, rows)
    draw(part)
    text = replace_marked(DOCUMENT.read_text(), part, table(part))
    DOCUMENT.write_text(replace_marked(text, f"{part}-run", measured_on))


def redraw(part):
    """Plots and table again, from the data that is there."""
    draw(part)
    DOCUMENT.write_text(replace_marked(DOCUMENT.read_text(), part, table(part)))
