#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what the build (and, with --test, the tests) need from Debian 12, if it is missing.
# Usage: deploy/packages.sh [--test]
set -eu
build="gcc cmake ninja-build pkg-config protobuf-c-compiler libprotobuf-c-dev libgrpc-dev libgsl-dev
libjansson-dev libsqlite3-dev libssl-dev libyaml-dev libcsv-dev openssl"
test="g++ libcriterion-dev shellcheck python3 binutils iproute2"
wanted=$build
[ "${1:-}" = "--test" ] && wanted="$build $test"
missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}\n' "$package" 2> /dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo > /dev/null; then
        exec sudo sh "$0" "$@"
    fi
    echo "run as root once: apt-get install$missing" >&2
    exit 77
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing > /dev/null
