"""PyTorch with transformers: scaled-dot-product attention, inference mode; and the same through torch.compile."""

from pathlib import Path

import cpu
import numpy as np
from engines.interface import Engine, Unsupported


class TorchEngine(Engine):
    name = "PyTorch"

    def __init__(self, folder: Path, threads: int, precision: str):
        import torch
        from transformers import BertForSequenceClassification

        if precision == "bf16" and not cpu.has_bf16():
            raise Unsupported("the CPU has no native bf16")
        torch.set_num_threads(threads)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.torch = torch
        self.model = BertForSequenceClassification.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        bert.save_pretrained(folder)

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        import torch
        import transformers

        return {
            "version": torch.__version__, "transformers": transformers.__version__, "threads": threads, "attention": "sdpa",
            "mode": "inference_mode, eager", "weights": precision, "mask": "none where nothing is padded",
        }  # fmt: skip

    def batch(self, ids: np.ndarray, mask: np.ndarray):
        return self.torch.from_numpy(ids), None if mask.all() else self.torch.from_numpy(mask)

    def run(self, batch) -> np.ndarray:
        with self.torch.inference_mode():
            return self.model(input_ids=batch[0], attention_mask=batch[1]).logits.float().numpy()


class TorchCompileEngine(TorchEngine):
    name = "PyTorch compiled"
    per_task = False  # every copy would be compiled again, and the code is the same
    workloads = ("1x128x16", "2x32x32", "latency-16")  # a shape takes half a minute and more to compile

    def __init__(self, folder: Path, threads: int, precision: str):
        super().__init__(folder, threads, precision)
        import torch._inductor.config as inductor

        inductor.freezing = True  # constants folded, weights packed for the matrix library
        self.compiled = self.torch.compile(self.model, dynamic=False)
        self.torch._dynamo.config.recompile_limit = 64

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        return TorchEngine.settings(threads, precision) | {"mode": "torch.compile (inductor, frozen weights, a graph for each shape)"}

    def run(self, batch) -> np.ndarray:
        with self.torch.inference_mode():
            return self.compiled(input_ids=batch[0], attention_mask=batch[1]).logits.float().numpy()
