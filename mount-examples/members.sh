#!/usr/bin/env bash
# Group membership: joins the group as NAME, and prints who is in it, at first and after each change.
#
# Rests on: a member is a file that goes with its process, also by kill -9, and with the session of a
# mount that died (@); a name is taken by one at a time (set -C); inotify tells of joins and leaves on
# all mounts.
#
#   mount-examples/members.sh ensemble/m1/group anna &
#   mount-examples/members.sh ensemble/m2/group bruno
set -eu
dir=$1 name=$2

mkdir -p "$dir"
set -C
exec 9>"$dir/$name@"
set +C
known=
# The watch first, then the look: what inotifywait says of itself are lines, and reasons to look, too.
while read -r _; do
    members=$(ls "$dir" | paste -s -d ' ')
    if [ "$members" != "$known" ]; then
        known=$members
        echo "$members"
    fi
done < <(exec inotifywait -m -e create -e delete "$dir" 2>&1 9>&-)
