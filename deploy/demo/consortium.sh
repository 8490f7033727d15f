# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2154
# A consortium of real programs on loopback, for the demo and the end-to-end tests: sourced, with
# $root (the source tree), $bin (the programs), $work (an empty folder) and $sites (their names) set;
# $address, the coordinator's, may be.
# Every process is in $pids; consortium_end ends them.

pids=""
consortium_end() {
    for pid in $pids; do kill "$pid" 2> /dev/null || true; done
    for pid in $pids; do wait "$pid" 2> /dev/null || true; done
    pids=""
}
consortium_wait() { # FILE WORDS: up to 20 s
    turn=0
    until grep -qF -- "$2" "$1" 2> /dev/null; do
        [ $turn -lt 200 ] || return 1
        sleep 0.1; turn=$((turn + 1))
    done
}
consortium_spki() { openssl pkey -in "$1" -pubout -outform DER | od -An -v -tx1 | tr -d ' \n'; }

# DATA: a folder of nof1 lab new. Makes the authority in $ca, keys and certificates of all, and
# $work/charter.yaml with them.
consortium_enrol() {
    study=$(sed -n 's/^study: *//p' "$1/charter.yaml")
    ca=$work/ca
    "$root/certs/make-ca.sh" "$ca" --study "$study" > /dev/null
    "$root/certs/issue.sh" "$ca" coordinator hub --ip "${address:-127.0.0.1}" > /dev/null
    "$root/certs/issue.sh" "$ca" statistician ada > /dev/null
    "$bin/nof1-coordinator" init --dir "$work/hub" > "$work/hub.spki" 2> /dev/null
    cp "$1/charter.yaml" "$work/charter.yaml"
    for id in $sites; do
        "$root/certs/issue.sh" "$ca" site "$id" > /dev/null
        mkdir -m 700 "$work/$id"
        (umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
            -pkeyopt ec_param_enc:named_curve -out "$work/$id/vault.key" 2> /dev/null)
        sed -i "s|^  $id: {|&edge: \"spiffe://$study/site/$id\", vault_key: $(consortium_spki "$work/$id/vault.key"), |" \
            "$work/charter.yaml"
    done
    cat >> "$work/charter.yaml" << YAML
statisticians:
  ada: {spiffe: "spiffe://$study/statistician/ada", key: $(consortium_spki "$ca/statistician/ada.key")}
coordinator: {id: hub, spiffe: "spiffe://$study/coordinator/hub", key: $(cat "$work/hub.spki")}
YAML
}

# Sign $work/charter.yaml into $work/charter.json; its hash in $hash.
consortium_sign() {
    hash=$("$bin/nof1-coordinator" charter sign --dir "$work/hub" --charter "$work/charter.yaml" \
        --out "$work/charter.json")
}

# DATA: every site approves the charter and freezes its file of DATA/sites.
consortium_freeze() {
    for id in $sites; do
        "$bin/nof1-node" charter approve "$work/charter.json" --dir "$work/$id" --hash "$hash" > "$work/node.out" 2>&1 &&
            "$bin/nof1-node" freeze "$1/sites/$id.csv" --dir "$work/$id" --map "$1/map.yaml" --site "$id" \
                > "$work/node.out" 2>&1 || { cat "$work/node.out"; return 1; }
    done
}

# The coordinator, on a free port: $port; its process: $hub.
consortium_serve() {
    rm -f "$work/port"
    "$bin/nof1-coordinator" serve --dir "$work/hub" --listen 127.0.0.1:0 --ca "$ca/ca.pem" \
        --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --crl "$ca/crl" \
        --charter "$work/charter.json" --port-file "$work/port" 2>> "$work/hub.log" &
    hub=$!
    pids="$pids $hub"
    turn=0
    until [ -s "$work/port" ] || [ $turn -ge 200 ]; do sleep 0.1; turn=$((turn + 1)); done
    port=$(cat "$work/port")
}
consortium_vault() { # SITE [options]
    id=$1; shift
    : > "$work/$id.log"
    "$bin/nof1-vault" --dir "$work/$id" --site "$id" --key "$work/$id/vault.key" \
        --socket "$work/$id/edge.sock" "$@" 2>> "$work/$id.log" &
    pids="$pids $!"
    consortium_wait "$work/$id.log" event=vault.ready || { cat "$work/$id.log"; return 1; }
}
consortium_edge() { # SITE [SOCKET]
    "$bin/nof1-edge" --socket "${2:-$work/$1/edge.sock}" --target "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$ca/site/$1.pem" --key "$ca/site/$1.key" --crl "$ca/crl" 2>> "$work/$1.log" &
    pids="$pids $!"
}
consortium_run() { # PLAN [options]: as the statistician
    plan=$1; shift
    timeout 60 "$bin/nof1" run "$plan" --target "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key" "$@"
}
consortium_waiting() { # SITE: the plan that waits for its steward, up to 20 s: $query
    turn=0 query=""
    while [ -z "$query" ] && [ $turn -lt 200 ]; do
        query=$("$bin/nof1-node" status --dir "$work/$1" 2> /dev/null | tr -d ' \n' |
            grep -oE '"query":"[0-9a-f]{64}","state":"[a-z]*approval' | grep -oE '[0-9a-f]{64}' | head -1 || true)
        sleep 0.1; turn=$((turn + 1))
    done
    [ -n "$query" ]
}
