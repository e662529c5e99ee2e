"""Ways to run a graph stage: torch as it is, compiled, ONNX Runtime's providers, TensorRT.

Each engine loads one stage and gives, for inputs that stay where they are, a call without arguments
that gives the outputs. All of them take and give the contract's tensors on one device, so any of
them can be held against any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu.device import Device
from export.precision import Precision
from organseg.contract import Model, Preset, names
from organseg.contract import Tensor as Declared
from organseg.networks.stages import GraphModule

Tensors = dict[str, Tensor]
"""By the contract's names, each with the batch axis in front."""
Bound = Callable[[], Tensors]
"""A call whose inputs are fixed; its outputs may be overwritten by the next call."""


@dataclass(frozen=True)
class StageGraph:
    """One graph stage in every form that an engine may want."""

    model: Model
    """Its tensors."""
    preset: Preset
    """The sizes, and the largest batch that engines are built for."""
    module: GraphModule
    """In torch, float32, on the device."""
    graph: Path
    """As ONNX, its products in `precision`."""
    precision: Precision
    """What its products work in."""


class Engine(ABC):
    """One stage, loaded by one engine; building one raises where the engine cannot run it."""

    def __init__(self, device: Device, stage: StageGraph) -> None:
        """Loads the stage."""
        self.device, self.stage = device, stage

    @abstractmethod
    def bind(self, inputs: Mapping[str, Tensor]) -> Bound:
        """The call for these inputs, which lie on the device and are not copied."""


class TorchStage:
    """A stage's module as torch runs it; half precision by autocast, the weights stay float32."""

    def __init__(self, device: Device, module: GraphModule, precision: Precision) -> None:
        """Takes a module that is on the device already."""
        halves = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
        self._module, self._half = module, halves.get(precision)
        self._kind = torch.device(device.name).type

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs for inputs in the contract's order, both in its types."""
        half = self._half
        with torch.autocast(self._kind, dtype=half or torch.bfloat16, enabled=half is not None):
            outputs: tuple[Tensor, ...] = self._module(*inputs)
        return outputs


class TorchEngine(Engine):
    """torch as it is."""

    def __init__(self, device: Device, stage: StageGraph) -> None:
        """Takes the stage's module."""
        super().__init__(device, stage)
        self._call: Callable[..., tuple[Tensor, ...]] = TorchStage(
            device, stage.module, stage.precision
        )

    def bind(self, inputs: Mapping[str, Tensor]) -> Bound:
        """Calls the module."""
        model, call = self.stage.model, self._call
        given = [inputs[tensor.name] for tensor in model.inputs]

        def run() -> Tensors:
            outputs = call(*given)
            return {t.name: value for t, value in zip(model.outputs, outputs, strict=True)}

        return run


class CompiledTorchEngine(TorchEngine):
    """The same behind `torch.compile`; on a GPU its kernels are replayed as CUDA graphs."""

    def __init__(self, device: Device, stage: StageGraph) -> None:
        """Compiles at the first call of each shape."""
        super().__init__(device, stage)
        self._call = device.compiled(self._call)


def torch_type(tensor: Declared) -> torch.dtype:
    """The torch type of a declared tensor; texts have none."""
    found: torch.dtype = getattr(torch, str(tensor.dtype.numpy))
    return found


def random_inputs(model: Model, batch: int, prompts: int, device: str, *, seed: int = 0) -> Tensors:
    """Made-up inputs of a graph stage: time does not depend on their values.

    Args:
        model: the stage.
        batch: requests in the batch.
        prompts: boxes an image, where the stage takes boxes.
        device: where to put them, as torch names devices.
        seed: of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    made: Tensors = {}
    for tensor in model.inputs:
        sizes = [axis.max if axis.is_static else prompts for axis in tensor.axes]
        values = torch.rand((batch, *sizes), generator=generator)
        if torch_type(tensor) is torch.uint8:
            values = values * 255
        elif tensor.name == names.PROMPT_BOXES:
            # The corners of a box in order.
            values = values.reshape(batch, -1, 2, 2).sort(dim=2).values.flatten(2)
        made[tensor.name] = values.to(torch_type(tensor)).to(device)
    return made


def empty_outputs(model: Model, inputs: Mapping[str, Tensor]) -> Tensors:
    """Room for a stage's outputs for these inputs, beside them."""
    sizes = {
        axis.name: size
        for tensor in model.inputs
        for axis, size in zip(tensor.axes, inputs[tensor.name].shape[1:], strict=True)
    }
    first = inputs[model.inputs[0].name]
    return {
        tensor.name: torch.empty(
            (
                first.shape[0],
                *(axis.max if axis.is_static else sizes[axis.name] for axis in tensor.axes),
            ),
            dtype=torch_type(tensor),
            device=first.device,
        )
        for tensor in model.outputs
    }
