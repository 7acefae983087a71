#!/usr/bin/env bash
# The long run: what tests/run.sh takes a small share of, for as many hours as there are.
#
#   sudo tests/soak.sh HOURS
#
# Two lanes, one a processor:
#   1  the crash sweep, the hunt for seeded bugs, then simulated ensembles, with seeds that no earlier
#      run had
#   2  chaos on three members, chaos on five, fuzzing: 40 %, 40 % and 20 % of the time
# Each prints its own figures; all are repeated at the end, and stay in build-soak/report. The exit
# code is 0 only if nothing was found. Everything that failed says there how to repeat it.
#
# root, for mounts and network namespaces. Packages: those of tests/run.sh, and clang.
set -eu
hours=${1:-}
[[ $hours =~ ^[0-9]+(\.[0-9]+)?$ ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
seconds=$(awk -v h="$hours" 'BEGIN { printf "%d", h * 3600 }')
build=$PWD/build-soak
report=$build/report
first=$(($(date +%s) * 1000)) # of the seeds

cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DZABFS_TESTS=ON
cmake --build "$build" -j"$(nproc)"
rm -rf "$report"
mkdir -p "$report"

# part NAME COMMAND...: runs it, keeps what it says, and notes whether it failed.
part() {
    local name=$1 status=0
    shift
    echo "$name: $*"
    "$@" >"$report/$name.log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || echo "$name failed with $status" >>"$report/failed"
    echo "$name: ended with $status, see $report/$name.log"
}

lane_simulated() {
    local end=$((SECONDS + seconds))

    part crash "$build/tests/crash/crash_sweep"
    part hunt nice tests/sim/hunt
    part sim nice timeout --preserve-status $((end > SECONDS ? end - SECONDS : 1)) \
        "$build/tests/sim/sim" --first "$first" --seeds 1000000000 --keep-going
}

lane_real() {
    export ZABFS_BIN=$build/bin
    part chaos-3 tests/e2e/chaos/chaos.py --members 3 --seconds $((seconds * 4 / 10))
    part chaos-5 tests/e2e/chaos/chaos.py --members 5 --seconds $((seconds * 4 / 10))
    part fuzz nice env FUZZ_BUILD="$build/fuzz" tests/fuzz/run.sh $((seconds * 2 / 10))
}

lane_simulated &
simulated=$!
trap 'kill "$simulated" 2>/dev/null || true' EXIT
lane_real
wait "$simulated"
trap - EXIT

for name in crash hunt sim chaos-3 chaos-5 fuzz; do
    echo
    echo "== $name"
    tail -n 70 "$report/$name.log"
done
if [ -e "$report/failed" ]; then
    echo
    cat "$report/failed"
    exit 1
fi
echo
echo "nothing was found"
