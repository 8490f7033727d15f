#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The production path with real processes and the commands that people type: authority, keys,
# charter signed and approved, data frozen, vaults and edges started, a plan run, a site paused, a
# plan approved by hand; then everything restarted, and the same plan again: the same numbers.
# Usage: site_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-site-XXXXXX)
. "$root/tests/e2e/checks.sh"
. "$root/deploy/demo/consortium.sh"
finish() {
    consortium_end
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# ---- the consortium ------------------------------------------------------------------------------
sites="site-01 site-02 site-03 site-04 site-05"
"$bin/nof1" lab new --sites 5 --trials 40 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
consortium_enrol "$work/data"
consortium_sign || { echo "0 passed, 1 failed"; exit 1; }
pass "the charter is signed"

# ---- every site approves and freezes -------------------------------------------------------------
if consortium_freeze "$work/data"; then pass "every site approves the charter and freezes its data"; else fail "approve and freeze"; fi
if "$bin/nof1-node" charter approve "$work/charter.json" --dir "$work/site-01" \
    --hash "$(printf '%064d' 0)" > "$work/out" 2>&1; then
    fail "a charter with another hash is not approved"
else pass "a charter with another hash is not approved"; fi

# ---- start ---------------------------------------------------------------------------------------
start() { # everything; the site whose plans wait
    pids=""
    consortium_serve
    for id in $sites; do
        manual=""
        [ "$id" = "$1" ] && manual=--manual-approval
        # shellcheck disable=SC2086
        consortium_vault "$id" $manual || fail "the vault of $id starts" "$work/$id.log"
        consortium_edge "$id"
    done
}
run() { consortium_run "$work/data/plan.yaml" --json > "$1" 2> "$1.err"; } # output
numbers() {
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
print(json.dumps({k: value[k] for k in ("estimates", "heterogeneity", "fit")}, sort_keys=True))' "$1"
}
start none
if run "$work/first" && numbers "$work/first" > "$work/first.numbers"; then pass "the plan is answered"
else fail "the plan is answered" "$work/first.err" "$work/hub.log" "$work/site-01.log"; fi
case $("$bin/nof1-node" status --dir "$work/site-01" 2>&1) in
    *released* | *attested* | *queries* | *state*) pass "the steward sees the query" ;;
    *) fail "the steward sees the query: $("$bin/nof1-node" status --dir "$work/site-01" 2>&1)" ;;
esac

# ---- all end, all start again: the numbers are the same, and nothing new was charged --------------
clean=true
for pid in $pids; do kill "$pid"; done
for pid in $pids; do
    code=0; wait "$pid" || code=$?
    [ $code -eq 0 ] || { clean=false; echo "     exit $code"; }
done
if $clean; then pass "everybody stops cleanly"; else fail "everybody stops cleanly" "$work/hub.log"; fi
start none
if run "$work/second" && numbers "$work/second" > "$work/second.numbers" &&
    cmp -s "$work/second.numbers" "$work/first.numbers"; then
    pass "the same plan gives the same numbers after a restart"
else fail "the same plan gives the same numbers after a restart" "$work/second.err" "$work/hub.log"; fi

# ---- the statistician holds the coordinator to a charter ------------------------------------------
ask() { # command, then its words: as the statistician
    what=$1; shift
    timeout 20 "$bin/nof1" "$what" "$@" --target "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key"
}
other=$(printf '%064d' 0)
good=true
for words in "run $work/data/plan.yaml" "check $work/data/plan.yaml" status "result $other"; do
    code=0
    # shellcheck disable=SC2086
    ask $words --charter "$other" > "$work/out" 2>&1 || code=$?
    if [ $code -ne 78 ] || ! grep -q "give --charter $hash" "$work/out"; then
        good=false; echo "     $words: exit $code"; cat "$work/out"
    fi
done
if $good && ! "$bin/nof1-coordinator" status --dir "$work/hub" | grep -q "$other"; then
    pass "another charter than the one given is refused before anything is sent"
else fail "another charter than the one given is refused"; fi
if ask run "$work/data/plan.yaml" --charter "$work/charter.json" --json > "$work/pinned" 2> "$work/err" &&
    ask run "$work/data/plan.yaml" --charter "$hash" --json > "$work/pinned" 2> "$work/err" &&
    ask status --charter "$work/charter.json" > "$work/out" 2> "$work/err" &&
    numbers "$work/pinned" | cmp -s - "$work/first.numbers"; then
    pass "the charter given is accepted as file and as hash"
