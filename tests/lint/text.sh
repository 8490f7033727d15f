#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Small things that reviews forget: SPDX lines, no goto, no leftovers, lengths of files and lines, shell
# scripts that shellcheck accepts.
set -eu
cd "$(dirname "$0")/../.."
fail=0
for file in $(find include lib node coordinator audit tools tests proto -name '*.[ch]' -o -name '*.def' -o -name '*.proto' -o -name '*.sh' | sort); do
    head -2 "$file" | grep -q 'SPDX-License-Identifier: GPL-3.0-or-later' || { echo "$file: no SPDX line"; fail=1; }
done
if grep -rnE '\b(TODO|FIXME|XXX)\b' include lib node coordinator audit tools proto deploy docs --include='*' ; then
    echo "unfinished marks"; fail=1
fi
if grep -rnE '\bgoto\b' include lib node coordinator audit tools --include='*.[ch]' | grep -vE '/\*|\* '; then
    echo "goto"; fail=1
fi
if grep -rnE 'gsl_set_error_handler_off|\bsystem\(|\bpopen\(|\bstrcpy\(|\bstrcat\(|\bsprintf\(|\bgets\(' lib --include='*.[ch]'; then
    echo "a call that lib/ may not make"; fail=1
fi
if find include lib node coordinator audit tools tests -name '*.[ch]' -exec awk 'END { if (NR > 600) { print FILENAME ": " NR " lines, at most 600"; exit 1 } }' {} \; | grep .; then
    fail=1
fi
if find include lib node coordinator audit tools tests -name '*.[ch]' -exec awk 'length($0) > 100 { print FILENAME ":" FNR ": longer than 100 columns" }' {} \; | grep .; then
    fail=1
fi
if awk 'length($0) > 120 && !/^\|/ { print FILENAME ":" FNR ": longer than 120 columns" }' docs/*.md | grep .; then
    fail=1
fi
# A comment that names a section of a page (docs/protocol.md, "Times") names one that is there.
sections() {
    git ls-files include lib node coordinator audit tools proto tests | grep -E '\.([ch]|def|proto|sh|py)$' | xargs cat |
        tr '\n' ' ' | sed 's/ [*#] / /g' | tr -s ' ' | grep -oE '[a-z-]+\.md, "[^"]+"' | sort -u
}
sections | while IFS= read -r line; do
    name=${line#*\"} name=${name%\"} page=docs/${line%%,*}
    grep -qiE "^(#+ |- )?\**$name" "$page" || echo "$page has no section '$name', which a comment names"
done | grep . && fail=1
if command -v shellcheck > /dev/null; then
    find certs deploy tests .ci -type f \( -name '*.sh' -o -path '*/.ci/run' \) -print0 | xargs -0 -r shellcheck -S warning || fail=1
else
    echo "shellcheck is not installed: shell scripts not checked"
fi
exit $fail
