"""ONNX Runtime on the CPU: the graph fused by onnxruntime.transformers, then all of its own optimizations; float32 and int8."""

import copy
from pathlib import Path

import cpu
import numpy as np
from engines.interface import Engine


class OnnxRuntimeEngine(Engine):
    name = "ONNX Runtime"
    file = "fused.onnx"

    def __init__(self, folder: Path, threads: int, precision: str):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.force_spinning_stop", "1")  # spins while it runs, not after
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(folder / self.file, options, providers=["CPUExecutionProvider"])

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        import torch
        from engines.logits_only import LogitsOnly, example
        from onnxruntime.transformers import optimizer

        plain = type(bert)._from_config(copy.deepcopy(bert.config), attn_implementation="eager").eval()  # the form that the fusions know
        plain.load_state_dict(bert.state_dict())
        axes = {0: "queries", 1: "tokens"}
        names = ["input_ids", "attention_mask"]
        torch.onnx.export(
            LogitsOnly(plain), tuple(example().values()), folder / "model.onnx", input_names=names, output_names=["logits"],
            dynamic_axes={names[0]: axes, names[1]: axes, "logits": {0: "queries"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
        fused = optimizer.optimize_model(str(folder / "model.onnx"), "bert", num_heads=heads, hidden_size=hidden, opt_level=0)
        attentions = fused.get_fused_operator_statistics()["Attention"]
        if attentions != bert.config.num_hidden_layers:
            raise RuntimeError(f"onnxruntime.transformers fused {attentions} attentions, expected one a layer: not the engine's best")
        fused.save_model_to_file(str(folder / OnnxRuntimeEngine.file))
        (folder / "model.onnx").unlink()

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        import onnxruntime

        return {
            "version": onnxruntime.__version__, "intra_op_num_threads": threads, "graph_optimization_level": "ORT_ENABLE_ALL",
            "graph": "torch.onnx export (opset 17), fused by onnxruntime.transformers (bert)", "spinning": "stopped after each run",
        }  # fmt: skip

    def batch(self, ids: np.ndarray, mask: np.ndarray):
        return {"input_ids": ids, "attention_mask": mask}

    def run(self, batch) -> np.ndarray:
        return self.session.run(None, batch)[0]


class OnnxRuntimeInt8Engine(OnnxRuntimeEngine):
    name = "ONNX Runtime"
    file = "int8.onnx"

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        if not (folder / OnnxRuntimeEngine.file).exists():
            OnnxRuntimeEngine.export(bert, heads, hidden, folder)
        quantize_dynamic(
            folder / OnnxRuntimeEngine.file, folder / OnnxRuntimeInt8Engine.file, per_channel=True,
            reduce_range=not cpu.has_int8_dot(), weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )  # fmt: skip

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        reduced = "full range" if cpu.has_int8_dot() else "7-bit range, as the CPU has no int8 dot product"
        return OnnxRuntimeEngine.settings(threads, precision) | {
            "quantization": f"quantize_dynamic of the fused graph, QInt8 weights per channel, {reduced}"
        }
