"""Transformers models with the heads that the cases need, and the untouched base as an embedding task."""

import torch
from transformers import (AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification)

from cases import Case, ModelRun, plain_logits, qa_logits
from common import perturb

CLASSES = {
    "SEQ_CLS": AutoModelForSequenceClassification,
    "TOKEN_CLS": AutoModelForTokenClassification,
    "QUESTION_ANS": AutoModelForQuestionAnswering,
}
HEAD_MODULES = ("classifier.", "qa_outputs.", "score.")


def task_model(base_dir, task_type, **config):
    """A task model over a base in fp32. Its head starts random: it must come from the PET."""
    return CLASSES[task_type].from_pretrained(base_dir, dtype=torch.float32, **config).eval()


def perturb_head(model, name):
    perturb([(key, p) for key, p in model.named_parameters() if key.startswith(HEAD_MODULES)], f"{name}/head")


def logits_function(task_type):
    return qa_logits if task_type == "QUESTION_ANS" else plain_logits


class EmbeddingRun:
    """The library's model, pooled as sentence-transformers does."""

    def __init__(self, base_dir, pooling, normalize, wrap=lambda model: model):
        self.make = lambda: wrap(AutoModel.from_pretrained(base_dir, dtype=torch.float32)).eval()
        self.model, self.twin = self.make(), None
        self.pooling, self.normalize = pooling, normalize

    def __call__(self, encoding):
        return self.pool(self.model, encoding)

    def double(self, encoding):
        if self.twin is None:
            self.twin = self.make().double()
        return self.pool(self.twin, encoding)

    def pool(self, model, encoding):
        with torch.no_grad():
            output = model(**encoding)
        rows = output.last_hidden_state
        pooled = {"mean": lambda: rows.mean(dim=1), "cls": lambda: rows[:, 0], "pooler": lambda: output.pooler_output}
        result = pooled[self.pooling]()
        return torch.nn.functional.normalize(result, dim=-1) if self.normalize else result


def embedding_cases(bases):
    """`none` tasks: mean, cls and pooler, with and without normalisation."""
    for base, has_pooler in bases:
        for pooling, normalize in (("mean", True), ("cls", False), ("pooler", False), ("mean", False), ("cls", True)):
            if pooling == "pooler" and not has_pooler:
                continue
            suffix = "-unit" if normalize else ""
            yield Case(name=f"none-{base}-{pooling}{suffix}", base=base, pet=False,
                       load=lambda base_dir, _, p=pooling, n=normalize: EmbeddingRun(base_dir, p, n),
                       lines="pair" if normalize else "single", max_length=None if normalize else 24,
                       head={"type": "embedding", "pooling": pooling, "normalize": normalize})
