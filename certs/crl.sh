#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Write a new list of revoked certificates; run it before the last one ends.
#
# Usage: crl.sh DIR [--days N]
#   --days N  how long the list is valid (default 30)
#
# The list is DIR/crl/HASH.rN, HASH of the authority's subject, N the first free number: a list
# that replaces another under the same name would not be noticed by a running coordinator.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=certs/common.sh
. "$here/common.sh"

authority="" days=30
while [ $# -gt 0 ]; do
    case $1 in
        --days) [ $# -ge 2 ] || usage_error "--days needs a number"; days=$2; shift 2 ;;
        -h | --help) help ;;
        -*) usage_error "unknown option $1" ;;
        *) [ -z "$authority" ] || usage_error "too many words: $1"; authority=$1; shift ;;
    esac
done
[ -n "$authority" ] || usage_error "name the authority's folder"
check_days "$days"
open_authority "$authority"
write_crl "$days"
echo "$crl"
