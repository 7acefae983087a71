#!/usr/bin/env bash
# Counter: adds one and prints the new number; no two processes on any machines get the same.
#
# Rests on: flock(2) holds on all mounts of the ensemble, and who has been given a lock sees all that
# was written before under it. One write is one atomic change: a process that is killed at any moment
# leaves the old number or the new one.
#
#   for m in 1 2 3; do for i in 1 2 3; do mount-examples/counter.sh ensemble/m$m/orders; done & done
set -eu
file=$1

exec 9>>"$file.lock"
flock 9
n=$(cat "$file" 2>/dev/null || echo 0)
echo $((n + 1)) >"$file"
sync "$file" # a failed close(2) is nothing a shell would tell; this does
echo $((n + 1))
