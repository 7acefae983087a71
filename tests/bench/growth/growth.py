#!/usr/bin/env python3
"""Measures how cost grows with what is stored, listed, watched and mounted; tests/bench/growth.sh
builds what it needs and runs it.

    growth.py BUILD [--quick] [--keep] [--dir DIR] [PART...]

BUILD is a release build. Each part writes docs/performance/PART.tsv, draws its plots beside it, and
renews its table in docs/PERFORMANCE.md; --keep prints the rows and leaves these alone. --draw
renews plots and tables from the data that is there.
"""
import argparse
import pathlib
import signal
import sys
import time

import report
from ensemble import BenchError
from parts import PARTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small numbers, to try it; as --keep")
    parser.add_argument("--keep", action="store_true", help="leave the documentation alone")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    parser.add_argument("--dir", help="for data and mounts (default: a new one in /tmp)")
    args = parser.parse_intermixed_args()
    args.build = args.build.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is taken down
    unknown = [p for p in args.parts if p not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for part in args.parts or PARTS:
        if args.draw:
            report.redraw(part)
            continue
        begin, measured_on = time.monotonic(), report.machine()
        try:
            rows = PARTS[part](args)
        except BenchError as e:
            print(f"growth: {part}: {e}", file=sys.stderr)
            return 1
        print(f"growth: {part}: {time.monotonic() - begin:.0f} s", flush=True)
        if args.keep or args.quick:
            print(report.plain(part, rows), flush=True)
        else:
            report.publish(part, rows, measured_on)
    return 0


if __name__ == "__main__":
    sys.exit(main())
