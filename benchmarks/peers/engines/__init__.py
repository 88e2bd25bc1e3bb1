"""The peers, one a file. Each says what it can do on this CPU; `interface.py` is what the measuring code knows of them."""

from engines.ctranslate2_engine import CTranslate2Engine
from engines.onnxruntime_engine import OnnxRuntimeEngine, OnnxRuntimeInt8Engine
from engines.openvino_engine import OpenVinoEngine
from engines.torch_engine import TorchCompileEngine, TorchEngine

# (class, precision): every peer that is tried.
ALL = [
    (OpenVinoEngine, "fp32"), (OpenVinoEngine, "bf16"),
    (OnnxRuntimeEngine, "fp32"), (OnnxRuntimeInt8Engine, "int8"),
    (TorchEngine, "fp32"), (TorchEngine, "bf16"), (TorchCompileEngine, "fp32"),
    (CTranslate2Engine, "fp32"), (CTranslate2Engine, "bf16"), (CTranslate2Engine, "int8"),
]  # fmt: skip
