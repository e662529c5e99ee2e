"""Voxel values of a scan in the smaller of the two types that a `Scan` gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError

__all__ = ["compact"]

_INT16 = np.iinfo(np.int16)


def compact(values: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    """int16 where all values are whole numbers that fit, else float32; contiguous.

    Raises `ImageError` for values that are not finite.
    """
    fits = _INT16.min <= values.min() and values.max() <= _INT16.max
    if fits and (values.dtype.kind in "iu" or np.array_equal(values, np.rint(values))):
        return np.ascontiguousarray(values, dtype=np.int16)
    with np.errstate(over="ignore"):
        as_float = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(as_float).all():
        raise ImageError(
            "wanted finite values in every voxel, came NaN or infinity; "
            "replace them, for CT by air (-1024)"
        )
    return as_float
