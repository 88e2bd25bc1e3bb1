"""The tiny random bases: one directory each, in the shapes that real Hugging Face directories have.

| base | shape | what it stands for |
|---|---|---|
| tiny48 | hidden 48, 3 heads, 3 layers, ffn 112, gelu | a `BertModel` directory (no prefix), model_max_length 64 below the 96 positions |
| tiny64 | hidden 64, 4 heads, 1 layer, ffn 100, gelu | `BertForMaskedLM`: `bert.` prefix, `cls.*` and no pooler; no model_max_length |
| tiny64r | hidden 64, 2 heads, 2 layers, ffn 72, relu | sharded with an index, eps 1e-5, tokenizer_config.json overrules tokenizer.json |
| tiny48old | hidden 48, 3 heads, 1 layer, ffn 100, gelu_new | old names: `LayerNorm.gamma/beta`, `bert.` prefix, `position_ids`, `cls.*` with a pooler |
| tiny64h | hidden 64, 8 heads, 1 layer, ffn 100, gelu | fp16 safetensors |
| tiny48c | hidden 48, 3 heads, 1 layer, ffn 76, gelu | smallest vocabulary; checkpoints are compared with it |
"""

import json

import torch
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

from common import perturb, read_json, read_tensors, write_json, write_tensors
from vocab import build_vocab, write_tokenizer

SPECS = {
    "tiny48": dict(config=dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=3, intermediate_size=112,
                               max_position_embeddings=96), vocab=(230, 60, True), model_max_length=64),
    "tiny64": dict(config=dict(hidden_size=64, num_attention_heads=4, num_hidden_layers=1, intermediate_size=100,
                               max_position_embeddings=64), vocab=(300, 100, False), model=BertForMaskedLM),
    "tiny64r": dict(config=dict(hidden_size=64, num_attention_heads=2, num_hidden_layers=2, intermediate_size=72,
                                max_position_embeddings=80, hidden_act="relu", layer_norm_eps=1e-5),
                    vocab=(120, 40, True), tokenizer=dict(lowercase=False, strip_accents=False, config_only=True),
                    model_max_length=80, shards=3),
    "tiny48old": dict(config=dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=1, intermediate_size=100,
                                  max_position_embeddings=64, hidden_act="gelu_new"),
                      vocab=(200, 60, False), model=BertForPreTraining, old_names=True, model_max_length=512),
    "tiny64h": dict(config=dict(hidden_size=64, num_attention_heads=8, num_hidden_layers=1, intermediate_size=100,
                                max_position_embeddings=64), vocab=(200, 60, False), half=True),
    "tiny48c": dict(config=dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=1, intermediate_size=76,
                                max_position_embeddings=48), vocab=(30, 10, False), model_max_length=512),
}


def build_base(layout, name):
    spec = SPECS[name]
    directory = layout.fresh(layout.bases / name)
    vocab = build_vocab(*spec["vocab"])
    config = BertConfig(vocab_size=len(vocab), **spec["config"])
    model = spec.get("model", BertModel)(config).eval()
    perturb(model.named_parameters(), f"base/{name}")
    if spec.get("half"):
        model = model.half()
    shard = {"max_shard_size": "70KB"} if spec.get("shards") else {}
    model.save_pretrained(directory, **shard)
    write_tokenizer(directory, vocab, spec.get("model_max_length"), **spec.get("tokenizer", {}))
    tidy_config(directory)
    if spec.get("old_names"):
        rename_like_old_files(directory, config)
    return directory


def tidy_config(directory):
    config = read_json(directory / "config.json")
    config.pop("_name_or_path", None)
    write_json(directory / "config.json", config)
    (directory / "generation_config.json").unlink(missing_ok=True)


def rename_like_old_files(directory, config):
    """What checkpoints converted from TensorFlow still carry today."""
    tensors = {}
    for key, tensor in read_tensors(directory / "model.safetensors").items():
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors[key] = tensor
    tensors["bert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    write_tensors(directory / "model.safetensors", tensors)


def build_bases(layout):
    for name in SPECS:
        directory = build_base(layout, name)
        size = sum(path.stat().st_size for path in directory.iterdir())
        vocab = json.loads((directory / "config.json").read_text())["vocab_size"]
        print(f"base {name}: vocabulary {vocab}, {size // 1024} KiB")
