"""Smooth random fields over a box in mm: cubic B-splines on coarse knots, by matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

FloatArray = NDArray[np.float32]


def spline_matrix(
    positions_mm: FloatArray, knot_mm: float, low_mm: float, knots: int
) -> FloatArray:
    """Weights [len(positions), knots] of uniform cubic B-splines; positions outside are clamped."""
    u = np.clip((positions_mm - low_mm) / knot_mm, 0.0, knots - 3.001)
    first = np.floor(u).astype(np.intp)
    t = (u - first).astype(np.float32)
    weights = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ],
        axis=1,
    )
    matrix = np.zeros((len(positions_mm), knots), dtype=np.float32)
    rows = np.arange(len(positions_mm))
    for k in range(4):
        matrix[rows, first + k] = weights[:, k]
    return matrix


def smooth_field(
    rng: np.random.Generator,
    axes_mm: tuple[FloatArray, FloatArray, FloatArray],
    knot_mm: tuple[float, float, float],
    extent_mm: tuple[tuple[float, float], ...],
) -> FloatArray:
    """A field float32 [z, y, x] of mean 0 and standard deviation near 1 on these coordinates.

    `knot_mm` is the distance of the knots along z, y, x: structures are about twice that size.
    The knots span `extent_mm`, so the field does not depend on where or how finely it is sampled.
    """
    counts = [
        int(np.ceil((high - low) / step)) + 4
        for (low, high), step in zip(extent_mm, knot_mm, strict=True)
    ]
    # A cubic B-spline of white knots has a variance of (0.479)**3: undo it.
    knots = rng.standard_normal(counts, dtype=np.float32) / np.float32(0.479**1.5)
    along_z, along_y, along_x = (
        spline_matrix(axis, step, low, count)
        for axis, step, (low, _), count in zip(axes_mm, knot_mm, extent_mm, counts, strict=True)
    )
    field = np.tensordot(along_z, knots, axes=1)
    field = np.matmul(along_y, field)
    result: FloatArray = np.matmul(field, along_x.T)
    return result


_TILE = (24, 48, 48)


def fine_grain(
    rng: np.random.Generator,
    axes_mm: tuple[FloatArray, FloatArray, FloatArray],
    grain_mm: float,
) -> FloatArray:
    """A fine random texture [z, y, x], standard deviation near 1, repeating every few centimetres.

    Cheaper than `smooth_field` for grains of a few mm; it too depends on the coordinates alone.
    """
    tile = gaussian_filter(rng.standard_normal(_TILE, dtype=np.float32), 1.1, mode="wrap")
    tile /= max(float(tile.std()), 1e-6)
    index = [
        np.floor(axis / np.float32(0.55 * grain_mm)).astype(np.int64) % size
        for axis, size in zip(axes_mm, _TILE, strict=True)
    ]
    result: FloatArray = tile[np.ix_(*index)]
    return result
