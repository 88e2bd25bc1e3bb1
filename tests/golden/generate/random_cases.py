"""Soak test: random bases and PETs, made by the Python libraries, against pets-convert and pets-run.

Not part of the tests (they have no torch): run it by hand after a change to a reader, a recipe or the tokenizer.

    venv/bin/python random_cases.py --rounds 20                      # the venv of README.md
    venv/bin/python random_cases.py --seed 1234 --rounds 1 --keep    # one round again; its files stay
    venv/bin/python random_cases.py --only peft,checkpoint

PETS_CONVERT and PETS_RUN name the programs. Each round makes one base and some PETs of every kind from `--seed` (printed), packs
them, runs pets-run and compares logits, labels, scores, offsets and answers with the library's. A task may be refused only
by a message that the generator expects. A difference over 1e-5 of the task's largest logit is compared with the library in fp64 too.
"""

import argparse
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from cases import flow
from random_bases import random_base
from random_checkpoints import random_checkpoint, random_tokens
from random_pets import Base, random_hub, random_ia3, random_none, random_peft, random_small
from texts import CONTEXTS, QUESTIONS, SENTENCES
from tokenizer_texts import random_text

TOLERANCE, FLOOR, HALF = 1e-5, 1e-6, 2e-3
MAKERS = {
    "none": random_none,
    "peft": random_peft,
    "ia3": lambda *args: random_peft(*args, make_config=random_ia3),
    "small": lambda *args: random_peft(*args, make_config=random_small),
    "hub": random_hub,
    "checkpoint": random_checkpoint,
    "tokens": random_tokens,
}
WEIGHTS = {"none": 1, "peft": 5, "ia3": 1.5, "small": 1, "hub": 4, "checkpoint": 4, "tokens": 0.7}


class LibraryRefused(Exception):
    """A base that the library itself cannot read."""


