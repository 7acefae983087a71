#!/usr/bin/env bash
# Service registry: a service is listed with its address for as long as it runs; whoever uses it is
# told the addresses, at first and after each change (to write a proxy's configuration, say).
#
# Rests on: the entry is a file that belongs to an open file (@), which the service inherits and does
# not know about: when the service ends, however, the entry is gone. One write is one change: nobody
# reads half an address, and one that is still empty is passed over.
#
#   mount-examples/registry.sh register ensemble/m1/services/web 10.0.0.7:80 sleep 10 &
#   mount-examples/registry.sh follow ensemble/m2/services/web
set -eu
dir=$2
mkdir -p "$dir"

register() { # ADDRESS COMMAND...
    exec 9>"$dir/instance-#@"
    echo "$1" >&9
    shift
    exec "$@"
}

follow() {
    local known=none addresses
    # The watch first, then the look: what inotifywait says of itself are lines, too.
    while read -r _; do
        addresses=$(cat "$dir"/* 2>/dev/null | sort | paste -s -d ' ')
        if [ "$addresses" != "$known" ]; then
            known=$addresses
            echo "$addresses"
        fi
    done < <(exec inotifywait -m -e close_write -e delete "$dir" 2>&1)
}

case $1 in
register)
    shift 2
    register "$@"
    ;;
follow) follow ;;
*) exit 2 ;;
esac
