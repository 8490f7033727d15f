#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Kills the real programs of a consortium one by one at the steps of a query, fills their disks,
# freezes them, damages their stores: see kill/kill.c. Loopback only; ends by itself.
#
#   tests/e2e/kill_test.sh BIN [--all] [WORDS]   --all: every step of every program (minutes);
#                                                WORDS: only cases whose name holds them
set -eu
[ $# -ge 1 ] || { echo "usage: $0 BIN [--all] [WORDS]" >&2; exit 2; }
bin=$(cd "$1" && pwd)
shift
tests=$bin/../tests
[ -x "$tests/kill" ] || { echo "$tests/kill is not built"; exit 77; }
preload=$(find "$tests" -maxdepth 1 -name 'libkill_preload.*' | head -n 1)
work=$(mktemp -d /tmp/nof1-kill-XXXXXX) # short: names of sockets are
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# The preloaded library comes before a sanitizer's; and gRPC's leaks are not ours.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0:detect_leaks=0"
export ASAN_OPTIONS
limit=110
for word in "$@"; do [ "$word" = --all ] && limit=840; done
timeout --kill-after=5 "$limit" "$tests/kill" "$bin" "$preload" "$work" "$@"