class Round:
    def __init__(self, seed, folder, kinds, tasks):
        self.rng, self.seed, self.folder, self.kinds = random.Random(seed), seed, folder, kinds
        self.problems, self.counts, self.unstable = [], Counter(), set()
        self.as_delta = self.rng.random() < 0.2
        try:
            config, kind, dtype = random_base(self.rng, folder / "base", str(seed))
            self.tokenizer = AutoTokenizer.from_pretrained(folder / "base")
        except Exception as error:
            self.note(f"base: {type(error).__name__}: {str(error)[:200]}", problem=False)
            raise LibraryRefused from error
        self.base = Base(folder / "base", config, kind, dtype)
        self.vocab = list(self.tokenizer.get_vocab())
        self.tasks = []
        for number in range(tasks):
            which = self.rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
            name = f"{which}{number}"
            try:
                task = MAKERS[which](self.rng, self.base, folder / name, name)
            except Exception as error:  # the library itself refuses some combinations
                self.counts["library refused"] += 1
                self.note(f"{name}: the library refused: {type(error).__name__}: {str(error)[:150]}", problem=False)
                shutil.rmtree(folder / name, ignore_errors=True)
                continue
            if self.rng.random() < 0.3:
                task.max_length = self.rng.randint(4, self.base.config.max_position_embeddings)
            self.tasks.append(task)

    def note(self, text, problem=True):
        (self.problems if problem else []).append(text)
        if problem or os.environ.get("VERBOSE"):
            print(f"  {self.seed} {text}", flush=True)

    def manifest(self, path, tasks, precision):
        text = f"version: 1\nbase: {{path: {self.base.path}, precision: {precision}}}\ntasks:{'' if tasks else ' []'}\n"
        for task in tasks:
            text += f"  - name: {task.name}\n    pet: {flow(task.pet)}\n"
            head = {key: [json.dumps(label) for label in value] if key == "labels" else value for key, value in (task.head or {}).items()}
            text += f"    head: {flow(head)}\n" if head else ""
            text += f"    max_length: {task.max_length}\n" if task.max_length else ""
        path.write_text(text, encoding="utf-8")

    def pack(self):
        """Packs what is accepted; checks that the rest is refused for the right reason."""
        manifest, bundle = self.folder / "manifest.yaml", self.folder / "out.pets"
        self.manifest(manifest, self.tasks, "fp32")
        if self.as_delta:  # the base alone, the tasks as a delta bundle for it
            self.manifest(self.folder / "base.yaml", [], "fp32")
            base = program("PETS_CONVERT", "pack", self.folder / "base.yaml", "-o", self.folder / "base.pets")
            result = program("PETS_CONVERT", "add", self.folder / "base.pets", manifest, "-o", bundle) if base.returncode == 0 else base
        else:
            result = program("PETS_CONVERT", "pack", manifest, "-o", bundle)
        self.files = [self.folder / "base.pets", bundle] if self.as_delta else [bundle]
        if result.returncode == 0:
            for task in self.tasks:
                if task.refusals:
                    self.note(f"{task.name}: expected a refusal that names {task.refusals} {task.notes}")
            return True
        refused = {}
        for line in result.stderr.splitlines():
            found = [task for task in self.tasks if f"task '{task.name}'" in line]
            if not found or result.returncode != 1:
                self.note(f"pack: exit status {result.returncode}: {line}")
            for task in found:
                refused[task.name] = line
        for task in self.tasks:
            line = refused.get(task.name)
            if line and not any(reason in line for reason in task.refusals):
                self.note(f"{task.name}: REFUSED: {line.split(': task ')[-1]} || {task.notes}")
            elif line:
                self.counts["refused as expected"] += 1
        accepted = [task for task in self.tasks if task.name not in refused]
        if len(accepted) == len(self.tasks):
            return False
        self.tasks = accepted
        return bool(accepted) and self.pack()

    def limit(self, task):
        length = self.tokenizer.model_max_length
        return task.max_length or min(length, self.base.config.max_position_embeddings)

    def long_text(self):
        return " ".join(self.rng.choice(SENTENCES) for _ in range(self.rng.randint(6, 12)))

    def queries(self, task):
        rng = self.rng
        odd = lambda: random_text(rng, self.vocab)
        if task.kind == "qa":
            if self.base.config.type_vocab_size == 1:
                return  # the library fails: there is no second type
            yield {"text": rng.choice(QUESTIONS), "text_pair": rng.choice(CONTEXTS)}
            yield {"text": odd(), "text_pair": odd() + " " + odd()}
            yield {"text": rng.choice(QUESTIONS), "text_pair": self.long_text()}
            yield {"text": self.long_text(), "text_pair": odd()}
            yield {"text": odd(), "text_pair": rng.choice(["", " ", odd()])}
            return
        yield {"text": ""}
        yield {"text": rng.choice(SENTENCES)}
        yield {"text": odd()}
        yield {"text": odd() + " " + odd()}
        yield {"text": self.long_text()}
        if self.base.config.type_vocab_size > 1:
            yield {"text": odd(), "text_pair": odd()}
            yield {"text": rng.choice(SENTENCES), "text_pair": self.long_text()}
            yield {"text": self.long_text(), "text_pair": self.long_text()}
        if rng.random() < 0.3:
            limit = self.limit(task)
            yield {"ids": [rng.randrange(self.base.config.vocab_size) for _ in range(rng.randint(1, limit))]}

    def run(self):
        if not self.pack():
            return
        lines, wanted = [], []
        for task in self.tasks:
            try:
                model = task.make().eval()
                entries = [(query, *self.expect(task, model, query)) for _ in range(task.many) for query in self.queries(task)]
            except Exception as error:
                self.note(f"{task.name}: the library failed: {type(error).__name__}: {str(error)[:300]} || {task.notes}")
                traceback.print_exc(limit=-3)
                continue
            for query, encoding, logits in entries:
                wanted.append((task, query, encoding, logits))
                lines.append({"id": len(lines), "task": task.name, **query})
        self.counts["tasks"] += len(self.tasks)
        queries = self.folder / "queries.jsonl"
        queries.write_text("".join(json.dumps(line, ensure_ascii=self.rng.random() < 0.5) + "\n" for line in lines), encoding="utf-8")
        result = program("PETS_RUN", *self.files, "--logits", "--input", queries, "--threads", "1")
        answers = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
        if len(answers) != len(lines) or result.returncode not in (0, 1):
            self.note(f"pets-run: exit status {result.returncode}, {len(answers)} of {len(lines)} answers, {result.stderr[:300]}")
            return
        self.compare(wanted, answers)
        self.verify(lines, wanted)
        self.half(wanted, lines)

    def encode(self, query, **options):
        """As a batch of one: for a single text `transformers` takes an empty text_pair for none, in a batch it does not."""
        pairs = [query["text_pair"]] if "text_pair" in query else None
        return self.tokenizer([query["text"]], pairs, **options)

    def expect(self, task, model, query):
        if "ids" in query:
            encoding = {"input_ids": torch.tensor([query["ids"]]), "attention_mask": torch.ones(1, len(query["ids"]), dtype=torch.long)}
        else:
            encoding = self.encode(query, truncation=True, max_length=self.limit(task), return_tensors="pt",
                                   return_offsets_mapping=True, return_special_tokens_mask=True, return_token_type_ids=True,
                                   return_attention_mask=True)
        inputs = {key: encoding[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in encoding}
        with torch.no_grad():
            return encoding, task.logits(model(**inputs)).double().numpy()

    def compare(self, wanted, answers):
        by_task = {}
        for (task, query, encoding, logits), answer in zip(wanted, answers):
            by_task.setdefault(task.name, []).append((task, query, encoding, logits, answer))
        for name, entries in by_task.items():
            task = entries[0][0]
            largest = max(float(np.abs(logits).max()) for _, _, _, logits, _ in entries)
            worst, where = 0.0, None
            for _, query, encoding, logits, answer in entries:
                if "error" in answer or "logits" not in answer:
                    self.note(f"{name}: {query}: {answer} || {task.notes}")
                    continue
                ours = np.array(answer["logits"], dtype=np.float64)
                if ours.shape != logits.shape:
                    self.note(f"{name}: {query}: logits of shape {ours.shape}, expected {logits.shape} || {task.notes}")
                    continue
                error = float(np.abs(ours - logits).max()) / max(largest, FLOOR / TOLERANCE)
                if error > worst:
                    worst, where = error, (query, encoding, logits, ours)
                self.counts["queries"] += 1
                self.check_answer(task, query, encoding, answer, ours)
            self.counts["largest"] = max(self.counts["largest"], worst if worst < TOLERANCE else 0)
            if worst > TOLERANCE:
                self.against_double(task, worst, largest, *where)

    def against_double(self, task, worst, largest, query, encoding, logits, ours):
        inputs = {key: encoding[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in encoding}
        run = lambda model: task.logits(model(**inputs)).detach().double().numpy()
        exact = run(task.make().eval().double())
        distance = lambda values: float(np.abs(values - exact).max()) / largest
        error, noise = distance(ours), distance(logits)
        for seed in range(6):  # how far the last bit of the weights moves the library's own answer
            model, gen = task.make().eval(), torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.data.mul_(1 + 6e-8 * torch.randn(parameter.shape, generator=gen))
            noise = max(noise, distance(run(model)))
        if error <= max(TOLERANCE, 3 * noise):
            self.counts["ill-conditioned"] += 1  # the library's fp32 is as far from the truth as we are
            self.unstable.add(task.name)
            self.note(f"{task.name}: ill-conditioned: {worst:.2e} {error:.2e} {noise:.2e}", problem=False)
            return
        self.note(f"{task.name}: relative error {worst:.2e}; against fp64 {error:.2e}, the library's own {noise:.2e}: "
                  f"{json.dumps(query)[:200]} || {task.notes}")

    def check_answer(self, task, query, encoding, answer, ours):
        bad = lambda what: self.note(f"{task.name}: {what}: {query}: {str(answer)[:400]} || {task.notes}")
        softmax = lambda x: np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)
        if task.kind in ("sequence", "multilabel"):
            scores = softmax(ours) if task.kind == "sequence" else 1 / (1 + np.exp(-ours))
            names = list(answer["scores"])
            if task.labels and names != task.labels:
                bad(f"labels {names}, expected {task.labels}")
            if np.abs(np.array(list(answer["scores"].values())) - scores).max() > 1e-6:
                bad("scores")
            if task.kind == "sequence" and answer["label"] != names[int(ours.argmax())]:
                bad("label")
            if task.kind == "multilabel" and answer["labels"] != [n for n, s in answer["scores"].items() if s > 0.5]:
                bad("labels")
        if task.kind == "regression" and answer.get("value") != answer["logits"][0]:
            bad("value")
        if task.kind == "embedding" and answer.get("embedding") != answer["logits"]:
            bad("embedding")
        if "ids" in query:
            return
        full = self.encode(query, truncation=False, verbose=False)
        if answer.get("truncated", False) != (len(full["input_ids"][0]) > self.limit(task)):
            bad("truncated")
        texts = (query["text"], query.get("text_pair"))
        rows = [(i, *span, texts[encoding.sequence_ids(0)[i]]) for i, (span, special) in
                enumerate(zip(encoding["offset_mapping"][0].tolist(), encoding["special_tokens_mask"][0].tolist())) if not special]
        if task.kind == "tokens":
            scores = softmax(ours)
            expected = [(start, end, text[start:end], int(ours[i].argmax())) for i, start, end, text in rows]
            found = [(t["start"], t["end"], t["text"], t["label"]) for t in answer["tokens"]]
            if [e[:3] for e in expected] != [f[:3] for f in found]:
                bad(f"tokens, expected {expected[:60]}")
            elif task.labels and [task.labels[e[3]] for e in expected] != [f[3] for f in found]:
                bad("token labels")
            elif expected and max(abs(t["score"] - scores[i].max()) for (i, *_), t in zip(rows, answer["tokens"])) > 1e-6:
                bad("token scores")
        if task.kind == "qa":
            self.check_span(encoding, texts[1], answer, ours, bad)

    @staticmethod
    def check_span(encoding, context, answer, ours, bad):
        mask, sides = encoding["special_tokens_mask"][0].tolist(), encoding.sequence_ids(0)
        inside = [i for i, side in enumerate(sides) if side == 1 and not mask[i]]
        best = None
        for i in inside:
            for j in inside:
                score = np.float32(ours[0][i]) + np.float32(ours[1][j])
                if i <= j < i + 30 and (best is None or score > best[0]):
                    best = (score, i, j)
        if best is None:
            if answer["answer"] is not None:
                bad("an answer in an empty context")
            return
        start, end = encoding["offset_mapping"][0][best[1]][0].item(), encoding["offset_mapping"][0][best[2]][1].item()
        found = answer["answer"]
        same = found is not None and (found["start"], found["end"], found["text"]) == (start, end, context[start:end])
        if not same or abs(found["score"] - best[0]) > 1e-4:
            bad(f"answer, expected {(start, end, float(best[0]))}")

    def half(self, wanted, lines):
        """An fp16 bundle stays within HALF, or as near as the library is whose linear weights are rounded."""
        manifest, bundle = self.folder / "half.yaml", self.folder / "half.pets"
        self.manifest(manifest, self.tasks, "fp16")
        packed = program("PETS_CONVERT", "pack", manifest, "-o", bundle)
        result = program("PETS_RUN", bundle, "--logits", "--input", self.folder / "queries.jsonl", "--threads", "1")
        answers = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
        if packed.returncode != 0 or len(answers) != len(lines):
            self.note(f"fp16: {packed.stderr[:300]} {result.stderr[:300]}")
            return
        by_task = {}
        for (task, query, encoding, logits), answer in zip(wanted, answers):
            by_task.setdefault(task.name, []).append((task, encoding, logits, np.array(answer["logits"])))
        for name, entries in by_task.items():
            task = entries[0][0]
            largest = max(float(np.abs(logits).max()) for _, _, logits, _ in entries)
            worst = max(float(np.abs(ours - logits).max()) for _, _, logits, ours in entries) / largest
            self.counts["fp16 tasks"] += 1
            if worst <= HALF:
                continue
            model = task.make().eval()
            for key, parameter in model.named_parameters():
                if re.search(r"encoder\.layer\.\d+\..*(query|key|value|dense)(\.base_layer)?\.weight$", key):
                    parameter.data = parameter.data.half().float()
            rounded = 0.0
            for _, encoding, logits, _ in entries:
                inputs = {key: encoding[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in encoding}
                with torch.no_grad():
                    rounded = max(rounded, float(np.abs(task.logits(model(**inputs)).numpy() - logits).max()) / largest)
            self.counts["fp16 by rounding"] += 1
            if worst > max(HALF, 2 * rounded):
                self.note(f"{name}: fp16: relative error {worst:.2e}, rounding the weights costs {rounded:.2e} || {task.notes}")

    def verify(self, lines, wanted):
        """`verify --against` agrees."""
        expected = self.folder / "expected.jsonl"
        stable = [{**line, "logits": logits.tolist()} for line, (task, _, _, logits) in zip(lines, wanted)
                  if task.name not in self.unstable]
        expected.write_text("".join(json.dumps(line) + "\n" for line in stable))
        result = program("PETS_CONVERT", "verify", *self.files, "--against", expected, "--tolerance", "1e-4")
        if result.returncode != 0 and not self.problems:
            self.note(f"verify: {result.stdout} {result.stderr}")
        self.counts["verified"] += result.returncode == 0


def program(variable, *arguments):
    return subprocess.run([os.environ[variable], *map(str, arguments)], capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--only", default=",".join(MAKERS))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    logging.disable(logging.CRITICAL)
    counts, failed, began = Counter(), [], time.monotonic()
    print(f"seed {options.seed}", flush=True)
    for number in range(options.rounds):
        seed = options.seed + number
        folder = Path(tempfile.mkdtemp(prefix=f"pets-{seed}-"))
        try:
            one = Round(seed, folder, options.only.split(","), options.tasks)
            one.run()
        except LibraryRefused:
            counts["base refused by the library"] += 1
            shutil.rmtree(folder)
            continue
        except Exception:
            traceback.print_exc()
            failed.append(seed)
            continue
        largest = max(counts["largest"], one.counts["largest"])
        counts.update({key: value for key, value in one.counts.items() if key != "largest"})
        counts["largest"] = largest
        if one.problems:
            failed.append(seed)
        if not options.keep:
            shutil.rmtree(folder)
        else:
            print(folder)
    print(f"{options.rounds} rounds in {time.monotonic() - began:.0f} s, {dict(counts)}, failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
