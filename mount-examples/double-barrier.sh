#!/usr/bin/env bash
# Double barrier: COUNT processes begin COMMAND together, and none returns before all have ended it.
#
# Rests on: as barrier.sh for the way in. For the way out: who is still at work is a file that goes
# with its process (@), also by kill -9, so that one that dies does not hold the others up; each
# waits for one other at a time, not for every change.
#
#   for i in 1 2 3; do mount-examples/double-barrier.sh ensemble/m$i/step worker$i 3 sleep $i & done
set -eu
dir=$1 name=$2 count=$3
shift 3

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

"$@"

exec 9>&-
next_at_work() { # behind $name in a ring of names, or nothing
    local path other first=
    for path in "$dir"/here/*; do
        other=${path##*/}
        if [[ -e $path && $other > $name ]]; then
            echo "$other"
            return
        elif [[ -e $path && $other != "$name" ]]; then
            first=${first:-$other}
        fi
    done
    echo "$first"
}

while other=$(next_at_work) && [ -n "$other" ]; do
    # A file that is gone cannot be watched: nothing is missed between the look and the watch.
    inotifywait -qq -e delete_self -e attrib "$dir/here/$other" 2>/dev/null ||
        [ ! -e "$dir/here/$other" ]
done
