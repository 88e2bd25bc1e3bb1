"""A plain transformers BertModel with a head, and how a saved `operators` file edits it.

This is the reference that the runtime is compared with: it computes with edited dense weights and shares no code with it.
It knows the operators that the recipes here emit (bias, norm, sparse and mask at the encoder's linears and norms).
"""

import json
from pathlib import Path

import torch
from pets_operators import FILE_NAME, OperatorsPet
from safetensors import safe_open
from torch import nn
from transformers import BertModel

_LINEARS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "ffn.up": "intermediate.dense",
    "ffn.down": "output.dense",
}
_NORMS = {"attention.norm": "attention.output.LayerNorm", "ffn.norm": "output.LayerNorm"}


def linear_sites(bert: BertModel) -> dict[str, nn.Linear]:
    """Site name -> linear, for every linear of the encoder's layers."""
    return {
        f"layer.{n}.{site}": layer.get_submodule(path)
        for n, layer in enumerate(bert.encoder.layer)
        for site, path in _LINEARS.items()
    }


def norm_sites(bert: BertModel) -> dict[str, nn.LayerNorm]:
    """Site name -> LayerNorm, the embeddings' one included."""
    sites = {
        f"layer.{n}.{site}": layer.get_submodule(path)
        for n, layer in enumerate(bert.encoder.layer)
        for site, path in _NORMS.items()
    }
    return {"embeddings.norm": bert.embeddings.LayerNorm, **sites}


class HeadModel(nn.Module):
    """BertModel -> mean of all tokens -> dropout -> linear. `bert` is the base, which a recipe trains a part of.

    `options` go to from_pretrained.
    """

    def __init__(self, base: Path, outputs: int, **options):
        super().__init__()
        self.bert = BertModel.from_pretrained(base, add_pooling_layer=False, **options)
        self.dropout = nn.Dropout(self.bert.config.hidden_dropout_prob)
        self.head = nn.Linear(self.bert.config.hidden_size, outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids, attention_mask):
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return self.head(self.dropout(mean))


def set_head(pet: OperatorsPet, model: HeadModel, dataset) -> None:
    """Puts the model's head into `pet`."""
    types = {"classification": "sequence-classification", "multilabel": "multi-label-classification", "regression": "regression"}
    layers = [(model.head.weight.detach().numpy(), model.head.bias.detach().numpy(), "none")]
    pet.set_head(types[dataset.kind], pooling="mean", layers=layers, labels=dataset.labels)


@torch.no_grad()
def load(base: Path, directory: Path) -> HeadModel:
    """Returns the base edited by the operators stored in `directory`, with the stored head, ready to evaluate."""
    with safe_open(Path(directory) / FILE_NAME, "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    head = config["head"]
    if head["pooling"] != "mean" or head["layers"] != [{"activation": "none"}]:
        raise ValueError(f"{directory}: this reference knows heads of one linear layer on the mean only")
    model = HeadModel(base, tensors["head:0.weight"].shape[0])
    model.head.weight.copy_(tensors.pop("head:0.weight"))
    model.head.bias.copy_(tensors.pop("head:0.bias"))
    linears, norms = linear_sites(model.bert), norm_sites(model.bert)
    # `mask` sorts before `sparse`, so that a site with both becomes W o M + S.
    for name in sorted(tensors):
        site, _, operator = name.partition(":")
        value = tensors[name]
        if operator == "bias.value":
            linears[site].bias.copy_(value)
        elif operator == "norm.gamma":
            norms[site].weight.copy_(value)
        elif operator == "norm.beta":
            norms[site].bias.copy_(value)
        elif operator == "mask.bits":
            weight = linears[site].weight
            bits = (value.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
            weight.mul_(bits.reshape(weight.shape[0], -1)[:, : weight.shape[1]])
        elif operator == "sparse.values":
            out, into = tensors[f"{site}:sparse.indices"].long()
            linears[site].weight[out, into] += value.float()
        elif operator != "sparse.indices":
            raise ValueError(f"{directory}: unknown operator in tensor {name}")
    return model.eval()