else fail "the charter given is accepted as file and as hash" "$work/err"; fi

# ---- a paused site refuses, and says so without a reason ------------------------------------------
# another question: what the totals of the first tell would be answered without any site
sed -e 's/^analysis:.*/analysis: summary_test/' -e '/^method:/d' -e '/^test:/d' "$work/data/plan.yaml" > "$work/plan-z.yaml"
"$bin/nof1-node" pause --dir "$work/site-03" > /dev/null
cp "$work/plan-z.yaml" "$work/data/plan.yaml"
code=0
run "$work/paused" || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/paused"; then pass "a paused site refuses"
else fail "a paused site refuses: exit $code" "$work/paused.err" "$work/paused"; fi
"$bin/nof1-node" resume --dir "$work/site-03" > /dev/null

# ---- a plan that waits for a steward's approval ---------------------------------------------------
consortium_end
start site-02
# an interrupt ends the waiting at once, not the query; nor does a coordinator that hangs hold it up
interrupt() { # seconds
    code=0 began=$(date +%s)
    timeout -s INT "$1" "$bin/nof1" run "$work/data/plan.yaml" --target "127.0.0.1:$port" \
        --ca "$ca/ca.pem" --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key" \
        > "$work/out" 2> "$work/interrupted" || code=$?
    took=$(($(date +%s) - began))
}
interrupt 3
if [ $took -le 5 ] && grep -q E1017 "$work/interrupted" &&
    grep -qE "goes on: nof1 status shows it, nof1 result [0-9a-f]{64} prints" "$work/interrupted"; then
    pass "an interrupted run says that its query goes on"
else fail "an interrupted run says that its query goes on: $code after $took s" "$work/interrupted"; fi
consortium_waiting site-02 || true
"$bin/nof1-node" approve "${query:-none}" --dir "$work/site-02" > "$work/out" 2>&1 || true
turn=0
until ask result "$query" --json > "$work/manual" 2> "$work/err" || [ $turn -ge 20 ]; do
    sleep 0.3; turn=$((turn + 1))
done
if grep -q provenance "$work/manual" && grep -q "nof1 result $query prints" "$work/interrupted"; then
    pass "a plan is answered after the steward approved it"
else
    fail "a plan is answered after the steward approved it ($query)" "$work/err" "$work/out"
    "$bin/nof1-node" status --dir "$work/site-02" || true
fi
kill -STOP "$hub"
interrupt 2
kill -CONT "$hub"
if [ $took -le 4 ] && grep -q "stopped before the plan was submitted" "$work/interrupted"; then
    pass "an interrupt ends a call that nobody answers"
else fail "an interrupt ends a call that nobody answers: $code after $took s" "$work/interrupted"; fi

