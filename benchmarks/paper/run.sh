#!/usr/bin/env bash
# Runs the PetS paper's experiments (USENIX ATC 2022: figures 7, 8, 11 and 12, table 5) on this machine's CPU and writes
# docs/performance/paper.{md,json} and paper-*.png: under 25 minutes for both shapes.
# usage: benchmarks/paper/run.sh [--quick] [--figure N]... [--shape minilm|bert-base]...      (all options: --help)
# Builds the release preset. Plots need matplotlib, of PAPER_PYTHON, of build/peers/venv (benchmarks/peers/run.sh makes it) or of python3.
# What is run alone replaces its part of paper.json; the rest stays.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
mkdir -p build/paper

python=python3
for candidate in ${PAPER_PYTHON:-} build/peers/venv/bin/python python3; do
  if "$candidate" -c 'import matplotlib' 2>/dev/null; then
    python=$candidate
    break
  fi
done

echo "Building"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake --preset release -DPETS_CUDA=OFF "${launcher[@]}" >build/paper/build.log
cmake --build build/release --target pets-bench -j "${JOBS:-$(nproc)}" >>build/paper/build.log || { tail -n 40 build/paper/build.log; exit 1; }

exec "$python" benchmarks/paper/run.py "$@"
