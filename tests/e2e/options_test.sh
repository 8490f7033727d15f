#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Every documented option of every analysis is read, and changes what it says: see options.py.
# Usage: options_test.sh BIN   (folder of the programs)
set -eu
exec python3 "$(dirname "$0")/options.py" "${1:?folder of the programs}"
