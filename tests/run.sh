#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what is missing (Debian 12), build, run every test. Idempotent.
# Usage: tests/run.sh [--preset NAME] [--only REGEX] [--long]
#   --preset asan|tsan|coverage|release   another build (default: dev)
#   --only REGEX                          only the tests whose name matches
#   --long                                instead: do intervals cover, do tests hold their level
#                                         (about an hour; docs/validation.md has the figures)
set -eu
cd "$(dirname "$0")/.."
preset=dev
only=""
long=false
while [ $# -gt 0 ]; do
    case $1 in
        --preset) preset=${2:?--preset needs a name}; shift 2 ;;
        --only) only=${2:?--only needs a regular expression}; shift 2 ;;
        --long) long=true; shift ;;
        -h | --help) sed -n '3,8s/^# //p' "$0"; exit 0 ;;
        *) echo "tests/run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    esac
done
sh deploy/packages.sh --test
echo "== configure and build ($preset)"
cmake --preset "$preset" > "/tmp/nof1-configure.$$" 2>&1 || { cat "/tmp/nof1-configure.$$"; exit 1; }
rm -f "/tmp/nof1-configure.$$"
cmake --build --preset "$preset" -- -k 0
echo "== test"
if $long; then
    python3 tests/validation/coverage.py "build/$preset/bin" --only "$only"
elif [ -n "$only" ]; then
    ctest --preset "$preset" -j "$(nproc)" -R "$only"
else
    ctest --preset "$preset" -j "$(nproc)"
fi
