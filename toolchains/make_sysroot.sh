#!/usr/bin/env bash
# Unpacks the arm64 packages that this project needs into DIRECTORY, for toolchains/aarch64-linux.cmake. Needs no root, installs nothing
# and leaves the host's list of packages and architectures as it is. What is there already and complete is kept.
# usage: make_sysroot.sh DIRECTORY [--sources FILE]
#   --sources FILE   a sources.list to use in place of the host's own, where those do not carry arm64 (Ubuntu keeps it in its ports archive)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
triplet=aarch64-linux-gnu

fail() {
  echo "make_sysroot.sh: $*" >&2
  exit 1
}
usage() {
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

target=
sources=
while [ $# -gt 0 ]; do
  case $1 in
    --sources) sources=$(realpath "${2:?--sources needs a file}"); shift 2 ;;
    -*) usage ;;
    *) [ -z "$target" ] || usage; target=$(realpath -m "$1"); shift ;;
  esac
done
[ -n "$target" ] || usage
[ -z "$sources" ] || [ -r "$sources" ] || fail "$sources: no such file"
for tool in apt-get dpkg-deb flock; do
  command -v "$tool" >/dev/null || fail "$tool is not there: a sysroot can be made on Debian and Ubuntu only"
done
command -v "$triplet-g++" >/dev/null || fail "$triplet-g++ is not there: install g++-$triplet"

# The C++ library of the very compiler that will use it, then the list.
compiler=$("$triplet-g++" -dumpversion)
mapfile -t packages < <(echo "libstdc++-${compiler%%.*}-dev" && grep -vE '^(#|$)' "$here/sysroot-packages.txt")

# What the tree depends on: the same line means the same tree, up to updates of the distribution.
wanted="$(. /etc/os-release && echo "$ID ${VERSION_CODENAME:-$VERSION_ID}") $(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16) ${packages[*]}"
stamp=$target/.complete
is_complete() { [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; }

mkdir -p "$(dirname "$target")"
exec 9>"$target.lock" # a second run waits, then finds the work done
flock 9
is_complete && exit 0
[ ! -e "$target" ] || [ -e "$stamp" ] || [ -z "$(ls -A "$target")" ] ||
  fail "$target: there is something else than a sysroot in it; remove it or name another directory"

# Everything is made beside the target and moved there when it is whole, so that an interrupted run leaves nothing that looks finished.
work=$target.unfinished
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/root"
: >"$work/apt/status" # as if nothing were installed: all that the packages need is fetched too
options=(
  -o APT::Architecture=arm64 -o 'APT::Architectures::=arm64'
  -o Dir::State="$work/apt" -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status"
  -o Dir::Cache="$work/apt" -o Dir::Cache::archives="$work/apt/archives"
  -o APT::Sandbox::User= -o Debug::NoLocking=1 -o Acquire::Languages=none
)
[ -z "$sources" ] || options+=(-o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=/dev/null)

log=$work/log
# A source without arm64 is an error to apt and none here: what counts is whether the packages are found.
apt-get "${options[@]}" -qq update >"$log" 2>&1 || true
if ! apt-get "${options[@]}" -qq -y --download-only --no-install-recommends install "${packages[@]}" >>"$log" 2>&1; then
  grep -E '^(E|W):' "$log" | sort -u | head -n 12 >&2
  fail "no arm64 packages from this machine's package sources (above: what apt says); name a list of sources that carry arm64 with --sources"
fi
for package in "$work"/apt/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done

cd "$work/root"
# Newer releases have /lib as a link that belongs to a package which no library needs.
[ -e lib ] || ln -s usr/lib lib
# Links to absolute paths would lead into the host.
find . -type l -lname '/*' -printf '%p\t%l\n' | while IFS=$'\t' read -r link to; do
  [ ! -e ".$to" ] || ln -sfnr ".$to" "$link"
done
rm -rf usr/share/doc usr/share/man usr/share/locale usr/bin usr/sbin bin sbin
for file in lib/ld-linux-aarch64.so.1 "usr/lib/$triplet/libc.so" usr/include/flatbuffers/flatbuffers.h; do
  [ -e "$file" ] || fail "the arm64 packages came without /$file"
done
echo "$wanted" >.complete
cd "$here"
rm -rf "$target"
mv "$work/root" "$target"
echo "arm64 sysroot: $target ($(du -sh "$target" | cut -f1))"
