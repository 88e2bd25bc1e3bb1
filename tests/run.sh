#!/usr/bin/env bash
# Builds and passes every test: the one command, for people and for CI. Installs what is missing, works from clean, can be run again.
# usage: tests/run.sh [--stage NAME]... [--list]
#   --stage NAME   run only this stage (repeatable); what it needs from earlier ones is made. Some run only when named.
#   --list         name the stages with their budgets
# JOBS=N sets the parallel jobs. ARM64_SOURCES=FILE is a sources.list with arm64 packages, where the machine's own have none (Ubuntu).
# A stage over its budget is marked; with STRICT_BUDGETS=1 it fails.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
logs=$root/build/logs
jobs=${JOBS:-$(nproc)}
sources=(schema kernels runtime converter examples benchmarks tests)

# name, budget in seconds on two cores from clean, what it does
stages=(
  "packages  60  install the missing Debian/Ubuntu packages, fetch the real model"
  "house     10  clang-format, include arrows, file sizes"
  "build    230  build everything with optimization and assertions"
  "tests    170  all tests and goldens"
  "cuda     260  compile the CUDA backend with nvcc, look for spills, run what needs a GPU where there is one"
  "aarch64  360  cross-build for 64-bit ARM, look for spills, run kernel, bundle, tokenizer, engine and golden tests emulated, as two CPUs"
  "examples  20  quickstart on the real model, embedded application, installed library"
  "asan     540  build with AddressSanitizer and UBSan (and the fuzz targets), all tests, parser line coverage"
  "tsan     260  build with ThreadSanitizer, session, hot-add and server tests"
  "fuzz      80  run each fuzz target over its floor of executions"
  "tidy     240  clang-tidy over everything that is not a test"
)
# These run only when they are named: for every night, not for every change.
optional_stages=(
  "aarch64-cuda 480  fetch CUDA for arm64 (590 MB), link libpets with the CUDA backend as archive and shared library, start programs emulated"
)
# target, executions at least, seconds at most, bytes of the longest input
fuzzers=("bundle 30000 25 65536" "safetensors 60000 20 8192" "tokenizer 30000 25 4096" "json_lines 60000 20 4096" "latency_table 60000 20 4096")
minimum_parser_coverage=90

passed=0
failed=0
report=()

tool() { # tool NAME: the version that the repository is formatted and checked with, else what there is
  command -v "$1-14" || command -v "$1"
}

source_files() { # source_files PATTERN...: tracked and new files, or all where this is no git checkout
  git ls-files --cached --others --exclude-standard -- "$@" 2>/dev/null | while read -r file; do [ -f "$file" ] && echo "$file"; done
}
cxx_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    source_files "${@/%//*.h}" "${@/%//*.cc}" "${@/%//*.cu}"
  else
    find "$@" \( -name '*.h' -o -name '*.cc' -o -name '*.cu' \) | sort
  fi
}

