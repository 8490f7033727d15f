#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# nof1-audit release on the result of a lab's run: it passes as made, by a preset and by its charter, and
# is refused with a row about one patient, a small number left out, a stricter charter or another one,
# from an open lab, as another document, and under a policy that is none.
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
        --charter "$work/data/charter.yaml" --policy "$1" --in-process --json --out "$work/$1" 2> /dev/null
}
run standard > "$work/result.json"
run open > "$work/open.json"
python3 - "$work" << 'PY'
import json, sys
result = json.load(open(sys.argv[1] + "/result.json"))
result["estimates"][0]["patients"] = 1
json.dump(result, open(sys.argv[1] + "/one.json", "w"))
del result["estimates"][0]["patients"]
result["privacy"]["left_out"] = 3
json.dump(result, open(sys.argv[1] + "/left.json", "w"))
charter = json.load(open(sys.argv[1] + "/standard/charter.json"))
charter["version"] += 1
json.dump(charter, open(sys.argv[1] + "/later.json", "w"), separators=(",", ":"), sort_keys=True)
PY
sed 's/^preset: standard/preset: standard\nlimits: {min_class_patients: 500}/' "$work/data/charter.yaml" > "$work/strict.yaml"
release() { "$bin/nof1-audit" release "$@"; }
check "a result passes as it was made" code_is 0 release "$work/result.json"
check "under stated limits too" code_is 0 release --policy ultra-rare "$work/result.json"
check "a row about one patient is refused" code_is 3 release "$work/one.json"
check "with the rule" says E2401
check "a result passes by its own charter" code_is 0 release --charter "$work/standard/charter.json" "$work/result.json"
check "by a draft of it" code_is 0 release --charter "$work/data/charter.yaml" "$work/result.json"
check "a stricter draft refuses it" code_is 3 release --charter "$work/strict.yaml" "$work/result.json"
check "with its limit" says "below 500"
check "another charter is no measure" code_is 66 release --charter "$work/later.json" "$work/result.json"
check "an open charter is none" code_is 3 release --charter "$work/open/charter.json" "$work/open.json"
check "charter and policy together are wrong use" code_is 2 release --charter "$work/standard/charter.json" --policy standard "$work/result.json"
check "a small number left out is refused" code_is 3 release "$work/left.json"
check "a result without disclosure control is refused" code_is 3 release "$work/open.json"
check "the plan is no result" code_is 66 release "$work/data/plan-slope.yaml"
check "open is no limit to go by" code_is 2 release --policy open "$work/result.json"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
