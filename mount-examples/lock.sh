#!/usr/bin/env bash
# Exclusive lock: of all who run this with the same FILE, on any machine, one at a time runs COMMAND.
#
# Rests on: flock(2) holds on all mounts of the ensemble, who waits longest is next, and the lock ends
# with the last descriptor of its holder, also by kill -9, or with the session of a mount that died.
# $FENCE rises with every grant: what the lock protects should refuse a lower one than it has seen.
#
#   mount-examples/lock.sh ensemble/m1/job.lock sleep 10 &
#   mount-examples/lock.sh ensemble/m2/job.lock echo 'my turn'
set -eu
file=$1
shift

exec 9>>"$file"
flock 9
FENCE=$(getfattr --absolute-names --only-values -n user.zabfs.fence "$file")
export FENCE
"$@"
