#!/usr/bin/env python3
"""The judge of the guards finds each kind of wrong, and nothing in what is right."""
import collections
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guard import judge_guards  # noqa: E402

SAID = [("line", "log0", "5 1 1", "0"), ("line", "log0", "9 2 1", "0"), ("line", "log0", "12 1 2", "EROFS"),
        ("line", "log0", "14 2 2", "ETIMEDOUT"), ("line", "log0", "15 2 3", "-")]
GOOD = ["5 1 1\n9 2 1\n", "5 1 1\n9 2 1\n14 2 2\n", "5 1 1\n9 2 1\n15 2 3\n"]
BAD = {
    "9 2 1\n5 1 1\n": "the fence falls",
    "5 1 1\n5 1 1\n9 2 1\n": "there twice",
    "5 1 1\n": "is lost",
    "5 1 1\n9 2 1\n12 1 2\n": "refused line",
    "5 1 1\n9 2 1\n20 3 1\n": "nobody wrote",
    "5 1 1\n9 2 1\n9 3 1\n": "held fence 9",
}


def findings(log0, extra=None, left=()):
    with tempfile.NamedTemporaryFile("w", suffix=".history") as f:
        for kind, file, token, code in SAID:
            if code != "-":
                f.write(json.dumps({"proc": 1, "kind": kind, "file": file, "token": token,
                                    "errno": "-"}) + "\n")
            f.write(json.dumps({"proc": 1, "kind": kind, "file": file, "token": token,
                                "errno": code}) + "\n")
        if extra is not None:
            f.write(json.dumps(extra) + "\n")
        f.flush()
        return judge_guards([f.name], {"log0": log0.encode()}, list(left), collections.Counter())


def main():
    for log0 in GOOD:
        assert findings(log0) == [], (log0, findings(log0))
    for log0, text in BAD.items():
        assert any(text in finding for finding in findings(log0)), (log0, findings(log0))
    assert findings(GOOD[0], extra={"proc": 1, "finding": "gone"}) == ["process 1: gone"]
    assert "outlived" in findings(GOOD[0], left=["p1-1"])[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
