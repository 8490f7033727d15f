#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the certificate authority of one consortium in a new folder.
#
# Usage: make-ca.sh DIR [--study NAME] [--days N]
#   --study NAME  the study id, as in the charter; part of every name (default: DIR's last part)
#   --days N      how long the authority is valid (default 3650)
#
# DIR gets ca.pem (give it to everybody), ca.key (give it to nobody), the register of issued
# certificates, and a first, empty list of revoked ones in crl/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=certs/common.sh
. "$here/common.sh"

target="" study="" days=3650
while [ $# -gt 0 ]; do
    case $1 in
        --study) [ $# -ge 2 ] || usage_error "--study needs a name"; study=$2; shift 2 ;;
        --days) [ $# -ge 2 ] || usage_error "--days needs a number"; days=$2; shift 2 ;;
        -h | --help) help ;;
        -*) usage_error "unknown option $1" ;;
        *) [ -z "$target" ] || usage_error "more than one folder"; target=$1; shift ;;
    esac
done
[ -n "$target" ] || usage_error "name the folder of the authority"
check_days "$days"
[ -n "$study" ] || study=$(basename "$target")
check_word "study id" "$study" 64

if [ -e "$target" ]; then
    rmdir "$target" 2> /dev/null || fail "$target exists and is not empty; nothing was overwritten"
fi
parent=$(dirname "$target")
[ -d "$parent" ] || fail "the folder $parent does not exist"
parent=$(cd "$parent" && pwd)
target=$parent/$(basename "$target")

# All is made beside the target and renamed at the end: a half-made authority is never seen.
umask 077
dir=$target.new.$$
mkdir "$dir" || fail "cannot write in $parent"
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
work=$dir/lock
mkdir "$work" "$dir/issued"
printf '%s\n' "$study" > "$dir/study"
: > "$dir/index.txt"
echo 01 > "$dir/crlnumber"
export_names "URI:spiffe://$study"
quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
    -pkeyopt ec_param_enc:named_curve -out "$dir/ca.key" || fail "the key could not be made"
quietly openssl req -new -x509 -config "$here/profiles/ca.cnf" -extensions root -sha256 \
    -days "$days" -key "$dir/ca.key" -subj "/O=$study/CN=$study certificate authority" \
    -out "$dir/ca.pem" || fail "the certificate could not be made"
chmod 0600 "$dir/ca.key"
chmod 0644 "$dir/ca.pem"
write_crl 30
rm -rf "$work"
mv "$dir" "$target"
trap - EXIT
echo "$target/ca.pem"
