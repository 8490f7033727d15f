#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Revoke every valid certificate of one member, or one certificate, and write a new list.
#
# Usage: revoke.sh DIR ID [--serial HEX] [--reason WORD] [--days N]
#   ID            the member, or ROLE/ID when two roles use the same id
#   --serial HEX  only this certificate of the member (after a key was replaced)
#   --reason WORD keyCompromise, affiliationChanged, superseded, cessationOfOperation
#                 (default: unspecified)
#   --days N      how long the new list is valid (default 30)
#
# The list takes effect when it lies in the coordinator's folder of lists: copy it there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=certs/common.sh
. "$here/common.sh"

authority="" id="" only="" reason=unspecified days=30
while [ $# -gt 0 ]; do
    case $1 in
        --serial | --reason | --days) [ $# -ge 2 ] || usage_error "$1 needs a value" ;;
    esac
    case $1 in
        --serial) only=$2; shift 2 ;;
        --reason) reason=$2; shift 2 ;;
        --days) days=$2; shift 2 ;;
        -h | --help) help ;;
        -*) usage_error "unknown option $1" ;;
        *)
            if [ -z "$authority" ]; then authority=$1
            elif [ -z "$id" ]; then id=$1
            else usage_error "too many words: $1"; fi
            shift ;;
    esac
done
[ -n "$id" ] || usage_error "name the authority's folder and the id"
role=""
case $id in
    */*) role=${id%%/*} id=${id#*/} ;;
esac
case $role in
    "" | coordinator | site | statistician | auditor) ;;
    *) usage_error "the role '$role' is not coordinator, site, statistician or auditor" ;;
esac
check_word id "$id" 64
check_days "$days"
case $only in
    *[!0-9A-Fa-f]*) usage_error "--serial needs hexadecimal digits, not '$only'" ;;
esac
only=$(printf '%s' "$only" | tr a-f A-F)
case $reason in
    unspecified | keyCompromise | affiliationChanged | superseded | cessationOfOperation) ;;
    *) usage_error "unknown reason '$reason'" ;;
esac

open_authority "$authority"
# index.txt: state, end, revocation, serial, file, subject; separated by tabs.
awk -F '\t' -v study="$study" -v role="$role" -v id="$id" -v only="$only" '
    $1 == "V" && (only == "" || $4 == only) {
        count = split($6, part, "/")
        if (count == 4 && part[2] == "O=" study && part[4] == "CN=" id &&
            (role == "" || part[3] == "OU=" role)) {
            print $4, substr(part[3], 4)
        }
    }' "$dir/index.txt" > "$work/found"
[ -s "$work/found" ] || fail "there is no valid certificate of $id${only:+ with serial $only}"
roles=$(cut -d ' ' -f 2 "$work/found" | sort -u | tr '\n' ' ')
case $roles in
    *" "?*) fail "$id has several roles ( $roles): write ROLE/$id" ;;
esac
export_names "URI:spiffe://$study"
# RFC 5280 section 5.3.1: an unspecified reason is left out.
set --
[ "$reason" = unspecified ] || set -- -crl_reason "$reason"
while read -r serial found_role; do
    quietly openssl ca -config "$here/profiles/ca.cnf" -revoke "$dir/issued/$serial.pem" "$@" ||
        fail "the certificate $serial could not be revoked"
    echo "revoked $found_role/$id, serial $serial"
done < "$work/found"
write_crl "$days"
echo "$crl"
