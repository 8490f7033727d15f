# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# What the scripts of this folder share: checking words, one writer at a time, moving a finished
# file to its place without ever replacing one. Sourced, not run.

# Names end up in file names, in subjects and in lists of names: letters, digits, dot, dash,
# underscore, as the programs read them (lib/rpc/identity.c).
fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

usage_error() {
    echo "$(basename "$0"): $* (see --help)" >&2
    exit 2
}

help() { # the comment block at the head of the script, from its third line on
    sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
}

check_word() { # what, value, longest
    case $2 in
        "") usage_error "the $1 is empty" ;;
        [!A-Za-z0-9]*) usage_error "the $1 '$2' must start with a letter or digit" ;;
        *[!A-Za-z0-9._-]*) usage_error "the $1 '$2' may hold letters, digits, '.', '-' and '_' only" ;;
    esac
    [ "${#2}" -le "$3" ] || usage_error "the $1 '$2' is longer than $3 characters"
}

check_days() { # days: 1 to 36500
    case $1 in
        "" | 0* | *[!0-9]* | ??????*) usage_error "--days needs a whole number from 1 to 36500, not '$1'" ;;
    esac
    [ "$1" -le 36500 ] || usage_error "--days needs a whole number from 1 to 36500, not '$1'"
}

profiles() { # folder of the profiles, absolute
    (cd "$(dirname "$0")/profiles" && pwd)
}

# Enter an existing authority: absolute path in $dir, study in $study, one writer at a time.
open_authority() {
    [ -d "$1" ] || fail "$1 is no folder: make an authority there with make-ca.sh"
    for needed in ca.key ca.pem study index.txt crlnumber; do
        [ -f "$1/$needed" ] || fail "$1 is no authority of make-ca.sh: it has no file '$needed'"
    done
    dir=$(cd "$1" && pwd)
    study=$(cat "$dir/study")
    umask 077
    mkdir "$dir/lock" 2> /dev/null ||
        fail "$dir is in use by another command; if none runs, remove the folder $dir/lock"
    work=$dir/lock
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
}

# The variables that every section of profiles/ca.cnf refers to.
export_names() { # names
    NOF1_CA_DIR=$dir NOF1_STUDY=$study NOF1_NAMES=$1
    export NOF1_CA_DIR NOF1_STUDY NOF1_NAMES
}

# Run openssl quietly; its output is shown only when it fails.
quietly() {
    "$@" > "$work/output" 2>&1 || {
        cat "$work/output" >&2
        return 1
    }
}

# A hard link is made or refused in one step, so an existing file is never replaced.
put() { # finished file, its place
    ln "$1" "$2" 2> /dev/null || fail "$2 exists already; nothing was overwritten"
    rm -f "$1"
}

# Write a new list of revoked certificates to $dir/crl under a name never used before; needs
# open_authority. Sets $crl.
write_crl() { # days
    export_names "URI:spiffe://$study"
    quietly openssl ca -config "$(profiles)/ca.cnf" -gencrl -crldays "$1" -out "$work/crl.pem" ||
        fail "the list could not be made"
    hash=$(openssl crl -in "$work/crl.pem" -noout -hash) || fail "the new list cannot be read"
    mkdir -p "$dir/crl"
    chmod 0755 "$dir/crl"
    chmod 0644 "$work/crl.pem"
    number=0
    while [ -e "$dir/crl/$hash.r$number" ]; do
        number=$((number + 1))
    done
    crl=$dir/crl/$hash.r$number
    put "$work/crl.pem" "$crl"
}
