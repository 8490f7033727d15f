#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Issue a certificate for one member of a consortium: spiffe://STUDY/ROLE/ID.
#
# Usage: issue.sh DIR ROLE ID [--days N] [--dns NAME]... [--ip ADDR]... [--csr FILE]
#   ROLE        coordinator, site, statistician or auditor
#   --days N    how long it is valid (default 365; never longer than the authority)
#   --dns NAME  coordinator only, repeatable: the host name that the sites connect to
#   --ip ADDR   coordinator only, repeatable: the address that the sites connect to
#   --csr FILE  certify the key of this request, so that the private key never leaves its owner;
#               only the key is taken from the request, every name comes from this command
#
# Writes DIR/ROLE/ID.pem and, without --csr, the private key DIR/ROLE/ID.key (mode 0600).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=certs/common.sh
. "$here/common.sh"

authority="" role="" id="" days=365 hosts="" request=""
while [ $# -gt 0 ]; do
    case $1 in
        --days | --dns | --ip | --csr) [ $# -ge 2 ] || usage_error "$1 needs a value" ;;
    esac
    case $1 in
        --days) days=$2; shift 2 ;;
        --dns)
            # A comma or a colon here would smuggle in another name.
            case $2 in
                "" | [!A-Za-z0-9]* | *[!A-Za-z0-9.-]*) usage_error "'$2' is no host name" ;;
            esac
            hosts=$hosts,DNS:$2; shift 2 ;;
        --ip)
            case $2 in
                "" | *[!0-9A-Fa-f.:]*) usage_error "'$2' is no address" ;;
            esac
            hosts=$hosts,IP:$2; shift 2 ;;
        --csr) request=$2; shift 2 ;;
        -h | --help) help ;;
        -*) usage_error "unknown option $1" ;;
        *)
            if [ -z "$authority" ]; then authority=$1
            elif [ -z "$role" ]; then role=$1
            elif [ -z "$id" ]; then id=$1
            else usage_error "too many words: $1"; fi
            shift ;;
    esac
done
[ -n "$id" ] || usage_error "name the authority's folder, the role and the id"
case $role in
    coordinator)
        [ -n "$hosts" ] || usage_error "a coordinator needs --dns or --ip: sites check the name they connect to"
        purpose=sslserver ;;
    site | statistician | auditor)
        [ -z "$hosts" ] || usage_error "--dns and --ip are for the coordinator only: nobody connects to a $role"
        purpose=sslclient ;;
    *) usage_error "the role '$role' is not coordinator, site, statistician or auditor" ;;
esac
check_word id "$id" 64
check_days "$days"
[ -z "$request" ] || [ -f "$request" ] || fail "there is no file $request"

open_authority "$authority"
certificate=$dir/$role/$id.pem
key=$dir/$role/$id.key
for file in "$certificate" "$key"; do
    [ ! -e "$file" ] || fail "$file exists already; to renew, move it away first (nothing was overwritten)"
done
if openssl x509 -in "$dir/ca.pem" -noout -checkend $((days * 86400)) > /dev/null; then :; else
    fail "the authority ends before $days days have passed: use fewer --days or a new authority"
fi

export_names "URI:spiffe://$study/$role/$id$hosts"
if [ -n "$request" ]; then
    cp "$request" "$work/request"
    # The DER of a P-256 key on the named curve with an uncompressed point starts like this, always.
    openssl req -in "$work/request" -verify -pubkey -noout 2> /dev/null > "$work/public" ||
        fail "$request is no certificate request, or its signature is wrong"
    head=$(openssl pkey -pubin -in "$work/public" -outform DER 2> /dev/null | od -An -v -tx1 -N27 | tr -d ' \n')
    [ "$head" = 3059301306072a8648ce3d020106082a8648ce3d03010703420004 ] ||
        fail "the key in $request is not on the curve P-256"
else
    quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt ec_param_enc:named_curve -out "$work/key" || fail "the key could not be made"
    chmod 0600 "$work/key"
    quietly openssl req -new -config "$here/profiles/ca.cnf" -key "$work/key" \
        -subj "/O=$study/OU=$role/CN=$id" -out "$work/request" || fail "the request could not be made"
fi
quietly openssl ca -batch -notext -config "$here/profiles/ca.cnf" \
    -extfile "$here/profiles/$role.cnf" -extensions extensions -md sha256 -days "$days" \
    -subj "/O=$study/OU=$role/CN=$id" -in "$work/request" -out "$work/certificate" ||
    fail "the certificate was not issued"
quietly openssl verify -CAfile "$dir/ca.pem" -purpose "$purpose" -x509_strict "$work/certificate" ||
    fail "the new certificate does not verify"

mkdir -p "$dir/$role"
chmod 0644 "$work/certificate"
[ -n "$request" ] || put "$work/key" "$key"
put "$work/certificate" "$certificate"
echo "$certificate"
