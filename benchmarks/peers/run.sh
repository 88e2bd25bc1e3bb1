#!/usr/bin/env bash
# Measures pets beside OpenVINO, ONNX Runtime, PyTorch, PyTorch + PEFT and CTranslate2 in one run, and writes docs/performance/peers.{md,png,json}.
# usage: benchmarks/peers/run.sh [--quick] [--threads N] [--rounds N] [--only WORD]... [--output FOLDER]      (all options: --help)
# Makes a virtual environment in build/peers/venv (some GB: PyTorch), builds the release preset and fetches the model of the quickstart.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
venv=${PEERS_VENV:-build/peers/venv}
requirements=benchmarks/peers/requirements.txt

mkdir -p build/peers
if ! cmp -s "$requirements" "$venv/installed.txt"; then
  echo "Installing the peers into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/installed.txt"
fi

echo "Building"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake --preset release -DPETS_CUDA=OFF "${launcher[@]}" >build/peers/build.log
cmake --build build/release --target pets-bench pets-convert pets-run >>build/peers/build.log || { tail -n 40 build/peers/build.log; exit 1; }
examples/quickstart/fetch_model.sh build/models

# OpenMP runtimes keep their threads spinning for a while after a call: 20 ms, less than the rest between two engines.
export KMP_BLOCKTIME=20 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
exec "$venv/bin/python" benchmarks/peers/run.py "$@"
