#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# nof1-node report: a page and numbers from a published result and a frozen epoch; and that nothing
# of it can leave: the store is as before, to the byte, no socket is opened, and the page names no
# place to load from.
# Usage: report_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-report-XXXXXX)
trap 'rm -rf "$work"' EXIT
. "$root/tests/e2e/checks.sh"
: > "$work/out"

"$bin/nof1" lab new --sites 4 --trials 24 --seed 3 --out "$work/data" > /dev/null 2>&1
mkdir -m 700 "$work/site"
cp "$work/data/charter.yaml" "$work/site/charter.json"
"$bin/nof1-node" freeze "$work/data/sites/site-01.csv" --dir "$work/site" --map "$work/data/map.yaml" \
    --site site-01 --charter "$work/data/charter.yaml" > /dev/null
printf 'outcome: pain\ntreatment: {reference: A, active: [B]}\nanalysis: bayes\nmcid: 0.5\n' > "$work/bayes.yaml"
printf 'outcome: pain\ntreatment: {reference: A, active: [B]}\nanalysis: random_effects\n' > "$work/effects.yaml"
printf 'outcome: pain\ntreatment: {reference: A, active: [B]}\nanalysis: mixed_model\n' > "$work/mixed.yaml"
for plan in bayes effects mixed; do
    "$bin/nof1" lab run --sites "$work/data/sites" --plan "$work/$plan.yaml" --map "$work/data/map.yaml" \
        --policy open --in-process --json > "$work/$plan.json" 2> /dev/null
done
patient=$(sed -n 2p "$work/data/sites/site-01.csv" | cut -d, -f1)
store() { cat "$work/site/site.sqlite" "$work"/site/site.sqlite-wal 2> /dev/null | sha256sum; }
# shellcheck disable=SC2034 # read by a check below
before=$(store)

report() { "$bin/nof1-node" report "$patient" --dir "$work/site" "$@"; }
check "a page is written, readable by its owner only" \
    eval 'report --result "$work/bayes.json" --out "$work/page.html" && [ "$(stat -c %a "$work/page.html")" = 600 ]'
check "the page is complete, and in one piece" \
    eval 'grep -q "<html lang=\"en\">" "$work/page.html" && grep -q "</html>" "$work/page.html" && [ "$(grep -c "<svg role=\"img\"" "$work/page.html")" = 2 ]'
check "it loads nothing and runs nothing" \
    eval '! grep -Eqi "https?://|<script|<link|<img|@import|url\(|src=|href=" "$work/page.html"'
check "numbers from the hyper-posterior" \
    eval 'report --result "$work/bayes.json" --json | grep -q "\"benefit.mcid\": 0\."'
check "numbers by empirical Bayes" \
    eval 'report --result "$work/effects.json" --outcome pain --reference A --active B --json | grep -q "\"borrowed\": "'
check "a mixed model shrinks as its variances say" \
    eval 'report --result "$work/mixed.json" --outcome pain --reference A --active B --json > "$work/shrunk.json" && python3 - "$work/mixed.json" "$work/shrunk.json" << "END"
import json, sys
model, report = (json.load(open(path)) for path in sys.argv[1:])
mu = [row["estimate"] for row in model["estimates"] if row["term"] == "treatment"][0]
tau2, sigma2 = ([row["estimate"] for row in model["variance_components"]
                 if row["group"] == group and not row.get("term2") and row.get("term1") in names][0]
                for group, names in (("trial", ("treatment",)), ("Residual", (None, "", "Observation"))))
rows = [sum(p["rows"] for p in report["periods"] if p["treatment"] == arm) for arm in "AB"]
v = sigma2 * sum(1 / n for n in rows)
mean = (tau2 * report["own"] + v * mu) / (tau2 + v)
assert abs(mean - report["estimate"]) < 1e-9 and report["low"] < mean < report["high"], (mean, report["estimate"])
END'
check "names that the result lacks are asked for" \
    eval '! report --result "$work/effects.json" 2> "$work/err" && grep -q -- "--outcome" "$work/err"'
check "an unknown patient is refused" \
    eval '! "$bin/nof1-node" report nobody --dir "$work/site" --result "$work/bayes.json" 2> "$work/err" && grep -q "no patient" "$work/err"'
check "the store is as before, to the byte" eval '[ "$before" = "$(store)" ]'
if command -v strace > /dev/null && strace -o /dev/null true 2> /dev/null; then
    ASAN_OPTIONS=detect_leaks=0 strace -f -o "$work/calls" -e trace=network "$bin/nof1-node" report "$patient" --dir "$work/site" \
        --result "$work/bayes.json" > /dev/null
    check "no socket is opened" eval '! grep -Eq "^[0-9]+ (socket|connect|send)" "$work/calls"'
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
