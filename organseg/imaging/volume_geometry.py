"""Where the voxels of a scan lie: its own axes, [Z, H, W], and the way between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError

__all__ = ["AxisOrder", "VolumeGeometry"]

Scalar = TypeVar("Scalar", bound=np.generic)

_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class AxisOrder:
    """How a file's three axes become [Z, H, W], and exactly back."""

    file_axes: tuple[int, int, int]
    """Which axis of the file becomes Z, H and W."""
    flips: tuple[bool, bool, bool]
    """Which of Z, H and W are then reversed."""

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """An array in the file's axes as [Z, H, W]."""
        return np.flip(array.transpose(self.file_axes), self._flipped_axes)

    def invert(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """An array [Z, H, W] in the file's axes: exactly undoes `apply`."""
        unflipped = np.flip(array, self._flipped_axes)
        return unflipped.transpose(np.argsort(self.file_axes).tolist())

    def display_axis(self, file_axis: int) -> int:
        """What the file's axis `file_axis` becomes: 0 (Z), 1 (H) or 2 (W)."""
        return self.file_axes.index(file_axis)

    def mirrored(self, file_axis: int, start: int, stop: int, count: int) -> tuple[int, int]:
        """The display range of indices `start` to `stop` of an axis of `count`, or back."""
        is_flipped = self.flips[self.display_axis(file_axis)]
        return (count - stop, count - start) if is_flipped else (start, stop)

    @property
    def _flipped_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, is_flipped in enumerate(self.flips) if is_flipped)


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """The grid of one scan: enough to put a mask of its slices back into the file's own frame."""

    shape_zhw: tuple[int, int, int]
    """Number of slices, rows and columns in display orientation."""
    spacing_zyx_mm: tuple[float, float, float]
    """Distance of neighbouring voxels along Z, H and W."""
    affine: NDArray[np.float64]
    """[4, 4]: index in the file's own axes to mm, RAS+ as in NIfTI."""
    axis_order: AxisOrder
    """The way between the file's own axes and [Z, H, W]."""
    nifti_header: bytes | None = field(default=None, repr=False)
    """The 348 bytes of the NIfTI header, in the file's byte order; None for other files."""

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """Number of voxels along each of the file's own axes."""
        lengths = [self.shape_zhw[self.axis_order.display_axis(axis)] for axis in range(3)]
        return lengths[0], lengths[1], lengths[2]

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres; right for oblique and sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / _MM3_PER_ML

    def restore(self, mask_zhw: NDArray[Scalar]) -> NDArray[Scalar]:
        """A mask or label map [Z, H, W] in the file's own axes, voxel by voxel; contiguous.

        For NIfTI these are the file's (i, j, k); for a DICOM series (slice, row, column), the
        slices from feet to head. Raises `ImageError` for another shape.
        """
        if mask_zhw.shape != self.shape_zhw:
            raise ImageError(
                f"wanted a mask of the volume's shape {self.shape_zhw}, "
                f"came {mask_zhw.shape}; build it from this volume's slices"
            )
        return np.ascontiguousarray(self.axis_order.invert(mask_zhw))

    def check_slice(self, index: int) -> None:
        """Raises `ImageError` for a slice index outside 0 to Z - 1."""
        count = self.shape_zhw[0]
        if not 0 <= index < count:
            raise ImageError(
                f"wanted a slice from 0 (feet) to {count - 1} (head), came {index}; "
                "choose one in that range"
            )
