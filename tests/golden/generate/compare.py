"""Compares two golden directories: the same files, numbers within 1e-6, everything else equal."""

import gzip
import json

import torch

from common import read_tensors

TOLERANCE = 1e-6


def same(left, right):
    """Equal values; floats within TOLERANCE of the larger of 1 and their size."""
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= TOLERANCE * max(1.0, abs(left))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def same_file(left, right):
    if left.suffix == ".safetensors":
        a, b = read_tensors(left), read_tensors(right)
        return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.allclose(
            a[k].double(), b[k].double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True) for k in a)
    if left.suffix == ".bin":  # a zip archive: its time stamps may differ
        a, b = (torch.load(path, weights_only=True) for path in (left, right))
        return a.keys() == b.keys() and all(torch.allclose(a[k], b[k]) for k in a)
    if left.suffix == ".gz":
        return gzip.decompress(left.read_bytes()) == gzip.decompress(right.read_bytes())
    if left.suffix == ".jsonl":
        lines = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (left, right)]
        return same(*lines)
    return left.read_bytes() == right.read_bytes()


def report(committed, fresh):
    """Prints what differs of what was regenerated; the exit status."""
    bad = count = 0
    for path in sorted(p for p in fresh.rglob("*") if p.is_file()):
        name = path.relative_to(fresh)
        count += 1
        if not (committed / name).exists():
            print(f"missing: {name}")
        elif not same_file(committed / name, path):
            print(f"differs: {name}")
        else:
            continue
        bad += 1
    top = {path.relative_to(fresh).parts[0] for path in fresh.rglob("*") if path.is_file()}
    for path in sorted(p for p in committed.rglob("*") if p.is_file()):
        name = path.relative_to(committed)
        if name.parts[0] in top and name.parts[0] != "generate" and not (fresh / name).exists() and name.name != "README.md":
            print(f"not generated: {name}")
            bad += 1
    print(f"{count} files regenerated, {bad} differences")
    return 1 if bad else 0
