#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Real processes on loopback: coordinator, vault, edge. Who is let in, who is refused, with which
# reason in the coordinator's log and which advice from the refused program.
# Usage: tls_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1-coordinator nof1-vault nof1-edge; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-tls-XXXXXX)
pids=""
. "$root/tests/e2e/checks.sh"

stop() { # pid: end it and wait for it
    kill "$1" 2> /dev/null || true
    wait "$1" 2> /dev/null || true
}
finish() {
    for pid in $pids; do stop "$pid"; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Wait up to ten seconds for a line with all the words.
wait_line() { # file, words...
    file=$1; shift
    turn=0
    while [ $turn -lt 100 ]; do
        if found=$(cat "$file" 2> /dev/null); then
            for word in "$@"; do found=$(printf '%s\n' "$found" | grep -F -- "$word" || true); done
            [ -n "$found" ] && return 0
        fi
        sleep 0.1; turn=$((turn + 1))
    done
    return 1
}
expect_line() { # name, file, words...
    name=$1 file=$2; shift 2
    if wait_line "$file" "$@"; then pass "$name"; else fail "$name: no line with: $*" "$file"; fi
}
expect_exit() { # name, expected code, words of stderr, command...
    name=$1 code=$2 words=$3; shift 3
    got=0
    "$@" > "$work/out" 2> "$work/err" || got=$?
    if [ "$got" -eq "$code" ] && grep -qF -- "$words" "$work/err"; then pass "$name"; else
        fail "$name: exit $got, expected $code and '$words'" "$work/err"; fi
}

# ---- a consortium of four sites -----------------------------------------------------------------
ca=$work/ca
"$root/certs/make-ca.sh" "$ca" --study tls-test > /dev/null
"$root/certs/issue.sh" "$ca" coordinator hub --ip 127.0.0.1 --dns hub.test > /dev/null
for id in a b c d stranger revoked ada; do "$root/certs/issue.sh" "$ca" site $id > /dev/null; done
"$root/certs/issue.sh" "$ca" statistician ada > /dev/null
"$root/certs/make-ca.sh" "$work/other" --study tls-test > /dev/null
"$root/certs/issue.sh" "$work/other" site a > /dev/null
# A certificate that ended yesterday; the scripts make none.
NOF1_CA_DIR=$ca NOF1_STUDY=tls-test NOF1_NAMES=URI:spiffe://tls-test/site/a
export NOF1_CA_DIR NOF1_STUDY NOF1_NAMES
openssl req -new -config "$root/certs/profiles/ca.cnf" -key "$ca/site/a.key" \
    -subj /O=tls-test/OU=site/CN=a -out "$work/expired.csr" 2> /dev/null
openssl ca -batch -notext -config "$root/certs/profiles/ca.cnf" -md sha256 \
    -extfile "$root/certs/profiles/site.cnf" -extensions extensions -startdate 20200101000000Z \
    -enddate 20200201000000Z -in "$work/expired.csr" -out "$work/expired.pem" 2> /dev/null

spki() { openssl pkey -in "$1" -pubout -outform DER | od -An -v -tx1 | tr -d ' \n'; }
for id in a b c d; do
    mkdir -m 700 "$work/vault-$id"
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve \
        -out "$work/vault-$id/vault.key" 2> /dev/null
    chmod 600 "$work/vault-$id/vault.key"
done
"$bin/nof1-coordinator" init --dir "$work/hub" > "$work/hub.spki" 2> /dev/null
cat > "$work/charter.yaml" << YAML
study: tls-test
version: 1
effective: 2020-01-01T00:00:00Z
preset: ultra-rare
treatments: ["0", "1"]
outcomes:
  y: {kind: continuous, unit: points, bounds: [0, 10], centre: 5, sd_within: 1.5, sd_between: 1}
max_periods: 3
max_cycles: 3
analyses: [random_effects]
sites:
  a: {patient_cap: 20, edge: "spiffe://tls-test/site/a", vault_key: $(spki "$work/vault-a/vault.key")}
  b: {patient_cap: 20, edge: "spiffe://tls-test/site/b", vault_key: $(spki "$work/vault-b/vault.key")}
  c: {patient_cap: 20, edge: "spiffe://tls-test/site/c", vault_key: $(spki "$work/vault-c/vault.key")}
  d: {patient_cap: 20, edge: "spiffe://tls-test/site/revoked", vault_key: $(spki "$work/vault-d/vault.key")}
blocks:
  b1: [a, b, c, d]
statisticians:
  ada: {spiffe: "spiffe://tls-test/statistician/ada", key: $(spki "$ca/statistician/ada.key")}
coordinator: {id: hub, spiffe: "spiffe://tls-test/coordinator/hub", key: $(cat "$work/hub.spki")}
YAML
"$bin/nof1-coordinator" charter sign --dir "$work/hub" --charter "$work/charter.yaml" \
    --out "$work/charter.json" > "$work/charter.hash"

# ---- start --------------------------------------------------------------------------------------
log=$work/hub.log
serve() { # port
    rm -f "$work/port"
    cat > "$work/hub.yaml" << YAML
dir: $work/hub
listen: "[::1]:1" # the option wins
ca: $ca/ca.pem
cert: $ca/coordinator/hub.pem
key: $ca/coordinator/hub.key
crl: $ca/crl
charter: $work/charter.json
port-file: $work/port
YAML
    "$bin/nof1-coordinator" serve --config "$work/hub.yaml" --listen "127.0.0.1:$1" 2>> "$log" &
    hub=$!
    pids="$pids $hub"
    turn=0
    while [ ! -s "$work/port" ] && [ $turn -lt 100 ]; do sleep 0.1; turn=$((turn + 1)); done
    port=$(cat "$work/port")
}
vault() { # id
    "$bin/nof1-vault" --dir "$work/vault-$1" --charter "$work/charter.json" --site "$1" \
        --key "$work/vault-$1/vault.key" --socket "$work/vault-$1/edge.sock" \
        2>> "$work/vault-$1.log" &
    vault_pid=$!
    pids="$pids $vault_pid"
    wait_line "$work/vault-$1.log" event=vault.ready || fail "vault $1 does not start" "$work/vault-$1.log"
}
edge() { # name of the log, vault, certificate, key, more options...
    out=$work/edge-$1.log socket=$work/vault-$2/edge.sock cert=$3 key=$4; shift 4
    "$bin/nof1-edge" --socket "$socket" --target "127.0.0.1:$port" --ca "$ca/ca.pem" \
        --cert "$cert" --key "$key" "$@" 2>> "$out" &
    edge_pid=$!
    pids="$pids $edge_pid"
}
# Dial with openssl, for certificates that nof1-edge itself refuses to use.
dial() { # options...
    (sleep 0.5) | openssl s_client -connect "127.0.0.1:$port" -CAfile "$ca/ca.pem" -alpn h2 "$@" \
        > "$work/dial" 2>&1 || true
}
serve 0
vault a
edge good a "$ca/site/a.pem" "$ca/site/a.key"
good=$edge_pid
expect_line "a site of the charter is let in" "$log" event=link.up site=a
expect_line "its vault knows" "$work/vault-a.log" event=edge.up
expect_line "its edge knows" "$work/edge-good.log" event=link.up

# ---- refused before dialling: the program says what to do ---------------------------------------
edge_command="$bin/nof1-edge --socket $work/none --target 127.0.0.1:$port --ca $ca/ca.pem"
# shellcheck disable=SC2086
{
    expect_exit "no certificate: the edge asks for one" 2 "--cert is missing" \
        $edge_command --key "$ca/site/a.key"
    expect_exit "expired: the edge says so" 77 "ask the consortium's authority for a new certificate" \
        $edge_command --cert "$work/expired.pem" --key "$ca/site/a.key"
    expect_exit "other CA: the edge says so" 77 "check that the CA file is the consortium's" \
        $edge_command --cert "$work/other/site/a.pem" --key "$work/other/site/a.key"
    expect_exit "wrong role: the edge says so" 77 "role statistician" \
        $edge_command --cert "$ca/statistician/ada.pem" --key "$ca/statistician/ada.key"
    expect_exit "another's key: the edge says so" 78 "is not the key of" \
        $edge_command --cert "$ca/site/a.pem" --key "$ca/site/b.key"
    chmod 644 "$ca/site/c.key"
    expect_exit "a key that others can read: the edge says so" 78 "chmod 600" \
        $edge_command --cert "$ca/site/c.pem" --key "$ca/site/c.key"
    chmod 600 "$ca/site/c.key"
    expect_exit "an unknown option" 2 "unknown option --insecure" $edge_command --insecure
}

# ---- refused by the coordinator: the reason stands in its log -----------------------------------
dial
expect_line "no certificate is refused" "$log" event=tls.refused "did not return a certificate"
dial -cert "$work/other/site/a.pem" -key "$work/other/site/a.key"
expect_line "another CA is refused" "$log" event=tls.refused "unable to get local issuer certificate"
dial -cert "$work/expired.pem" -key "$ca/site/a.key"
expect_line "an expired certificate is refused" "$log" event=tls.refused "certificate has expired"
dial -tls1_2 -cert "$ca/site/a.pem" -key "$ca/site/a.key"
expect_line "TLS 1.2 is refused" "$log" event=tls.refused "unsupported protocol"
before=$(grep -c event=tls.refused "$log" || true)
python3 - "$port" << 'PYTHON' > "$work/plain" 2>&1 || true
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
s.settimeout(5)
data = s.recv(100)
print("closed" if data == b"" or data[0] == 0x15 else "answered %r" % data)
PYTHON
sleep 0.5
if grep -q closed "$work/plain" && [ "$(grep -c event=tls.refused "$log")" -gt "$before" ]; then
    pass "plaintext is refused"
else
    fail "plaintext is refused" "$work/plain" "$log"
fi

edge stranger a "$ca/site/stranger.pem" "$ca/site/stranger.key"
expect_line "a certificate not on the charter is refused" "$log" event=tls.refused "not on the charter" site/stranger
expect_line "its edge says whom to ask" "$work/edge-stranger.log" event=link.failed "ask the coordinator's operator"
stop "$edge_pid"
edge role a "$ca/site/ada.pem" "$ca/site/ada.key"
expect_line "the charter's name in another role is refused" "$log" event=tls.refused "not on the charter" site/ada
stop "$edge_pid"

vault b
edge wrong-site b "$ca/site/c.pem" "$ca/site/c.key"
expect_line "a vault behind another site's edge is refused" "$log" event=link.wrong_site certificate=c vault=b
expect_line "its edge says so" "$work/edge-wrong-site.log" event=link.lost "not the site of its certificate"
stop "$edge_pid"

vault d
edge revoked d "$ca/site/revoked.pem" "$ca/site/revoked.key"
revoked=$edge_pid
expect_line "a certificate is good until it is revoked" "$log" event=link.up site=d
"$root/certs/revoke.sh" "$ca" revoked > /dev/null
kill -HUP "$hub"
expect_line "revocation cuts the live stream" "$log" event=link.cut "certificate revoked" site/revoked
expect_line "and refuses the next one" "$log" event=tls.refused "certificate revoked" site/revoked
expect_line "its edge says whom to ask" "$work/edge-revoked.log" event=link.failed "was the certificate revoked"
stop "$revoked"

edge name b "$ca/site/b.pem" "$ca/site/b.key" --server-name elsewhere.test
expect_line "a coordinator of another name is not believed" "$work/edge-name.log" event=link.failed --server-name
stop "$edge_pid"

# ---- through a proxy ----------------------------------------------------------------------------
cat > "$work/proxy.py" << 'PYTHON'
import socket, sys, threading
target, log = int(sys.argv[1]), open(sys.argv[3], "a")
def pump(a, b):
    try:
        while (d := a.recv(65536)): b.sendall(d)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(c):
    head = b""
    while b"\r\n\r\n" not in head: head += c.recv(4096)
    log.write(head.decode().split("\r\n")[0] + "\n"); log.flush()
    s = socket.create_connection(("127.0.0.1", target))
    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    threading.Thread(target=pump, args=(c, s), daemon=True).start(); pump(s, c)
l = socket.create_server(("127.0.0.1", 0))
open(sys.argv[2], "w").write(str(l.getsockname()[1]))
while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
PYTHON
python3 "$work/proxy.py" "$port" "$work/proxy.port" "$work/proxy.log" &
pids="$pids $!"
turn=0
while [ ! -s "$work/proxy.port" ] && [ $turn -lt 50 ]; do sleep 0.1; turn=$((turn + 1)); done
https_proxy=http://127.0.0.1:$(cat "$work/proxy.port") "$bin/nof1-edge" \
    --socket "$work/vault-b/edge.sock" --target "hub.test:$port" --ca "$ca/ca.pem" \
    --cert "$ca/site/b.pem" --key "$ca/site/b.key" 2>> "$work/edge-proxy.log" &
edge_pid=$!
pids="$pids $edge_pid"
expect_line "https_proxy is honoured" "$work/proxy.log" "CONNECT hub.test:$port"
expect_line "and the site is let in through it" "$log" event=link.up site=b
stop "$edge_pid"

# ---- the coordinator's own certificate is renewed ------------------------------------------------
serial() {
    openssl s_client -connect "127.0.0.1:$port" -cert "$ca/site/a.pem" -key "$ca/site/a.key" \
        < /dev/null 2> /dev/null | openssl x509 -noout -serial 2> /dev/null || true
}
old=$(serial)
mkdir "$work/old" && mv "$ca/coordinator/hub.pem" "$ca/coordinator/hub.key" "$work/old/"
"$root/certs/issue.sh" "$ca" coordinator hub --ip 127.0.0.1 --dns hub.test > /dev/null
turn=0
while { new=$(serial); [ -z "$new" ] || [ "$new" = "$old" ]; } && [ $turn -lt 60 ]; do sleep 0.5; turn=$((turn + 1)); done
if [ -n "$old" ] && [ -n "$new" ] && [ "$new" != "$old" ]; then pass "a renewed certificate is used without a restart"
else fail "a renewed certificate is used without a restart: $old, then $new" "$log"; fi

# ---- faults and administration ------------------------------------------------------------------
if "$bin/nof1-coordinator" status --dir "$work/hub" | grep -qF '"a"'; then pass "status names the links"; else fail "status"; fi
ups=$(grep -c 'event=link.up site=a' "$log")
kill -9 "$hub"
wait "$hub" 2> /dev/null || true
serve "$port"
turn=0
while [ "$(grep -c 'event=link.up site=a' "$log")" -le "$ups" ] && [ $turn -lt 150 ]; do sleep 0.1; turn=$((turn + 1)); done
if [ $turn -lt 150 ]; then pass "a killed coordinator is found again"; else fail "a killed coordinator is found again" "$work/edge-good.log"; fi
ups=$(grep -c event=edge.up "$work/vault-a.log")
admin() { # command: one line in, one line out
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
s.sendall(b"{\"command\":\"" + sys.argv[2].encode() + b"\"}\n"); print(s.makefile().readline().strip())' \
        "$work/vault-a/admin.sock" "$1"
}
case $(admin status) in
    *'"ok":true'*'"edge":true'*) pass "the vault's status" ;;
    *) fail "the vault's status: $(admin status)" ;;
