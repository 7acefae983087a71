"""Instructions of one write and of one read, from the request's frame to the reply's, through node,
broadcast and tree of a single member: cost_node under valgrind's callgrind. What the runs need to
start does not count: a run of N requests is taken from one of 2 N.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

COST_NODE = os.environ.get("ZABFS_COST_NODE") or "build/tests/cost/cost_node"
REQUESTS = 1000

# About 15 % above what gcc 12 makes of it at -O2. More than that is not another compiler or C
# library, but work that was added to every request: say in the commit what for, and raise the limit.
LIMITS = {
    "write": 24000,
    "read": 4850,
}


def counted(work, requests, directory):
    r = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=serve",
                        f"--callgrind-out-file={directory}/out", COST_NODE, work, str(requests)],
                       capture_output=True, text=True, timeout=200)
    total = re.search(r"Collected : (\d+)", r.stderr)
    if r.returncode != 0 or not total:
        sys.exit(f"cost_node {work} {requests}: {r.stderr}")
    return int(total[1])


def main():
    failed = False
    if not shutil.which("valgrind"):
        print("valgrind is not installed")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        for work, limit in LIMITS.items():
            few = counted(work, REQUESTS, directory)
            many = counted(work, 2 * REQUESTS, directory)
            each = (many - few) / REQUESTS
            failed = failed or not 0 < each <= limit
            print(f"instructions of a {work}: {each:.0f}, limit {limit}")
    return 1 if failed else 0


sys.exit(main())
