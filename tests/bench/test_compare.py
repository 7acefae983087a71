"""The comparison with other systems, next to nothing of it and with zabfs alone: every figure is measured,
and nothing fails on the way. What it measures is not looked at. The programs and Python files that
work on ZooKeeper and etcd are not tested here: they need those packages.
"""
import json
import os
import subprocess
import sys
import tempfile

BUILD = os.path.dirname(os.environ["ZABFS_BIN"])
COMPARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare")
FIGURES = 16
SECONDS, END_SECONDS = 200, 60


def compare(home, result):
    """Its exit code. It ends what it has started, unless it is killed."""
    process = subprocess.Popen([sys.executable, "-B", COMPARE, "--build", BUILD, "--smoke", "--rounds", "1",
                                "--dir", home, "--json", result], stderr=subprocess.STDOUT)
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(END_SECONDS)
        return 1


def main():
    with tempfile.TemporaryDirectory(prefix="zabfs-smoke-") as home:
        result = os.path.join(home, "result.json")
        if compare(home, result) != 0:
            return 1
        with open(result) as f:
            found = json.load(f)
    values = {figure["figure"]: figure["zabfs"]["values"] for figure in found["figures"]}
    wrong = [key for key, of_rounds in values.items() if len(of_rounds) != 1 or of_rounds[0] <= 0]
    if len(values) != FIGURES or wrong:
        print(f"{len(values)} figures were measured, not {FIGURES}; without a value: {wrong}")
        return 1
    return 0


sys.exit(main())
