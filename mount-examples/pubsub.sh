#!/usr/bin/env bash
# Publish/subscribe: every subscriber prints every message, once and in one order, from the oldest
# that is kept (the last 100) on.
#
# Rests on: numbered names (#) rise in the order of creation, the same on all mounts, and inotify tells
# of each. A symbolic link is made with its content in one step, so that a message is never seen empty.
#
#   mount-examples/pubsub.sh subscribe ensemble/m2/news &
#   mount-examples/pubsub.sh publish ensemble/m1/news 'it works'
set -eu
dir=$2 keep=100
mkdir -p "$dir"

publish() { # TEXT
    ln -s "$1" "$dir/message-#"
    ls "$dir" | head -n "-$keep" | while read -r old; do
        rm -f "$dir/$old"
    done
}

subscribe() {
    local last='' path name text
    # The watch first, then the look: what inotifywait says of itself are lines, too.
    while read -r _; do
        for path in "$dir"/message-*; do
            name=${path##*/}
            if [[ $name > $last ]] && text=$(readlink "$path"); then
                last=$name
                printf '%s\n' "$text"
            fi
        done
    done < <(exec inotifywait -m -e create "$dir" 2>&1)
}

case $1 in
publish) publish "$3" ;;
subscribe) subscribe ;;
*) exit 2 ;;
esac
