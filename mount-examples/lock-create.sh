#!/usr/bin/env bash
# Lock without waiting: of all who run this at the same time one runs COMMAND, the others say who
# has the lock and give up (exit 75). It takes nothing but the shell.
#
# Rests on: an exclusive create (set -C) has one winner on the whole ensemble, and a name that ends in
# @ makes a file that goes with the last descriptor of the open file that made it, also by kill -9,
# or with the session of a mount that died.
#
#   mount-examples/lock-create.sh ensemble/m1/nightly sleep 10 &
#   mount-examples/lock-create.sh ensemble/m2/nightly echo 'never while the other sleeps'
set -eu
file=$1
shift

set -C
if ! { exec 9>"$file@"; } 2>/dev/null; then
    echo "$file is held by $(cat "$file" 2>/dev/null || echo 'somebody who has just gone')" >&2
    exit 75
fi
set +C
echo "$(hostname):$$" >&9
"$@"
