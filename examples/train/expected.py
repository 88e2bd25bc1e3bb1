"""Writes examples/pets/expected.jsonl: texts of every task with the logits that the Python libraries compute.

    python expected.py --cache DIR

Each PET is read from its committed files with the library that made it (`operators` files: a transformers BertModel with
edited weights), in eval mode, fp32, one text at a time, so that nothing is padded. Versions are in QUALITY.md.
"""

import argparse
import json
from pathlib import Path

import data
import report
import run_all
import torch
import training
from transformers import AutoTokenizer, BertModel
from transformers.utils import logging

HELD_OUT = 3  # held-out rows a task; one freshly written row follows, and for every third task that row is too long
FRESH_SENTIMENT = "The battery died after two days, but support replaced it without any fuss \u2013 great service!"
FRESH_PACKAGE = "command-line tool to trim and join MP3 files. It cuts audio files without decoding them, so nothing is lost."
SEARCH = [
    "How do I convert a PDF file to plain text?",
    "extract text from PDF documents",
    "The caf\u00e9's na\u00efve r\u00e9sum\u00e9 \u2013 \u20ac5 for 30\u00b0C tea \U0001f375!",
    "a fast and small web server for static files",
    "",
]


def _line(task: str, number: int, text: str, logits: torch.Tensor) -> str:
    row = {"id": f"{task}/{number}", "task": task, "text": text}
    row["logits"] = [float(str(v)) for v in logits.numpy()]  # the shortest digits of each float32
    return json.dumps(row, ensure_ascii=False) + "\n"


def task_texts(task, dataset, place: int) -> list[str]:
    """Texts spread over the held-out part, so that classes differ, and a fresh one."""
    step = len(dataset.test) // HELD_OUT
    fresh = FRESH_PACKAGE if task.name.startswith("package") else FRESH_SENTIMENT
    return [dataset.test[i * step + 5][0] for i in range(HELD_OUT)] + [" ".join([fresh] * (4 if place % 3 == 2 else 1))]


def embedding(base: Path, tokenizer, text: str) -> torch.Tensor:
    """The mean of all tokens of the untouched base, scaled to length 1."""
    model = BertModel.from_pretrained(base).eval()
    hidden = model(**tokenizer(text, truncation=True, max_length=128, return_tensors="pt")).last_hidden_state
    return torch.nn.functional.normalize(hidden.mean(1), dim=-1)[0]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=None)
    args = parser.parse_args()
    logging.set_verbosity_error()
    base = args.base or run_all.packaged_base()
    tokenizer = AutoTokenizer.from_pretrained(base)
    expected = []
    for place, task in enumerate(report.finished(run_all.PETS, args.cache / "results")):
        dataset = data.load(task.dataset, args.cache)
        model = task.recipe.load(base, dataset, run_all.PETS / task.name)
        for i, text in enumerate(task_texts(task, dataset, place)):
            inputs = tokenizer(text, truncation=True, max_length=training.MAX_LENGTH, return_tensors="pt")
            logits = training.logits_of(model, inputs["input_ids"], inputs["attention_mask"])[0]
            expected.append(_line(task.name, i, text, logits))
    for i, text in enumerate(SEARCH):
        expected.append(_line("search", i, text, embedding(base, tokenizer, text)))
    (run_all.PETS / "expected.jsonl").write_text("".join(expected), encoding="utf-8")
    print(f"{len(expected)} rows")


if __name__ == "__main__":
    main()
