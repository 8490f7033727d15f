#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The life of a charter with real processes over mutual TLS: written, signed, approved, asked under;
# a later version that a steward refuses; one that all approve, with the coordinator killed after it
# was published, in which a site joins a block and another one leaves.
# Usage: charter_test.sh BIN   (folder of the programs)
# shellcheck disable=SC2154 # names set by consortium.sh
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-charter-XXXXXX)
port=0
. "$root/tests/e2e/checks.sh"
. "$root/deploy/demo/consortium.sh"
finish() {
    consortium_end
    [ "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
until_true() { # command: up to 20 s
    turn=0
    until "$@" 2> /dev/null; do
        [ $turn -lt 200 ] || return 1
        sleep 0.1; turn=$((turn + 1))
    done
}
node() { "$bin/nof1-node" "$@"; }
coordinator() { "$bin/nof1-coordinator" "$@"; }

# ---- keys, certificates, the first version -------------------------------------------------------
"$bin/nof1" lab new --sites 8 --trials 64 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
ca=$work/ca
"$root/certs/make-ca.sh" "$ca" --study pain > /dev/null
"$root/certs/issue.sh" "$ca" coordinator hub --ip 127.0.0.1 > /dev/null
"$root/certs/issue.sh" "$ca" statistician ada > /dev/null
coordinator init --dir "$work/hub" > /dev/null 2>&1
mkdir "$work/first" "$work/later"
for n in 1 2 3 4 5 6 7 8; do
    id=site-0$n folder=first
    [ $n -lt 8 ] || folder=later
    "$root/certs/issue.sh" "$ca" site $id > /dev/null
    mkdir -m 700 "$work/$id"
    (umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt ec_param_enc:named_curve -out "$work/$id/vault.key" 2> /dev/null)
    openssl pkey -in "$work/$id/vault.key" -pubout -out "$work/$folder/$id.pem"
done
new() { coordinator charter new --out "$@"; }
sign() { coordinator charter sign --dir "$work/hub" --charter "$1.yaml" --out "$1.json"; }
check "a charter is written from a few answers" code_is 0 new "$work/v1.yaml" --dir "$work/hub" --study pain \
    --treatments A,B --outcomes pain:continuous:0:10:0.1:points,attacks:count:0:14 --preset ultra-rare \
    --sites "$work/first" --block-size 3 --statisticians "$ca/statistician" --coordinator hub
check "and not written over" code_is 2 new "$work/v1.yaml" --dir "$work/hub" --study pain --treatments A,B \
    --outcomes pain:binary --sites "$work/first"
sed -i 's/^  max_queries_day: 3 /  max_queries_day: 6 /' "$work/v1.yaml"
hash1=$(sign "$work/v1")
check "it can be signed as it is" [ ${#hash1} -eq 64 ]
approve_and_freeze() { # site, charter, hash
    node charter approve "$2" --dir "$work/$1" --hash "$3" --by ann > "$work/out" 2>&1 &&
        node freeze "$work/data/sites/$1.csv" --dir "$work/$1" --map "$work/data/map.yaml" --site "$1" >> "$work/out" 2>&1
}
serve() { # options: until it listens, on the same port again
    rm -f "$work/port"
    "$bin/nof1-coordinator" serve --dir "$work/hub" --listen "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --crl "$ca/crl" \
        --port-file "$work/port" "$@" 2>> "$work/hub.log" &
    hub=$!
    pids="$pids $hub"
    until_true [ -s "$work/port" ] || fail "the coordinator starts" "$work/hub.log"
    port=$(cat "$work/port")
}
serve --charter "$work/v1.json"
good=true
for n in 1 2 3 4 5 6 7; do
    approve_and_freeze site-0$n "$work/v1.json" "$hash1" || { good=false; cat "$work/out"; }
    consortium_vault site-0$n
    consortium_edge site-0$n
done
check "every site approves it and freezes" $good
run() { # outcome, analysis: the answer in $work/answer
    printf 'plan: 1\ntitle: %s\noutcome: %s\ntreatment: {reference: A, active: [B]}\nanalysis: %s\n' \
        "$1 by $2" "$1" "$2" > "$work/plan.yaml"
    consortium_run "$work/plan.yaml" --json > "$work/answer" 2> "$work/out"
}
check "a plan is answered under it" run pain random_effects
answers() { # approved, refused, received, not_received: the sites of which the status says that
    coordinator status --dir "$work/hub" | python3 -c 'import json, sys
print(" ".join(json.load(sys.stdin)["charter"].get("published", {}).get(sys.argv[1], [])))' "$1"
}
answered() { [ "$(answers "$1")" = "$2" ]; }

# ---- a later version that is refused -------------------------------------------------------------
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
check "one site is no block" code_is 2 new "$work/x.yaml" --from "$work/v1.json" --sites "$work/later" --add-site site-08
new "$work/no.yaml" --from "$work/v1.json" --effective "$(now)" 2> /dev/null
sed -i 's/^  max_queries_day: 6 /  max_queries_day: 9 /' "$work/no.yaml"
no=$(sign "$work/no")
check "a later version is published" code_is 0 coordinator charter publish --dir "$work/hub" --charter "$work/no.json"
six="site-01 site-02 site-03 site-04 site-05 site-06"
check "every site receives it" until_true answered received "$six site-07"
node charter show --dir "$work/site-02" > "$work/out"
check "where it is offered, not approved" says "version 2: offered, not approved"
check "with what it changes" says "limits.max_queries_day: 6 -> 9"
check "a steward refuses it" code_is 0 node charter refuse --dir "$work/site-02" --hash "$no" --by bob --reason "nine are too many"
check "the coordinator sees that" until_true answered refused site-02
if grep -rqs "nine are too many" "$work/hub" "$work/hub.log"; then fail "but not why"; else pass "but not why"; fi
node charter show --dir "$work/site-02" > "$work/out"
check "the site's list says it" says "version 2: refused by bob"
check "it cannot be approved there any more" code_is 78 node charter approve --dir "$work/site-02" --hash "$no"
check "the version in force goes on" run pain descriptive

# ---- one that all approve: a site joins a block, another leaves -----------------------------------
soon=$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ) # those who approve before go over by themselves
check "the next is written from the one in force" code_is 0 new "$work/v2.yaml" --from "$work/v1.json" --effective "$soon" \
    --sites "$work/later" --add-site site-08 --block b1 --remove-site site-07
check "and says what a leaving site means" says "block b2 is in no plan any more"
hash2=$(sign "$work/v2")
kill -STOP "$hub" # published, and not one byte of it sent
"$bin/nof1-coordinator" charter publish --dir "$work/hub" --charter "$work/v2.json" > /dev/null 2>&1 &
publisher=$!
until_true grep -q "$hash2" "$work/hub/offered" || fail "the version is stored"
kill -KILL "$hub"
wait "$hub" 2> /dev/null || true
wait "$publisher" 2> /dev/null || true
serve
check "a coordinator that was killed after publishing offers it" until_true answered received "$six"
node charter show --dir "$work/site-01" > "$work/out"
check "the site that joins is shown" says "+ sites.site-08: "
check "and the one that leaves" says "has left, at most"
check "a wrong hash approves nothing" code_is 66 node charter approve --dir "$work/site-01" --hash "$hash1"
good=true
for n in 1 2 3 4 5 6; do
    node charter approve --dir "$work/site-0$n" --hash "$hash2" --by ann > "$work/out" 2>&1 || { good=false; cat "$work/out"; }
done
check "six sites approve it" $good
check "the one that leaves has nothing to approve" code_is 78 node charter approve --dir "$work/site-07" --hash "$hash2"
in_force() { coordinator status --dir "$work/hub" | grep -q "\"in_force\":{[^}]*$1"; }
check "it is not in force before the joining site has approved it" in_force "$hash1"
approve_and_freeze site-08 "$work/v2.json" "$hash2" || cat "$work/out"
consortium_vault site-08
consortium_edge site-08
check "and is then" until_true in_force "$hash2"
check "a plan of an outcome never asked is answered" run attacks random_effects
check "with the joining site, without the block that lost one" python3 - "$work/answer" << 'PY'
import json, re, sys
sites = sorted(json.loads(line) for line in set(re.findall(r'"site": *("site-0[0-9]")', open(sys.argv[1]).read())))
sys.exit(sites != ["site-01", "site-02", "site-03", "site-08"])
PY
code=0; run pain summary_test || code=$?
if [ $code -eq 3 ] && grep -q E2210 "$work/answer"; then pass "one whose difference would be the joining site is refused"
else fail "one whose difference would be the joining site is refused ($code)" "$work/out" "$work/answer"; fi
gone() { ! coordinator status --dir "$work/hub" | grep -q '"links":\[[^]]*site-07'; }
check "the site that left is let in no more" until_true gone

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
