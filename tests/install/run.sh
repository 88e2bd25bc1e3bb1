#!/usr/bin/env bash
# Installs a build into an empty prefix and builds an application against it with find_package(pets).
# usage: run.sh BUILD_DIR WORK_DIR [BUNDLE]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:?usage: run.sh BUILD_DIR WORK_DIR [BUNDLE]}
work=${2:?usage: run.sh BUILD_DIR WORK_DIR [BUNDLE]}
rm -rf "$work"
mkdir -p "$work"
work=$(cd "$work" && pwd)  # CMake takes a relative prefix for one in its own folder
cmake --install "$build" --prefix "$work/prefix" > "$work/install.log"
cmake -G Ninja -S "$here/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release > "$work/configure.log"
cmake --build "$work/consumer" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
"$work/consumer/consumer" ${3:+"$3"}
"$work/prefix/bin/pets-run" --version
"$work/prefix/bin/pets-convert" --version
