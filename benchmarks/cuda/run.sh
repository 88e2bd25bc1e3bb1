#!/usr/bin/env bash
# Everything that needs a GPU, from the folder that prepare.sh made, in under ten minutes and without a network: tests, then figures.
# usage: FOLDER/run.sh OUTPUT-FOLDER      writes tests.txt, sanitizer.txt, figures.md there; the exit status is the tests'
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?usage: run.sh OUTPUT-FOLDER}
mkdir -p "$out"
# cuBLAS: the toolkit's, or the one that Python packages bring.
cublas=$(find /usr/local/cuda/lib64 /usr/local/cuda/targets /opt /usr/lib -name 'libcublas.so.1[23]' 2>/dev/null | head -n 1)
export LD_LIBRARY_PATH="$here/lib:$(dirname "${cublas:-/}"):${LD_LIBRARY_PATH:-}" PETS_CONVERT=$here/bin/pets-convert
export PETS_GOLDEN=$here/tests/golden
started=$SECONDS
say() { echo "$((SECONDS - started)) s: $*"; }

status=0
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/device.txt"
for tests in pets_cuda_kernel_tests pets_cuda_engine_tests pets_cuda_golden_tests; do
  timeout 120 "$here/bin/$tests" >"$out/$tests.txt" 2>&1 || status=1
  say "$tests: $(tail -n 1 "$out/$tests.txt")"
done
grep -h "largest difference" "$out"/*.txt

bench() { timeout 100 "$here/bin/pets-bench" mixed-batch --backend cuda "$@" || status=1; }
{
  echo "# Figures on $(cut -d, -f1 "$out/device.txt")"
  for precision in fp16 bf16 fp32; do
    echo
    bench --shape bert-base --precision "$precision" --rounds 9
  done
  echo
  bench --shape minilm --precision fp16 --rounds 15
} >"$out/figures.md" 2>"$out/figures.err"
say "figures"
cat "$out/figures.md" "$out/figures.err"

if command -v compute-sanitizer >/dev/null; then
  for check in memcheck racecheck; do
    timeout 120 compute-sanitizer --tool "$check" --error-exitcode 9 "$here/bin/pets_cuda_engine_tests" >"$out/$check.txt" 2>&1
    say "$check: status $?, $(tail -n 1 "$out/$check.txt")"
  done
fi
exit $status
