#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The scripts of certs/: what the certificates may do and may not, that nothing is overwritten, that
# revoked ones are refused. Needs no program of ours. Usage: certs_test.sh [BIN_DIR, unused]
set -u
certs=$(cd "$(dirname "$0")/../../certs" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
passed=0
failed=0

ok() { # text, command...: the command succeeds
    text=$1
    shift
    if "$@" > "$tmp/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $text"
        sed 's/^/    /' "$tmp/output"
    fi
}
no() { # text, expected words, command...: the command fails and says these words
    text=$1 words=$2
    shift 2
    if "$@" > "$tmp/output" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED: $text (the command succeeded)"
    elif grep -q -e "$words" "$tmp/output"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $text (it did not say '$words')"
        sed 's/^/    /' "$tmp/output"
    fi
}
is() { # text, got, wanted
    ok "$1: got '$2', wanted '$3'" test "$2" = "$3"
}
mode() { stat -c %a "$1"; }
field() { # certificate, extension name: its value in one line
    openssl x509 -in "$1" -noout -ext "$2" 2> /dev/null | sed 1d | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}
critical() { # certificate, extension name
    openssl x509 -in "$1" -noout -ext "$2" 2> /dev/null | head -1 | grep -q critical
}
curve() { openssl x509 -in "$1" -noout -text | sed -n 's/.*ASN1 OID: //p'; }
matches() { # certificate, key: same public key
    [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -pubout)" ]
}
with_list() { # list, more arguments of verify
    list=$1
    shift
    openssl verify -CAfile ca/ca.pem -crl_check -CRLfile "$list" "$@"
}

# ---- the authority ----
ok "an authority is made" "$certs/make-ca.sh" ca --study sleep-1
is "mode of the authority's key" "$(mode ca/ca.key)" 600
is "mode of the authority's folder" "$(mode ca)" 700
is "curve of the authority" "$(curve ca/ca.pem)" prime256v1
is "the authority signs members only" "$(field ca/ca.pem basicConstraints)" "CA:TRUE, pathlen:0"
ok "basic constraints are critical" critical ca/ca.pem basicConstraints
is "what the authority's key may do" "$(field ca/ca.pem keyUsage)" "Certificate Sign, CRL Sign"
ok "key usage is critical" critical ca/ca.pem keyUsage
ok "the authority's key is the certificate's" matches ca/ca.pem ca/ca.key
ok "the authority verifies itself" openssl verify -x509_strict -CAfile ca/ca.pem ca/ca.pem
ok "ten years" openssl x509 -in ca/ca.pem -noout -checkend $((3649 * 86400))
hash=$(openssl x509 -in ca/ca.pem -noout -subject_hash)
ok "there is a first list" test -f "ca/crl/$hash.r0"
sum=$(cat ca/ca.key ca/ca.pem | sha256sum)
no "an authority is not overwritten" "nothing was overwritten" "$certs/make-ca.sh" ca --study sleep-1
is "its files are as they were" "$(cat ca/ca.key ca/ca.pem | sha256sum)" "$sum"
ok "the folder's name is the default study" "$certs/make-ca.sh" other
is "the default study" "$(cat other/study)" other
no "a study with a slash" "letters, digits" "$certs/make-ca.sh" bad --study a/b
no "a study with a comma" "letters, digits" "$certs/make-ca.sh" bad --study a,DNS:b
no "days must be a number" "whole number" "$certs/make-ca.sh" bad --days soon
no "days must be positive" "whole number" "$certs/make-ca.sh" bad --days 0
no "the folder above must exist" "does not exist" "$certs/make-ca.sh" none/bad
no "a folder must be named" "see --help" "$certs/make-ca.sh"
ok "a refused authority leaves nothing" test -z "$(find . -maxdepth 1 -name 'bad*')"

# ---- the members ----
ok "a coordinator" "$certs/issue.sh" ca coordinator main --dns c.example.org --dns localhost --ip 127.0.0.1 --ip ::1
for role in site statistician auditor; do
    ok "a $role" "$certs/issue.sh" ca "$role" "one_of.$role-1"
done
for role in coordinator site statistician auditor; do
    id=one_of.$role-1 use="TLS Web Client Authentication" may=sslclient may_not=sslserver
    [ "$role" != coordinator ] || { id=main use="TLS Web Server Authentication" may=sslserver may_not=sslclient; }
    file=ca/$role/$id.pem
    ok "$role: verifies for its use" openssl verify -x509_strict -CAfile ca/ca.pem -purpose $may "$file"
    no "$role: not for the other" "unsuitable certificate purpose" \
        openssl verify -CAfile ca/ca.pem -purpose $may_not "$file"
    no "$role: not under another authority" "error" openssl verify -CAfile other/ca.pem "$file"
    is "$role: extended use" "$(field "$file" extendedKeyUsage)" "$use"
    is "$role: key usage" "$(field "$file" keyUsage)" "Digital Signature"
    ok "$role: key usage is critical" critical "$file" keyUsage
    is "$role: no authority" "$(field "$file" basicConstraints)" "CA:FALSE"
    ok "$role: which is critical" critical "$file" basicConstraints
    is "$role: curve" "$(curve "$file")" prime256v1
    is "$role: mode of the key" "$(mode "${file%.pem}.key")" 600
    ok "$role: the key is the certificate's" matches "$file" "${file%.pem}.key"
    is "$role: subject" "$(openssl x509 -in "$file" -noout -subject)" "subject=O = sleep-1, OU = $role, CN = $id"
    is "$role: one SPIFFE id" "$(field "$file" subjectAltName | grep -o 'URI:[^,]*')" "URI:spiffe://sleep-1/$role/$id"
    ok "$role: a year" openssl x509 -in "$file" -noout -checkend $((364 * 86400))
    no "$role: not longer" "will expire" openssl x509 -in "$file" -noout -checkend $((366 * 86400))
done
is "a site has no other name" "$(field ca/site/one_of.site-1.pem subjectAltName)" "URI:spiffe://sleep-1/site/one_of.site-1"
for name in c.example.org localhost; do
    ok "the coordinator is $name" openssl verify -CAfile ca/ca.pem -verify_hostname $name ca/coordinator/main.pem
done
no "the coordinator is no other host" "ostname mismatch" \
    openssl verify -CAfile ca/ca.pem -verify_hostname d.example.org ca/coordinator/main.pem
for address in 127.0.0.1 ::1; do
    ok "the coordinator is $address" openssl verify -CAfile ca/ca.pem -verify_ip $address ca/coordinator/main.pem
done
ok "days are kept" "$certs/issue.sh" ca site short --days 2
no "two days are short" "will expire" openssl x509 -in ca/site/short.pem -noout -checkend $((3 * 86400))

# ---- a member is no authority ----
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout evil.key -subj /CN=evil -out evil.csr 2> /dev/null
openssl x509 -req -in evil.csr -CA ca/site/short.pem -CAkey ca/site/short.key -CAcreateserial -out evil.pem 2> /dev/null
no "a member cannot certify" "invalid CA certificate" \
    openssl verify -CAfile ca/ca.pem -untrusted ca/site/short.pem evil.pem

# ---- refusals ----
sum=$(cat ca/site/short.key ca/site/short.pem | sha256sum)
no "a certificate is not overwritten" "nothing was overwritten" "$certs/issue.sh" ca site short
is "its files are as they were" "$(cat ca/site/short.key ca/site/short.pem | sha256sum)" "$sum"
mkdir -p ca/auditor && echo mine > ca/auditor/kept.key
no "a key alone is not overwritten either" "nothing was overwritten" "$certs/issue.sh" ca auditor kept
is "the key is as it was" "$(cat ca/auditor/kept.key)" mine
no "an unknown role" "is not coordinator" "$certs/issue.sh" ca admin x
for id in ../x .x -- a/b a,b 'a b' 'a:b' ""; do
    no "the id '$id'" "see --help" "$certs/issue.sh" ca site "$id"
done
no "a coordinator needs a host name" "needs --dns or --ip" "$certs/issue.sh" ca coordinator second
no "a site has no host name" "coordinator only" "$certs/issue.sh" ca site x --dns x.org
no "a host name with another name in it" "is no host name" \
    "$certs/issue.sh" ca coordinator second --dns a,URI:spiffe://sleep-1/site/north
no "a bad address" "is no address" "$certs/issue.sh" ca coordinator second --ip a,DNS:b
no "an address out of range" "not issued" "$certs/issue.sh" ca coordinator second --ip 300.1.1.1
no "longer than the authority" "authority ends before" "$certs/issue.sh" ca site x --days 3700
no "no authority" "is no folder" "$certs/issue.sh" nowhere site x
mkdir empty
no "a folder that is none" "is no authority" "$certs/issue.sh" empty site x
no "an option without value" "needs a value" "$certs/issue.sh" ca site x --days
no "an unknown option" "unknown option" "$certs/issue.sh" ca site x --force
ok "refusals left nothing" test ! -e ca/site/x.pem -a ! -e ca/site/x.key -a ! -e ca/coordinator/second.key
mkdir ca/lock
no "one writer at a time" "in use by another command" "$certs/issue.sh" ca site x
rmdir ca/lock
for script in make-ca issue revoke crl; do
    ok "$script.sh --help" "$certs/$script.sh" --help
    is "$script.sh --help says how" "$("$certs/$script.sh" --help | grep -c "^Usage: $script.sh")" 1
done

# ---- a request: only the key counts ----
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -subj /CN=main -out own.csr \
    -addext "subjectAltName=URI:spiffe://sleep-1/coordinator/main" -addext "basicConstraints=critical,CA:true" \
    -addext "extendedKeyUsage=serverAuth" 2> /dev/null
ok "a request is certified" "$certs/issue.sh" ca site own --csr own.csr
ok "with the owner's key" matches ca/site/own.pem own.key
ok "no key is made" test ! -e ca/site/own.key
is "names come from the command" "$(field ca/site/own.pem subjectAltName)" "URI:spiffe://sleep-1/site/own"
is "rights come from the profile" "$(field ca/site/own.pem basicConstraints) $(field ca/site/own.pem extendedKeyUsage)" \
    "CA:FALSE TLS Web Client Authentication"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout x.key -subj /CN=x -out p384.csr 2> /dev/null
openssl req -new -newkey rsa:2048 -nodes -keyout x.key -subj /CN=x -out rsa.csr 2> /dev/null
openssl req -new -newkey ed25519 -nodes -keyout x.key -subj /CN=x -out ed25519.csr 2> /dev/null
for kind in p384 rsa ed25519; do
    no "a request with a key of kind $kind" "not on the curve" "$certs/issue.sh" ca site "k-$kind" --csr $kind.csr
done
no "no request" "no certificate request" "$certs/issue.sh" ca site x --csr own.key
no "a missing request" "there is no file" "$certs/issue.sh" ca site x --csr nothing.csr

# ---- revoking ----
ok "the first list accepts" with_list "ca/crl/$hash.r0" ca/site/short.pem
first=$(sha256sum < "ca/crl/$hash.r0")
ok "a member is revoked" "$certs/revoke.sh" ca short --reason keyCompromise
is "the new list has a new name" "$(tail -1 "$tmp/output")" "$(cd ca && pwd)/crl/$hash.r1"
is "the old list is untouched" "$(sha256sum < "ca/crl/$hash.r0")" "$first"
no "the new list refuses it" "certificate revoked" with_list "ca/crl/$hash.r1" ca/site/short.pem
ok "and nobody else" with_list "ca/crl/$hash.r1" ca/site/own.pem ca/coordinator/main.pem
ok "the reason is kept" sh -c "openssl crl -in ca/crl/$hash.r1 -noout -text | grep -q 'Key Compromise'"
no "twice is once" "no valid certificate" "$certs/revoke.sh" ca short
no "an unknown member" "no valid certificate" "$certs/revoke.sh" ca nobody
ok "a new list" "$certs/crl.sh" ca --days 3
ok "has the next name" test -f "ca/crl/$hash.r2"
is "only finished lists lie there" "$(find ca/crl -type f | sed 's/.*\.//' | sort | tr '\n' ' ')" "r0 r1 r2 "
no "it refuses too" "certificate revoked" with_list "ca/crl/$hash.r2" ca/site/short.pem
ok "it is the authority's" openssl crl -in "ca/crl/$hash.r2" -noout -verify -CAfile ca/ca.pem
is "its name is the issuer's hash" "$(openssl crl -in "ca/crl/$hash.r2" -noout -hash)" "$hash"
days=$(openssl crl -in "ca/crl/$hash.r2" -noout -nextupdate | cut -d= -f2)
left=$(($(date -d "$days" +%s) - $(date +%s)))
ok "it is valid for the days asked" test "$left" -gt $((3 * 86400 - 600)) -a "$left" -le $((3 * 86400))
mkdir hashed
cp ca/ca.pem "hashed/$hash.0"
cp "ca/crl/$hash".r* hashed/
no "in a folder of lists the newest counts" "certificate revoked" \
    openssl verify -CApath hashed -no-CAfile -no-CAstore -crl_check ca/site/short.pem
ok "for the others too" openssl verify -CApath hashed -no-CAfile -no-CAstore -crl_check ca/site/own.pem
no "a list that has ended refuses everybody" "CRL has expired" \
    with_list "ca/crl/$hash.r2" -attime $(($(date +%s) + 4 * 86400)) ca/site/own.pem

# ---- renewing; one id in two roles ----
mv ca/site/own.pem old.pem
ok "a renewed certificate" "$certs/issue.sh" ca site own
serial=$(openssl x509 -in old.pem -noout -serial | cut -d= -f2)
no "another member's serial" "no valid certificate" "$certs/revoke.sh" ca main --serial "$serial"
ok "the old one is revoked" "$certs/revoke.sh" ca own --serial "$serial" --reason superseded
no "the old one is refused" "certificate revoked" with_list "ca/crl/$hash.r3" old.pem
ok "the new one is not" with_list "ca/crl/$hash.r3" ca/site/own.pem
ok "a person with a site's id" "$certs/issue.sh" ca statistician own
no "which own?" "several roles" "$certs/revoke.sh" ca own
ok "that one" "$certs/revoke.sh" ca statistician/own
no "is revoked" "certificate revoked" with_list "ca/crl/$hash.r4" ca/statistician/own.pem
ok "and the site is not" with_list "ca/crl/$hash.r4" ca/site/own.pem
no "an unknown reason" "unknown reason" "$certs/revoke.sh" ca own --reason bored
no "a bad serial" "hexadecimal" "$certs/revoke.sh" ca own --serial 'x|y'
ok "no command left its lock" test ! -e ca/lock
ok "every key is private" test -z "$(find ca -name '*.key' ! -name kept.key ! -perm 600)"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
