#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A consortium on this machine, over mutual TLS on loopback: installs what is missing (Debian 12), builds,
# runs pre-registered plans on real programs, and prints each result beside the pooled reference of R.
set -eu
cd "$(dirname "$0")/.."
sh deploy/packages.sh
command -v python3 > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 > /dev/null; }
echo "== build"
cmake --preset release > /dev/null
cmake --build --preset release --target nof1 nof1-coordinator nof1-vault nof1-edge nof1-lab-site > /dev/null
PATH="$PWD/build/release/bin:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
demo=deploy/demo
failed=0

compare() { # RESULT SECTION
    python3 "$demo/compare.py" "$1" "$demo/reference.json" "$2" || failed=1
}

cat << 'TXT'

== 1. Eight hospitals, one of them with a single patient; policy standard
   Generated trials of pain under two treatments, with missing periods and dropout. Two plans:
   a two-stage REML analysis and a random-slope mixed model with Kenward-Roger, both on complete
   cycles, each on a consortium of its own: together they would exceed the release ratio.
TXT
nof1 lab new --sites 8 --trials 240 --seed 7 --out "$work/generated" > /dev/null
sed 's/^test: knha/&\nincomplete: cycles/' "$work/generated/plan.yaml" > "$work/effects.yaml"
sed 's/^method: REML/&\nincomplete: cycles/' "$work/generated/plan-slope.yaml" > "$work/slope.yaml"
for plan in effects slope; do
    nof1 lab run --sites "$work/generated/sites" --map "$work/generated/map.yaml" \
        --charter "$work/generated/charter.yaml" --plan "$work/$plan.yaml" --policy standard --out "$work/$plan"
    echo
    echo "   beside R on the pooled rows ($([ "$plan" = effects ] && echo "metafor::rma" || echo "lme4::lmer, pbkrtest")):"
    compare "$work/$plan/result.json" "generated_$plan"
    echo
done

cat << 'TXT'

== 2. Student's sleep data of 1908: ten patients, two drugs, four hospitals; policy ultra-rare
   Each plan on a consortium of its own: together they would exceed the release ratio of ten patients.
TXT
for plan in descriptive model; do
    nof1 lab run --sites "$demo/sleep/sites" --map "$demo/sleep/map.yaml" --plan "$demo/sleep/plan-$plan.yaml" \
        --policy ultra-rare --out "$work/sleep-$plan"
    compare "$work/sleep-$plan/result.json" "sleep_$plan"
done

cat << 'TXT'

== 3. A plan that would single out a patient
   In this copy of the data one patient alone has the severe form. The first plan uses everybody; the
   second everybody with the mild form. Their difference would be that one patient. Expect a refusal.
TXT
cp -r "$work/generated" "$work/rare"
for file in "$work"/rare/sites/*.csv; do
    awk -F, -v OFS=, 'NR > 1 { $12 = ($1 == "S02-03") ? "severe" : "mild" } 1' "$file" > "$work/rows"
    mv "$work/rows" "$file"
done
sed 's/^title:.*/title: Patients with the mild form\nstrata: [mild]/' "$work/generated/plan.yaml" > "$work/mild.yaml"
code=0
nof1 lab run --sites "$work/rare/sites" --map "$work/rare/map.yaml" --charter "$work/rare/charter.yaml" \
    --plan "$work/generated/plan.yaml,$work/mild.yaml" --policy standard --quiet > "$work/refused" || code=$?
sed -n '/^Refused/,$p' "$work/refused" | sed 's/^/   /'
[ "$code" -eq 3 ] || { echo "   expected a refusal (exit 3), got $code"; failed=1; }
echo
[ "$failed" -eq 0 ] && echo "Every result equals its pooled reference; the patient was not singled out."
exit "$failed"
