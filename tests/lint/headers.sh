#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Every header compiles alone, the installed ones in C++ too. Usage: headers.sh BUILD_DIR
set -eu
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
flags="-I. -Iinclude -Ilib -I$build/generated $(pkg-config --cflags jansson libprotobuf-c gsl openssl sqlite3)"
fail=0
for header in $(find include lib node coordinator audit tools -name '*.h' | sort); do
    # shellcheck disable=SC2086
    if ! echo "#include \"$header\"" | gcc -x c -std=c17 -D_GNU_SOURCE -Wall -Werror $flags -fsyntax-only -; then
        echo "$header does not compile alone"; fail=1
    fi
done
if command -v g++ > /dev/null; then
    for header in include/nof1/*.h; do
        # shellcheck disable=SC2086
        if ! echo "extern \"C\" {
#include \"$header\"
}" | g++ -x c++ -std=c++17 -D_GNU_SOURCE $flags -fsyntax-only -; then
            echo "$header does not compile in C++17"; fail=1
        fi
    done
fi
exit $fail
