"""The one training loop that every recipe uses, and how texts become batches."""

import random
import time
from pathlib import Path

import torch
from torch import nn
from transformers import AutoTokenizer

MAX_LENGTH = 64  # tokens, special ones included; the manifest says the same
BATCH = 32
SEED = 20220711


def model_options(dropout: float) -> dict:
    """What recipes pass to from_pretrained for training. On a CPU, eager attention trains a third faster than the fused form."""
    return {"attn_implementation": "eager", "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}


def seed_all(seed: int = SEED) -> None:
    """Makes a training repeatable on one machine (sums may differ in the last bit between machines)."""
    random.seed(seed)
    torch.manual_seed(seed)


def logits_of(model: nn.Module, input_ids, attention_mask):
    """The head's raw output, whichever library made the model."""
    output = model(input_ids=input_ids, attention_mask=attention_mask)
    return output if isinstance(output, torch.Tensor) else output.logits


class Batches:
    """Tokenized rows. Training batches hold rows of like length, so that little is padded."""

    def __init__(self, base: Path, rows: list[tuple[str, object]]):
        tokenizer = AutoTokenizer.from_pretrained(base)
        self._ids = tokenizer([text for text, _ in rows], truncation=True, max_length=MAX_LENGTH)["input_ids"]
        self._targets = [target for _, target in rows]

    def _collate(self, indices: list[int]):
        rows = [self._ids[i] for i in indices]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return ids, mask, torch.tensor([self._targets[i] for i in indices])

    def shuffled(self, rng: random.Random):
        """Yields every row once, batched by length, batches in random order."""
        order = list(range(len(self._ids)))
        rng.shuffle(order)
        pool = BATCH * 16
        batches = []
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda i: len(self._ids[i]))
            batches += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        rng.shuffle(batches)
        yield from map(self._collate, batches)

    def in_order(self):
        """Yields (row indices, ids, mask), shortest rows first."""
        order = sorted(range(len(self._ids)), key=lambda i: len(self._ids[i]))
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            yield indices, *self._collate(indices)[:2]


def loss_function(kind: str):
    """Cross entropy, its multi-label form, or the squared error."""
    if kind == "classification":
        return nn.functional.cross_entropy
    if kind == "multilabel":
        return nn.functional.binary_cross_entropy_with_logits
    return lambda logits, target: nn.functional.mse_loss(logits.squeeze(-1), target)


def fit(model, groups, dataset, base: Path, epochs: float, before_step=None, name: str = "") -> None:
    """Trains the parameters in `groups` (AdamW parameter groups, each with its `lr`), others stay as they are.

    Forward and backward run in bfloat16 under autocast, parameters stay fp32. The learning rate rises over the first
    tenth of the steps and then falls linearly to zero. `before_step(step, steps)` runs before every forward pass.
    """
    batches = Batches(base, dataset.train)
    rng = random.Random(SEED)
    steps = round(epochs * -(-len(dataset.train) // BATCH))
    warmup = max(1, steps // 10)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, max(0.0, (steps - s) / max(1, steps - warmup)))
    )
    loss_of = loss_function(dataset.kind)
    parameters = [p for g in groups for p in g["params"]]
    model.train()
    step, start, total, printed = 0, time.monotonic(), 0.0, 0
    while step < steps:
        for ids, mask, target in batches.shuffled(rng):
            if step == steps:
                break
            if before_step:
                before_step(step, steps)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = logits_of(model, ids, mask)
            loss = loss_of(logits.float(), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            step, total = step + 1, total + loss.item()
            if step % 50 == 0 or step == steps:
                mean, total, count = total / (step - printed), 0.0, step
                printed = count
                print(f"  {name} step {step}/{steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    model.eval()


@torch.no_grad()
def predict(model, base: Path, rows) -> torch.Tensor:
    """fp32 logits [rows, outputs] in the rows' order."""
    batches = Batches(base, rows)
    found = {}
    model.eval()
    for indices, ids, mask in batches.in_order():
        found.update(zip(indices, logits_of(model, ids, mask)))
    return torch.stack([found[i] for i in range(len(rows))])
