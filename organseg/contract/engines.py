"""What the exporters need of the contract: ONNX dynamic axes and TensorRT profiles."""

from __future__ import annotations

from dataclasses import dataclass

from organseg.contract.models import Model
from organseg.contract.presets import Preset
from organseg.contract.tensors import Axis, Tensor

BATCH = "batch"
"""The name of the leading axis in every exported graph."""


def batch_axis(preset: Preset) -> Axis:
    """The batch axis that Triton puts in front of every tensor."""
    return Axis(BATCH, 1, max(1, preset.max_batch // 2), preset.max_batch)


def dynamic_axes(tensor: Tensor) -> dict[int, str]:
    """Position to name of the dynamic axes of an ONNX tensor, batch (position 0) included."""
    inner = {
        position: axis.name
        for position, axis in enumerate(tensor.axes, start=1)
        if not axis.is_static
    }
    return {0: BATCH, **inner}


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of one input in a TensorRT optimisation profile, batch included."""

    min: tuple[int, ...]
    """The smallest shape."""
    opt: tuple[int, ...]
    """The shape that kernels are chosen for."""
    max: tuple[int, ...]
    """The largest shape."""


def tensorrt_profile(preset: Preset, model: Model) -> dict[str, ShapeRange]:
    """The optimisation profile of a graph stage, by input name."""
    batch = batch_axis(preset)
    return {
        tensor.name: ShapeRange(
            min=(batch.min, *tensor.shape("min")),
            opt=(batch.opt, *tensor.shape("opt")),
            max=(batch.max, *tensor.shape("max")),
        )
        for tensor in model.inputs
    }
