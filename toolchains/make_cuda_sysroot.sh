#!/usr/bin/env bash
# Makes a CUDA toolkit that compiles on this machine and links for arm64 in DIRECTORY, for toolchains/aarch64-linux.cmake: the tools and
# headers are links to those of the nvcc found in PATH, the libraries are the same release's for arm64, from NVIDIA's packages on PyPI
# (590 MB to fetch, 700 MB on disk). Needs no root, installs nothing, leaves nvcc's own folder as it is. What is complete is kept.
# usage: make_cuda_sysroot.sh DIRECTORY
set -euo pipefail

fail() {
  echo "make_cuda_sysroot.sh: $*" >&2
  exit 1
}
if [ $# -ne 1 ] || [[ $1 == -* ]]; then
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
target=$(realpath -m "$1")
nvcc=$(command -v nvcc) || fail "nvcc is not there: install the CUDA toolkit and put its bin folder into PATH"

release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
[[ $release =~ ^[0-9]+\.[0-9]+$ ]] || fail "$nvcc --version: expected a line with 'release X.Y', found none"
# Until CUDA 12 arm64 servers, which the packages are for, and Jetsons have different libraries.
[ "${release%%.*}" -ge 13 ] || fail "$nvcc: expected CUDA 13.0 or later, found $release; for such a Jetson build on the device"
toolkit=$("$nvcc" --dryrun -c -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
[ -n "$toolkit" ] || fail "$nvcc --dryrun: expected a line with TOP=FOLDER, found none"
toolkit=$(realpath "$toolkit")
for each in bin/ptxas nvvm include/cuda_runtime.h include/cublas_v2.h; do
  [ -e "$toolkit/$each" ] || fail "$toolkit: the CUDA toolkit has no $each"
done

# What the folder depends on.
wanted="CUDA $release $toolkit $(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)"
stamp=$target/.complete
is_complete() { [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; }

mkdir -p "$(dirname "$target")"
exec 9>"$target.lock" # a second run waits, then finds the work done
flock 9
is_complete && exit 0
[ ! -e "$target" ] || [ -e "$stamp" ] || [ -z "$(ls -A "$target")" ] ||
  fail "$target: there is something else in it than a CUDA toolkit made by this script; remove it or name another directory"

python3 -m pip --version >/dev/null 2>&1 || fail "pip is not there: install python3-pip"

# Everything is made beside the target and moved there when it is whole, so that an interrupted run leaves nothing that looks finished.
work=$target.unfinished
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
root=$work/root
lib=$root/targets/aarch64-linux/lib
mkdir -p "$work/wheels" "$root/bin" "$lib"

# cuda-toolkit names the packages of a release. The tags are those of its arm64 packages: pip does not take the older for the newer.
python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --platform manylinux2014_aarch64 \
  --platform manylinux_2_27_aarch64 -d "$work/wheels" "cuda-toolkit[cublas,cudart]==$release.*" ||
  fail "the arm64 libraries of CUDA $release did not come (above: what pip says)"
for wheel in "$work"/wheels/nvidia_{cublas,cuda_runtime}-*.whl; do python3 -m zipfile -e "$wheel" "$work/unpacked"; done
mv "$work"/unpacked/nvidia/cu*/lib/lib{cublas,cudart,cudadevrt}* "$lib/"
for library in "$lib"/lib*.so.*; do ln -s "${library##*/}" "${library%.so.*}.so"; done
for file in libcublas.so libcublasLt.so libcudart.so libcudart_static.a libcudadevrt.a; do
  [ -e "$lib/$file" ] || fail "the arm64 packages of CUDA $release came without $file"
done

# nvcc looks for the rest of the toolkit beside the folder through which it was called: bin must be a folder, not a link to one.
ln -s "$toolkit"/bin/* "$root/bin/"
ln -s "$toolkit/nvvm" "$root/nvvm"
ln -s "$toolkit/include" "$root/targets/aarch64-linux/include"
echo "$wanted" >"$root/.complete"
rm -rf "$target"
mv "$root" "$target"
echo "CUDA $release for arm64: $target ($(du -sh "$target" | cut -f1))"
