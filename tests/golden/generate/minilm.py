"""Goldens of the real MiniLM-L6: untouched embeddings and a few random PETs. The model itself is not committed.

The manifest says `base: {path: model}`: whoever runs it puts the package's `model` directory there.
"""

import random
from types import SimpleNamespace

from adapters import DoubleSeqBnConfig, SeqBnConfig

import adapterhub_cases as hub
import peft_cases as peft
from cases import Case, Writer, manifest_task
from common import seed_of
from heads import EmbeddingRun
from texts import CONTEXTS
from tokenizer_texts import ENGLISH
from vocab import MINILM

BASE = MINILM.name  # "model", in the package's directory


def english(name, count):
    """Lines of 1 to more than 256 tokens, the longest last."""
    rng = random.Random(seed_of("minilm/" + name))
    lines = []
    for number in range(count):
        sentences = max(1, round(22 * (number / max(1, count - 1)) ** 2))
        lines.append({"text": " ".join(rng.choice(ENGLISH) for _ in range(sentences))})
    lines[0]["text"] = "good"
    lines[1]["text_pair"] = rng.choice(CONTEXTS)
    return lines


def cases(layout):
    for name, pooling, normalize, count in (("embed", "mean", True, 20), ("embed-cls", "cls", False, 5), ("embed-pooler", "pooler", False, 5)):
        yield Case(name=name, base=BASE, pet=False, max_length=256, inputs=english(name, count),
                   load=lambda base_dir, _, p=pooling, n=normalize: EmbeddingRun(base_dir, p, n),
                   head={"type": "embedding", "pooling": pooling, "normalize": normalize})
    more = lambda name: {"max_length": 256, "inputs": english(name, 8)}
    yield peft.peft_case(layout, "lora", BASE, peft.lora(), **more("lora"))
    yield peft.peft_case(layout, "ia3-tokens", BASE, peft.ia3(
        task_type="TOKEN_CLS", target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
        "TOKEN_CLS", {"num_labels": 4}, max_length=64, inputs=english("ia3-tokens", 4))
    yield hub.hub_case(layout, "pfeiffer", BASE, SeqBnConfig(reduction_factor=48), **more("pfeiffer"))
    yield hub.hub_case(layout, "houlsby", BASE, DoubleSeqBnConfig(reduction_factor=96),
                       head_options={"labels": ["negative", "positive"], "layers": 1, "use_pooler": True}, **more("houlsby"))


def build_minilm(layout):
    directory = layout.fresh(layout.minilm)
    here = SimpleNamespace(bases=MINILM.parent, pets=directory / "pets", fresh=layout.fresh)
    writer = Writer(here, digits=7)
    for case in cases(here):
        writer.add(case)
    entries = writer.by_group[BASE]
    manifest = f"version: 1\nbase: {{path: {BASE}}}\ntasks:\n" + "".join(manifest_task(case, "") for case, _ in entries)
    (directory / "manifest.yaml").write_text(manifest, encoding="utf-8")
    lines = "".join(line + "\n" for _, entry in entries for line in entry)
    (directory / "expected.jsonl").write_text(lines, encoding="utf-8")
