"""Fully fine-tuned directories that are compared with their base: what BitFit, diff-pruning, MaskBert and others leave.

Nothing is trained: a task model of the library is edited as training would, then saved with `save_pretrained`.
"""

import torch
from transformers import AutoModel

from bases import tidy_config
from cases import Case, ModelRun
from common import generator, model_tensors, perturb, randn, write_tensors
from heads import CLASSES, EmbeddingRun, logits_function, perturb_head, task_model

BASE = "tiny48c"


def encoder_parameters(model, dimensions, pooler=False):
    """Sorted (name, parameter) of the encoder's layers, of that many dimensions, without the norms."""
    return sorted((key, p) for key, p in model.named_parameters()
                  if p.ndim == dimensions and "LayerNorm" not in key and ("encoder.layer" in key or (pooler and "pooler" in key)))


def change_biases(model, name):
    gen = generator(f"{name}/bias")
    for _, bias in encoder_parameters(model, 1, pooler=True):
        bias.add_(randn(gen, bias.shape, 0.2))


def change_norms(model, name, which=("weight", "bias")):
    gen = generator(f"{name}/norm")
    for key, parameter in sorted(model.named_parameters()):
        if "LayerNorm" in key and key.endswith(which):
            parameter.add_(randn(gen, parameter.shape, 0.15))


def change_some(model, name, share, only=""):
    """Diff-pruning: that share of the weights moves, each by about as much as it is."""
    gen = generator(f"{name}/sparse")
    for key, weight in encoder_parameters(model, 2):
        moved = torch.rand(weight.shape, generator=gen) < share
        if only in key:
            weight.add_(moved * randn(gen, weight.shape, 0.3))


def zero_some(model, name, share, only=""):
    """MaskBert: that share of the weights is zero."""
    gen = generator(f"{name}/mask")
    for key, weight in encoder_parameters(model, 2):
        kept = torch.rand(weight.shape, generator=gen) >= share
        if only in key:
            weight.mul_(kept)


def change_rows(model, name):
    gen = generator(f"{name}/rows")
    embeddings = model.base_model.embeddings
    for table, rows in ((embeddings.word_embeddings, [2, 3, 8, 9, 31, 77, 140]), (embeddings.position_embeddings, [0, 5]),
                        (embeddings.token_type_embeddings, [1])):
        table.weight[rows] = randn(gen, (len(rows), table.weight.shape[1]), 0.5)


def change_low_rank(model, name, rank):
    gen = generator(f"{name}/low-rank")
    for key, weight in encoder_parameters(model, 2):
        if "query" in key or "output.dense" in key:
            rows, columns = weight.shape
            weight.add_(randn(gen, (rows, rank), 0.3) @ randn(gen, (rank, columns), 0.3))


def change_everything(model, name):
    gen = generator(f"{name}/dense")
    for _, weight in encoder_parameters(model, 2):
        weight.add_(randn(gen, weight.shape, 0.02))


def own_pooler(model, name):
    perturb([(key, p) for key, p in model.named_parameters() if "pooler" in key], f"{name}/pooler")


def checkpoint(layout, name, edit, task_type="SEQ_CLS", model_config=None, base=BASE, half=False, **case):
    model_config = {"num_labels": 3} if model_config is None else model_config
    directory = layout.fresh(layout.pets / name)
    model = task_model(layout.bases / base, task_type, **model_config)
    perturb_head(model, name)
    with torch.no_grad():
        edit(model, name)
    (model.half() if half else model).save_pretrained(directory)
    tidy_config(directory)
    load = load_half(task_type) if half else load_checkpoint(task_type)
    case = {"lines": "qa", **case} if task_type == "QUESTION_ANS" else case
    return Case(name=name, base=base, load=load, format=case.pop("format", "checkpoint"), **case)


def load_checkpoint(task_type):
    def load(_, pet_dir):
        make = lambda: CLASSES[task_type].from_pretrained(pet_dir, dtype=torch.float32)
        return ModelRun(make(), logits_function(task_type), make)
    return load


