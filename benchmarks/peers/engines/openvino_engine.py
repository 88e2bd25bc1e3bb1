"""OpenVINO on the CPU: one stream, the execution precision forced."""

from pathlib import Path

import cpu
import numpy as np
from engines.interface import Engine, Unsupported


class OpenVinoEngine(Engine):
    name = "OpenVINO"

    def __init__(self, folder: Path, threads: int, precision: str):
        import openvino

        if precision == "bf16" and not cpu.has_bf16():
            raise Unsupported("the CPU has no native bf16")
        core = openvino.Core()
        self.compiled = core.compile_model(core.read_model(folder / "model.xml"), "CPU", _options(threads, precision))
        self.request = self.compiled.create_infer_request()

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        import openvino
        from engines.logits_only import LogitsOnly, example

        model = openvino.convert_model(LogitsOnly(bert), example_input=example())
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        import openvino

        return {"version": openvino.__version__.split("-")[0], "from": "PyTorch, sdpa attention, dynamic shapes"} | {
            key.lower(): value for key, value in _options(threads, precision).items()
        }

    def batch(self, ids: np.ndarray, mask: np.ndarray):
        return {"input_ids": ids, "attention_mask": mask}

    def run(self, batch) -> np.ndarray:
        return next(iter(self.request.infer(batch, share_inputs=True, share_outputs=True).values()))


def _options(threads: int, precision: str) -> dict:
    return {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
    }  # fmt: skip
