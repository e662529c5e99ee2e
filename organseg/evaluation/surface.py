"""Normalized surface Dice in millimetres, with FLARE22's tolerances and its official z range.

The surface is the marching-cubes surface of the mask on the grid of voxel corners, and each
surface element counts with its area (in a slice: its length), as in DeepMind's
`surface-distance`, which FLARE22's script uses. Elements of both surfaces that lie within the
tolerance of the other surface, over all elements.

Source: Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and
neck anatomy" (2018); FLARE22's evaluation script for tolerances and z range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import marching_cubes

from organseg.errors import ImageError
from organseg.evaluation.overlap import Mask, count_pixels

__all__ = [
    "SURFACE_TOLERANCE_MM",
    "Z_RANGE_ORGAN_IDS",
    "VolumeScore",
    "ZRange",
    "score_volume",
    "surface_dice",
]

SURFACE_TOLERANCE_MM: Mapping[int, float] = MappingProxyType(
    {1: 5, 2: 3, 3: 3, 4: 5, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 3, 11: 5, 12: 7, 13: 3}
)
"""Organ id to the tolerance in millimetres that FLARE22 grants its surface."""

Z_RANGE_ORGAN_IDS: frozenset[int] = frozenset({5, 6, 10})
"""Aorta, inferior vena cava, esophagus: scored only where the truth shows them."""


class ZRange(str, Enum):
    """Which slices count for the three organs that run on beyond the labelled ones."""

    OFFICIAL = "official"
    """As FLARE22's script: from the first labelled slice up to, not including, the last."""
    FIXED = "fixed"
    """From the first labelled slice to the last, both included."""


@dataclass(frozen=True)
class VolumeScore:
    """Dice and surface Dice of one organ in one volume."""

    dice: float | None
    """Empty-aware Dice, or `None` where the official z range holds no slice."""
    surface_dice: float | None
    """Normalized surface Dice, or `None` where the official z range holds no slice."""


