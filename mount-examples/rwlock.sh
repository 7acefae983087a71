#!/usr/bin/env bash
# Read/write lock: any number of readers, or one writer, on all machines together.
#
# Rests on: shared and exclusive flock(2) on all mounts of the ensemble. First come, first served: a
# reader does not overtake a writer that waits, so that readers cannot keep writers out for ever.
#
#   mount-examples/rwlock.sh read  ensemble/m1/table.lock sleep 5 &
#   mount-examples/rwlock.sh read  ensemble/m2/table.lock echo 'together with the first'
#   mount-examples/rwlock.sh write ensemble/m3/table.lock echo 'alone'
set -eu
case $1 in
read) how=--shared ;;
write) how=--exclusive ;;
*) exit 2 ;;
esac
file=$2
shift 2

exec 9>>"$file"
flock "$how" 9
"$@"
