#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What the time of an answer tells about a site's data (docs/protocol.md, "Times"), measured on real
# programs over TLS: one site has no trial of the plan, or many, or objects in silence, beside the
# same four others. Times from a frame's arrival at the vault's socket to the answer, by kind of
# answer; Kolmogorov and Smirnov's test between the variants; then the same with vaults that answer
# at once, which must differ, and the work of large sites. Prints a table; nothing is asserted.
# Usage: tests/bench/times.sh BIN [--rounds N] [--trials N] [--large N]
#   --rounds N   rounds of each variant (300); about a third of a second each
#   --trials N   trials of the site with many (60)
#   --large N    rows of the large site (100000); 0: leave it out
set -eu
[ $# -ge 1 ] || { sed -n '3,12s/^# //p' "$0"; exit 2; }
bin=$(cd "$1" && pwd)
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-lab-site nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
exec python3 "$root/tests/bench/times.py" "$bin" "$root" "$@"
