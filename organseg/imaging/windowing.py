"""Intensity windows: from stored values (HU, MR signal, grey levels) to uint8 grey levels.

Which window an image gets when the request brings none:

| image | window |
|---|---|
| 8-bit PNG, JPEG, uint8 `.npy`, any colour image | none: already display grey levels, kept as is |
| DICOM CT (rescaled to HU) | MedSAM's CT window, [-160, 240] HU |
| `.npy` with a value < 0 | taken as HU: [-160, 240] |
| any other `.npy`, 16-bit PNG, other DICOM | 0.5 to 99.5 percentile of the values > 0 |

With a window (low, high), every image is clipped to it and scaled linearly, low to 0 and high
to 255; 8-bit images too. The windows are MedSAM's pre-processing (Ma et al., "Segment anything
in medical images", its `pre_CT_MR.py`); it scales by the clipped volume's own minimum and
maximum, we by the window, so that a slice alone and in its volume look alike. MR scans can hold
small negative values after resampling: send a window with their slices (`Volume.default_window`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import WindowError

__all__ = [
    "CT_WINDOW_HU",
    "WINDOW_PERCENTILES",
    "Intensity",
    "Modality",
    "check_window",
    "default_window",
    "interpolate_ranks",
    "percentile_window",
    "scale_to_full_range",
    "window_of_range",
    "window_to_uint8",
]

CT_WINDOW_HU = (-160.0, 240.0)
"""MedSAM's window for abdominal CT: level 40 HU, width 400 HU."""

WINDOW_PERCENTILES = (0.5, 99.5)
"""MedSAM's window for all but CT: these percentiles of the values > 0."""


class Modality(str, Enum):
    """What kind of scanner made the values, as far as the file says; compares equal to its text."""

    CT = "CT"
    """Computed tomography; values are Hounsfield units."""
    MR = "MR"
    """Magnetic resonance; values have no fixed unit."""
    UNKNOWN = "unknown"
    """The file does not say, or names another kind."""


class Intensity(Enum):
    """What the numbers of an image mean, which decides the window it gets by default."""

    DISPLAY = "display"
    """Grey levels as they are to be shown: no window."""
    HOUNSFIELD = "hounsfield"
    """Hounsfield units: the CT window."""
    ARBITRARY = "arbitrary"
    """A signal without a fixed unit: the percentile window."""


def check_window(window: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """The window (low, high) as two Python floats.

    Raises `WindowError` unless it is exactly two finite numbers with low < high.
    """
    try:
        bounds = [float(value) for value in window]
    except (TypeError, ValueError) as error:
        raise WindowError(
            "wanted a window of two numbers (low, high), came something that is not numbers; "
            "send for example (-160, 240)"
        ) from error
    if len(bounds) != 2:
        raise WindowError(
            f"wanted a window of two numbers (low, high), came {len(bounds)}; "
            "send for example (-160, 240), or leave the window out"
        )
    low, high = bounds
    # The width must be finite too: (-1.7e308, 1.7e308) would overflow in the scaling.
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        raise WindowError(
            f"wanted a window of two finite numbers, came ({low}, {high}); "
            "send for example (-160, 240), or leave the window out"
        )
    if low >= high:
        raise WindowError(
            f"wanted a window with low < high, came ({low}, {high}); swap them or widen it"
        )
    return low, high


def window_to_uint8(values: NDArray[Any], low_high: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey levels of `values`: clipped to the window, low to 0, high to 255, rounded.

    `values` is real, finite, of any shape and dtype; the result is uint8 of the same shape.
    Raises `WindowError` for a window that is not two finite numbers in rising order.
    """
    low, high = check_window(low_high)
    clipped = np.clip(values.astype(np.float64), low, high)
    # Dividing first keeps the narrowest windows (denormal widths) from overflowing.
    grey: NDArray[np.uint8] = np.rint((clipped - low) / (high - low) * 255.0).astype(np.uint8)
    return grey


def percentile_window(values: NDArray[Any]) -> tuple[float, float]:
    """MedSAM's window for all but CT: the 0.5 and 99.5 percentiles of the values > 0.

    Where those coincide (a binary image, too few positive values), the whole range; where that
    is a point too (a constant image), a window of width 1 above it, which shows black. So
    low < high always. `values` is real and finite, not empty.
    """
    positive = values[values > 0]
    if positive.size:
        low, high = (float(edge) for edge in np.percentile(positive, WINDOW_PERCENTILES))
        if low < high:
            return low, high
    return window_of_range(float(values.min()), float(values.max()))


def window_of_range(low: float, high: float) -> tuple[float, float]:
    """The window over a whole range of values; of width 1 or more where that is a point."""
    if low < high:
        return low, high
    # math.ulp: a constant so large that adding 1 does not change it still needs a width.
    return low, low + max(1.0, math.ulp(low))


def interpolate_ranks(count: int, percent: float, below: float, above: float) -> float:
    """The percentile of `count` values between two neighbours, as `numpy.percentile` has it.

    `below` is the value of rank floor((count - 1) · percent / 100), from 0, `above` the next.
    """
    rank = (count - 1) * (percent / 100)
    share = rank - math.floor(rank)
    # NumPy's two forms, so that the last bit agrees.
    step = above - below
    return above - step * (1 - share) if share >= 0.5 else below + step * share


def default_window(values: NDArray[Any], intensity: Intensity) -> tuple[float, float] | None:
    """The window of an image that came without one; None for grey levels, shown as they are."""
    if intensity is Intensity.DISPLAY:
        return None
    return CT_WINDOW_HU if intensity is Intensity.HOUNSFIELD else percentile_window(values)


def scale_to_full_range(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`pixels` stretched so that its darkest value is 0 and its brightest 255.

    MedSAM's per-image min-max, in uint8. A constant image, which MedSAM would divide 0/0, gives
    zeros. Same shape and dtype.
    """
    low, high = int(pixels.min()), int(pixels.max())
    if low == high:
        return np.zeros_like(pixels)
    levels = np.arange(256, dtype=np.float64)
    table = np.rint(np.clip((levels - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)
    stretched: NDArray[np.uint8] = table[pixels]
    return stretched