count_tests() { # adds up what a ctest run reported
  local line
  while read -r line; do
    local bad=${line%% tests failed*} all=${line##*out of }
    bad=${bad##* }
    failed=$((failed + bad))
    passed=$((passed + all - bad))
  done < <(grep -E 'tests passed, [0-9]+ tests failed out of' "$1")
  while read -r line; do # a whole program counted as one test above
    local cases=${line%% cases in *} programs=${line##* cases in }
    passed=$((passed + cases - ${programs%% *}))
  done < <(grep -E '^[0-9]+ cases in [0-9]+ programs' "$1")
}

configure() { # configure PRESET [OPTION]...
  local preset=$1
  shift
  command -v ccache >/dev/null && set -- "$@" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  cmake --preset "$preset" "$@"
}

run_ctest() { # run_ctest PRESET [OPTION]...
  local preset=$1
  shift
  export PETS_MINILM_DIR=$root/build/models/minilm
  ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error "$@"
}

stage_packages() {
  local packages=()
  mapfile -t packages < <(cat examples/quickstart/packages.txt tests/packages.txt)
  examples/quickstart/install_packages.sh "${packages[@]}" && examples/quickstart/fetch_model.sh build/models
}

make_sysroot() { toolchains/make_sysroot.sh build/sysroot-aarch64 ${ARM64_SOURCES:+--sources "$ARM64_SOURCES"}; }
arm64_is_elsewhere() { # Ubuntu keeps arm64 in an archive of its own, which its machines do not name as they are
  grep -qx 'ID=ubuntu' /etc/os-release && [ -z "${ARM64_SOURCES:-}" ] && [ ! -e build/sysroot-aarch64/.complete ]
}

stage_house() {
  local format
  format=$(tool clang-format) || return 1
  if [[ $("$format" --version) == *"version 14."* ]]; then
    cxx_files "${sources[@]}" | xargs -P "$jobs" -n 16 "$format" --dry-run -Werror || return 1
  else
    echo "clang-format 14 is not there: the format check is left out ($("$format" --version))"
  fi
  python3 tests/arrows/check_arrows.py --self-test && python3 tests/arrows/check_arrows.py . || return 1
  local wrong
  wrong=$(find "${sources[@]}" cmake docs -type f -size +2M)
  if [ -n "$wrong" ]; then
    echo "files over 2 MiB: $wrong"
    return 1
  fi
}

stage_build() { configure dev && cmake --build build/dev -j "$jobs"; }

stage_tests() { run_ctest dev -LE install; }

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

stage_cuda() {
  if ! command -v nvcc >/dev/null; then
    echo "left out: there is no CUDA toolkit (nvcc)"
    return 0
  fi
  local launcher=() targets=(pets-run pets_cuda_kernel_tests) log=build/cuda/kernels.log resources=tests/kernels/cuda/resources.py
  command -v ccache >/dev/null && launcher=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  has_gpu && targets+=(pets_cuda_engine_tests pets_cuda_golden_tests)
  configure cuda -DPETS_BUILD_EXAMPLES=OFF -DPETS_BUILD_BENCHMARKS=OFF "${launcher[@]}" || return 1
  rm -rf build/cuda/kernels/cuda/CMakeFiles/pets_cuda_kernels.dir # what nvcc says of every kernel is wanted again
  cmake --build build/cuda -j "$jobs" --target "${targets[@]}" >"$log" 2>&1 || { tail -n 40 "$log"; return 1; }
  python3 $resources --self-test >/dev/null && python3 $resources "$log" || return 1
  if has_gpu; then
    run_ctest cuda -L gpu
    return
  fi
  run_ctest cuda -R '^pets_cuda_kernel_tests$' && says_no_device build/cuda/runtime/cli/pets-run build/cuda/no-device.txt
}

says_no_device() { # says_no_device PROGRAM LOG: without a device pets-run --backend cuda says so and exits with 1
  local status=0
  "$1" tests/bundle/old/v1.pets --backend cuda </dev/null 2>"$2" || status=$?
  cat "$2"
  [ $status -eq 1 ] && grep -q "no CUDA device.*the cpu backend works without one" "$2" && return
  echo "$1 --backend cuda: expected status 1 and a line with 'no CUDA device', found status $status and the above"
  return 1
}

emulated_targets=(pets_kernel_tests pets_bundle_tests pets_tokenizer_tests pets_tokenizer_allocation_test pets_platform_tests
  pets_engine_tests pets_allocation_test pets-convert)
# CPU, labels, GoogleTest's cases, goldens. One CPU as Jetson Orin's (Armv8.2 with half-precision arithmetic and dot products, no more) runs
# everything but LinearTime, which measures time; one that has all runs what only it has. The base tiny64 has a task with every operator, and
# goldens in every precision; other bases have the same kernels and more arithmetic, MiniLM 100 times.
emulated=(
  "cortex-a76 kernels|bundle|tokenizer|platform|engine|golden -*LinearTime* tiny64|tiny48c"
  "max kernels|engine|golden *neon_bf16*:*Precision*:IsaTest* tiny64"
)

run_emulated() { # run_emulated "CPU LABELS CASES GOLDENS"
  local cpu labels cases goldens log=build/aarch64/Testing/Temporary/LastTest.log
  read -r cpu labels cases goldens <<<"$1"
  echo "as $cpu:"
  QEMU_CPU=$cpu GTEST_FILTER=$cases run_ctest aarch64 -L "^($labels)\$" -R "^(pets_.*|golden\.($goldens))\$" || return 1
  awk '/^\[  PASSED  \] [0-9]+ tests?\./ { cases += $4; ++programs } END { print cases + 0 " cases in " programs + 0 " programs" }' "$log"
}

stage_aarch64() {
  if arm64_is_elsewhere; then
    echo "left out: this machine's package sources have no arm64; ARM64_SOURCES=FILE names a sources.list that has"
    return 0
  fi
  local packages=()
  mapfile -t packages <tests/packages-aarch64.txt
  examples/quickstart/install_packages.sh "${packages[@]}" && make_sysroot && configure aarch64 && cmake --build build/aarch64 -j "$jobs" --target "${emulated_targets[@]}" || return 1
  local loops=benchmarks/kernels/mca/tile_loops.py
  python3 $loops --self-test && python3 $loops build/aarch64 --spills-only || return 1
  local each
  for each in "${emulated[@]}"; do run_emulated "$each" || return 1; done
}

stage_aarch64-cuda() {
  if ! command -v nvcc >/dev/null || arm64_is_elsewhere; then
    echo "left out: there is no CUDA toolkit (nvcc), or no arm64 in this machine's package sources (ARM64_SOURCES=FILE names some that have)"
    return 0
  fi
  local packages=() launcher=() build=build/aarch64-cuda shared
  mapfile -t packages <tests/packages-aarch64.txt
  command -v ccache >/dev/null && launcher=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  examples/quickstart/install_packages.sh "${packages[@]}" && make_sysroot && toolchains/make_cuda_sysroot.sh build/cuda-aarch64 || return 1
  export QEMU_CPU=cortex-a76
  for shared in OFF ON; do
    echo "BUILD_SHARED_LIBS=$shared:"
    configure aarch64-cuda -DBUILD_SHARED_LIBS=$shared "${launcher[@]}" &&
      cmake --build $build -j "$jobs" --target pets-run pets_cuda_kernel_tests pets_cuda_engine_tests &&
      run_ctest aarch64-cuda -R '^pets_cuda_(kernel|engine)_tests$' && says_no_device $build/emulated/pets-run $build/no-device.txt &&
      $build/emulated/pets-run tests/bundle/old/v1.pets --backend cpu --self-check || return 1
  done
  aarch64-linux-gnu-strip -o $build/stripped.so $build/runtime/libpets.so && stat -c 'libpets.so, stripped: %s bytes' $build/stripped.so
}

stage_examples() {
  examples/quickstart/run.sh --build build/dev --model "$root/build/models/minilm" &&
    tests/install/run.sh build/dev build/dev/install-check build/quickstart/quickstart.pets &&
    build/dev/examples/embedded/pets-embedded build/quickstart/quickstart.pets movie-sentiment "Better than I feared."
}

build_asan() { # one instrumented build for the stages asan and fuzz
  local clang
  clang=$(tool clang++) || return 1
  configure asan -DCMAKE_CXX_COMPILER="$clang" -DPETS_BUILD_FUZZERS=ON && cmake --build build/asan -j "$jobs" "$@"
}

stage_asan() {
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
  build_asan || return 1
  find build/asan -name '*.gcda' -delete
  run_ctest asan && python3 tests/coverage.py build/asan . "$minimum_parser_coverage" "$(tool llvm-cov)" gcov
}

stage_tsan() {
  local clang
  clang=$(tool clang++) || return 1
  export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
  configure tsan -DCMAKE_CXX_COMPILER="$clang" && cmake --build build/tsan -j "$jobs" --target pets_engine_tests pets_server_tests &&
    run_ctest tsan -L '^(engine|serving)$'
}

run_fuzzer() { # run_fuzzer "NAME FLOOR SECONDS MAX_LEN"
  local name floor seconds max_len runs
  read -r name floor seconds max_len <<<"$1"
  local binary=build/asan/tests/fuzz/${name}_fuzz corpus=build/asan/fuzz/corpus/$name log=$logs/fuzz-$name.log options=()
  if [ ! -x "$binary" ]; then
    echo "$name: no fuzz target"
    return 1
  fi
  mkdir -p "$corpus" "tests/fuzz/corpus/$name" build/asan/fuzz/findings
  [ -f "tests/fuzz/$name.dict" ] && options+=("-dict=tests/fuzz/$name.dict")
  if ! "$binary" -seed=1 -max_total_time="$seconds" -max_len="$max_len" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/asan/fuzz/findings/$name-" "${options[@]}" "$corpus" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "$name: the input is in build/asan/fuzz/findings"
    return 1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "$name: ${runs:-0} executions in $seconds s, floor $floor"
  [ "${runs:-0}" -ge "$floor" ]
}

stage_fuzz() {
  local status=0 pids=() fuzzer pid
  build_asan --target "${fuzzers[@]/%\ */_fuzz}" || return 1
  for fuzzer in "${fuzzers[@]}"; do
    run_fuzzer "$fuzzer" &
    pids+=($!)
    if [ ${#pids[@]} -ge "$jobs" ]; then
      wait "${pids[0]}" || status=1
      pids=("${pids[@]:1}")
    fi
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}

stage_tidy() {
  local tidy builds=build/tidy
  tidy=$(tool clang-tidy) || return 1
  # What CUDA's own headers are needed for is compiled by the stage cuda alone.
  if [ -f build/cuda/compile_commands.json ]; then builds+=,build/cuda; else tidy_left_out+=(device_cuda.cc mapped_memory_cuda.cc product_cuda.cc); fi
  # The options of each file; the builds compile several files as one.
  configure dev -B build/tidy -DCMAKE_UNITY_BUILD=OFF >/dev/null && cmake --build build/tidy --target pets_schema || return 1
  cxx_files schema kernels runtime converter examples | grep '\.cc$' | grep -v -F -f <(printf '%s\n' "${tidy_left_out[@]}") |
    xargs python3 tests/tidy.py "$tidy" "$builds" build/tidy/groups "$jobs"
}
# Needs flags of another compiler or machine.
tidy_left_out=(kernels_neon.cc dot_neon)

run_stage() { # run_stage NAME BUDGET
  local name=$1 budget=$2 log=$logs/$1.log started=$SECONDS status=0 seconds mark=ok
  printf '== %-13s' "$name"
  ("stage_$name") >"$log" 2>&1 || status=$?
  seconds=$((SECONDS - started))
  count_tests "$log"
  if [ $status -ne 0 ]; then
    mark=FAILED
  elif [ $seconds -gt "$budget" ]; then
    mark="over budget"
    [ "${STRICT_BUDGETS:-0}" = 1 ] && status=1
  fi
  printf '%4d s  %s\n' "$seconds" "$mark"
  report+=("$(printf '%-12s %6d %7d  %s' "$name" "$seconds" "$budget" "$mark")")
  if [ $status -ne 0 ]; then
    echo "-- the end of ${log#"$root"/}:"
    tail -n 80 "$log"
  else
    case $name in # what a person wants to see even where all is well
      aarch64-cuda) grep -E '^BUILD_SHARED|no CUDA device|: ok, |stripped|^left out' "$log" ;;
      aarch64) grep -E '^as |tests passed|cases in|sec\*proc|spills in them|^left out' "$log" ;;
      examples | fuzz) grep -vE '^\[|^--|^$' "$log" | tail -n 60 ;;
      asan) sed -n '/^parser  /,$p' "$log" ;;
    esac
  fi
  return $status
}

main() {
  local chosen=() entry name budget what total=$SECONDS status=0
  while [ $# -gt 0 ]; do
    case $1 in
      --stage) chosen+=("${2:?--stage needs a name}"); shift 2 ;;
      --list) printf '%s\n' "${stages[@]}" "" "only when named:" "${optional_stages[@]}"; exit 0 ;;
      -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
  done
  for name in "${chosen[@]}"; do
    declare -F "stage_$name" >/dev/null || { echo "no stage $name; there are:" >&2; printf '%s\n' "${stages[@]}" "${optional_stages[@]}" >&2; exit 2; }
  done
  mkdir -p "$logs"
  local entries=("${stages[@]}")
  [ ${#chosen[@]} -eq 0 ] || entries+=("${optional_stages[@]}")
  for entry in "${entries[@]}"; do
    read -r name budget what <<<"$entry"
    if [ ${#chosen[@]} -gt 0 ] && [[ " ${chosen[*]} " != *" $name "* ]]; then continue; fi
    run_stage "$name" "$budget" || { status=1; break; }
  done
  printf '\n%-12s %6s %7s\n' stage seconds budget
  printf '%s\n' "${report[@]}"
  printf '%-12s %6d\n\n' total $((SECONDS - total))
  [ $status -eq 0 ] || echo "stopped at the first stage that failed"
  echo "$passed passed, $failed failed"
  exit $status
}

main "$@"
