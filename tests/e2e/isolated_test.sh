#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A whole query as the units of deploy/systemd run it, without systemd: every vault under a user of
# its own in a network namespace with no interface that is up, on a read-only file system but for its
# folders, without capabilities; the edges under another user in a second network, which has one
# cable, to the coordinator's, and cannot see the vaults' folders. Then that nobody listens where a
# hospital would have to open a port, and that every system call made is one that the units allow.
# Usage: isolated_test.sh BIN   (folder of the programs); needs root for namespaces
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
for tool in unshare nsenter setpriv prlimit ip; do
    command -v $tool > /dev/null || { echo "skipped: no $tool here"; exit 77; }
done
if [ "$(id -u)" -ne 0 ] || ! unshare -nm --propagation private true 2> /dev/null; then
    echo "skipped: network and mount namespaces are not allowed here"; exit 77
fi
work=$(mktemp -d /tmp/nof1-isolated-XXXXXX)
address=10.77.0.1
. "$root/tests/e2e/checks.sh"
ca="" # consortium_enrol makes it
# shellcheck source=deploy/demo/consortium.sh disable=SC1091
. "$root/deploy/demo/consortium.sh"
networks=""
finish() {
    consortium_end
    for pid in $networks; do kill "$pid" 2> /dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" # no debugger may look into a vault
export ASAN_OPTIONS
vault_user=64101 edge_user=64102 hub_user=64103 group=64110
# LimitMEMLOCK=infinity takes a privilege that even root may lack: then the vaults run without --service
memory="prlimit --memlock=unlimited:unlimited" service=--service
if ! $memory true 2> /dev/null; then
    memory="" service=""
    echo "note: the limit of locked memory cannot be raised here, the vaults run without --service"
fi
drop() { echo "setpriv --reuid $1 --regid $group --clear-groups --bounding-set -all --inh-caps -all --no-new-privs"; }

# ---- two networks with one cable ---------------------------------------------------------------------
new_network() { unshare -n sleep 900 & network=$!; networks="$networks $network"; sleep 0.2; }
new_network; hub_network=$network
new_network; edge_network=$network
in_network() { network=$1; shift; nsenter -t "$network" -n "$@"; }
if ! ip link add nof1hub netns "$hub_network" type veth peer name nof1edge netns "$edge_network" 2> "$work/ip"; then
    echo "skipped: no virtual cables here: $(cat "$work/ip")"; exit 77
fi
in_network "$hub_network" ip link set lo up
in_network "$hub_network" ip addr add $address/30 dev nof1hub
in_network "$hub_network" ip link set nof1hub up
in_network "$edge_network" ip addr add 10.77.0.2/30 dev nof1edge
in_network "$edge_network" ip link set nof1edge up

# ---- the consortium ------------------------------------------------------------------------------------
sites="site-01 site-02 site-03 site-04 site-05"
"$bin/nof1" lab new --sites 5 --trials 40 --seed 5 --design ABAB --out "$work/data" > /dev/null 2>&1
consortium_enrol "$work/data"
consortium_sign || { echo "0 passed, 1 failed"; exit 1; }
if consortium_freeze "$work/data"; then pass "the charter is signed, every site has frozen its data"
else fail "approve and freeze"; fi
chmod 755 "$work"
mkdir -m 755 "$work/bin" # the build may lie where other users may not look
cp "$bin"/nof1-coordinator "$bin"/nof1-vault "$bin"/nof1-edge "$bin"/nof1-node "$bin"/nof1 "$work/bin/"
bin=$work/bin
mkdir -m 755 "$work/edge"
cp -r "$ca" "$work/edge/ca"
chown -R $edge_user:$group "$work/edge"
chmod -R go= "$work/edge/ca"; chmod 700 "$work/edge/ca"
chown -R $hub_user:$group "$work/hub"
cp -r "$ca" "$work/hub/ca"; chown -R $hub_user:$group "$work/hub/ca"
cp "$work/charter.json" "$work/charter.json.sig" "$work/hub/" 2> /dev/null || cp "$work/charter.json" "$work/hub/"
chown -R $hub_user:$group "$work/hub"

# shellcheck disable=SC2046
nsenter -t "$hub_network" -n $(drop $hub_user) "$bin/nof1-coordinator" serve --dir "$work/hub" --listen $address:7443 \
    --ca "$work/hub/ca/ca.pem" --cert "$work/hub/ca/coordinator/hub.pem" --key "$work/hub/ca/coordinator/hub.key" \
    --crl "$work/hub/ca/crl" --charter "$work/hub/charter.json" --port-file "$work/hub/port" > "$work/hub.log" 2>&1 &
pids="$pids $!"
turn=0
until [ -s "$work/hub/port" ] || [ $turn -ge 200 ]; do sleep 0.1; turn=$((turn + 1)); done

# ProtectSystem=strict, StateDirectory, RuntimeDirectory, ProtectHome, PrivateNetwork
cat > "$work/vault.sh" << 'SH'
set -eu
for folder in "$state" "$runtime" "$traces"; do mount --bind "$folder" "$folder"; done
for folder in /home /root; do [ ! -d $folder ] || [ "${bin#"$folder"/}" != "$bin" ] || mount -t tmpfs -o ro,size=4k none $folder; done
mount -o remount,bind,ro /
exec $trace $memory $drop sh -c 'umask 027; echo $$ > "$runtime/pid"; exec "$@"' sh \
    "$bin/nof1-vault" $service --dir "$state" --site "$id" --key "$state/vault.key" \
    --socket "$runtime/edge.sock" --edge-user "$edge_user"
SH
trace="" traces=$work/trace drop=$(drop $vault_user)
mkdir -m 755 "$traces"
export bin memory service drop traces edge_user
for id in $sites; do
    mkdir -m 750 "$work/run-$id"
    chown -R $vault_user:$group "$work/$id" "$work/run-$id"
    if [ "$id" = site-05 ] && command -v strace > /dev/null; then trace="strace -f -qq -o $traces/vault"; fi
    state=$work/$id runtime=$work/run-$id
    export id state runtime trace
    unshare -nm --propagation private sh "$work/vault.sh" > "$work/$id.log" 2>&1 &
    pids="$pids $!"
done
for id in $sites; do
    consortium_wait "$work/$id.log" event=vault.ready ||
        { fail "the vault of $id starts" "$work/$id.log"; echo "$passed passed, $failed failed"; exit 1; }
    # InaccessiblePaths: the vaults' folders
    # shellcheck disable=SC2016,SC2046
    nsenter -t "$edge_network" -n unshare -m --propagation private sh -c 'work=$1; shift
        for folder in "$work"/site-0?; do mount -t tmpfs -o ro,size=4k,mode=000 none "$folder"; done; exec "$@"' \
        sh "$work" $(drop $edge_user) "$bin/nof1-edge" --socket "$work/run-$id/edge.sock" --target $address:7443 \
        --ca "$work/edge/ca/ca.pem" --cert "$work/edge/ca/site/$id.pem" --key "$work/edge/ca/site/$id.key" \
        --crl "$work/edge/ca/crl" --vault-user $vault_user > "$work/$id.edge.log" 2>&1 &
    pids="$pids $!"
done

# ---- a query -----------------------------------------------------------------------------------------------
run() { # plan, output
    in_network "$hub_network" timeout 90 "$bin/nof1" run "$1" --target $address:7443 --ca "$ca/ca.pem" \
        --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key" --json > "$2" 2> "$2.err"
}
if run "$work/data/plan.yaml" "$work/result" && grep -q estimate "$work/result"; then pass "a plan is answered"
else fail "a plan is answered" "$work/result.err" "$work/result" "$work/hub.log" "$work/site-01.log" "$work/site-01.edge.log"; fi

# ---- what each can reach --------------------------------------------------------------------------------------
vault=$(cat "$work/run-site-01/pid")
if [ "$(awk 'NR > 2 { gsub(":", "", $1); print $1 }' "/proc/$vault/net/dev" | grep -cv '^lo$')" -eq 0 ] &&
    [ "$(wc -l < "/proc/$vault/net/route")" -le 1 ] && [ "$(wc -l < "/proc/$vault/net/tcp")" -eq 1 ] &&
    nsenter -t "$vault" -n ip link show lo | grep -q 'state DOWN'; then
    pass "the vault has no interface that is up, no route, no TCP socket"
else fail "the vault has a network" "/proc/$vault/net/dev" "/proc/$vault/net/route"; fi
if grep -q "^Uid:[[:space:]]*$vault_user" "/proc/$vault/status" && grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$vault/status" &&
    grep -q '^Seccomp:[[:space:]]*2' "/proc/$vault/status" &&
    { [ -z "$service" ] || awk '/^VmLck/ { exit !($2 > 1024) }' "/proc/$vault/status"; }; then
    pass "it is a user of its own without a capability, with a filter${service:+ and locked memory}"
else fail "the vault's privileges" "/proc/$vault/status"; fi
if nsenter -t "$vault" -m sh -c "touch /etc/nof1 /var/nof1 $work/nof1 $root/nof1" 2> /dev/null; then fail "it could write elsewhere"
else pass "not even root could write elsewhere in its file system"; fi
listening=$(in_network "$edge_network" cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A"' | wc -l)
talking=$(in_network "$edge_network" cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "01" { print $3 }' | sort -u | tr '\n' ' ')
if [ "$listening" -eq 0 ] && [ "$(echo "$talking" | wc -w)" -eq 1 ]; then pass "the edges listen nowhere and talk to the coordinator alone"
else fail "the edges' sockets: $listening listen, peers $talking"; fi

# ---- the steward stops everything -----------------------------------------------------------------------------------
$(drop $vault_user) "$bin/nof1-node" pause --dir "$work/site-01" > "$work/out" 2>&1 || fail "pause" "$work/out"
sed -e 's/^analysis:.*/analysis: summary_test/' -e '/^method:/d' -e '/^test:/d' "$work/data/plan.yaml" > "$work/other.yaml"
code=0; run "$work/other.yaml" "$work/refused" || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/refused"; then pass "a paused site answers nothing"; else fail "a paused site answers ($code)" "$work/refused"; fi

# ---- a decision that the vault was never told of: the command died before it could ask it to read again ----------------
$(drop $vault_user) "$bin/nof1-node" resume --dir "$work/site-01" > "$work/out" 2>&1 || fail "resume" "$work/out"
patient=$(sed -n '2s/,.*//p' "$work/data/sites/site-02.csv")
code=0
$(drop $vault_user) "$bin/nof1-node" trial withdraw --patient "$patient" --dir "$work/site-02" --by carol \
    --admin "$work/nowhere" > "$work/out" 2>&1 || code=$?
if [ $code -ne 0 ] && grep -q 'is stored' "$work/out"; then pass "a withdrawal is stored, the vault cannot be told"; else fail "withdraw ($code)" "$work/out"; fi
sed 's/^title:.*/title: again/' "$work/other.yaml" > "$work/third.yaml"
code=0; run "$work/third.yaml" "$work/stopped" || code=$?
if [ $code -eq 3 ] && grep -q E2313 "$work/stopped"; then pass "it holds all the same"; else fail "a withdrawn patient's site answers ($code)" "$work/stopped"; fi

# ---- system calls, against the filter of the unit ---------------------------------------------------------------------
if [ -s "$work/trace/vault" ] && command -v systemd-analyze > /dev/null; then
    kill -TERM "$(cat "$work/run-site-05/pid")"; sleep 0.5
    if python3 - "$work/trace/vault" "$root/deploy/systemd/nof1-vault.service" > "$work/calls" << 'PY'
import re, subprocess, sys

def members(name, seen=()):
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True).stdout
    words = [line.strip() for line in text.splitlines()[1:] if not line.strip().startswith("#")]
    found = set()
    for word in filter(None, words):
        found |= members(word) if word.startswith("@") else {word}
    return found

allowed = members("@default")
for line in open(sys.argv[2]):
    name, _, value = line.strip().partition("=")
    if name == "SystemCallFilter":
        denied = value.startswith("~")
        for word in value.lstrip("~").split():
            allowed = allowed - members(word) if denied else allowed | members(word)
used, started = {}, False
for line in open(sys.argv[1]):
    call = re.match(r"\d+\s+(\w+)\((.*)", line)
    if call and call[1] == "execve" and re.match(r'"[^"]*/nof1-vault"', call[2]):
        started = True
    elif call and started:
        used.setdefault(call[1], call[2])
outside = sorted(set(used) - allowed)
print(f"{len(used)} different calls; outside the filter: {' '.join(outside) or 'none'}")
sys.exit(bool(outside) or len(used) < 20)
PY
    then pass "the vault's system calls are those of its unit: $(cat "$work/calls")"
    else fail "system calls that the unit denies" "$work/calls"; fi
else echo "note: no strace or systemd-analyze here, system calls are not compared with the units'"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