def load_half(task_type):
    """An fp16 checkpoint of an fp32 base: tensors that equal the rounded base mean the base's own fp32 values."""
    def load(base_dir, pet_dir):
        base = {"bert." + key: t for key, t in model_tensors(base_dir).items()}

        def make():
            model = CLASSES[task_type].from_pretrained(pet_dir, dtype=torch.float32)
            for key, parameter in model.named_parameters():
                if key in base:
                    same = base[key].half() == parameter.half()
                    parameter.data = torch.where(same, base[key], parameter)
            return model
        return ModelRun(make(), logits_function(task_type), make)
    return load


def embedder(layout):
    """A fine-tuned `BertModel` without a head."""
    name = "ckpt-embedder"
    directory = layout.fresh(layout.pets / name)
    model = AutoModel.from_pretrained(layout.bases / BASE, dtype=torch.float32)
    with torch.no_grad():
        change_biases(model, name)
        change_norms(model, name)
    model.save_pretrained(directory)
    tidy_config(directory)
    return Case(name=name, base=BASE, load=lambda _, pet_dir: EmbeddingRun(pet_dir, "mean", True), format="checkpoint",
                head={"type": "embedding", "pooling": "mean", "normalize": True}, lines="pair")


def rename_old(directory):
    """`LayerNorm.gamma/beta` as very old checkpoints have."""
    tensors = model_tensors(directory)
    write_tensors(directory / "model.safetensors", {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for key, t in tensors.items()})


def checkpoint_cases(layout):
    case = lambda name, *edits, **options: checkpoint(
        layout, name, lambda model, key: [edit(model, key) for edit in edits], **options)
    names = {"id2label": {0: "cold", 1: "warm"}, "label2id": {"cold": 0, "warm": 1},
             "problem_type": "single_label_classification"}  # training writes the problem type
    some = lambda share, **only: lambda model, name: change_some(model, name, share, **only)
    zero = lambda share, **only: lambda model, name: zero_some(model, name, share, **only)
    yield case("ckpt-unchanged")
    yield case("ckpt-bitfit", change_biases, lambda model, name: change_norms(model, name, ("bias",)), model_config=names)
    yield case("ckpt-norms", change_norms, own_pooler)
    yield case("ckpt-diff-pruning", some(0.03), own_pooler, format="auto")
    yield case("ckpt-mask", zero(0.05))
    yield case("ckpt-mixed", change_biases, change_norms, some(0.02, only="query"), zero(0.06, only="intermediate"),
               some(0.01, only="output.dense"), zero(0.03, only="output.dense"))
    yield case("ckpt-rows", change_rows, lines="pair")
    yield case("ckpt-low-rank", lambda model, name: change_low_rank(model, name, 3), pet_options={"as": "low-rank", "rank": 3})
    yield case("ckpt-fp16", change_biases, some(0.02), half=True)
    yield case("ckpt-regression", change_biases, model_config={"num_labels": 1, "problem_type": "regression"})
    yield case("ckpt-multilabel", change_biases, model_config={"num_labels": 5, "problem_type": "multi_label_classification"})
    yield case("ckpt-tokens", change_biases, some(0.01), task_type="TOKEN_CLS", model_config={"num_labels": 4})
    yield case("ckpt-qa", change_norms, task_type="QUESTION_ANS", model_config={})
    yield embedder(layout)
    old = case("ckpt-48old", change_biases, base="tiny48old", model_config=names)
    rename_old(layout.pets / old.name)
    yield old


def refused_checkpoints(layout):
    yield checkpoint(layout, "ckpt-dense", change_everything, expect="dense")
    yield Case(name="ckpt-no-head", base="tiny64", load=None, pet_path="bases/tiny64", format="checkpoint", expect="head")
    yield Case(name="ckpt-other-shape", base=BASE, load=None, pet_path="bases/tiny48", format="checkpoint", expect="num_hidden_layers")
