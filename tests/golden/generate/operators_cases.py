"""PETs in the project's own `operators` format. Their reference is the plain torch forward of torch_bert.py."""

import json

import numpy as np
import torch

from cases import Case
from common import generator, randn, write_tensors
from torch_bert import PlainBert, base_tensors

LINEARS = {"attention.query": "attention.self.query", "attention.key": "attention.self.key",
           "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
           "ffn.up": "intermediate.dense", "ffn.down": "output.dense"}
BOTTLENECK_DEFAULTS = {"activation": "relu", "parallel": False, "original_ln_before": False, "original_ln_after": True,
                       "residual_before_ln": True, "adapter_residual_before_ln": False, "scaling": 1.0}


class Pet:
    """Builds the file and, beside it, the operators for the plain forward."""

    def __init__(self, name, base_dir):
        self.gen = generator(f"operators/{name}")
        self.base = base_tensors(base_dir)
        self.tensors, self.config, self.operators = {}, {"source": "made up for a test", "operators": {}}, {}
        self.head_config, self.head = None, None

    def random(self, *shape, std=0.2, mean=0.0):
        return randn(self.gen, shape, std, mean)

    def store(self, site, operator, part, tensor):
        self.tensors[f"{site}:{operator}.{part}"] = tensor

    def weight(self, site):
        _, layer, rest = site.split(".", 2)
        return self.base[f"encoder.layer.{layer}.{LINEARS[rest]}.weight"]

    def ops(self, site):
        return self.operators.setdefault(site, {})

    def bias(self, site):
        value = self.random(self.weight(site).shape[0])
        self.store(site, "bias", "value", value)
        self.ops(site)["bias"] = value

    def norm(self, site, gamma=True, beta=True):
        hidden = self.base["embeddings.LayerNorm.weight"].shape[0]
        for used, name, mean in ((gamma, "gamma", 1.0), (beta, "beta", 0.0)):
            if used:
                self.ops(site)[name] = self.random(hidden, mean=mean)
                self.store(site, "norm", name, self.ops(site)[name])

    def low_rank(self, site, rank, scale=None):
        rows, columns = self.weight(site).shape
        a, b = self.random(rank, columns, std=columns ** -0.5), self.random(rows, rank, std=rank ** -0.5)
        self.store(site, "low_rank", "a", a)
        self.store(site, "low_rank", "b", b)
        if scale is not None:
            self.config["operators"].setdefault(site, {})["low_rank"] = {"scale": scale}
        self.ops(site)["low_rank"] = (a, b, 1.0 if scale is None else scale)

    def sparse(self, site, count):
        shape = self.weight(site).shape
        flat = torch.randperm(shape.numel(), generator=self.gen)[:count]  # in no order
        indices, values = torch.stack([flat // shape[1], flat % shape[1]]), self.random(count, std=0.5)
        self.store(site, "sparse", "indices", indices.to(torch.int32))
        self.store(site, "sparse", "values", values)
        dense = torch.zeros(shape)
        dense[indices[0], indices[1]] = values
        self.ops(site)["sparse"] = dense

    def mask(self, site, zero=0.1):
        kept = torch.rand(self.weight(site).shape, generator=self.gen) >= zero
        self.store(site, "mask", "bits", torch.from_numpy(np.packbits(kept.numpy(), axis=1, bitorder="little")))
        self.ops(site)["mask"] = kept.float()

    def scale(self, site, inputs=True, outputs=True):
        rows, columns = self.weight(site).shape
        for used, part, name, size in ((inputs, "input", "scale_in", columns), (outputs, "output", "scale_out", rows)):
            if used:
                self.ops(site)[name] = self.random(size, std=0.4, mean=1.2)
                self.store(site, "scale", part, self.ops(site)[name])

    def rows(self, table, *indices):
        hidden = self.base["embeddings.LayerNorm.weight"].shape[0]
        values = self.random(len(indices), hidden, std=0.5)
        self.store(f"embeddings.{table}", "sparse", "rows", torch.tensor(indices, dtype=torch.int32))
        self.store(f"embeddings.{table}", "sparse", "values", values)
        self.operators[f"embeddings.{table}"] = {"rows": list(indices), "values": values}

    def bottleneck(self, site, width, ln_before=False, ln_after=False, scaling=None, steep=1, **options):
        """`scaling`: None, a number (an option) or "learned"/"channel" (a tensor); `steep` multiplies the down weights."""
        hidden = self.base["embeddings.LayerNorm.weight"].shape[0]
        made = {**BOTTLENECK_DEFAULTS, **options}
        parts = {"down": (self.random(width, hidden, std=steep * hidden ** -0.5), self.random(width)),
                 "up": (self.random(hidden, width, std=width ** -0.5), self.random(hidden))}
        for part, (weight, bias) in parts.items():
            self.store(site, "bottleneck", f"{part}.weight", weight)
            self.store(site, "bottleneck", f"{part}.bias", bias)
        for used, part in ((ln_before, "ln_before"), (ln_after, "ln_after")):
            if used:
                parts[part] = (self.random(hidden, mean=1.0), self.random(hidden))
                self.store(site, "bottleneck", f"{part}.gamma", parts[part][0])
                self.store(site, "bottleneck", f"{part}.beta", parts[part][1])
        if isinstance(scaling, str):
            made["scaling"] = self.random(1 if scaling == "learned" else hidden, std=0.4, mean=1.2)
            self.store(site, "bottleneck", "scaling", made["scaling"])
        elif scaling is not None:
            made["scaling"] = options["scaling"] = scaling
        if options:
            self.config["operators"].setdefault(site, {})["bottleneck"] = options
        self.operators[site] = {**made, **parts}

    def set_head(self, kind, pooling, sizes=(), activations=None, labels=None, normalize=None):
        """`sizes`: outputs of the dense layers; `activations`: one a layer, None where the key is left out."""
        width, layers, described = self.base["embeddings.LayerNorm.weight"].shape[0], [], []
        for number, size in enumerate(sizes):
            weight, bias = self.random(size, width, std=1.1 * width ** -0.5), self.random(size)
            self.tensors[f"head:{number}.weight"], self.tensors[f"head:{number}.bias"] = weight, bias
            name = activations[number] if activations else None
            layers.append((weight, bias, name))
            described.append({"activation": name} if name else {})
            width = size
        config = {"type": kind, "pooling": pooling}
        if sizes:
            config["layers"] = described
        if labels:
            config["labels"] = labels
        if normalize is not None:
            config["normalize"] = normalize
        self.config["head"] = config
        self.head = {"pooling": pooling, "layers": layers, "normalize": bool(normalize), "spans": kind == "question-answering"}

    def save(self, directory, dtype=None):
        if dtype:
            self.tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in self.tensors.items()}
        metadata = {"format": "pets-operators", "version": "1", "config": json.dumps(self.config, sort_keys=True)}
        write_tensors(directory / "pet_operators.safetensors", self.tensors, metadata)


class PlainRun:
    def __init__(self, base_dir, pet):
        self.single = PlainBert(base_dir, pet.operators, pet.head)
        self.twin = PlainBert(base_dir, pet.operators, pet.head, torch.float64)

    def __call__(self, encoding):
        return self.single(encoding)

    def double(self, encoding):
        return self.twin(encoding)


def sequence_head(pet, labels=3):
    pet.set_head("sequence-classification", "cls", (labels,))


def case(layout, name, base, build, dtype=None, **options):
    pet = Pet(name, layout.bases / base)
    build(pet)
    if pet.head is None:
        sequence_head(pet)
    if dtype:  # what is stored is the truth: round before the reference runs
        def rounded(value):
            if isinstance(value, (tuple, list)):
                return type(value)(rounded(item) for item in value)
            return value.to(dtype).float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        pet.operators = {site: {k: rounded(v) for k, v in ops.items()} for site, ops in pet.operators.items()}
        pet.head = {key: rounded(value) for key, value in pet.head.items()}
    pet.save(layout.fresh(layout.pets / name), dtype)
    return Case(name=name, base=base, format="operators", load=lambda base_dir, _: PlainRun(base_dir, pet), **options)


def everything(pet):
    layers = max(int(key.split(".")[2]) for key in pet.base if key.startswith("encoder.layer")) + 1
    for layer in range(layers):
        for number, site in enumerate(f"layer.{layer}.{rest}" for rest in LINEARS):
            pet.bias(site)
            pet.low_rank(site, 1 + number, 0.5)
            pet.sparse(site, 20 + number)
            pet.mask(site)
            pet.scale(site)
        pet.norm(f"layer.{layer}.attention.norm")
        pet.norm(f"layer.{layer}.ffn.norm")
        pet.bottleneck(f"layer.{layer}.attention", 5, ln_before=True, ln_after=True, scaling="channel", activation="gelu_new")
        pet.bottleneck(f"layer.{layer}.ffn", 7, parallel=True, scaling=0.4, activation="swish")
    pet.norm("embeddings.norm")
    pet.rows("word", 7, 2, 100)
    pet.set_head("sequence-classification", "mean", (11, 4), ("tanh", None), labels=["w", "x", "y", "z"])


def each(*calls):
    """A builder out of method calls: ("bias", "layer.0.ffn.up"), ..."""
    def build(pet):
        for call in calls:
            options = call[-1] if isinstance(call[-1], dict) else {}
            arguments = call[1:-1] if isinstance(call[-1], dict) else call[1:]
            getattr(pet, call[0])(*arguments, **options)
    return build


Q, UP, DOWN = "layer.0.attention.query", "layer.1.ffn.up", "layer.2.ffn.down"


def operators_cases(layout):
    make = lambda name, *calls, base="tiny48", **options: case(layout, name, base, each(*calls), **options)
    yield make("op-bias", ("bias", Q), ("bias", UP), ("bias", DOWN))
    yield make("op-norm", ("norm", "embeddings.norm"), ("norm", "layer.0.attention.norm", {"beta": False}),
               ("norm", "layer.2.ffn.norm", {"gamma": False}))
    yield make("op-low-rank", ("low_rank", Q, 1), ("low_rank", UP, 8, 0.25), ("low_rank", DOWN, 33, 2))
    yield make("op-sparse", ("sparse", Q, 1), ("sparse", UP, 300), ("sparse", DOWN, 1000))
    yield make("op-mask", ("mask", Q), ("mask", UP, 0.5), ("mask", DOWN))
    yield make("op-scale", ("scale", Q, {"inputs": False}), ("scale", UP, {"outputs": False}), ("scale", DOWN))
    yield make("op-one-site", ("bias", UP), ("low_rank", UP, 3, 1.5), ("sparse", UP, 50), ("scale", UP))
    yield make("op-mask-sparse-scale", ("mask", DOWN), ("sparse", DOWN, 70), ("scale", DOWN))
    yield make("op-rows", ("rows", "word", 5, 2, 60, 3), ("rows", "position", 0, 95, 7), ("rows", "token_type", 1), lines="pair")
    yield make("op-bottleneck", ("bottleneck", "layer.0.attention", 6), ("bottleneck", "layer.2.ffn", 1))
    yield make("op-bottleneck-parallel", ("bottleneck", "layer.1.ffn", 9, {"parallel": True, "scaling": 4, "activation": "tanh"}))
    yield make("op-bottleneck-norms", ("bottleneck", "layer.0.ffn", 6, {"ln_before": True, "ln_after": True,
                                                                       "adapter_residual_before_ln": True, "activation": "gelu"}))
    yield make("op-bottleneck-original", ("bottleneck", "layer.0.ffn", 6, {"original_ln_before": True, "residual_before_ln": "post_add"}),
               ("bottleneck", "layer.1.attention", 4, {"original_ln_before": True, "original_ln_after": False, "residual_before_ln": False}))
    yield make("op-bottleneck-scaling", ("bottleneck", "layer.0.ffn", 6, {"scaling": "learned"}),
               ("bottleneck", "layer.1.ffn", 6, {"scaling": "channel", "parallel": True}))
    for name in ("leaky_relu", "relu6", "elu", "mish", "quick_gelu", "sigmoid", "gelu_pytorch_tanh", "silu", "none"):
        options = {"activation": name, "scaling": 4.0, "steep": 6 if name == "relu6" else 1}
        yield make(f"op-act-{name.replace('_', '-')}", ("bottleneck", "layer.1.ffn", 8, options))
    yield case(layout, "op-everything", "tiny48", everything, lines="pair")
    yield case(layout, "op-everything-64", "tiny64", everything)
    yield case(layout, "op-everything-64r", "tiny64r", everything)
    yield case(layout, "op-everything-48old", "tiny48old", everything)
    yield case(layout, "op-everything-fp16", "tiny48", everything, dtype=torch.float16)
    yield make("op-bf16", ("bias", Q), ("low_rank", UP, 4), ("norm", "layer.1.ffn.norm"), ("sparse", DOWN, 40), dtype=torch.bfloat16)
    yield from operators_heads(make)


def operators_heads(make):
    bias = ("bias", Q)
    head = lambda *arguments, **options: ("set_head", *arguments, options)
    yield make("op-head-pooler", bias, head("sequence-classification", "pooler", (2,), labels=["no", "yes"]))
    yield make("op-head-mean", bias, head("sequence-classification", "mean", (20, 3), ("gelu", None)))
    yield make("op-head-3", bias, head("sequence-classification", "cls", (48, 30, 6), ("relu", "swish", None)))
    yield make("op-head-last-activation", bias, head("sequence-classification", "cls", (5,), ("sigmoid",)))
    yield make("op-head-multilabel", bias, head("multi-label-classification", "cls", (3,), labels=["a", "b", "c"]))
    yield make("op-head-regression", bias, head("regression", "pooler", (48, 1), ("tanh", None)))
    yield make("op-head-tokens", bias, head("token-classification", "tokens", (24, 5), ("tanh", None), labels=list("OBIES")))
    yield make("op-head-qa", bias, head("question-answering", "tokens", (2,)), lines="qa")
    yield make("op-head-embedding", bias, head("embedding", "mean", normalize=True))
    yield make("op-head-embedding-dense", bias, head("embedding", "cls", (17,), ("tanh",), normalize=False))


def refused_operators(layout):
    """Files with one fault each."""
    base_dir = layout.bases / "tiny48"

    def bad(name, expect, spoil):
        pet = Pet(name, base_dir)
        pet.bias(Q)
        sequence_head(pet)
        spoil(pet)
        pet.save(layout.fresh(layout.pets / name))
        return Case(name=name, base="tiny48", load=None, format="operators", expect=expect)

    def twice(pet):
        pet.tensors[f"{UP}:sparse.indices"] = torch.tensor([[1, 1], [2, 2]], dtype=torch.int32)
        pet.tensors[f"{UP}:sparse.values"] = torch.ones(2)

    yield bad("op-bad-tensor", "gate", lambda pet: pet.store(Q, "gate", "value", torch.ones(3)))
    yield bad("op-bad-site", "layer.3.ffn.up", lambda pet: pet.store("layer.3.ffn.up", "bias", "value", torch.ones(112)))
    yield bad("op-bad-shape", f"{UP}:bias.value", lambda pet: pet.store(UP, "bias", "value", torch.ones(48)))
    yield bad("op-bad-key", "temperature", lambda pet: pet.config.update(temperature=2))
    yield bad("op-bad-option", "alpha", lambda pet: pet.config["operators"].update({Q: {"bias": {"alpha": 1}}}))
    yield bad("op-bad-twice", f"{UP}:sparse", twice)
    yield bad("op-bad-nan", f"{Q}:bias.value", lambda pet: pet.store(Q, "bias", "value", torch.full((48,), float("nan"))))
