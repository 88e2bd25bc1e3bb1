#!/usr/bin/env bash
# Builds what run.sh needs on a machine with a GPU and without a network, and collects it in one folder: the tests and benchmarks for one
# architecture, stripped, and the shared libraries that such a machine may lack (CUDA's own are expected there).
# usage: benchmarks/cuda/prepare.sh FOLDER [ARCHITECTURE]      default 90 (H100, H200); 87 Orin, 110 Thor
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(realpath -m "${1:?usage: prepare.sh FOLDER [ARCHITECTURE]}")
architecture=${2:-90}
cd "$root"
build=build/cuda-$architecture
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" "${launcher[@]}" >/dev/null
programs=(tests/kernels/cuda/pets_cuda_kernel_tests tests/engine/pets_cuda_engine_tests tests/golden/pets_cuda_golden_tests
  benchmarks/end_to_end/pets-bench converter/pets-convert runtime/cli/pets-run)
cmake --build "$build" --target "${programs[@]##*/}"

mkdir -p "$folder/bin" "$folder/lib"
for program in "${programs[@]}"; do
  strip -o "$folder/bin/${program##*/}" "$build/$program"
  ldd "$build/$program" | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|pthread|dl|rt|stdc\+\+|gcc_s|cu[a-zA-Z]*)\.so/ { print $3 }'
done | sort -u | while read -r library; do cp -L "$library" "$folder/lib/"; done
cp benchmarks/cuda/run.sh "$folder/"
cp -r --parents tests/golden/manifests tests/golden/bases tests/golden/pets tests/golden/expected "$folder/"
du -sh "$folder"
