#!/bin/sh
# How cost grows: tests/bench/growth.sh [--quick] [--keep] [--draw] [PART...]
# Parts: files, ls, directories, mounts, members, sizes, work; without one, all, in about 15 minutes.
# Builds (release) into build-bench, measures, and renews docs/performance and the tables of
# docs/PERFORMANCE.md. Needs root for the mounts, the packages that tests/run.sh installs, and nothing
# else running on the machine; --quick and --keep print what was measured and change nothing.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${ZABFS_BENCH_BUILD:-build-bench}

. tests/packages.sh
install_packages "gnuplot-nox strace"
cmake -S . -B "$BUILD" -DCMAKE_BUILD_TYPE=Release > /dev/null
cmake --build "$BUILD" -j "$(nproc)" \
    --target zabd zabfs zabctl growth_bench snapshot_load fs_bench zab_bench > /dev/null
exec python3 tests/bench/growth/growth.py "$BUILD" "$@"
