#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The manual pages against the programs: every command has --help; every option that a --help names
# stands in the program's page, and the other way round; the generated pages name every option,
# limit and code of the tables; completion offers what --help names; mandoc has nothing to say.
# Usage: man_test.sh BIN   (folder of the programs; the pages are made from docs/man)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-edge nof1-node nof1-lab-site nof1-audit; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
man=$root/docs/man
work=$(mktemp -d /tmp/nof1-man-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
. "$root/tests/e2e/checks.sh"

# ---- options -------------------------------------------------------------------------------------
options() { grep -oE -- '--[a-z][a-z-]*' "$1" | sort -u | grep -vxE -- '--(help|version)' > "$2" || true; }
page() { # page, then lines "PROGRAM [WORDS]" of its commands on standard input
    : > "$work/help"
    good=true
    while read -r program words; do
        # shellcheck disable=SC2086
        if ! "$bin/$program" $words --help > "$work/one" 2> "$work/err" || [ ! -s "$work/one" ]; then
            good=false; echo "     $program $words --help fails"
        fi
        cat "$work/one" >> "$work/help"
    done
    options "$work/help" "$work/told"
    options "$man/$1.scd" "$work/written"
    if $good && [ -s "$work/told" ] && diff "$work/told" "$work/written" > "$work/diff"; then
        pass "$1: $(wc -l < "$work/told") options"
    else fail "$1 (< told by --help only, > written in the page only)" "$work/diff"; fi
}
page nof1.1 << 'TXT'
nof1 check
nof1 run
nof1 status
nof1 result
nof1 catalog
nof1 plan new
nof1 planning
TXT
page nof1-lab.1 << 'TXT'
nof1 lab new
nof1 lab run
nof1-lab-site
TXT
page nof1-audit.1 << 'TXT'
nof1-audit reconstruct
nof1-audit release
TXT
page nof1-node.8 << 'TXT'
nof1-node
nof1-node charter show
nof1-node charter approve
nof1-node charter refuse
nof1-node source check
nof1-node freeze
nof1-node status
nof1-node pause
nof1-node resume
nof1-node approve
nof1-node refuse
nof1-node report
nof1-node preview
nof1-node egress
nof1-node policy show
nof1-node policy check
nof1-node policy edit
nof1-node policy approve
nof1-node trial withdraw
nof1-node trial withdrawn
nof1-node trial queries
TXT
page nof1-coordinator.8 << 'TXT'
nof1-coordinator
nof1-coordinator init
nof1-coordinator charter new
nof1-coordinator charter sign
nof1-coordinator charter publish
nof1-coordinator serve
nof1-coordinator status
nof1-coordinator revoke
TXT
echo nof1-vault | page nof1-vault.8
echo nof1-edge | page nof1-edge.8
# The commands asked above are all that `nof1 --help` lists.
"$bin/nof1" --help | sed -n 's/^  \([a-z]*\( new\| run\)\{0,1\}\)  .*/\1/p' | sort > "$work/listed"
printf '%s\n' check run status result catalog 'plan new' 'lab new' 'lab run' planning | sort > "$work/asked"
if cmp -s "$work/listed" "$work/asked"; then pass "every command of nof1 is described"
else fail "nof1 lists other commands than the pages" "$work/listed"; fi

# A command that asks the coordinator says what it lacks.
good=true
for words in "run $root/README.md" status "result $(printf 'a%.0s' $(seq 64))"; do
    code=0
    # shellcheck disable=SC2086
    "$bin/nof1" $words > /dev/null 2> "$work/err" || code=$?
    if [ "$code" -ne 2 ] || ! grep -q -- '--target, --ca, --cert and --key' "$work/err"; then
        good=false; echo "     nof1 ${words%% *}: exit $code"
    fi
done
if $good; then pass "run, status and result name the options that are missing"; else fail "missing options" "$work/err"; fi

# ---- generated pages -----------------------------------------------------------------------------
generate=$(find "$bin/.." -maxdepth 4 -type f -name nof1-man -perm -u+x | head -1)
[ -n "$generate" ] || { echo "no nof1-man beside $bin: build it"; exit 77; }
for name in nof1-plan.5 nof1-policy.5 nof1-codes.7; do
    "$generate" < "$man/$name.scd.in" > "$work/$name.scd"
    if grep -q '@[A-Z]*@' "$work/$name.scd"; then fail "$name: a table is not filled in"; fi
done
tr -d '\134' < "$work/nof1-plan.5.scd" > "$work/plan"
tr -d '\134' < "$work/nof1-policy.5.scd" > "$work/policy"
good=true
sed -n 's/^X(\([a-z_]*\))$/\1/p' "$root/lib/stats/analyses/registry.def" > "$work/analyses"
while read -r analysis; do
    grep -qx "## $analysis" "$work/plan" || { good=false; echo "     no section $analysis"; }
    "$bin/nof1" plan new "$analysis" | sed -n 's/^#\{0,1\} *\([a-z_]*\):.*/\1/p' | sort -u > "$work/keys"
    # its own section, or the common keys
    awk -v own="## $analysis" '/^# /{on=1} /^# ANALYSES/{on=0} /^## /{on=($0==own)} on' "$work/plan" > "$work/section"
    while read -r key; do
        grep -q "^\*$key\*" "$work/section" || { good=false; echo "     $analysis: no option $key"; }
    done < "$work/keys"
done < "$work/analyses"
if $good; then pass "nof1-plan.5 has every analysis and every key of nof1 plan new"; else fail "nof1-plan.5"; fi
sed -n 's/^X(\([a-z_]*\),.*/\1/p' "$root/lib/core/policy.def" | sort > "$work/table"
sed -n 's/^\*\([a-z_]*\)\* (.*/\1/p' "$work/policy" | sort > "$work/in_page"
if [ -s "$work/table" ] && cmp -s "$work/table" "$work/in_page"; then pass "nof1-policy.5 has every limit"
else fail "nof1-policy.5 differs from policy.def"; fi
sed -n 's/^X([A-Z0-9_]*, "\(E[0-9]*\)".*/\1/p' "$root/include/nof1/error.def" | sort > "$work/table"
sed -n 's/^\*\(E[0-9]*\)\* .*/\1/p' "$work/nof1-codes.7.scd" | sort > "$work/in_page"
if [ -s "$work/table" ] && cmp -s "$work/table" "$work/in_page"; then pass "nof1-codes.7 has every code"
else fail "nof1-codes.7 differs from error.def"; fi

# The charter's keys are those that the program reads.
awk '/known\[\] = /, /NULL\}/' "$root/lib/core/charter_read.c" | grep -oE '"[a-z_]+"' | tr -d '"' > "$work/table"
tr -d '\134' < "$man/nof1-charter.5.scd" > "$work/page"
good=true
while read -r key; do
    grep -q "^\*.*$key\*" "$work/page" || { good=false; echo "     no key $key"; }
done < "$work/table"
if $good && [ -s "$work/table" ]; then pass "nof1-charter.5 has every key"; else fail "nof1-charter.5"; fi

# ---- completion ----------------------------------------------------------------------------------
offers() { # program words: what bash offers for the last word
    PATH="$bin:$PATH" bash -c '. "$1"; function=$2; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function"; printf "%s\n" "${COMPREPLY[@]}"' bash "$root/deploy/completion/$1" "_$(echo "$1" | tr - _)" "$@"
}
offered() { # wanted, program, words
    wanted=$1; shift
    if offers "$@" | grep -qxF -- "$wanted"; then pass "completion: $* -> $wanted"
    else fail "completion: $* does not offer $wanted"; fi
}
offered lab nof1 la
offered --in-process nof1 lab run --in
offered random_effects nof1 plan new ran
offered approve nof1-node charter ap
offered withdraw nof1-node trial wi
offered --by nof1-node policy approve --b
offered --round-timeout nof1-coordinator serve --round
offered new nof1-coordinator charter ne
offered publish nof1-coordinator charter pu
offered reconstruct nof1-audit rec
offered --scalars nof1-audit reconstruct --sc
offered slope nof1-audit reconstruct --form s
offered regression nof1-audit reconstruct --form r
offered --charter nof1-audit release --ch
offered ultra-rare nof1-audit release --policy u

# ---- mandoc --------------------------------------------------------------------------------------
if command -v scdoc > /dev/null && command -v mandoc > /dev/null; then
    cp "$man"/*.scd "$work"
    for source in "$work"/*.scd; do
        name=$(basename "$source" .scd)
        # scdoc writes a paragraph macro before every heading and indent; that alone is let pass.
        if scdoc < "$source" > "$work/roff" 2> "$work/lint" &&
            { mandoc -Tlint -W warning "$work/roff" | grep -v 'skipping paragraph macro' > "$work/lint" || true; } &&
            [ ! -s "$work/lint" ]; then pass "mandoc: $name"
        else fail "mandoc: $name" "$work/lint"; fi
    done
else echo "skip mandoc: scdoc or mandoc is not installed"; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
