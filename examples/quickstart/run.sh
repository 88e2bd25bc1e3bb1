#!/usr/bin/env bash
# The main job in one command: builds the tools, fetches a real encoder, packs it with the trained tasks of examples/pets into one
# bundle, and answers a mixed batch of queries. Can be run again; what is there already is not made again.
# usage: examples/quickstart/run.sh [--model DIR] [--build DIR]
#   --model DIR   take the encoder from this Hugging Face directory (MiniLM-L6) in place of fetching it
#   --build DIR   take pets-convert and pets-run from this build tree in place of building them
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/build/quickstart
model=
build=

usage() { sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
while [ $# -gt 0 ]; do
  case $1 in
    --model) model=$(cd "${2:?--model needs a directory}" && pwd); shift 2 ;;
    --build) build=$(cd "${2:?--build needs a directory}" && pwd); shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
step() { printf '\n== %s\n' "$*"; }
size_of() { stat -Lc %s "$1"; }
mebibytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

mkdir -p "$work"
if [ -z "$build" ]; then
  build=$root/build/release
  step "1/4 Building pets-convert and pets-run in ${build#"$root"/}"
  mapfile -t packages < "$here/packages.txt"
  "$here/install_packages.sh" "${packages[@]}"
  cmake --preset release -S "$root" -DPETS_BUILD_TESTS=OFF -DPETS_BUILD_BENCHMARKS=OFF -DPETS_BUILD_EXAMPLES=OFF -DPETS_CUDA=OFF > "$work/configure.log" ||
    { cat "$work/configure.log"; exit 1; }
  cmake --build "$build" --target pets-convert pets-run
fi

step "2/4 The encoder"
if [ -z "$model" ]; then
  "$here/fetch_model.sh" "$root/build/models"
  model=$root/build/models/minilm
fi
echo "$model ($(mebibytes "$(size_of "$model/model.safetensors")"))"

step "3/4 Packing the encoder and the tasks of examples/pets into one bundle"
# The manifest names the encoder as "model" beside it.
rm -rf "$work/pets"
mkdir "$work/pets"
for entry in "$root"/examples/pets/*; do ln -s "$entry" "$work/pets/"; done
ln -sfn "$model" "$work/pets/model"
"$build/converter/pets-convert" pack "$work/pets/manifest.yaml" -o "$work/quickstart.pets"
tasks=$(grep -c '^ *- name:' "$root/examples/pets/manifest.yaml")
bundle_bytes=$(size_of "$work/quickstart.pets")
copies_bytes=$((tasks * $(size_of "$model/model.safetensors")))
echo "$tasks tasks in one bundle: $(mebibytes "$bundle_bytes"); as $tasks fully fine-tuned copies: $(mebibytes "$copies_bytes")"

step "4/4 Answering a mixed batch: examples/pets/queries.jsonl"
"$build/runtime/cli/pets-run" "$work/quickstart.pets" --input "$root/examples/pets/queries.jsonl" --table

cat <<END

Your own queries, one JSON object a line:
  echo '{"task": "movie-sentiment", "text": "Not as bad as they say."}' | ${build#"$root"/}/runtime/cli/pets-run ${work#"$root"/}/quickstart.pets
END
