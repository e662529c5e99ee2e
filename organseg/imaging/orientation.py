"""The display orientation of a slice, and the exact way back to the frame it was stored in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError

__all__ = ["IDENTITY", "DisplayOrientation", "from_image_orientation", "slice_normal"]

Scalar = TypeVar("Scalar", bound=np.generic)

# 45 degrees off axial the slice is as much coronal or sagittal as axial.
_LEAST_AXIAL_COSINE = math.cos(math.radians(45.0))
# Files print direction cosines with few digits; a product beyond this is not a rotation.
_COSINE_TOLERANCE = 0.02


@dataclass(frozen=True)
class DisplayOrientation:
    """How a stored slice becomes a display slice: first the transpose, then the flips.

    In a display slice rows run down to the patient's posterior and columns run right to the
    patient's left. The eight values are the eight symmetries of a rectangle and its transpose.
    """

    transpose: bool
    """Whether stored rows and columns change places first."""
    flip_rows: bool
    """Whether the (transposed) slice is then turned upside down."""
    flip_columns: bool
    """Whether the (transposed) slice is then mirrored left to right."""

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Stored `array` [..., H, W] in display orientation; a view where possible."""
        if self.transpose:
            array = np.swapaxes(array, -1, -2)
        return self._flip(array)

    def invert(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Display `array` [..., H, W] back in its stored orientation: exactly undoes `apply`."""
        array = self._flip(array)
        return np.swapaxes(array, -1, -2) if self.transpose else array

    def invert_boxes_xyxy(
        self, boxes_xyxy: NDArray[Any], display_size_hw: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Boxes of a display slice in the stored slice's frame, float32 [K, 4].

        A box is (x_min, y_min, x_max, y_max) in pixel edges: x runs from 0 (left edge of the
        first column) to W. A box of four zeros means "no box" and stays so.
        """
        height, width = display_size_hw
        boxes = np.array(boxes_xyxy, dtype=np.float32).reshape(-1, 4)
        is_box = boxes.any(axis=1)
        if self.flip_rows:
            boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
        if self.flip_columns:
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        if self.transpose:
            boxes = boxes[:, [1, 0, 3, 2]]
        boxes[~is_box] = 0.0
        return boxes

    def inverse(self) -> DisplayOrientation:
        """The orientation whose `apply` is this one's `invert`."""
        flips = (self.flip_rows, self.flip_columns)
        return DisplayOrientation(self.transpose, *(flips[::-1] if self.transpose else flips))

    def as_array(self) -> NDArray[np.uint8]:
        """The orientation as uint8 [3] (transpose, flip_rows, flip_columns), to travel."""
        return np.array([self.transpose, self.flip_rows, self.flip_columns], dtype=np.uint8)

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> DisplayOrientation:
        """The orientation that `as_array` wrote. Raises `ImageError` for anything else."""
        values = np.asarray(array).tolist()
        if not isinstance(values, list) or len(values) != 3 or any(v not in (0, 1) for v in values):
            raise ImageError(
                "wanted an orientation of three numbers 0 or 1 (transpose, flip rows, flip "
                f"columns), came an array of shape {np.asarray(array).shape}; "
                "pass on what DisplayOrientation.as_array gave"
            )
        return cls(bool(values[0]), bool(values[1]), bool(values[2]))

    def _flip(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        if self.flip_rows:
            array = array[..., ::-1, :]
        if self.flip_columns:
            array = array[..., ::-1]
        return array


IDENTITY = DisplayOrientation(transpose=False, flip_rows=False, flip_columns=False)
"""A slice that is stored as it is displayed, as nearly every axial CT is."""


def from_image_orientation(image_orientation: Sequence[float]) -> DisplayOrientation:
    """The orientation that an axial DICOM slice's ImageOrientationPatient asks for.

    `image_orientation` holds six direction cosines in the patient's LPS frame (x to the left,
    y to the posterior, z to the head): first of a row, in which the column index rises, then of
    a column. [1, 0, 0, 0, 1, 0] is the identity. Source: DICOM PS3.3, C.7.6.2.1.1.

    Raises `ImageError` where they are no two directions at right angles, or where the slice
    lies more than 45 degrees off axial.
    """
    along_row, along_column, normal = _directions(image_orientation)
    if abs(normal[2]) < _LEAST_AXIAL_COSINE:
        facing = "sagittal" if abs(normal[0]) > abs(normal[1]) else "coronal"
        raise ImageError(
            f"wanted an axial slice, came a {facing} or strongly oblique one; "
            "reformat the scan to axial slices, or send it as a volume"
        )
    straight = abs(along_row[0]) + abs(along_column[1])
    crossed = abs(along_row[1]) + abs(along_column[0])
    if straight >= crossed:
        return DisplayOrientation(False, bool(along_column[1] < 0), bool(along_row[0] < 0))
    return DisplayOrientation(True, bool(along_row[1] < 0), bool(along_column[0] < 0))


def slice_normal(image_orientation: Sequence[float]) -> NDArray[np.float64]:
    """The unit vector at right angles to a DICOM slice, LPS, float64 [3].

    Raises `ImageError` as `from_image_orientation` does for cosines that are no directions.
    """
    return _directions(image_orientation)[2]


def _directions(
    image_orientation: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Row direction, column direction and normal, each a unit vector, LPS."""
    cosines = np.asarray(list(image_orientation), dtype=np.float64)
    if cosines.shape != (6,) or not np.isfinite(cosines).all():
        raise ImageError(
            f"wanted six finite direction cosines (ImageOrientationPatient), came {cosines.size} "
            "values or some not finite; repair the DICOM header"
        )
    along_row, along_column = cosines[:3], cosines[3:]
    lengths = np.array([np.linalg.norm(along_row), np.linalg.norm(along_column)])
    if np.abs(lengths - 1).max() > _COSINE_TOLERANCE or (
        abs(float(along_row @ along_column)) > _COSINE_TOLERANCE
    ):
        raise ImageError(
            "wanted direction cosines (ImageOrientationPatient) of length 1 at right angles, "
            "came others; repair the DICOM header"
        )
    normal = np.cross(along_row, along_column)
    return along_row / lengths[0], along_column / lengths[1], normal / np.linalg.norm(normal)
