#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Every attack twice: on a control without its defence, where it must succeed, and on the real code.
# One line an attack, then "N passed, N failed". Usage: tests/attack/run.sh [BUILD/tests] [--only ID]
set -u
programs=$(cd "$(dirname "$0")/../.." && pwd)/build/dev/tests
only='*'
while [ $# -gt 0 ]; do
    case $1 in
        --only) only=${2:?--only needs an attack, A7}; shift 2 ;;
        -h | --help) sed -n '3,4s/^# //p' "$0"; exit 0 ;;
        *) programs=$1; shift ;;
    esac
done
for program in attack_control attack_defended; do
    [ -x "$programs/$program" ] || { echo "run.sh: no $programs/$program; build it first" >&2; exit 2; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for program in attack_control attack_defended; do
    "$programs/$program" -j1 > "$scratch/$program" 2> "$scratch/$program.log"
    echo $? > "$scratch/$program.rc"
done
# "A7 vector of an earlier attempt: control succeeded / defended with E2503"
crashed=0
for program in attack_control attack_defended; do
    grep -q 'Synthesis: .* Failing: 0 .* Crashing: 0' "$scratch/$program.log" || crashed=1
done
awk -F'\t' -v only="$only" -v crashed=$crashed '
    !/^@/ { next }
    { id = substr($1, 2) }
    FNR == NR { control[id] = $3; next }
    { name[id] = $2; defended[id] = $3; order[++count] = id }
    END {
        for (id in control) { if (!(id in defended)) { order[++count] = id; defended[id] = "DID NOT END" } }
        for (i = 1; i <= count; i++) {
            id = order[i]
            if (only != "*" && id != only) { continue }
            c = id in control ? control[id] : "CONTROL DID NOT END"
            ok = c !~ /[A-Z][A-Z]+ [A-Z]/ && defended[id] ~ /^(defended|open)/
            open += defended[id] ~ /^open/
            printf "%s %s: %s / %s\n", id, name[id], c, defended[id]
            ok ? passed++ : failed++
        }
        if (only == "*" && crashed > 0) { print "an attack ended before it printed its line"; failed++ }
        if (open > 0) { printf "%d of them open: the real code is not defended\n", open }
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0 || passed == 0
    }' "$scratch/attack_control" "$scratch/attack_defended"
rc=$?
if [ $rc -ne 0 ]; then
    grep -h -E 'attack.*: |ERROR|SUMMARY' "$scratch"/*.log | head -40 >&2
fi
exit $rc
