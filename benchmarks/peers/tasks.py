"""The tasks: LoRA by PEFT, the other PET types in the `operators` format, and the merged full copies that the peers run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from models import LABELS, Model

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "train"))
from pets_operators import OperatorsPet  # noqa: E402

TYPES = ("lora", "bitfit", "diff", "mask", "houlsby")  # in turn, in the mix of every type
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}
BOTTLENECK, DIFF_DENSITY, MASK_DENSITY = 64, 0.01, 0.05
_LINEARS = {
    "attention.query": "attention.self.query", "attention.key": "attention.self.key", "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense", "ffn.up": "intermediate.dense", "ffn.down": "output.dense",
}  # fmt: skip


def type_of(task: int) -> str:
    return TYPES[task % len(TYPES)]


def lora_name(task: int) -> str:
    return f"lora-{task}"


def mixed_name(task: int) -> str:
    """The task's name in the mix of every type."""
    return f"{type_of(task)}-{task}"


def classifier(model: Model):
    """Weight and bias of the task without PET."""
    random = np.random.default_rng(3)
    return random.normal(0, 0.3, (LABELS, model.hidden)).astype(np.float32), random.normal(0, 0.1, LABELS).astype(np.float32)


def base_classifier(model: Model):
    """BertForSequenceClassification of the base with the classifier of the task without PET, in float32."""
    import torch
    from transformers import BertForSequenceClassification

    bert = BertForSequenceClassification.from_pretrained(model.directory, num_labels=LABELS, dtype=torch.float32).eval()
    weight, bias = classifier(model)
    with torch.no_grad():
        bert.classifier.weight.copy_(torch.from_numpy(weight))
        bert.classifier.bias.copy_(torch.from_numpy(bias))
    return bert


def make(model: Model, count: int, folder: Path) -> None:
    """Writes `count` LoRA tasks and as many of every type in turn. Kept from run to run; copies that were merged from older ones are removed."""
    done = folder / "made.json"
    wanted = {"tasks": count, "lora": LORA, "bottleneck": BOTTLENECK, "diff": DIFF_DENSITY, "mask": MASK_DENSITY, "version": 1}
    if done.exists() and json.loads(done.read_text()) == wanted:
        return
    for old in (folder, folder.parent / "copies"):
        shutil.rmtree(old, ignore_errors=True)
    bert = base_classifier(model)
    state = {name: value.numpy() for name, value in bert.state_dict().items()}
    _head_only(model, folder / "plain")
    for task in range(count):
        if type_of(task) != "lora":
            _operators(model, state, task).save(folder / mixed_name(task))
    _lora(bert, count, folder)
    done.write_text(json.dumps(wanted))


def _lora(bert, count: int, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    config = LoraConfig(task_type="SEQ_CLS", init_lora_weights=False, **LORA)
    tuned = get_peft_model(bert, config, adapter_name=lora_name(0))
    for task in range(1, count):
        tuned.add_adapter(lora_name(task), config)
    with torch.no_grad():  # every task its own classifier
        for name, parameter in tuned.named_parameters():
            if ".modules_to_save." in name:
                parameter.normal_(0, 0.3)
    tuned.save_pretrained(folder)


def _head_only(model: Model, folder: Path) -> None:
    pet = OperatorsPet("no PET")
    pet.set_head("sequence-classification", "pooler", [(*classifier(model), "none")])
    pet.save(folder)


def _operators(model: Model, state: dict, task: int) -> OperatorsPet:
    random = np.random.default_rng(1000 + task)
    kind, hidden = type_of(task), model.hidden
    pet = OperatorsPet(kind)
    for n in range(model.layers):
        if kind == "houlsby":
            for site in ("attention", "ffn"):
                down = random.normal(0, hidden**-0.5, (BOTTLENECK, hidden))
                up = random.normal(0, 0.02, (hidden, BOTTLENECK))
                pet.add_bottleneck(f"layer.{n}.{site}", down, np.zeros(BOTTLENECK), up, np.zeros(hidden))
            continue
        for site, path in _LINEARS.items():
            weight, bias = (state[f"bert.encoder.layer.{n}.{path}.{part}"] for part in ("weight", "bias"))
            if kind == "bitfit":
                pet.add_bias(f"layer.{n}.{site}", bias + random.normal(0, 0.02, bias.shape))
            elif kind == "mask":
                pet.add_mask(f"layer.{n}.{site}", random.random(weight.shape) >= MASK_DENSITY)
            else:
                at = np.flatnonzero(random.random(weight.size) < DIFF_DENSITY)
                pet.add_sparse(f"layer.{n}.{site}", np.unravel_index(at, weight.shape), random.normal(0, 0.02, at.size))
    head = (random.normal(0, 0.3, (LABELS, hidden)), random.normal(0, 0.1, LABELS), "none")
    pet.set_head("sequence-classification", "pooler", [head])
    return pet


def pack(model: Model, count: int, folder: Path, precision: str, convert: Path, *, lora_only: bool) -> Path:
    """Packs plain and LoRA tasks, and those of every type unless `lora_only`. Raises RuntimeError with what the converter says."""
    names = ["plain"] + [lora_name(task) for task in range(count)]
    if not lora_only:
        names += [mixed_name(task) for task in range(count) if type_of(task) != "lora"]
    entries = [{"name": name, "pet": {"path": name, "format": "auto"}} for name in names]
    manifest = folder / f"{'lora' if lora_only else 'all'}.yaml"
    manifest.write_text(json.dumps({"version": 1, "base": {"path": str(model.directory.resolve())}, "tasks": entries}))
    bundle = folder.parent / f"{manifest.stem}-{precision}.pets"
    bundle.unlink(missing_ok=True)
    command = [convert, "pack", manifest, "-o", bundle, "--precision", precision]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip().splitlines()[-1] if result.stderr.strip() else f"status {result.returncode}")
    return bundle


def merged(model: Model, task: int, folder: Path):
    """A full copy of the base with LoRA task number `task` merged into it."""
    from peft import PeftModel

    return PeftModel.from_pretrained(base_classifier(model), folder / lora_name(task)).merge_and_unload().eval()