def surface_dice(
    truth: Mask, predicted: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Normalized surface Dice of two masks `[H, W]` or `[Z, H, W]`, 0 to 1.

    `spacing_mm` names the voxel's size along each axis of the masks, in their order. Both masks
    empty: 1; exactly one empty: 0. Raises `ImageError` where shapes, types or spacing do not fit.
    """
    counts = count_pixels(truth, predicted)
    spacing = _checked_spacing(truth.ndim, spacing_mm)
    if counts.truth == 0 or counts.predicted == 0:
        return 1.0 if counts.union == 0 else 0.0
    window = _bounding_window(truth | predicted)
    surfaces = [_Surface.of(mask[window], spacing) for mask in (truth, predicted)]
    near = sum(
        own.size[own.is_near(other, spacing, tolerance_mm)].sum()
        for own, other in (surfaces, surfaces[::-1])
    )
    return float(near / sum(surface.size.sum() for surface in surfaces))


def score_volume(
    truth: Mask,
    predicted: Mask,
    organ_id: int,
    spacing_zyx_mm: Sequence[float],
    z_range: ZRange,
) -> VolumeScore:
    """Scores one organ `[Z, H, W]`, z from feet to head, as FLARE22's script does.

    Both masks empty: 1 and 1; truth empty, prediction not: 0 and 0. For aorta, inferior vena
    cava and esophagus only the slices of `z_range` count. The official range is half open: it
    misses the last labelled slice, and where the truth has a single slice it holds none. The
    challenge's script fails there; here both scores are `None`, and a summary counts them as
    not scored. Raises `ImageError` as `surface_dice`.
    """
    if truth.ndim != 3:
        raise ImageError(f"Masks [Z, H, W] are wanted for a volume; got shape {truth.shape}.")
    if organ_id in Z_RANGE_ORGAN_IDS and truth.any():
        labelled = np.flatnonzero(truth.any(axis=(1, 2)))
        stop = labelled[-1] + (1 if z_range is ZRange.FIXED else 0)
        if stop == labelled[0]:
            return VolumeScore(dice=None, surface_dice=None)
        truth, predicted = truth[labelled[0] : stop], predicted[labelled[0] : stop]
    return VolumeScore(
        dice=count_pixels(truth, predicted).dice,
        surface_dice=surface_dice(truth, predicted, spacing_zyx_mm, SURFACE_TOLERANCE_MM[organ_id]),
    )


@dataclass(frozen=True)
class _Surface:
    """A mask's surface on the grid of voxel corners."""

    corners: npt.NDArray[np.bool_]
    """True where a corner touches both inside and outside; one longer than the mask per axis."""
    size: npt.NDArray[np.float64]
    """Area (mm²) or length (mm) at each surface corner, in the order of `corners`."""

    @staticmethod
    def of(mask: Mask, spacing_mm: tuple[float, ...]) -> _Surface:
        codes = _corner_codes(mask)
        sizes = _size_of_code(spacing_mm)
        corners = (codes != 0) & (codes != len(sizes) - 1)
        return _Surface(corners=corners, size=sizes[codes[corners]])

    def is_near(
        self, other: _Surface, spacing_mm: tuple[float, ...], tolerance_mm: float
    ) -> npt.NDArray[np.bool_]:
        distance_mm = ndimage.distance_transform_edt(~other.corners, sampling=spacing_mm)
        near: npt.NDArray[np.bool_] = distance_mm[self.corners] <= tolerance_mm
        return near


def _corner_codes(mask: Mask) -> npt.NDArray[np.intp]:
    """Each voxel corner's neighbours as bits: `[*n]` to `[*(n + 1)]`, 0 to 2**2**rank − 1."""
    padded = np.pad(mask, 1).astype(np.intp)
    shape = tuple(length + 1 for length in mask.shape)
    codes = np.zeros(shape, dtype=np.intp)
    for bit, offset in enumerate(np.ndindex(*(2,) * mask.ndim)):
        window = tuple(
            slice(start, start + length) for start, length in zip(offset, shape, strict=True)
        )
        codes |= padded[window] << bit
    return codes


@lru_cache(maxsize=64)
def _size_of_code(spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """The surface's area (mm²) or length (mm) inside the cell of each corner code."""
    if len(spacing_mm) == 2:
        return _lengths_of_code(spacing_mm)
    # A triangle's area vector scales along each axis with the product of the other two sides.
    scale = np.prod(spacing_mm) / np.asarray(spacing_mm)
    return np.array(
        [np.linalg.norm(vectors * scale, axis=1).sum() for vectors in _triangles_of_code()]
    )


@lru_cache(maxsize=1)
def _triangles_of_code() -> tuple[npt.NDArray[np.float64], ...]:
    """Area vectors `[T, 3]` of the marching-cubes triangles of all 256 cells of side 1."""
    per_code = [np.zeros((0, 3))]
    for code in range(1, 255):
        # The reference cuts a cell and its complement alike: always around the fewer corners.
        fewer = code if code.bit_count() <= 4 else 255 - code
        cell = np.array([fewer >> bit & 1 for bit in range(8)], dtype=np.float64).reshape(2, 2, 2)
        vertices, faces, _, _ = marching_cubes(cell, 0.5, method="lorensen")
        first, second, third = (
            vertices[faces[:, corner]].astype(np.float64) for corner in range(3)
        )
        per_code.append(np.cross(second - first, third - first) / 2.0)
    per_code.append(np.zeros((0, 3)))
    return tuple(per_code)


def _lengths_of_code(spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Contour lengths (mm) of all 16 cells of 2 × 2 pixels."""
    along_rows, along_columns = spacing_mm
    diagonal = 0.5 * float(np.hypot(along_rows, along_columns))
    lengths = np.zeros(16)
    for code in range(1, 15):
        upper_left, upper_right, lower_left, lower_right = (code >> bit & 1 for bit in range(4))
        inside = upper_left + upper_right + lower_left + lower_right
        if inside != 2:
            lengths[code] = diagonal
        elif upper_left == lower_right:
            lengths[code] = 2.0 * diagonal
        else:
            lengths[code] = along_columns if upper_left == upper_right else along_rows
    return lengths


def _bounding_window(mask: Mask) -> tuple[slice, ...]:
    """The slices that cut a non-empty mask to its bounding box."""
    (window,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(window)


def _checked_spacing(rank: int, spacing_mm: Sequence[float]) -> tuple[float, ...]:
    spacing = tuple(float(side) for side in spacing_mm)
    usable = all(np.isfinite(side) and side > 0.0 for side in spacing)
    if rank not in (2, 3) or len(spacing) != rank or not usable:
        raise ImageError(
            "A positive spacing in millimetres for each of two or three axes is wanted; got "
            f"{spacing} for masks of {rank} axes. Take it from the scan's header."
        )
    return spacing
