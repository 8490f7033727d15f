#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Benchmarks: round latency and what a round costs each program, whole queries beside R on the same
# data in the same run, CSV loading, memory, bytes. Prints one table and writes it as JSON. Nothing
# is asserted. All sites share this machine, and every site checks every other's signature: the
# latency grows with the square of the sites here, with their number where each has a machine.
# Usage: tests/bench/run.sh [--out FILE.json] [--quick] [--nodes-500]
#   --quick       at most 10,000 trials and 50 nodes
#   --nodes-500   also one query over 500 attached nodes (1,001 processes, about 10 GB of memory)
# The programs' stores are put on TMPDIR (default /dev/shm, so that a shared disk is not measured).
set -eu
cd "$(dirname "$0")/../.."
case "${1:-}" in -h | --help) sed -n '3,11s/^# //p' "$0"; exit 0 ;; esac
sh deploy/packages.sh --test
cmake --preset release > /dev/null
cmake --build --preset release --target nof1 nof1-coordinator nof1-edge nof1-vault nof1-lab-site bench_csv > /dev/null
TMPDIR=${TMPDIR:-/dev/shm} exec python3 tests/bench/run.py build/release "$@"
