#!/usr/bin/env bash
# Barrier: returns when COUNT processes, on any machines, have come this far.
#
# Rests on: who waits here is a file that goes with its process (@): one that dies while it waits does
# not count. All mounts show changes in one order, so whoever comes last sees all the others, and
# opens; the others wait for that one change alone.
#
#   for i in 1 2 3; do mount-examples/barrier.sh ensemble/m$i/start worker$i 3 && echo go & done
set -eu
dir=$1 name=$2 count=$3

mkdir -p "$dir/here"
set -C
exec 9>"$dir/here/$name@"
set +C
if [ "$(ls "$dir/here" | wc -l)" -ge "$count" ]; then
    mkdir -p "$dir/open"
fi
# The watch first, then the look: "Watches established." is a line, and so a reason to look, too.
exec 7< <(exec inotifywait -m -e create "$dir" 2>&1 9>&-)
watcher=$!
until [ -d "$dir/open" ]; do
    read -r _ <&7
done
kill "$watcher"
