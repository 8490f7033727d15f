#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# `nof1 lab new` and `nof1 lab run`, in process and as real programs: results, refusals, exit codes, the
# same bits for any split of the trials over sites, nothing left behind. Usage: lab_test.sh BIN_DIR
set -u
bin=$(cd "${1:?usage: lab_test.sh BIN_DIR}" && pwd)
nof1=$bin/nof1
[ -x "$nof1" ] || { echo "no $nof1"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
cd "$tmp" || exit 1
passed=0
failed=0

check() { # text, command...: the command succeeds
    text=$1
    shift
    if "$@" > output 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $text"
        sed 's/^/    /' output | head -20
    fi
}
ends() { # text, exit code, words on stderr or stdout ("" for any), command...
    text=$1 code=$2 words=$3
    shift 3
    "$@" > out 2> err
    got=$?
    cat out err > output
    if [ "$got" -ne "$code" ]; then
        failed=$((failed + 1))
        echo "FAILED: $text: exit $got, expected $code"
        sed 's/^/    /' output | head -20
    elif [ -n "$words" ] && ! grep -q -e "$words" output; then
        failed=$((failed + 1))
        echo "FAILED: $text: it did not say '$words'"
        sed 's/^/    /' output | head -20
    else
        passed=$((passed + 1))
    fi
}
json() { # file, python expression over r: prints its value
    python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$1" "$2"
}
is() { # text, got, wanted
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1: got '$2', expected '$3'"
    fi
}
run() { "$nof1" lab run "$@"; }

# ---- lab new ----
check "a consortium is made" "$nof1" lab new --sites 8 --trials 60 --seed 7 --out D
for file in map.yaml plan.yaml plan-slope.yaml charter.yaml sites/site-01.csv sites/site-08.csv; do
    check "it has $file" test -s D/$file
done
is "one site has one patient" "$(tail -n +2 D/sites/site-08.csv | cut -d, -f1 | sort -u | wc -l)" 1
check "the same seed" "$nof1" lab new --sites 8 --trials 60 --seed 7 --out D2
check "gives the same bytes" diff -r D D2
check "another seed" "$nof1" lab new --sites 8 --trials 60 --seed 8 --out D3
ends "gives other bytes" 1 "" cmp -s D/sites/site-01.csv D3/sites/site-01.csv
ends "an existing folder is refused" 2 "exists and is not empty" "$nof1" lab new --out D
ends "an odd design is refused" 2 "--design" "$nof1" lab new --design ABA --out D4
ends "no --out is refused" 2 "--out" "$nof1" lab new
ends "an unknown option is refused" 2 "unknown option" "$nof1" lab new --out D4 --sies 3

# ---- in process: open and standard ----
all="--sites D/sites --map D/map.yaml --in-process"
for plan in plan plan-slope; do
    # shellcheck disable=SC2086
    check "$plan under open" run $all --plan D/$plan.yaml --policy open --json --quiet --out O-$plan
    is "$plan: one treatment effect" "$(json O-$plan/result.json "[e['term'] for e in r['estimates']].count('treatment')")" 1
    is "$plan: 60 trials, 8 sites" "$(json O-$plan/result.json "r['fit']['trials'], r['fit']['sites']")" "(60, 8)"
    is "$plan: schema, policy" "$(json O-$plan/result.json "r['schema_version'], r['privacy']['policy'][:4]")" "(1, 'open')"
    is "$plan: no NaN" "$(grep -cE ': (NaN|-?Infinity)' O-$plan/result.json)" 0
done
# shellcheck disable=SC2086
ends "json on stdout" 0 '"estimates"' run $all --plan D/plan.yaml --policy open --json --quiet --out O2
check "is the result file" cmp out O2/result.json
is "kept rows are the observed ones on treatment" "$(tail -n +2 O-plan/kept.csv | wc -l)" \
    "$(cat D/sites/*.csv | awk -F, '$6 == "treatment" && $7 != ""' | wc -l)"
# shellcheck disable=SC2086
check "plan under standard with a charter" run $all --plan D/plan.yaml --charter D/charter.yaml --policy standard --json --quiet --out S
is "its ratio is public" "$(json S/result.json "0 < r['privacy']['ratio'] <= 0.33")" True
is "policy of the charter" "$(json S/result.json "r['privacy']['policy']")" charter
# shellcheck disable=SC2086
ends "plan under standard without a charter" 0 "lab only" run $all --plan D/plan.yaml
check "prints estimates" grep -q "^treatment " out
check "and what was released" grep -q "^Privacy: " out

if command -v Rscript > /dev/null && Rscript -e 'library(lme4); library(metafor); library(jsonlite)' > /dev/null 2>&1; then
    check "metafor and lme4 on the kept rows give the same" Rscript "$here/lab_reference.R" O-plan O-plan-slope
else
    echo "skipped: R with lme4, metafor and jsonlite is not here"
fi

# ---- the same bits for any split ----
split() { # folder, number of sites: patients dealt out in turn
    mkdir -p "$1"
    cat D/sites/*.csv | awk -F, -v n="$2" -v folder="$1" '
        $1 == "id" { head = $0; next }
        !($1 in site) { site[$1] = seen++ % n }
        { file = sprintf("%s/p%02d.csv", folder, site[$1])
          if (!(file in begun)) { print head > file; begun[file] = 1 }
          print > file }'
}
bits() { json "$1/result.json" "[r['estimates'], r['variance_components'] if 'variance_components' in r else r['heterogeneity'], r['fit'].get('logLik')]"; }
for plan in plan plan-slope; do
    for sites in 1 3 12; do
        split "P$sites" $sites
        check "$plan over $sites sites" run --sites P$sites --map D/map.yaml --plan D/$plan.yaml --policy open --in-process --quiet --out B$sites
        is "$plan: same bits over $sites sites as over 8" "$(bits B$sites)" "$(bits O-$plan)"
    done
done

warns() { json "$1/result.json" "'few_sites' in [w['code'] for w in r['warnings']]"; }
is "three sites are few" "$(warns B3)" True
is "eight are not" "$(warns O-plan-slope)" False

# ---- refusals and bad input ----
split P3 3
ends "three sites are too few for standard" 3 "E22" run --sites P3 --map D/map.yaml --plan D/plan.yaml --policy standard --in-process
ends "a refusal is an object on stdout" 3 '"refusal"' run --sites P3 --map D/map.yaml --plan D/plan.yaml --policy standard --in-process --json --quiet
is "with code, rule, remedy" "$(json out "all(r['refusal'].get(k) for k in ('code', 'rule', 'remedy'))")" True
bad() { # text, words, edit of site-02.csv, exit code
    rm -rf X
    cp -r D X
    sed -i "$3" X/sites/site-02.csv
    ends "$1" 66 "$2" run --sites X/sites --map X/map.yaml --plan X/plan.yaml --policy open --in-process
}
bad "a word for a number names its place" "site-02.csv:5:27: column 'pain': 'high' found" '5s/^\(\([^,]*,\)\{6\}\)[^,]*/\1high/'
bad "a missing column is named" "pain" '1s/pain/ache/'
bad "a row too short is named" "site-02.csv:4:1: 11 cells found, 12 expected" '4s/,[^,]*$//'
bad "a duplicate row is named" "duplicate row" '6p'
ends "no folder" 66 "cannot be opened" run --sites nowhere --plan D/plan.yaml --in-process
ends "no plan" 66 "nowhere.yaml" run --sites D/sites --plan nowhere.yaml --in-process
ends "no options" 2 "--sites and --plan are needed" run
ends "a plan with an unknown key names its line" 66 "bad.yaml:6" sh -c "sed 's/method: REML/metod: REML/' D/plan.yaml > bad.yaml; $nof1 lab run $all --plan bad.yaml --policy open"
ends "a charter of other sites" 66 "charter" run --sites P3 --map D/map.yaml --plan D/plan.yaml --charter D/charter.yaml --in-process
ends "an unknown policy" 66 "standard, ultra-rare or open expected" run --sites P3 --map D/map.yaml --plan D/plan.yaml --policy lax --in-process
ends "a value outside the charter" 66 "E2403" sh -c "sed 's/bounds: \[0, 10\]/bounds: [0, 5]/' D/charter.yaml > narrow.yaml; $nof1 lab run $all --plan D/plan.yaml --charter narrow.yaml"

# ---- dialects of CSV: the same result ----
mkdir E
for file in D/sites/*.csv; do
    awk -F, 'BEGIN { OFS = ";" } { $1 = $1; sub(/\./, ",", $7); printf "%s\r\n", $0 }' "$file" > "E/$(basename "$file")"
done
check "semicolons, decimal commas, CR LF" run --sites E --map D/map.yaml --plan D/plan.yaml --policy open --in-process --quiet --out BE
is "give the same bits" "$(bits BE)" "$(bits O-plan)"

# ---- check: nothing is spent, the same rules ----
files="--charter S/charter.json --census S/census.json"
# shellcheck disable=SC2086
ends "check of a plan that ran" 0 "accepted" "$nof1" check D/plan.yaml $files --json
is "names form, numbers, rounds" "$(json out "r['form'], r['rounds'], r['scalars'] == $(json S/result.json "r['privacy']['scalars']")")" "('pool', 1, True)"
is "and the ratio that the run had" "$(json out "round(r['ratio'], 4)")" "$(json S/result.json "round(r['privacy']['ratio'], 4)")"
# shellcheck disable=SC2086
ends "alternatives: a form that leaves out two patients would be refused" 0 "E2210" "$nof1" check D/plan-slope.yaml $files
printf 'incomplete: cycles\n' | cat D/plan-slope.yaml - > cycles.yaml
# shellcheck disable=SC2086
ends "as a plan it is" 3 "would be refused: E2210" "$nof1" check cycles.yaml $files
# shellcheck disable=SC2086
ends "and the vaults say the same" 3 "E2210" run $all --plan cycles.yaml --charter D/charter.yaml --policy standard

# ---- other commands ----
ends "catalog" 0 "random_effects" "$nof1" catalog
ends "catalog as JSON" 0 '"analysis": "mixed_model"' "$nof1" catalog --json
ends "a plan with defaults" 0 "method: REML" "$nof1" plan new random_effects
ends "an unknown analysis" 2 "see nof1 catalog" "$nof1" plan new magic
ends "no command" 2 "usage: nof1" "$nof1"
ends "help" 0 "lab run" "$nof1" --help
ends "run without a coordinator's address" 2 "needed" "$nof1" status
if [ -x "$bin/nof1-node" ]; then
    ends "source check" 0 "10 trials kept" "$bin/nof1-node" source check D/sites/site-01.csv --map D/map.yaml --charter D/charter.yaml --site site-01
    ends "charter show" 0 "study: lab-pain, version 1" "$bin/nof1-node" charter show D/charter.yaml
    ends "freeze" 0 "epoch 1 frozen" "$bin/nof1-node" freeze D/sites/site-01.csv --dir N --map D/map.yaml --charter D/charter.yaml --site site-01
    ends "freeze again" 0 "epoch 2 frozen" "$bin/nof1-node" freeze D/sites/site-01.csv --dir N --map D/map.yaml --charter D/charter.yaml --site site-01
    hash=$("$bin/nof1-node" charter show S/charter.json | sed -n 's/^hash: //p')
    ends "a charter with another hash is not approved" 2 "not the one given" "$bin/nof1-node" charter approve S/charter.json --dir N --hash 00
    ends "a charter is approved" 0 "approved: N/charter.json" "$bin/nof1-node" charter approve S/charter.json --dir N --hash "$hash"
    check "its bytes are kept" cmp S/charter.json N/charter.json
    ends "the same version is not approved again" 78 "version 1 is approved already" "$bin/nof1-node" charter approve S/charter.json --dir N --hash "$hash"
    ends "a lab charter is never approved" 78 "lab charter" "$bin/nof1-node" charter approve O-plan/charter.json --dir N2 --hash "$("$bin/nof1-node" charter show O-plan/charter.json | sed -n 's/^hash: //p')"
    ends "freeze under the approved charter" 0 "epoch 3 frozen" "$bin/nof1-node" freeze D/sites/site-01.csv --dir N --map D/map.yaml --site site-01
    ends "no vault" 69 "" "$bin/nof1-node" status --dir N
    ends "a site that is not on the charter" 3 "E2104" "$bin/nof1-node" source check D/sites/site-01.csv --map D/map.yaml --charter D/charter.yaml --site elsewhere
fi

# ---- real programs over mutual TLS: the same bits, nothing left ----
if [ -x "$bin/nof1-coordinator" ] && [ -x "$bin/nof1-vault" ] && [ -x "$bin/nof1-edge" ] && [ -x "$bin/nof1-lab-site" ]; then
    mkdir t
    TMPDIR=$tmp/t
    export TMPDIR
    check "open, real programs" run --sites D/sites --map D/map.yaml --plan D/plan.yaml --policy open --quiet --out R
    is "open: same bits as in process" "$(bits R)" "$(bits O-plan)"
    check "the same plan again" run --sites D/sites --map D/map.yaml --plan D/plan.yaml,D/plan.yaml --policy open --quiet --out RA
    check "is answered with the same bytes" cmp RA/1/result.json RA/2/result.json
    is "and runs no query: the census and one plan" "$(grep -c kind=query.submitted RA/coordinator.log)" 2
    check "standard, real programs" run --sites D/sites --map D/map.yaml --plan D/plan.yaml --charter D/charter.yaml --policy standard --quiet --out RS
    is "standard: same bits as in process" "$(bits RS)" "$(bits S)"
    ends "refusal, real programs" 3 "E22" run --sites P3 --map D/map.yaml --plan D/plan.yaml --policy standard
    "$nof1" lab run --sites D/sites --map D/map.yaml --plan D/plan.yaml --policy open > out 2> err &
    process=$!
    sleep 0.5
    kill -TERM $process
    wait $process
    is "nothing is left behind, also when stopped" "$(find t -mindepth 1 | wc -l)" 0
    is "no program is left" "$(ps -eo args | grep -c "[/]bin/nof1.*$tmp")" 0
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
