"""What a golden case is, and how its expected lines and manifests are written."""

import dataclasses
import json
from pathlib import Path
from typing import Callable, Optional

import torch
from transformers import AutoTokenizer

from common import float32_json
from texts import lines_for


@dataclasses.dataclass
class Case:
    """One task. `load(base_dir, pet_dir)` returns a function from an encoding to logits, of the SAVED files."""
    name: str
    base: str
    load: Callable
    format: str = "auto"
    pet: bool = True                      # False: `format: none`
    pet_path: Optional[str] = None        # below the golden directory, default pets/NAME
    lines: str = "single"                 # single | pair | qa
    inputs: Optional[list] = None         # the lines themselves, instead of a kind
    head: Optional[dict] = None           # manifest `head`, None leaves it out
    max_length: Optional[int] = None
    pet_options: dict = dataclasses.field(default_factory=dict)  # further keys of the manifest's `pet`
    extra: bool = False                   # goes to manifests/BASE-extra.yaml: beyond what the first version must do
    recompute: Optional[Callable] = None  # like `load`, but plain formulas in fp64: must agree with the library
    expect: Optional[str] = None          # a refusal: what the message must name
    later: Optional[str] = None           # refused now, could be supported: expected logits are kept beside it


def encode(tokenizer, line, max_length):
    if "ids" in line:
        ids = torch.tensor([line["ids"]])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    pair = line.get("text_pair")
    return dict(tokenizer(line["text"], pair, truncation=True, max_length=max_length, return_tensors="pt"))


class Writer:
    """Collects the tasks of every base and writes `manifests/` and `expected/`."""

    def __init__(self, layout, digits=None):
        self.layout = layout
        self.digits = digits  # significant digits of the logits; None: all that a float32 has
        self.tokenizers = {}
        self.by_group = {}
        self.refused = []

    def tokenizer(self, base):
        if base not in self.tokenizers:
            self.tokenizers[base] = AutoTokenizer.from_pretrained(self.layout.bases / base)
        return self.tokenizers[base]

    @torch.no_grad()
    def expected_lines(self, case):
        base_dir = self.layout.bases / case.base
        tokenizer = self.tokenizer(case.base)
        config = json.loads((base_dir / "config.json").read_text())
        limit = case.max_length or min(tokenizer.model_max_length, config["max_position_embeddings"])
        run = case.load(base_dir, self.layout.pets / case.name)
        plain = case.recompute(base_dir, self.layout.pets / case.name) if case.recompute else None
        written, noise, largest, formula = [], 0.0, 1e-6, 0.0
        inputs = case.inputs or lines_for(case.name, case.lines, config["vocab_size"], limit)
        for number, line in enumerate(inputs):
            encoding = encode(tokenizer, line, limit)
            logits = run(encoding).squeeze(0)
            exact = run.double(encoding).squeeze(0)
            noise = max(noise, float((logits.double() - exact).abs().max()))
            largest = max(largest, float(exact.abs().max()))
            if plain:
                formula = max(formula, float((plain(encoding).squeeze(0) - exact).abs().max()))
            fields = {"id": f"{case.name}/{number}", "task": case.name, **line}
            text = json.dumps(fields, ensure_ascii=False)
            written.append(f'{text[:-1]}, "logits": {float32_json(logits, self.digits)}}}')
        if formula > 1e-10 * largest:
            raise ValueError(f"{case.name}: the formulas of FORMAT_NOTES.md are off by {formula / largest:.1e}")
        return written, noise / largest

    def add(self, case):
        """Runs a case. fp32 must be near fp64, else no other fp32 engine could meet the tolerance of the goldens."""
        lines, worst = ([], 0.0) if case.expect and not case.later else self.expected_lines(case)
        if worst > 4e-6:
            raise ValueError(f"{case.name}: fp32 and fp64 logits differ by {worst:.1e}; the golden is ill-conditioned")
        if case.expect:
            self.refused.append((case, lines))
        else:
            self.by_group.setdefault(case.base + "-extra" * case.extra, []).append((case, lines))
        note = f"{len(lines)} lines, fp32 against fp64 {worst:.1e}" if lines else "refused"
        print(f"case {case.name}: {note}")

    def write(self):
        self.layout.fresh(self.layout.manifests)
        self.layout.fresh(self.layout.refused)
        self.layout.fresh(self.layout.expected)
        for group, entries in self.by_group.items():
            tasks = "".join(manifest_task(case, "../") for case, _ in entries)
            text = manifest_head(entries[0][0].base, "../") + tasks
            (self.layout.manifests / f"{group}.yaml").write_text(text, encoding="utf-8")
            lines = "".join(line + "\n" for _, entry in entries for line in entry)
            (self.layout.expected / f"{group}.jsonl").write_text(lines, encoding="utf-8")
        for case, lines in self.refused:
            text = f"# expect: {case.expect}\n" + manifest_head(case.base, "../../") + manifest_task(case, "../../")
            (self.layout.refused / f"{case.name}.yaml").write_text(text, encoding="utf-8")
            if lines:
                later = self.layout.expected / "later"
                later.mkdir(exist_ok=True)
                (later / f"{case.name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def manifest_head(base, up):
    return f"version: 1\nbase: {{path: {up}bases/{base}}}\ntasks:\n"


def manifest_task(case, up):
    pet = {"path": up + (case.pet_path or f"pets/{case.name}")} if case.pet else {}
    pet["format"] = case.format if case.pet else "none"
    pet.update(case.pet_options)
    text = f"  - name: {case.name}\n    pet: {flow(pet)}\n"
    if case.head:
        text += f"    head: {flow(case.head)}\n"
    if case.max_length:
        text += f"    max_length: {case.max_length}\n"
    return text


def flow(value):
    """YAML flow style for the few kinds of value that manifests hold."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


class ModelRun:
    """Runs a torch model in eval mode; keeps an fp64 twin to measure the noise of the reference."""

    def __init__(self, model, logits_of, make_double=None):
        self.model = model.eval()
        self.logits_of = logits_of
        self.make_double = make_double
        self.twin = None

    def __call__(self, encoding):
        with torch.no_grad():
            return self.logits_of(self.model(**encoding))

    def double(self, encoding):
        if self.twin is None:
            self.twin = self.make_double().double().eval()
        with torch.no_grad():
            return self.logits_of(self.twin(**encoding))


def plain_logits(output):
    return output.logits


def qa_logits(output):
    """[1, 2, tokens]: start, then end."""
    return torch.stack([output.start_logits, output.end_logits], dim=1)


def tidy_pet(directory):
    """Removes what only tells about the machine: model cards and base paths."""
    directory = Path(directory)
    for name in ("README.md", "training_args.bin"):
        (directory / name).unlink(missing_ok=True)


def check_reload(saved, loaded, name):
    """What was saved is all there is: the reloaded model computes what the model in memory did."""
    ids = torch.tensor([[2, 40, 17, 90, 33, 3]])
    encoding = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        if not torch.equal(loaded.logits_of(saved(**encoding)), loaded(encoding)):
            raise ValueError(f"{name}: the saved files do not hold the whole PET")