esac
case $(admin reload) in *'"ok":true'*) ;; *) fail "reload" ;; esac
turn=0
while [ "$(grep -c event=edge.up "$work/vault-a.log")" -le "$ups" ] && [ $turn -lt 150 ]; do sleep 0.1; turn=$((turn + 1)); done
if [ $turn -lt 150 ]; then pass "a reloaded vault is connected again"; else fail "a reloaded vault is connected again" "$work/vault-a.log" "$work/edge-good.log"; fi
"$bin/nof1-coordinator" revoke --dir "$work/hub" --name spiffe://tls-test/site/a
expect_line "revoke cuts the live stream" "$log" event=link.cut "not on the charter" site/a
expect_exit "a second coordinator on the same folder" 78 "another process uses this folder" \
    "$bin/nof1-coordinator" serve --dir "$work/hub" --listen 127.0.0.1:0 --ca "$ca/ca.pem" \
    --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --charter "$work/charter.json"
expect_exit "a port that is taken" 78 "is the port in use" \
    "$bin/nof1-coordinator" serve --dir "$work/hub3" --listen "127.0.0.1:$port" --ca "$ca/ca.pem" \
    --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --charter "$work/charter.json"
printf 'dir: x\nlisten_to: y\n' > "$work/bad.yaml"
expect_exit "a configuration with an unknown key" 78 "bad.yaml:2" \
    "$bin/nof1-coordinator" serve --config "$work/bad.yaml"
cp "$work/charter.json" "$work/charter2.json"
expect_exit "a charter without signature" 78 "run nof1-coordinator charter sign" \
    "$bin/nof1-coordinator" serve --dir "$work/hub2" --listen 127.0.0.1:0 --ca "$ca/ca.pem" \
    --cert "$ca/coordinator/hub.pem" --key "$ca/coordinator/hub.key" --charter "$work/charter2.json"
expect_exit "a coordinator without options" 78 "dir is missing" "$bin/nof1-coordinator" serve
expect_exit "a vault with another site's key" 3 "E2104" "$bin/nof1-vault" --dir "$work/vault-c" \
    --charter "$work/charter.json" --site c --key "$work/vault-b/vault.key" --socket "$work/c.sock"

clean=true
for pid in $good $hub; do
    kill "$pid"
    code=0; wait "$pid" || code=$?
    [ "$code" -eq 0 ] || { clean=false; echo "     exit $code"; }
done
case $(admin shutdown) in *'"ok":true'*) ;; *) clean=false ;; esac
if $clean; then pass "everybody stops cleanly"; else fail "everybody stops cleanly" "$log"; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
