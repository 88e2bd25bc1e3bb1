#!/usr/bin/env bash
# Installs those of the given Debian/Ubuntu packages that are missing; as root, or with sudo.
# usage: install_packages.sh PACKAGE...      a|b: any of the two will do, the first is preferred
set -euo pipefail

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]; }
is_known() { [ -n "$(apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)"')" ]; }

if ! command -v apt-get >/dev/null; then
  echo "Not a Debian or Ubuntu system: please install by hand what is missing of: $*"
  exit 0
fi
wanted=()
for names in "$@"; do
  found=no
  for name in ${names//|/ }; do
    if is_installed "$name"; then found=yes; fi
  done
  [ $found = yes ] || wanted+=("$names")
done
[ ${#wanted[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing packages: ${wanted[*]}"
"${as_root[@]}" apt-get update -qq
missing=()
for names in "${wanted[@]}"; do
  chosen=${names%%|*}
  for name in ${names//|/ }; do
    if is_known "$name"; then
      chosen=$name
      break
    fi
  done
  missing+=("$chosen")
done
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
