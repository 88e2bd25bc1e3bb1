"""CTranslate2: its encoder with the pooler; the classifier, a product with a [labels, hidden] matrix, is done by NumPy on the pooler's output."""

import shutil
from pathlib import Path

import numpy as np
from engines.interface import Engine, Unsupported

_COMPUTE_TYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}


class CTranslate2Engine(Engine):
    name = "CTranslate2"

    def __init__(self, folder: Path, threads: int, precision: str):
        import ctranslate2

        wanted = _COMPUTE_TYPES[precision]
        if wanted not in ctranslate2.get_supported_compute_types("cpu"):
            raise Unsupported(f"its supported compute types here lack {wanted}")
        self.encoder = ctranslate2.Encoder(str(folder / "ctranslate2"), device="cpu", intra_threads=threads, compute_type=wanted)
        self.weight, self.bias = (np.load(folder / f"classifier-{part}.npy") for part in ("weight", "bias"))

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        import ctranslate2
        import transformers

        source = folder / "encoder"
        bert.bert.save_pretrained(source)
        words = source / "vocab.txt"  # the converter wants a vocabulary; queries are ids
        words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(5, bert.config.vocab_size)]))
        transformers.BertTokenizerFast(str(words)).save_pretrained(source)
        ctranslate2.converters.TransformersConverter(str(source)).convert(str(folder / "ctranslate2"), force=True)
        shutil.rmtree(source)
        for part in ("weight", "bias"):
            np.save(folder / f"classifier-{part}.npy", getattr(bert.classifier, part).detach().numpy())

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        import ctranslate2

        return {
            "version": ctranslate2.__version__, "compute_type": _COMPUTE_TYPES[precision], "intra_threads": threads, "inter_threads": 1,
            "head": "classifier by NumPy on the pooler's output",
        }  # fmt: skip

    def batch(self, ids: np.ndarray, mask: np.ndarray):
        import ctranslate2

        lengths = mask.sum(1).astype(np.int32)
        return [ctranslate2.StorageView.from_array(np.ascontiguousarray(a)) for a in (ids.astype(np.int32), lengths)]

    def run(self, batch) -> np.ndarray:
        return np.asarray(self.encoder.forward_batch(*batch).pooler_output) @ self.weight.T + self.bias
