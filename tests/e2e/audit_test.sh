#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# nof1-audit release on the result of a lab's run: it passes as made, and is refused with a row about
# one patient, from an open lab, as another document, and under a policy that is none.
# Usage: audit_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nof1 nof1-audit; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-audit-XXXXXX)
trap 'rm -rf "$work"' EXIT
. "$root/tests/e2e/checks.sh"
"$bin/nof1" lab new --sites 8 --trials 60 --seed 7 --out "$work/data" > /dev/null 2>&1
run() { # POLICY: the result
    "$bin/nof1" lab run --sites "$work/data/sites" --plan "$work/data/plan-slope.yaml" --map "$work/data/map.yaml" \
        --charter "$work/data/charter.yaml" --policy "$1" --in-process --json 2> /dev/null
}
run standard > "$work/result.json"
run open > "$work/open.json"
python3 - "$work" << 'PY'
import json, sys
result = json.load(open(sys.argv[1] + "/result.json"))
result["estimates"][0]["patients"] = 1
json.dump(result, open(sys.argv[1] + "/one.json", "w"))
PY
release() { "$bin/nof1-audit" release "$@"; }
check "a result passes as it was made" code_is 0 release "$work/result.json"
check "under stated limits too" code_is 0 release --policy ultra-rare "$work/result.json"
check "a row about one patient is refused" code_is 3 release "$work/one.json"
check "with the rule" says E2401
check "a result without disclosure control is refused" code_is 3 release "$work/open.json"
check "the plan is no result" code_is 66 release "$work/data/plan-slope.yaml"
check "open is no limit to go by" code_is 2 release --policy open "$work/result.json"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
