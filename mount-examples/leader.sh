#!/usr/bin/env bash
# Leader election: one of all candidates runs COMMAND; when it ends or dies, the next in line does.
# $TERM_NUMBER rises with every leader: what it commands should refuse lower ones.
#
# Rests on: a name that ends in #@ makes a numbered file that goes with its creator. The lowest number
# leads; every other candidate waits for the one right before it, so that an end wakes one process.
# Who leads is the content of the first file: head -q -n 1 ensemble/m1/election/* | head -n 1
#
#   mount-examples/leader.sh ensemble/m1/election anna  sleep 10 &
#   mount-examples/leader.sh ensemble/m2/election bruno sh -c 'echo $TERM_NUMBER; sleep 10'
set -eu
dir=$1 name=$2
shift 2

mkdir -p "$dir"
exec 9>"$dir/candidate-#@"
me=$(getfattr --absolute-names --only-values -n user.zabfs.name /proc/self/fd/9)
echo "$name" >&9

before_me() { # its name, or nothing
    ls "$dir" | sed "/^$me\$/,\$d" | tail -n 1
}

while other=$(before_me) && [ -n "$other" ]; do
    # A file that is gone cannot be watched: nothing is missed between the look and the watch.
    inotifywait -qq -e delete_self -e attrib "$dir/$other" 2>/dev/null 9>&- || [ ! -e "$dir/$other" ]
done
export TERM_NUMBER="${me##*-}"
"$@"
