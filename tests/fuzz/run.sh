#!/usr/bin/env bash
# Fuzzes every decoder with libFuzzer (clang, AddressSanitizer, UndefinedBehaviorSanitizer).
#
#   tests/fuzz/run.sh SECONDS [TARGET...]
#
# SECONDS are shared by the targets, all of them unless some are named, one after the other. They
# start from tests/fuzz/corpus and from what earlier runs found, which stays in build-fuzz/found; an
# input that fails goes to build-fuzz/findings/TARGET and the target goes on. One line a target says how
# it went; the exit code is 0 only if nothing failed. FUZZ_BUILD names another directory than
# build-fuzz.
#
# A corpus for the repository that covers what was found with few files, made in EMPTY_DIR:
#   build-fuzz/tests/fuzz/TARGET -set_cover_merge=1 -use_counters=0 EMPTY_DIR \
#       tests/fuzz/corpus/TARGET build-fuzz/found/TARGET
# A first corpus for a new target, in a build with gcc: TARGET -write=tests/fuzz/corpus/TARGET
set -eu
[ $# -ge 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
seconds=$1
shift
cd "$(dirname "$0")/../.."
build=$(realpath -m "${FUZZ_BUILD:-build-fuzz}")

if [ $# -eq 0 ]; then
    mapfile -t targets < <(sed -n 's/^fuzz_target(\([a-z_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)
else
    targets=("$@")
fi
mkdir -p "$build"
cmake -S . -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS='-O2 -g' \
    -DZABFS_SANITIZE=ON -DZABFS_WERROR=ON -DZABFS_TESTS=ON >"$build/build.log"
cmake --build "$build" -j"$(nproc)" --target "${targets[@]}" >>"$build/build.log"

# Memory that is given back soon keeps the caches warm; 64 MiB for one allocation is more than any
# decoder has a reason for.
export ASAN_OPTIONS=quarantine_size_mb=8
export UBSAN_OPTIONS=print_stacktrace=1
flags="-print_final_stats=1 -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=2048"
found_max=10 # of one target: most are the same

# last LOG KEY: the number behind the last ` KEY: ` of a log.
last() {
    grep -ao " $2: [0-9]*" "$1" | tail -1 | tr -dc 0-9
}

# fuzz TARGET SECONDS: prints the target's line; 1 if anything was found.
fuzz() {
    local target=$1 end=$((SECONDS + $2)) found=0 executed=0 busy=0 begin n
    local log=$build/$1.log corpus=$build/found/$1 findings=$build/findings/$1

    mkdir -p "$corpus" "$findings"
    : >"$log"
    while [ $((end - SECONDS)) -gt 0 ] && [ "$found" -lt "$found_max" ]; do
        begin=$SECONDS
        # shellcheck disable=SC2086 # flags is a list
        "$build/tests/fuzz/$target" $flags -max_total_time=$((end - SECONDS)) \
            -artifact_prefix="$findings/" "$corpus" "tests/fuzz/corpus/$target" \
            >"$log.run" 2>&1 || found=$((found + 1))
        n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log.run")
        executed=$((executed + ${n:-0}))
        busy=$((busy + SECONDS - begin))
        cat "$log.run" >>"$log"
    done
    rm -f "$log.run"
    printf '%-20s %12d %8d %6s %8s %9d\n' "$target" "$executed" \
        "$((executed / (busy > 0 ? busy : 1)))" "$(last "$log" cov)" "$(last "$log" corp)" "$found"
    [ "$found" -eq 0 ]
}

share=$((seconds / ${#targets[@]}))
status=0
printf '%-20s %12s %8s %6s %8s %9s\n' target executions exec/s edges inputs findings
for target in "${targets[@]}"; do
    fuzz "$target" $((share > 0 ? share : 1)) || status=1
done
exit "$status"
