#!/usr/bin/env bash
# Everything that needs a GPU, from the folder that prepare.sh made, in under ten minutes and without a network: tests, then figures.
# usage: FOLDER/run.sh OUTPUT-FOLDER [STEP...]      all steps but those marked "by name"; writes tests.txt, figures.md, figures.json, log.txt
# Each step has a time limit, one that fails or is ended does not stop the others. Exit status 1 where any failed, 77 where there is no
# device. RANDOM_BATCHES (10,000), PYTHON (python3) and TMPDIR, with room for 10 GB, may be set.
# shellcheck disable=SC2317  # steps are called by name
set -uo pipefail

# Step, seconds at most; in this order. Together 570.
steps=(
  "kernel-tests 30" "engine-tests 30" "random-batches 80" "golden-tests 30"
  "kernels 60" "mixed-32 45" "mixed-128 65" "mixed-large 30" "minilm 20" "figures-7-8 55" "figure-11 30" "table-5 15" "peft 50" "memcheck 30"
)
# Only where they are named.
by_name=("mixed-bf16 60" "mixed-int8 60" "mixed-fp32 60" "racecheck 300")

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:?usage: run.sh OUTPUT-FOLDER [STEP...]}")
shift
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}

# CUDA's libraries: the toolkit's, or those that Python packages bring. PyTorch finds its own.
own_libraries=${LD_LIBRARY_PATH:-}
libraries=$here/lib
for library in libcublas libcusparse libnvJitLink; do
  found=$(find /usr/local/cuda/lib64/ /usr/local/cuda/targets /opt /usr/lib /usr/local/lib -name "$library.so.1[23]" 2>/dev/null | head -n 1)
  [ -n "$found" ] && libraries+=:$(dirname "$found")
done
export LD_LIBRARY_PATH=$libraries:$own_libraries PETS_CONVERT=$here/bin/pets-convert PETS_GOLDEN=$here/tests/golden

bench() { "$here/bin/pets-bench" "$@"; }
mixed() { bench mixed-batch --backend cuda "$@"; }

step_kernel_tests() { "$here/bin/pets_cuda_kernel_tests"; }
step_engine_tests() { "$here/bin/pets_cuda_engine_tests"; }
# In eight processes: most of a small batch's time is the host's.
step_random_batches() {
  local part status=0 first=$((RANDOM * 32768 + RANDOM)) count=$((${RANDOM_BATCHES:-10000} / 8)) parts=()
  for part in 0 1 2 3 4 5 6 7; do
    PETS_RANDOM_BATCHES=$count PETS_RANDOM_SEED=$((first + part * count)) "$here/bin/pets_cuda_engine_tests" --gtest_filter='CudaRandomBatches.*' &
    parts+=($!)
  done
  for part in "${parts[@]}"; do wait "$part" || status=1; done
  return "$status"
}
step_golden_tests() { "$here/bin/pets_cuda_golden_tests"; }
step_kernels() { "$here/bin/pets-cuda-kernel-bench"; }
step_mixed_32() { mixed --shape bert-base --precision fp16 --tasks 32 --rounds 9 --calls 3; }
step_mixed_128() { mixed --shape bert-base --precision fp16 --tasks 128 --rounds 7 --calls 1; }
step_mixed_large() { mixed --shape bert-base --precision fp16 --tasks 32 --queries 32 --rounds 3; }
step_mixed_bf16() { mixed --shape bert-base --precision bf16 --tasks 32 --rounds 9; }
step_mixed_int8() { mixed --shape bert-base --precision int8 --tasks 32 --rounds 9; }
step_mixed_fp32() { mixed --shape bert-base --precision fp32 --tasks 32 --rounds 5; }
step_minilm() { mixed --shape minilm --precision fp16 --tasks 32 --rounds 15 --calls 3; }
step_figures_7_8() {
  local tasks workload kind way shared=(--shape bert-base --bundles "$work/bundles" --backend cuda --rounds 5 --seconds 2) status=0
  mkdir -p "$work/bundles"
  bench paper-bundles --shape bert-base --precision fp16 --tasks 64 "$work/bundles" || return 1
  for tasks in 16 64; do
    for workload in "1 128" "4 32"; do
      for kind in lora types; do
        bench paper-mixed "${shared[@]}" --kind "$kind" --tasks "$tasks" --queries "${workload% *}" --length "${workload#* }" || status=1
      done
    done
  done
  for workload in "1 128" "2 32"; do
    for tasks in 4 16; do
      for way in "sequential lora" "parallel lora" "shared types"; do
        bench paper-copies "${shared[@]}" --way "${way% *}" --kind "${way#* }" --tasks "$tasks" --queries "${workload% *}" --length "${workload#* }" || status=1
      done
    done
  done
  return "$status"
}
step_figure_11() {
  local tasks length status=0
  for tasks in 32 128; do
    for length in 4 16 32; do
      bench paper-streams --shape bert-base --precision fp16 --tasks "$tasks" --length "$length" --rounds 9 --seconds 2 || status=1
    done
  done
  return "$status"
}
step_table_5() { bench paper-tasks --shape bert-base --precision fp16 --backend cuda --memory 8000000000 --memory 80000000000; }
step_peft() { LD_LIBRARY_PATH=$own_libraries PYTHONUNBUFFERED=1 "$python" "$here/peft_bench.py" --packages "$here/packages"; }
step_memcheck() { sanitizer memcheck; }
step_racecheck() { sanitizer racecheck; }
sanitizer() {
  command -v compute-sanitizer >/dev/null || { echo "skipped: there is no compute-sanitizer" && return 77; }
  compute-sanitizer --tool "$1" --error-exitcode 9 "$here/bin/pets_cuda_engine_tests"
}

