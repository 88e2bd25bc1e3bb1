"""PyTorch + PEFT: one padded batch of queries of different LoRA tasks, by `adapter_names`."""

from pathlib import Path

import numpy as np


class PeftEngine:
    name = "PyTorch + PEFT"

    def __init__(self, bert, folder: Path, names: list[str], threads: int):
        """`bert` is the base in float32, which gets the adapters in `folder`/NAME inserted."""
        import torch
        from peft import PeftModel

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = PeftModel.from_pretrained(bert, folder / names[0], adapter_name=names[0])
        for name in names[1:]:
            self.model.load_adapter(folder / name, adapter_name=name)
        self.model.eval()

    @staticmethod
    def settings(threads: int) -> dict:
        import peft
        import torch

        return {
            "version": peft.__version__, "torch": torch.__version__, "threads": threads, "attention": "sdpa",
            "mode": "inference_mode, eager, adapter_names a query, one padded batch", "weights": "fp32",
        }  # fmt: skip

    def batch(self, ids: np.ndarray, mask: np.ndarray, names: list[str]):
        return self.torch.from_numpy(ids), None if mask.all() else self.torch.from_numpy(mask), names

    def run(self, batch) -> np.ndarray:
        ids, mask, names = batch
        with self.torch.inference_mode():
            return self.model(input_ids=ids, attention_mask=mask, adapter_names=names).logits.numpy()
