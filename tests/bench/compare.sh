#!/usr/bin/env bash
# zabfs, ZooKeeper and etcd side by side on this machine: three members of each on loopback, all data
# on one disk, all syncs on, the same work in turn; one table with what was measured and what is to be
# reached. Installs what is missing from Debian's packages, builds a release build in build-bench.
#
#   sudo tests/bench/compare.sh [--rounds 3] [--only FIGURE,...] [--quick] [--smoke] [--awake]
#       [--dir DIR] [--json FILE] [--readme README.md]
#
# DIR is on the disk to be measured. Needs about 10 GB there, 6 GB of memory, and quiet: nothing else
# should run. With 3 rounds it takes about a quarter of an hour. tests/bench/compare/ does the work.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)

packages="gcc libc6-dev cmake make pkg-config python3
    libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libxxhash-dev libinih-dev uthash-dev libcriterion-dev
    zookeeper openjdk-17-jdk-headless libzookeeper-mt-dev etcd-server nghttp2-client"
build=$root/build-bench

if [ "$(id -u)" -ne 0 ]; then
    echo "$0: must be run by root (to install packages and to mount)" >&2
    exit 2
fi
. "$root/tests/packages.sh"
install_packages "$packages"
# Debian's package starts a server of its own.
case $missing in *etcd-server*) systemctl disable --now etcd >&2 2>/dev/null || true ;; esac

cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DZABFS_TESTS=ON >/dev/null
cmake --build "$build" -j"$(nproc)" \
    --target zabd zabfs zabctl fs_bench zk_bench zab_bench floor_bench >&2
exec python3 -B "$root/tests/bench/compare" --build "$build" "$@"
