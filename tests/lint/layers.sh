#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Who may include whom (docs/architecture.md). Fails with "stats must not include core/...".
set -eu
cd "$(dirname "$0")/../.."
fail=0
# folder : the prefixes it may include besides <...> of libraries and its own folder
check() {
    folder=$1; allowed=$2
    [ -d "$folder" ] || return 0
    bad=$(grep -rnE '^#include [<"](base|stats|crypto|core|sys|rpc|node|coordinator|tools|proto)/' "$folder" \
        --include='*.c' --include='*.h' | grep -vE "#include [<\"]($allowed)/" || true)
    if [ -n "$bad" ]; then
        echo "$folder may include only: $allowed"; echo "$bad"; fail=1
    fi
}
check lib/base 'base'
check lib/stats 'base|stats'
check lib/crypto 'base|crypto'
check lib/core 'base|stats|crypto|proto|core'
check lib/sys 'base|stats|crypto|proto|core|sys'
check lib/rpc 'base|stats|crypto|proto|core|sys|rpc'
check node 'base|stats|crypto|proto|core|sys|rpc|node'
check coordinator 'base|stats|crypto|proto|core|sys|rpc|coordinator'
check audit 'base|stats|crypto|proto|core|sys|tools'
check tools 'base|stats|crypto|proto|core|sys|rpc|node|tools'
only() { # header pattern, the one folder that may include it
    bad=$(grep -rnE "^#include <$1" lib node coordinator audit tools --include='*.c' --include='*.h' |
        grep -vE "^$2" || true)
    if [ -n "$bad" ]; then echo "only $2 may include <$1...>"; echo "$bad"; fail=1; fi
}
only 'grpc/' 'lib/rpc/'
only 'sqlite3' '(lib/sys/|node/store)'
only 'yaml\.h' 'lib/base/'
only 'csv\.h' 'node/sources/'
only 'gsl/' '(lib/stats/|node/|coordinator/|audit/|tools/)'
exit $fail
