"""Paths, seeds, JSON and safetensors functions that every golden module shares."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

SEED = 20220711  # mixed with a name, so that adding a case never changes another one

SCALES = re.compile(r"ia3_l|\.scaling$")
MAGNITUDES = re.compile(r"lora_magnitude_vector|\.m\.weight$")


class Layout:
    """Where everything goes; `--check` points it at a temporary directory."""

    def __init__(self, root):
        self.root = Path(root)
        self.bases = self.root / "bases"
        self.pets = self.root / "pets"
        self.manifests = self.root / "manifests"
        self.refused = self.manifests / "refused"
        self.expected = self.root / "expected"
        self.minilm = self.root / "minilm"
        self.tokenizer = self.root / "tokenizer"

    def fresh(self, directory):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory


def seed_of(name):
    """A seed that depends on the name alone."""
    digest = hashlib.sha256(f"{SEED}:{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def generator(name):
    return torch.Generator().manual_seed(seed_of(name))


def randn(gen, shape, std, mean=0.0):
    return torch.randn(tuple(shape), generator=gen) * std + mean


def float32_json(value, digits=None):
    """Nested lists of floats, each the shortest decimal that reads back as the same float32, or with so many digits."""
    if isinstance(value, torch.Tensor):
        value = value.detach().to(torch.float32).numpy()
    array = np.asarray(value, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError("a golden holds a non-finite value")
    if array.ndim == 0:
        return "0.0" if array == 0 else f"{array:.{digits}g}" if digits else str(array[()])
    return "[" + ", ".join(float32_json(row, digits) for row in array) + "]"


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_tensors(path):
    with safe_open(str(path), framework="pt") as handle:
        return {key: handle.get_tensor(key) for key in handle.keys()}


def write_tensors(path, tensors, metadata=None):
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    save_file(tensors, str(path), metadata=metadata or {"format": "pt"})


def model_tensors(directory):
    """All tensors of a saved model, sharded or not."""
    tensors = {}
    for path in sorted(Path(directory).glob("model*.safetensors")):
        tensors.update(read_tensors(path))
    return tensors


def perturb(named_parameters, name):
    """Gives every parameter a value that matters: no zero bias, no unit norm, nothing at its initial value.

    Linear weights get about 1/sqrt(in), biases 0.2, norm gammas 1 +- 0.25, norm betas 0.2, scaling vectors are far
    from 1, and DoRA magnitudes move away from the norm of the weight.
    """
    gen = generator(name)
    with torch.no_grad():
        for key, parameter in sorted(named_parameters, key=lambda item: item[0]):
            lowered = key.lower()
            is_scale = SCALES.search(key) is not None or (parameter.ndim == 2 and parameter.shape[1] == 1
                                                          and key.endswith("lora_B"))
            is_norm = "layernorm" in lowered or "layer_norm" in lowered or "adapter_norm" in lowered
            if MAGNITUDES.search(key):
                parameter.mul_(randn(gen, parameter.shape, 0.3, mean=1.1))
            elif is_scale:
                parameter.copy_(randn(gen, parameter.shape, 0.4, mean=1.2))
            elif parameter.ndim >= 2 and "embeddings" in lowered:
                parameter.copy_(randn(gen, parameter.shape, 0.5))
            elif parameter.ndim >= 2:
                parameter.copy_(randn(gen, parameter.shape, 1.1 / parameter.shape[-1] ** 0.5))
            elif is_norm and key.endswith("weight"):
                parameter.copy_(randn(gen, parameter.shape, 0.25, mean=1.0))
            else:
                parameter.copy_(randn(gen, parameter.shape, 0.2))
