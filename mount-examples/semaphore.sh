#!/usr/bin/env bash
# Semaphore: at most COUNT at a time, on all machines together, run COMMAND.
#
# Rests on: a permit is a file that one can create (set -C) and that goes with its holder (@). Those
# who wait stand in the queue of a lock; only the first of them looks for a free permit, so that a
# permit that is given back wakes one process and not all.
#
#   for i in 1 2 3 4; do mount-examples/semaphore.sh ensemble/m1/downloads 2 sleep 5 & done
set -eu
dir=$1 count=$2
shift 2

take_permit() {
    local i
    set -C
    for i in $(seq "$count"); do
        if { exec 9>"$dir/permits/$i@"; } 2>/dev/null; then
            set +C
            return 0
        fi
    done
    set +C
    return 1
}

mkdir -p "$dir/permits"
exec 8>>"$dir/queue"
flock 8
# The watch first, then the look: "Watches established." is a line, and so a reason to look, too.
exec 7< <(exec inotifywait -m -e delete "$dir/permits" 2>&1 8>&-)
watcher=$!
until take_permit; do
    read -r _ <&7
done
kill "$watcher"
exec 7<&- 8>&-
"$@"
