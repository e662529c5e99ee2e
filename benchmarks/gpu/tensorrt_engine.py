"""A graph stage by a TensorRT engine, built here, its inputs and outputs left where torch has them.

The engine is the one that a release would carry: `export.tensorrt_plans` builds it, with the
contract's profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmarks.gpu.device import Device
from benchmarks.gpu.engines import Bound, Engine, StageGraph, Tensors, empty_outputs
from export.tensorrt_plans import TENSORRT, compile_plan, load_library
from organseg.contract.engines import tensorrt_profile
from organseg.errors import EngineError


class TensorRtEngine(Engine):
    """TensorRT, as Triton's own backend would run it."""

    def __init__(self, device: Device, stage: StageGraph) -> None:
        """Builds the engine and loads it; raises `EngineError` where TensorRT does not."""
        super().__init__(device, stage)
        trt = load_library(TENSORRT)
        plan = compile_plan(trt, stage.graph, tensorrt_profile(stage.preset, stage.model))
        # Held: an engine does not outlive its runtime.
        self._runtime: Any = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan.engine)
        if self._engine is None:
            raise EngineError(
                f"wanted the engine of {stage.model.name} loaded, TensorRT {trt.__version__} built "
                "it and refuses it: look at the driver's version"
            )

    def bind(self, inputs: Mapping[str, Tensor]) -> Bound:
        """Sets shapes and addresses once; a call launches on a stream of its own."""
        model = self.stage.model
        held: Tensors = {t.name: inputs[t.name].contiguous() for t in model.inputs}
        outputs = empty_outputs(model, held)
        context: Any = self._engine.create_execution_context()
        for name, value in held.items():
            if not context.set_input_shape(name, tuple(value.shape)):
                raise EngineError(
                    f"wanted {name} of {tuple(value.shape)}, which the engine's profile does not "
                    "hold: choose batches of at most the preset's"
                )
        for name, value in (*held.items(), *outputs.items()):
            context.set_tensor_address(name, value.data_ptr())

        def launch(stream: int) -> None:
            if not context.execute_async_v3(stream):
                raise EngineError(f"wanted {model.name} run, TensorRT did not launch it")

        def run(held: Tensors = held) -> Tensors:
            # `held` keeps alive what only addresses are known of.
            self.device.on_own_stream(launch)
            return outputs

        return run
