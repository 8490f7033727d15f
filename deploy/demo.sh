#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Consortia on this machine, over mutual TLS on loopback: installs what is missing (Debian 12), builds,
# runs pre-registered plans on real programs and prints their results beside the pooled reference of R;
# then shows a refusal, and what a steward previews, approves, refuses and sees leave.
set -eu
cd "$(dirname "$0")/.."
sh deploy/packages.sh
command -v python3 > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 > /dev/null; }
echo "== build"
cmake --preset release > /dev/null
cmake --build --preset release --target nof1 nof1-coordinator nof1-vault nof1-edge nof1-node nof1-lab-site > /dev/null
PATH="$PWD/build/release/bin:$PATH"
work=$(mktemp -d)
root=$PWD bin=$PWD/build/release/bin
sites="site-01 site-02 site-03 site-04 site-05"
. deploy/demo/consortium.sh
trap 'consortium_end; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
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
cat << 'TXT'

== 4. At a hospital: what its data steward sees and stops
   Five hospitals with certificates, keys and a charter of their own; at site-02 every plan waits for
   the steward, who looks at what it would add before approving it.
TXT
nof1 lab new --sites 5 --trials 60 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
consortium_enrol "$work/data"
consortium_sign
consortium_freeze "$work/data"
consortium_serve
for id in $sites; do
    if [ "$id" = site-02 ]; then consortium_vault "$id" --manual-approval; else consortium_vault "$id"; fi
    consortium_edge "$id"
done
ask() { # TITLE ANALYSIS: the statistician asks; the answer in $work/answer
    printf 'plan: 1\ntitle: %s\noutcome: pain\ntreatment: {reference: A, active: [B]}\nanalysis: %s\n' "$1" "$2" > "$work/ask.yaml"
    consortium_run "$work/ask.yaml" > "$work/answer" 2> "$work/answer.err" &
    client=$!
    consortium_waiting site-02
}
expect() { # EXIT CODE
    code=0
    wait "$client" || code=$?
    [ "$code" -eq "$1" ] || { echo "   expected exit $1, got $code"; cat "$work/answer.err"; failed=1; }
}
ask "Effect of the treatment" random_effects
echo '$ nof1-node preview QUERY'
nof1-node preview "$query" --dir "$work/site-02" | sed 's/^/   /'
echo '$ nof1-node approve QUERY'
nof1-node approve "$query" --dir "$work/site-02" --by carol | sed 's/^/   /'
expect 0
sed 's/^/   /' "$work/answer"
echo '$ nof1-node egress'
nof1-node egress --dir "$work/site-02" | sed 's/^/   /'

echo
echo "   The steward refuses a plan, and pauses the site while another waits; the consortium learns no reason."
ask "Description" descriptive
nof1-node refuse "$query" --dir "$work/site-02" --by carol > /dev/null
expect 3
sed -n '/^Refused/,$p' "$work/answer" | sed 's/^/   /'
ask "Responders" summary_test
nof1-node pause --dir "$work/site-02" --by carol > /dev/null
expect 3
sed -n '/^Refused/,$p' "$work/answer" | sed 's/^/   /'
echo
[ "$failed" -eq 0 ] && echo "Every result compared with R equals it; the patient was not singled out."
exit "$failed"