# ---- a second freeze in which one patient changed -------------------------------------------------
consortium_end
start none
mkdir -p "$work/again/sites"
cp "$work/data/map.yaml" "$work/again/map.yaml"
cp "$work"/data/sites/*.csv "$work/again/sites/"
python3 - "$work/again/sites/site-01.csv" << 'PY'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
row = next(r for r in rows if r["phase"] == "treatment" and r["pain"] != "")
row["pain"] = "5" if float(row["pain"]) != 5 else "6"
with open(sys.argv[1], "w", newline="") as out:
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
PY
good=true
for id in $sites; do
    "$bin/nof1-node" freeze "$work/again/sites/$id.csv" --dir "$work/$id" --map "$work/again/map.yaml" \
        --site "$id" > "$work/out" 2>&1 || { good=false; cat "$work/out"; }
    consortium_wait "$work/$id.log" epoch=2 || good=false
done
if $good; then pass "every site freezes a second epoch beside the first"; else fail "a second freeze"; fi
turn=0 # the census of the new epoch is taken by itself
until "$bin/nof1-coordinator" status --dir "$work/hub" | tr -d ' \n' | grep -q '"epoch":2,"next"' ||
    [ $turn -ge 100 ]; do sleep 0.2; turn=$((turn + 1)); done
waits() { # how many blocks may not move on yet, as the coordinator says
    "$bin/nof1-coordinator" status --dir "$work/hub" | grep -o "\"next\": *\"not yet\"" | wc -l
}
waiting() { # SITE: does it say that a family waits?
    "$bin/nof1-node" status --dir "$work/$1" | tr -d ' \n' | grep -c '"next":"notyet"' || true
}
cp "$work/plan-z.yaml" "$work/data/plan.yaml"
if run "$work/kept" && grep -q '"epoch": 1' "$work/kept" && [ "$(waits)" -ge 1 ] &&
    [ "$(waiting site-01)" -ge 1 ]; then
    pass "one changed patient: the plan is answered about the epoch before, and status says not yet"
else fail "one changed patient: $(waits)" "$work/kept.err" "$work/kept"; fi
consortium_end
start none
kill -9 "$(echo "$pids" | awk '{print $2}')"
"$bin/nof1-node" freeze "$work/again/sites/site-01.csv" --dir "$work/site-01" \
    --map "$work/again/map.yaml" --site site-01 > "$work/out" 2>&1 || cat "$work/out"
consortium_end
start none
if run "$work/later" &&
    python3 -c 'import json, sys
a, b = (json.load(open(name)) for name in sys.argv[1:])
sys.exit(a["estimates"] != b["estimates"] or a["provenance"]["plan"] != b["provenance"]["plan"])' \
        "$work/kept" "$work/later"; then
    pass "a vault killed between two freezes keeps what plans are about"
else fail "a vault killed between two freezes keeps what plans are about" "$work/later.err" "$work/site-01.log"; fi

# ---- a lost secret --------------------------------------------------------------------------------
consortium_end
rm "$work/site-04/secret"
start none
if consortium_wait "$work/site-04.log" event=vault.secret_lost_freeze_again; then
    pass "a site that lost its secret answers no plan of the frozen epoch"
else fail "a site that lost its secret answers no plan" "$work/site-04.log"; fi
"$bin/nof1-node" freeze "$work/data/sites/site-04.csv" --dir "$work/site-04" \
    --map "$work/data/map.yaml" --site site-04 > "$work/out" 2>&1 || cat "$work/out"
if consortium_wait "$work/site-04.log" epoch=3; then pass "until the next freeze, which the running vault loads"
else fail "a freeze is loaded by the running vault" "$work/site-04.log"; fi

# ---- a charter put in place by hand ---------------------------------------------------------------
consortium_end
vault_refuses() { # name, words of the reason
    code=0
    timeout 10 "$bin/nof1-vault" --dir "$work/site-01" --site site-01 --key "$work/site-01/vault.key" \
        --socket "$work/site-01/edge.sock" > "$work/out" 2>&1 || code=$?
    if [ $code -eq 78 ] && grep -q "$2" "$work/out"; then pass "$1"; else fail "$1: exit $code" "$work/out"; fi
}
by_hand() { # sed script on the charter: signed and copied, not approved
    sed "$1" "$work/charter.yaml" > "$work/next.yaml"
    "$bin/nof1-coordinator" charter sign --dir "$work/hub" --charter "$work/next.yaml" \
        --out "$work/next.json" > "$work/out" 2>&1 || cat "$work/out"
    cp "$work/next.json" "$work/site-01/charter.json"
}
by_hand 's/^version: .*/version: 2/; /^  pain:/s/bounds: \[[^]]*\]/bounds: [-5, 25]/'
vault_refuses "a charter that changes what was released is refused by the vault, too" "changes its bounds"
by_hand 's/^effective: .*/effective: 2026-02-02T00:00:00Z/'
vault_refuses "a charter of no higher version is refused by the vault, too" "version 1 is approved already"
cp "$work/charter.json" "$work/site-01/charter.json"

# ---- a lost store ---------------------------------------------------------------------------------
consortium_end
rm -f "$work"/site-04/site.sqlite*
code=0
"$bin/nof1-vault" --dir "$work/site-04" --site site-04 --key "$work/site-04/vault.key" \
    --socket "$work/site-04/edge.sock" > "$work/out" 2>&1 || code=$?
if [ "$code" -eq 78 ] && grep -q "restore the store from a backup" "$work/out"; then
    pass "a site that lost its store does not start anew: its budgets would be forgotten"
else fail "a site that lost its store does not start anew ($code)" "$work/out"; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
