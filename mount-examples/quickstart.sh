#!/usr/bin/env bash
# zabfs in two minutes: installs what it needs from Debian's packages, builds into build/, starts an
# ensemble of three members with three mounts in ensemble/, and shows what one can do with it.
#
#   sudo mount-examples/quickstart.sh           step by step; leaves the ensemble running
#   sudo mount-examples/quickstart.sh --check   the same without pauses, stops everything at the end,
#                                               and fails if a step did not do what it says
# shellcheck disable=SC2016 # commands that are shown before they run stand in single quotes
set -eu
cd "$(dirname "$0")/.."

check=no
dir=ensemble
case "${1:-}" in
'') ;;
--check)
    check=yes
    dir=build/ensemble-check # an ensemble that is in use stays as it is
    ;;
*)
    echo "usage: $0 [--check]" >&2
    exit 2
    ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    echo "$0: must be run by root (to install packages and to mount)" >&2
    exit 2
fi

failures=0
PATH=$PWD/build/bin:$PATH

title() {
    printf '\n== %s\n' "$1"
}

show() {
    printf '$ %s\n' "${1//ensemble/$dir}"
}

# Shows a command, runs it, shows its output and keeps it in $output.
run() {
    show "$1"
    output=$(eval "${1//ensemble/$dir}" 2>&1) || true
    [ -z "$output" ] || printf '%s\n' "$output"
}

# Says whether what was promised has happened, and waits for the reader.
expect() { # TEXT CONDITION...
    local text=$1
    shift
    if "$@"; then
        printf -- '-> %s\n' "$text"
    else
        printf -- '-> NOT AS IT SHOULD BE: %s\n' "$text"
        failures=$((failures + 1))
    fi
    if [ "$check" = no ] && [ -t 0 ]; then
        read -r -p '   [Enter] ' _
    fi
}

is() { [ "$output" = "$1" ]; }
lines_are() { [ "$(printf '%s\n' "$output" | grep -c .)" -eq "$1" ]; }

