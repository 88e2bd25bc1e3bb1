"""The two base encoders: MiniLM-L6 (real weights) and BERT-base's shape (random weights, made here)."""

import json
from dataclasses import dataclass
from pathlib import Path

MINILM, BERT_BASE = "minilm", "bert-base"
TITLES = {MINILM: "MiniLM-L6", BERT_BASE: "BERT-base shape"}
LABELS = 3  # outputs of every task's classifier


@dataclass(frozen=True)
class Model:
    name: str
    directory: Path
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int

    def encoder_flops(self, lengths) -> float:
        """What pets computes of the shared encoder: multiply-adds, doubled, of six linears, scores and values of each query, no padding.

        From the last layer's queries on only the first token is computed, which is what classifiers read.
        """
        h, i = self.hidden, self.intermediate
        whole = sum(2 * self.layers * (n * (4 * h * h + 2 * h * i) + 2 * n * n * h) for n in map(float, lengths))
        return whole - sum(2 * (n - 1) * (2 * h * h + 2 * h * i + 2 * n * h) for n in map(float, lengths))

    @property
    def linear_bytes(self) -> int:
        """Float32 bytes of the encoder's linears: what every forward pass reads."""
        return 4 * self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)


def prepare(name: str, build: Path) -> Model:
    directory = build / "models" / "minilm" if name == MINILM else _random_bert(build / "peers" / "bert-base" / "base")
    config = json.loads((directory / "config.json").read_text())
    return Model(
        name, directory, config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"],
        config["intermediate_size"], config["vocab_size"],
    )  # fmt: skip


def _random_bert(directory: Path) -> Path:
    if not (directory / "model.safetensors").exists():
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(1)
        BertModel(BertConfig()).save_pretrained(directory)
    return directory
