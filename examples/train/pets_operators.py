"""Writes PET operators in the `operators` format (docs/operators-format.md). Needs NumPy and safetensors only.

    pet = OperatorsPet(source="BitFit, Ben Zaken et al. 2022")
    pet.add_bias("layer.0.attention.query", value)
    pet.set_head("sequence-classification", pooling="mean", layers=[(weight, bias, "none")], labels=["no", "yes"])
    pet.save("pets/my-task")

Matrices have PyTorch's orientation, [out, in]. Arrays may be anything that np.asarray accepts.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FILE_NAME = "pet_operators.safetensors"
FORMAT, VERSION = "pets-operators", "1"
HEAD_TYPES = (
    "sequence-classification", "multi-label-classification", "regression",
    "token-classification", "question-answering", "embedding",
)  # fmt: skip
POOLINGS = ("cls", "pooler", "mean", "tokens")


class OperatorsPet:
    """Collects the operators of one task, then writes them. At most one operator of a kind at a site.

    `dtype` (float32 or float16) is that of all stored float tensors; readers widen to float32.
    """

    def __init__(self, source: str = "", dtype=np.float32):
        self._tensors: dict[str, np.ndarray] = {}
        self._config: dict = {"source": source} if source else {}
        self._dtype = np.dtype(dtype)

    def add_bias(self, site: str, value) -> None:
        """A linear site's own bias [out]; it replaces the base's."""
        self._add(site, "bias", value=self._float(value, 1))

    def add_norm(self, site: str, gamma=None, beta=None) -> None:
        """A norm site's own gamma and beta [hidden], either or both; they replace the base's."""
        if gamma is None and beta is None:
            raise ValueError(f"{site}: norm needs gamma or beta")
        self._add(site, "norm", **self._some(1, gamma=gamma, beta=beta))

    def add_low_rank(self, site: str, a, b, scale: float = 1.0) -> None:
        """W + scale * b a, with a [rank, in] and b [out, rank]."""
        self._add(site, "low_rank", {"scale": float(scale)}, a=self._float(a, 2), b=self._float(b, 2))

    def add_sparse(self, site: str, indices, values) -> None:
        """W + S at a linear site: indices [2, n] (row 0 out, row 1 in), values [n]."""
        indices = np.asarray(indices, dtype=np.int32)
        if indices.ndim != 2 or indices.shape[0] != 2 or np.unique(indices, axis=1).shape != indices.shape:
            raise ValueError(f"{site}: indices must be [2, n] with no index twice")
        self._add(site, "sparse", indices=indices, values=self._float(values, 1))

    def add_rows(self, site: str, rows, values) -> None:
        """Replaced rows of an embedding table: rows [n], values [n, hidden]."""
        rows = np.asarray(rows, dtype=np.int32)
        if rows.ndim != 1 or np.unique(rows).shape != rows.shape:
            raise ValueError(f"{site}: rows must be [n] with no row twice")
        self._add(site, "sparse", rows=rows, values=self._float(values, 2))

    def add_mask(self, site: str, kept) -> None:
        """A boolean [out, in]: False where the weight counts as zero. Stored as one bit a weight."""
        kept = np.asarray(kept, dtype=bool)
        if kept.ndim != 2:
            raise ValueError(f"{site}: a mask is [out, in]")
        self._add(site, "mask", bits=np.packbits(kept, axis=1, bitorder="little"))

    def add_scale(self, site: str, input=None, output=None) -> None:
        """Per channel factors [in] and [out] of a linear, either or both; `output` acts before the bias is added."""
        if input is None and output is None:
            raise ValueError(f"{site}: scale needs input or output")
        self._add(site, "scale", **self._some(1, input=input, output=output))

    def add_bottleneck(
        self, site: str, down_weight, down_bias, up_weight, up_bias,
        ln_before=None, ln_after=None, scaling=1.0, **options,
    ) -> None:  # fmt: skip
        """An adapter at `layer.N.attention` or `layer.N.ffn`; `options` are those of the format (activation, parallel, ...).

        `ln_before` and `ln_after` are (gamma, beta); `scaling` is a number, or an array [1] or [hidden].
        """
        tensors = {
            "down.weight": self._float(down_weight, 2), "down.bias": self._float(down_bias, 1),
            "up.weight": self._float(up_weight, 2), "up.bias": self._float(up_bias, 1),
        }  # fmt: skip
        for name, pair in (("ln_before", ln_before), ("ln_after", ln_after)):
            if pair is not None:
                tensors[f"{name}.gamma"], tensors[f"{name}.beta"] = (self._float(p, 1) for p in pair)
        if np.ndim(scaling) == 0:
            options["scaling"] = float(scaling)
        else:
            tensors["scaling"] = self._float(scaling, 1)
        self._add(site, "bottleneck", options, **tensors)

    def set_head(self, type: str, pooling: str, layers: list[tuple], labels=None, normalize: bool | None = None) -> None:
        """The task's head: `layers` are (weight [out, in], bias [out], activation) in order."""
        if type not in HEAD_TYPES or pooling not in POOLINGS:
            raise ValueError(f"unknown head type or pooling: {type}, {pooling}")
        head: dict = {"type": type, "pooling": pooling, "layers": [{"activation": activation} for _, _, activation in layers]}
        if labels is not None:
            head["labels"] = list(labels)
        if normalize is not None:
            head["normalize"] = normalize
        self._config["head"] = head
        for i, (weight, bias, _) in enumerate(layers):
            self._tensors[f"head:{i}.weight"] = self._float(weight, 2)
            self._tensors[f"head:{i}.bias"] = self._float(bias, 1)

    def save(self, directory) -> Path:
        """Writes `directory`/pet_operators.safetensors and returns its path."""
        path = Path(directory) / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"format": FORMAT, "version": VERSION, "config": json.dumps(self._config)}
        save_file(self._tensors, path, metadata=metadata)
        return path

    def _add(self, site: str, operator: str, options: dict | None = None, **tensors) -> None:
        prefix = f"{site}:{operator}."
        if any(name.startswith(prefix) for name in self._tensors):
            raise ValueError(f"{site} has a {operator} operator already")
        self._tensors.update({prefix + part: np.ascontiguousarray(value) for part, value in tensors.items()})
        if options:
            self._config.setdefault("operators", {}).setdefault(site, {})[operator] = options

    def _float(self, value, dimensions: int) -> np.ndarray:
        array = np.ascontiguousarray(np.asarray(value, dtype=self._dtype))
        if array.ndim != dimensions or not np.isfinite(array).all():
            raise ValueError(f"expected finite values with {dimensions} dimensions, found shape {array.shape}")
        return array

    def _some(self, dimensions: int, **arrays) -> dict[str, np.ndarray]:
        return {name: self._float(value, dimensions) for name, value in arrays.items() if value is not None}
