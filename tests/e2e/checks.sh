# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2034,SC2154
# Counting and naming checks in the end-to-end tests: sourced, with $work (a folder) set. A test
# closes with "$passed passed, $failed failed".

passed=0 failed=0
pass() { passed=$((passed + 1)); echo "ok   $1"; }
fail() { # name, files whose ends tell why
    failed=$((failed + 1)); echo "FAIL $1"; shift
    for file in "$@"; do sed 's/^/     /' "$file" | tail -15; done
}
check() { # name, command: it succeeds
    name=$1; shift
    if "$@"; then pass "$name"; else fail "$name" "$work/out"; fi
}
code_is() { # wanted exit code, command; output in $work/out
    wanted=$1; shift
    code=0
    "$@" > "$work/out" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] || { echo "     exit $code instead of $wanted"; return 1; }
}
says() { grep -qF -- "$1" "$work/out"; }
