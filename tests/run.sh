#!/usr/bin/env bash
# Builds zabfs with warnings as errors and with AddressSanitizer and UndefinedBehaviorSanitizer, and
# runs every test through CTest. The last line says `N passed, N failed`; the exit code is 0 only if
# none failed.
#
#   sudo tests/run.sh [-R REGEX]     -R: only the tests whose name matches
#
# root: to install what is missing from Debian's packages, and to mount.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev cmake make pkg-config binutils python3
    libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libxxhash-dev libinih-dev uthash-dev
    libcriterion-dev inotify-tools attr iproute2 iptables valgrind strace
    vim nano ed git rsync patch perl sqlite3 liblockfile-bin"
build=./build-check

. tests/packages.sh
install_packages "$packages"

# -O1: sanitizer reports stay readable and the tests run at about the speed of the real thing.
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS='-O1 -g' \
    -DZABFS_SANITIZE=ON -DZABFS_WERROR=ON -DZABFS_TESTS=ON
cmake --build "$build" -j"$(nproc)"

result=$build/ctest.log
status=0
ctest --test-dir "$build" --output-on-failure -j"$(nproc)" "$@" 2>&1 | tee "$result" || true

# CTest's own summary: `97% tests passed, 1 tests failed out of 40`, after which each test that
# failed, did not run or was late is listed.
summary=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$result" || true)
failed=$(echo "$summary" | sed -E 's/.*, ([0-9]+) tests failed.*/\1/')
total=$(echo "$summary" | sed -E 's/.*out of ([0-9]+).*/\1/')
if [ -z "$summary" ]; then
    echo "no test was run" >&2
    failed=1 total=1
fi
[ "$failed" -eq 0 ] || status=1
echo "$((total - failed)) passed, $failed failed"
exit "$status"
