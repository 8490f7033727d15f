#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# docs/forms.md, the table of what each model releases, is what the programs say.
# Usage: forms_test.sh BIN   (folder of the programs)
set -eu
python3 "$(dirname "$0")/../../docs/make-forms.py" "${1:?folder of the programs}" --check ||
    { echo "run docs/make-forms.py $1"; exit 1; }
