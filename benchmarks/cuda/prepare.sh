#!/usr/bin/env bash
# Builds what run.sh needs on a machine with a GPU and without a network, and collects it in one folder: the tests and benchmarks for one
# architecture, stripped, the shared libraries that such a machine may lack (CUDA's own are expected there), and PEFT for a PyTorch there.
# Beside the folder lies FOLDER.tar.xz, a third of the size.
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
  benchmarks/end_to_end/pets-bench benchmarks/kernels/cuda/pets-cuda-kernel-bench converter/pets-convert)
cmake --build "$build" --target "${programs[@]##*/}"

mkdir -p "$folder/bin" "$folder/lib" "$folder/packages"
for program in "${programs[@]}"; do
  strip -o "$folder/bin/${program##*/}" "$build/$program"
  ldd "$build/$program" | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|pthread|dl|rt|stdc\+\+|gcc_s|cu[a-zA-Z]*|nvJitLink)\.so/ { print $3 }'
done | sort -u | while read -r library; do cp -L "$library" "$folder/lib/"; done
cp benchmarks/cuda/{run.sh,report.py,peft_bench.py} "$folder/"
cp -r --parents tests/golden/manifests tests/golden/bases tests/golden/pets tests/golden/expected "$folder/"

# PEFT and what it needs beside PyTorch and NumPy, for a machine whose Python lacks them: the versions of benchmarks/peers, wheels of this
# machine's architecture that any Python 3 takes.
wheels=build/cuda-packages
if [ ! -e "$wheels/complete" ]; then
  pinned() { grep "^$1==" benchmarks/peers/requirements.txt; }
  if python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$wheels" "$(pinned peft)" \
    "$(pinned transformers)" "$(pinned safetensors)" accelerate 'tokenizers<0.23' 'huggingface_hub<1' psutil tqdm packaging filelock fsspec; then
    touch "$wheels/complete"
  else
    echo "PEFT cannot be fetched: it is measured only where it is installed"
  fi
fi
cp "$wheels"/*.whl "$folder/packages/" 2>/dev/null || true
XZ_OPT="-T0 -3" tar -C "$(dirname "$folder")" -cJf "$folder.tar.xz" "$(basename "$folder")"
du -shc "$folder"/* "$folder.tar.xz"