# run NAME SECONDS: what it prints goes to $work/NAME.txt, what it says on stderr to $work/NAME.err. A process of its own, which the limit ends
# with all that it started.
run() {
  local name=$1 limit=$2 started=$SECONDS status=0 text
  timeout --kill-after=5 "$limit" bash -c "set -uo pipefail; step_${name//-/_}" >"$work/$name.txt" 2>"$work/$name.err" </dev/null || status=$?
  case $status in
    0) text=ok ;;
    77) text=skipped ;;
    124 | 137) text="ended after its $limit s" ;;
    *) text="failed ($status)" ;;
  esac
  [ $status -eq 0 ] || [ $status -eq 77 ] || failed=1
  echo "$name|$((SECONDS - started))|$limit|$text" >>"$work/steps"
  if [ $status -ne 0 ]; then # why
    text+=": $(cat "$work/$name.err" "$work/$name.txt" | grep -iE 'no CUDA device|skipped|error|fail|cannot' | head -n 1 | cut -c1-200)"
  elif [[ $name == *tests ]]; then
    text+=": $(grep '^\[  PASSED' "$work/$name.txt")"
  elif [[ $name == random-batches ]]; then
    text+=": $(grep -c 'batches, .*seeds from' "$work/$name.txt") of 8 parts"
  fi
  printf '%4d s  %-13s %3d s  %s\n' "$SECONDS" "$name" "$((SECONDS - started))" "$text" | tee -a "$work/progress"
}

# After every step, so that a run that is cut off has left what it had.
write_out() {
  local file name
  for name in kernel-tests engine-tests random-batches golden-tests memcheck racecheck; do
    [ -e "$work/$name.txt" ] && { echo "== $name"; cat "$work/$name.txt" "$work/$name.err"; }
  done >"$out/tests.txt"
  {
    cat "$work/device.txt" "$work/progress"
    for file in "$work"/*.err; do
      [ -s "$file" ] && { echo "== ${file##*/}"; tail -n 40 "$file"; }
    done
  } >"$out/log.txt"
  "$python" "$here/report.py" "$work" "$out" || cat "$work"/*.txt >"$out/figures.md"
}

failed=0
nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm --format=csv,noheader >"$work/device.txt" 2>/dev/null ||
  echo "no nvidia-smi" >"$work/device.txt"
cat "$work/device.txt"
reason=$("$here/bin/pets_cuda_kernel_tests" --gtest_list_tests 2>&1)
if [ $? -eq 77 ]; then
  echo "$reason" | tee "$out/log.txt"
  exit 77
fi
export -f bench mixed sanitizer
export here work python own_libraries
for entry in "${steps[@]}" "${by_name[@]}"; do
  name=${entry% *}
  export -f "step_${name//-/_}"
  if [ $# -eq 0 ]; then
    [[ " ${by_name[*]} " == *" $entry "* ]] && continue
  else
    [[ " $* " == *" $name "* ]] || continue
  fi
  run "$name" "${entry#* }"
  write_out
done
exit $failed
