"""A graph stage by ONNX Runtime, its inputs and outputs left where torch has them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from benchmarks.gpu.device import Device
from benchmarks.gpu.engines import Bound, Engine, StageGraph, Tensors, empty_outputs
from export.precision import Precision
from organseg.contract.engines import tensorrt_profile
from organseg.errors import EngineError

_INSTALL = "install onnxruntime-gpu in the place of onnxruntime, as `make test-gpu` does"


class OnnxEngine(Engine):
    """ONNX Runtime with one of its providers."""

    provider = "CPUExecutionProvider"
    """ONNX Runtime's own name for it."""

    def __init__(self, device: Device, stage: StageGraph) -> None:
        """Loads the graph; raises `EngineError` where the provider is not there or gives way."""
        super().__init__(device, stage)
        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            raise EngineError(
                f"wanted ONNX Runtime with {self.provider}, this build has "
                f"{', '.join(available)}: {_INSTALL}"
            )
        self._preload()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            str(stage.graph), options, providers=self._providers()
        )
        # Where a provider's libraries do not load, ONNX Runtime warns and takes the next.
        taken = self._session.get_providers()[0]
        if taken != self.provider:
            raise EngineError(
                f"wanted the graph loaded by {self.provider}, ONNX Runtime took {taken}: its "
                "libraries do not fit those of this environment (CUDA, cuDNN, TensorRT)"
            )

    def bind(self, inputs: Mapping[str, Tensor]) -> Bound:
        """Binds addresses once; a call computes and waits for the result."""
        # Whatever torch still has to write into the inputs.
        self.device.synchronise()
        held: Tensors = {
            name: inputs[name].contiguous() for name in (t.name for t in self.stage.model.inputs)
        }
        outputs = empty_outputs(self.stage.model, held)
        binding: Any = self._session.io_binding()
        for bind, declared, tensors in (
            (binding.bind_input, self.stage.model.inputs, held),
            (binding.bind_output, self.stage.model.outputs, outputs),
        ):
            for tensor in declared:
                value = tensors[tensor.name]
                bind(
                    name=tensor.name,
                    device_type=value.device.type,
                    device_id=value.device.index or 0,
                    element_type=tensor.dtype.numpy,
                    shape=tuple(value.shape),
                    buffer_ptr=value.data_ptr(),
                )

        def run(held: Tensors = held) -> Tensors:
            # `held` keeps alive what only addresses are known of.
            self._session.run_with_iobinding(binding)
            return outputs

        return run

    def _preload(self) -> None:
        """Loads libraries that the provider looks for by name alone."""

    def _providers(self) -> list[Any]:
        return [self.provider]


class OnnxCudaEngine(OnnxEngine):
    """ONNX Runtime's CUDA provider."""

    provider = "CUDAExecutionProvider"

    def _preload(self) -> None:
        # CUDA and cuDNN of the packages that torch brought.
        onnxruntime.preload_dlls()

    def _providers(self) -> list[Any]:
        return [(self.provider, {"device_id": "0", "use_tf32": "0"}), "CPUExecutionProvider"]


class OnnxTensorRtEngine(OnnxCudaEngine):
    """ONNX Runtime's TensorRT provider, which builds an engine when it is loaded."""

    provider = "TensorrtExecutionProvider"

    def _preload(self) -> None:
        super()._preload()
        # The package's import loads its libraries; without it the system's may be there.
        with suppress(ImportError, OSError):
            importlib.import_module("tensorrt")

    def _providers(self) -> list[Any]:
        return [(self.provider, self._options()), *super()._providers()[-1:]]

    def _options(self) -> dict[str, str]:
        profile = tensorrt_profile(self.stage.preset, self.stage.model)
        shapes = {
            bound: ",".join(
                f"{name}:{'x'.join(map(str, getattr(range_, bound)))}"
                for name, range_ in profile.items()
            )
            for bound in ("min", "opt", "max")
        }
        options = {"device_id": "0"} | {
            f"trt_profile_{bound}_shapes": text for bound, text in shapes.items()
        }
        switches = {Precision.FP16: "trt_fp16_enable", Precision.BF16: "trt_bf16_enable"}
        if self.stage.precision in switches:
            options[switches[self.stage.precision]] = "1"
        return options
