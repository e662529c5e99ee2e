"""The vocabulary of the contract: data types, axes with their bounds, tensors.

Everything here is a value: no file, no framework. The renderers and the checker of this
package turn these values into Triton configs, ONNX axes, TensorRT profiles and tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class DataType(Enum):
    """An element type, by Triton's name; the other frameworks' names hang off it."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    INT32 = "INT32"
    FP16 = "FP16"
    FP32 = "FP32"
    BYTES = "BYTES"

    @property
    def config_name(self) -> str:
        """The name in `config.pbtxt` (`TYPE_STRING` for BYTES)."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type; BYTES travel as an object array of `bytes`."""
        names = {
            DataType.BOOL: np.bool_,
            DataType.UINT8: np.uint8,
            DataType.INT32: np.int32,
            DataType.FP16: np.float16,
            DataType.FP32: np.float32,
            DataType.BYTES: np.object_,
        }
        return np.dtype(names[self])

    @property
    def onnx_name(self) -> str:
        """The name in `onnx.TensorProto` (`FLOAT`, `FLOAT16`, …)."""
        names = {DataType.FP16: "FLOAT16", DataType.FP32: "FLOAT", DataType.BYTES: "STRING"}
        return names.get(self, self.value)


@dataclass(frozen=True)
class Axis:
    """One axis of a tensor: a name and the sizes it may take."""

    name: str
    """What is counted along it (`rows`, `prompts`)."""
    min: int
    """The smallest size."""
    opt: int
    """The size an engine is tuned for."""
    max: int
    """The largest size; equal to `min` for a static axis."""

    def __post_init__(self) -> None:
        """Refuses bounds that are out of order."""
        if not 1 <= self.min <= self.opt <= self.max:
            raise ValueError(
                f"axis {self.name!r}: wanted 1 <= min <= opt <= max, "
                f"got {self.min}, {self.opt}, {self.max}"
            )

    @property
    def is_static(self) -> bool:
        """Whether the axis has one size only."""
        return self.min == self.max

    @property
    def config_dim(self) -> int:
        """The size as a Triton config writes it: -1 for a dynamic axis."""
        return self.max if self.is_static else -1


def static(name: str, size: int) -> Axis:
    """An axis of one fixed size."""
    return Axis(name, size, size, size)


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model, without its batch axis."""

    name: str
    """The same name in every model that writes or reads it."""
    dtype: DataType
    """The element type."""
    axes: tuple[Axis, ...]
    """The axes behind the batch axis, outermost first."""
    doc: str
    """What the values are: meaning, unit, frame."""
    optional: bool = False
    """Whether a request may leave it out."""

    @property
    def config_dims(self) -> tuple[int, ...]:
        """The dimensions as a Triton config writes them, without batch."""
        return tuple(axis.config_dim for axis in self.axes)

    def shape(self, bound: str = "max") -> tuple[int, ...]:
        """The sizes at one bound (`min`, `opt` or `max`), without batch."""
        return tuple(int(getattr(axis, bound)) for axis in self.axes)
