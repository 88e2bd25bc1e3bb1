"""A plain BERT forward with PET operators, written from the formulas of FORMAT_NOTES.md and nothing else.

It serves twice: the `operators` goldens come from it, and every PEFT and AdapterHub golden is recomputed with it in
fp64, which proves the formulas. One query, no padding.
"""

import json
import math

import torch
from torch.nn.functional import layer_norm, linear

from common import model_tensors

ADAPTER_NORM_EPS = 1e-5  # nn.LayerNorm's default: the adapters' own norms do not use the base's eps

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": torch.relu,
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "swish": lambda x: x * torch.sigmoid(x),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "relu6": lambda x: x.clamp(0, 6),
    "elu": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "mish": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}
SAME_ACTIVATION = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "gelu_accurate": "gelu_new",
                   "gelu_python": "gelu", "silu": "swish", "leakyrelu": "leaky_relu", "linear": "none", None: "none"}


def activation(name):
    return ACTIVATIONS[SAME_ACTIVATION.get(name, name)]


SITES = {
    "attention.query": "attention.self.query", "attention.key": "attention.self.key",
    "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "ffn.up": "intermediate.dense", "ffn.down": "output.dense", "ffn.norm": "output.LayerNorm",
}


def base_tensors(directory):
    """Tensors by the names of `BertModel`, whatever the file calls them."""
    renamed = {}
    for key, tensor in model_tensors(directory).items():
        key = key.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[key.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor
    return renamed


class PlainBert:
    """`operators`: {site: {operator: value}}; `head`: {"pooling", "pooler", "layers", "normalize"}."""

    def __init__(self, base_dir, operators, head, dtype=torch.float32, tensors=None):
        self.config = json.loads((base_dir / "config.json").read_text())
        to = lambda value: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        self.tensors = {key: to(t) for key, t in (tensors or base_tensors(base_dir)).items()}
        self.operators = {site: {name: convert(value, to) for name, value in ops.items()} for site, ops in operators.items()}
        self.head = {key: convert(value, to) for key, value in head.items()}

    def linear(self, site, name, x):
        """Y = s_out * [X' (W o M + S) + s (X'A) B] + b_t, with X' = s_in * X."""
        ops = self.operators.get(site, {})
        weight, bias = self.tensors[name + ".weight"], self.tensors[name + ".bias"]
        if "mask" in ops:
            weight = weight * ops["mask"]
        if "sparse" in ops:
            weight = weight + ops["sparse"]
        if "scale_in" in ops:
            x = x * ops["scale_in"]
        y = linear(x, weight)
        if "low_rank" in ops:
            a, b, scale = ops["low_rank"]
            y = y + scale * linear(linear(x, a), b)
        if "scale_out" in ops:
            y = y * ops["scale_out"]
        return y + ops.get("bias", bias)

    def norm(self, site, name, x):
        ops = self.operators.get(site, {})
        gamma = ops.get("gamma", self.tensors[name + ".weight"])
        beta = ops.get("beta", self.tensors[name + ".bias"])
        return layer_norm(x, gamma.shape, gamma, beta, self.config["layer_norm_eps"])

    def embeddings(self, ids, types):
        tables = []
        for site, name, index in (("word", "word_embeddings", ids), ("token_type", "token_type_embeddings", types),
                                  ("position", "position_embeddings", torch.arange(ids.shape[-1]))):
            table = self.tensors[f"embeddings.{name}.weight"]
            ops = self.operators.get(f"embeddings.{site}", {})
            if "rows" in ops:
                table = table.clone()
                table[ops["rows"]] = ops["values"]
            tables.append(table[index])
        return self.norm("embeddings.norm", "embeddings.LayerNorm", tables[0] + tables[1] + tables[2])

    def close_sublayer(self, site, name, h, r):
        """y = N(h + r), or what a bottleneck makes of it."""
        norm = lambda x: self.norm(site + ".norm", name, x)
        ops = self.operators.get(site)
        if not ops:
            return norm(h + r)
        own = lambda which, x: layer_norm(x, x.shape[-1:], *ops[which], ADAPTER_NORM_EPS) if which in ops else x
        u = r if ops["parallel"] else norm(h + r) if ops["original_ln_before"] else h
        a = linear(own("ln_before", u), *ops["down"])
        a = ops["scaling"] * linear(activation(ops["activation"])(a), *ops["up"])
        if ops["parallel"]:
            o = h + own("ln_after", a)
        else:
            d = {True: h, "post_add": h + r, False: u}[ops["residual_before_ln"]]
            o = own("ln_after", a + d) if ops["adapter_residual_before_ln"] else own("ln_after", a) + d
        return norm(o + r) if ops["original_ln_after"] else o

    def encode(self, ids, types):
        x = self.embeddings(ids, types)
        heads = self.config["num_attention_heads"]
        split = lambda t: t.view(t.shape[0], heads, -1).transpose(0, 1)
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"encoder.layer.{layer}."
            apply = lambda site, value: self.linear(f"layer.{layer}.{site}", prefix + SITES[site], value)
            query, key, value = (split(apply(f"attention.{which}", x)) for which in ("query", "key", "value"))
            scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
            mixed = (torch.softmax(scores, dim=-1) @ value).transpose(0, 1).reshape(x.shape)
            h = apply("attention.output", mixed)
            x = self.close_sublayer(f"layer.{layer}.attention", prefix + SITES["attention.norm"], h, x)
            h = apply("ffn.down", activation(self.config["hidden_act"])(apply("ffn.up", x)))
            x = self.close_sublayer(f"layer.{layer}.ffn", prefix + SITES["ffn.norm"], h, x)
        return x

    def pool(self, rows):
        pooling = self.head["pooling"]
        if pooling == "pooler":
            own = self.head.get("pooler") or (self.tensors["pooler.dense.weight"], self.tensors["pooler.dense.bias"])
            return torch.tanh(linear(rows[0], *own))
        return {"tokens": lambda: rows, "cls": lambda: rows[0], "mean": lambda: rows.mean(dim=0)}[pooling]()

    def __call__(self, encoding):
        types = encoding.get("token_type_ids", torch.zeros_like(encoding["input_ids"]))
        with torch.no_grad():
            x = self.pool(self.encode(encoding["input_ids"][0], types[0]))
            for weight, bias, name in self.head.get("layers", []):
                x = activation(name)(linear(x, weight, bias))
            if self.head.get("normalize"):
                x = x / x.norm()
            return (x.T if self.head.get("spans") else x)[None]


def convert(value, to):
    if isinstance(value, (tuple, list)):
        return type(value)(convert(item, to) for item in value)
    return to(value)
