#!/usr/bin/env bash
# Configuration with live reload: runs COMMAND with FILE, at first and after every change of it, made
# on any machine with an editor, echo or mv.
#
# Rests on: one open-write-close is one atomic change, a rename is another: COMMAND never reads half a
# configuration. inotify tells of changes on all mounts, and not before the new value can be read.
#
#   mount-examples/config.sh ensemble/m2/app.conf cat &
#   echo 'color = red' > ensemble/m1/app.conf
set -eu
file=$1
shift

known=
# The directory is watched, because an editor may put another file in the place of the old one. The
# watch first, then the look: what inotifywait says of itself are lines, too.
while read -r _; do
    version=$(sha256sum "$file" 2>/dev/null) || continue # not there yet, or just now
    if [ "$version" != "$known" ]; then
        known=$version
        "$@" "$file" || echo "$1: exit code $?" >&2
    fi
done < <(exec inotifywait -m -e close_write -e moved_to -e create "$(dirname "$file")" 2>&1)
