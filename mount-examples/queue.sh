#!/usr/bin/env bash
# Queue: each piece of work is handed to one worker, the oldest first; what a worker was doing when it
# died is done by another. COMMAND is run with the work as its last argument.
#
# Rests on: numbered names in the order of their creation (#); a claim that one worker can make
# (set -C) and that goes with it (@). A symbolic link is made with its content in one step, so that
# there is no empty job. One worker at a time looks for work, the others stand in the queue of a lock.
#
#   mount-examples/queue.sh put ensemble/m1/jobs 'resize 7.png'
#   mount-examples/queue.sh work ensemble/m2/jobs echo
set -eu
dir=$2
mkdir -p "$dir/jobs" "$dir/claims"

claim() { # claims the first free job: sets $job
    local path
    for path in "$dir"/jobs/job-*; do
        job=${path##*/}
        if [ -e "$dir/claims/$job" ] || [ ! -L "$path" ]; then
            continue
        fi
        set -C
        if { exec 9>"$dir/claims/$job@"; } 2>/dev/null; then
            set +C
            sync "$dir/claims/$job" # this mount shows all that was before the claim:
            [ ! -L "$path" ] || return 0
            exec 9>&- # the job was done meanwhile
        fi
        set +C
    done
    return 1
}

work() {
    while exec 8>>"$dir/turn" && flock 8; do
        # The watch first, then the look: what inotifywait says of itself are lines, too.
        exec 7< <(exec inotifywait -m -e create -e delete "$dir/jobs" "$dir/claims" 2>&1 8>&-)
        watcher=$!
        until claim; do
            read -r _ <&7
        done
        kill "$watcher"
        exec 7<&- 8>&-
        "$@" "$(readlink "$dir/jobs/$job")"
        rm "$dir/jobs/$job"
        exec 9>&-
    done
}

case $1 in
put) ln -s "$3" "$dir/jobs/job-#" ;;
work)
    shift 2
    work "$@"
    ;;
*) exit 2 ;;
esac