stop() {
    [ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null || true
    [ -z "${holder:-}" ] || kill "$holder" 2>/dev/null || true
    rm -rf "$scratch"
    if [ "$check" = yes ]; then
        zabctl dev down --dir "$dir" >/dev/null 2>&1 || true
        rm -rf --one-file-system "$dir"
    fi
}
scratch=$(mktemp -d)
trap stop EXIT

title 'Packages and build'
packages='gcc libc6-dev cmake make pkg-config libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libxxhash-dev
    libinih-dev uthash-dev inotify-tools'
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "\$ apt-get install$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086 # a list of words
    apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi
echo '$ cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DZABFS_TESTS=OFF && cmake --build build'
if ! { cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DZABFS_TESTS=OFF &&
    cmake --build build -j"$(nproc)"; } >"$scratch/build.log" 2>&1; then
    cat "$scratch/build.log"
    exit 1
fi

title 'Three members, three mounts'
show 'zabctl dev up --dir ensemble --members 3'
zabctl dev up --dir "$dir" --members 3
run 'zabctl dev status --dir ensemble'
expect 'one member leads, two follow, and ensemble/m1, m2, m3 show the same tree' lines_are 3
rm -rf "$dir/m1/demo"

title 'A value written on one mount is read on the others'
run 'mkdir ensemble/m1/demo; sync ensemble/m?/.zabfs/sync'
run 'echo "good morning" > ensemble/m1/demo/greeting'
run 'sync ensemble/m2/.zabfs/sync'
run 'cat ensemble/m2/demo/greeting'
expect 'sync on .zabfs/sync is the barrier: m2 then shows all that was written before' is 'good morning'

title 'An exclusive create: of three that try at once, one wins'
run 'for m in 1 2 3; do
    ( set -C; echo "m$m" > ensemble/m$m/demo/lock ) 2>/dev/null && echo "m$m has the lock" &
  done; wait'
expect 'exactly one got it, on the whole ensemble' lines_are 1

title 'A lock, and a file that is there as long as a process'
show '( exec 9>> ensemble/m1/demo/file.lock; flock 9; exec 8> ensemble/m1/demo/worker1@; exec sleep 1000 ) &'
(
    exec 9>>"$dir/m1/demo/file.lock"
    flock 9
    exec 8>"$dir/m1/demo/worker1@"
    exec sleep 1000
) &
holder=$!
for _ in $(seq 100); do
    [ -e "$dir/m1/demo/worker1" ] && break
    sleep 0.1
done
run 'sync ensemble/m2/.zabfs/sync; ls ensemble/m2/demo/worker1'
run 'flock -n ensemble/m2/demo/file.lock echo "it is mine" || echo "somebody has it"'
expect 'a process that uses m1 has the lock on m2, too' is 'somebody has it'
show 'kill -9 $!'
kill -9 "$holder"
wait "$holder" 2>/dev/null || true
holder=
run 'flock ensemble/m2/demo/file.lock echo "it is mine"; sync ensemble/m2/.zabfs/sync; ls ensemble/m2/demo | grep worker'
expect 'both went with their holder' is 'it is mine'

title 'A rename, of a directory with all that is in it'
run 'mkdir ensemble/m1/demo/next; echo blue > ensemble/m1/demo/next/color; echo round > ensemble/m1/demo/next/shape'
run 'mv ensemble/m1/demo/next ensemble/m1/demo/current; sync ensemble/m2/.zabfs/sync'
run 'cat ensemble/m2/demo/current/*'
expect 'all of it, in one step' lines_are 2

title 'Numbered creates: a name that ends in # gets the next number'
run 'mkdir ensemble/m1/demo/queue; sync ensemble/m?/.zabfs/sync'
run 'for m in 1 2 3; do ( for i in 1 2; do echo "from m$m" > ensemble/m$m/demo/queue/job-#; done ) & done; wait'
run 'sync ensemble/m1/.zabfs/sync; ls ensemble/m1/demo/queue'
expect 'six jobs with six numbers' lines_are 6

title 'inotify sees changes made on another mount'
show 'inotifywait -m --format "%e %f" ensemble/m3/demo &'
inotifywait -m --format '%e %f' "$dir/m3/demo" >"$scratch/events" 2>"$scratch/watch" &
watcher=$!
for _ in $(seq 100); do
    grep -q established "$scratch/watch" && break
    sleep 0.1
done
run 'echo on > ensemble/m1/demo/light'
run 'rm ensemble/m1/demo/light'
for _ in $(seq 50); do
    grep -q 'DELETE light' "$scratch/events" && break
    sleep 0.1
done
output=$(cat "$scratch/events")
printf '%s\n' "$output"
sees_the_change() {
    grep -q 'CREATE light' "$scratch/events" && grep -q 'CLOSE_WRITE.* light' "$scratch/events" &&
        grep -q 'DELETE light' "$scratch/events"
}
expect 'the watcher on m3 was told of the create, the write and the delete made on m1' sees_the_change
kill "$watcher" 2>/dev/null || true
watcher=

title 'The leader is killed while writing goes on'
leader=$(zabctl dev status --dir "$dir" | sed -n 's/^member=\([0-9]*\) role=leader .*/\1/p')
other=$((leader % 3 + 1))
show "for i in \$(seq 300); do echo \$i > ensemble/m$other/demo/counter && echo \$i; sleep 0.01; done &"
(
    for i in $(seq 300); do
        if echo "$i" >"$dir/m$other/demo/counter"; then
            echo "$i" >>"$scratch/written"
        fi
        sleep 0.01
    done 2>"$scratch/refused"
) &
writer=$!
sleep 1
before=$(tail -n 1 "$scratch/written" 2>/dev/null || echo 0)
run "kill -9 \$(cat ensemble/run/zabd-$leader.pid)"
wait "$writer"
echo "written before the kill: $before, and in all: $(tail -n 1 "$scratch/written")" \
    "($(wc -l <"$scratch/refused") refused meanwhile)"
run "sync ensemble/m$leader/.zabfs/sync; cat ensemble/m$leader/demo/counter"
expect "the mount of the member that was killed has moved to another one and shows the last value" is 300
run 'zabctl dev status --dir ensemble'
run 'zabctl dev up --dir ensemble | grep started'
expect 'dev up starts what is not running: the member is back' lines_are 1

if [ "$check" = yes ]; then
    title 'Stop'
    run 'zabctl dev down --dir ensemble'
    run 'grep -c " $PWD/ensemble/m" /proc/mounts'
    expect 'everything is stopped and unmounted' is 0
    printf '\n%s step(s) failed\n' "$failures"
    [ "$failures" -eq 0 ]
else
    cat <<EOF

The ensemble is still running: try things in ensemble/m1, ensemble/m2 and ensemble/m3.
mount-examples/*.sh are small scripts for locks, elections, queues and more.
To stop it:  sudo build/bin/zabctl dev down --dir ensemble     (what was written stays)
To start it: sudo build/bin/zabctl dev up --dir ensemble
EOF
fi
