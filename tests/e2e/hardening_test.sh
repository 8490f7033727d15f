#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The vault takes from itself what it promises not to have, whoever starts it; the units take more.
# Usage: hardening_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
[ -x "$bin/nof1-vault" ] || { echo "no nof1-vault in $bin"; exit 77; }
work=$(mktemp -d /tmp/nof1-hardening-XXXXXX)
vault=""
trap 'if [ -n "$vault" ]; then kill -9 $vault 2> /dev/null || true; fi; rm -rf "$work"' EXIT
. "$root/tests/e2e/checks.sh"

# ---- units ------------------------------------------------------------------------------------------
if command -v systemd-analyze > /dev/null; then
    for unit in vault edge coordinator; do
        score=$(systemd-analyze security --offline=true "$root/deploy/systemd/nof1-$unit.service" |
            sed -n 's/.*exposure level for [^:]*: \([0-9.]*\) .*/\1/p')
        if [ -n "$score" ] && awk "BEGIN { exit !($score <= 1.5) }"; then pass "exposure of nof1-$unit.service: $score"
        else fail "exposure of nof1-$unit.service: $score, more than 1.5"; fi
    done
else echo "note: no systemd-analyze here, the units are not scored"; fi

# ---- the service asks for locked memory -----------------------------------------------------------------
if command -v prlimit > /dev/null && { [ "$(id -u)" -ne 0 ] || command -v setpriv > /dev/null; }; then
    mkdir -m 700 "$work/site"
    as=""
    if [ "$(id -u)" -eq 0 ]; then
        chmod 711 "$work"; chown 65534:65534 "$work/site"; as="setpriv --reuid 65534 --regid 65534 --clear-groups"
    fi
    code=0
    (exec prlimit --memlock=65536 $as "$bin/nof1-vault" --service --dir "$work/site" --site x --key x \
        --socket "$work/site/edge.sock") > "$work/out" 2>&1 || code=$?
    if [ $code -eq 78 ] && grep -q LimitMEMLOCK "$work/out"; then pass "--service refuses memory that cannot be locked"
    else fail "--service refuses memory that cannot be locked ($code): $(cat "$work/out")"; fi
fi

# ---- a running vault, in a network namespace of its own when that is allowed ---------------------------------
isolate=""
if unshare -n true 2> /dev/null; then isolate="unshare -n"; else echo "note: no network namespaces here"; fi
"$bin/nof1" lab new --sites 5 --trials 30 --seed 2 --out "$work/data" > /dev/null 2>&1
spki() { openssl pkey -in "$1" -pubout -outform DER | od -An -v -tx1 | tr -d ' \n'; }
"$bin/nof1-coordinator" init --dir "$work/hub" > "$work/spki" 2> /dev/null
mkdir -m 700 "$work/v"
(umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
    -pkeyopt ec_param_enc:named_curve -out "$work/v/vault.key" 2> /dev/null)
(umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
    -pkeyopt ec_param_enc:named_curve -out "$work/ada.key" 2> /dev/null)
cp "$work/data/charter.yaml" "$work/charter.yaml"
for n in 1 2 3 4 5; do
    key=$work/v/vault.key
    if [ $n -gt 1 ]; then
        key=$work/$n.key
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve \
            -out "$key" 2> /dev/null
    fi
    sed -i "s|^  site-0$n: {|&edge: \"spiffe://x/site/$n\", vault_key: $(spki "$key"), |" "$work/charter.yaml"
done
cat >> "$work/charter.yaml" << YAML
statisticians:
  ada: {spiffe: "spiffe://x/statistician/ada", key: $(spki "$work/ada.key")}
coordinator: {id: hub, spiffe: "spiffe://x/coordinator/hub", key: $(cat "$work/spki")}
YAML
"$bin/nof1-coordinator" charter sign --dir "$work/hub" --charter "$work/charter.yaml" \
    --out "$work/v/charter.json" > /dev/null
$isolate "$bin/nof1-vault" --dir "$work/v" --site site-01 --key "$work/v/vault.key" \
    --socket "$work/v/edge.sock" 2> "$work/log" &
vault=$!
turn=0
until [ -S "$work/v/admin.sock" ] || [ $turn -ge 100 ]; do sleep 0.1; turn=$((turn + 1)); done
state=/proc/$vault/status
if grep -q '^Seccomp:[[:space:]]*2' "$state"; then pass "a filter of system calls is on"; else fail "no filter: $(cat "$work/log")"; fi
if grep -q '^NoNewPrivs:[[:space:]]*1' "$state"; then pass "no new privileges"; else fail "new privileges"; fi
if grep -q '^Max core file size *0  *0 ' "/proc/$vault/limits"; then pass "core files are off"; else fail "core files are on"; fi
if awk '/^VmLck/ { exit !($2 > 1024) }' "$state"; then pass "memory is locked: $(awk '/^VmLck/ { print $2, $3 }' "$state")"
elif grep -q memory.not_locked "$work/log"; then pass "memory is not locked, and the log says so"
else fail "memory is not locked"; fi
if [ -S "$work/v/edge.sock" ] && kill -0 $vault; then
    sockets=$(wc -l < "/proc/$vault/net/tcp")
    if [ -z "$isolate" ] || [ "$sockets" -eq 1 ]; then pass "it runs and listens without a network"; else fail "TCP sockets in its namespace"; fi
else fail "it does not listen"; fi
if [ "$(id -u)" -eq 0 ] && command -v setpriv > /dev/null; then
    chmod 711 "$work"
    edge="setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all"
    if $edge cat "$work/v/secret" > /dev/null 2>&1 || $edge cat "$work/v/site.sqlite" > /dev/null 2>&1 ||
        $edge cat "/proc/$vault/environ" > /dev/null 2>&1; then
        fail "the edge's user can read what the vault has"
    else pass "another user, as the edge is, reads neither the vault's files nor its memory"; fi
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
