"""The engines by the names that the command line and the record have for them."""

from __future__ import annotations

from benchmarks.gpu.engines import CompiledTorchEngine, Engine, TorchEngine
from benchmarks.gpu.onnx_engine import OnnxCudaEngine, OnnxEngine, OnnxTensorRtEngine
from benchmarks.gpu.tensorrt_engine import TensorRtEngine

ENGINES: dict[str, type[Engine]] = {
    "torch": TorchEngine,
    "torch.compile": CompiledTorchEngine,
    "onnxruntime-cpu": OnnxEngine,
    "onnxruntime-cuda": OnnxCudaEngine,
    "onnxruntime-tensorrt": OnnxTensorRtEngine,
    "tensorrt": TensorRtEngine,
}
"""Every engine there is."""

ENGINES_OF_DEVICE: dict[str, tuple[str, ...]] = {
    "cpu": ("torch", "torch.compile", "onnxruntime-cpu"),
    "cuda": ("torch", "torch.compile", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"),
}
"""Those that are measured on a device unless others are named."""
