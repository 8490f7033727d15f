#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Fuzz every decoder and whole sessions with libFuzzer (clang), for SECONDS each (default 600), starting
# from the corpora in the tree. Usage: tests/fuzz/run.sh [SECONDS] [TARGET...]
# Closes with "N passed, N failed"; findings are left in build/fuzz/findings.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-600}
[ $# -gt 0 ] && shift
sh deploy/packages.sh --test
if ! command -v clang-14 > /dev/null; then
    echo "clang-14 is missing: apt-get install clang-14 libclang-rt-14-dev" >&2
    exit 77
fi
cmake --preset fuzz > /dev/null
targets=${*:-$(find tests/fuzz -name 'fuzz_*.c' -exec basename {} .c \; | sort)}
findings=$PWD/build/fuzz/findings
mkdir -p "$findings"
passed=0
failed=0
for target in $targets; do
    cmake --build --preset fuzz --target "$target" > "$findings/build.log" 2>&1 || { tail -40 "$findings/build.log"; exit 1; }
    work=$(mktemp -d)
    corpus=tests/fuzz/corpus/${target#fuzz_}
    [ -d "$corpus" ] || mkdir -p "$work/seed"
    [ -d "$corpus" ] || corpus=$work/seed
    if "build/fuzz/tests/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$findings/$target-" "$work" "$corpus" > "$findings/$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$findings/$target.log") runs in $seconds s, no finding"
    else
        failed=$((failed + 1))
        echo "$target: FINDING, see build/fuzz/findings/$target.log"
    fi
    rm -rf "$work"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
