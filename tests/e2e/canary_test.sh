#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Nothing of a patient leaves a vault. Every id, outcome, covariate and time of the sites' files is
# unique; real programs over TLS release a result, refuse, are killed, crash and start again. Then
# everything outside the vaults' own folders is searched for each value as text, base64, hex,
# binary64, the wire's fixed point and SHA-256: both directions of every vault's socket, packets on
# the loopback interface (as root), stores of the coordinator, logs, status, results, core files and,
# with NOF1_CANARY_MEMORY=1 and as root, the memory of the coordinator and of an edge.
# Usage: canary_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-canary-XXXXXX)
out=$work/out # what anybody outside the vaults could see
sites="site-01 site-02 site-03 site-04 site-05"
pids="" relays=""
finish() {
    for pid in $pids $relays; do kill -9 "$pid" 2> /dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
. "$root/tests/e2e/checks.sh"
. "$root/deploy/demo/consortium.sh"
mkdir "$out" "$work/leak" "$work/cores"
canary() { python3 "$here/canary/canary.py" "$@"; }

# ---- values and patterns; the search finds what is planted outside ---------------------------------
"$bin/nof1" lab new --sites 5 --trials 40 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
canary plant "$work/data" "$work/patterns"
cc -O2 -o "$work/scan" "$here/canary/scan.c"
planted=$(canary leak "$work/patterns" "$work/leak")
found=$("$work/scan" "$work/patterns" "$work/leak"/* | awk 'NF == 2 { print $1 }' | sort -u | wc -l)
if [ "$planted" -gt 100 ] && [ "$found" -eq "$planted" ]; then pass "all $planted planted leaks are found"
else fail "of $planted planted leaks $found are found"; fi

# ---- the consortium ---------------------------------------------------------------------------------
sed -i 's/quantum: 0\.1,/quantum: 0.000000001,/' "$work/data/charter.yaml"
consortium_enrol "$work/data"
consortium_sign
consortium_freeze "$work/data" || fail "the sites freeze"
for id in $sites; do
    python3 "$here/canary/canary.py" relay "$work/$id.sock" "$work/$id/edge.sock" "$out/$id.socket" & relays="$relays $!"
done
if [ "$(id -u)" -eq 0 ]; then python3 "$here/canary/canary.py" lo "$out/loopback" 2> "$work/lo.err" & relays="$relays $!"; fi

# ---- programs ---------------------------------------------------------------------------------------
# shellcheck disable=SC3045
ulimit -c unlimited 2> /dev/null || true
cd "$work/cores" # where a core file would be
start_hub() { # address
    "$bin/nof1-coordinator" serve --dir "$work/hub" --listen "$1" --ca "$ca/ca.pem" \
        --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --crl "$ca/crl" \
        --charter "$work/charter.json" --port-file "$work/port" >> "$out/hub.log" 2>&1 &
    hub=$!
    pids="$pids $hub"
    turn=0
    until [ -s "$work/port" ] || [ $turn -ge 100 ]; do sleep 0.1; turn=$((turn + 1)); done
    port=$(cat "$work/port")
}
start_vault() { # site
    rm -f "$work/$1/edge.sock" # one that was killed leaves it behind
    "$bin/nof1-vault" --dir "$work/$1" --site "$1" --key "$work/$1/vault.key" \
        --socket "$work/$1/edge.sock" >> "$out/$1.vault.log" 2>&1 &
    vault=$!
    pids="$pids $vault"
    turn=0
    until [ -S "$work/$1/edge.sock" ] || [ $turn -ge 100 ]; do sleep 0.1; turn=$((turn + 1)); done
}
start_edge() { # site
    GRPC_VERBOSITY=DEBUG GRPC_TRACE=http,api "$bin/nof1-edge" --socket "$work/$1.sock" \
        --target "127.0.0.1:$port" --ca "$ca/ca.pem" --cert "$ca/site/$1.pem" \
        --key "$ca/site/$1.key" --crl "$ca/crl" >> "$out/$1.edge.log" 2>&1 &
    edge=$!
    pids="$pids $edge"
}
run() { # output, plan
    timeout 30 "$bin/nof1" run "$2" --target "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key" --json > "$out/$1" 2> "$out/$1.err"
}
end() { # signal, process
    kill "-$1" "$2"
    wait "$2" 2> /dev/null || true
}
start_hub 127.0.0.1:0
for id in $sites; do
    start_vault "$id"; start_edge "$id"
done

# ---- a release; refusals ----------------------------------------------------------------------------
plan=$work/data/plan.yaml
sed -e 's/^analysis:.*/analysis: summary_test/' -e '/^method:/d' -e '/^test:/d' "$plan" > "$work/other.yaml"
sed 's/^outcome: .*/outcome: ache/' "$plan" > "$work/unknown.yaml"
start=$(date +%s%N)
if run released "$plan"; then pass "a result is released ($((($(date +%s%N) - start) / 1000000)) ms)"
else fail "a result is released" "$out/released.err" "$out/released" "$out/hub.log" "$out/site-01.vault.log"; fi
"$bin/nof1-node" pause --dir "$work/site-03" > /dev/null
code=0; run paused "$work/other.yaml" || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$out/paused"; then pass "a paused site refuses"; else fail "a paused site refuses" "$out/paused.err"; fi
"$bin/nof1-node" resume --dir "$work/site-03" > /dev/null
code=0; run unknown "$work/unknown.yaml" || code=$?
if [ $code -ne 0 ]; then pass "a plan of an unknown outcome is refused"; else fail "a plan of an unknown outcome is refused"; fi

# ---- killed in the middle, and crashed: no core file ---------------------------------------------------
run killed "$work/other.yaml" &
running=$!
sleep 0.1
for victim in $vault $edge $hub; do end 9 "$victim"; done
pass "vault, edge and coordinator are killed in a query"
start_hub "127.0.0.1:$port"
start_vault site-05; start_edge site-05
wait $running 2> /dev/null || true
turn=0 # the edge is up: killed before its first statement it would leave an empty program's core file
until [ "$(grep -c event=link.up "$out/site-05.edge.log")" -ge 2 ] || [ $turn -ge 100 ]; do sleep 0.1; turn=$((turn + 1)); done
if grep -q '^Max core file size *0 ' "/proc/$vault/limits"; then
    pass "the vault's limit of core files is 0"
else fail "the vault's limit of core files is 0" "/proc/$vault/limits"; fi
if [ "$(id -u)" -eq 0 ] && [ -n "${NOF1_CANARY_MEMORY:-}" ]; then # a long variant: what the two programs outside the vaults hold in memory
    for pid in $hub $edge; do
        python3 - "$pid" "$out/memory.$pid" << 'PY' || true
import re, sys
with open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory, open(sys.argv[2], "wb") as kept:
    for line in open(f"/proc/{sys.argv[1]}/maps"):
        start, stop, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        size = int(stop, 16) - int(start, 16)
        if mode.startswith("rw") and size <= 1 << 28:
            try:
                memory.seek(int(start, 16))
                kept.write(memory.read(size))
            except (OSError, ValueError):
                pass
PY
        [ -s "$out/memory.$pid" ] || fail "the memory of process $pid can be read"
    done
fi
for victim in $vault $edge $hub; do end SEGV "$victim"; done
if [ -z "$(ls -A "$work/cores")" ]; then pass "a crash of vault, edge or coordinator leaves no core file"
else
    fail "a crash leaves $(ls "$work/cores")"
    for core in "$work/cores"/*; do file "$core" || true; done
fi
start_hub "127.0.0.1:$port"
start_vault site-05; start_edge site-05
if run again "$work/other.yaml"; then pass "after restarts a plan is answered"
else fail "after restarts a plan is answered" "$out/again.err" "$out/hub.log"; fi
for id in $sites; do "$bin/nof1-node" status --dir "$work/$id" > "$out/$id.status" 2>&1 || true; done

# ---- the search ---------------------------------------------------------------------------------------
cp -r "$work/hub" "$work/charter.json" "$work/ca" "$out/"
find "$out" "$work/cores" -type f > "$work/files"
# shellcheck disable=SC2046
if "$work/scan" "$work/patterns" $(cat "$work/files") > "$work/hits"; then pass "nothing outside the vaults: $(tail -1 "$work/hits")"
else fail "found outside the vaults" "$work/hits"; fi
for kind in socket vault.log edge.log status; do
    size=$(cat "$out"/*."$kind" | wc -c)
    [ "$size" -gt 200 ] || fail "only $size bytes of $kind were searched"
done
if [ "$(id -u)" -eq 0 ] && [ ! -s "$out/loopback" ]; then echo "note: packets of the loopback interface cannot be captured here"; fi
# the values are in the vaults, in the form in which they are stored: the same search finds them there
if "$work/scan" "$work/patterns" "$work/site-01/site.sqlite" "$work/site-01/site.sqlite-wal" > "$work/inside" 2>&1; then
    fail "the search finds nothing in a vault's own store either"
else pass "in a vault's own store they are found: $(tail -1 "$work/inside")"; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
