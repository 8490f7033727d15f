#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Symbol purity: the archives that hold statistics and protocol logic reach no file, clock, random
# source, socket or gRPC. Usage: symbols.sh BUILD_DIR. A regulator can run it on any build.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
fail=0
# sanitizer and coverage builds add their own runtime's symbols: those are not ours
if nm -u "$build/libnof1_stats.a" 2>/dev/null | grep -qE '__asan|__tsan|__ubsan|__gcov|__sanitizer'; then
    echo "skipped: instrumented build"
    exit 0
fi
for archive in stats core; do
    nm "$build"/libnof1_base.a "$build"/libnof1_stats.a "$build"/libnof1_crypto.a \
        "$build"/libnof1_core.a "$build"/libnof1_proto.a 2>/dev/null |
        awk '$2 ~ /^[TDBRVW]$/ {print $3}' | sort -u > "$build/defined.txt"
    nm -u "$build/libnof1_$archive.a" | awk '$1 == "U" {print $2}' | sort -u |
        grep -vxF -f "$build/defined.txt" | grep -vxEf "$here/symbols.$archive" > "$build/bad.txt" || true
    if [ -s "$build/bad.txt" ]; then
        echo "libnof1_$archive.a may not use:"; cat "$build/bad.txt"; fail=1
    fi
done
exit $fail
