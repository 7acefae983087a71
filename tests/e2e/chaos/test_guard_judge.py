#!/usr/bin/env python3
"""The judge of the guards, and who follows the events, find each kind of wrong, and nothing in what is
right."""
import collections
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from events import Follower  # noqa: E402
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


def change(index, version, size=5, **more):
    return dict({"index": index, "kind": "set", "path": "/g/log0", "version": version, "size": size}, **more)


def followed(*changes):
    """What a follower writes down, on a mount whose log has 10 bytes."""
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "g"))
        with open(os.path.join(root, "g", "log0"), "w") as f:
            f.write("0123456789")
        follower = Follower(root, os.path.join(root, "out"), 1)
        for one in changes:
            follower.take_line(json.dumps(one))
        with open(os.path.join(root, "out")) as f:
            return f.read()


def judge_followers():
    assert followed(change(5, 2), change(6, 3), change(9, 4)) == ""
    assert followed(change(5, 2, more=True), change(5, 3)) == "", "one group"
    assert followed(change(5, 2), {"kind": "gap", "first": 6, "last": 8}, change(9, 4)) == "", "said"
    assert "behind 2" in followed(change(5, 2), change(9, 4)), "one is missing"
    assert "told again" in followed(change(5, 2), change(5, 3)), "one is doubled"
    assert "are there" in followed(change(5, 2, size=11)), "ahead of its data"


def main():
    for log0 in GOOD:
        assert findings(log0) == [], (log0, findings(log0))
    for log0, text in BAD.items():
        assert any(text in finding for finding in findings(log0)), (log0, findings(log0))
    assert findings(GOOD[0], extra={"proc": 1, "finding": "gone"}) == ["process 1: gone"]
    assert "outlived" in findings(GOOD[0], left=["p1-1"])[0]
    judge_followers()
    return 0


if __name__ == "__main__":
    sys.exit(main())
