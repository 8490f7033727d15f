#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What a hospital's data steward sees, limits and stops, with real processes: the site's own limits
# and their second approval, a preview before a plan is approved, a final refusal, the list of
# everything that left against what a recorder between vault and edge saw, pause, withdrawal of a
# trial, a refused charter. Usage: steward_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-steward-XXXXXX)
. "$root/tests/e2e/checks.sh"
. "$root/deploy/demo/consortium.sh"
finish() {
    consortium_end
    [ "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
node() { "$bin/nof1-node" "$@"; }
json() { python3 -c "import json, sys; v = json.load(open(sys.argv[1])); print($2)" "$1"; }

# ---- the consortium ------------------------------------------------------------------------------
sites="site-01 site-02 site-03 site-04 site-05"
"$bin/nof1" lab new --sites 5 --trials 60 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
consortium_enrol "$work/data"
consortium_sign
consortium_freeze "$work/data"
consortium_serve
echo 'max_queries_day: 4' > "$work/file.yaml"
for id in $sites; do
    manual="" socket=$work/$id/edge.sock
    [ "$id" = site-02 ] && manual=--manual-approval
    [ "$id" = site-04 ] && manual="--policy $work/file.yaml"
    # shellcheck disable=SC2086
    consortium_vault "$id" $manual
    if [ "$id" = site-02 ]; then
        socket=$work/$id/recorded.sock
        python3 "$root/tests/e2e/record.py" "$socket" "$work/$id/edge.sock" "$work/recorded" &
        pids="$pids $!"
        turn=0
        until [ -S "$socket" ] || [ $turn -ge 100 ]; do sleep 0.1; turn=$((turn + 1)); done
    fi
    consortium_edge "$id" "$socket"
done
run() { consortium_run "$1" --json > "$2" 2> "$2.err"; } # plan, output
waiting() { consortium_waiting site-02; }
plan() { # file, title, analysis: each needs other sums, so that none is answered from the ledger
    printf 'plan: 1\ntitle: %s\noutcome: pain\ntreatment: {reference: A, active: [B]}\nanalysis: %s\n' "$2" "$3" > "$1"
}
d1=$work/site-01 d2=$work/site-02 d3=$work/site-03

# ---- the site's own limits -----------------------------------------------------------------------
printf '# our board, 12 May\nmin_sites: 4\n' > "$work/loose.yaml"
check "a policy looser than the charter is refused" code_is 66 node policy check "$work/loose.yaml" --dir "$d1"
check "with file, line, column, key, value, limit and remedy" \
    says "loose.yaml:2:1: min_sites: 4 is looser than the charter's 5; a site may only be stricter: write 5 or more, or leave the key out"
check "as JSON too" code_is 66 node policy check "$work/loose.yaml" --dir "$d1" --json
check "which names line and column" says '"line": 2,'
printf 'min_sitez: 6\n' > "$work/loose.yaml"
check "an unknown key is refused" code_is 66 node policy check "$work/loose.yaml" --dir "$d1"
check "and the known one named" says min_sites
printf '# our board, 12 May: nine sites\nmin_sites: 9   # for now\n' > "$work/nine.yaml"
check "a stricter one is good" code_is 0 node policy check "$work/nine.yaml" --dir "$d1"
check "and shows what changes" says "min_sites            5 -> 9 (stricter)"
check "it is proposed" code_is 0 node policy edit --dir "$d1" --file "$work/nine.yaml" --by ann
check "the same person does not approve it" code_is 2 node policy approve 1 --dir "$d1" --by Ann
node policy show --dir "$d1" --json > "$work/shown.json"
check "a proposal is not in force" [ "$(json "$work/shown.json" 'v["limits"]["min_sites"]["value"]')" = 5.0 ]
check "another person approves it" code_is 0 node policy approve 1 --dir "$d1" --by bob
check "and the running vault has it" says "in the running vault too"
node policy show --dir "$d1" --json > "$work/shown.json"
check "policy show tells where a limit comes from" \
    [ "$(json "$work/shown.json" 'v["limits"]["min_sites"]["from"]')" = "policy version 1, line 2" ]
check "and who wrote and approved it" \
    [ "$(json "$work/shown.json" '[(x["edited_by"], x["approved_by"]) for x in v["versions"]]')" = "[('ann', 'bob')]" ]
node policy show --dir "$d1" --text 1 > "$work/kept.yaml"
check "the text is kept byte for byte" cmp -s "$work/kept.yaml" "$work/nine.yaml"
plan "$work/plan-1.yaml" one random_effects
code=0; run "$work/plan-1.yaml" "$work/r1" || code=$?
if [ $code -eq 3 ] && grep -q E2201 "$work/r1"; then pass "the next plan is refused by the new limit"
else fail "the next plan is refused by the new limit ($code)" "$work/r1" "$work/r1.err"; fi
printf '# our board, 13 May: the charter suffices\n{}\n' > "$work/none.yaml"
check "the limit is taken back" code_is 0 node policy edit --dir "$d1" --file "$work/none.yaml" --by ann
check "by two people" code_is 0 node policy approve 2 --dir "$d1" --by bob --json

node policy show --dir "$work/site-04" --json > "$work/shown.json"
check "a file given to the vault is told apart" [ "$(json "$work/shown.json" \
    '(v["limits"]["max_queries_day"]["value"], "nof1-vault was started with" in v["limits"]["max_queries_day"]["from"])')" = "(4.0, True)" ]
# shellcheck disable=SC2016 # the editor expands it
printf '#!/bin/sh\nsed -i "s/^preset:.*/max_queries_epoch: 40/" "$1"\n' > "$work/editor"
chmod +x "$work/editor"
check "an editor is opened on a text to start from" code_is 0 env EDITOR="$work/editor" VISUAL= \
    "$bin/nof1-node" policy edit --dir "$work/site-05" --by ann
check "whose change is shown" says "max_queries_epoch    50 -> 40 (stricter)"

# ---- preview, approve ----------------------------------------------------------------------------
plan "$work/plan-2.yaml" two random_effects
run "$work/plan-2.yaml" "$work/r2" &
client=$!
if waiting; then pass "the plan waits for the steward"; else fail "the plan waits for the steward" "$work/hub.log"; fi
check "a preview of it is shown" code_is 0 node preview "$query" --dir "$d2"
check "with the numbers by name" says "patients"
check "and says that masks are added" says "what leaves is this plus the masks"
node preview "$query" --dir "$d2" --json > "$work/preview.json"
if python3 - "$work/preview.json" "$work/data/sites/site-02.csv" "$work/data/map.yaml" > "$work/out" 2>&1 << 'PY'
import csv, hashlib, json, re, sys
preview = json.load(open(sys.argv[1]))
column = re.search(r"trial: *(\w+)", open(sys.argv[3]).read()).group(1)
patients = len({row[column] for row in csv.DictReader(open(sys.argv[2]))})
zero, one = preview["rounds"]
numbers = {n["name"]: n["value"] for n in zero["numbers"]}
assert numbers["patients"] + numbers["left out"] == patients, (numbers, patients)
assert {n["role"] for n in one["numbers"]} >= {"check", "outcome"}, one
for part in (zero, one):
    raw = bytes.fromhex(part["unmasked"]["hex"])
    assert len(raw) == part["unmasked"]["length"] == 32 * len(part["numbers"])
    for i, number in enumerate(part["numbers"]):  # little-endian, 128 binary places, two's complement
        value = int.from_bytes(raw[32 * i:32 * i + 32], "little", signed=True) / 2 ** 128
        assert abs(value - number["value"]) <= 1e-12 * abs(value), (i, value, number)
    assert hashlib.sha256(raw).hexdigest() == part["unmasked"]["sha256"]
assert "masked" not in preview
PY
then pass "the preview holds this site's own sums and their encoding"
else fail "the preview holds this site's own sums and their encoding" "$work/out" "$work/preview.json"; fi
check "the preview is for the steward alone: nothing was charged" \
    [ "$(node status --dir "$d2" | tr -d ' \n' | grep -o '"queries":[0-9]*' | head -1)" = '"queries":0' ]
check "the steward approves it" code_is 0 node approve "$query" --dir "$d2" --by carol
if wait $client; then pass "then it is answered"; else fail "then it is answered" "$work/r2" "$work/r2.err"; fi
answered=$query

# ---- a refusal is final --------------------------------------------------------------------------
plan "$work/plan-3.yaml" three descriptive
run "$work/plan-3.yaml" "$work/r3" &
client=$!
waiting || fail "the third plan waits"
check "the steward refuses a plan" code_is 0 node refuse "$query" --dir "$d2" --by carol
code=0; wait $client || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/r3"; then pass "which is refused without a reason"
else fail "which is refused without a reason ($code)" "$work/r3" "$work/r3.err"; fi
check "and stays refused" code_is 2 node approve "$query" --dir "$d2" --by dave
check "which is said" says "a refusal is final"

# ---- pause ---------------------------------------------------------------------------------------
plan "$work/plan-4.yaml" four summary_test
run "$work/plan-4.yaml" "$work/r4" &
client=$!
waiting || fail "the fourth plan waits"
check "pause" code_is 0 node pause --dir "$d2" --by carol
lines=$(wc -l < "$work/recorded")
code=0; wait $client || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/r4"; then pass "a pause ends the attempt that waits"
else fail "a pause ends the attempt that waits ($code)" "$work/r4" "$work/r4.err"; fi
sleep 1
node egress --dir "$d2" --json > "$work/egress.json"
check "and nothing but refusals leaves after it" python3 - "$work/egress.json" "$work/recorded" "$lines" << 'PY'
import json, sys
what = {e["digest"]: e["what"] for e in json.load(open(sys.argv[1]))["egress"]}
late = [line.split()[1] for line in open(sys.argv[2])][int(sys.argv[3]):]
sys.exit(any(what[digest] != "refusal" for digest in late))
PY
check "resume" code_is 0 node resume --dir "$d2" --by carol

# ---- everything that left ------------------------------------------------------------------------
node egress --dir "$d2" --json > "$work/egress.json"
if python3 - "$work/egress.json" "$work/recorded" > "$work/out" 2>&1 << 'PY'
import json, sys
listed = {(e["bytes"], e["digest"]) for e in json.load(open(sys.argv[1]))["egress"]}
seen = {(int(size), digest) for size, digest in (line.split() for line in open(sys.argv[2]))}
assert seen <= listed, ("left and not listed", seen - listed)
assert listed <= seen, ("listed and did not leave", listed - seen)
kinds = {e["what"] for e in json.load(open(sys.argv[1]))["egress"]}
assert kinds == {"hello", "key_ad", "masked", "attest", "refusal"}, kinds
print(len(seen))
PY
then pass "what left is the list, digest by digest: $(cat "$work/out") messages of all five kinds"
else fail "what left is the list, digest by digest" "$work/out"; fi
check "with who approved" python3 - "$work/egress.json" "$answered" << 'PY'
import json, sys
rows = [e for e in json.load(open(sys.argv[1]))["egress"] if e.get("query") == sys.argv[2]]
sys.exit(not ({e["what"] for e in rows} == {"key_ad", "masked", "attest"} and
              all(e["approved_by"] == "carol" for e in rows)))
PY
check "from a day on" code_is 0 node egress --dir "$d2" --since 2999-01-01
check "there is nothing yet" says "0 messages"
check "a wrong day is said" code_is 2 node egress --dir "$d2" --since yesterday

# ---- a trial is withdrawn ------------------------------------------------------------------------
patient=$(python3 -c 'import csv, re, sys
column = re.search(r"trial: *(\w+)", open(sys.argv[2]).read()).group(1)
print(next(csv.DictReader(open(sys.argv[1])))[column])' "$work/data/sites/site-03.csv" "$work/data/map.yaml")
node trial queries --patient "$patient" --dir "$d3" --json > "$work/queries.json"
check "trial queries names the analyses that included a trial" \
    [ "$(json "$work/queries.json" '[(q["query"], q["state"]) for q in v["queries"]]')" = "[('$answered', 'completed')]" ]
check "an unknown patient is said" code_is 66 node trial queries --patient nobody --dir "$d3"
check "a patient withdraws" code_is 0 node trial withdraw --patient "$patient" --dir "$d3" --by carol
check "the steward sees the days of the totals" says "  $(date -u +%Y-%m-%d)"
if says "$answered"; then fail "and the days only" "$work/out"; else pass "and the days only"; fi
plan "$work/plan-5.yaml" five random_effects
sed -i "s/^outcome: pain/outcome: attacks/" "$work/plan-5.yaml"
code=0; run "$work/plan-5.yaml" "$work/r5" || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/r5"; then pass "no plan of the epoch is answered any more"
else fail "no plan of the epoch is answered any more ($code)" "$work/r5" "$work/r5.err"; fi
if python3 - "$d3/site.sqlite" "$patient" > "$work/out" 2>&1 << 'PY'
import sqlite3, sys
store = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
for row in store.execute("select * from entry"):
    text = " ".join(v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in row)
    assert sys.argv[2] not in text and sys.argv[2].encode().hex() not in text, text
PY
then pass "no key of the patient is in the ledger"; else fail "no key of the patient is in the ledger" "$work/out"; fi
check "the next freeze of the same file" code_is 0 node freeze "$work/data/sites/site-03.csv" --dir "$d3" \
    --map "$work/data/map.yaml" --site site-03
check "leaves the patient out" says "1 trial left out: withdrawn"
check "the days are still told" code_is 0 node trial withdrawn --dir "$d3"
check "by date only" says "one patient of epoch 1; in totals of: $(date -u +%Y-%m-%d)"
check "and the patient is not frozen" code_is 66 node trial queries --patient "$patient" --dir "$d3"
check "the site answers again" \
    [ "$(node status --dir "$d3" | tr -d ' \n' | grep -o '"stopped":[a-z]*')" = '"stopped":false' ]

# ---- a charter is refused ------------------------------------------------------------------------
sed 's/^version: .*/version: 2/' "$work/charter.yaml" > "$work/charter-2.yaml"
hash=$("$bin/nof1-coordinator" charter sign --dir "$work/hub" --charter "$work/charter-2.yaml" \
    --out "$work/charter-2.json")
check "a charter is refused" code_is 0 node charter refuse "$work/charter-2.json" --dir "$d1" --by ann \
    --reason "not without the board"
check "and not approved any more" code_is 78 node charter approve "$work/charter-2.json" --dir "$d1" --hash "$hash"
check "which names who refused" says "ann refused this charter"
check "another site may" code_is 0 node charter approve "$work/charter-2.json" --dir "$d3" --hash "$hash"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
